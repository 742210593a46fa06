"""The constant answer: whatever label is more frequent, for every image."""

import torch
from torch import Tensor

from rpglib.runtime.arguments import takes, tensor


@takes(tasks=tensor("U bits", "bits"), counts=tensor("bits"))
def majority_class(tasks: Tensor, counts: Tensor) -> Tensor:
    """Return the answer (U,) 0 or 1 that is right most often on training images, of which class k has counts[k]."""
    return (2 * (tasks.double() @ counts.double()) > torch.as_tensor(counts).sum()).long()
