"""The exponential average of a model's weights over the steps of its training."""

import torch
from torch import Tensor, nn


class Averages:
    """Averages of a model's parameters and floating-point buffers, with weight 1 - `decay` of the newest.

    They start as the weights of the first `update`; other buffers are those of the last one.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model, self.decay, self.started = model, decay, False
        self.values = {name: x.detach().clone() for name, x in model.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        weights = self.model.state_dict()
        pairs = [(_here(average), _here(weights[name])) for name, average in self.values.items()]
        exact = [pair for pair in pairs if not (self.started and pair[0].is_floating_point())]
        for average, weight in exact:
            average.copy_(weight)
        if self.started:
            averages, now = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
            torch._foreach_lerp_(averages, now, 1 - self.decay)
        self.started = True

    def state_dict(self) -> dict[str, Tensor]:
        return self.values

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, x in state.items():
            self.values[name].copy_(x)
        self.started = True


def _here(x: Tensor) -> Tensor:
    """What this process holds of a tensor that is divided among several."""
    return x.to_local() if hasattr(x, "to_local") else x
