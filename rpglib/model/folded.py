"""The denoiser as it is when networks are generated: what does not change from step to step is worked out before."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpglib.errors import choice
from rpglib.model.denoiser import Denoiser
from rpglib.model.native.kernel import NativeDenoiser, obstacle

KERNELS = ("auto", "torch", "native")

Folded = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(noisy (B, D), time embedding (D,), projected prototypes (B, D)) -> prediction (B, D)."""


def folded(denoiser: Denoiser, dtype: torch.dtype = torch.float32, kernel: str = "auto") -> Folded:
    """Return the denoiser in evaluation mode, BatchNorm folded into its convolutions, with both embeddings given.

    dtype: of weights and activations; what goes in and comes out is fp32. kernel: "native" is the machine code of
    `native`, for fp32 on a CPU; "torch" is PyTorch; "auto" is the former where it can be used.
    Raises `InputError` for an unknown kernel, and for "native" where it cannot be used.
    """
    layers, skips = _layers(denoiser)
    if choice("kernel", kernel, KERNELS) != "torch":
        reason = obstacle(layers, dtype)
        if reason is None:
            return NativeDenoiser(layers, skips)
        if kernel == "native":
            raise reason
    return TorchDenoiser(layers, skips, dtype)


class TorchDenoiser:
    """`folded` in PyTorch: one product-and-sum, one convolution and one ELU in place per layer."""

    def __init__(self, layers: list[tuple[Tensor, Tensor]], skips: list[int], dtype: torch.dtype):
        self._layers = [(weight.to(dtype), bias.to(dtype)) for weight, bias in layers]
        self._skips, self._dtype = skips, dtype

    def __call__(self, noisy: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        # (x + c) t as x t + c t, whose second part is the same for all channels and layers.
        shift = (condition * time)[:, None].to(self._dtype)
        time = time.to(self._dtype)
        x, outputs = noisy[:, None].to(self._dtype), []
        *inner, last = self._layers
        for (weight, bias), skip in zip(inner, self._skips, strict=True):
            x = F.elu_(F.conv1d(torch.addcmul(shift, x, time), weight, bias, padding=weight.shape[-1] // 2))
            outputs.append(x)
            if skip is not None:
                x = x + outputs[skip]
        weight, bias = last
        return F.conv1d(torch.addcmul(shift, x, time), weight, bias, padding=weight.shape[-1] // 2)[:, 0].float()


def _layers(denoiser: Denoiser) -> tuple[list[tuple[Tensor, Tensor]], list[int | None]]:
    """(weight, bias) of every convolution, and for all but the last which output is added to its own, if any."""
    blocks = [*denoiser.encoder_list, *denoiser.decoder_list]
    encoders = len(denoiser.encoder_list)
    skips: list[int | None] = [None] * (len(blocks) - 1)
    for i in range(len(denoiser.decoder_list)):
        skips[encoders + i - 1] = encoders - 3 - i
    return [_fold(block) for block in blocks], skips


@torch.no_grad()
def _fold(block: nn.Sequential) -> tuple[Tensor, Tensor]:
    convolution = block[0]
    weight, bias = convolution.weight.detach(), convolution.bias.detach()
    if len(block) == 1:
        return weight, bias
    norm = block[1][0]
    factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return weight * factor[:, None, None], (bias - norm.running_mean) * factor + norm.bias
