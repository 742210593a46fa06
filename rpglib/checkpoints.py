"""Facts about a state dict that both the tokenizer and the zoo's store need."""

from collections.abc import Mapping

from torch import Tensor

Checkpoint = Mapping[str, Tensor]


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
