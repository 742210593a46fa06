"""Gradient checkpointing: what a layer computes inside is computed again on the way back instead of kept until then.

Source: Chen et al. 2016, "Training deep nets with sublinear memory cost" (arXiv 1604.06174).
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def call(layer: nn.Module, *inputs: Tensor, recompute: bool) -> Tensor:
    """Return layer(*inputs); with `recompute` only `inputs` are kept for the way back: the same gradients."""
    if not recompute:
        return layer(*inputs)

    def contexts():
        return nullcontext(), _statistics_at_rest(layer)

    return checkpoint(layer, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


@contextmanager
def _statistics_at_rest(layer: nn.Module) -> Iterator[None]:
    """The second pass sees the batch of the first, which BatchNorm's averages must not count twice."""
    norms = [m for m in layer.modules() if isinstance(m, nn.BatchNorm1d) and m.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)
