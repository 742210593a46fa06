"""The jobs of `26_adapters`: the base model, each family's adapters with their generator, and combinations of families.

Each is computed once and kept (`experiments.sweeps.cells`).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from experiments.adapters import adapters, base, facts, files, questions
from experiments.adapters.adapters import adapted, state_of, train_adapter
from experiments.adapters.questions import FAMILIES
from experiments.adapters.scoring import Sheet
from experiments.adapters.settings import Setting
from experiments.baselines import before_training, one_by_one, pairs, points
from experiments.pipeline import thinned
from experiments.records import plain
from experiments.sources import code_of
from experiments.sweeps.cells import folder_of, run
from rpglib.analysis.accuracy import summarise
from rpglib.analysis.memorisation import nearest_distance
from rpglib.analysis.perturbation import gaussian, noised
from rpglib.analysis.similarity import mean_iou
from rpglib.baselines.tasks import nearest_task, ridge
from rpglib.model.config import RPGConfig
from rpglib.model.rpg import RPG
from rpglib.runtime.state_dicts import unflatten
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.loop import TrainConfig, TrainResult, train
from rpglib.zoo.store import Zoo
from rpglib.zoo.writing import write_networks

CODE = code_of(__file__)
GENERATED, UNTRAINED, MEAN = "generated", "untrained generator", "mean adapter"
ORIGINALS = "originals"
BASE_FOLDER = "base"
TOLERANCE = 1e-3
"""Nats by which the likelihoods of one adapter may differ between merged and not, which round differently."""

Adapters = list[dict[str, Tensor]]


@dataclass(frozen=True)
class Job:
    """What the jobs share: sizes, and a seed that moves everything that is drawn but the questions."""

    setting: Setting
    profile: str
    seed: int = 0
    device: str = "cpu"
    parts: ClassVar[tuple[str, ...]] = ("base", "questions")
    """The fields of the setting that the job depends on."""

    def facts(self) -> dict:
        own = {key: value for key, value in vars(self).items() if key not in ("profile", "device", "setting")}
        return plain({**own, "adapters_code": CODE} | {name: getattr(self.setting, name) for name in self.parts})

    def base(self) -> "Trained":
        """The job that trains the base model."""
        return Trained(self.setting, self.profile, self.seed)

    def loaded(self) -> tuple:
        """Base model and tokenizer, trained where they are not at hand."""
        run([self.base()], "base model")
        return base.load(folder_of(self.base()) / BASE_FOLDER)

    def asked(self, family: str, split: str) -> list[questions.Question]:
        return questions.questions(facts.facts(), family, split, self.setting.questions[split])

    def fitted(
        self, zoo: Zoo, config: RPGConfig, recipe: TrainConfig, normalisation: str = "layer"
    ) -> tuple[RPG, RPG, TrainResult]:
        """A generator of the zoo, another that is not trained, and what was found in training."""
        tokenizer = ParameterTokenizer.fit(zoo, config.token_size, normalisation=normalisation)
        recipe = replace(recipe, seed=recipe.seed + self.seed)
        generator, new = (before_training(config, tokenizer, recipe.seed) for _ in range(2))
        return generator, new.eval(), train(generator, zoo, recipe, device="cpu", progress=False)


@dataclass(frozen=True)
class Trained(Job):
    """The base model, with its accuracy on every family's questions before any adapter."""

    def compute(self, folder: Path) -> dict:
        config = replace(self.setting.base, seed=self.setting.base.seed + self.seed)
        model, tokenizer, told = base.train_base(facts.facts(), config)
        for part in (model, tokenizer):
            part.save_pretrained(folder / BASE_FOLDER)
        return {
            "parameters": sum(x.numel() for x in model.parameters()),
            "loss": thinned(told["losses"]),
            "cpu_seconds": told["cpu_seconds"],
            "accuracy": {name: Sheet(tokenizer, self.asked(name, "test")).accuracy(model) for name in FAMILIES},
            "source": facts.facts().source,
        }


@dataclass(frozen=True)
class Family(Job):
    """A family's adapters of several independent runs, their generator, and what stands beside it."""

    family: str = next(iter(FAMILIES))
    parts = (*Job.parts, "adapter", "runs", "networks", "model", "train", "sampling_steps")

    def compute(self, folder: Path) -> dict:
        setting, (model, tokenizer) = self.setting, self.loaded()
        taught, began = self.asked(self.family, "train"), time.process_time()
        folders, runs = [], []
        for number in range(setting.runs):
            seed = setting.adapter.seed + 100 * self.seed + number
            config = replace(setting.adapter, seed=seed)
            if number == 0:
                model = adapted(model, config, seed)
            kept, _ = train_adapter(model, tokenizer, taught, config, adapters.fresh(model, config))
            places = [folder / "zoo" / f"{number}_{k:02d}" for k in range(len(kept))]
            files.write(model, kept, places)
            folders, runs = folders + places, runs + [number] * len(kept)
        zoo, trained = files.read_zoo(folders, runs), time.process_time()
        generator, new, training = self.fitted(zoo, setting.model, setting.train)
        learned, n = time.process_time(), setting.networks
        states = self.states(len(zoo))
        options = {"steps": setting.sampling_steps, "seed": self.seed, "permutation": states}
        generated = generator.generate(n, **options)
        written = time.process_time()
        sheet, originals = Sheet(tokenizer, self.asked(self.family, "test")), [zoo[i] for i in range(len(zoo))]
        rows = points(originals)
        groups = {ORIGINALS: [originals[i] for i in states], GENERATED: generated}
        groups |= {UNTRAINED: new.generate(n, **options)} | beside(originals, zoo.runs, points(generated), n, self.seed)
        generator.save_pretrained(folder / "generator")
        return {
            "groups": {name: measured(model, sheet, group, rows, name == ORIGINALS) for name, group in groups.items()},
            "peft": self.reloaded(zoo, generated[:2], sheet, folder),
            "values": rows.shape[1],
            "tokens": generator.tokenizer.num_tokens,
            "generator_parameters": sum(x.numel() for x in generator.parameters()),
            "norms": [x.norm().item() for x in points(generated)],
            "loss": thinned(training.losses),
            "cpu_seconds": {
                "adapters": trained - began,
                "generator": learned - trained,
                "network": (written - learned) / n,
            },
        }

    def states(self, checkpoints: int) -> list[int]:
        """The checkpoints that are shown, as many of each run, whose states generated adapters have as well."""
        return torch.linspace(0, checkpoints - 1, self.setting.networks).round().long().tolist()

    def reloaded(self, zoo: Zoo, generated: Adapters, sheet: Sheet, folder: Path) -> dict:
        """Write generated adapters, load them by PEFT, and merge them: how far likelihoods (nats) and answers differ.

        Raises `AssertionError` where a merged model's likelihoods differ by more than `TOLERANCE`.
        """
        model, _ = self.loaded()
        directly = adapted(model, self.setting.adapter)
        likelihoods = []
        for adapter in generated:
            adapters.put(directly, adapter)
            likelihoods.append(torch.cat(sheet.likelihoods(directly)))
        apart, unlike = 0.0, 0
        for path, before in zip(write_networks(zoo, generated, folder / "written"), likelihoods, strict=True):
            loaded = files.load(self.loaded()[0], path)
            for same in (loaded, loaded.merge_and_unload()):
                after = sheet.likelihoods(same)
                apart = max(apart, (torch.cat(after) - before).abs().max().item())
                answers = zip(after, before.split(sheet.sizes), strict=True)
                unlike += sum(int(x.argmax() != y.argmax()) for x, y in answers)
        assert apart <= TOLERANCE, f"a merged adapter's likelihoods differ by {apart:.2g} nats"
        return {"adapters": len(generated), "nats": apart, "answers": unlike}


def measured(model, sheet: Sheet, group: Adapters, originals: Tensor, among: bool = False) -> dict:
    """Accuracy (percent) of adapters, error-IoU among them (None for one), and distance to the nearest original (LOO).

    originals: weights (N, P) of all of them; among: the group is of the originals themselves.
    """
    right = []
    for adapter in group:
        adapters.put(model, adapter)
        right.append(sheet.right(model))
    right = torch.stack(right)
    accuracies = 100 * right.double().mean(1)
    unit = nearest_distance(originals).median()
    far = nearest_distance(originals) if among else nearest_distance(points(group), originals)
    return summarise(accuracies) | {
        "accuracies": [round(x, 4) for x in accuracies.tolist()],
        "error_iou": mean_iou(~right) if len(group) > 1 else None,
        "distance": (far / unit).median().item(),
    }


def beside(originals: Adapters, runs: Tensor, generated: Tensor, n: int, seed: int) -> dict[str, Adapters]:
    """What needs no generator: the mean adapter, Gaussians, midpoints of checkpoints of one and of two runs, noise."""
    rows, like = points(originals), originals[0]

    far = nearest_distance(generated, rows).median().item() / rows.shape[1] ** 0.5
    found = {MEAN: _made(rows.mean(0, keepdim=True), like), "Gaussian": _made(gaussian(rows, n, seed), like)}
    for label, drawn in pairs(runs, n, torch.Generator().manual_seed(seed), "run").items():
        first, second = torch.tensor(drawn).T
        found[f"midpoint, {label}"] = _made((rows[first] + rows[second]) / 2, like)
    found["noise as far as RPG"] = [noised(originals[k % len(originals)], far, seed, number=k) for k in range(n)]
    return found


@dataclass(frozen=True)
class Combinations(Job):
    """Adapters for combinations of families, a generator that is told the families, and combinations it never saw.

    The adapters start alike, so that means and ridge regression of their weights are of use. Their values are centred
    over the zoo before they become tokens, as those of the networks for unseen tasks are.
    """

    parts = (*Job.parts, "combined_adapter", "combined", "combined_train", "seen", "unseen", "sampling_steps")

    def compute(self, folder: Path) -> dict:
        setting, (model, tokenizer) = self.setting, self.loaded()
        config = replace(setting.combined_adapter, seed=setting.combined_adapter.seed + 100 * self.seed)
        model = adapted(model, config, config.seed)
        start = state_of(model)
        seen, unseen = combinations(setting)
        sheets = {name: Sheet(tokenizer, self.asked(name, "test")) for name in FAMILIES}
        began, folders, tasks = time.process_time(), [], []
        for number, bits in enumerate(seen.tolist()):
            kept, _ = train_adapter(model, tokenizer, self.mixed(bits), config, start)
            places = [folder / "zoo" / f"{number:02d}_{k:02d}" for k in range(len(kept))]
            files.write(model, kept, places)
            folders, tasks = folders + places, tasks + [bits] * len(kept)
        zoo, trained = files.read_zoo(folders, range(len(folders)), tasks), time.process_time()
        generator, new, training = self.fitted(zoo, setting.combined, setting.combined_train, "residual")
        learned = time.process_time()
        options = {"steps": setting.sampling_steps, "seed": self.seed}
        rows, n = points([zoo[i] for i in range(len(zoo))]), len(unseen)
        like, known = zoo[0], zoo.tasks
        found = {
            GENERATED: generator.generate(n, unseen, **options),
            UNTRAINED: new.generate(n, unseen, **options),
            MEAN: _made(rows.mean(0).expand(n, -1), like),
            "nearest": _made(nearest_task(known, rows, unseen), like),
            "ridge": _made(ridge(known, rows, unseen), like),
            "ridge, with pairs": _made(ridge(known, rows, unseen, order=2), like),
            "trained on it": [
                train_adapter(model, tokenizer, self.mixed(b), config, start)[0][-1] for b in unseen.tolist()
            ],
        }
        own = (
            zoo.tasks[:: config.checkpoints],
            [zoo[i] for i in range(config.checkpoints - 1, len(zoo), config.checkpoints)],
        )
        again = generator.generate(len(own[0]), own[0], **options)
        generator.save_pretrained(folder / "generator")
        return {
            "unseen": unseen.tolist(),
            "seen": seen.tolist(),
            "accuracies": {name: combined(model, sheets, group, unseen) for name, group in found.items()},
            "seen_accuracies": {
                ORIGINALS: combined(model, sheets, own[1], own[0]),
                GENERATED: combined(model, sheets, again, own[0]),
            },
            "values": rows.shape[1],
            "loss": thinned(training.losses),
            "cpu_seconds": {"adapters": trained - began, "generator": learned - trained},
        }

    def mixed(self, bits: Sequence[int]) -> list[questions.Question]:
        """As many training questions as a family has, equally of each family of a combination."""
        names = [name for name, bit in zip(FAMILIES, bits, strict=True) if bit]
        each = -(-self.setting.questions["train"] // len(names))
        return [q for name in names for q in self.asked(name, "train")[:each]][: self.setting.questions["train"]]


def combinations(setting: Setting) -> tuple[Tensor, Tensor]:
    """The combinations of families (bits) that are seen, single families first, and those that are not.

    Unseen ones have at least two families and not all; which they are is drawn once, for all seeds.
    """
    rows = torch.tensor(list(product((0, 1), repeat=len(FAMILIES))))
    several = rows[(rows.sum(1) > 1) & (rows.sum(1) < len(FAMILIES))]
    several = several[torch.randperm(len(several), generator=torch.Generator().manual_seed(0))]
    singles = torch.eye(len(FAMILIES), dtype=torch.int64)
    seen = torch.cat((singles, several[setting.unseen :]))[: setting.seen]
    return seen, several[: setting.unseen]


def _made(rows: Tensor, like: Mapping[str, Tensor]) -> Adapters:
    return one_by_one(unflatten(rows, like))


def combined(model, sheets: Mapping[str, Sheet], group: Adapters, tasks: Tensor) -> list[float]:
    """Of each adapter, the mean accuracy (percent) over the families of its combination."""
    found = []
    for adapter, bits in zip(group, tasks.tolist(), strict=True):
        adapters.put(model, adapter)
        of = [sheets[name].accuracy(model) for name, bit in zip(FAMILIES, bits, strict=True) if bit]
        found.append(round(sum(of) / len(of), 4))
    return found
