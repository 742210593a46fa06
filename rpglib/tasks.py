"""Tasks: which classes a binary classifier selects, one bit per class."""

import torch
from torch import Tensor

from rpglib.errors import InputError


def check_task(task, bits: int) -> Tensor:
    """Return the task as (bits,) int64 of 0 and 1.

    Raises `InputError` for another length, other values, and a task that selects none or all of the classes.
    """
    try:
        values = torch.as_tensor(task)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"a task is a list of {bits} zeros and ones, not {task!r}") from None
    if values.shape != (bits,) or not ((values == 0) | (values == 1)).all():
        raise InputError(f"a task is a list of {bits} zeros and ones, not {values.tolist()}")
    selected = int(values.sum())
    if selected in (0, bits):
        raise InputError(
            f"a task selects some of the {bits} classes, not {'all' if selected else 'none'} of them; choose others"
        )
    return values.long()
