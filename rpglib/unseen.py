"""Networks for tasks nobody trained: from a zoo of binary tasks to the records of `10_unseen_tasks` and `11_pca`.

Tasks are rows of bits, one per class (paper, section 4). A generator learns from the checkpoints of the seen tasks; what
it writes for the unseen ones is compared with networks trained for them and with rivals that need no generator.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rpglib.analysis.accuracy import accuracy, predictions, summarise
from rpglib.analysis.similarity import diversity
from rpglib.baselines.majority import majority_class
from rpglib.baselines.mean import mean_network
from rpglib.baselines.nearest import nearest_task
from rpglib.baselines.ridge import ridge
from rpglib.checkpoints import flatten, unflatten
from rpglib.errors import InputError
from rpglib.files import read_json, save_tensors, write_json
from rpglib.model.rpg import RPG
from rpglib.pipeline import fit, images_of, pick, thinned
from rpglib.profiles import TaskRecipe
from rpglib.records import generator_dir, home, read_record, write_record, zoo_dir
from rpglib.tasks import all_tasks, split_tasks
from rpglib.training import TrainResult
from rpglib.zoo.collect import Recipe as TrainingRecipe
from rpglib.zoo.collect import collect, init_population, train_population
from rpglib.zoo.images import Images, Split
from rpglib.zoo.store import Zoo

EXPERIMENT = "unseen_tasks"
START, HEADS = "start.safetensors", "heads.safetensors"
HEAD = ("head.weight", "head.bias")


@dataclass(frozen=True)
class TaskZoo:
    """Checkpoints of T binary tasks, C of each, next to each other in the zoo, all trained from one start.

    bits (T, bits) int64; weights (T, P): the mean of each task's checkpoints, tensor after tensor as in `like`, which is
    one of the checkpoints; start: the state dict that every task's training began with.
    """

    zoo: Zoo
    bits: Tensor
    weights: Tensor
    start: dict[str, Tensor]

    @property
    def like(self) -> dict[str, Tensor]:
        return self.start

    @property
    def each(self) -> int:
        return len(self.zoo) // len(self.bits)

    def checkpoints(self, tasks: Tensor) -> Zoo:
        """The zoo of the chosen tasks' checkpoints, (len(tasks) x C)."""
        return self.zoo.subset((tasks[:, None] * self.each + torch.arange(self.each)).flatten())

    def columns(self, names: tuple[str, ...]) -> Tensor:
        """(P,) bool: the weights that belong to the tensors of these names."""
        return torch.cat([torch.full((x.numel(),), name in names) for name, x in self.like.items()])


def task_zoo(recipe: TaskRecipe, profile: str, images: Images, device: torch.device) -> TaskZoo:
    """Open the recipe's zoo of tasks where it was collected before; collect it otherwise, from a pretrained start."""
    bits = recipe.tasks()
    start = pretrained_start(recipe, images, zoo_dir(profile, recipe.name) / START, device)
    zoo = obtain_zoo(recipe, profile, images, device, label_maps=bits, start=start)
    each = recipe.collect.checkpoints
    # Task by task: the checkpoints of large networks do not fit into memory together.
    weights = [_flat_mean(zoo.stacked(range(first, first + each)), start) for first in range(0, len(zoo), each)]
    return TaskZoo(zoo, bits, torch.stack(weights), start)


def _flat_mean(networks: dict[str, Tensor], like: dict[str, Tensor]) -> Tensor:
    return flatten({name: networks[name] for name in like}).mean(0)


def pretrained_start(recipe: TaskRecipe, images: Images, path: Path, device: torch.device) -> dict[str, Tensor]:
    """Return the state dict that all tasks start from, read from `path` where the same recipe left it there.

    Small networks are trained to tell all classes apart, timm models come with timm's pretrained weights; the head is new
    and random, as it has one output per label of the tasks.
    """
    identity = json.dumps(
        {
            "pretrain": asdict(recipe.pretrain),
            "architecture": recipe.architecture.to_dict(),
            "seed": recipe.collect.seed,
        }
    )
    if path.exists():
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("identity") == identity:
                return load_file(path)
    architecture, seed = recipe.architecture, recipe.collect.seed
    (fresh,) = ({name: x[0] for name, x in init_population(architecture, [seed]).items()},)
    if architecture.small:
        teacher = replace(architecture, num_classes=images.num_classes)
        trained = train_population(
            teacher.build().to(device), init_population(teacher, [seed]), images.train, recipe.pretrain, [seed]
        )
        trained = {name: x[0, 0].cpu() for name, x in trained.items()}
    else:
        trained = architecture.pretrained().state_dict()
    start = {name: x if name in HEAD else trained[name] for name, x in fresh.items()}
    save_tensors(path, start, {"identity": identity})
    return start


# ---- rivals ---------------------------------------------------------------------------------------------------------


def rivals(head: Tensor) -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    """The rivals that write weights: each takes seen bits, seen weights and bits; `head` (P,) bool marks the head."""
    return {
        "mean network": mean_network,
        "nearest seen task": nearest_task,
        "ridge on bits": ridge,
        "ridge on bits and pairs": partial(ridge, order=2),
        "mean backbone + ridge head": partial(ridge, order=2, columns=head),
    }


def measure_rivals(recipe: TaskRecipe, tasks: TaskZoo, seen: Tensor, unseen: Tensor, images: Images, device) -> dict:
    """The accuracies on the unseen tasks of every rival that needs no training, by name."""
    bits, test = tasks.bits[unseen], images.test
    answers = majority_class(bits, images.train.labels.bincount(minlength=images.num_classes))
    result = {"majority class": of_tasks(percent(answers[:, None] == bits[:, test.labels]))}
    for name, rival in rivals(tasks.columns(HEAD)).items():
        written = unflatten(rival(tasks.bits[seen], tasks.weights[seen], bits), tasks.start)
        result[name] = of_tasks(percent(correct(recipe, written, bits, test, device)))
    return result


# ---- measures -------------------------------------------------------------------------------------------------------


def correct(recipe: TaskRecipe, networks, bits: Tensor, split: Split, device: torch.device | str = "cpu") -> Tensor:
    """Return (N, n) bool: which images N networks (state dicts, or side by side) answer as bits (N, bits) ask."""
    answers = predictions(recipe.architecture.build(), networks, split.images, device=device)
    return answers == bits[:, split.labels]


def percent(right: Tensor) -> Tensor:
    """Accuracy in percent (N,) float64 of right answers (N, n)."""
    return 100 * right.double().mean(1)


def of_tasks(accuracies: Tensor) -> dict:
    """The summary over tasks of one accuracy (percent) for each, and the accuracies themselves."""
    return summarise(accuracies) | {"accuracies": [round(a, 3) for a in accuracies.tolist()]}


@dataclass(frozen=True)
class Answers:
    """What generated networks do, a row per task (U tasks, n networks each): right (U, n, images) and heads (U, n, h)."""

    right: Tensor
    heads: Tensor

    @property
    def accuracies(self) -> Tensor:
        """Percent (U, n)."""
        return 100 * self.right.double().mean(2)


def answers(
    recipe: TaskRecipe, model: RPG, bits: Tensor, split: Split, n: int, seed: int = 0, labels: Tensor | None = None
) -> Answers:
    """Generate `n` networks for each of the tasks (U, bits) and evaluate them, task by task: large ones fit no memory.

    labels (U, bits): the tasks by which they are judged, by default those that they were generated for.
    """
    labels = bits if labels is None else labels
    right, heads = [], []
    for row, (task, judged) in enumerate(zip(bits, labels, strict=True)):
        networks = write(recipe, model, task, n, seed + n * row)
        right.append(correct(recipe, networks, judged.expand(n, -1), split, model.device))
        heads.append(torch.stack([torch.cat([network[name].flatten() for name in HEAD]) for network in networks]))
    return Answers(torch.stack(right), torch.stack(heads))


def write(recipe: TaskRecipe, model: RPG, task: Tensor, n: int, seed: int = 0) -> list[dict[str, Tensor]]:
    """Generate `n` networks for one task with the recipe's sampler."""
    return model.generate(n, task, sampler=recipe.sampler, steps=recipe.sampling_steps, seed=seed)


def measure_split(
    recipe: TaskRecipe, tasks: TaskZoo, split: int, images: Images, device: torch.device, folder: Path, seed: int = 0
) -> tuple[dict, RPG, Answers]:
    """Train on the seen tasks of one split and measure on all its unseen tasks.

    Returns the numbers for the record, the generator, and what its networks for the unseen tasks do. An interrupted
    training goes on from what it left in `folder`.
    """
    seen, unseen = split_tasks(len(tasks.bits), split, recipe.seen)
    bits, test = tasks.bits[unseen], images.test
    times = [time.perf_counter()]
    model, training = fit(recipe, tasks.checkpoints(seen), device, folder / f"split{split}")
    model.to(device)
    times.append(time.perf_counter())
    found = answers(recipe, model, bits, test, NETWORKS, seed)
    times.append(time.perf_counter())
    head_only = replace(recipe, model=replace(recipe.model, conditioning="head"))
    other, _ = fit(head_only, tasks.checkpoints(seen), device, folder / f"split{split}_head")
    by_head = answers(head_only, other.to(device), bits, test, 1, seed)
    originals = correct(recipe, tasks.checkpoints(unseen), bits.repeat_interleave(tasks.each, 0), test, device)
    originals = originals.view(len(unseen), tasks.each, -1)
    some = seen[: len(unseen)]
    of_seen = answers(recipe, model, tasks.bits[some], test, 1, seed)
    seen_originals = correct(
        recipe, tasks.checkpoints(some), tasks.bits[some].repeat_interleave(tasks.each, 0), test, device
    )
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
        "original": of_tasks(100 * originals.double().mean((1, 2))),
        "generated": of_tasks(accuracies.mean(1)),
        "std_within_tasks": of_tasks(accuracies.std(1)),
        "worst_of_networks": of_tasks(accuracies.amin(1)),
        "best_of_networks": of_tasks(accuracies.amax(1)),
        "rivals": measure_rivals(recipe, tasks, seen, unseen, images, device)
        | {"head-only conditioning": of_tasks(by_head.accuracies.mean(1))},
        "seen": {
            "original": summarise(percent(seen_originals).view(len(some), -1).mean(1)),
            "generated": summarise(of_seen.accuracies.mean(1)),
        },
        "flipped": measure_flips(recipe, tasks, seen, unseen, model, test, seed),
        "diversity": mean_diversity(~found.right, ~originals),
    }
    numbers["seconds"] = {"train": times[1] - times[0], "generate_and_evaluate": times[2] - times[1]}
    return numbers, model, found


def measure_flips(
    recipe: TaskRecipe, tasks: TaskZoo, seen: Tensor, unseen: Tensor, model: RPG, split: Split, seed: int = 0
) -> dict:
    """Generate for seen tasks and for the same tasks with every bit flipped, where those are unseen (paper, table 10).

    accuracies in percent: unflipped by the seen task's labels; flipped by the flipped labels, of networks for the flipped
    bits. by_class: of the first pair, the accuracy on the images of each class.
    """
    rows = {tuple(tasks.bits[i].tolist()): i for i in unseen.tolist()}
    pairs = [(i, rows[key]) for i in seen.tolist() if (key := tuple((1 - tasks.bits[i]).tolist())) in rows]
    if not pairs:
        raise InputError("no seen task has its opposite among the unseen ones; use more tasks")
    result: dict = {"pairs": len(pairs)}
    for name, chosen in zip(("unflipped", "flipped"), torch.tensor(pairs).T, strict=True):
        found = answers(recipe, model, tasks.bits[chosen], split, 1, seed)
        right = found.right[0, 0].double()
        result[name] = summarise(found.accuracies.mean(1)) | {
            "task": name_of(tasks.bits[chosen[0]]),
            "by_class": [100 * right[split.labels == k].mean().item() for k in range(tasks.bits.shape[1])],
        }
    return result


def mean_diversity(generated: Tensor, originals: Tensor) -> dict[str, float]:
    """`diversity` of each task's networks, errors (U, n, images) and (U, C, images), averaged over the tasks."""
    by_task = [diversity(a, b) for a, b in zip(generated, originals, strict=True)]
    return {name: sum(found[name] for found in by_task) / len(by_task) for name in by_task[0]}


def measure_curve(recipe: TaskRecipe, tasks: TaskZoo, images: Images, device: torch.device, folder: Path) -> list[dict]:
    """Accuracy on the unseen tasks of the first split against the number of seen tasks: the generator and its rivals.

    The generator trains as `recipe.curve_train` says for every number, and writes one network per unseen task. A smaller
    number's tasks are among a larger one's.
    """
    split = recipe.splits[0]
    seen, unseen = split_tasks(len(tasks.bits), split, recipe.seen)
    order = seen[torch.randperm(len(seen), generator=torch.Generator().manual_seed(split))]
    shorter = replace(recipe, train=recipe.curve_train)
    rows = []
    for count in (*recipe.curve, len(seen)):
        chosen = order[:count].sort().values
        model, _ = fit(shorter, tasks.checkpoints(chosen), device, folder / f"curve{count}")
        found = answers(shorter, model.to(device), tasks.bits[unseen], images.test, 1)
        methods = {"RPG": summarise(found.accuracies.mean(1))}
        for name, result in measure_rivals(recipe, tasks, chosen, unseen, images, device).items():
            methods[name] = {key: value for key, value in result.items() if key != "accuracies"}
        rows.append({"seen_tasks": count, "methods": methods})
    return rows
