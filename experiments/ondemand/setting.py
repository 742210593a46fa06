"""Two networks at one setting of the circumstances: the one that is written for it, and the one for all settings.

`experiments.ondemand.panel` puts sliders around it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.ondemand.family import ARCS, SEEN, STRONG, background_of, kinds, taken
from experiments.ondemand.study import COMPANION, EXPERIMENT
from experiments.pipeline import images_of
from experiments.records import generator_dir, read_record, results_dir
from rpglib.analysis.accuracy import predictions
from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.runtime.randomness import stream
from rpglib.tasks.conditions import check_conditions
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.images import Split


@dataclass(frozen=True)
class Setting:
    """What both networks answer to the n test images as they are taken under one row.

    row (3,): angle, blur, noise; network: what was written for it, in so many seconds; images (n, 1, S, S) as taken;
    lowest and highest are the values that pixels have without noise; labels (n,) int64; answers (2, n) int64: of the
    generalist, then of the network that was written.
    """

    row: Tensor
    network: Mapping[str, Tensor]
    seconds: float
    images: Tensor
    lowest: float
    highest: float
    labels: Tensor
    answers: Tensor

    @property
    def right(self) -> Tensor:
        """(2, n) bool."""
        return self.answers == self.labels

    @property
    def accuracies(self) -> list[float]:
        """Percent: of the generalist, then of the network that was written."""
        return (100 * self.right.double().mean(1)).tolist()

    @property
    def status(self) -> str:
        """Whether the generator was trained under such circumstances, in words."""
        found = kinds(self.row[None])
        if found["angles"]:
            low, high = next(arc for arc in ARCS if arc[0] <= self.row[0] < arc[1])
            return f"held out: nothing was trained at angles from {low:g}° to {high:g}°"
        if found["combinations"]:
            blur, noise = STRONG
            return f"held out: nothing was trained with blur above {blur:g} and noise above {noise:g} together"
        return "within what was trained" if found[SEEN] else "held out twice: by its angle, and by blur with noise"


@dataclass(frozen=True)
class OnDemand:
    """The generator of `22_networks_on_demand`, its generalist, and the test images; `seed` draws network and noise."""

    model: RPG
    generalist: Mapping[str, Tensor]
    architecture: Architecture
    test: Split
    seed: int = 0

    def at(self, setting: Mapping[str, float]) -> Setting:
        """Write a network for the setting, by name, and ask it and the generalist about all test images.

        The noise is the same in every setting, only stronger or weaker: what one setting does is not due to chance.
        Raises `InputError` for a setting outside of the trained ranges, and for one with other names.
        """
        rows = check_conditions(self.model.config.conditions, setting, strict=True)
        began = time.perf_counter()
        (network,) = self.model.generate(1, condition=rows, steps=1, seed=self.seed)
        seconds = time.perf_counter() - began
        generator = torch.Generator().manual_seed(stream(self.seed, "noise of the panel"))
        (images,) = taken(self.test.images[None], rows, background_of(self.test), generator)
        answers = predictions(self.architecture.build(), [self.generalist, network], images)
        return Setting(
            row=rows[0].float(),
            network=network,
            seconds=seconds,
            images=images,
            lowest=self.test.images.min().item(),
            highest=self.test.images.max().item(),
            labels=self.test.labels,
            answers=answers,
        )


def at_hand(profile: str, seed: int = 0) -> OnDemand | None:
    """Read what `22_networks_on_demand` recorded; None, and a line that says so, where it did not.

    Raises `InputError` where record and generator are damaged or of two runs.
    """
    recorded = (results_dir(profile) / f"{EXPERIMENT}.json").exists()
    record = read_record(EXPERIMENT, profile) if recorded else None
    if record is None or record["seeds"]["zoo"] != seed:
        print(f"no generator of seed {seed} in profile {profile}: notebook 22_networks_on_demand writes it, fresh=True")
        return None
    model, companions, digest = RPG.read(generator_dir(profile, EXPERIMENT), companions=(COMPANION,))
    if digest != record.get("generator"):
        raise InputError(f"record and generator of {EXPERIMENT} are of two runs; run 22 with fresh=True")
    plan = record["config"]["plan"]
    test = images_of(plan["images"]).test
    return OnDemand(model, companions[COMPANION], Architecture(**plan["architecture"]), test, seed)
