"""What writes weights for circumstances without a generator: from the zoo's networks, and a plain hypernetwork.

Shapes: S networks of the zoo, U rows that are asked for, L tokens, D token size. Weights are written as tokens, in
which variances are positive whatever is written.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from experiments.ondemand.behaviour import UnderCircumstances
from experiments.ondemand.family import CIRCUMSTANCES
from rpglib.baselines.kernel_ridge import kernel_ridge_for_conditions
from rpglib.runtime.randomness import stream
from rpglib.tasks.conditions import features
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.loop import TrainConfig, rate

NEIGHBOURS = 4

Writer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(seen rows (S, 3), their tokens (S, P), rows (U, 3)) -> tokens (U, P)."""


def neighbours(seen: Tensor, tokens: Tensor, rows: Tensor, count: int) -> Tensor:
    """The mean of the `count` nearest of the zoo, by the features that a generator is told, the nearer the more."""
    away = torch.cdist(features(CIRCUMSTANCES, rows), features(CIRCUMSTANCES, seen))
    near = away.topk(min(count, len(seen)), 1, largest=False)
    shares = 1 / near.values.clamp(min=1e-6)
    return ((shares / shares.sum(1, keepdim=True))[:, :, None] * tokens[near.indices]).sum(1)


WRITERS: dict[str, Writer] = {
    "mean network": lambda seen, tokens, rows: tokens.mean(0).expand(len(rows), -1),
    "nearest specialist": partial(neighbours, count=1),
    "neighbours, interpolated": partial(neighbours, count=NEIGHBOURS),
    "kernel ridge": partial(kernel_ridge_for_conditions, CIRCUMSTANCES),
}


class Hypernetwork(nn.Module):
    """Rows (N, 3) to tokens (N, L, D) by two hidden layers: nothing recurrent, no tokens' positions, no diffusion."""

    def __init__(self, tokenizer: ParameterTokenizer, width: int):
        super().__init__()
        self.shape = tokenizer.mask.shape
        told = sum(condition.features for condition in CIRCUMSTANCES)
        self.layers = nn.Sequential(
            nn.Linear(told, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, self.shape.numel())
        )

    def forward(self, rows: Tensor) -> Tensor:
        return self.layers(2 * features(CIRCUMSTANCES, rows) - 1).view(-1, *self.shape)


def fit_hypernetwork(
    tokenizer: ParameterTokenizer, width: int, behaviour: UnderCircumstances, config: TrainConfig
) -> tuple[Hypernetwork, list[float]]:
    """Train one by the behaviour alone, with the generator's optimizer; the losses of all steps come with it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model, losses = Hypernetwork(tokenizer, width), []
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, config.steps, config.warmup))
    for step in range(config.steps):
        generator = torch.Generator().manual_seed(stream(config.seed, "hypernetwork", step))
        rows = behaviour.conditions(behaviour.networks, generator)
        loss = behaviour(tokenizer.decode_together(model(rows)), generator, rows)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return model.eval(), losses
