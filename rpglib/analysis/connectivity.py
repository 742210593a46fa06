"""Linear mode connectivity: whether networks on the straight line between two networks work as well as its ends.

Frankle et al. 2020 ("Linear Mode Connectivity and the Lottery Ticket Hypothesis"); RPG paper v2, table 18. BatchNorm
statistics of an interpolated network are not those of its activations, which alone can make a barrier; REPAIR (Jordan
et al. 2023) therefore measures them afresh.
"""

import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rpglib.analysis.accuracy import accuracy, answered, load, predictions
from rpglib.errors import InputError
from rpglib.runtime.arguments import module as a_module
from rpglib.runtime.arguments import network as a_network
from rpglib.runtime.arguments import number, of, takes, tensor, whole
from rpglib.runtime.state_dicts import COUNTER, STATISTICS, check_alike


@takes(a=of(Mapping), b=of(Mapping), weight=number(-1e30, 1e30))
def between(a: Mapping[str, Tensor], b: Mapping[str, Tensor], weight: float) -> dict[str, Tensor]:
    """Return the network (1 - weight) a + weight b, exactly a at 0 and b at 1; integer tensors are those of a.

    Raises `InputError` where the names or shapes of a and b differ.
    """
    check_alike(a, b)
    a_network("a", a, {})
    a_network("b", b, {})
    return {name: _between(x, b[name].to(x), weight) if x.is_floating_point() else x for name, x in a.items()}


def _between(x: Tensor, y: Tensor, weight: float) -> Tensor:
    # Where both are infinite, as in a mask, their difference is no number.
    return torch.where(x == y, x, x.lerp(y, weight))


@takes(module=a_module, network=a_network, images=tensor("n ..."), batch_size=whole(1))
@torch.no_grad()
def recalibrated(
    module: nn.Module, network: Mapping[str, Tensor], images: Tensor, batch_size: int = 256
) -> dict[str, Tensor]:
    """Return the network with BatchNorm running statistics measured afresh on images (n, C, S, S).

    `module` is its architecture and stays as it is. Statistics are the mean over batches of at most `batch_size`; only
    BatchNorm runs in training mode, so that dropout does not disturb them. A network without BatchNorm is returned as
    it is. Raises `InputError` without images and where the network's tensors are not the module's.
    """
    if not len(images):
        raise InputError("BatchNorm statistics cannot be measured without images; give at least one")
    module = copy.deepcopy(module).eval()
    load(module, network)
    norms = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    layers = [layer for layer in norms if layer.running_mean is not None]
    if not layers:
        return dict(network)
    for layer in layers:
        layer.train().reset_running_stats()
        layer.momentum = None  # a plain mean over all batches, torch's "cumulative moving average"
    # Parts of almost equal size: that mean weighs a small rest as much as a full batch.
    for batch in images.tensor_split(math.ceil(len(images) / batch_size)):
        answered(module, batch)
    measured = module.state_dict()
    # The network's own numbers as they came: the module computes in fp32, whatever type they have.
    own = (*STATISTICS, COUNTER)
    return {name: measured[name].to(x.dtype) if name.rpartition(".")[2] in own else x for name, x in network.items()}


@takes(module=a_module, images=tensor("n+ ..."), labels=tensor("n", "whole"), points=whole(most=2**20))
def line(
    module: nn.Module,
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    images: Tensor,
    labels: Tensor,
    points: int = 11,
    calibration: Tensor | None = None,
) -> Tensor:
    """Return the accuracies (points,), in percent, float64, of networks at equal distances from a to b, both included.

    images (n, C, S, S) and labels (n,) measure the accuracy. With `calibration` images (m, C, S, S) every network on
    the line, a and b too, is recalibrated on them first; they should be training images. Raises `InputError` for less
    than two points, for a and b of different names or shapes, and where they are not the module's.
    """
    if points < 2:
        raise InputError(f"a line has at least its two ends, not {points} points; give points=2 or more")
    # One after the other: large ones need not be in memory together.
    networks = (between(a, b, weight) for weight in torch.linspace(0, 1, points, dtype=torch.float64).tolist())
    if calibration is not None:
        networks = (recalibrated(module, network, calibration) for network in networks)
    return accuracy(predictions(module, networks, images), labels)


@takes(accuracies=tensor("..."))
def barrier(accuracies: Tensor) -> float:
    """Return the greatest amount, in points, 0 at least, by which a curve (points,) lies below the line of its ends.

    Compared with the straight line (Entezari et al. 2022), not with the mean of both ends (Frankle et al.), so that
    ends of unequal accuracy make no barrier. Raises `InputError` for less than two points.
    """
    if accuracies.ndim != 1 or len(accuracies) < 2:
        raise InputError(f"a barrier needs accuracies (points,) of two points or more, not {tuple(accuracies.shape)}")
    accuracies = accuracies.double()
    straight = accuracies[0].lerp(accuracies[-1], torch.linspace(0, 1, len(accuracies), dtype=torch.float64))
    return (straight - accuracies).max().clamp(min=0).item()
