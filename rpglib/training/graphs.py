"""A training step's way there and back as CUDA graphs: a GPU is told once what to compute, not kernel by kernel."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn


def graphed(
    model: nn.Module, batch: Mapping[str, Tensor], options: Mapping, autocast: Callable[[], AbstractContextManager]
) -> Callable[..., Tensor]:
    """`model(**batch, **options)` for batches of these names, shapes and types, captured with this one.

    The model computes within `autocast()`.

    A step of a small generator is a thousand short kernels, and telling them one by one takes the processor longer
    than computing takes the GPU. They are the same kernels in the same order, so the numbers are the same. The model is
    left as it was: what passes while capturing moves no statistics of BatchNorm. Later batches overwrite this one.
    """
    names = tuple(batch)
    statistics = {name: x.clone() for name, x in model.named_buffers()}
    # What a training does not reach, such as a frozen denoiser's time embedding, has no gradient.
    step = torch.cuda.make_graphed_callables(
        _Step(model, names, options, autocast), tuple(batch[name] for name in names), allow_unused_input=True
    )
    for name, x in model.named_buffers():
        x.copy_(statistics[name])
    return lambda **given: step(*(given[name] for name in names))


class _Step(nn.Module):
    """The model with its arguments in order, which is how a graph takes them."""

    def __init__(self, model: nn.Module, names: tuple[str, ...], options: Mapping, autocast: Callable):
        super().__init__()
        self.model, self.names, self.options, self.autocast = model, names, options, autocast

    def forward(self, *tensors: Tensor) -> Tensor:
        with self.autocast():
            return self.model(**dict(zip(self.names, tensors, strict=True)), **self.options)
