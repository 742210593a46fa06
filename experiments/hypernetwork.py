"""A plain hypernetwork, which learns from what its networks do alone: what a generator is compared with that is asked.

Shapes: N networks, F features of what each is for, L tokens, D token size. Weights are written as tokens, in which
variances are positive whatever is written.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rpglib.runtime.randomness import stream
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.behaviour import Behaviour
from rpglib.training.loop import TrainConfig, rate

Told = Callable[[Tensor], Tensor]
"""What each network is for (N, ...) -> its features (N, F), from -1 to 1."""


class Hypernetwork(nn.Module):
    """What networks are for to their tokens (N, L, D) by two hidden layers.

    Nothing recurrent, no tokens' positions, no diffusion.
    """

    def __init__(self, tokenizer: ParameterTokenizer, told: Told, features: int, width: int):
        super().__init__()
        self.tokenizer, self.told, self.shape = tokenizer, told, tokenizer.mask.shape
        self.layers = nn.Sequential(
            *(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()),
            nn.Linear(width, self.shape.numel()),
        )

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """The networks for rows (N, ...), side by side."""
        return self.tokenizer.decode_together(self.layers(self.told(rows)).view(-1, *self.shape))


def fit_hypernetwork(
    tokenizer: ParameterTokenizer, told: Told, features: int, width: int, behaviour: Behaviour, config: TrainConfig
) -> tuple[Hypernetwork, list[float]]:
    """Train one on the behaviour alone, with the generator's optimizer; the losses of all steps come with it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model, losses = Hypernetwork(tokenizer, told, features, width), []
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, config.steps, config.warmup))
    for step in range(config.steps):
        generator = torch.Generator().manual_seed(stream(config.seed, "hypernetwork", step))
        rows = behaviour.conditions(behaviour.networks, generator)
        loss = behaviour(model(rows), generator, rows)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return model.eval(), losses
