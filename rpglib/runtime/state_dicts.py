"""What several parts need to know about state dicts: shared memory, and the way to a matrix of weights and back."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rpglib.errors import InputError

Checkpoint = Mapping[str, Tensor]

STATISTICS = ("running_mean", "running_var")
"""What tensors are called that BatchNorm measures rather than learns, after the name of their layer."""

COUNTER = "num_batches_tracked"
"""How the names of BatchNorm's counters end: of the batches seen in training, which no answer depends on."""

STORED = (
    *(torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32),
    *(torch.int64, torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn),
    *(torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz, torch.float8_e8m0fnu),
)
"""The types that PyTorch computes with and safetensors files hold: one real number, whole number or bit a value."""


def is_statistic(name: str) -> bool:
    """Whether a tensor of this name is measured by BatchNorm."""
    return name.rpartition(".")[2] in STATISTICS


def is_variance(name: str) -> bool:
    """Whether a tensor of this name is BatchNorm's variance, which is above zero."""
    return name.rpartition(".")[2] == STATISTICS[1]


def check_state_dict(checkpoint: Checkpoint, what: str) -> None:
    """Raise `InputError` unless this is a state dict: names and dense tensors that hold values; `what` names it."""
    if not isinstance(checkpoint, Mapping):
        raise InputError(
            f"{what} is a {type(checkpoint).__name__}, not a state dict; give module.state_dict(), or what "
            "torch.load(path, weights_only=True) returns"
        )
    if not checkpoint:
        raise InputError(f"{what} is empty: it holds no tensor; look at what chose its names")
    for name, x in checkpoint.items():
        if isinstance(x, Mapping):
            raise InputError(f"{what} holds a dict under {name!r}; give that dict, if it is the state dict")
    for name, x in checkpoint.items():
        if not isinstance(name, str):
            raise InputError(f"{what} has a key {str(name)[:60]!r} that is no name; give a dict of names and tensors")
        if name == "__metadata__" or not _encodable(name):
            raise InputError(f"{what} has a tensor named {name!r}, which no safetensors file can hold; rename it")
        if not isinstance(x, Tensor):
            raise InputError(f"{what}: {name!r} is a {type(x).__name__}, not a tensor; leave it out")
        if isinstance(x, nn.parameter.UninitializedTensorMixin) or x.is_meta:
            raise InputError(f"{what}: {name!r} holds no values yet; initialise or load the network first")
        # Subclasses that answer PyTorch's operations themselves hold their values somewhere else, or have none.
        foreign = type(x).__torch_dispatch__ is not Tensor.__torch_dispatch__ or x.is_nested
        if foreign or x.layout != torch.strided or x.dtype not in STORED:
            raise InputError(f"{what}: {name!r} is no dense tensor of real numbers; convert it, or leave it out")
        if x.numel() and not x.untyped_storage().nbytes():
            raise InputError(f"{what}: the memory of {name!r} was given back; gather or load the network first")


def _encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain(x: Tensor) -> Tensor:
    """The values of a tensor as PyTorch's own kind, detached and on the CPU; not a copy where it can be helped."""
    return x.detach().as_subclass(Tensor).cpu().resolve_neg()


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold equal values; NaN equals nothing."""
    # PyTorch fails to compare numbers of 8 bits with themselves, as tied tensors are.
    return torch.equal(*(x.float() if x.is_floating_point() and x.itemsize == 1 else x for x in (a, b)))


def tied(checkpoint: Checkpoint) -> dict[str, str]:
    """Names of tensors that are the same memory as an earlier one, with that one's name."""
    seen: dict[tuple, str] = {}
    aliases = {}
    for name, x in checkpoint.items():
        source = seen.setdefault((x.data_ptr(), tuple(x.shape), x.stride(), x.dtype, x.is_neg()), name)
        # Empty tensors have no memory to share.
        if x.numel() and source != name:
            aliases[name] = source
    return aliases


def check_views(checkpoint: Checkpoint, aliases: Mapping[str, str], what: str) -> None:
    """Raise `InputError` where a tensor is another one's memory in part, or in another shape: a slice, a transpose.

    As two tensors they would be written independently of each other, and loading lets the last one win. aliases: as
    `tied` finds them, which are one tensor.
    """
    spans = [
        (x.data_ptr(), x.data_ptr() + _reach(x) * x.itemsize, name)
        for name, x in checkpoint.items()
        if x.numel() and x.layout == torch.strided and name not in aliases
    ]
    spans.sort(key=lambda span: span[0])  # of two that begin together the one that came first is first
    for k, (_, end, name) in enumerate(spans):
        for start, _, other in spans[k + 1 :]:
            if start >= end:
                break
            if _overlap(checkpoint[name], checkpoint[other]):
                raise InputError(
                    f"{what}: {other!r} is a view of the memory of {name!r}, and would be written as if it were not; "
                    "leave one of them out, or clone it"
                )


def _reach(x: Tensor) -> int:
    """Numbers from the first to the last of a tensor, in its memory."""
    return 1 + sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))


def _overlap(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors, of which a begins first, share a number; columns of one matrix lie between each other."""
    if a.itemsize != b.itemsize:
        return True
    away = (b.data_ptr() - a.data_ptr()) // a.itemsize
    used = torch.zeros(max(_reach(a), away + _reach(b)), dtype=torch.bool)
    used.as_strided(a.shape, a.stride()).fill_(True)
    return bool(used.as_strided(b.shape, b.stride(), away).any())


def apart(network: Checkpoint) -> dict[str, Tensor]:
    """The tensors in memory of their own: safetensors refuses tied ones, and loaders want every name."""
    seen, found = set(), {}
    for name, x in network.items():
        place = (x.untyped_storage().data_ptr(), x.dtype)
        found[name] = x.clone() if place in seen else x
        seen.add(place)
    return found


def check_alike(a: Checkpoint, b: Checkpoint) -> None:
    """Raise `InputError` unless two checkpoints have tensors of the same names and shapes."""
    for name in [*a, *b]:
        shapes = [getattr(network.get(name), "shape", None) for network in (a, b)]
        if None in shapes or shapes[0] != shapes[1]:
            raise InputError(f"two networks differ in the name or shape of {name!r}; give two of one architecture")


def flatten(networks: Mapping[str, Tensor]) -> Tensor:
    """Return the weights of N networks side by side, name -> (N, ...), as one matrix (N, P), names in their order."""
    return torch.cat([values[:, None].flatten(1) for values in networks.values()], 1)


def unflatten(weights: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the networks (name -> (N, ...)) of a matrix (N, P); `like` is a checkpoint whose shapes and order hold."""
    parts = weights.split([values.numel() for values in like.values()], 1)
    return {
        name: part.view(len(weights), *values.shape).to(values.dtype)
        for (name, values), part in zip(like.items(), parts, strict=True)
    }


def digest(checkpoint: Checkpoint) -> str:
    """A fingerprint of names and values, 16 hexadecimal digits."""
    found = hashlib.sha256()
    for name in sorted(checkpoint):
        found.update(name.encode())
        # As bytes: NumPy has no bfloat16.
        found.update(plain(checkpoint[name]).flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]
