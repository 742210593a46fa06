"""The sizes of the experiment: how many questions, runs and checkpoints, and which generators."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from experiments.adapters.adapters import AdapterConfig
from experiments.adapters.base import BaseConfig
from experiments.adapters.questions import FAMILIES
from experiments.profiles import SMALL_MODEL, SMALL_TRAIN, TASK_TRAIN, UNSEEN_DIGITS
from experiments.records import PROFILES
from rpglib.errors import choice
from rpglib.model.config import RPGConfig
from rpglib.training.loop import TrainConfig


@dataclass(frozen=True)
class Setting:
    """One base model, the adapters that are trained of it, and the generators that learn from these.

    questions: of each family and split; runs: independent trainings of an adapter for a family; networks: as many are
    generated, and of each baseline. model, train: of the generator of a family, which has a permutation state for every
    checkpoint. combined, combined_train, combined_adapter: of the generator that is told a combination of families by a
    bit for each, and of its adapters, which start alike. seen, unseen: how many combinations it learns from, and is
    asked for. sampling_steps of DDIM.
    """

    base: BaseConfig
    adapter: AdapterConfig
    questions: Mapping[str, int]
    runs: int
    networks: int
    model: RPGConfig
    train: TrainConfig
    combined_adapter: AdapterConfig
    combined: RPGConfig
    combined_train: TrainConfig
    seen: int
    unseen: int
    sampling_steps: int = 4


# Of combinations: the model and the training that the networks for unseen tasks have (`UNSEEN_DIGITS`).
CPU = Setting(
    base=BaseConfig(),
    adapter=AdapterConfig(),
    questions={"train": 1280, "validation": 400, "test": 400},
    runs=5,
    networks=10,
    model=SMALL_MODEL,
    train=replace(SMALL_TRAIN, steps=1600),
    combined_adapter=AdapterConfig(epochs=5, checkpoints=2),
    combined=replace(UNSEEN_DIGITS.model, task_bits=len(FAMILIES)),
    combined_train=TASK_TRAIN,
    seen=44,
    unseen=12,
)
_SMALL = {"widths": (32,), "d_state": 8, "channels": (1, 4, 8, 4, 1)}
_FEW = AdapterConfig(epochs=2, checkpoints=2)
SMOKE = Setting(
    base=BaseConfig(texts=500, vocabulary=400, width=16, inner=32, layers=1, heads=2, steps=10, batch=8),
    adapter=_FEW,
    questions={"train": 64, "validation": 16, "test": 16},
    runs=2,
    networks=2,
    model=replace(SMALL_MODEL, permutation_states=4, **_SMALL),
    train=replace(SMALL_TRAIN, steps=5, diffusion_batch=32),
    combined_adapter=_FEW,
    combined=replace(CPU.combined, task_width=8, **_SMALL),
    combined_train=replace(SMALL_TRAIN, steps=5, diffusion_batch=32),
    seen=8,
    unseen=2,
)
# What grows with the profile is the base model; `large.py` has the paper's.
SETTINGS = {"smoke": SMOKE, "cpu": CPU, "gpu": CPU, "paper": CPU}


def setting(profile: str) -> Setting:
    """The sizes of a profile. Raises `InputError` for an unknown one."""
    return SETTINGS[choice("profile", profile, PROFILES)]
