"""The jobs of `28_detectors`: the shared start, the zoo of seen selections, what is written for others, fine-tuning.

Each is computed once and kept (`experiments.sweeps.cells`).
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from experiments.baselines import before_training
from experiments.detectors import scenes
from experiments.detectors.networks import State, build, detect, mean_ap, new, train, without_classes
from experiments.detectors.scenes import CLASSES, Scenes
from experiments.detectors.settings import GENERATED, SCRATCH, SHARED, Setting
from experiments.pipeline import thinned
from experiments.records import plain
from experiments.sources import code_of
from experiments.sweeps.cells import folder_of, run
from experiments.tasks.task_zoo import some_pairs
from rpglib.analysis.memorisation import nearest_distance
from rpglib.baselines.tasks import mean_network, nearest_task, ridge
from rpglib.runtime.files import save_tensors
from rpglib.runtime.hardware import pick
from rpglib.runtime.state_dicts import flatten, unflatten
from rpglib.tasks import all_tasks, split_tasks
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.loop import train as train_generator
from rpglib.zoo.images import data_root
from rpglib.zoo.store import Zoo

CODE = code_of(__file__)
UNTRAINED, MEAN, NEAREST, LOOKUP = "untrained generator", "mean network", "nearest seen selection", "lookup"
RIDGES = ("ridge on bits", "ridge on bits and pairs")
STATE = "state.safetensors"
AP, ONE = "mAP50-95", "as one class"
"""The two measures of every network, in percent: the paper's, and that which counts what should be ignored."""


@dataclass(frozen=True)
class Job:
    """What the jobs share: sizes, and a seed that moves everything that is drawn but the selections.

    root: where data sets lie, by default where RPG_DATA says.
    """

    setting: Setting
    profile: str
    seed: int = 0
    device: str = "cpu"
    root: Path | None = None
    parts: ClassVar[tuple[str, ...]] = ("source", "size", "scenes", "begin")
    """The fields of the setting that the job depends on."""

    def facts(self) -> dict:
        own = {key: value for key, value in vars(self).items() if key not in ("profile", "device", "setting", "root")}
        return plain({**own, "detectors_code": CODE} | {name: getattr(self.setting, name) for name in self.parts})

    def other(self, kind: type["Job"], **fields) -> "Job":
        """Another job of the same experiment."""
        return kind(self.setting, self.profile, self.seed, self.device, self.root, **fields)

    def begun(self) -> State:
        """The detector of all classes, trained where it is not at hand."""
        job = self.other(Begun)
        run([job], "shared start")
        return load_file(folder_of(job) / STATE)

    def shared(self, module: nn.Module) -> State:
        """Where every selection's training begins: `begun` with new class scores."""
        return without_classes(module, self.begun(), self.fresh())

    def scenes(self, split: str) -> Scenes:
        own, part = self.setting, "train" if split == "all" else split
        # Selections are learned from scenes that the shared start has not seen, of the same digits.
        seed = 2 * self.seed + (split == "train")
        return scenes.scenes(own.source, own.scenes[split], own.size, part, seed, self.root or data_root())

    def module(self) -> nn.Module:
        return build(self.classes, self.setting.size).to(pick(self.device))

    def fresh(self, number: int = 0) -> State:
        return new(self.classes, self.setting.size, 1000 * self.seed + number)

    @property
    def classes(self) -> int:
        return len(CLASSES[self.setting.source])


def selections(setting: Setting) -> tuple[Tensor, Tensor]:
    """The selections (bits) that are seen, and those that are not, drawn once for all seeds.

    A selection and its opposite are both seen, or neither is.
    """
    tasks = all_tasks(len(CLASSES[setting.source]))
    tasks = tasks[some_pairs(torch.arange(len(tasks)), len(tasks), setting.selections, 0)]
    seen, unseen = split_tasks(len(tasks), 0, setting.seen)
    return tasks[seen], tasks[unseen]


def measured(module: nn.Module, state: State, seen: Scenes, selection: Tensor) -> dict[str, float]:
    """Both measures (percent) of a detector on a selection (bits)."""
    found = detect(module, state, seen)
    return {name: round(mean_ap(found, seen, selection, name == ONE), 3) for name in (AP, ONE)}


@dataclass(frozen=True)
class Begun(Job):
    """The detector of all classes, from which every selection's training begins, with new class scores."""

    def compute(self, folder: Path) -> dict:
        began, module, every = time.process_time(), self.module(), torch.ones(self.classes, dtype=torch.int64)
        phase = self.setting.begin
        (state,) = train(module, self.fresh(), self.scenes("all"), every, phase, self.seed, [phase.epochs])
        trained = time.process_time()
        save_tensors(folder / STATE, state)
        test = self.scenes("test")
        return {
            "parameters": sum(x.numel() for x in module.parameters()),
            "values": sum(x.numel() for x in state.values() if x.is_floating_point()),
            "source": test.source,
            "objects": torch.cat(list(test.classes)).bincount(minlength=self.classes).tolist(),
            "measures": measured(module, state, test, every),
            "cpu_seconds": trained - began,
        }


@dataclass(frozen=True)
class Collected(Job):
    """The zoo: detectors of the seen selections, all from one start and on the same scenes in one order."""

    parts = (*Job.parts, "selections", "seen", "zoo", "kept")

    def compute(self, folder: Path) -> dict:
        setting, module, test = self.setting, self.module(), self.scenes("test")
        start, taught = self.shared(module), self.scenes("train")
        seen, _ = selections(setting)
        found: list[dict[str, float]] = []
        seconds = 0.0

        def checkpoints() -> Iterable[State]:
            nonlocal seconds
            for selection in seen:
                began = time.process_time()
                states = train(module, start, taught, selection, setting.zoo, self.seed, setting.kept)
                seconds += time.process_time() - began
                found.append(measured(module, states[-1], test, selection))
                yield from states

        tasks = seen.repeat_interleave(len(setting.kept), 0)
        Zoo.write(folder / "zoo", checkpoints(), runs=range(len(tasks)), accuracies=None, tasks=tasks.tolist())
        return {"selections": seen.tolist(), "measures": found, "cpu_seconds": seconds}

    def opened(self) -> Zoo:
        run([self], "zoo")
        return Zoo.open(folder_of(self) / "zoo")


@dataclass(frozen=True)
class Written(Job):
    """What is written for the unseen selections, by a generator and by what needs none, measured as it is."""

    parts = (*Collected.parts, "model", "train", "sampling_steps")

    def compute(self, folder: Path) -> dict:
        setting, (seen, unseen), zoo = self.setting, selections(self.setting), self.other(Collected).opened()
        tokenizer = ParameterTokenizer.fit(zoo, setting.model.token_size, normalisation="residual")
        recipe = replace(setting.train, seed=setting.train.seed + self.seed)
        generator, untrained = (before_training(setting.model, tokenizer, recipe.seed) for _ in range(2))
        untrained.to(pick(self.device)).eval()
        began = time.process_time()
        training = train_generator(generator, zoo, recipe, folder / "training", self.device, progress=False)
        learned, options = time.process_time(), {"steps": setting.sampling_steps, "seed": self.seed}
        # One after the other into files: fine-tuning begins from them.
        for number, state in enumerate(generator.generate_each(len(unseen), unseen, **options)):
            save_tensors(self.place(folder, number), state)
        written = time.process_time()
        generated = [load_file(self.place(folder, number)) for number in range(len(unseen))]
        module, test = self.module(), self.scenes("test")
        rows, like = _means(zoo, len(setting.kept))
        writers: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
            MEAN: mean_network,
            NEAREST: nearest_task,
            **{name: partial(wide_ridge, order=order) for order, name in enumerate(RIDGES, 1)},
        }
        groups = {GENERATED: generated, UNTRAINED: untrained.generate_each(len(unseen), unseen, **options)}
        found = {name: _measures(module, group, test, unseen) for name, group in groups.items()}
        for name, write in writers.items():
            found[name] = _measures(module, _each(write(seen, rows, unseen), like, zoo[0]), test, unseen)
        found[SHARED] = _measures(module, [self.shared(module)] * len(unseen), test, unseen)
        found[LOOKUP] = self.looked_up(module, self.begun(), test, unseen)
        known = generator.generate_each(len(seen), seen, **options)
        far = nearest_distance(flatten(_stack(generated, like)), rows) / nearest_distance(rows).median()
        return {
            "unseen": unseen.tolist(),
            "measures": found,
            "seen_measures": _measures(module, known, test, seen),
            "distance": [round(x, 4) for x in far.tolist()],
            "tokens": tokenizer.num_tokens,
            "tokenised": tokenizer.num_parameters,
            "generator_parameters": sum(x.numel() for x in generator.parameters()),
            "loss": thinned(training.losses),
            "cpu_seconds": {"generator": learned - began, "network": (written - learned) / len(unseen)},
        }

    @staticmethod
    def place(folder: Path, number: int) -> Path:
        return folder / "generated" / f"{number:03d}.safetensors"

    @staticmethod
    def looked_up(module: nn.Module, everything: State, test: Scenes, unseen: Tensor) -> list[dict[str, float]]:
        """The detector of all classes, of which only what the selection asks for is kept."""
        found, measures = detect(module, everything, test), []
        for selection in unseen:
            kept = [own[selection[own[:, 5].long()].bool()] for own in found]
            measures.append({name: round(mean_ap(kept, test, selection, name == ONE), 3) for name in (AP, ONE)})
        return measures


@dataclass(frozen=True)
class Tuned(Job):
    """Fine-tuning on each of the unseen selections from one start, measured before it and after some epochs."""

    start: str = GENERATED
    parts = (*Written.parts, "finetune", "measured")

    def compute(self, folder: Path) -> dict:
        setting, module, (_, unseen) = self.setting, self.module(), selections(self.setting)
        taught, test = self.scenes("train"), self.scenes("test")
        phase, begin = setting.finetune[self.start], self.beginning(module)
        found, began = [], time.process_time()
        for number, selection in enumerate(unseen):
            start = begin(number)
            states = train(module, start, taught, selection, phase, self.seed, setting.measured)
            found.append([measured(module, state, test, selection) for state in (start, *states)])
        return {"epochs": [0, *setting.measured], "measures": found, "cpu_seconds": time.process_time() - began}

    def beginning(self, module: nn.Module) -> Callable[[int], State]:
        """From the number of an unseen selection to the network where its training begins."""
        if self.start == GENERATED:
            folder = folder_of(self.other(Written))
            return lambda number: load_file(Written.place(folder, number))
        if self.start == SCRATCH:
            return lambda number: self.fresh(1 + number)
        shared = self.shared(module)
        return lambda number: shared


def wide_ridge(seen: Tensor, rows: Tensor, unseen: Tensor, order: int) -> Tensor:
    """`ridge` of networks (S, P) that are far more values than networks, in the S coordinates of what they span.

    A turn of the coordinates changes neither the penalty that is chosen nor, turned back, the prediction; regression of
    three million values at once would hold some hundred times as many.
    """
    mean = rows.mean(0)
    centred = rows - mean
    sizes, turned = torch.linalg.eigh((centred @ centred.T).double())
    kept = sizes > sizes.max() * 1e-6  # what is below is rounding; the mean takes one dimension
    sizes, turned = sizes[kept].sqrt(), turned[:, kept]
    basis = (turned / sizes).T.float() @ centred
    return mean + ridge(seen, turned * sizes, unseen, order=order).float() @ basis


def _means(zoo: Zoo, each: int) -> tuple[Tensor, State]:
    """The mean of every selection's checkpoints (S, P), and the tensors that a row holds, in their order."""
    like = {name: x for name, x in zoo[0].items() if x.is_floating_point()}
    groups = range(0, len(zoo), each)
    return torch.stack([flatten(_stack([zoo[i + k] for k in range(each)], like)).mean(0) for i in groups]), like


def _stack(states: Sequence[State], like: State) -> State:
    return {name: torch.stack([state[name] for state in states]) for name in like}


def _each(rows: Tensor, like: State, first: State) -> Iterable[State]:
    """The networks of the rows (N, P), one at a time; what a row does not hold is the first network's."""
    for row in rows:
        yield first | {name: x[0] for name, x in unflatten(row[None], like).items()}


def _measures(module: nn.Module, group: Iterable[State], test: Scenes, tasks: Tensor) -> list[dict[str, float]]:
    return [measured(module, state, test, selection) for state, selection in zip(group, tasks, strict=True)]
