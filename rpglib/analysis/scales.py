"""Scales that do nothing: a channel between a convolution, its BatchNorm and the next layer has two of them.

BatchNorm divides by whatever positive number its convolution is multiplied with, and what it puts out may be multiplied
where the next layer is divided, because ReLU and pooling pass positive factors on. Networks can lie far from each other
by such factors alone.
"""

import copy
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from rpglib.analysis.accuracy import load
from rpglib.analysis.alignment import Axis, hidden_layers
from rpglib.errors import InputError
from rpglib.runtime.arguments import module as a_module
from rpglib.runtime.arguments import network as a_network
from rpglib.runtime.arguments import takes

PASSING = (nn.ReLU, nn.LeakyReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Dropout, nn.Identity)
"""Layers that pass a positive factor of a channel on."""


@takes(module=a_module, network=a_network)
def without_scales(module: nn.Module, network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network with all free scales set: the same function, but for BatchNorm's epsilon.

    From first to last each channel's convolution gets norm 1, and so do the weight and bias of its BatchNorm together;
    the next layer takes their size over. What has no size stays. Raises `InputError` for a network that is not the
    module's, and for a module but an `nn.Sequential` in which every layer before the last is a Conv2d without bias,
    directly followed by a whole BatchNorm2d, and nothing that treats small values unlike large ones.
    """
    layers, children = hidden_layers(module), [*module.named_children()]
    norms = [name for name, layer in children if isinstance(layer, nn.BatchNorm2d)]
    passing = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, *PASSING)
    behind = [after for before, after in pairwise(layer for _, layer in children) if isinstance(before, nn.Conv2d)]
    whole = all(isinstance(x, nn.BatchNorm2d) and x.affine and x.track_running_stats for x in behind)
    if (
        not whole
        or not len(norms) == len(behind) == len(layers)
        or not all(isinstance(x, passing) for _, x in children)
    ):
        raise InputError("free scales are known of convolutions, each with BatchNorm2d and ReLU; measure without this")
    load(copy.deepcopy(module), network)
    result = dict(network)
    for layer, norm in zip(layers, norms, strict=True):
        incoming, outgoing = layer.axes[0], layer.axes[-1]
        vectors = {name: Axis(f"{norm}.{name}", 0) for name in ("weight", "bias", "running_mean", "running_var")}
        if f"{incoming.name.removesuffix('weight')}bias" in result:
            raise InputError("free scales are known of convolutions without bias; measure without this")
        shrink = 1 / _sizes(incoming.rows(result[incoming.name], layer.units))
        size = _sizes(torch.stack([result[vectors[name].name].double() for name in ("weight", "bias")], 1))
        factors = [(incoming, shrink), (vectors["running_mean"], shrink), (vectors["running_var"], shrink.square())]
        factors += [(vectors["weight"], 1 / size), (vectors["bias"], 1 / size), (outgoing, size)]
        for axis, factor in factors:
            values = result[axis.name].unflatten(axis.dim, (layer.units, axis.positions)).movedim(axis.dim, -1)
            values = (values * factor.to(values)).movedim(-1, axis.dim)
            result[axis.name] = values.flatten(axis.dim, axis.dim + 1)
    return result


def _sizes(rows: Tensor) -> Tensor:
    """The norm of each row of (units, values), 1 where it is zero."""
    sizes = rows.norm(dim=1)
    return torch.where(sizes > 0, sizes, 1.0)
