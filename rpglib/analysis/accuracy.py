"""What networks answer on images, how often they are right, and the summary that tables print."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from rpglib.errors import InputError

BATCHED_BELOW = 200_000
"""Values in a network above which one-by-one evaluation is as fast and takes N times less memory."""

Networks = Sequence[Mapping[str, Tensor]] | Mapping[str, Tensor]
"""State dicts, as a list (or a zoo), or stacked: name -> (N, ...)."""


def predictions(
    module: nn.Module,
    networks: Networks,
    images: Tensor,
    *,
    batch_size: int = 512,
    chunk: int = 16,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return the class that each of N networks gives to each of n images (n, C, S, S): (N, n) int64, on the CPU.

    `module` is their architecture; its own weights and mode are left alone, evaluation mode is used. Networks of less
    than `BATCHED_BELOW` values run `chunk` at a time in one pass. An image with a NaN among its logits gets class -1,
    so that a broken network is never right by chance. Raises `InputError` where a network's tensors are not the
    module's (names the first difference).
    """
    module = copy.deepcopy(module).eval().to(device)
    template = {name: value for name, value in module.state_dict().items()}
    batches = images.split(batch_size)
    batched = sum(value.numel() for value in template.values()) < BATCHED_BELOW
    rows = []
    with torch.inference_mode():
        for chosen in _chunks(networks, chunk if batched else 1):
            _check(chosen, template)
            state = {name: value.to(template[name]) for name, value in chosen.items()}
            count = len(next(iter(state.values())))
            classify = _all_at_once(module, state) if count > 1 else _alone(module, state)
            rows.append(torch.cat([_classes(classify(batch.to(device))).cpu() for batch in batches], dim=1))
    return torch.cat(rows) if rows else torch.empty(0, len(images), dtype=torch.int64)


def accuracy(predicted: Tensor, labels: Tensor) -> Tensor:
    """Return the share of right answers, in percent: (N,) float64 from (N, n) classes and labels (n,) or (N, n).

    Raises `InputError` where the labels do not match the images or there is no image.
    """
    if labels.shape not in (predicted.shape, predicted.shape[1:]) or not predicted.shape[1]:
        raise InputError(
            f"labels of shape {tuple(labels.shape)} do not fit predictions of shape {tuple(predicted.shape)}; "
            "give (n,) or (N, n) with at least one image"
        )
    return 100 * (predicted == labels).double().mean(1)


def summarise(values: Tensor | Sequence[float]) -> dict[str, float | int]:
    """Return n, mean, median, std, min and max of values (N,), as plain numbers in the values' unit.

    std is that of a sample (N - 1), and 0 for a single value. Raises `InputError` without values.
    """
    values = torch.as_tensor(values, dtype=torch.float64)
    if not values.numel():
        raise InputError("nothing to summarise: give at least one value")
    return {
        "n": values.numel(),
        "mean": values.mean().item(),
        "median": values.quantile(0.5).item(),
        "std": values.std().item() if values.numel() > 1 else 0.0,
        "min": values.min().item(),
        "max": values.max().item(),
    }


def _chunks(networks: Networks, size: int):
    """Yield stacked state dicts of at most `size` networks."""
    if isinstance(networks, Mapping):
        total = len(next(iter(networks.values())))
        for start in range(0, total, size):
            yield {name: value[start : start + size] for name, value in networks.items()}
        return
    for start in range(0, len(networks), size):
        members = [networks[i] for i in range(start, min(start + size, len(networks)))]
        names = members[0].keys()
        for member in members:
            if member.keys() != names:
                raise InputError(f"networks differ in their tensors: {sorted(member.keys() ^ names)[0]!r} is not in all")
        yield {name: torch.stack([member[name] for member in members]) for name in names}


def _check(stacked: Mapping[str, Tensor], template: Mapping[str, Tensor]) -> None:
    for name in sorted(stacked.keys() ^ template.keys()):
        raise InputError(f"tensor {name!r} is {'missing from' if name in template else 'unknown to'} the architecture")
    for name, value in stacked.items():
        if value.shape[1:] != template[name].shape:
            raise InputError(
                f"tensor {name!r} has shape {tuple(value.shape[1:])}, the architecture {tuple(template[name].shape)}"
            )
