"""The sizes of the experiment: scenes, networks, their runs, and the generators that learn from these."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from experiments.dense.detection import Detector
from experiments.dense.segmentation import Segmenter
from experiments.dense.teaching import Teaching
from experiments.dense.vitdet import ViTConfig
from experiments.profiles import SMALL_TRAIN
from experiments.records import PROFILES
from rpglib.errors import choice
from rpglib.model.config import RPGConfig
from rpglib.training.loop import TrainConfig


@dataclass(frozen=True)
class Population:
    """Checkpoints of so many runs, and the generator that learns from them, with a permutation state for each."""

    runs: int
    model: RPGConfig
    train: TrainConfig


@dataclass(frozen=True)
class Setting:
    """One kind of network, its scenes and runs, and its populations by name.

    size: pixels along a side. taught, asked: training and test scenes; calibrated: of the former, those on which
    BatchNorm's statistics of mixed networks are measured afresh. networks: as many are generated, and of each baseline.
    """

    kind: Segmenter | Detector
    teaching: Teaching
    populations: Mapping[str, Population]
    size: int = 64
    taught: int = 3000
    asked: int = 200
    calibrated: int = 256
    networks: int = 10
    sampling_steps: int = 4


# Tokens of 256 values and a recurrent layer as wide: a prototype can say all of its token. With a gate on it, which
# each token learns, it says so sooner.
_WRITER = RPGConfig(
    token_size=256,
    widths=(256,),
    expand=1,
    headdim=32,
    channels=(1, 4, 8, 4, 1),
    position="learned",
    permutation="gated",
    prototype_gate=True,
)
_LEARNING = replace(SMALL_TRAIN, steps=1200, batch_size=1, diffusion_batch=32, learning_rate=1.2e-2)
_POPULATIONS = {
    "one run": Population(1, _WRITER, _LEARNING),
    "two runs": Population(2, _WRITER, replace(_LEARNING, steps=4000, batch_size=2)),
}
CPU = {
    "segmentation": Setting(Segmenter(ground=0.2), Teaching(epochs=6), _POPULATIONS),
    "detection": Setting(Detector(backbone=ViTConfig(out=32)), Teaching(epochs=4, learning_rate=1.5e-3), _POPULATIONS),
}
_SMALL = replace(_WRITER, widths=(32,), d_state=8, token_size=1024, channels=(1, 2, 1))
_FEW = Teaching(epochs=1, batch=4, tail=2, checkpoints=2)
_BRIEF = replace(_LEARNING, steps=3, diffusion_batch=16)
_SCRATCH = {"one run": Population(1, _SMALL, _BRIEF), "two runs": Population(2, _SMALL, _BRIEF)}
SMOKE = {
    "segmentation": Setting(
        Segmenter(widths=(8, 8, 8, 8), head=8, patch=4), _FEW, _SCRATCH, taught=12, asked=4, calibrated=8, networks=2
    ),
    "detection": Setting(
        Detector(backbone=ViTConfig(width=16, depth=1, heads=2, out=8), hidden=16),
        _FEW,
        _SCRATCH,
        taught=12,
        asked=4,
        calibrated=8,
        networks=2,
    ),
}
# What grows with the profile is the network; `large.py` has the paper's.
SETTINGS = {"smoke": SMOKE, "cpu": CPU, "gpu": CPU, "paper": CPU}


def settings(profile: str) -> dict[str, Setting]:
    """The sizes of a profile by kind. Raises `InputError` for an unknown one."""
    return SETTINGS[choice("profile", profile, PROFILES)]
