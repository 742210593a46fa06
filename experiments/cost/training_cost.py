"""What training costs: our step against the plain path, each optimisation alone, waiting for data, and the presets.

The zoos hold untrained networks with random tasks: what a step takes does not depend on what the weights are.
"""

import tempfile
import time
from collections.abc import Collection
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from experiments.cost.measures import ratio
from experiments.cost.meters import Clock
from experiments.cost.plain_training import OPTIMISATIONS, train_plain
from experiments.cost.workers import worker
from experiments.pipeline import new_generator
from experiments.profiles import Recipe, quickstart, unseen_tasks
from experiments.sweeps.memory import training_bytes
from rpglib.model.config import PRESETS, RPGConfig
from rpglib.model.rpg import RPG
from rpglib.runtime.allocator import keep_all_freed_memory
from rpglib.runtime.resident import HIGHEST, resident
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.batches import ahead
from rpglib.training.loop import TrainConfig, batches_of
from rpglib.zoo.store import Zoo

WARM, TIMED, ROUNDS = 2, 8, 3
CHECKPOINTS = 24
MEMORY_BYTES = 20 * 2**30


@dataclass(frozen=True)
class Job:
    """So many steps of a recipe on a stored zoo, by the plain path with some of `OPTIMISATIONS`."""

    recipe: Recipe
    zoo: Path
    optimised: tuple[str, ...]
    steps: int


def measure(profile: str, seed: int = 0) -> dict:
    """Measure all of it on this machine's CPU, in fp32; the recipes are the profile's.

    "plain": rows {name, plain, ours (seconds of a step: medians of rounds), ratio of their medians, difference (the
    largest of a loss, relative)}; "optimisations": rows {name, recipe, off, on, ratio, difference}, each against all
    others on; "waiting": {with, without: share of a step's time spent waiting for a streamed batch}; "presets": rows
    {preset, scan, parameters, tokens, batch_size, diffusion_batch, seconds, counted_bytes, resident_bytes, reason}.

    What a row compares runs in turn, round after round, after one uncounted round. Freed memory is kept or not by a
    process as a whole, so runs that keep it and runs that do not have a process each, of which one works at a time.
    In "smoke", which tests the code path, all runs are this process's own, and the row "memory" means nothing.
    """
    smoke, recipes = profile == "smoke", recipes_of(profile, seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        zoos = {name: untrained_zoo(recipe, folder / name, seed) for name, recipe in recipes.items()}
        keeping, leaving = (stack.enter_context(worker(smoke)) for _ in range(2))

        def compare(name: str, off: Collection[str], on: Collection[str]) -> dict:
            warm, timed, rounds = (1, 1, 1) if smoke else (WARM, 3, 2) if name == "tiny" else (WARM, TIMED, ROUNDS)
            found = {"off": [], "on": []}
            for count in range(rounds + (not smoke)):
                for arm, optimised in (("off", off), ("on", on)):
                    pool = keeping if "memory" in optimised else leaving
                    job = Job(recipes[name], zoos[name], tuple(optimised), warm + timed)
                    clock, losses = pool.submit(run, job).result()
                    # The first round finds the process cold.
                    if count or smoke:
                        found[arm].append((clock.median(warm), losses))
            seconds = {arm: [median for median, _ in runs] for arm, runs in found.items()}
            pairs = zip(found["off"][0][1], found["on"][0][1], strict=True)
            return seconds | {
                "ratio": ratio(seconds["off"], seconds["on"]),
                "difference": max(abs(a - b) / abs(b) for a, b in pairs),
            }

        plain = []
        for name in recipes:
            row = compare(name, (), OPTIMISATIONS)
            plain.append({"name": name, "plain": row.pop("off"), "ours": row.pop("on")} | row)
        single = []
        for name in OPTIMISATIONS:
            others = [other for other in OPTIMISATIONS if other != name]
            for recipe in ("quickstart",) if smoke else ("quickstart", "unseen_tasks"):
                single.append({"name": name, "recipe": recipe} | compare(recipe, others, OPTIMISATIONS))
        steps = 3 if smoke else 20
        waited = keeping.submit(waiting, recipes["unseen_tasks"], zoos["unseen_tasks"], steps).result()
    presets = []
    for name in ("tiny",) if smoke else PRESETS:
        # A process of its own each: the most that a process ever held is counted from its start.
        with worker(smoke) as alone:
            presets.append(alone.submit(preset_cost, name, 2 if smoke else 3, not smoke).result())
        presets.append({"preset": name, "scan": "fused", "reason": "needs CUDA with mamba_ssm and causal_conv1d"})
    return {"plain": plain, "optimisations": single, "waiting": waited, "presets": presets}


def recipes_of(profile: str, seed: int = 0) -> dict[str, Recipe]:
    """What a step is measured of, by name."""
    found = {"quickstart": quickstart(profile), "unseen_tasks": unseen_tasks(profile)}
    found = {name: _cpu(recipe, seed) for name, recipe in found.items()}
    if profile != "smoke":
        tiny = replace(RPGConfig.preset("tiny"), permutation_states=CHECKPOINTS)
        train = TrainConfig.paper(seed=seed, precision="fp32")
        found["tiny"] = replace(found["quickstart"], model=tiny, train=train)
    return found


def run(job: Job) -> tuple[Clock, list[float]]:
    """The clock of a job's steps, and the losses."""
    recipe, zoo, clock = job.recipe, Zoo.open(job.zoo), Clock()
    losses = train_plain(new_generator(recipe, zoo), zoo, recipe.train, job.steps, job.optimised, clock)
    return clock, losses


def waiting(recipe: Recipe, zoo: Path, steps: int) -> dict[str, float]:
    """The share of its time that training on a streamed zoo waits for batches: {"with", "without"} loading ahead."""
    zoo, shares = Zoo.open(zoo), {}
    for name in ("with", "without"):
        model = new_generator(recipe, zoo).train()
        batches = batches_of(model, zoo, recipe.train, keep=False)
        options = {"weighting": recipe.train.weighting, "prototype_loss": recipe.train.prototype_loss}
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.train.learning_rate, fused=True)
        loaded = ahead(batches, range(steps)) if name == "with" else (batches(step) for step in range(steps))
        waited, began = [], time.perf_counter()
        with closing(loaded):
            for _ in range(steps):
                before = time.perf_counter()
                batch = next(loaded)
                waited.append(time.perf_counter() - before)
                model(mask=model.tokenizer.mask, **options, **batch).backward()
                optimizer.step()
                optimizer.zero_grad()
        # The first batch has nothing to hide behind.
        shares[name] = sum(waited[1:]) / (time.perf_counter() - began - waited[0])
    return shares


def preset_cost(name: str, steps: int, alone: bool = False) -> dict:
    """Seconds of a step (median without the first) and memory of a preset on this CPU, on the quickstart's network.

    resident_bytes is the most that the process held, Python and its libraries included; counted_bytes counts tensors.
    alone: whether this process does nothing else; then it keeps all that it frees, as a GPU's allocator does.
    Small batches: the weights are what these presets are heavy with. Where they cannot fit, "reason" says so.
    """
    if alone:
        keep_all_freed_memory()
    recipe = quickstart("cpu")
    state = recipe.architecture.build().state_dict()
    model = replace(RPGConfig.preset(name), permutation_states=2)
    train = TrainConfig.paper(batch_size=2, diffusion_batch=16, precision="fp32")
    tokenizer = ParameterTokenizer.fit([state], model.token_size)
    row = {"preset": name, "scan": "pure", "tokens": len(tokenizer.positions)}
    # Counted without memory, where no table of positions can be computed but the plainest.
    with torch.device("meta"):
        counted = RPG(replace(model, position="1d"), tokenizer)
    row["parameters"] = parameters = sum(p.numel() for p in counted.parameters())
    row |= {"batch_size": train.batch_size, "diffusion_batch": train.diffusion_batch}
    # Weights, gradients and AdamW's two averages.
    if (needed := 16 * parameters) > MEMORY_BYTES:
        return row | {"reason": f"needs {needed / 2**30:.0f} GiB before the first activation, more than 20 GiB"}
    with tempfile.TemporaryDirectory() as folder:
        other = {name: x + 1 for name, x in state.items()}
        zoo = Zoo.write(folder, [state, other], architecture=recipe.architecture, runs=[0, 1], accuracies=[0.0] * 2)
        recipe, clock = replace(recipe, model=model, train=train), Clock()
        generator = new_generator(recipe, zoo)
        row["counted_bytes"] = training_bytes(generator, train)
        train_plain(generator, zoo, train, steps, OPTIMISATIONS, clock)
    row["seconds"] = clock.median()
    return row | {"resident_bytes": resident(HIGHEST)}


def _cpu(recipe: Recipe, seed: int) -> Recipe:
    model = recipe.model
    if model.permutation_states:
        model = replace(model, permutation_states=CHECKPOINTS)
    return replace(recipe, model=model, train=replace(recipe.train, precision="fp32", seed=recipe.train.seed + seed))


def untrained_zoo(recipe: Recipe, folder: Path, seed: int) -> Path:
    """Store a zoo for the recipe: one network and small changes of it, with random tasks where there are any."""
    generator = torch.Generator().manual_seed(seed)
    state = recipe.architecture.build().state_dict()

    def changed() -> dict[str, torch.Tensor]:
        return {
            name: x + 0.01 * torch.randn(x.shape, generator=generator) if x.is_floating_point() else x
            for name, x in state.items()
        }

    bits = recipe.model.task_bits
    tasks = torch.randint(0, 2, (CHECKPOINTS, bits), generator=generator).tolist() if bits else None
    facts = {"architecture": recipe.architecture, "runs": range(CHECKPOINTS), "accuracies": [0.0] * CHECKPOINTS}
    Zoo.write(folder, (changed() for _ in range(CHECKPOINTS)), tasks=tasks, **facts)
    return folder
