"""What writes weights for circumstances from the zoo's networks, without a generator.

Shapes: S networks of the zoo, U rows that are asked for, P values of a network's tokens. Weights are written as tokens,
in which variances are positive whatever is written.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from experiments.ondemand.family import CIRCUMSTANCES
from rpglib.baselines.kernel_ridge import kernel_ridge_for_conditions
from rpglib.tasks.conditions import features

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
