"""The configuration of a generator: everything that shapes it but the tokenizer, and the paper's four sizes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from rpglib.errors import InputError, check_types, choice, shown, whole_number
from rpglib.model.diffusion import MOST_STEPS, PREDICTIONS, NoiseSchedule
from rpglib.model.samplers import SAMPLERS
from rpglib.runtime.arguments import of, path, takes, tensor, whole
from rpglib.tasks.conditions import MOST_ROWS, Condition, described, features

RECURRENCES = ("mamba2", "lstm", "transformer", "none")
POSITIONS = ("2d", "1d", "learned")
PERMUTATIONS = ("learned", "fixed", "gated")
CONDITIONINGS = ("all", "head", "sequence")
MOST_LAYERS, MOST_SIZE = 1000, 2**24
"""Layers and the size of anything at most, also where a file names them."""
YOUNGER = ("conditions", "condition_dropout", "prototype_gate", "sampler", "sampling_steps")
"""Fields that files need not have: they are written where they are set, and absent they say what they do by default."""


@dataclass(frozen=True)
class RPGConfig:
    """Everything that shapes a generator but the tokenizer. `preset` gives the paper's four sizes.

    Beside learned states the defaults depart from the paper in this: the denoiser predicts the clean token ("sample";
    the paper: "epsilon", v1, equation 5) on top of a linear map of the prototype (`prototype_skip`), which training
    supervises on every token (`TrainConfig.prototype_loss`). From checkpoints of several runs, on the paper's tokens
    (normalised by layer), networks then work after a fraction of the steps: the prototype must know its token, and
    through the denoiser alone it hears of it slowly.

    `position`, `permutation`: the paper's are "2d" and "fixed" (v1, section 3.1); "gated" is ours: "learned", with a
    learned gate of every token between the state and that token, as what a state does to a weight depends on the
    weight. `prediction`: "velocity", too, is ours. `prototype_skip` works with "sample" only. `conditioning`: "all" is
    ours, "head" and "sequence" are the released code's. `conditions`: what networks are for, beyond the paper's tasks,
    whose bits they replace. `condition_dropout`: how often training leaves out what a network is for, task or
    conditions, so that a generator can also be asked without, and guided away from that (Ho and Salimans 2022).
    `prototype_gate`, ours: each token has a learned gate on its prototype, random at first, so that the maps behind it,
    which all tokens share, reach each in its own way; networks for many conditions or states are learned sooner.
    `sampler`, `sampling_steps`: how the generator samples where `generate` is not told, in all of the diffusion's steps
    at most; a generator's files carry them.
    """

    token_size: int = 256
    widths: tuple[int, ...] = (256, 256)
    recurrence: str = "mamba2"
    d_state: int = 32
    d_conv: int = 4
    expand: int = 2
    headdim: int = 64
    channels: tuple[int, ...] = (1, 32, 64, 128, 64, 32, 1)
    kernel_size: int = 7
    position: str = "2d"
    permutation_states: int = 0
    permutation: str = "learned"
    task_bits: int = 0
    task_width: int = 32
    conditioning: str = "all"
    prediction: str = "sample"
    prototype_skip: bool = True
    diffusion_steps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    conditions: tuple[Condition, ...] = ()
    condition_dropout: float = 0.0
    prototype_gate: bool = False
    sampler: str = "ddim"
    sampling_steps: int = 60

    def __post_init__(self):
        # JSON knows no tuples; a configuration that was read back must equal the one that was written.
        for name in ("widths", "channels"):
            sizes = getattr(self, name)
            if not isinstance(sizes, list | tuple):
                raise InputError(f"RPGConfig.{name} takes whole numbers, such as (256, 256), not {shown(sizes)}")
            if len(sizes) > MOST_LAYERS:
                raise InputError(f"RPGConfig.{name} may have {MOST_LAYERS:,} layers at most, not {len(sizes):,}")
            object.__setattr__(
                self, name, tuple(whole_number(f"RPGConfig.{name}", size, 1, MOST_SIZE) for size in sizes)
            )
        object.__setattr__(self, "conditions", described("RPGConfig.conditions", self.conditions))
        check_types(self)
        for name in ("token_size", "d_state", "d_conv", "expand", "headdim", "kernel_size", "task_width"):
            whole_number(f"RPGConfig.{name}", getattr(self, name), 1, MOST_SIZE)
        for name in ("permutation_states", "task_bits"):
            whole_number(f"RPGConfig.{name}", getattr(self, name), 0, MOST_SIZE)
        whole_number("RPGConfig.diffusion_steps", self.diffusion_steps, 1, MOST_STEPS)
        _ = self.schedule  # which refuses betas that are none
        choice("recurrence", self.recurrence, RECURRENCES)
        choice("position embedding", self.position, POSITIONS)
        choice("permutation embedding", self.permutation, PERMUTATIONS)
        choice("conditioning", self.conditioning, CONDITIONINGS)
        choice("prediction", self.prediction, PREDICTIONS)
        choice("sampler", self.sampler, SAMPLERS)
        whole_number("RPGConfig.sampling_steps", self.sampling_steps, 1, MOST_STEPS)
        channels = self.channels
        if len(channels) < 3 or len(channels) % 2 == 0 or channels[0] != 1 or channels != channels[::-1]:
            raise InputError(
                f"the denoiser's channels must run from 1 to a widest one and back the same way, not {channels}"
            )
        if self.kernel_size % 2 == 0:
            raise InputError(f"kernel_size must be odd to keep the token's length, not {self.kernel_size}")
        if not self.widths:
            raise InputError("widths names no recurrent layer; give at least one width")
        if self.conditions and self.task_bits:
            raise InputError("a network is for a task or for conditions; set task_bits or conditions, not both")
        if not 0 <= self.condition_dropout < 1 or (self.condition_dropout and not (self.conditions or self.task_bits)):
            raise InputError(
                "condition_dropout takes 0 to below 1, with conditions or task_bits to leave out, not "
                f"{self.condition_dropout}"
            )
        if self.recurrence == "transformer" and any(w % max(1, w // self.headdim) for w in self.widths):
            raise InputError(f"widths {self.widths} cannot be split into heads of about {self.headdim}; change headdim")
        if self.prototype_skip and self.prediction != "sample":
            raise InputError(
                f"prototype_skip works with prediction='sample', not {self.prediction!r}; set prototype_skip=False"
            )

    @classmethod
    def preset(cls, name: str) -> "RPGConfig":
        """The paper's sizes (v1, table 12; v2, table 16): "tiny", "small", "base" or "large".

        By v2, section B.2, CNN (s) and CNN (m) are written by tiny; ViT-Base, ConvNeXt-L, the networks for ADE20K and
        COCO and DoRA of rank 64 by large; all others by base.
        Parameters in millions, ours against the printed (recurrent; denoiser): tiny 0.83 against 1.3; 0.34 against 0.3.
        small 205 against 256; 34.8 against 17. base 814 against 1,018; 136 against 69. large 2,638 against 3,076;
        541 against 273. Two Mamba-2 layers of the table's widths cannot reach the printed recurrent counts; the
        released code has no further layer that would. The denoiser consists of two D x D maps, for the time and for
        the prototype, and little else; the printed counts are those of one such map.
        """
        return PRESETS[choice("preset", name, PRESETS)]

    def to_dict(self) -> dict:
        """The fields as JSON has them."""
        return {name: x for name, x in asdict(self).items() if name not in YOUNGER or x != _DEFAULTS[name]}

    @classmethod
    @takes(said=of(Mapping), file=path)
    def from_dict(cls, said: Mapping, file: str | Path) -> "RPGConfig":
        """The configuration with the fields of a file; raises `InputError` where one is missing or unknown."""
        known = {field.name for field in fields(cls)}
        # Absent fields would silently take today's defaults, which need not be those of the file.
        if missing := sorted(known - said.keys() - {*YOUNGER}):
            raise InputError(f"{file} lacks the fields {missing}; copy or save it again")
        if unknown := sorted(said.keys() - known):
            raise InputError(f"{file} has unknown fields {unknown}; was it written by a newer version?")
        return cls(**said)

    @property
    def told(self) -> int:
        """How many features tell the recurrent model what a network is for; 0 where it is told nothing."""
        own = self.task_bits or sum(condition.features for condition in self.conditions)
        return own + (self.condition_dropout > 0)

    @takes(rows=tensor("N asked", "finite"))
    def features(self, rows: Tensor) -> Tensor:
        """What the recurrent model is told (N, told) of tasks (N, bits) or conditions (N, C).

        With `condition_dropout` there is one feature more, which is 1 where nothing is told.
        Raises `InputError` for rows of other lengths.
        """
        if not self.conditions and rows.shape[1] != self.task_bits:
            raise InputError(f"this generator's tasks have {self.task_bits} bits, not {rows.shape[1]}")
        found = features(self.conditions, rows) if self.conditions else rows.float()
        return torch.cat((found, torch.zeros(len(rows), 1)), 1) if self.condition_dropout else found

    @takes(n=whole(0, MOST_ROWS))
    def left_out(self, n: int) -> Tensor:
        """What it is told (n, told) where that is left out: every other feature is in the middle.

        Raises `InputError` for a generator without `condition_dropout`, which was never told so.
        """
        if not self.condition_dropout:
            raise InputError("nothing can be left out of what this generator is told; set RPGConfig.condition_dropout")
        found = torch.full((n, self.told), 0.5)
        found[:, -1] = 1
        return found

    @cached_property
    def schedule(self) -> NoiseSchedule:
        return NoiseSchedule(self.diffusion_steps, self.beta_start, self.beta_end)


_DEFAULTS = {name: RPGConfig.__dataclass_fields__[name].default for name in YOUNGER}
_TINY = RPGConfig(prediction="epsilon", prototype_skip=False)
PRESETS = {
    "tiny": _TINY,
    "small": replace(_TINY, token_size=4096, widths=(4096, 4096), d_state=128),
    "base": replace(_TINY, token_size=8192, widths=(8192, 8192), d_state=128),
    "large": replace(_TINY, token_size=16384, widths=(12288, 16384), d_state=128, channels=(1, 64, 96, 64, 1)),
}
