"""What several parts need to know about state dicts: shared memory, and the way to a matrix of weights and back."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rpglib.errors import InputError

Checkpoint = Mapping[str, Tensor]

STATISTICS = ("running_mean", "running_var")
"""How the names of tensors end that BatchNorm measures rather than learns."""


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
        if not isinstance(name, str):
            raise InputError(f"{what} has a key {name!r} that is no name; give a dict of names and tensors")
        if isinstance(x, Mapping):
            raise InputError(f"{what} holds a dict under {name!r}; give that dict, if it is the state dict")
        if not isinstance(x, Tensor):
            raise InputError(f"{what}: {name!r} is a {type(x).__name__}, not a tensor; leave it out")
        if isinstance(x, nn.parameter.UninitializedTensorMixin) or x.is_meta:
            raise InputError(f"{what}: {name!r} holds no values yet; initialise or load the network first")
        if x.layout != torch.strided or x.is_quantized or x.is_complex():
            raise InputError(f"{what}: {name!r} is no dense tensor of real numbers; convert it, or leave it out")


def tied(checkpoint: Checkpoint) -> dict[str, str]:
    """Names of tensors that are the same memory as an earlier one, with that one's name."""
    seen: dict[tuple, str] = {}
    aliases = {}
    for name, x in checkpoint.items():
        source = seen.setdefault((x.data_ptr(), tuple(x.shape), x.stride(), x.dtype), name)
        # Empty tensors have no memory to share.
        if x.numel() and source != name:
            aliases[name] = source
    return aliases


def check_alike(a: Checkpoint, b: Checkpoint) -> None:
    """Raise `InputError` unless two checkpoints have tensors of the same names and shapes."""
    for name in [*a, *b]:
        if name not in a or name not in b or a[name].shape != b[name].shape:
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
        found.update(checkpoint[name].detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]
