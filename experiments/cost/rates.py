"""What a machine does in a second, measured on single operations: the rates of `experiments.cost.roofline`."""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from experiments.cost.roofline import Counted, Rates, training_step
from experiments.sweeps.memory import step_loss
from rpglib.model.config import RPGConfig
from rpglib.model.denoiser import Denoiser
from rpglib.model.folded import folded
from rpglib.model.native.kernel import NativeDenoiser, in_threads
from rpglib.model.rpg import RPG
from rpglib.training.loop import TrainConfig

REPEATS = 7
SIDE, PASSED = 2048, 2**26
"""Of the square matrices of a product, and numbers of a pass, which no cache holds."""
VALUES = 2**16
"""Of all tokens together that pass the denoiser's convolutions."""
SMALLEST = RPGConfig(token_size=8, widths=(8,), d_state=4, headdim=8, channels=(1, 2, 1))
"""A generator whose work takes nothing beside its calls."""


def measured(token_size: int = 1024, device: str = "cpu", dtype: torch.dtype = torch.float32, scale: int = 1) -> Rates:
    """The rates of all of the device's cores, by the median of repeats. scale: divides all sizes, to test the path.

    Those of convolutions are of all that a denoiser of such tokens has, one after the other: with few channels they are
    slower, and so is the compiled denoiser where a long token's activations outgrow the cache.
    """
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, device=device).to(dtype)

    def rate(work: Callable[[], object], amount: float) -> float:
        return amount / seconds(work, device)

    side, passed, batch = SIDE // scale, PASSED // scale**2, max(1, VALUES // token_size // scale)
    a, b = draw(side, side), draw(side, side)
    weights = [draw(*weight.shape) for weight in _kernels()]
    # Into each layer, and out of it.
    ends = [(draw(batch, weight.shape[1], token_size), draw(batch, weight.shape[0], token_size)) for weight in weights]
    operations = 2 * batch * token_size * sum(weight.numel() for weight in weights)
    long, other, out = (torch.zeros(passed, device=device, dtype=dtype) for _ in range(3))

    def convolved() -> None:
        for (x, _), weight in zip(ends, weights, strict=True):
            F.conv1d(x, weight, padding="same")

    def convolved_back() -> None:
        for (x, gradient), weight in zip(ends, weights, strict=True):
            out_channels, _, width = weight.shape
            same = ([out_channels], [1], [width // 2], [1], False, [0], 1, [True, True, True])
            torch.ops.aten.convolution_backward(gradient, x, weight, *same)

    return Rates(
        product=rate(lambda: a @ b, 2 * side**3),
        convolution=rate(convolved, operations),
        convolution_backward=rate(convolved_back, 2 * operations),
        bandwidth=rate(lambda: torch.add(long, other, out=out), 3 * passed * out.element_size()),
        call=_call(device),
        kernel=_kernel(token_size, batch) if device == "cpu" and dtype == torch.float32 else None,
    )


def _call(device: str) -> float:
    """A training step of the smallest generator, by the operations in it."""
    tokens, train = 2, TrainConfig.paper(batch_size=1, diffusion_batch=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = RPG.with_positions(SMALLEST, torch.zeros(tokens, SMALLEST.widths[0])).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> None:
        step_loss(model, train, 1, 1, device).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()

    return seconds(step, device) / sum(training_step(SMALLEST, tokens, train).calls.values())


def _kernels() -> list[torch.Tensor]:
    """Of the convolutions of the presets' denoiser, (channels out, channels in, width) each."""
    with torch.device("meta"):  # of interest are the sizes; drawing weights would move the caller's random state
        denoiser = Denoiser(8, 8, RPGConfig.preset("tiny").channels)
    return [layer.weight for layer in denoiser.modules() if isinstance(layer, nn.Conv1d)]


def _kernel(token_size: int, batch: int) -> float | None:
    """Of the compiled denoiser, of the presets' channels; None where there is no compiler for it."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        denoiser = Denoiser(token_size, 8, RPGConfig.preset("tiny").channels).eval()
        ours = folded(denoiser)
        if not isinstance(ours, NativeDenoiser):
            return None
        rows = 4 * batch * torch.get_num_threads()
        noisy, condition = torch.randn(rows, token_size), torch.randn(rows, token_size)
        t = torch.randn(token_size)
        with Counted() as counted:
            denoiser.denoise(noisy[:1], t[None], condition[:1])

        def work() -> None:
            for _ in in_threads([torch.arange(rows)], lambda some: ours(noisy[some], t, condition[some])):
                pass

        return rows * counted.work.operations("convolution") / seconds(work, "cpu")


def seconds(work: Callable[[], object], device: str) -> float:
    """The median of repeats, after one that does not count."""
    found = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return statistics.median(found[1:])
