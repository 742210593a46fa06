"""11: accuracy along the line between two networks, trained or generated, of one basin or two (paper, v2, table 18)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from experiments.pipeline import NETWORKS, images_of
from experiments.sweeps.cells import Cell
from experiments.sweeps.findings import by_seed
from experiments.sweeps.sweep import Sweep
from rpglib.analysis.alignment import align
from rpglib.analysis.connectivity import barrier, line
from rpglib.errors import InputError
from rpglib.zoo.images import take

POINTS = 11
CALIBRATION = 512
"""Training images on which BatchNorm statistics are measured afresh."""
TREATMENTS = ("as they are", "recalibrated", "aligned", "aligned and recalibrated")

Pairs = list[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]


def measure(sweep: Sweep) -> dict:
    """Curves and barriers of all kinds of pairs: "pairs" {kind: {treatment: {"curve", "barrier", ...}}}.

    curve (points,): accuracy in percent, mean over pairs and seeds; barrier: the mean over pairs in points, by
    seed. Networks that are no plain sequence have no aligned curves.
    """
    seeds = [_kinds(one, two) for one, two in zip(*(sweep.cells(name) for name in sweep.variants), strict=True)]
    images = images_of(sweep.base.images)
    calibration = take(images.train, CALIBRATION).images
    module = sweep.base.architecture.build()

    def curves(pairs: Pairs, treatment: str) -> Tensor:
        if treatment.startswith("aligned"):
            pairs = [(a, align(module, a, b)) for a, b in pairs]
        measured_on = calibration if treatment.endswith("recalibrated") else None
        test = images.test.images, images.test.labels
        return torch.stack([line(module, a, b, *test, points, measured_on) for a, b in pairs])

    points = POINTS
    if sweep.profile == "smoke":
        points = 3
        seeds = [{kind: pairs[:1] for kind, pairs in kinds.items()} for kinds in seeds]
    result: dict = {}
    for kind in seeds[0]:
        result[kind] = {}
        for treatment in TREATMENTS:
            try:
                found = [curves(kinds[kind], treatment) for kinds in seeds]
            except InputError:
                if not treatment.startswith("aligned"):
                    raise
                continue
            result[kind][treatment] = {
                "curve": torch.stack(found).mean((0, 1)).tolist(),
                "curves": [c.mean(0).tolist() for c in found],
                "barrier": by_seed([sum(map(barrier, c)) / len(c) for c in found]),
                "pairs": len(found[0]),
            }
    return {"pairs": result, "weights": torch.linspace(0, 1, points).tolist()}


def _kinds(one: Cell, two: Cell) -> dict[str, Pairs]:
    """Pairs of networks by kind, from a cell with one basin and one with two."""
    n, start = NETWORKS, one.recipe.train.seed
    one_zoo, two_zoo = one.zoo(), two.zoo()
    first, second = ((two_zoo.runs == run).nonzero()[:, 0].tolist() for run in (0, 1))
    return {
        "original, one basin": _across(one_zoo, range(0, len(one_zoo) // 2), range(len(one_zoo) // 2, len(one_zoo))),
        "original, two basins": _across(two_zoo, first, second),
        "generated, one basin": _halves(_written(one, range(n), start)),
        "generated, two basins, one state": _halves(_written(two, [0] * n, start)),
        "generated, two basins, two states": _halves(_written(two, [0] * (n // 2) + [1] * (n - n // 2), start)),
    }


def _written(cell: Cell, states: Sequence[int], seed: int) -> list[dict[str, Tensor]]:
    count = cell.recipe.model.permutation_states
    recipe = cell.recipe
    return cell.model().generate(
        len(states),
        permutation=[state % count for state in states],
        sampler=recipe.sampler,
        steps=recipe.sampling_steps,
        seed=seed,
    )


def _halves(networks: Sequence[Mapping[str, Tensor]]) -> Pairs:
    half = len(networks) // 2
    return list(zip(networks[:half], networks[half : 2 * half], strict=True))


def _across(zoo, first: Sequence[int], second: Sequence[int]) -> Pairs:
    """As many pairs as of generated networks, evenly spread over both groups."""
    count = min(NETWORKS // 2, len(first), len(second))
    return [(zoo[first[k * len(first) // count]], zoo[second[k * len(second) // count]]) for k in range(count)]
