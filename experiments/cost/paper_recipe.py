"""20: the paper's recipe beside ours on the same zoos: accuracy against the seconds of training, on a core or a GPU.

A training stands in a folder of its own under data/runs and goes on from there in a later call, with a larger budget:
`python -m experiments.cost.paper_recipe ZOO --hours 2` trains on one zoo; the notebook does both, and writes the record
of what was reached. Deleting the folders starts anew.
"""

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from joblib import Parallel, delayed, parallel_config

from experiments.baselines import mean_network, measured
from experiments.cost.measures import step_seconds
from experiments.cost.meters import Clock
from experiments.cost.training_cost import CHECKPOINTS, untrained_zoo
from experiments.pipeline import fit, fit_until, generate, images_of, new_generator, obtain_zoo, seeded
from experiments.profiles import CNN_S, SMOKE_MODEL, Recipe, cifar10_rows, one_run, paper_recipe
from experiments.records import key, plain, read_record, working_dir, write_record
from rpglib.errors import InputError
from rpglib.runtime.allocator import keep_freed_memory
from rpglib.runtime.files import read_json, write_json
from rpglib.runtime.hardware import pick
from rpglib.runtime.sources import LIBRARY, sources_digest
from rpglib.zoo.images import Split
from rpglib.zoo.store import Zoo

CODE = sources_digest(LIBRARY)
EXPERIMENT = "paper_recipe"
GPU_PROFILES = ("gpu", "paper")
SAVE_EVERY = 50
GROWTH = 1.5
"""A generator is evaluated after steps that grow by this factor: so exact is the time at which it reaches something."""
EVALUATIONS = "evaluations.json"
CPU = torch.device("cpu")
CLOCK = {"cpu": (time.process_time, "processor_seconds"), "cuda": (time.perf_counter, "seconds")}
"""What is looked at, and which of `TrainResult`'s times counts."""

Recipes = Mapping[str, Mapping[str, Recipe]]
"""Zoo -> "paper" and "ours" -> recipe, which has the zoo's name."""


def recipes(profile: str, seed: int = 0) -> Recipes:
    """Both recipes for both zoos: ten runs with five checkpoints each, and 50 checkpoints of one run, the paper's zoo.

    Deviation on a CPU: the paper's trains in fp32, as ours does, not in mixed bf16 (v1, table 11 = v2, table 15): at
    this size that is the quicker there.
    """
    small, gpu = profile == "smoke", profile in GPU_PROFILES
    base = seeded(cifar10_rows(profile)[0] if small else CNN_S, seed)
    found = {}
    for row in (base, one_run(base)):
        paper = replace(paper_recipe(row, "tiny"), collect=row.collect)
        precision = "bf16" if gpu else "fp32"
        paper = replace(paper, train=replace(paper.train, seed=row.train.seed, precision=precision))
        if small:
            model = replace(SMOKE_MODEL, prediction="epsilon", prototype_skip=False, permutation="fixed")
            paper = replace(paper, model=model, train=replace(paper.train, steps=9), sampling_steps=3)
            row = replace(row, train=replace(row.train, steps=9))
        each = {"paper": paper, "ours": replace(row, generators=1)}
        # A step takes a hundredth of the time there, and the paper's are many.
        every = {"ours": 2 if small else SAVE_EVERY, "paper": 2 if small else SAVE_EVERY * (10 if gpu else 1)}
        found[row.name] = {k: replace(r, train=replace(r.train, save_every=every[k])) for k, r in each.items()}
    return found


def record_of(recipes: Recipes, profile: str, fresh: bool, hours: float, seed: int = 0, device: str = "auto") -> dict:
    """Train on where the trainings stand, for `hours` each in all, and record (`fresh`), or read the record.

    With fewer hours than were trained already, nothing is trained: what was reached is evaluated and recorded.
    numbers: by zoo, as `run_zoo` describes them. Raises `InputError` where the record was made with other recipes or
    another seed, and where the device is not the profile's: one core of a CPU, or a GPU in the profiles that say so.
    """
    if not fresh:
        return read_record(EXPERIMENT, profile, recipes)
    chosen = device_of(profile, device)
    began = time.perf_counter()
    at_once = min(len(recipes), os.cpu_count() or 1)
    if profile == "smoke" or at_once == 1 or chosen.type != "cpu":
        found = [run_zoo(recipes[name], profile, hours, chosen) for name in recipes]
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


def device_of(profile: str, device: str) -> torch.device:
    """Where a profile is measured. Raises `InputError` where `device` is another, or is not at hand."""
    wanted = "cuda" if profile in GPU_PROFILES else "cpu"
    if not device.startswith(("auto", wanted)):
        raise InputError(f"{EXPERIMENT} is measured on {wanted!r} in profile {profile!r}, not on {device!r}")
    return pick(wanted if device == "auto" else device)


def run_zoo(pair: Mapping[str, Recipe], profile: str, hours: float, device: torch.device = CPU) -> dict:
    """Train both recipes on one zoo, each until it ends or has computed for `hours`; ours first; on one core of a CPU.

    "original", "mean network": as the networks of an evaluation; "paper", "ours": {points, as `run` returns them; steps
    (of the whole training), tokens, generator_parameters}.
    """
    first = pair["ours"]
    if device.type == "cpu":
        keep_freed_memory()
    images = images_of(first.images)
    with one_thread() if device.type == "cpu" else nullcontext():
        zoo = obtain_zoo(first, profile, images, device)
        originals = [zoo[i] for i in range(len(zoo))]
        groups = {"original": originals, "mean network": [mean_network(originals)]}
        found = {name: _measured(group, zoo, images.test, device) for name, group in groups.items()}
        for name in ("ours", "paper"):
            recipe = pair[name]
            model = new_generator(recipe, zoo)
            found[name] = {
                "points": run(recipe, zoo, images.test, folder(recipe, profile, name), hours, device),
                "steps": recipe.train.steps,
                "tokens": model.tokenizer.num_tokens,
                "generator_parameters": sum(p.numel() for p in model.parameters()),
            }
    return found


def folder(recipe: Recipe, profile: str, name: str) -> Path:
    """Where a training stands: another one, were it for a single setting or line of the library, stands elsewhere.

    Points of one curve are of one code: training begins anew with other code, and so must its evaluations.
    """
    facts = {"recipe": recipe, "code": CODE}
    return working_dir(profile, EXPERIMENT) / f"{recipe.name}_{name}_{key(facts)}"


def run(recipe: Recipe, zoo: Zoo, test: Split, folder: Path, hours: float, device: torch.device = CPU) -> list[dict]:
    """Train on from what lies in `folder`, until the end or until `hours` are spent in all.

    Time is that of training alone: of the processor on a CPU, which may be shared, and by the clock on a GPU.
    Returns the evaluations after the steps `due`, and of what was reached: {step, seconds, wall_seconds, loss (mean of
    the steps since the last save), evaluation_seconds; accuracy (percent), error-IoU and distance (median, in LOO
    units; None where infinite) of the generated networks}. Training stops for each evaluation, and only where its state
    was just saved: wherever the process is killed, a later call comes to the same numbers.
    """
    if not hours > 0:
        raise InputError(f"hours must be above 0, not {hours}")
    stops, kept = due(recipe.train.steps, recipe.train.save_every), folder / EVALUATIONS
    clock, seconds = CLOCK[device.type]
    found = read_json(kept) if kept.exists() else []
    while True:
        state = _state(folder)
        step = state["step"] if state else 0
        spent = state["result"][seconds] if state else 0.0
        over = step == recipe.train.steps or (step and spent >= 3600 * hours)
        if (over or step in stops) and (not found or found[-1]["step"] < step):
            found.append(_evaluated(recipe, zoo, test, state, device))
            write_json(kept, plain(found))
        if over:
            # Where an earlier budget ended is no point of the curve.
            return [point for point in found if point["step"] in stops or point["step"] == step]
        ends = clock() + 3600 * hours - spent
        fit_until(recipe, zoo, folder, lambda step, ends=ends: step in stops or clock() >= ends, device, progress=False)


def due(steps: int, every: int) -> tuple[int, ...]:
    """Steps to evaluate after, multiples of `every` that grow by `GROWTH` from twice that on, and the last one."""
    found, step = {steps}, 2 * every
    while step < steps:
        found.add(round(step / every) * every)
        step *= GROWTH
    return tuple(sorted(x for x in found if x <= steps))


def _state(folder: Path) -> dict | None:
    path = folder / "training.pt"
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def _evaluated(recipe: Recipe, zoo: Zoo, test: Split, state: dict, device: torch.device) -> dict:
    clock, seconds = CLOCK[device.type]
    began, result = clock(), state["result"]
    model = new_generator(recipe, zoo)
    model.load_state_dict(state["model"])
    networks = generate(recipe, model.to(device).eval(), recipe.networks, recipe.train.seed)
    found = _measured(networks, zoo, test, device)
    return {
        "step": state["step"],
        "seconds": result[seconds],
        "wall_seconds": result["seconds"],
        "loss": statistics.fmean(result["losses"][-recipe.train.save_every :]),
        "evaluation_seconds": clock() - began,
        **found,
    }


def _measured(networks: Sequence[dict], zoo: Zoo, test: Split, device: torch.device) -> dict:
    found = measured(zoo.build(), networks, zoo, test, device)
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

    Returns one sentence; raises `AssertionError` where the ratios differ by more than `factor`. A record of a GPU is
    not compared with a CPU.
    """
    if record["profile"] in GPU_PROFILES and not torch.cuda.is_available():
        return "no step was timed again: the record is of a GPU, and there is none here"
    name, pair = next(iter(recipes.items()))
    found = {}
    with one_thread(), tempfile.TemporaryDirectory() as scratch:
        zoo = Zoo.open(untrained_zoo(pair["ours"], Path(scratch), seed))
        for kind, recipe in pair.items():
            clock = Clock(time.process_time)
            model = replace(recipe.model, permutation_states=CHECKPOINTS)
            few = replace(recipe, model=model, train=replace(recipe.train, steps=5))
            fit(few, zoo, "cpu", progress=False, on_step=clock)
            found[kind] = clock.median(warm=2)
    course = record["numbers"][name]
    wanted, ratio = step_seconds(course["paper"]) / step_seconds(course["ours"]), found["paper"] / found["ours"]
    assert abs(math.log(ratio / wanted)) < math.log(factor), f"a step costs {ratio:.1f} times ours, not {wanted:.1f}"
    return f"a step of the paper's recipe costs {ratio:.0f} times one of ours here, {wanted:.0f} times in the record"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and evaluate both recipes on one zoo, and print what was reached."""
    parser = argparse.ArgumentParser(prog="python -m experiments.cost.paper_recipe", description=__doc__)
    parser.add_argument("zoo", choices=recipes("cpu"))
    parser.add_argument("--profile", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--hours", type=float, default=2.0, help="hours of each training, earlier calls counted")
    options = parser.parse_args(arguments)
    pair = recipes(options.profile)[options.zoo]
    found = run_zoo(pair, options.profile, options.hours, device_of(options.profile, "auto"))
    for name in ("paper", "ours"):
        last = found[name]["points"][-1]
        print(f"{options.zoo}, {name}: step {last['step']:,}, {last['seconds']:.0f} s, {last['mean']:.2f} %")


if __name__ == "__main__":
    main()
