"""The networks of the public model zoos, whose tensors have other names there than in this library's modules."""

from collections.abc import Mapping

import torch
from torch import Tensor

from rpglib.zoo.architectures import Architecture

LAYERS = {
    "cnn_s": {0: 1, 3: 4, 6: 7, 9: 10, 11: 12},
    "cnn_m": {0: 0, 4: 3, 8: 6, 13: 10, 16: 12},
}
"""By network, layers of `module_list` in ModelZoos' `CNN` and `CNN3` (the second with its dropout, as WeightCLIP's is),
and the layers of our `cnn_s` and `cnn_m` that they are."""
IMAGE_SIZES = {"cnn_s": 28, "cnn_m": 32}
"""Pixels: those zoos resize images to 28 for the first, where `cnn_s` would take the centre of larger ones."""


def known(tensors: Mapping[str, Tensor]) -> tuple[Architecture, dict[str, str]] | None:
    """The architecture of a public zoo's network and our name of each of its tensors; None for any other network."""
    for name, layers in LAYERS.items():
        names = {f"module_list.{k}.{x}": f"{own}.{x}" for k, own in layers.items() for x in ("weight", "bias")}
        if names.keys() != tensors.keys():
            continue
        first, last = (tensors[f"module_list.{k}.weight"] for k in (min(layers), max(layers)))
        if first.ndim != 4 or last.ndim != 2:
            continue
        architecture = Architecture(name, len(last), first.shape[1], IMAGE_SIZES[name])
        if shapes(architecture) == {own: tuple(tensors[there].shape) for there, own in names.items()}:
            return architecture, names
    return None


def shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """The shapes of an architecture's tensors by name, worked out without memory for them."""
    with torch.device("meta"):
        return {name: tuple(x.shape) for name, x in architecture.build().state_dict().items()}
