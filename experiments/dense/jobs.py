"""The jobs of `27_dense`: the runs of a kind of network, and for each population of them a generator and its baselines.

Each is computed once and kept (`experiments.sweeps.cells`).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from experiments.baselines import before_training, from_weights, points
from experiments.dense import pictures
from experiments.dense.kinds import Measured, Scenes
from experiments.dense.settings import Population, Setting
from experiments.dense.teaching import teach
from experiments.pipeline import thinned
from experiments.records import plain
from experiments.sources import code_of
from experiments.sweeps.cells import folder_of, run
from rpglib.analysis.accuracy import summarise
from rpglib.analysis.memorisation import nearest_distance
from rpglib.analysis.similarity import mean_iou
from rpglib.runtime.state_dicts import Checkpoint
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.loop import train
from rpglib.zoo.store import Zoo

CODE = code_of(__file__)
ORIGINALS, GENERATED, UNTRAINED = "originals", "generated", "untrained generator"
ZOO = "zoo"


@dataclass(frozen=True)
class Run:
    """One training of a network from its own start, and the checkpoints that are kept of it."""

    setting: Setting
    profile: str
    seed: int = 0
    number: int = 0
    device: str = "cpu"

    def facts(self) -> dict:
        setting = self.setting
        own = {"kind": setting.kind, "size": setting.size, "taught": setting.taught, "teaching": setting.teaching}
        own |= {"name": type(setting.kind).__name__, "seed": self.seed, "number": self.number, "dense_code": CODE}
        return plain(own)

    def compute(self, folder: Path) -> dict:
        setting = self.setting
        taught = Scenes.composed("train", setting.taught, setting.size, self.seed)
        kept, told = teach(setting.kind, taught, setting.teaching, 100 * self.seed + self.number, self.device)
        Zoo.write(folder / ZOO, kept, runs=[self.number] * len(kept), accuracies=None)
        return {"loss": thinned(told["losses"]), "cpu_seconds": told["cpu_seconds"]}


@dataclass(frozen=True)
class Row:
    """A population of checkpoints, the generator that learns from them, and what stands beside it."""

    setting: Setting
    profile: str
    seed: int = 0
    population: str = ""
    device: str = "cpu"

    def facts(self) -> dict:
        setting = self.setting
        own = {"setting": {**vars(setting), "populations": self.sizes}, "name": type(setting.kind).__name__}
        return plain({**own, "seed": self.seed, "dense_code": CODE})

    @property
    def sizes(self) -> Population:
        return self.setting.populations[self.population]

    def runs(self) -> list[Run]:
        """The trainings that it needs."""
        return [Run(self.setting, self.profile, self.seed, k) for k in range(self.sizes.runs)]

    def compute(self, folder: Path) -> dict:
        setting, sizes, n = self.setting, self.sizes, self.setting.networks
        run(self.runs(), "runs")
        zoo, began = read_zoo(self.runs()), time.process_time()
        recipe = replace(sizes.train, seed=sizes.train.seed + self.seed)
        model = replace(sizes.model, permutation_states=len(zoo))
        # Of all values, BatchNorm's statistics among them.
        tokenizer = ParameterTokenizer.fit(zoo, model.token_size)
        generator, new = (before_training(model, tokenizer, recipe.seed) for _ in range(2))
        training = train(generator, zoo, recipe, device=self.device, progress=False)
        generator, learned = generator.cpu().eval(), time.process_time()
        states = torch.linspace(0, len(zoo) - 1, n).round().long().tolist()
        options = {"steps": setting.sampling_steps, "seed": self.seed, "permutation": states}
        generated = generator.generate(n, **options)
        written = time.process_time()
        asked = Scenes.composed("test", setting.asked, setting.size, self.seed)
        calibration = Scenes.composed("train", setting.calibrated, setting.size, self.seed).images
        measuring = Measuring(setting, asked, points(zoo))
        groups = {ORIGINALS: measuring([zoo[i] for i in states], among=True), GENERATED: measuring(generated)}
        groups[UNTRAINED] = measuring(new.eval().generate(n, **options))
        for name, networks in from_weights(measuring.model, zoo, generated, calibration, self.seed):
            groups[name] = measuring(networks)
        return {
            "groups": groups,
            "values": generator.tokenizer.num_parameters,
            "tokens": generator.tokenizer.num_tokens,
            "generator_parameters": sum(x.numel() for x in generator.parameters()),
            "checkpoints": len(zoo),
            "loss": thinned(training.losses),
            "shown": pictures.shown(setting.kind, measuring.model, asked, [zoo[states[0]], generated[0]]),
            "cpu_seconds": {"generator": learned - began, "network": (written - learned) / n},
        }


def read_zoo(runs: Sequence[Run]) -> Zoo:
    """The checkpoints of several runs that were computed, in turn, so that the first ones are of all runs."""
    parts = [Zoo.open(folder_of(one) / ZOO) for one in runs]
    checkpoints = [part[k] for k in range(len(parts[0])) for part in parts]
    numbers = torch.stack([part.runs for part in parts], 1).flatten()
    return Zoo.from_checkpoints(checkpoints, runs=numbers, accuracies=None)


@dataclass
class Measuring:
    """What is measured of a group of networks, on one set of test scenes; originals: weights (N, P) of all of them."""

    setting: Setting
    asked: Scenes
    originals: Tensor

    def __post_init__(self):
        with torch.random.fork_rng():
            self.model = self.setting.kind.build()
        self.unit = nearest_distance(self.originals).median()

    def of(self, network: Checkpoint) -> Measured:
        self.model.load_state_dict(network)
        return self.setting.kind.measure(self.model, self.asked)

    def __call__(self, networks: Sequence[Checkpoint], among: bool = False) -> dict:
        """Metrics (percent) with their values, error-IoU (None for one network), median distance to the nearest
        original (LOO); among: the networks are themselves originals."""
        found = [self.of(network) for network in networks]
        far = nearest_distance(self.originals) if among else nearest_distance(points(networks), self.originals)
        metrics = {name: [one.metrics[name] for one in found] for name in found[0].metrics}
        return {
            "metrics": {
                name: summarise(values) | {"values": [round(x, 3) for x in values]} for name, values in metrics.items()
            },
            "error_iou": mean_iou(torch.stack([one.wrong for one in found])) if len(found) > 1 else None,
            "distance": (far / self.unit).median().item(),
        }
