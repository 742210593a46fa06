"""Where networks lie in the space of weights: principal components, and whose neighbour a network is."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rpglib.errors import InputError
from rpglib.runtime.arguments import takes, tensor, whole


@dataclass(frozen=True)
class Components:
    """Principal components of N points: their mean (P,), directions (K, P) of unit length, and explained variance (K,).

    `explained` is each direction's share of the total variance, 0..1.
    """

    mean: Tensor
    directions: Tensor
    explained: Tensor

    @takes(points=tensor("N P"))
    def project(self, points: Tensor) -> Tensor:
        """Return the coordinates (N, K) of points (N, P)."""
        if points.shape[1:] != self.mean.shape:
            raise InputError(f"points (N, {len(self.mean)}) have coordinates here, not {tuple(points.shape)}")
        return (points.double() - self.mean) @ self.directions.T


@takes(points=tensor("N P", "finite"), count=whole())
def principal_components(points: Tensor, count: int = 2) -> Components:
    """Return the `count` directions in which points (N, P) vary most (paper v1, figure 10; v2, figure 6).

    A direction's sign is free; here its largest entry is positive, so that the same points give the same picture.
    Raises `InputError` for more directions than the points span.
    """
    points = points.double()
    mean = points.mean(0)
    _, singular, directions = torch.linalg.svd(points - mean, full_matrices=False)
    # What rounding leaves of a direction in which the points do not vary.
    rounding = max(points.shape) * torch.finfo(torch.float64).eps * points.norm()
    if not 1 <= count <= (singular > rounding).sum():
        raise InputError(f"{len(points)} points of {points.shape[1]} values have no {count} principal components")
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    variance = singular.square()
    return Components(mean, (directions * largest.sign())[:count], (variance / variance.sum())[:count])


@takes(points=tensor("N P"), owners=tensor("N", "whole"), centres=tensor("T P"))
def own_rank(points: Tensor, owners: Tensor, centres: Tensor) -> Tensor:
    """Return (N,) the rank of each point's own centre by Euclidean distance: 1 where no other centre is nearer.

    points (N, P); centres (T, P); owners (N,) the index of each point's own centre. A centre at the same distance as
    the own one does not count as nearer.
    """
    if len(owners) and not 0 <= owners.min() <= owners.max() < len(centres):
        raise InputError(f"owners are numbers of centres, 0 to {len(centres) - 1}")
    distances = torch.cdist(points.double(), centres.double())
    own = distances.gather(1, owners.long()[:, None])
    return (distances < own).sum(1) + 1
