"""What a machine does in a second, measured on single operations: the rates of `experiments.cost.roofline`."""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from experiments.cost.roofline import Counted, Rates
from rpglib.model.config import RPGConfig
from rpglib.model.denoiser import Denoiser
from rpglib.model.folded import folded
from rpglib.model.native.kernel import NativeDenoiser, in_threads

REPEATS = 7
SIDE, PASSED = 2048, 2**26
"""Of the square matrices of a product, and numbers of a pass, which no cache holds."""
BATCH, CHANNELS, LENGTH = 64, (32, 64), 1024
"""Tokens, channels in and out, and values of a token, of a convolution."""
CALLS = 2000


def measured(device: str = "cpu", dtype: torch.dtype = torch.float32, scale: int = 1) -> Rates:
    """The rates of all of the device's cores, by the median of repeats. scale: divides all sizes, to test the path."""
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, device=device).to(dtype)

    def rate(work: Callable[[], object], amount: float) -> float:
        return amount / _seconds(work, device)

    side, passed, batch = SIDE // scale, PASSED // scale**2, BATCH // scale
    a, b = draw(side, side), draw(side, side)
    x, weight = draw(batch, CHANNELS[0], LENGTH), draw(CHANNELS[1], CHANNELS[0], 7)
    gradient = draw(batch, CHANNELS[1], LENGTH)
    operations = 2 * batch * LENGTH * weight.numel()
    shape = ([CHANNELS[1]], [1], [3], [1], False, [0], 1, [True, True, True])
    long, other, out = (torch.zeros(passed, device=device, dtype=dtype) for _ in range(3))
    few, count = torch.ones(8, device=device, requires_grad=True), CALLS // scale

    def called() -> None:
        y = few
        for _ in range(count // 2):
            y = y * 1.0
        y.sum().backward()

    return Rates(
        product=rate(lambda: a @ b, 2 * side**3),
        convolution=rate(lambda: F.conv1d(x, weight, padding=3), operations),
        convolution_backward=rate(
            lambda: torch.ops.aten.convolution_backward(gradient, x, weight, *shape), 2 * operations
        ),
        bandwidth=rate(lambda: torch.add(long, other, out=out), 3 * passed * out.element_size()),
        call=_seconds(called, device) / count,
        kernel=_kernel(batch) if device == "cpu" and dtype == torch.float32 else None,
    )


def _kernel(batch: int) -> float | None:
    """Of the compiled denoiser, of the presets' channels; None where there is no compiler."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        denoiser = Denoiser(LENGTH, 8, RPGConfig.preset("tiny").channels).eval()
        ours = folded(denoiser)
        if not isinstance(ours, NativeDenoiser):
            return None
        rows = 4 * batch * torch.get_num_threads()
        noisy, t, condition = torch.randn(rows, LENGTH), torch.randn(LENGTH), torch.randn(rows, LENGTH)
        with Counted() as counted:
            denoiser.denoise(noisy[:1], t[None], condition[:1])

        def work() -> None:
            for _ in in_threads([torch.arange(rows)], lambda some: ours(noisy[some], t, condition[some])):
                pass

        return rows * counted.work.operations("convolution") / _seconds(work, "cpu")


def _seconds(work: Callable[[], object], device: str) -> float:
    """The median of repeats, after one that does not count."""
    found = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return statistics.median(found[1:])
