"""13: are generated networks new? The audit of Zeng et al. (arXiv 2506.07998), which RPG's authors never ran."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.baselines import CALIBRATION, arranged, learned, one_by_one, points, untrained
from experiments.pipeline import generate, images_of
from experiments.sources import code_of
from experiments.sweeps.cells import Cell, run
from experiments.sweeps.sweep import Sweep
from rpglib.analysis.accuracy import accuracy, predictions, summarise
from rpglib.analysis.connectivity import recalibrated
from rpglib.analysis.memorisation import nearest_distance, novelty_curve
from rpglib.analysis.perturbation import averaged, gaussian, interpolated, noised
from rpglib.analysis.similarity import nearest_iou
from rpglib.runtime.state_dicts import unflatten
from rpglib.zoo.images import Images, Split, take

CODE = code_of(__file__)
SIGMAS = (0.01, 0.02, 0.06, 0.12)
"""Standard deviations of the noise on originals; 0.06 and 0.12 are those of the published audit."""
AVERAGED = 16
MULTIPLES = (0, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)
"""Distances at which a network counts as new, in units of the zoo's median leave-one-out distance (LOO)."""
SCATTERED = 50

Networks = list[dict[str, Tensor]]


def measure(sweep: Sweep) -> dict:
    """The audit of every variant: "audit" {variant: {"seeds": [...]}}, one entry per seed, see `judge`.

    Only the first seed's audit keeps its single networks ("points"), for the figure.
    """
    audits = {name: [Audit(cell) for cell in sweep.cells(name)] for name in sweep.variants}
    numbers = iter(run([job for row in audits.values() for job in row], "audits"))
    found = {name: {"seeds": [next(numbers) for _ in row]} for name, row in audits.items()}
    for variant in found.values():
        for later in variant["seeds"][1:]:
            for group in later["groups"].values():
                del group["points"]
    return {"audit": found, "multiples": list(MULTIPLES), "averaged": AVERAGED}


@dataclass(frozen=True)
class Audit:
    """A job: `audit` of a cell that is computed."""

    cell: Cell

    @property
    def profile(self) -> str:
        return self.cell.profile

    @property
    def device(self) -> str:
        return self.cell.device

    def facts(self) -> dict:
        return {"audited": self.cell.facts(), "audit_code": CODE}

    def compute(self, folder: Path) -> dict:
        return audit(self.cell, images_of(self.cell.recipe.images))


def audit(cell: Cell, images: Images) -> dict:
    """Judge a cell's generator beside simple baselines, as many networks of each kind as there are originals.

    Baselines: the generator before training; noise on originals, of fixed sizes and of the size that goes as far as the
    generator does; and, of originals as they are and aligned, the mean of all (one network), means of several, places
    between two, and independent Gaussians of every parameter. Those that mix networks get BatchNorm's statistics
    measured afresh on training images.
    """
    recipe, zoo, model = cell.recipe, cell.zoo(), cell.model()
    module, seed, n = recipe.architecture.build(), recipe.train.seed, len(zoo)
    originals = [zoo[k] for k in range(n)]
    groups = {
        "original": originals,
        "RPG": generate(recipe, model, n, seed),
        "untrained generator": generate(recipe, untrained(recipe, model), n, seed),
    }
    weights = points(originals)
    far = summarise(nearest_distance(points(groups["RPG"]), weights))["median"] / math.sqrt(weights.shape[1])
    sigmas = {"as far as RPG": far} | {str(sigma): sigma for sigma in SIGMAS}
    for label, sigma in sigmas.items():
        groups[f"noise {label}"] = [noised(network, sigma, seed, number=k) for k, network in enumerate(originals)]
    calibration = take(images.train, CALIBRATION).images

    def mixed(weights: Tensor, like: Mapping[str, Tensor]) -> Networks:
        networks = one_by_one(unflatten(weights, like))
        return [recalibrated(module, {**originals[0], **network}, calibration) for network in networks]

    count = min(AVERAGED, n)
    for suffix, networks in (("", originals), (", aligned", arranged(module, originals[0], originals))):
        like, weights = learned(networks[0]), points(networks)
        groups |= {
            f"mean network{suffix}": mixed(weights.mean(0, keepdim=True), like),
            f"average of {count}{suffix}": mixed(averaged(weights, count, n, seed), like),
            f"interpolation{suffix}": mixed(interpolated(weights, n, seed), like),
            f"Gaussian{suffix}": mixed(gaussian(weights, n, seed), like),
        }
    return judge(module, groups, zoo.runs, images.test)


def judge(module: nn.Module, groups: Mapping[str, Networks], runs: Tensor, test: Split) -> dict:
    """Accuracy, similarity and novelty of groups of networks, of which "original" are the training networks.

    runs: the run (N,) of each original. Returns "good", the accuracy in percent that a network needs, which is the
    originals' lowest; "unit", the originals' median leave-one-out distance, by kind of distance; "between_runs", the
    median distance of an original to the nearest one of another run, in units (None for one run); and "groups"
    {name: ...} with accuracy, similarity (highest error-IoU with an original), plain_distance, aligned_distance and
    distance to the nearest original, apart (to the nearest of the same group; None for one network), each in its kind's
    units; and new_and_good, the share of such networks by `MULTIPLES` of the unit. An original is compared with the
    others. Distances are Euclidean, over parameters without BatchNorm's statistics; aligned ones are taken after the
    units of every network were put in the order nearest to the first original's. Plain and aligned distances are bounds
    from above on what the best alignment of two networks would leave; what is called distance alone is the lower of the
    two, and what apart, new_and_good and points are measured by.
    """
    originals = groups["original"]
    plain = {name: points(group) for name, group in groups.items()}
    aligned = {name: points(arranged(module, originals[0], group)) for name, group in groups.items()}
    answers = {name: predictions(module, group, test.images) for name, group in groups.items()}
    errors = {name: found != test.labels for name, found in answers.items()}
    accuracies = {name: accuracy(found, test.labels) for name, found in answers.items()}
    good = accuracies["original"].min().item()

    def distances(measured: Callable[[dict[str, Tensor]], Tensor]) -> dict[str, Tensor]:
        """A distance of every kind, and the lower of both."""
        found = {"plain": measured(plain), "aligned": measured(aligned)}
        return found | {"lower": torch.minimum(*found.values())}

    unit = _medians(distances(lambda x: nearest_distance(x["original"])))
    between = None
    if len(runs.unique()) > 1:
        between = _medians(distances(lambda x: _to_another_run(x["original"], runs)))
        between = {kind: found / unit[kind] for kind, found in between.items()}
    result = {}
    for name, group in groups.items():
        reference = None if name == "original" else "original"
        near = distances(lambda x, name=name, of=reference: nearest_distance(x[name], of and x[of]))
        near = {kind: found / unit[kind] for kind, found in near.items()}
        apart = None
        if len(group) > 1:
            apart = summarise(distances(lambda x, name=name: nearest_distance(x[name]))["lower"] / unit["lower"])
        shown = torch.stack([near["lower"], accuracies[name]], 1)[:SCATTERED].tolist()
        result[name] = {
            "accuracy": summarise(accuracies[name]),
            "similarity": summarise(nearest_iou(errors[name], reference and errors[reference])),
            "plain_distance": summarise(near["plain"]),
            "aligned_distance": summarise(near["aligned"]),
            "distance": summarise(near["lower"]),
            "apart": apart,
            "new_and_good": novelty_curve(near["lower"], accuracies[name], 1, good, MULTIPLES),
            "points": [[round(value, 3) for value in point] for point in shown],
        }
    return {"good": good, "unit": unit, "between_runs": between, "groups": result}


def _to_another_run(weights: Tensor, runs: Tensor) -> Tensor:
    """The distance (N,) of each training network to the nearest one of another run."""
    found = torch.empty(len(weights), dtype=torch.float64)
    for own in runs.unique():
        found[runs == own] = nearest_distance(weights[runs == own], weights[runs != own])
    return found


def _medians(distances: Mapping[str, Tensor]) -> dict[str, float]:
    return {kind: summarise(found)["median"] for kind, found in distances.items()}
