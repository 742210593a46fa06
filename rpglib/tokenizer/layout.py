"""Where the layers of a network lie in its flattened tokens.

Shapes: N networks, L tokens, D token size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SLICINGS = ("layer", "flatten", "channel")
LOG_OFFSET = 0.05
"""BatchNorm's variances, positive and skewed, are normalised as log(v / reference + offset): the released code's."""


@dataclass(frozen=True)
class Layer:
    """One tokenised tensor: its name, shape and type, and whether it is normalised through a log, with which offset."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    log: bool
    offset: float = LOG_OFFSET

    @property
    def size(self) -> int:
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Segment:
    """Where a layer lies in the flattened tokens: runs of `run` values, `stride` apart, the last one shorter."""

    offset: int
    size: int
    run: int
    stride: int

    @property
    def whole(self) -> bool:
        """Whether the layer lies in one piece."""
        return self.run == self.size

    def pieces(self, flat: Tensor, values: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Pairs of equally shaped views (into the flattened tokens, into the flattened layer); values may be (1,)."""
        if self.whole:
            return [(flat[self.offset : self.offset + self.size], values)]
        full, rest = divmod(self.size, self.run)

        def cut(start: int, shape: tuple[int, ...]) -> Tensor:
            return values if values.numel() == 1 else values[start : start + torch.Size(shape).numel()].view(shape)

        pairs = []
        if full:
            block = flat.as_strided((full, self.run), (self.stride, 1), flat.storage_offset() + self.offset)
            pairs.append((block, cut(0, (full, self.run))))
        if rest:
            start = self.offset + full * self.stride
            pairs.append((flat[start : start + rest], cut(full * self.run, (rest,))))
        return pairs

    def values(self, flat: Tensor) -> Tensor:
        """The layer (N, size) of the flattened tokens (N, L x D) of several networks."""
        if self.whole:
            return flat[:, self.offset : self.offset + self.size]
        full, rest = divmod(self.size, self.run)
        end = self.offset + full * self.stride
        parts = flat[:, self.offset : end].unflatten(1, (full, self.stride))[..., : self.run].flatten(1)
        return torch.cat((parts, flat[:, end : end + rest]), 1)


def lay_out(layers: Sequence[Layer], token_size: int, slicing: str) -> tuple[list[Segment], int]:
    """Place each layer in the flattened tokens; returns the segments and the number of tokens L."""
    segments, offset = [], 0
    for layer in layers:
        channel = layer.size // (layer.shape or (1,))[0]
        if slicing == "channel" and channel <= token_size:
            run = token_size // channel * channel
        elif slicing == "channel":
            run = channel
        else:
            run = layer.size
        stride = -(-run // token_size) * token_size
        segments.append(Segment(offset, layer.size, run, stride))
        offset += layer.size if slicing == "flatten" else -(-layer.size // run) * stride
    return segments, -(-offset // token_size)
