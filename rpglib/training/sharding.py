"""The state of a sharded training (FSDP 2): whole where it is saved or read, divided among processes where it is used.

Every process must make these calls, in the same order: each gathers or scatters tensors of all of them.
"""

import copy

import torch
import torch.distributed as dist
from accelerate.utils import broadcast, recursively_apply
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from rpglib.model.rpg import RPG


def copy_of_first(model: RPG, device: torch.device) -> RPG:
    """A copy of the main process's model, to be sharded: what is sharded cannot be made whole again in place."""
    # The tokenizer's statistics may be as large as a network, and nobody changes them.
    copied = copy.deepcopy(model, {id(model.tokenizer): model.tokenizer})
    for x in copied.state_dict().values():
        x.copy_(broadcast(x.to(device)))
    return copied


class Whole:
    """A sharded model, or averages of its tensors, whose state dict is loaded whole.

    It is also read whole, on the main process's CPU; elsewhere nothing is kept.
    """

    def __init__(self, part):
        self.part = part

    def state_dict(self) -> dict[str, Tensor]:
        return _gathered(self.part.state_dict())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        own = self.part.state_dict()
        self.part.load_state_dict({name: _divided(x, own[name]) for name, x in state.items()})

    def copy_to(self, model: RPG) -> None:
        """Give a model of every process the whole tensors, of which no more than one is held beside it."""
        own = model.state_dict()
        for name, x in self.part.state_dict().items():
            own[name].copy_(x.full_tensor() if isinstance(x, DTensor) else x)


class WholeOptimizer:
    """The optimiser of a sharded model, in the same way."""

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.optimizer = optimizer

    def state_dict(self) -> dict:
        return _gathered(self.optimizer.state_dict())

    def load_state_dict(self, state: dict) -> None:
        parameters: list[nn.Parameter] = [p for group in self.optimizer.param_groups for p in group["params"]]
        divided = {
            k: {name: _divided(x, parameters[k]) if x.shape == parameters[k].shape else x for name, x in of.items()}
            for k, of in state["state"].items()
        }
        self.optimizer.load_state_dict(state | {"state": divided})


def _gathered(state):
    main = dist.get_rank() == 0

    def whole(x: DTensor) -> Tensor | None:
        found = x.full_tensor()  # for which all processes are needed
        return found.cpu() if main else None

    return recursively_apply(whole, state, test_type=lambda x: isinstance(x, DTensor))


def _divided(x: Tensor, like: Tensor) -> Tensor:
    return distribute_tensor(x.to(like.device), like.device_mesh, like.placements) if isinstance(like, DTensor) else x
