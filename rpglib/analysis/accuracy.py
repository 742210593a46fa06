"""What networks answer on images, how often they are right, and the summary that tables print."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from rpglib.errors import InputError, shown
from rpglib.runtime.arguments import dense, each, takes, tensor, whole
from rpglib.runtime.arguments import module as a_module
from rpglib.runtime.hardware import pick
from rpglib.runtime.state_dicts import check_state_dict

Networks = Sequence[Mapping[str, Tensor]] | Mapping[str, Tensor]
"""N state dicts, as a list (or a zoo), or stacked: name -> (N, ...)."""


class Part(Protocol):
    """One part of a data set, in memory or read as it is needed: images (b, C, S, S) and labels (b,), in batches."""

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]: ...


@takes(module=a_module, images=tensor("n C ..."), batch_size=whole(1))
@torch.no_grad()
def predictions(
    module: nn.Module,
    networks: Networks,
    images: Tensor,
    *,
    batch_size: int = 512,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return the class that each of N networks gives to each of n images (n, C, S, S): (N, n) int64, on the CPU.

    `module` is their architecture; its own weights and mode stay as they are, evaluation mode is used. An image with a
    NaN among its logits gets class -1, so that a broken network is never right by chance. Raises `InputError` where a
    network's tensors are not the module's.

    The networks run one by one: on a CPU, `vmap` over many was never much faster and up to 5x slower (convolutions with
    a batch of weights), unlike in training, where batches are small.
    """
    images = _channels_last(images, None if device is None else pick(device))  # once, not for every network
    rows = list(_answers(module, networks, lambda: images.split(batch_size), device))
    return torch.stack(rows) if rows else torch.empty(0, len(images), dtype=torch.int64)


@takes(module=a_module, batch_size=whole(1))
@torch.no_grad()
def answers(
    module: nn.Module,
    networks: Networks | Iterable[Mapping[str, Tensor]],
    part: Part,
    *,
    batch_size: int = 512,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor]:
    """Return `predictions` (N, n) on one part of a data set, and its labels (n,).

    The part is read through for every network, so it may be one that does not fit into memory, if only it keeps its
    order. The networks are taken one at a time, so an iterator may make each when it is its turn; one at least.
    """
    labels: list[Tensor] = []
    if isinstance(part, type) or not hasattr(part, "batches"):
        raise InputError(f"part takes a part of a data set, such as images.test, not {shown(part)}")

    def batches() -> Iterator[Tensor]:
        labels.clear()
        for images, truth in part.batches(batch_size):
            labels.append(truth)
            yield images

    rows = list(_answers(module, networks, batches, device))
    if not rows:
        raise InputError("there is no network to answer; give one at least")
    return torch.stack(rows), torch.cat(labels)


def _answers(module: nn.Module, networks, batches: Callable[[], Iterable[Tensor]], device) -> Iterator[Tensor]:
    """Yield the classes (n,) that each network gives to the images of `batches()`, on the CPU."""
    device = None if device is None else pick(device)
    module = copy.deepcopy(module).eval().to(device)
    for network in _each(networks):
        load(module, network)
        logits = [answered(module, _channels_last(images, device)) for images in batches()]
        yield torch.cat([torch.where(x.isnan().any(1), -1, x.argmax(1)).cpu() for x in logits])


@takes(module=a_module, images=tensor())
def answered(module: nn.Module, images: Tensor) -> Tensor:
    """Return the module's logits (n, classes); raises `InputError` where it cannot compute such images."""
    try:
        logits = module(images)
    except Exception as error:  # what a network of the caller's own raises for images that are none of its kind
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{type(module).__name__} cannot compute images {tuple(images.shape)} of {images.dtype} ({reason})"
        ) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or not logits.shape[1]:
        raise InputError(f"{type(module).__name__} answers with {shown(logits)}; logits (n, classes) are wanted")
    return logits


def _channels_last(images: Tensor, device) -> Tensor:
    """Return images (n, C, S, S) on the device, with a pixel's channels side by side.

    A convolutional network answers two to three times sooner on a CPU, which pools other layouts slowly. What is no
    image, such as vectors (n, C), has one layout only.
    """
    return images.to(device, memory_format=torch.channels_last if images.ndim == 4 else torch.preserve_format)


@takes(predicted=tensor("N n"), labels=tensor())
def accuracy(predicted: Tensor, labels: Tensor) -> Tensor:
    """Return the share of right answers, in percent: (N,) float64 from classes (N, n) and labels (n,) or (N, n).

    Raises `InputError` where the labels do not fit the predictions or there is no image.
    """
    if labels.shape not in (predicted.shape, predicted.shape[1:]) or not labels.numel():
        raise InputError(
            f"labels of shape {tuple(labels.shape)} do not fit predictions of shape {tuple(predicted.shape)}; "
            "give (n,) or (N, n), n at least 1"
        )
    return 100 * (predicted == labels).double().mean(1)


def summarise(values: Tensor | Sequence[float]) -> dict[str, float | int]:
    """Return n, mean, median, std, min and max of values (N,) as plain numbers, in the values' unit.

    std is the sample's (divided by N - 1), and 0 for a single value. Raises `InputError` without values.
    """
    try:
        values = torch.as_tensor(dense("values", values), dtype=torch.float64, device="cpu")
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError, OverflowError, NotImplementedError):
        raise InputError(f"values to summarise are a list of numbers or a tensor, not {shown(values)}") from None
    if not values.numel():
        raise InputError("there is nothing to summarise; give at least one value")
    return {
        "n": values.numel(),
        "mean": values.mean().item(),
        "median": values.quantile(0.5).item(),
        "std": values.std().item() if values.numel() > 1 else 0.0,
        "min": values.min().item(),
        "max": values.max().item(),
    }


@takes(module=a_module)
def load(module: nn.Module, network: Mapping[str, Tensor]) -> None:
    """Give the module the network's tensors; raises `InputError` where they are not the module's."""
    check_state_dict(network, "a network")
    try:
        module.load_state_dict(network)
    except RuntimeError as error:
        # torch lists every difference on lines of their own; the first one tells enough.
        difference = str(error).splitlines()[1].strip()
        raise InputError(f"a network does not fit its architecture {type(module).__name__}: {difference}") from None


def _each(networks: Networks | Iterable[Mapping[str, Tensor]]) -> Iterator[Mapping[str, Tensor]]:
    if not isinstance(networks, Mapping):
        yield from each("networks", networks, "state dicts")
        return
    check_state_dict(networks, "networks")
    counts = {values.shape[:1] for values in networks.values()}
    if len(counts) > 1 or counts == {()}:
        raise InputError("tensors side by side have the number of networks before their own axes; these differ in it")
    for i in range(len(next(iter(networks.values())))):
        yield {name: values[i] for name, values in networks.items()}
