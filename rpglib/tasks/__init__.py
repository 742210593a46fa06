"""Binary tasks: which of a data set's classes a network must tell from the others, as bits (paper v1, section 4.1)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rpglib.errors import InputError, shown
from rpglib.runtime.arguments import dense, each, number, takes, tensor, whole

MOST_BITS, MOST_TASKS = 20, 2**24
"""Classes whose selections can all be listed, and tasks that can be divided."""

CLASS_NAMES = {
    "digits": tuple("0123456789"),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}
"""The classes of the data sets whose tasks can be told in words, in the order of a task's bits."""


@takes(bits=whole(1))
def check_task(task: Sequence[int] | Tensor, bits: int) -> Tensor:
    """Return one task as (bits,) int64.

    Raises `InputError` for another length, for values that are not 0 or 1, and for all 0 or all 1, which leave nothing
    to tell apart.
    """
    try:
        task = dense("a task", torch.as_tensor(task))
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InputError(f"a task is a list of {bits} bits, not {shown(task)}") from None
    if task.shape != (bits,):
        raise InputError(f"a task has {bits} bits, one per class; got the shape {tuple(task.shape)}")
    return check_tasks(task[None], bits)[0]


@takes(tasks=tensor(values="any"), bits=whole(1))
def check_tasks(tasks: Tensor, bits: int) -> Tensor:
    """Return tasks (N, bits) as int64; raises `InputError` as `check_task`."""
    if tasks.ndim != 2 or tasks.shape[1] != bits:
        raise InputError(f"tasks have {bits} bits, one per class; got the shape {tuple(tasks.shape)}")
    for task in tasks[~((tasks == 0) | (tasks == 1)).all(1)]:
        raise InputError(f"task bits are 0 or 1, not {task.tolist()}")
    selected = tasks.sum(1)
    for task in tasks[(selected == 0) | (selected == bits)]:
        every = "no" if not task.any() else "every"
        raise InputError(f"a task must select some classes but not all; {task.tolist()} selects {every} class")
    return tasks.long()


@takes(bits=whole(1, MOST_BITS))
def all_tasks(bits: int = 10) -> Tensor:
    """Every selection of classes but none and all: (2^bits - 2, bits) int64, in counting order, first class highest."""
    numbers = torch.arange(1, 2**bits - 1)
    return numbers[:, None] >> torch.arange(bits - 1, -1, -1) & 1


@takes(count=whole(0, MOST_TASKS), seed=whole(), seen=number(0, 1))
def split_tasks(count: int, seed: int, seen: float = 0.8) -> tuple[Tensor, Tensor]:
    """Divide `count` tasks at random: sorted indices of the seen share, which a generator learns from, and the rest.

    The tasks are pairs of opposites in counting order, as those of `all_tasks`: task i and task count - 1 - i, which
    are seen together or not at all. A network for one of them, its two outputs exchanged, does what the other asks; an
    unseen task whose opposite was seen would be no new task. Raises `InputError` for an odd count.
    """
    if count % 2:
        raise InputError(f"{count} tasks are no pairs of opposites; give an even number")
    order = torch.randperm(count // 2, generator=torch.Generator().manual_seed(seed))
    border = round(seen * (count // 2))
    known, rest = (torch.cat((rows, count - 1 - rows)).sort().values for rows in (order[:border], order[border:]))
    return known, rest


def name_of(task: Sequence[int] | Tensor) -> str:
    """The bits as tables print them: "0 1 0 0 0 1 0 1 1 1"."""
    try:
        return " ".join(str(int(bit)) for bit in each("a task", task, "bits"))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InputError(f"a task is a list of bits, not {shown(task)}") from None
