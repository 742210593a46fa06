"""Which states, and which weights, are mixed: the same mixtures for a generator's states and for networks' weights."""

import torch
from torch import Tensor

from rpglib.runtime.randomness import stream
from rpglib.training.behaviour import random_mixtures

MIXTURES = ("midpoints of two", "mixtures of two", "mixtures of five", "one each")


def mixtures(kind: str, n: int, states: int, seed: int) -> Tensor:
    """Weights (n, states) of one kind of mixture: two alike, two or five at random, or the states one after the other.

    Every seed and kind has a random stream of its own.
    """
    generator = torch.Generator().manual_seed(stream(seed, kind))
    if kind == "one each":
        return torch.eye(states)[torch.arange(n) % states]
    found = random_mixtures(n, states, min({"mixtures of five": 5}.get(kind, 2), states), generator)
    return (found > 0) / (found > 0).sum(1, keepdim=True) if kind == "midpoints of two" else found


def averages(n: int, states: int, count: int, seed: int) -> Tensor:
    """Weights (n, states) that are the same for `count` random different states."""
    generator = torch.Generator().manual_seed(stream(seed, "averages"))
    chosen = random_mixtures(n, states, min(count, states), generator) > 0
    return chosen / chosen.sum(1, keepdim=True)
