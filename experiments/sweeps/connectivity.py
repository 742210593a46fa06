"""11: accuracy along the line between two networks, trained or generated, of one basin or two (paper, v2, table 18)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from experiments.pipeline import NETWORKS, images_of
from experiments.sweeps.cells import Cell
from experiments.sweeps.findings import by_seed
from experiments.sweeps.states import members, of_run, written
from experiments.sweeps.sweep import Sweep
from rpglib.analysis.alignment import align
from rpglib.analysis.connectivity import barrier, line
from rpglib.errors import InputError
from rpglib.zoo.images import take
from rpglib.zoo.store import Zoo

POINTS = 11
CALIBRATION = 512
"""Training images on which BatchNorm statistics are measured afresh."""
TREATMENTS = ("as they are", "recalibrated", "aligned", "aligned and recalibrated")

Pairs = list[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]


def measure(sweep: Sweep) -> dict:
    """Curves and barriers of all kinds of pairs: "pairs" {kind: {treatment: {"curve", "barrier", ...}}}.

    Of a sweep with the variants "one basin", "two basins" and "ten basins". curve (points,): accuracy in percent, mean
    over pairs and seeds; barrier: the mean over pairs in points, by seed. Networks that are no plain sequence have no
    aligned curves.
    """
    basins = (sweep.cells(name) for name in ("one basin", "two basins", "ten basins"))
    seeds = [_kinds(*cells) for cells in zip(*basins, strict=True)]
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


def _kinds(one: Cell, two: Cell, ten: Cell) -> dict[str, Pairs]:
    """Pairs of networks by kind, from cells with one basin, with two, and with several, of which every run has pairs.

    The generator of two basins has a state per run, the others one per checkpoint.
    """
    n, half = NETWORKS, NETWORKS // 2
    only, runs = members(one, 0), [k % ten.recipe.collect.runs for k in range(n)]
    of_one_run = zip(*(of_run(ten, run, 2) for run in runs[:half]), strict=True)
    return {
        "original, one basin": _across(one.zoo(), only[: len(only) // 2], only[len(only) // 2 :]),
        "original, two basins": _across(two.zoo(), members(two, 0), members(two, 1)),
        "generated, one basin": _halves(written(one, of_run(one, 0, n))),
        "generated, two basins, one state": _halves(written(two, of_run(two, 0, n))),
        "generated, two basins, two states": _halves(written(two, of_run(two, 0, half) + of_run(two, 1, half))),
        "generated, ten basins, one run": _halves(written(ten, [state for states in of_one_run for state in states])),
        "generated, ten basins, two runs": _halves(written(ten, [of_run(ten, run, 1)[0] for run in runs])),
    }


def _halves(networks: Sequence[Mapping[str, Tensor]]) -> Pairs:
    half = len(networks) // 2
    return list(zip(networks[:half], networks[half : 2 * half], strict=True))


def _across(zoo: Zoo, first: Sequence[int], second: Sequence[int]) -> Pairs:
    """As many pairs as of generated networks, evenly spread over both groups."""
    count = min(NETWORKS // 2, len(first), len(second))
    return [(zoo[first[k * len(first) // count]], zoo[second[k * len(second) // count]]) for k in range(count)]
