"""Whether generated networks are new: distances to the zoo they were learnt from, set against their accuracy.

The audit of Zeng et al. (arXiv 2506.07998, "Generative Modeling of Weights: Generalization or Memorization?"): distance
alone proves nothing, as noise is far from every network too, so new networks count only where they also work.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rpglib.errors import InputError
from rpglib.runtime.arguments import each, number, takes, tensor

COLUMNS = 4096
"""Weights that are compared at once, so that networks of any size need little memory in float64."""


@takes(points=tensor("A P"), references=tensor("B Q"))
def nearest_distance(points: Tensor, references: Tensor | None = None) -> Tensor:
    """Return the Euclidean distance of each of points (A, P) to its nearest reference (B, P): (A,) float64.

    Without references, to the nearest other one of `points` (leave one out). A copy is at distance 0 exactly.
    Raises `InputError` for different P and where there is nothing to compare with.
    """
    others = points if references is None else references
    if others.shape[1:] != points.shape[1:]:
        raise InputError(
            f"networks of {points.shape[1]} and of {others.shape[1]} weights have no distance; compare one architecture"
        )
    if len(others) < (2 if references is None else 1):
        raise InputError("a nearest network needs another one to compare with; give more networks")
    squares = torch.zeros(len(points), len(others), dtype=torch.float64)
    for x, y in zip(points.split(COLUMNS, 1), others.split(COLUMNS, 1), strict=True):
        # Through a matrix product, cdist's choice for many rows, a copy would be at a small distance.
        squares += torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist").square()
    if references is None:
        squares.fill_diagonal_(torch.inf)
    return squares.amin(1).sqrt()


@takes(distances=tensor(), accuracies=tensor(), distance=number(), accuracy=number())
def new_and_good(distances: Tensor, accuracies: Tensor, distance: float, accuracy: float) -> float:
    """Return the share, 0..1, of networks that are new and good at once.

    New: `distances` (N,) to the nearest training network of at least `distance`; good: `accuracies` (N,), in percent,
    of at least `accuracy`. A NaN counts as neither. Raises `InputError` where the two do not fit or are empty.
    """
    if distances.shape != accuracies.shape or not distances.numel():
        raise InputError(
            f"distances {tuple(distances.shape)} and accuracies {tuple(accuracies.shape)} are not of the same "
            "networks; give (N,) of both, N at least 1"
        )
    return ((distances >= distance) & (accuracies >= accuracy)).double().mean().item()


@takes(unit=number())
def novelty_curve(
    distances: Tensor, accuracies: Tensor, unit: float, accuracy: float, multiples: Sequence[float] = (1, 2, 3, 4, 5, 6)
) -> list[float]:
    """Return the share of new and good networks where new means at least k units away, for every k of `multiples`.

    unit: the zoo's own scale, the median of its leave-one-out `nearest_distance`. The rest as in `new_and_good`.
    Raises `InputError` for a unit that is none, as that of a zoo half of whose networks are copies.
    """
    if unit <= 0:
        raise InputError(f"a unit of {unit:g} calls copies new; leave copies out of the zoo, or give a unit above 0")
    distinct = [number()("multiples, for each,", k, {}) * unit for k in each("multiples", multiples, "numbers")]
    return [new_and_good(distances, accuracies, distance, accuracy) for distance in distinct]
