"""What a kind of network says of itself: how it is built, what it learns by, and what is measured of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from experiments.dense.scenes import scenes

SOURCE = "scenes of scikit-learn digits"


@dataclass(frozen=True)
class Scenes:
    """Images (n, C, S, S) from 0 to 1, labels (n, S, S), and by image its objects, as `scenes` gives them.

    objects may be empty where only labels are known. `scenes[rows]` are some of them.
    """

    images: Tensor
    labels: Tensor
    objects: list[dict[str, Tensor]]

    @classmethod
    def composed(cls, split: str, n: int, size: int, seed: int = 0) -> "Scenes":
        """n scenes of one split, with all digits."""
        return cls(*scenes(n, size, seed=seed, split=split))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor) -> "Scenes":
        objects = [self.objects[k] for k in rows.tolist()] if self.objects else []
        return Scenes(self.images[rows], self.labels[rows], objects)


class Source(Protocol):
    """Where scenes come from: memory, as `Scenes`, or files that are read as they are asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: Tensor) -> Scenes: ...


def batches(asked: Source, size: int) -> Iterator[Scenes]:
    """All scenes in order, `size` at a time."""
    for rows in torch.arange(len(asked)).split(size):
        yield asked[rows]


@dataclass(frozen=True)
class Measured:
    """Metrics of one network by name (percent), and what it got wrong (E,) bool: pixels, or objects not found."""

    metrics: dict[str, float]
    wrong: Tensor


class Kind(Protocol):
    """A kind of network, by sizes of its own."""

    main: str
    """The metric that is judged."""

    def build(self) -> nn.Module: ...
    def loss(self, model: nn.Module, taught: Scenes) -> Tensor: ...
    def answered(self, model: nn.Module, images: Tensor) -> Tensor | list[dict[str, Tensor]]: ...
    def measure(self, model: nn.Module, asked: Source) -> Measured: ...
