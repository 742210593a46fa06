"""The sizes of the experiment: how many scenes, selections and epochs, and which generator."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from experiments.detectors.networks import Phase
from experiments.profiles import TASK_TRAIN, UNSEEN_DIGITS, UNSEEN_PAPER
from experiments.records import PROFILES
from rpglib.errors import choice
from rpglib.model.config import RPGConfig
from rpglib.training.loop import TrainConfig

GENERATED, SHARED, SCRATCH = "generated", "shared start", "from scratch"
"""Where fine-tuning begins."""


@dataclass(frozen=True)
class Setting:
    """Detectors for selections of classes, from a shared start to networks for selections that no detector served.

    source: of the scenes, of `size` pixels; scenes: how many of each split, of "all" those that the shared start is
    trained on. selections: how many, in pairs of opposites, of which the share `seen` is learned from. begin: how the
    shared start learns to detect all classes; zoo: how a detector of a selection is trained from it, with a checkpoint
    after each of the epochs `kept`. finetune: training on unseen selections by its start, measured after the epochs
    `measured`. model, train, sampling_steps: the generator's.
    """

    source: str
    size: int
    scenes: Mapping[str, int]
    selections: int
    seen: float
    begin: Phase
    zoo: Phase
    kept: tuple[int, ...]
    model: RPGConfig
    train: TrainConfig
    finetune: Mapping[str, Phase]
    measured: tuple[int, ...] = (1, 2, 5)
    sampling_steps: int = 4


# The generator of the networks for unseen tasks, with larger tokens and smaller batches, as YOLOv8n has three hundred
# times as many values, and with a gate for each of its thousands of tokens: its loss falls sooner so.
CPU = Setting(
    source="digits",
    size=64,
    scenes={"all": 2048, "train": 384, "validation": 128, "test": 256},
    selections=60,
    seen=2 / 3,
    begin=Phase(12, 2e-3, warmup=50),
    zoo=Phase(5, 2e-4, warmup=12, new=50.0),
    kept=(4, 5),
    model=replace(UNSEEN_DIGITS.model, token_size=1024, prototype_gate=True),
    train=replace(TASK_TRAIN, steps=2500, batch_size=4),
    finetune={
        GENERATED: Phase(5, 2e-4, warmup=12),
        SHARED: Phase(5, 2e-4, warmup=12, new=50.0),
        SCRATCH: Phase(5, 2e-3, warmup=12),
    },
)
_SMALL = {"widths": (32,), "d_state": 8, "channels": (1, 2, 1), "task_width": 8}
SMOKE = replace(
    CPU,
    size=32,
    scenes={"all": 8, "train": 8, "validation": 4, "test": 4},
    selections=6,
    begin=Phase(1, 1e-3, batch=4),
    zoo=Phase(2, 1e-3, batch=4),
    finetune=dict.fromkeys((GENERATED, SHARED, SCRATCH), Phase(2, 1e-3, batch=4)),
    kept=(1, 2),
    model=replace(CPU.model, token_size=2048, **_SMALL),
    train=replace(TASK_TRAIN, steps=2, diffusion_batch=8, batch_size=2),
    measured=(1, 2),
)
# Table 21 (v2): PASCAL VOC, 20 classes, 500 selections. The paper's start are the weights that ultralytics trained on
# COCO; ours is trained on all classes of VOC, which needs no file of theirs.
PAPER = Setting(
    source="voc",
    size=640,
    scenes=dict.fromkeys(("all", "train", "validation", "test"), 0),
    selections=520,
    seen=25 / 26,
    begin=Phase(100, 2e-3, batch=16, warmup=1000),
    zoo=Phase(5, 2e-4, batch=16, warmup=100, new=50.0),
    kept=(5,),
    model=replace(UNSEEN_PAPER.model, task_bits=20),
    train=UNSEEN_PAPER.train,
    finetune={start: replace(phase, batch=16) for start, phase in CPU.finetune.items()},
)
SETTINGS = {"smoke": SMOKE, "cpu": CPU, "gpu": CPU, "paper": PAPER}


def setting(profile: str) -> Setting:
    """The sizes of a profile. Raises `InputError` for an unknown one."""
    return SETTINGS[choice("profile", profile, PROFILES)]
