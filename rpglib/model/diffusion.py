"""The forward process: how tokens are noised, and what a denoiser may be asked to predict."""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rpglib.errors import InputError, check_types, choice, shown, whole_number
from rpglib.runtime.arguments import number, takes, tensor

FLOATS = tensor("B ...", "float", detached=False)

PREDICTIONS = ("epsilon", "sample", "velocity")
MOST_STEPS = 100_000
"""Each has an entry in the tables of a schedule, also where a file names their number."""
LEAST_SHARE = 1e-60
"""Of the variance that signal and noise have, each at its weakest step; samplers divide by their roots, in fp32."""


@dataclass(frozen=True)
class NoiseSchedule:
    """A variance-preserving diffusion of T steps with linear betas: x_t = signal_rate[t] x_0 + noise_rate[t] epsilon.

    Three numbers and nothing else are its state, so it is hashable, picklable and free to build; the tables derive
    from them in float64, and the copies on a device are made at first use. t counts from 0 (least noise) to T - 1.
    Source: Ho et al. 2020, eq. 4; the defaults are those of the RPG paper (v1, table 12; v2, table 16) and of the
    released code.
    Raises `InputError` for betas outside (0, 1) or in falling order, for less than one step, and where the last step
    has next to no signal or the first next to no noise: samplers divide by both.
    """

    steps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02

    def __post_init__(self):
        check_types(self)
        whole_number("the number of diffusion steps", self.steps, 1, MOST_STEPS)
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise InputError(
                f"betas must satisfy 0 < beta_start <= beta_end < 1, not beta_start={self.beta_start}, "
                f"beta_end={self.beta_end}"
            )
        if self.alpha_bar[-1] < LEAST_SHARE or 1 - self.alpha_bar[0] < LEAST_SHARE:
            raise InputError(
                f"beta_start={self.beta_start}, beta_end={self.beta_end} over {self.steps:,} steps leave no signal at "
                "the end or no noise at the start; change them, so that both have a share"
            )

    @property
    def alpha_bar(self) -> Tensor:
        """Share of the signal's variance that is left at each step: (T,), float64, on the CPU."""
        return _alpha_bar(self)

    @property
    def signal_rate(self) -> Tensor:
        """sqrt(alpha_bar): (T,), float64, on the CPU."""
        return self.alpha_bar.sqrt()

    @property
    def noise_rate(self) -> Tensor:
        """sqrt(1 - alpha_bar): (T,), float64, on the CPU."""
        return (1 - self.alpha_bar).sqrt()

    @takes(like=FLOATS)
    def rates(self, t: Tensor | int, like: Tensor) -> tuple[Tensor, Tensor] | tuple[float, float]:
        """Return (signal, noise) at t, ready to multiply `like` (B, ...): (B, 1, ...) for t (B,), floats for an int t.

        Raises `InputError` for steps outside 0..T-1; on a GPU a tensor is not checked, which would wait for it.
        """
        if not isinstance(t, Tensor):
            return self._rates(t)
        t = tensor(f"{len(like)}", "whole")("t", t, {}).long() if like.ndim else t
        if t.device.type == "cpu" and len(t) and not 0 <= t.min() <= t.max() < self.steps:
            raise InputError(f"diffusion steps lie in 0..{self.steps - 1}, not all of {shown(t)}")
        shape = (-1,) + (1,) * (like.ndim - 1)
        signal, noise = _rate_tables(self, t.device, like.dtype)
        return signal[t].view(shape), noise[t].view(shape)

    def _rates(self, t: int) -> tuple[float, float]:
        if not 0 <= whole_number("a diffusion step", t) < self.steps:
            raise InputError(f"diffusion step {t} lies outside 0..{self.steps - 1}")
        alpha_bar = self.alpha_bar[t].item()
        return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)

    @takes(x0=FLOATS, noise=FLOATS)
    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor | int) -> Tensor:
        """Return x_t (B, ...) from clean x0 (B, ...), standard normal noise (B, ...) and t (B,) int64 or one int."""
        signal_rate, noise_rate = self.rates(t, x0)
        return signal_rate * x0 + noise_rate * noise

    @takes(x0=FLOATS, noise=FLOATS)
    def target(self, x0: Tensor, noise: Tensor, t: Tensor | int, prediction: str) -> Tensor:
        """Return what the denoiser should answer: the noise, the clean x0, or the velocity.

        Velocity is signal_rate noise - noise_rate x0 (Salimans and Ho 2022, section 4).
        Raises `InputError` for an unknown prediction.
        """
        if choice("prediction", prediction, PREDICTIONS) == "epsilon":
            return noise
        if prediction == "sample":
            return x0
        signal_rate, noise_rate = self.rates(t, x0)
        return signal_rate * noise - noise_rate * x0

    @takes(x_t=FLOATS)
    def output_of_zero(self, x_t: Tensor, t: int, prediction: str) -> Tensor:
        """Return the output (B, ...) that means a clean x0 of zero at x_t; `InputError` as `target`."""
        # Written out instead of asked of `target`: samplers ask at every step.
        signal_rate, noise_rate = self._rates(t)
        if choice("prediction", prediction, PREDICTIONS) == "sample":
            return torch.zeros_like(x_t)
        return x_t / noise_rate * (1.0 if prediction == "epsilon" else signal_rate)


def _check_rates(**rates) -> None:
    """Raise `InputError` unless they are numbers above 0, up to 1, or tensors; samplers ask this at every step."""
    for name, rate in rates.items():
        if type(rate) is float and 0 < rate <= 1:
            continue
        if isinstance(rate, Tensor):
            tensor(values="float", detached=False)(name, rate, {})
        elif not number(0, 1)(name, rate, {}):
            raise InputError(f"{name} must be above 0: the weights divide by it")


def sample_weights(prediction: str, signal_rate, noise_rate):
    """Return (a, b) with x0 = a x_t + b output; rates are floats or tensors. `InputError` for an unknown prediction."""
    _check_rates(signal_rate=signal_rate, noise_rate=noise_rate)
    if choice("prediction", prediction, PREDICTIONS) == "epsilon":
        return 1 / signal_rate, -noise_rate / signal_rate
    if prediction == "sample":
        return 0.0, 1.0
    return signal_rate, -noise_rate


def epsilon_weights(prediction: str, signal_rate, noise_rate):
    """Return (a, b) with epsilon = a x_t + b output; rates are floats or tensors. `InputError` as `sample_weights`."""
    _check_rates(signal_rate=signal_rate, noise_rate=noise_rate)
    if choice("prediction", prediction, PREDICTIONS) == "epsilon":
        return 0.0, 1.0
    if prediction == "sample":
        return 1 / noise_rate, -signal_rate / noise_rate
    return noise_rate, signal_rate


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)
def _alpha_bar(schedule: NoiseSchedule) -> Tensor:
    # Hence False: first built while generating, it would stay an inference tensor, which autograd refuses later.
    betas = torch.linspace(schedule.beta_start, schedule.beta_end, schedule.steps, dtype=torch.float64, device="cpu")
    return (1 - betas).cumprod(0)


@functools.lru_cache(maxsize=64)
def _rate_tables(schedule: NoiseSchedule, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return schedule.signal_rate.to(dtype).to(device), schedule.noise_rate.to(dtype).to(device)
