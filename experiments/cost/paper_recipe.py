"""20: the paper's recipe beside ours on the same zoos: accuracy against the seconds that one core has trained.

A training stands in a folder of its own under data/runs and goes on from there in a later call, with a larger budget:
`python -m experiments.cost.paper_recipe ZOO --hours 2` trains on one zoo; the notebook does both, and writes the record
of what was reached. Deleting the folders starts anew.
"""

import argparse
import hashlib
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from joblib import Parallel, delayed, parallel_config

from experiments.baselines import mean_network, measured
from experiments.cost.measures import step_seconds
from experiments.cost.training_cost import CHECKPOINTS, untrained_zoo
from experiments.pipeline import fit, generate, images_of, new_generator, obtain_zoo, seeded
from experiments.profiles import CNN_S, SMOKE_MODEL, Recipe, cifar10_rows, one_run, paper_recipe
from experiments.records import agrees, home, plain, read_record, write_record
from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.runtime.files import read_json, write_json
from rpglib.zoo.images import Split
from rpglib.zoo.store import Zoo

EXPERIMENT = "paper_recipe"
SAVE_EVERY = 50
GROWTH = 1.5
"""A generator is evaluated after steps that grow by this factor: so exact is the time at which it reaches something."""
EVALUATIONS = "evaluations.json"

Recipes = Mapping[str, Mapping[str, Recipe]]
"""Zoo -> "paper" and "ours" -> recipe, which has the zoo's name."""


def recipes(profile: str, seed: int = 0) -> Recipes:
    """Both recipes for both zoos: ten runs with five checkpoints each, and 50 checkpoints of one run, the paper's zoo.

    Deviation: the paper's trains in fp32, as ours does, not in mixed bf16 (v1, table 11 = v2, table 15): at this size
    that is the quicker on a CPU. Every profile but "smoke" has the same.
    """
    small = profile == "smoke"
    base = seeded(cifar10_rows(profile)[0] if small else CNN_S, seed)
    found = {}
    for row in (base, one_run(base)):
        paper = replace(paper_recipe(row, "tiny"), collect=row.collect)
        paper = replace(paper, train=replace(paper.train, seed=row.train.seed, precision="fp32"))
        if small:
            model = replace(SMOKE_MODEL, prediction="epsilon", prototype_skip=False, permutation="fixed")
            paper = replace(paper, model=model, train=replace(paper.train, steps=9), sampling_steps=3)
            row = replace(row, train=replace(row.train, steps=9))
        each = {"paper": paper, "ours": replace(row, generators=1)}
        every = 2 if small else SAVE_EVERY
        found[row.name] = {k: replace(r, train=replace(r.train, save_every=every)) for k, r in each.items()}
    return found


def record_of(recipes: Recipes, profile: str, fresh: bool, hours: float, seed: int = 0, device: str = "auto") -> dict:
    """Train on where the trainings stand, for `hours` each in all, and record (`fresh`), or read the record.

    With fewer hours than were trained already, nothing is trained: what was reached is evaluated and recorded.
    numbers: by zoo, as `run_zoo` describes them. Raises `InputError` where the record was made
    with other recipes or another seed, and for a GPU: seconds of one CPU core are measured.
    """
    if not fresh:
        record = read_record(EXPERIMENT, profile)
        if not _same(record["config"], recipes):
            raise InputError(f"the record of {EXPERIMENT} was made with another seed or recipe; run with fresh=True")
        return record
    if not device.startswith(("auto", "cpu")):
        raise InputError(f"{EXPERIMENT} measures seconds of one CPU core; use device='cpu', not {device!r}")
    began = time.perf_counter()
    at_once = min(len(recipes), os.cpu_count() or 1)
    if profile == "smoke" or at_once == 1:
        found = [run_zoo(recipes[name], profile, hours) for name in recipes]
    else:
        with parallel_config(backend="loky", n_jobs=at_once, inner_max_num_threads=1):
            found = Parallel()(delayed(run_zoo)(recipes[name], profile, hours) for name in recipes)
    first = next(iter(recipes.values()))["ours"]
    return write_record(
        EXPERIMENT,
        profile,
        dict(zip(recipes, found, strict=True)),
        config=recipes,
        seeds={"collect": first.collect.seed, "train": first.train.seed, "generate": seed},
        n=1,
        wall_seconds=time.perf_counter() - began,
        data_source=images_of(first.images).source,
    )


def _same(recorded: dict, recipes: Recipes) -> bool:
    return recorded.keys() == recipes.keys() and all(
        agrees(recorded[zoo].get(name), recipe) for zoo, pair in recipes.items() for name, recipe in pair.items()
    )


def run_zoo(pair: Mapping[str, Recipe], profile: str, hours: float) -> dict:
    """Train both recipes on one zoo, on one core, each until it ends or has computed for `hours`; ours first.

    "original", "mean network": as the networks of an evaluation; "paper", "ours": {points, as `run` returns them; steps
    (of the whole training), tokens, generator_parameters}.
    """
    first = pair["ours"]
    images = images_of(first.images)
    with one_thread():
        zoo = obtain_zoo(first, profile, images)
        originals = [zoo[i] for i in range(len(zoo))]
        groups = {"original": originals, "mean network": [mean_network(originals)]}
        found = {name: _measured(group, zoo, images.test) for name, group in groups.items()}
        for name in ("ours", "paper"):
            recipe = pair[name]
            model = new_generator(recipe, zoo)
            found[name] = {
                "points": run(recipe, zoo, images.test, folder(recipe, profile, name), hours),
                "steps": recipe.train.steps,
                "tokens": model.tokenizer.num_tokens,
                "generator_parameters": sum(p.numel() for p in model.parameters()),
            }
    return found


def folder(recipe: Recipe, profile: str, name: str) -> Path:
    """Where a training stands: another one, were it for a single setting, stands elsewhere."""
    digest = hashlib.sha256(json.dumps(plain(recipe), sort_keys=True).encode()).hexdigest()[:16]
    return home() / "data" / "runs" / profile / EXPERIMENT / f"{recipe.name}_{name}_{digest}"


def run(recipe: Recipe, zoo: Zoo, test: Split, folder: Path, hours: float) -> list[dict]:
    """Train on from what lies in `folder`, until the end or until `hours` of processor time are spent in all.

    Returns the evaluations after the steps `due`, and of what was reached: {step, seconds (of the processor, training
    alone), wall_seconds, loss (mean of the steps since the last save), evaluation_seconds; accuracy (percent),
    error-IoU and distance (median, in LOO units; None where infinite) of the generated networks}. Training stops for
    each evaluation, and only where its state was just saved: wherever the process is killed, a later call comes to the
    same numbers.
    """
    if not hours > 0:
        raise InputError(f"hours must be above 0, not {hours}")
    stops, kept = due(recipe.train.steps, recipe.train.save_every), folder / EVALUATIONS
    found = read_json(kept) if kept.exists() else []
    while True:
        state = _state(folder)
        step = state["step"] if state else 0
        over = step == recipe.train.steps or (step and state["result"]["processor_seconds"] >= 3600 * hours)
        if (over or step in stops) and (not found or found[-1]["step"] < step):
            found.append(_evaluated(recipe, zoo, test, state))
            write_json(kept, plain(found))
        if over:
            # Where an earlier budget ended is no point of the curve.
            return [point for point in found if point["step"] in stops or point["step"] == step]
        _advance(recipe, zoo, folder, stops, hours, state["result"]["processor_seconds"] if state else 0.0)


def due(steps: int, every: int) -> tuple[int, ...]:
    """Steps to evaluate after, multiples of `every` that grow by `GROWTH` from twice that on, and the last one."""
    found, step = {steps}, 2 * every
    while step < steps:
        found.add(round(step / every) * every)
        step *= GROWTH
    return tuple(sorted(x for x in found if x <= steps))


class _Paused(Exception):
    """A training stops where its state was just saved."""


def _advance(recipe: Recipe, zoo: Zoo, folder: Path, stops: Sequence[int], hours: float, spent: float) -> None:
    """Train up to the next of the steps `stops`, or until the budget is spent, `spent` seconds of it before."""
    began = time.process_time()

    def pause(step: int, _: RPG) -> None:
        over = spent + time.process_time() - began >= 3600 * hours
        if (step + 1 in stops or over) and (step + 1) % recipe.train.save_every == 0:
            raise _Paused

    with suppress(_Paused):
        fit(recipe, zoo, "cpu", folder, progress=False, on_step=pause)


def _state(folder: Path) -> dict | None:
    path = folder / "training.pt"
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def _evaluated(recipe: Recipe, zoo: Zoo, test: Split, state: dict) -> dict:
    began, result = time.process_time(), state["result"]
    model = new_generator(recipe, zoo)
    model.load_state_dict(state["model"])
    networks = generate(recipe, model.eval(), recipe.networks, recipe.train.seed)
    found = _measured(networks, zoo, test)
    return {
        "step": state["step"],
        "seconds": result["processor_seconds"],
        "wall_seconds": result["seconds"],
        "loss": statistics.fmean(result["losses"][-recipe.train.save_every :]),
        "evaluation_seconds": time.process_time() - began,
        **found,
    }


def _measured(networks: Sequence[dict], zoo: Zoo, test: Split) -> dict:
    found = measured(zoo.build(), networks, zoo, test)
    distance = found["distance"]["median"]
    # A record holds finite numbers only, and early in a training weights may be anything.
    return found | {"distance": distance if math.isfinite(distance) else None}


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch uses one thread within."""
    own = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(own)


def check_live(recipes: Recipes, record: dict, seed: int = 0, factor: float = 3.0) -> str:
    """Time a few steps of both recipes on untrained networks, and compare their ratio with the record's.

    Returns one sentence; raises `AssertionError` where the ratios differ by more than `factor`.
    """
    name, pair = next(iter(recipes.items()))
    found = {}
    with one_thread(), tempfile.TemporaryDirectory() as scratch:
        zoo = Zoo.open(untrained_zoo(pair["ours"], Path(scratch), seed))
        for kind, recipe in pair.items():
            ends: list[float] = []
            model = replace(recipe.model, permutation_states=CHECKPOINTS)
            few = replace(recipe, model=model, train=replace(recipe.train, steps=5))
            fit(few, zoo, "cpu", progress=False, on_step=lambda *_, ends=ends: ends.append(time.process_time()))
            found[kind] = statistics.median(b - a for a, b in pairwise(ends[1:]))
    course = record["numbers"][name]
    wanted, ratio = step_seconds(course["paper"]) / step_seconds(course["ours"]), found["paper"] / found["ours"]
    assert abs(math.log(ratio / wanted)) < math.log(factor), f"a step costs {ratio:.1f} times ours, not {wanted:.1f}"
    return f"a step of the paper's recipe costs {ratio:.0f} times one of ours here, {wanted:.0f} times in the record"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and evaluate both recipes on one zoo in profile "cpu", and print what was reached."""
    known = recipes("cpu")
    parser = argparse.ArgumentParser(prog="python -m experiments.cost.paper_recipe", description=__doc__)
    parser.add_argument("zoo", choices=known)
    parser.add_argument(
        "--hours", type=float, default=2.0, help="processor hours of each training, earlier calls counted"
    )
    options = parser.parse_args(arguments)
    found = run_zoo(known[options.zoo], "cpu", options.hours)
    for name in ("paper", "ours"):
        last = found[name]["points"][-1]
        print(f"{options.zoo}, {name}: step {last['step']:,}, {last['seconds']:.0f} s, {last['mean']:.2f} %")


if __name__ == "__main__":
    main()
