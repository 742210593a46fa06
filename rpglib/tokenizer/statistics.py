"""What a zoo's values are like: which vary, how large they are, and the shift and scale that normalise each layer."""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, pstdev

import torch
from torch import Tensor

from rpglib.errors import InputError
from rpglib.runtime.state_dicts import Checkpoint, plain
from rpglib.tokenizer.layout import LOG_OFFSET, Layer

NORMALISATIONS = ("layer", "residual", "element")
LOG_REFERENCE = 0.95
"""What variances are divided by before their logarithm, of their mean: the released code's constant."""

# Tokens are float32: values of these types come back to rounding. Those of others come back if float32 has these very
# numbers and they are divided by powers of two alone.
CARRIED = (
    *(torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e4m3fnuz),
    *(torch.float8_e5m2, torch.float8_e5m2fnuz),
)
# Where float32 arithmetic would bring back fewer than six digits, a layer is exact: computed in float64, and not
# centred if need be. That is so for values beyond RANGE, whose squares or inverses are; for a checkpoint whose largest
# value is less than 1 / CONTRAST of the shift; for a variance of less than LEAST times the reference.
RANGE = (1e-15, 1e15)
CONTRAST = 16
LEAST = 1e-3
UNIFORM = 0.01
"""Where a layer deviates within checkpoints by less than this share of what it does between them, the latter counts."""
# Smaller tokens have fewer digits, larger ones are infinite.
TOKENS = (1e-30, 3e38)


class Survey:
    """What one pass over a zoo tells of a layer: which values vary, their sizes, and the "layer" statistics."""

    def __init__(self, layer: Layer, first: Tensor):
        self.layer, self.first = layer, first
        self.varies = torch.zeros(layer.size, dtype=torch.bool)
        self.infinite = self.zero = self.beyond = False
        self.means: list[float] = []  # of each checkpoint
        self.std = self.reference = 0.0
        # Of all values; of the largest value of each checkpoint that is not all zero, and which one that was; of
        # variances above zero.
        self.largest, self.smallest, self.least, self.where = 0.0, math.inf, math.inf, 0
        self.exact = layer.size == 1

    def see(self, x: Tensor, i: int) -> None:
        """Take in the flat layer of checkpoint i."""
        if i and not self.varies.all():
            self.varies |= x != self.first
        given, x, what = x, x.float(), f"checkpoint {i}"
        low, high = float(x.amin()), float(x.amax())
        if low != low:
            raise InputError(not_finite(self.layer.name, what))
        if self.layer.dtype not in CARRIED and not x.double().equal(given.double()):
            self.beyond = True
            return
        if math.inf in (-low, high):
            if (x.isinf() & self.varies).any():
                raise InputError(not_finite(self.layer.name, what))
            self.infinite = True
            x = x[x.isfinite()]
            if not len(x):
                return
            low, high = float(x.amin()), float(x.amax())
        largest = max(-low, high)
        self.largest = max(self.largest, largest)
        if 0 < largest < self.smallest:
            self.smallest, self.where = largest, i
        if self.layer.log:
            if low < 0:
                raise InputError(negative(self.layer.name, what))
            self.zero |= low == 0
            if high > 0:
                self.least = min(self.least, low or float(x[x > 0].min()))
            scale = LOG_REFERENCE * float(x.mean() if largest <= RANGE[1] else x.double().mean()) or 1.0
            self.reference += scale
            x = torch.log(x / scale + LOG_OFFSET)
        if len(x) > 1:
            deviation, average = torch.std_mean(x)
            self.means.append(float(average))
            self.std += float(deviation)

    def settle(self, n: int) -> None:
        """Draw the conclusions from all n checkpoints; raises `InputError` where the layer would not come back."""
        if self.beyond or (self.layer.log and self.layer.dtype not in CARRIED):
            raise InputError(beyond(self.layer))
        if (self.first.float().isinf() & self.varies).any():
            raise InputError(not_finite(self.layer.name, "checkpoint 0"))
        self.std, self.reference = self.std / n, self.reference / n
        self.exact |= (
            self.layer.dtype not in CARRIED or self.infinite or self.largest > RANGE[1] or 0 < self.largest < RANGE[0]
        )
        if self.layer.log:
            self.exact |= self.zero or self.least < LEAST * self.reference
            if self.exact:
                self.layer = replace(self.layer, offset=min(LOG_OFFSET, self.least / self.reference))


def statistics(
    checkpoints: Sequence[Checkpoint], surveys: Sequence[Survey], normalisation: str
) -> tuple[list[Tensor], list[Tensor]]:
    """Shift and scale of every layer, float32, of exact layers float64: (1,) or by value, as the normalisation says.

    Raises `InputError` where tokens could not hold both the largest and the smallest checkpoint of a layer.
    """
    passed = [survey for survey in surveys if survey.exact or normalisation != "layer"]
    moments = dict(zip([survey.layer.name for survey in passed], _moments(checkpoints, passed), strict=True))
    shifts, scales = [], []
    for survey in surveys:
        by_value = survey.layer.size == 1 or normalisation == "element"
        if survey.layer.name not in moments:
            # Of the first pass.
            shift = torch.tensor([fmean(survey.means)], dtype=torch.float64)
            scale = _usable(_of_layer(survey.std, pstdev(survey.means)), shift, 1.0).float()
            shift = shift.float()
        else:
            mean, variance, spread = moments[survey.layer.name]
            if normalisation == "layer" and not by_value:
                shift = mean[~survey.first.float().isinf()].mean().reshape(1)
                deviation = _of_layer(spread, float(variance.double().mean().sqrt()))
            else:
                pooled = variance if by_value else variance.double().mean().to(variance.dtype).reshape(1)
                shift, deviation = mean, pooled.sqrt()
            # Very small layers must not be measured by 1.
            size = max(float(deviation.amax()), float(shift.abs().amax())) if survey.exact else 1.0
            scale = _usable(deviation, shift, size or 1.0)
            if survey.exact:
                scale = scale.clamp(min=1e-20 * float(scale.amax()))
        if not survey.layer.log:
            verbatim = survey.layer.dtype not in CARRIED
            if verbatim or survey.smallest < float(shift.abs().amax()) / CONTRAST:
                squares = shift.double().square() + scale.double().square()
                scale = (squares if by_value else squares.mean().reshape(1)).sqrt()
                shift = torch.zeros(1, dtype=torch.float64)
                if verbatim:
                    scale = torch.ldexp(torch.ones_like(scale), scale.frexp().exponent)
            if survey.smallest < TOKENS[0] * float(scale.amax()):
                raise InputError(
                    f"checkpoint {survey.where}: {survey.layer.name!r} is too small beside that of other checkpoints "
                    "to come back from float32 tokens; leave this checkpoint out"
                )
        shifts.append(shift)
        scales.append(scale)
    return shifts, scales


def _moments(checkpoints: Sequence[Checkpoint], surveys: Sequence[Survey]) -> list[tuple[Tensor, Tensor, float]]:
    """By layer: mean and variance of every value over the zoo, and the mean deviation within it (of exact layers)."""
    kinds = [torch.float64 if survey.exact else torch.float32 for survey in surveys]
    mean = [torch.zeros(survey.layer.size, dtype=kind) for survey, kind in zip(surveys, kinds, strict=True)]
    squares, spread = [torch.zeros_like(x) for x in mean], [0.0] * len(mean)
    n = len(checkpoints) if surveys else 0
    for i in range(n):
        checkpoint = checkpoints[i]
        for k, survey in enumerate(surveys):
            x = plain(checkpoint[survey.layer.name]).flatten().to(kinds[k])
            if survey.layer.log:
                x = torch.log(x / survey.reference + survey.layer.offset)
            if survey.exact:
                finite = x.isfinite()
                if finite.sum() > 1:
                    spread[k] += float(x[finite].std()) / n
                x = x.masked_fill(~finite, 0.0)
            # Welford's update: exact to rounding where a sum of squares would cancel.
            delta = x - mean[k]
            mean[k] += delta / (i + 1)
            squares[k].addcmul_(delta, x - mean[k])
    return [(m, s / max(n - 1, 1), deviation) for m, s, deviation in zip(mean, squares, spread, strict=True)]


def _of_layer(within: float, between: float) -> Tensor:
    """A layer's deviation (1,): that within checkpoints, as the paper has it, unless each is nearly uniform."""
    return torch.tensor([within if within >= UNIFORM * between else between], dtype=torch.float64)


def _usable(deviation: Tensor, mean: Tensor, otherwise: float) -> Tensor:
    """The deviation, but no less than rounding, which dividing by it would blow up; `otherwise` where there is none."""
    rounding = 1e-7 * mean.abs().amax()
    least = torch.where(deviation > 0, rounding, otherwise).to(deviation.dtype)
    return torch.where(deviation > rounding, deviation, least)


def not_finite(name: str, what: str) -> str:
    return f"{what}: {name!r} holds NaN or infinity; leave this checkpoint out"


def beyond(layer: Layer) -> str:
    kind = str(layer.dtype).removeprefix("torch.")
    return (
        f"{layer.name!r} varies in {kind}, of which float32 tokens would lose digits; convert the checkpoints with "
        f".float(), or leave it out (Zoo.read(..., exclude={layer.name!r}))"
    )


def negative(name: str, what: str) -> str:
    return f"{what}: {name!r} holds a variance below zero; leave this checkpoint out"
