"""Hidden units have no order: permuting them, and finding the order in which one network comes nearest to another.

Weight matching, algorithm 1 of Ainsworth et al. 2023 ("Git Re-Basin"), for feed-forward networks whose layers stand in
one `nn.Sequential`.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from rpglib.analysis.accuracy import load
from rpglib.errors import InputError
from rpglib.runtime.arguments import takes, whole
from rpglib.runtime.state_dicts import is_statistic, tied

ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Dropout, nn.Identity)
SPATIAL = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)

Permutations = Sequence[Tensor]
"""For every hidden layer (units,) int64: the old place of each new unit."""


@dataclass(frozen=True)
class Axis:
    """The axis `dim` of the tensor `name` that lists a layer's units, `positions` entries for each of them.

    positions is 1 but behind a Flatten, where the pixels of a channel stand side by side.
    """

    name: str
    dim: int
    positions: int = 1

    def permute(self, values: Tensor, order: Tensor) -> Tensor:
        """Return the tensor with its units in the new order."""
        blocks = values.unflatten(self.dim, (len(order), self.positions))
        return blocks.index_select(self.dim, order.to(values.device)).flatten(self.dim, self.dim + 1)

    def rows(self, values: Tensor, units: int) -> Tensor:
        """Return all that the tensor says about each unit, (units, values per unit) float64."""
        return values.double().unflatten(self.dim, (units, self.positions)).movedim(self.dim, 0).flatten(1)


@dataclass(frozen=True)
class HiddenLayer:
    """A hidden layer's number of units (channels or neurons) and every axis along which they are listed."""

    units: int
    axes: tuple[Axis, ...]


def hidden_layers(module: nn.Module) -> list[HiddenLayer]:
    """Return the hidden layers, all Conv2d and Linear but the last, in their order.

    A layer's axes: the outputs of its weight and bias, the vectors of a BatchNorm2d behind it and the inputs of the
    next layer's weight. Any other module that treats the channels of images alike, each on its own, says so by an
    attribute `by_channel = True`. Raises `InputError` for anything but an `nn.Sequential` of Conv2d (without groups),
    Linear, BatchNorm2d, Flatten, pooling, elementwise layers and such modules, in an order in which channels stay
    apart.
    """
    if type(module) is not nn.Sequential:
        raise _unsupported(module)
    owners = [layer for layer in module if any(True for _ in layer.parameters())]
    if len({*map(id, owners)}) < len(owners) or tied(module.state_dict()):
        raise InputError("layers that share weights have no units of their own to put in order; measure as they stand")
    units: list[int] = []
    axes: list[list[Axis]] = []
    images = True  # whether a layer sees (n, C, S, S) rather than (n, units)
    for name, layer in module.named_children():
        kind = type(layer)
        if kind is nn.Conv2d and images and layer.groups == 1:
            inputs, outputs = layer.in_channels, layer.out_channels
        # A Linear on images would work along their last axis; only the first layer's input may be vectors already.
        elif kind is nn.Linear and not (images and units):
            inputs, outputs = layer.in_features, layer.out_features
            images = False
        elif kind is nn.BatchNorm2d and images:
            if axes:
                axes[-1] += _vectors(name, layer)
            continue
        # Behind a Linear on images, units would stand last, not first.
        elif kind is nn.Flatten and images and (layer.start_dim, layer.end_dim) == (1, -1):
            images = False
            continue
        elif kind in ELEMENTWISE or ((kind in SPATIAL or getattr(layer, "by_channel", False)) and images):
            continue
        else:
            raise _unsupported(layer)
        if axes:
            axes[-1].append(Axis(f"{name}.weight", 1, inputs // units[-1]))
        units.append(outputs)
        axes.append(_vectors(name, layer))
    return [HiddenLayer(count, tuple(found)) for count, found in zip(units[:-1], axes[:-1], strict=True)]


def permute(module: nn.Module, network: Mapping[str, Tensor], permutations: Permutations) -> dict[str, Tensor]:
    """Return the network with the units of every hidden layer in a new order; it computes the same function.

    Raises `InputError` where a permutation is missing or is none of its layer's units, and as `hidden_layers`.
    """
    layers = hidden_layers(module)
    try:
        given = [sorted(torch.as_tensor(order).tolist()) for order in permutations]
    except (TypeError, ValueError, RuntimeError):
        given = None
    if given != [list(range(layer.units)) for layer in layers]:
        units = ", ".join(str(layer.units) for layer in layers)
        raise InputError(f"these are no permutations of the hidden layers' units; give one for each of {units}")
    load(copy.deepcopy(module), network)
    result = dict(network)
    for layer, order in zip(layers, permutations, strict=True):
        _reorder(result, layer, torch.as_tensor(order).long())
    return result


@takes(sweeps=whole(0))
@torch.no_grad()
def align(
    module: nn.Module, reference: Mapping[str, Tensor], network: Mapping[str, Tensor], sweeps: int = 20
) -> dict[str, Tensor]:
    """Return the network with its hidden units in the order that brings its parameters nearest to the reference's.

    Coordinate descent: one layer after another takes its best order while the others keep theirs, until nothing
    changes, or for at most `sweeps` passes. Running statistics are permuted but do not count. Never farther from the
    reference than before. Raises `InputError` for networks that are not the module's or not finite, and as
    `hidden_layers`.

    Deviations: layers take their turn from first to last, not at random, so that the result is always the same; and
    as the descent stops at the first local optimum, it also starts from an order found layer by layer through incoming
    weights alone, which undoes any permutation, and the nearer of both results counts.
    """
    layers, scratch = hidden_layers(module), copy.deepcopy(module)
    for state in (reference, network):
        load(scratch, state)
        if not all(x.isfinite().all() for x in state.values()):
            raise InputError("a network with NaN or infinite values cannot be aligned; leave it out")
    as_it_is, by_inputs = dict(network), dict(network)
    for layer in layers:
        # The last axis is the next layer's weight, whose units are not in order yet.
        _match(reference, by_inputs, layer, layer.axes[:-1])
    for state in (as_it_is, by_inputs):
        for _ in range(sweeps):
            # A list: `any` alone would leave out the layers behind the first that changes.
            if not any([_match(reference, state, layer, layer.axes) for layer in layers]):
                break
    return max(as_it_is, by_inputs, key=lambda state: _likeness(reference, state))


def _match(reference: Mapping[str, Tensor], state: dict[str, Tensor], layer: HiddenLayer, axes: Sequence[Axis]) -> bool:
    """Reorder the layer's units in `state` to be most like the reference's on `axes`; return whether that is better."""
    # Entry (i, j): how alike are the reference's unit i and this network's unit j.
    likeness = sum(
        axis.rows(reference[axis.name], layer.units) @ axis.rows(state[axis.name], layer.units).T
        for axis in axes
        if not is_statistic(axis.name)
    )
    order = torch.from_numpy(linear_sum_assignment(likeness.cpu().numpy(), maximize=True)[1])
    gain = likeness.gather(1, order.to(likeness.device)[:, None]).sum() - likeness.trace()
    # Gains of rounding alone could go round in circles.
    if gain <= 1e-12 * likeness.abs().sum():
        return False
    _reorder(state, layer, order)
    return True


def _reorder(state: dict[str, Tensor], layer: HiddenLayer, order: Tensor) -> None:
    for axis in layer.axes:
        state[axis.name] = axis.permute(state[axis.name], order)


def _likeness(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """The inner product of all parameters; norms do not change with the order, so the larger, the nearer."""
    return sum((x.double() * b[name]).sum().item() for name, x in a.items() if not is_statistic(name))


def _vectors(name: str, layer: nn.Module) -> list[Axis]:
    """The axes along which a layer's own tensors list its units: the first of each, but for BatchNorm's counter."""
    return [Axis(f"{name}.{key}", 0) for key, values in layer.state_dict().items() if values.ndim]


def _unsupported(layer: nn.Module) -> InputError:
    return InputError(
        "permuting units works for an nn.Sequential of Conv2d (groups=1), Linear, BatchNorm2d, Flatten, pooling and "
        f"elementwise layers, images first, vectors behind Flatten; not for {type(layer).__name__} there"
    )
