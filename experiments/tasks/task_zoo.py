"""The zoo of binary tasks: networks that tell some classes of a data set from the others, all from one start."""

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from experiments.pipeline import obtain_zoo, zoo_path
from experiments.profiles import TaskRecipe
from experiments.records import zoo_dir
from rpglib.runtime.files import read_json, save_tensors, write_json
from rpglib.runtime.sources import LIBRARY, sources_digest
from rpglib.runtime.state_dicts import flatten
from rpglib.zoo.collect import init_population, train_population
from rpglib.zoo.images import Images
from rpglib.zoo.store import Zoo

HEAD = ("head.weight", "head.bias")
"""The classifier, by the names that our networks and timm's vision transformers give it."""

START, SECONDS = "start.safetensors", "seconds.json"


@dataclass(frozen=True)
class TaskZoo:
    """Checkpoints of T binary tasks, C of each, next to each other in the zoo, all trained from one start.

    bits (T, bits) int64; weights (T, P): the mean of each task's checkpoints, tensor after tensor as in `start`, the
    state dict that every task's training began with; seconds: what pretraining and collection took.
    """

    zoo: Zoo
    bits: Tensor
    weights: Tensor
    start: dict[str, Tensor]
    seconds: float

    @property
    def each(self) -> int:
        return len(self.zoo) // len(self.bits)

    def checkpoints(self, tasks: Tensor) -> Zoo:
        """The zoo of the chosen tasks' checkpoints, (len(tasks) x C)."""
        return self.zoo.subset((tasks[:, None] * self.each + torch.arange(self.each)).flatten())

    def columns(self, names: tuple[str, ...]) -> Tensor:
        """(P,) bool: the weights that belong to the tensors of these names."""
        return torch.cat([torch.full((x.numel(),), name in names) for name, x in self.start.items()])


def task_zoo(recipe: TaskRecipe, profile: str, images: Images, device: torch.device) -> TaskZoo:
    """Open the recipe's zoo of tasks where it was collected before; collect it otherwise, from a pretrained start."""
    began = time.perf_counter()
    bits, folder = recipe.tasks(), zoo_dir(profile, recipe.name)
    start = pretrained_start(recipe, images, folder / START, device)
    zoo = obtain_zoo(recipe, profile, images, device, label_maps=bits, start=start)
    noted = zoo_path(recipe, profile, images, label_maps=bits, start=start) / SECONDS
    seconds = _seconds(noted, zoo, time.perf_counter() - began)
    each = recipe.collect.checkpoints
    # Task by task: the checkpoints of large networks do not fit into memory together.
    weights = [_flat_mean(zoo.stacked(range(first, first + each)), start) for first in range(0, len(zoo), each)]
    return TaskZoo(zoo, bits, torch.stack(weights), start, seconds)


def _seconds(path: Path, zoo: Zoo, elapsed: float) -> float:
    """What collecting this zoo took: `elapsed` where it was collected just now, or what was noted down then."""
    if path.exists() and (noted := read_json(path))["config"] == zoo.config:
        return noted["seconds"]
    write_json(path, {"config": zoo.config, "seconds": elapsed})
    return elapsed


def _flat_mean(networks: dict[str, Tensor], like: dict[str, Tensor]) -> Tensor:
    return flatten({name: networks[name] for name in like}).mean(0)


def pretrained_start(recipe: TaskRecipe, images: Images, path: Path, device: torch.device) -> dict[str, Tensor]:
    """Return the state dict that all tasks start from, read from `path` where the same recipe left it there.

    Small networks are trained to tell all classes apart, timm models come with timm's pretrained weights. The head is
    new, as it has one output per label, and zero: at first it favours no label (Dosovitskiy et al. 2021, section 3.2).
    """
    architecture, seed = recipe.architecture, recipe.collect.seed
    identity = json.dumps({"pretrain": asdict(recipe.pretrain), "architecture": asdict(architecture), "seed": seed})
    identity += sources_digest(LIBRARY / "zoo")  # other code may train another network
    expected = architecture.build().state_dict()
    if path.exists():
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("identity") == identity:
                return {name: file.get_tensor(name) for name in expected}
    if architecture.small:
        teacher = replace(architecture, num_classes=images.num_classes)
        untrained = init_population(teacher, [seed])
        trained = train_population(teacher.build().to(device), untrained, images.train, recipe.pretrain, [seed])
        trained = {name: values[0, 0].cpu() for name, values in trained.items()}
    else:
        trained = architecture.pretrained().state_dict()
    start = {name: torch.zeros_like(x) if name in HEAD else trained[name] for name, x in expected.items()}
    save_tensors(path, start, {"identity": identity})
    return start
