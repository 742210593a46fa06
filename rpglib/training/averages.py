"""The exponential average of a model's weights over the steps of its training."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Averages:
    """Averages of a model's parameters; after step k (from 0) the newest have weight 1 - min(`decay`, (1+k) / (10+k)).

    The rising decay lets go of the random start, which a constant one would keep for many steps. Buffers, such as
    BatchNorm's statistics, are the model's newest: they are averages already. Of a sharded model each process averages
    its own part. `torch.optim.swa_utils.AveragedModel` would copy the tokenizer, too, and cannot copy shards.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model, self.decay = model, decay
        self.parameters = {name for name, _ in model.named_parameters()}
        self.values = {name: x.detach().clone() for name, x in model.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        weights = self.model.state_dict()
        average = get_ema_multi_avg_fn(min(self.decay, (1 + step) / (10 + step)))
        averaged = [name for name in self.values if name in self.parameters]
        average([_here(self.values[name]) for name in averaged], [_here(weights[name]) for name in averaged], None)
        for name in self.values.keys() - self.parameters:
            self.values[name].copy_(weights[name])

    def state_dict(self) -> dict[str, Tensor]:
        return self.values

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, x in state.items():
            self.values[name].copy_(x)


def _here(x: Tensor) -> Tensor:
    """What this process holds of a tensor that is divided among several."""
    return x.to_local() if hasattr(x, "to_local") else x
