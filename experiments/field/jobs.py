"""The jobs of `24_baselines`: RPG with what needs no generator, a published method, its autoencoder, and it for tasks.

Each is computed once and kept (`experiments.sweeps.cells`), so that a broken run goes on and two run side by side.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from experiments.baselines import Networks, accuracies_on, arranged, mean_network, points, populations, side_by_side
from experiments.novelty.jobs import Job
from experiments.novelty.measures import MULTIPLES, Ruler
from experiments.pipeline import fit, generate, images_of, pick, retrained, zoo_path
from experiments.profiles import TaskRecipe
from experiments.records import plain
from experiments.sources import code_of
from experiments.tasks.task_zoo import TaskZoo, task_zoo
from rpglib.analysis.accuracy import accuracy, predictions, summarise
from rpglib.analysis.memorisation import nearest_distance, novelty_curve
from rpglib.analysis.similarity import mean_iou
from rpglib.baselines.d2nwg import D2NWG
from rpglib.baselines.deep_weight_flow import DeepWeightFlow
from rpglib.baselines.generator import GeneratorConfig, WeightGenerator
from rpglib.baselines.hyper_representations import HyperRepresentations
from rpglib.baselines.hypernetwork import Hypernetwork
from rpglib.baselines.p_diff import PDiff
from rpglib.baselines.sane import Sane
from rpglib.errors import InputError
from rpglib.runtime.files import save_tensors
from rpglib.runtime.state_dicts import Checkpoint
from rpglib.tasks import split_tasks
from rpglib.zoo.store import Zoo

GENERATORS: dict[str, type[WeightGenerator]] = {
    generator.method: generator
    for generator in (DeepWeightFlow, PDiff, HyperRepresentations, Sane, D2NWG, Hypernetwork)
}
CODE = code_of(__file__)
ORIGINALS, RPG_ROW, MEAN_ROW = "originals", "RPG", "mean network"
LOSS_POINTS = 25
NETWORKS_FILE = "networks.safetensors"
DIGITS = 6
"""Of recorded numbers: the record has thousands."""


@dataclass(frozen=True)
class Method:
    """A generator by its name, and the settings that are not its defaults.

    written: by label, settings of sampling alone; a fitted generator writes once for each.
    """

    generator: str
    settings: Mapping = field(default_factory=dict)
    written: Mapping[str, Mapping] = field(default_factory=dict)

    def config(self, stretch: float = 1.0) -> GeneratorConfig:
        """Its configuration, with so many times the training steps, one at least."""
        config = GENERATORS[self.generator].configuration(**self.settings)
        steps = {name: max(1, round(stretch * getattr(config, name))) for name in STEPS if hasattr(config, name)}
        return replace(config, **steps)


STEPS = ("steps", "diffusion_steps")
"""Settings that say how long a method is trained."""


@lru_cache(maxsize=2)
def _ruler(path: Path) -> Ruler:
    """A zoo as distances are measured by: its alignment takes longer than many a job."""
    return Ruler.of(Zoo.open(path), ("plain", "aligned"))


class Timed:
    """A job whose numbers name the processor time (s) that computing it took, in processes that it started, too.

    A subclass finds its numbers by `found`.
    """

    def compute(self, folder: Path) -> dict:
        began = _processor_seconds()
        found = self.found(folder)
        return rounded({**found, "processor_seconds": _processor_seconds() - began})

    def found(self, folder: Path) -> dict:
        raise NotImplementedError


def _processor_seconds() -> float:
    return sum(os.times()[:4])


class Measuring(Timed, Job):
    """A job that measures groups of networks on the test images of its recipe."""

    def facts(self) -> dict:
        return super().facts() | {"field_code": CODE}

    def row(self, zoo: Zoo, networks: Networks, originals: bool = False) -> dict:
        """A group's accuracy, error-IoU, median distances (LOO), and share new and good, by `MULTIPLES`.

        Good is what is as accurate as the worst original. validation: mean accuracy on validation images.
        """
        images = images_of(self.recipe.images)
        ruler = _ruler(zoo_path(self.recipe, self.profile, images))
        predicted = predictions(ruler.module, networks, images.test.images)
        right = accuracy(predicted, images.test.labels)
        near = {kind: ruler.distances(networks, kind, own=originals) for kind in ruler.kinds}
        new = torch.minimum(near["plain"], near["aligned"])
        spread = summarise(right)
        return {
            "accuracy": {part: spread[part] for part in ("max", "mean", "min", "std")},
            "validation": accuracies_on(ruler.module, networks, images.validation).mean().item(),
            "error_iou": mean_iou(predicted != images.test.labels) if len(networks) > 1 else None,
            "distance": near["plain"].median().item(),
            "aligned_distance": near["aligned"].median().item(),
            "new_and_good": novelty_curve(new, right, 1, zoo.accuracies.min().item(), MULTIPLES),
        }


@dataclass(frozen=True)
class Measured(Measuring):
    """The originals: one row of a zoo, whatever the seed."""

    def found(self, folder: Path) -> dict:
        zoo = self.zoo()
        return {"row": self.row(zoo, [*zoo], originals=True)}


@dataclass(frozen=True)
class Ours(Measuring):
    """RPG, trained on the zoo, and beside it what needs no trained generator (`experiments.baselines.populations`)."""

    def found(self, folder: Path) -> dict:
        images, zoo, device = images_of(self.recipe.images), self.zoo(), pick(self.device)
        recipe = retrained(self.recipe, self.seed)
        began = time.process_time()
        model, training = fit(recipe, zoo, device, progress=False)
        spent = time.process_time() - began
        model.to(device)
        began = time.process_time()
        networks = generate(recipe, model, self.networks, self.seed)
        seconds = time.process_time() - began
        groups = {RPG_ROW: networks, **dict(populations(recipe, zoo, model, networks, images, self.seed))}
        return {
            "rows": {name: self.row(zoo, group) for name, group in groups.items()},
            "generator_parameters": sum(p.numel() for p in model.parameters()),
            "generator_bytes": {"weights": _bytes(model.state_dict()), "images": 0},
            "loss": {"training": thinned(training.losses)},
            "cpu_seconds": {"fit": spent, "network": seconds / self.networks},
        }


@dataclass(frozen=True)
class Written(Measuring):
    """A published method, fitted to the zoo with `stretch` times its training steps, and what it writes.

    Where it cannot be fitted, because its loss is no longer finite, or writes what is not, "failed" says why, and there
    are no rows.
    """

    method: Method = Method(DeepWeightFlow.method)
    stretch: float = 1.0

    def found(self, folder: Path) -> dict:
        images, zoo = images_of(self.recipe.images), self.zoo()
        config = self.method.config(self.stretch)
        began = time.process_time()
        try:
            fitted = GENERATORS[self.method.generator].fit(zoo, config, images, seed=self.seed, progress=False)
        except InputError as error:
            return {"failed": str(error)}
        spent = time.process_time() - began
        rows, seconds = {}, []
        for label, changes in (self.method.written or {"": {}}).items():
            fitted.config = replace(config, **changes)
            began = time.process_time()
            networks = fitted.generate(self.networks, seed=self.seed)
            seconds.append((time.process_time() - began) / self.networks)
            if not all(bool(x.isfinite().all()) for network in networks for x in network.values()):
                return {"failed": "it writes networks with NaN or infinity"}
            rows[label] = self.row(zoo, networks)
        save_tensors(folder / NETWORKS_FILE, side_by_side(networks))
        parts = fitted.parts()
        return {
            "rows": rows,
            "generator_parameters": sum(p.numel() for p in fitted.parameters()),
            "generator_bytes": {
                "weights": _bytes(parts["learned"]) + _bytes(parts["first"]),
                "images": _bytes(parts["kept"]),
            },
            "loss": {stage: thinned(losses) for stage, losses in fitted.losses.items()},
            "steps": {name: getattr(config, name) for name in STEPS if hasattr(config, name)},
            "cpu_seconds": {"fit": spent, "network": max(seconds)},
        }


@dataclass(frozen=True)
class HeldOut(Measuring):
    """A method's autoencoder, fitted without a tenth of the zoo, and what it makes of these networks.

    Of several runs whole ones are held out, the last; of one run its last checkpoints. Of as many networks that it has
    seen, and of those held out: "lost", points of accuracy; "error", the mean squared error of their weights as a share
    of that of the mean network of those seen; of those held out "nearer": the share of reconstructions that lie nearer
    to a network that was learned from than to the one that they are of. Units stand in one order for all.
    """

    method: Method = Method(PDiff.method)

    def found(self, folder: Path) -> dict:
        images, zoo = images_of(self.recipe.images), self.zoo()
        runs = zoo.runs.unique()
        held = torch.isin(zoo.runs, runs[-max(1, len(runs) // 10) :])
        if len(runs) == 1:
            held = torch.arange(len(zoo)) >= len(zoo) - max(1, len(zoo) // 10)
        rows = held.nonzero()[:, 0].tolist()
        config = self.method.config()
        if hasattr(config, "diffusion_steps"):
            config = replace(config, diffusion_steps=1)
        known = zoo.subset((~held).nonzero()[:, 0].tolist())
        try:
            fitted = GENERATORS[self.method.generator].fit(known, config, images, seed=self.seed, progress=False)
        except InputError as error:
            return {"failed": str(error)}
        module, networks = zoo.build(), [zoo[k] for k in rows]
        ordered = points(arranged(module, known[0], [*known])).double()
        groups = {"seen": [known[k] for k in range(min(len(rows), len(known)))], "held out": networks}
        lost, error = {}, {}
        for name, group in groups.items():
            made = fitted.reconstructed(group)
            right, kept = (accuracies_on(module, x, images.test) for x in (group, made))
            given, got = (points(arranged(module, known[0], x)).double() for x in (group, made))
            off = (got - given).square().sum(1)
            lost[name] = summarise(right - kept)
            error[name] = (off.sum() / (given - ordered.mean(0)).square().sum()).item()
        # The last group's.
        nearer = (nearest_distance(got, ordered) < off.sqrt()).double().mean().item()
        return {"lost": lost, "error": error, "nearer": nearer}


@dataclass(frozen=True)
class ForTasks(Timed):
    """A method fitted to the networks of a split's seen tasks: the accuracy of what it writes for unseen ones.

    RPG and the mean network, which asks for nothing, are methods here, too; they have no `stretch`. trained: accuracy
    of the networks that were trained for these tasks; majority: of always giving a task's more frequent answer.
    """

    recipe: TaskRecipe
    profile: str
    seed: int
    method: Method
    tasks: int
    stretch: float = 1.0
    device: ClassVar[str] = "cpu"

    def facts(self) -> dict:
        own = {key: value for key, value in vars(self).items() if key not in ("profile", "recipe")}
        own |= {"images": images_of(self.recipe.images).source, "field_code": CODE}
        return plain({**own, "recipe": replace(self.recipe, name="")})

    def zoo(self) -> TaskZoo:
        return task_zoo(self.recipe, self.profile, images_of(self.recipe.images), pick(self.device))

    def collecting(self) -> "CollectingTasks":
        """The job that collects its zoo."""
        return CollectingTasks(self.recipe, self.profile, 0, self.method, 0)

    def found(self, folder: Path) -> dict:
        images, found = images_of(self.recipe.images), self.zoo()
        seen, unseen = split_tasks(len(found.bits), self.seed, self.recipe.seen)
        began = time.process_time()
        write = self._writer(found.checkpoints(seen))
        spent, asked = time.process_time() - began, unseen[:: max(1, len(unseen) // self.tasks)][: self.tasks]
        module, test, right = found.zoo.build(), images.test, []
        for task in found.bits[asked]:
            right.append(accuracy(predictions(module, [write(task)], test.images), task[test.labels])[0].item())
        known = found.checkpoints(asked)
        labels = known.tasks[:, test.labels]
        trained = accuracy(predictions(module, known, test.images), labels).mean().item()
        majority = 100 * (0.5 + (found.bits[asked][:, test.labels].double().mean(1) - 0.5).abs()).mean().item()
        return {
            "accuracy": sum(right) / len(right),
            "trained": trained,
            "majority": majority,
            "tasks": len(asked),
            "cpu_seconds": {"fit": spent},
        }

    def _writer(self, zoo: Zoo) -> Callable[[Tensor], Checkpoint]:
        """From a task (bits,) to a network, learned from the zoo."""
        images, recipe = images_of(self.recipe.images), self.recipe
        if self.method.generator == MEAN_ROW:
            mean = mean_network([zoo[k] for k in range(len(zoo))])
            return lambda task: mean
        if self.method.generator == RPG_ROW:
            recipe = retrained(recipe, self.seed)
            model, _ = fit(recipe, zoo, pick(self.device), progress=False)
            steps = {"sampler": recipe.sampler, "steps": recipe.sampling_steps, "seed": self.seed}
            return lambda task: model.generate(1, task=task, **steps)[0]
        generator, config = GENERATORS[self.method.generator], self.method.config(self.stretch)
        fitted = generator.fit(zoo, config, images, seed=self.seed, progress=False)
        return lambda task: fitted.generate(1, task=task, seed=self.seed)[0]


@dataclass(frozen=True)
class CollectingTasks(ForTasks):
    """The training of the networks for tasks."""

    def found(self, folder: Path) -> dict:
        return {"tasks": len(self.zoo().bits)}


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(x.nbytes for x in tensors.values())


def thinned(losses: list[float]) -> list[float]:
    """Means over at most `LOSS_POINTS` parts of a training."""
    if not losses:
        return []
    parts = torch.tensor(losses, dtype=torch.float64).tensor_split(min(LOSS_POINTS, len(losses)))
    return rounded([part.mean().item() for part in parts])


def rounded(value):
    """Numbers with `DIGITS` digits, in dicts and lists as well."""
    if isinstance(value, dict):
        return {name: rounded(x) for name, x in value.items()}
    if isinstance(value, list):
        return [rounded(x) for x in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
