"""The reverse process: pure functions that turn noise into samples, on tensors of any shape.

Every step of every sampler is linear in the current x, the denoiser's output and perhaps fresh noise. Its weights are
Python floats, worked out in float64, so that no tensor is indexed and a step costs the denoiser and one or two sums.
Nothing that `predict` received or returned is overwritten: it may keep what it gets and reuse the buffer it gives.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from types import NoneType
from typing import NamedTuple

import torch
from torch import Tensor

from rpglib.errors import InputError, choice, shown
from rpglib.model.diffusion import MOST_STEPS, NoiseSchedule, epsilon_weights, sample_weights
from rpglib.runtime.arguments import function, number, of, takes, tensor, whole

Predict = Callable[[Tensor, int], Tensor]
"""(x_t, t) -> the denoiser's output, shaped like x_t."""
DrawNoise = Callable[[], Tensor]
"""() -> standard normal noise, shaped like x."""

SPACINGS = ("trailing", "leading", "reference")


@takes(T=whole(1, MOST_STEPS))
def timesteps(T: int, steps: int, spacing: str = "trailing") -> list[int]:
    """Return the diffusion steps to visit, descending, as indices into 0..T-1.

    "trailing" starts at T - 1, where training's noisiest samples are (Lin et al. 2023, table 2); "leading" ends at 0
    and starts short of T - 1; both have `steps` entries. "reference" is the released code's 1, 1 + s, 1 + 2s, ... with
    s = T // steps, which has more entries than asked for where `steps` does not divide T (63 for 60 of 1,000).
    Raises `InputError` for an unknown spacing or a number of steps that T cannot carry.
    """
    most = T // 2 if choice("spacing", spacing, SPACINGS) == "reference" else T
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= most:
        raise InputError(
            f"sampling steps must lie in 1..{most} for {spacing} spacing of {T} diffusion steps, not {shown(steps)}"
        )
    if spacing == "trailing":
        return [round(T * left / steps) - 1 for left in range(steps, 0, -1)]
    stride = T // steps
    if spacing == "leading":
        return [stride * i for i in reversed(range(steps))]
    return [t + 1 for t in reversed(range(0, T - 1, stride))]


class _Step(NamedTuple):
    """One step of a sampler: the index given to the denoiser, and alpha_bar here and where the step lands."""

    t: int
    alpha_bar: float
    alpha_bar_next: float

    @property
    def rates(self) -> tuple[float, float]:
        return math.sqrt(self.alpha_bar), math.sqrt(1 - self.alpha_bar)

    @property
    def posterior_variance(self) -> float:
        """Variance of q(x_next | x_t, x_0): DDPM eq. 7 on the visited steps, DDIM eq. 16 with eta 1."""
        return (1 - self.alpha_bar_next) / (1 - self.alpha_bar) * (1 - self.alpha_bar / self.alpha_bar_next)


def _path(schedule: NoiseSchedule, steps: int, spacing: str) -> list[_Step]:
    alpha_bar = schedule.alpha_bar.tolist()
    visited = timesteps(schedule.steps, steps, spacing)
    # The released code lands on index 0, which still holds a trace of noise; everything else lands on clean data.
    last = alpha_bar[0] if spacing == "reference" else 1.0
    levels = pairwise([*(alpha_bar[t] for t in visited), last])
    return [_Step(t, here, there) for t, (here, there) in zip(visited, levels, strict=True)]


@takes(predict=function, x=tensor(values="float"), schedule=of(NoiseSchedule), draw_noise=of(Callable, NoneType))
def ddpm(
    predict: Predict,
    x: Tensor,
    schedule: NoiseSchedule,
    *,
    steps: int,
    prediction: str,
    draw_noise: DrawNoise | None,
    spacing: str = "trailing",
) -> Tensor:
    """Return samples shaped like the noise x by ancestral sampling on `steps` of the T diffusion steps.

    `draw_noise` is called once a step but for the last, which is free of noise. Raises `InputError` without it, and for
    an unknown prediction, spacing or number of steps. Source: Ho et al. 2020, algorithm 2, with the posterior variance
    ("fixed small") and, for less than T steps, the betas respaced as in Nichol and Dhariwal 2021, eq. 19.
    """
    return _ancestral(predict, x, _path(schedule, steps, spacing), prediction, eta=1.0, draw_noise=draw_noise)


@takes(predict=function, x=tensor(values="float"), schedule=of(NoiseSchedule), draw_noise=function, eta=number())
def ddim(
    predict: Predict,
    x: Tensor,
    schedule: NoiseSchedule,
    *,
    steps: int,
    prediction: str,
    draw_noise: DrawNoise | None = None,
    spacing: str = "trailing",
    eta: float = 0.0,
) -> Tensor:
    """Return samples shaped like the noise x; with eta = 0 (no randomness but x) `draw_noise` is never called.

    Raises `InputError` for eta outside 0..1 or above 0 without `draw_noise`, and for an unknown prediction, spacing or
    number of steps. Source: Song et al. 2021, eq. 12 and 16. Deviation from `diffusers`: each step lands on the next
    visited index; there, on t - T // steps, which differs where `steps` does not divide T.
    """
    if not 0 <= eta <= 1:
        raise InputError(f"eta must lie in 0..1, not {eta}")
    return _ancestral(predict, x, _path(schedule, steps, spacing), prediction, eta=eta, draw_noise=draw_noise)


def _ancestral(
    predict: Predict, x: Tensor, path: list[_Step], prediction: str, *, eta: float, draw_noise: DrawNoise | None
) -> Tensor:
    """DDIM's family of samplers; eta = 1 is DDPM: the two means are the same (Song et al. 2021, section 4.1)."""
    if eta and draw_noise is None:
        raise InputError("a sampler with fresh noise at each step needs draw_noise; give it, or use ddim with eta = 0")
    for step in path:
        variance = eta**2 * step.posterior_variance
        signal, noise = math.sqrt(step.alpha_bar_next), math.sqrt(max(1 - step.alpha_bar_next - variance, 0.0))
        sample_x, sample_output = sample_weights(prediction, *step.rates)
        epsilon_x, epsilon_output = epsilon_weights(prediction, *step.rates)
        output = _like(x, predict(x, step.t), "predict")
        x = torch.mul(x, signal * sample_x + noise * epsilon_x)
        x.add_(output, alpha=signal * sample_output + noise * epsilon_output)
        if variance:
            x.add_(_like(x, draw_noise(), "draw_noise"), alpha=math.sqrt(variance))
    return x


@takes(predict=function, x=tensor(values="float"), schedule=of(NoiseSchedule), draw_noise=function)
def dpm_solver(
    predict: Predict,
    x: Tensor,
    schedule: NoiseSchedule,
    *,
    steps: int,
    prediction: str,
    draw_noise: DrawNoise | None = None,
    spacing: str = "trailing",
) -> Tensor:
    """Return samples shaped like the noise x by DPM-Solver++ (2M): second order, one evaluation a step.

    The first step and the last are of first order (the last lands on no noise at all, where the step in log-SNR is
    infinite). Deterministic: `draw_noise` is accepted for the signature that all samplers share, and never called.
    Raises `InputError` for an unknown prediction, spacing or number of steps. Source: Lu et al. 2022, algorithm 2.
    """
    previous, previous_h = None, math.inf
    for step in _path(schedule, steps, spacing):
        signal, noise = step.rates
        signal_next, noise_next = math.sqrt(step.alpha_bar_next), math.sqrt(1 - step.alpha_bar_next)
        of_x, of_output = sample_weights(prediction, signal, noise)
        sample = torch.mul(x, of_x).add_(_like(x, predict(x, step.t), "predict"), alpha=of_output)
        # With h the step in log(signal / noise): exp(-h), written so that it is 0 where no noise is left.
        decay = (noise_next * signal) / (noise * signal_next)
        h = -math.log(decay) if decay else math.inf
        # Half of h / previous_h is how far the last two clean estimates are extrapolated to the middle of this step.
        ahead = h / previous_h / 2 if decay and previous is not None else 0.0
        of_sample = signal_next * (1 - decay)
        x = torch.mul(x, noise_next / noise).add_(sample, alpha=of_sample * (1 + ahead))
        if ahead:
            x.add_(previous, alpha=-of_sample * ahead)
        previous, previous_h = sample, h
    return x


def _like(x: Tensor, given: Tensor, what: str) -> Tensor:
    if not isinstance(given, Tensor) or given.shape != x.shape:
        raise InputError(
            f"{what} returns {shown(getattr(given, 'shape', given))}, not a tensor like x {tuple(x.shape)}"
        )
    return given


SAMPLERS = {"ddpm": ddpm, "ddim": ddim, "dpm++": dpm_solver}
"""Samplers by name, all called as (predict, x, schedule, steps=, prediction=, draw_noise=, spacing=)."""
