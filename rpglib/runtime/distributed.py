"""Work in parts that the processes of one launch share."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from rpglib.errors import InputError

Write = Callable[[Tensor], Tensor]
"""Rows (B,) int64 -> what belongs there, (B, size) float32."""


def each(parts: Sequence[Tensor], write: Write) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every part's rows with what `write` makes of them."""
    return ((rows, write(rows)) for rows in parts)


def shared(parts: Sequence[Tensor], write: Write, size: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """As `each`, on every process of the group, while each of them computes only every so many-th part.

    Raises `InputError` outside a group of processes.
    """
    if not torch.distributed.is_initialized():
        raise InputError("distributed=True needs the processes of `accelerate launch`; start with it, or leave it out")
    rank, processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
    left = iter(parts)
    while group := list(islice(left, processes)):
        mine = write(group[rank]).contiguous() if rank < len(group) else None
        for owner, rows in enumerate(group):
            written = mine if owner == rank else torch.empty(len(rows), size, device=device)
            torch.distributed.broadcast(written, owner)
            yield rows, written
