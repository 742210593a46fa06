"""The network of the seen task that differs in the fewest bits."""

import torch
from torch import Tensor

from rpglib.runtime.arguments import takes, tensor


@takes(seen=tensor("S+ bits", "bits"), weights=tensor("S P"), tasks=tensor("U bits", "bits"))
def nearest_task(seen: Tensor, weights: Tensor, tasks: Tensor) -> Tensor:
    """Copy to each of the tasks (U, bits) the weights (P,) of the nearest seen task (S, bits), of several the first."""
    return weights[torch.cdist(tasks.float(), seen.float(), p=1).argmin(1)]
