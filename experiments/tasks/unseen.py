"""Networks for tasks that a generator never saw: from a zoo of binary tasks to the record of `15_unseen_tasks`.

Tasks are rows of bits, one per class (paper v1, section 4). A generator learns from the checkpoints of the seen tasks;
what it writes for the unseen ones is compared with networks trained for them and with baselines.
"""

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from experiments.baselines import untrained
from experiments.pipeline import NETWORKS, fit, images_of, recorded, retrained, row, seeded, thinned
from experiments.profiles import TaskRecipe
from experiments.records import generator_dir, plain, results_dir, storing, write_record
from experiments.sources import code_of
from experiments.sweeps.cells import folder_of, run
from experiments.tasks import task_zoo
from experiments.tasks.baselines import measure_baselines
from experiments.tasks.finetuning import measure_finetuning
from experiments.tasks.measures import answers, correct, flips, mean_diversity, of_tasks, percent
from experiments.tasks.task_zoo import HEAD, TaskZoo, some_pairs
from rpglib.analysis.accuracy import summarise
from rpglib.model.rpg import RPG
from rpglib.runtime.hardware import pick
from rpglib.runtime.state_dicts import flatten
from rpglib.tasks import name_of, split_tasks
from rpglib.zoo.images import Images, labels_of

CODE = code_of(__file__)
HEADS = "heads.safetensors"
REGRESSION = "RPG without diffusion"


@dataclass(frozen=True)
class Part:
    """A job: the generator of one random split and its baselines, measured on all unseen tasks of that split.

    count: only so many of the seen tasks are learned from, and only accuracies are measured, of one network per task.
    kept: generator, heads and training from generated networks are wanted, too.
    """

    recipe: TaskRecipe
    profile: str
    split: int
    count: int | None = None
    kept: bool = False
    device: str = "auto"

    def facts(self) -> dict:
        # Other splits and lengths of the curve are other jobs.
        own = {"recipe": replace(self.recipe, splits=(), curve=()), "split": self.split, "count": self.count}
        own |= {"images": images_of(self.recipe.images).source, "task_code": CODE}
        return plain({**own, "kept": self.kept, "networks": NETWORKS})

    def compute(self, folder: Path) -> dict:
        images, device, training = images_of(self.recipe.images), pick(self.device), folder / "training"
        tasks = task_zoo.task_zoo(self.recipe, self.profile, images, device)
        # Seeds of its own, so that between splits all differs that is random, but for the zoo.
        recipe = retrained(self.recipe, self.split)
        seen, unseen = split_tasks(len(tasks.bits), self.split, recipe.seen)
        if self.count is not None:
            seen = some_pairs(seen, len(tasks.bits), self.count, self.split)
        model, found, numbers = _train(recipe, tasks, seen, unseen, images, device, training)
        if self.count is not None:
            own = answers(recipe, model, tasks.bits[unseen], images.test, 1, recipe.train.seed).accuracies[:, 0]
            numbers["methods"] = {name: summarise(values) for name, values in {"RPG": own, **found}.items()}
        else:
            numbers["baselines"] = {name: of_tasks(values) for name, values in found.items()}
            measured, heads = _measure(recipe, tasks, seen, unseen, model, images)
            numbers |= measured
            if self.kept:
                model.save_pretrained(folder, {HEADS: heads})
                numbers["finetuning"] = measure_finetuning(recipe, tasks, unseen, model, images, recipe.train.seed)
        shutil.rmtree(training, ignore_errors=True)
        return {"split": self.split, "seen_tasks": len(seen), "unseen_tasks": len(unseen), **numbers}


def _train(
    recipe: TaskRecipe,
    tasks: TaskZoo,
    seen: Tensor,
    unseen: Tensor,
    images: Images,
    device: torch.device,
    folder: Path,
) -> tuple[RPG, dict[str, Tensor], dict]:
    """Train on the seen tasks; return the generator, the baselines' accuracies (U,) on the unseen ones, and facts.

    An interrupted training goes on from what it left in `folder`.
    """
    zoo, regression = tasks.checkpoints(seen), replace(recipe, train=replace(recipe.train, diffusion=False))
    # Processor time: on cores that others use as well the clock says little.
    began = time.process_time()
    model, training = fit(recipe, zoo, device, folder / "generator", progress=False)
    trained = time.process_time()
    other, _ = fit(regression, zoo, device, folder / "regression", progress=False)
    facts = {
        "generator_parameters": sum(p.numel() for p in model.parameters()),
        "precision": training.precision,
        "loss": thinned(training.losses),
        "cpu_seconds": {"train": trained - began, "train_regression": time.process_time() - trained},
    }
    found = {}
    # One network each says all: neither of these two has learned to spread a task's networks.
    for name, one in (("untrained generator", untrained(recipe, model.to(device))), (REGRESSION, other.to(device))):
        own = answers(recipe, one, tasks.bits[unseen], images.test, 1, recipe.train.seed)
        found[name] = own.accuracies[:, 0]
    return model, found | measure_baselines(recipe, tasks, seen, unseen, images, device), facts


def _measure(
    recipe: TaskRecipe, tasks: TaskZoo, seen: Tensor, unseen: Tensor, model: RPG, images: Images
) -> tuple[dict, dict[str, Tensor]]:
    """What a generator's networks do on the unseen tasks, in numbers, and the heads as in `Unseen`."""
    bits, test, seed = tasks.bits[unseen], images.test, recipe.train.seed
    found = answers(recipe, model, bits, test, NETWORKS, seed)
    originals = correct(
        recipe, tasks.checkpoints(unseen), bits.repeat_interleave(tasks.each, 0), test, model.device
    ).view(len(bits), tasks.each, -1)
    # As many of the seen tasks as there are unseen ones.
    known = seen[torch.randperm(len(seen), generator=torch.Generator().manual_seed(seed))[: len(unseen)]]
    accuracies = found.accuracies
    numbers = {
        "networks_per_task": NETWORKS,
        "tasks": [name_of(task) for task in bits],
        "original": of_tasks(percent(originals).mean(1)),
        "generated": of_tasks(accuracies.mean(1)),
        "std_within_tasks": of_tasks(accuracies.std(1)),
        "worst_of_networks": of_tasks(accuracies.amin(1)),
        "best_of_networks": of_tasks(accuracies.amax(1)),
        "seen": {
            "original": summarise(tasks.zoo.accuracies[tasks.rows(known)].mean(1)),
            "generated": summarise(answers(recipe, model, tasks.bits[known], test, 1, seed).accuracies[:, 0]),
        },
        "flipped": flips(found.right, originals, bits, labels_of(test)),
        "diversity": mean_diversity(~found.right, ~originals),
    }
    return numbers, {
        "bits": tasks.bits,
        "unseen": unseen,
        "originals": flatten(tasks.zoo.stacked(names=HEAD))[tasks.rows(torch.arange(len(tasks.bits)))],
        "generated": found.heads,
    }


# ---- the experiment -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unseen:
    """The experiment as notebooks use it: its record, the first split's generator, and classifier heads.

    heads: "bits" (T, bits) of all tasks; "unseen" (U,) which of them the generator never saw; "originals" (T, C, h) the
    head's weights of their checkpoints; "generated" (U, n, h) of networks generated for the unseen ones.
    """

    recipe: TaskRecipe
    record: dict
    model: RPG
    heads: dict[str, Tensor]

    @property
    def numbers(self) -> dict:
        return self.record["numbers"]

    @property
    def seen(self) -> Tensor:
        """(T,) bool: which tasks the generator learned from."""
        return torch.ones(len(self.heads["bits"]), dtype=torch.bool).index_fill(0, self.heads["unseen"], False)


def unseen_tasks(recipe: TaskRecipe, profile: str, fresh: bool, seed: int = 0, device: str = "auto") -> Unseen:
    """Compute the experiment and record it (`fresh`), or read its record, its generator and its heads.

    An interrupted computation goes on where it was: zoo, splits and curve are kept as they are finished.
    Raises `InputError` where there is nothing to read, and where the images are not at hand for a fresh one.
    """
    if fresh:
        _compute(seeded(recipe, seed), profile, device, keep=True)
    recipe = seeded(recipe, seed)
    return Unseen(recipe, *recorded(recipe, profile, HEADS, pick(device)))


def numbers_alone(recipe: TaskRecipe, profile: str, fresh: bool, seed: int = 0, device: str = "auto") -> dict:
    """As `unseen_tasks` for a second zoo: its record, of which no generator is kept."""
    if fresh:
        _compute(seeded(recipe, seed), profile, device, keep=False)
    return row(recipe, profile, False, seed, device, keep_generator=False).record


def at_hand(recipe: TaskRecipe, profile: str, seed: int = 0, device: str = "auto") -> Unseen:
    """Read the experiment where it was recorded, compute it where it was not: for notebooks that build on it.

    A record of other settings is no reason to write over it: raises `InputError` as `unseen_tasks`.
    """
    absent = not (results_dir(profile) / f"{recipe.name}.json").exists()
    return unseen_tasks(recipe, profile, absent, seed, device)


def _compute(recipe: TaskRecipe, profile: str, device: str, keep: bool) -> None:
    began, images = time.perf_counter(), images_of(recipe.images)
    # First and once: the parts are computed side by side, and all of them want the zoo.
    tasks = task_zoo.task_zoo(recipe, profile, images, pick(device))
    first, *later = (Part(recipe, profile, split, device=device) for split in recipe.splits)
    first = replace(first, kept=keep)
    curve = [replace(first, count=count, kept=False) for count in recipe.curve]
    found = run([first, *later, *curve], label=recipe.name)
    splits, rows = found[: len(recipe.splits)], found[len(recipe.splits) :]
    numbers = {
        "zoo": summarise(tasks.zoo.accuracies) | {"tasks": len(tasks.bits), "checkpoints_per_task": tasks.each},
        "splits": splits,
    }
    if recipe.curve:
        methods = {"RPG": splits[0]["generated"], **splits[0]["baselines"]}
        everything = {
            name: {key: value for key, value in result.items() if key != "accuracies"}
            for name, result in methods.items()
        }
        numbers["curve"] = [*rows, {"seen_tasks": splits[0]["seen_tasks"], "methods": everything}]
    if keep:
        numbers["finetuning"] = splits[0].pop("finetuning")
    with storing(profile, recipe.name):
        digest = None
        if keep:
            model, companions, _ = RPG.read(folder_of(first), companions=(HEADS,))
            digest = model.save_pretrained(generator_dir(profile, recipe.name), companions)
        write_record(recipe.name, profile, numbers, **facts_of_record(recipe, began), generator=digest)


def facts_of_record(recipe: TaskRecipe, began: float) -> dict:
    """What a record of this recipe says beside its numbers; began: by `time.perf_counter`."""
    return {
        "config": recipe,
        "seeds": {"collect": recipe.collect.seed, "train": recipe.train.seed, "splits": recipe.splits},
        "n": len(recipe.splits),
        "wall_seconds": time.perf_counter() - began,
        "data_source": images_of(recipe.images).source,
    }


def check_live(result: Unseen, count: int = 2, tolerance: float = 1.0) -> str:
    """Generate for the first `count` unseen tasks again and compare mean accuracies with the record, in points.

    Returns one sentence; raises `AssertionError` where the record does not hold.
    """
    first = result.numbers["splits"][0]
    bits = result.heads["bits"][result.heads["unseen"]][:count]
    n, seed = first["networks_per_task"], result.recipe.train.seed + first["split"]
    found = answers(result.recipe, result.model, bits, images_of(result.recipe.images).test, n, seed).accuracies.mean(1)
    recorded = torch.tensor(first["generated"]["accuracies"][:count], dtype=found.dtype)
    largest = float((found - recorded).abs().max())
    assert largest <= tolerance, f"recomputed accuracies differ from the record by {largest:.2f} points"
    return f"{count} unseen tasks: {n} networks each generated and evaluated again; they agree with the record"
