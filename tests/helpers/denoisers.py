"""Denoisers with BatchNorm statistics of a training, what goes into them, and what comes out in double precision."""

import torch

from rpglib.model.denoiser import Denoiser

SMALL = (1, 16, 32, 64, 32, 16, 1)


def denoiser(size: int, channels: tuple[int, ...], kernel_size: int = 7) -> Denoiser:
    torch.manual_seed(0)
    model = Denoiser(size, 8, channels, kernel_size).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.weight.data.normal_()
            module.bias.data.normal_()
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model


def inputs(count: int, size: int):
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(shape, generator=generator) for shape in ((count, size), (size,), (count, size)))


@torch.no_grad()
def reference(model: Denoiser, noisy, time, condition):
    """The unfolded denoiser in double precision."""
    model = model.double()
    expected = model.denoise(noisy.double(), time.double().expand_as(noisy), condition.double())
    model.float()
    return expected.float()
