"""Sinusoidal position embeddings of tokens (paper v1, section 2.3, equation 3)."""

import torch
from torch import Tensor

from rpglib.errors import InputError


def sinusoid(index: Tensor, width: int) -> Tensor:
    """(L,) indices -> (L, width): sine and cosine interleaved, frequencies 10000^(-2i / width)."""
    frequency = 10000 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = index.double()[:, None] * frequency
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(1).float()


def position_embedding(positions: Tensor, width: int, kind: str) -> Tensor:
    """(L, 2) positions (layer, place in the layer) -> (L, width).

    "2d" is the paper's: the first half of the width encodes the place in the layer, the second half the layer (the
    released code's order; the text of v1 has the layer first). "1d": the token's index counted from front to back.
    Flattened tokenisation has no layers, so it gets "1d".
    """
    if width % 4:
        raise InputError(f"the model width {width} cannot carry a 2-D position embedding; use a multiple of 4")
    layer, place = positions.unbind(1)
    if kind == "1d" or not layer.any():
        return sinusoid(torch.arange(len(positions)), width)
    return torch.cat((sinusoid(place, width // 2), sinusoid(layer, width // 2)), 1)
