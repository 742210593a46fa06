"""What is measured of generated networks, and of what stands beside them without a trained generator.

No module need be known: everything is of state dicts, BatchNorm's statistics as they are.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from experiments.baselines import pairs
from experiments.own.evaluation import Evaluation
from rpglib.analysis.connectivity import between
from rpglib.analysis.perturbation import noised
from rpglib.analysis.similarity import mean_iou
from rpglib.runtime.randomness import stream
from rpglib.runtime.state_dicts import Checkpoint, is_statistic, plain
from rpglib.zoo.description import Description, mean_network
from rpglib.zoo.store import Zoo

EVALUATED = 50
"""Checkpoints that are evaluated, at most."""
GENERATED, CHECKPOINTS, UNTRAINED, MEAN = "generated", "checkpoints", "untrained generator", "mean network"
Networks = list[dict[str, Tensor]]


def learned(zoo: Zoo) -> list[str]:
    """The names of the floating-point tensors that are no statistics of BatchNorm's."""
    return [name for name, x in zoo[0].items() if x.is_floating_point() and x.numel() and not is_statistic(name)]


def distances(networks: Sequence[Checkpoint], zoo: Zoo) -> Tensor:
    """How far each network is from every checkpoint (A, N), over all parameters: one tensor of the zoo at a time."""
    squares = torch.zeros(len(networks), len(zoo), dtype=torch.float64)
    for name in learned(zoo):
        originals = zoo.stacked(names=[name])[name].double().flatten(1)
        own = torch.stack([plain(network[name]).double().flatten() for network in networks])
        squares += torch.cdist(own, originals, compute_mode="donot_use_mm_for_euclid_dist").square()
    return squares.sqrt()


def gaussians(zoo: Zoo, n: int, seed: int) -> Networks:
    """Networks whose parameters are drawn one by one, each with its mean and deviation over the zoo."""
    found = [dict(zoo[0]) for _ in range(n)]
    for k, name in enumerate(learned(zoo)):
        x = zoo.stacked(names=[name])[name].double()
        draws = torch.Generator().manual_seed(stream(seed, "gaussian", k))
        for network in found:
            noise = torch.randn(x.shape[1:], generator=draws, dtype=torch.float64)
            network[name] = (x.mean(0) + x.std(0) * noise).to(network[name].dtype)
    return found


def midpoints(zoo: Zoo, basins: Tensor, n: int, seed: int) -> dict[str, Networks]:
    """Networks halfway between two checkpoints of one basin, and of two, as far as there are such pairs."""
    drawn = pairs(basins, n, torch.Generator().manual_seed(stream(seed, "midpoints")), "basin")
    return {f"midpoint, {label}": [between(zoo[a], zoo[b], 0.5) for a, b in rows] for label, rows in drawn.items()}


def groups(
    zoo: Zoo, description: Description, generated: Networks, untrained: Networks, seed: int
) -> dict[str, Networks]:
    """What stands in the table: generated networks, and networks that need no trained generator."""
    n, count = len(generated), sum(zoo[0][name].numel() for name in learned(zoo))
    found = {GENERATED: generated, UNTRAINED: untrained, MEAN: [mean_network(zoo)]}
    if len(zoo) > 1:
        found["Gaussian"] = gaussians(zoo, n, seed)
        found |= midpoints(zoo, description.basins, n, seed)
    far = distances(generated, zoo).amin(1).median().item() / math.sqrt(count)
    found["noise as far as generated"] = [noised(zoo[k * len(zoo) // n], far, seed, number=k) for k in range(n)]
    return found


def measured(
    zoo: Zoo,
    description: Description,
    networks: Networks,
    evaluation: Evaluation | None,
    indices: Sequence[int],
    originals: bool = False,
) -> dict:
    """Scores, error-IoU and distances of some networks; None for what cannot be told.

    indices: of which checkpoint each takes what the zoo left out. Distances are to the nearest checkpoint (of
    checkpoints: the nearest other one), in units of the zoo's median leave-one-out distance (LOO).
    """
    scores, errors = None, []
    if evaluation is not None:
        scores = []
        for network, index in zip(networks, indices, strict=True):
            score, wrong = evaluation.asked(zoo.complete(network, index, own_names=False))
            scores.append(round(score, 4))
            errors += [] if wrong is None else [wrong]
    unit = description.nearest.median().item() if len(zoo) > 1 else 0.0
    nearest = description.nearest[list(indices)] if originals else distances(networks, zoo).amin(1)
    return {
        "n": len(networks),
        "scores": scores,
        "error_iou": mean_iou(torch.stack(errors)) if len(errors) == len(networks) > 1 else None,
        "distances": [round(d / unit, 4) for d in nearest.tolist()] if unit else None,
    }


def evaluated(zoo: Zoo) -> list[int]:
    """Numbers of the checkpoints that are evaluated: all, or evenly spaced ones."""
    return torch.linspace(0, len(zoo) - 1, min(len(zoo), EVALUATED)).round().long().tolist()


def layers(zoo: Zoo, networks: Networks) -> dict[str, dict]:
    """Mean and standard deviation within each floating-point tensor, in checkpoints and in generated networks."""
    found = {}
    for name, x in zoo[0].items():
        if x.is_floating_point() and x.numel() > 1:
            sides = zoo.stacked(names=[name])[name], torch.stack([network[name] for network in networks])
            found[name] = {
                label: {"mean": float(x.double().mean()), "deviation": float(x.double().flatten(1).std(1).mean())}
                for label, x in zip((CHECKPOINTS, GENERATED), sides, strict=True)
            }
    return found
