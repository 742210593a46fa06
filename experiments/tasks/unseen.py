"""Networks for tasks that a generator never saw: from a zoo of binary tasks to the record of `15_unseen_tasks`.

Tasks are rows of bits, one per class (paper v1, section 4). A generator learns from the checkpoints of the seen tasks;
what it writes for the unseen ones is compared with networks trained for them and with baselines that need no generator.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from experiments import pipeline
from experiments.pipeline import NETWORKS, fit, generate, images_of, pick, recorded, seeded, thinned
from experiments.profiles import TaskRecipe
from experiments.records import generator_dir, storing, working_dir, write_record
from experiments.tasks.finetuning import measure_finetuning
from experiments.tasks.task_zoo import HEAD, TaskZoo, task_zoo
from rpglib.analysis.accuracy import predictions, summarise
from rpglib.analysis.similarity import diversity
from rpglib.baselines.majority import majority_class
from rpglib.baselines.mean import mean_network
from rpglib.baselines.nearest import nearest_task
from rpglib.baselines.ridge import ridge
from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.runtime.files import read_json, write_json
from rpglib.runtime.locks import working_folder
from rpglib.runtime.sources import LIBRARY, sources_digest
from rpglib.runtime.state_dicts import flatten, unflatten
from rpglib.tasks import name_of, split_tasks
from rpglib.training.loop import TrainResult
from rpglib.zoo.images import Images, Split, Stream, labels_of
from rpglib.zoo.store import Zoo

HEADS, GENERATOR = "heads.safetensors", "generator"
EVALUATED_TOGETHER = 4096
"""Images that a network sees at a time where they are read from disk; small data sets come in one piece."""


# ---- baselines ------------------------------------------------------------------------------------------------------


def baselines(head: Tensor) -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    """The baselines that write weights: each takes seen bits, seen weights, bits; `head` (P,) bool marks the head."""
    return {
        "mean network": mean_network,
        "nearest seen task": nearest_task,
        "ridge on bits": ridge,
        "ridge on bits and pairs": partial(ridge, order=2),
        "mean backbone + ridge head": partial(ridge, order=2, columns=head),
    }


def measure_baselines(recipe: TaskRecipe, tasks: TaskZoo, seen: Tensor, unseen: Tensor, images: Images, device) -> dict:
    """The accuracies on the unseen tasks of every baseline that needs no training, by name."""
    bits, test = tasks.bits[unseen], images.test
    constant = majority_class(bits, labels_of(images.train).bincount(minlength=images.num_classes))
    result = {"majority class": of_tasks(percent(constant[:, None] == bits[:, labels_of(test)]))}
    for name, baseline in baselines(tasks.columns(HEAD)).items():
        written = unflatten(baseline(tasks.bits[seen], tasks.weights[seen], bits), tasks.start)
        result[name] = of_tasks(percent(correct(recipe, written, bits, test, device)))
    return result


# ---- measures -------------------------------------------------------------------------------------------------------


def correct(
    recipe: TaskRecipe, networks, bits: Tensor, split: Split | Stream, device: torch.device | str = "cpu"
) -> Tensor:
    """Return (N, n) bool: which images N networks (state dicts, or side by side) answer as bits (N, bits) ask."""
    module = recipe.architecture.build()
    return torch.cat(
        [predictions(module, networks, x, device=device) == bits[:, y] for x, y in split.batches(EVALUATED_TOGETHER)], 1
    )


def percent(right: Tensor) -> Tensor:
    """Accuracy in percent (...) float64 of right answers (..., n)."""
    return 100 * right.double().mean(-1)


def of_tasks(accuracies: Tensor) -> dict:
    """The summary over tasks of one accuracy (percent) for each, and the accuracies themselves."""
    return summarise(accuracies) | {"accuracies": [round(a, 3) for a in accuracies.tolist()]}


@dataclass(frozen=True)
class Answers:
    """What n generated networks for each of U tasks do: right (U, n, images) bool, and their heads (U, n, h)."""

    right: Tensor
    heads: Tensor

    @property
    def accuracies(self) -> Tensor:
        """Percent (U, n)."""
        return percent(self.right)


def answers(
    recipe: TaskRecipe,
    model: RPG,
    bits: Tensor,
    split: Split | Stream,
    n: int,
    seed: int = 0,
    labels: Tensor | None = None,
) -> Answers:
    """Generate `n` networks for each of the tasks (U, bits) and evaluate them, task by task: large ones fit no memory.

    labels (U, bits): the tasks by which they are judged, by default those that they were generated for.
    """
    labels = bits if labels is None else labels
    right, heads = [], []
    for row, (task, judged) in enumerate(zip(bits, labels, strict=True)):
        networks = generate(recipe, model, n, seed, task, first=n * row)
        right.append(correct(recipe, networks, judged.expand(n, -1), split, model.device))
        heads.append(torch.stack([torch.cat([network[name].flatten() for name in HEAD]) for network in networks]))
    return Answers(torch.stack(right), torch.stack(heads))


def measure_split(
    recipe: TaskRecipe, tasks: TaskZoo, split: int, images: Images, device: torch.device, folder: Path, seed: int = 0
) -> tuple[dict, RPG, Answers]:
    """Train on the seen tasks of one split and measure on all its unseen tasks.

    Returns the numbers for the record, the generator, and what its networks for the unseen tasks do. An interrupted
    training goes on from what it left in `folder`.
    """
    began, spent = time.perf_counter(), []
    seen, unseen = split_tasks(len(tasks.bits), split, recipe.seen)
    bits, test = tasks.bits[unseen], images.test
    model, training = _fit(recipe, tasks.checkpoints(seen), device, folder / f"split{split}", spent)
    head_only = replace(recipe, model=replace(recipe.model, conditioning="head"))
    other, _ = _fit(head_only, tasks.checkpoints(seen), device, folder / f"split{split}_head", spent)
    found = answers(recipe, model, bits, test, NETWORKS, seed)
    by_head = answers(head_only, other, bits, test, 1, seed)
    originals = _originals(recipe, tasks, unseen, test, device)
    accuracies = found.accuracies
    numbers = {
        "split": split,
        "seen_tasks": len(seen),
        "unseen_tasks": len(unseen),
        "networks_per_task": NETWORKS,
        "generator_parameters": sum(p.numel() for p in model.parameters()),
        "precision": training.precision,
        "loss": thinned(training),
        "tasks": [name_of(task) for task in bits],
        "original": of_tasks(percent(originals).mean(1)),
        "generated": of_tasks(accuracies.mean(1)),
        "std_within_tasks": of_tasks(accuracies.std(1)),
        "worst_of_networks": of_tasks(accuracies.amin(1)),
        "best_of_networks": of_tasks(accuracies.amax(1)),
        "baselines": measure_baselines(recipe, tasks, seen, unseen, images, device)
        | {"head-only conditioning": of_tasks(by_head.accuracies.mean(1))},
        "seen": {
            "original": summarise(percent(_originals(recipe, tasks, seen, test, device)).mean(1)),
            "generated": summarise(answers(recipe, model, tasks.bits[seen], test, 1, seed).accuracies[:, 0]),
        },
        "flipped": measure_flips(recipe, tasks, seen, unseen, model, test, seed),
        "diversity": mean_diversity(~found.right, ~originals),
    }
    return numbers | {"seconds": _seconds(began, spent) | {"train_one": training.seconds}}, model, found


def _originals(recipe: TaskRecipe, tasks: TaskZoo, chosen: Tensor, split: Split | Stream, device) -> Tensor:
    """What the checkpoints of the chosen tasks answer rightly: (tasks, C, images) bool."""
    bits = tasks.bits[chosen].repeat_interleave(tasks.each, 0)
    return correct(recipe, tasks.checkpoints(chosen), bits, split, device).view(len(chosen), tasks.each, -1)


def _fit(recipe: TaskRecipe, zoo: Zoo, device: torch.device, folder: Path, spent: list) -> tuple[RPG, TrainResult]:
    """`fit`, noting in `spent` how long the training took, interrupted runs included, and how long this call took."""
    began = time.perf_counter()
    model, training = fit(recipe, zoo, device, folder)
    spent.append((training.seconds, time.perf_counter() - began))
    return model.to(device), training


def _seconds(began: float, spent: list) -> dict[str, float]:
    """Seconds of all training, and of everything else since `began`."""
    return {
        "train": sum(training for training, _ in spent),
        "measure": time.perf_counter() - began - sum(elapsed for _, elapsed in spent),
    }


def measure_flips(
    recipe: TaskRecipe, tasks: TaskZoo, seen: Tensor, unseen: Tensor, model: RPG, split: Split | Stream, seed: int = 0
) -> dict:
    """Generate for seen tasks and for the same tasks with every bit flipped, where those are unseen (v1, table 10).

    accuracies in percent: unflipped by the seen task's labels; flipped by the flipped labels, of networks for the
    flipped bits. by_class: of the first pair, the accuracy on the images of each class.
    """
    rows = {tuple(tasks.bits[i].tolist()): i for i in unseen.tolist()}
    pairs = [(i, rows[key]) for i in seen.tolist() if (key := tuple((1 - tasks.bits[i]).tolist())) in rows]
    if not pairs:
        raise InputError("no seen task has its opposite among the unseen ones; use more tasks")
    result, labels = {"pairs": len(pairs)}, labels_of(split)
    for name, chosen in zip(("unflipped", "flipped"), torch.tensor(pairs).T, strict=True):
        found = answers(recipe, model, tasks.bits[chosen], split, 1, seed)
        right = found.right[0, 0].double()
        result[name] = summarise(found.accuracies.mean(1)) | {
            "task": name_of(tasks.bits[chosen[0]]),
            "by_class": [100 * right[labels == k].mean().item() for k in range(tasks.bits.shape[1])],
        }
    return result


def mean_diversity(generated: Tensor, originals: Tensor) -> dict[str, float]:
    """`diversity` of each task's networks, errors (U, n, images) and (U, C, images), averaged over the tasks."""
    by_task = [diversity(a, b) for a, b in zip(generated, originals, strict=True)]
    return {name: sum(found[name] for found in by_task) / len(by_task) for name in by_task[0]}


def measure_curve(recipe: TaskRecipe, tasks: TaskZoo, images: Images, device: torch.device, folder: Path) -> dict:
    """Accuracy on the unseen tasks of the first split against the number of seen tasks: the generator, its baselines.

    The generator trains as `recipe.curve_train` says for every number, and writes one network per unseen task. A
    smaller number's tasks are among a larger one's.
    """
    split = recipe.splits[0]
    seen, unseen = split_tasks(len(tasks.bits), split, recipe.seen)
    order = seen[torch.randperm(len(seen), generator=torch.Generator().manual_seed(split))]
    shorter = replace(recipe, train=recipe.curve_train)
    began, spent, rows = time.perf_counter(), [], []
    for count in (*recipe.curve, len(seen)):
        chosen = order[:count].sort().values
        model, _ = _fit(shorter, tasks.checkpoints(chosen), device, folder / f"curve{count}", spent)
        found = answers(shorter, model, tasks.bits[unseen], images.test, 1)
        methods = {"RPG": summarise(found.accuracies.mean(1))}
        for name, result in measure_baselines(recipe, tasks, chosen, unseen, images, device).items():
            methods[name] = {key: value for key, value in result.items() if key != "accuracies"}
        rows.append({"seen_tasks": count, "methods": methods})
    return {"rows": rows, "seconds": _seconds(began, spent)}


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
    recipe = seeded(recipe, seed)
    if fresh:
        return Unseen(recipe, *_compute(recipe, profile, seed, pick(device)))
    return Unseen(recipe, *recorded(recipe, profile, HEADS, pick(device)))


def at_hand(recipe: TaskRecipe, profile: str, seed: int = 0, device: str = "auto") -> Unseen:
    """Read the experiment where it was recorded, compute it where it was not: for notebooks that build on it."""
    try:
        return unseen_tasks(recipe, profile, False, seed, device)
    except InputError:
        return unseen_tasks(recipe, profile, True, seed, device)


def _compute(
    recipe: TaskRecipe, profile: str, seed: int, device: torch.device
) -> tuple[dict, RPG, dict[str, torch.Tensor]]:
    # Another recipe, seed or code must not go on from this one's parts.
    code = sources_digest(LIBRARY, Path(__file__).parent, Path(pipeline.__file__))
    key = hashlib.sha256(json.dumps([asdict(recipe), code]).encode()).hexdigest()[:8]
    with working_folder(working_dir(profile, f"{recipe.name}_{key}")) as unfinished:
        return _computed(recipe, profile, seed, device, unfinished)


def _computed(
    recipe: TaskRecipe, profile: str, seed: int, device: torch.device, unfinished: Path
) -> tuple[dict, RPG, dict[str, torch.Tensor]]:
    images = images_of(recipe.images)
    tasks = task_zoo(recipe, profile, images, device)
    parts = {
        f"split{split}": partial(_split_and_keep, recipe, tasks, split, images, device, unfinished, seed)
        for split in recipe.splits
    }
    parts["curve"] = partial(measure_curve, recipe, tasks, images, device, unfinished)
    parts["finetuning"] = partial(_finetuning, recipe, tasks, images, device, unfinished, seed)
    found = {name: _once(unfinished / f"{name}.json", compute) for name, compute in parts.items()}
    seconds = {"collect": tasks.seconds} | {
        name: part["seconds"]["train"] + part["seconds"]["measure"] for name, part in found.items()
    }
    model, companions, _ = RPG.read(unfinished / GENERATOR, device, (HEADS,))
    with storing(profile, recipe.name):
        digest = model.save_pretrained(generator_dir(profile, recipe.name), companions)
        record = write_record(
            recipe.name,
            profile,
            {
                "zoo": summarise(tasks.zoo.accuracies) | {"tasks": len(tasks.bits), "checkpoints_per_task": tasks.each},
                "splits": [found[f"split{split}"] for split in recipe.splits],
                "curve": found["curve"]["rows"],
                "finetuning": found["finetuning"],
                "seconds": seconds,
            },
            config=recipe,
            seeds={
                "collect": recipe.collect.seed,
                "train": recipe.train.seed,
                "generate": seed,
                "splits": recipe.splits,
            },
            n=len(recipe.splits),
            wall_seconds=sum(seconds.values()),
            data_source=images.source,
            generator=digest,
        )
    return record, model, companions[HEADS]


def _finetuning(recipe: TaskRecipe, tasks: TaskZoo, images: Images, device, folder: Path, seed: int) -> dict:
    model = RPG.from_pretrained(folder / GENERATOR, device)
    _, unseen = split_tasks(len(tasks.bits), recipe.splits[0], recipe.seen)
    began = time.perf_counter()
    return measure_finetuning(recipe, tasks, unseen, model, images, seed) | {"seconds": _seconds(began, [])}


def _split_and_keep(recipe, tasks, split, images, device, folder, seed) -> dict:
    """Measure one split; the first one's generator and heads are kept for the other notebooks."""
    numbers, model, found = measure_split(recipe, tasks, split, images, device, folder, seed)
    if split == recipe.splits[0]:
        _, unseen = split_tasks(len(tasks.bits), split, recipe.seen)
        heads = {
            "bits": tasks.bits,
            "unseen": unseen,
            "originals": flatten(tasks.zoo.stacked(names=HEAD)).view(len(tasks.bits), tasks.each, -1),
            "generated": found.heads,
        }
        model.save_pretrained(folder / GENERATOR, {HEADS: heads})
    return numbers


def _once(path: Path, compute: Callable):
    """Read what an interrupted computation left in `path`, or compute it and leave it there."""
    if not path.exists():
        write_json(path, compute())
    return read_json(path)


def check_live(result: Unseen, count: int = 2, tolerance: float = 1.0) -> str:
    """Generate for the first `count` unseen tasks again and compare mean accuracies with the record, in points.

    Returns one sentence; raises `AssertionError` where the record does not hold.
    """
    first = result.numbers["splits"][0]
    bits = result.heads["bits"][result.heads["unseen"]][:count]
    n, seed = first["networks_per_task"], result.record["seeds"]["generate"]
    found = answers(result.recipe, result.model, bits, images_of(result.recipe.images).test, n, seed).accuracies.mean(1)
    recorded = torch.tensor(first["generated"]["accuracies"][:count], dtype=found.dtype)
    largest = float((found - recorded).abs().max())
    assert largest <= tolerance, f"recomputed accuracies differ from the record by {largest:.2f} points"
    return f"{count} unseen tasks: {n} networks each generated and evaluated again; they agree with the record"
