"""The zoo of binary tasks: networks that tell some classes of a data set from the others, from one backbone."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from experiments.pipeline import obtain_zoo
from experiments.profiles import TaskRecipe
from experiments.records import zoo_dir
from rpglib.runtime.files import save_tensors
from rpglib.runtime.sources import LIBRARY, sources_digest
from rpglib.runtime.state_dicts import flatten
from rpglib.tasks import all_tasks
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import init_population, train_population
from rpglib.zoo.images import Images
from rpglib.zoo.store import Zoo

HEAD = ("head.weight", "head.bias")
"""The classifier, by the names that our networks and timm's vision transformers give it."""

TRAINED = "trained.safetensors"


@dataclass(frozen=True)
class TaskZoo:
    """Checkpoints of T binary tasks, C of each, all trained from the backbone of one network.

    bits (T, bits) int64; weights (T, P): the mean of each task's checkpoints, tensor after tensor as in `start`: that
    backbone with a zero head, which favours no label. trained: the network itself, whose head tells all classes of the
    images apart where it was trained here.
    """

    zoo: Zoo
    bits: Tensor
    weights: Tensor
    trained: dict[str, Tensor]

    @property
    def start(self) -> dict[str, Tensor]:
        return _with_zero_head(self.trained, self.zoo.architecture)

    @property
    def each(self) -> int:
        return len(self.zoo) // len(self.bits)

    def rows(self, tasks: Tensor) -> Tensor:
        """(len(tasks), C) int64: where the chosen tasks' checkpoints are in the zoo, run after run."""
        return _rows(len(self.zoo), len(self.bits), self.zoo.config["runs"])[tasks]

    def checkpoints(self, tasks: Tensor) -> Zoo:
        """The zoo of the chosen tasks' checkpoints, (len(tasks) x C)."""
        return self.zoo.subset(self.rows(tasks).flatten())

    def columns(self, names: tuple[str, ...]) -> Tensor:
        """(P,) bool: the weights that belong to the tensors of these names."""
        return torch.cat([torch.full((x.numel(),), name in names) for name, x in self.start.items()])


def task_zoo(recipe: TaskRecipe, profile: str, images: Images, device: torch.device) -> TaskZoo:
    """Open the recipe's zoo of tasks where it was collected before; collect it otherwise, from a pretrained backbone.

    All networks begin with a zero head (Dosovitskiy et al. 2021, section 3.2), or each with a random one of its own.
    """
    bits, folder = tasks_of(recipe), zoo_dir(profile, recipe.name)
    trained = pretrained(recipe, images, folder / TRAINED, device)
    start = _with_zero_head(trained, recipe.architecture)
    begin = {name: x for name, x in start.items() if name not in HEAD} if recipe.random_heads else start
    zoo = obtain_zoo(recipe, profile, images, device, label_maps=bits, start=begin)
    # Task by task: the checkpoints of large networks do not fit into memory together.
    rows = _rows(len(zoo), len(bits), recipe.collect.runs)
    weights = torch.stack([_flat_mean(zoo.stacked(own.tolist()), start) for own in rows])
    return TaskZoo(zoo, bits, weights, trained)


def tasks_of(recipe: TaskRecipe) -> Tensor:
    """The tasks (T, bits) of a recipe in counting order."""
    tasks = all_tasks(recipe.model.task_bits)
    return tasks if recipe.count is None else tasks[some_pairs(torch.arange(len(tasks)), len(tasks), recipe.count, 0)]


def some_pairs(seen: Tensor, tasks: int, count: int, seed: int) -> Tensor:
    """`count` of the seen tasks in pairs of opposites, at random; a smaller number's are among a larger one's.

    They are rows of all `tasks` in counting order, where task and opposite are as far from the two ends.
    """
    half = seen[seen < tasks - 1 - seen]
    chosen = half[torch.randperm(len(half), generator=torch.Generator().manual_seed(seed))[: count // 2]]
    return torch.cat((chosen, tasks - 1 - chosen)).sort().values


def _rows(checkpoints: int, tasks: int, runs: int) -> Tensor:
    """(tasks, C) int64 from the zoo's order of run, task, step."""
    return torch.arange(checkpoints).view(runs, tasks, -1).transpose(0, 1).flatten(1)


def _flat_mean(networks: dict[str, Tensor], like: dict[str, Tensor]) -> Tensor:
    return flatten({name: networks[name] for name in like}).mean(0)


def _with_zero_head(trained: dict[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """The network with the head that `architecture` has, one output per label, all zero."""
    expected = architecture.build().state_dict()
    return {name: torch.zeros_like(x) if name in HEAD else trained[name] for name, x in expected.items()}


def pretrained(recipe: TaskRecipe, images: Images, path: Path, device: torch.device) -> dict[str, Tensor]:
    """Return the network whose backbone all tasks start from, read from `path` where the same recipe left it there.

    It comes with timm's weights where the recipe says so, and is trained here to tell all classes apart otherwise.
    """
    architecture, seed = recipe.architecture, recipe.collect.seed
    identity = json.dumps({"pretrain": asdict(recipe.pretrain), "architecture": asdict(architecture), "seed": seed})
    identity += sources_digest(LIBRARY / "zoo")  # other code may train another network
    if path.exists():
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("identity") == identity:
                return load_file(path)
    if recipe.pretrained:
        trained = architecture.pretrained().state_dict()
    else:
        teacher = for_all_classes(architecture, images)
        untrained = init_population(teacher, [seed])
        states = train_population(teacher.build().to(device), untrained, images.train, recipe.pretrain, [seed])
        trained = {name: values[0, 0].cpu() for name, values in states.items()}
    save_tensors(path, trained, {"identity": identity})
    return trained


def for_all_classes(architecture: Architecture, images: Images) -> Architecture:
    """The architecture with an output for every class of the images."""
    return replace(architecture, num_classes=images.num_classes)


def exchanged(heads: Tensor) -> Tensor:
    """Heads (..., 2 w + 2) with their two outputs exchanged: two rows of w weights, then the two biases."""
    weights, biases = heads[..., :-2].unflatten(-1, (2, -1)), heads[..., -2:]
    return torch.cat((weights.flip(-2).flatten(-2), biases.flip(-1)), -1)
