"""Modes of modules, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, and afterwards as it was: a program may train it, or what holds it."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
