"""13: are generated networks new? The audit of Zeng et al. (arXiv 2506.07998), which RPG's authors never ran."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.baselines import arranged, learned, points
from experiments.pipeline import generate, images_of
from experiments.sweeps.cells import Cell, run
from experiments.sweeps.connectivity import CALIBRATION
from experiments.sweeps.sweep import Sweep, source_digest
from rpglib.analysis import alignment, connectivity, memorisation, perturbation
from rpglib.analysis.accuracy import accuracy, predictions, summarise
from rpglib.analysis.connectivity import recalibrated
from rpglib.analysis.memorisation import nearest_distance, novelty_curve
from rpglib.analysis.perturbation import averaged, gaussian, interpolated, noised
from rpglib.analysis.similarity import nearest_iou
from rpglib.runtime.state_dicts import unflatten
from rpglib.zoo.images import Images, Split, take

SIGMAS = (0.01, 0.02, 0.06, 0.12)
"""Standard deviations of the noise on originals; 0.06 and 0.12 are those of the published audit."""
AVERAGED = 16
MULTIPLES = (0, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Distances at which a network counts as new, in units of the zoo's median leave-one-out distance."""
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
    return {"audit": found, "multiples": list(MULTIPLES), "averaged": AVERAGED, "novelty_by": "nearest"}


def novelty_by(numbers: dict) -> str:
    """The kind of distance behind apart, new_and_good and points; records that do not name it have aligned ones."""
    return numbers.get("novelty_by", "aligned")


def nearest(group: dict) -> float:
    """The median over a group of the least bound that its record keeps on the distance to the nearest original.

    By network, or, in records without it, the lower of the two medians, each in its kind's units.
    """
    if "nearest_distance" in group:
        return group["nearest_distance"]["median"]
    return min(group["distance"]["median"], group["aligned_distance"]["median"])


def new_and_good_share(group: dict, multiples: Sequence[float]) -> float:
    """The share of new and good networks, averaged over the distances at which new means anything: one unit or more."""
    shares = [share for k, share in zip(multiples, group["new_and_good"], strict=True) if k >= 1]
    return sum(shares) / len(shares)


@dataclass(frozen=True)
class Audit:
    """A job: `audit` of a cell that is computed."""

    cell: Cell

    @property
    def profile(self) -> str:
        return self.cell.profile

    def facts(self) -> dict:
        code = source_digest(sys.modules[__name__], alignment, connectivity, memorisation, perturbation)
        return {"audited": self.cell.facts(), "audit_code": code}

    def compute(self, folder: Path) -> dict:
        return audit(self.cell, images_of(self.cell.recipe.images))


def audit(cell: Cell, images: Images) -> dict:
    """Judge a cell's generator beside simple baselines, as many networks of each kind as there are originals.

    Baselines: noise on originals, of fixed sizes and of the size that goes as far as the generator does; and, of
    originals as they are and aligned, means of several, places between two, and independent Gaussians of every
    parameter. Those that mix networks get BatchNorm's statistics measured afresh on training images.
    """
    zoo, module = cell.zoo(), cell.recipe.architecture.build()
    seed, n = cell.recipe.train.seed, len(zoo)
    groups = {"original": [zoo[k] for k in range(n)], "RPG": generate(cell.recipe, cell.model(), n, seed)}
    originals = groups["original"]
    weights = points(originals)
    far = summarise(nearest_distance(points(groups["RPG"]), weights))["median"] / math.sqrt(weights.shape[1])
    sigmas = {"as far as RPG": far} | {str(sigma): sigma for sigma in SIGMAS}
    for label, sigma in sigmas.items():
        groups[f"noise {label}"] = [noised(network, sigma, seed, number=k) for k, network in enumerate(originals)]
    calibration = take(images.train, CALIBRATION).images

    def mixed(weights: Tensor, like: Mapping[str, Tensor]) -> Networks:
        stacked = unflatten(weights, like)
        networks = ({name: x[k] for name, x in stacked.items()} for k in range(len(weights)))
        return [recalibrated(module, {**originals[0], **network}, calibration) for network in networks]

    count = min(AVERAGED, n)
    for suffix, networks in (("", originals), (", aligned", arranged(module, originals[0], originals))):
        like, weights = learned(networks[0]), points(networks)
        groups |= {
            f"average of {count}{suffix}": mixed(averaged(weights, count, n, seed), like),
            f"interpolation{suffix}": mixed(interpolated(weights, n, seed), like),
            f"Gaussian{suffix}": mixed(gaussian(weights, n, seed), like),
        }
    return judge(module, groups, images.test)


def judge(module: nn.Module, groups: Mapping[str, Networks], test: Split) -> dict:
    """Accuracy, similarity and novelty of groups of networks, of which "original" are the training networks.

    Returns "good", the accuracy in percent that a network needs, which is the originals' lowest; "unit", the originals'
    median leave-one-out distance, by kind of distance; and "groups" {name: ...} with accuracy, similarity (highest
    error-IoU with an original), distance, aligned_distance and nearest_distance to the nearest original, apart (to the
    nearest of the same group), each in its kind's units; and new_and_good, the share of such networks by `MULTIPLES` of
    the unit. An original is compared with the others. Distances are Euclidean, over parameters without BatchNorm's
    statistics; aligned ones are taken after the units of every network were put in the order nearest to the first
    original's. Both are bounds from above on what the best alignment of two networks would leave; "nearest" is the
    lower of the two, and what apart, new_and_good and points are measured by.
    """
    originals = groups["original"]
    plain = {name: points(group) for name, group in groups.items()}
    aligned = {name: points(arranged(module, originals[0], group)) for name, group in groups.items()}
    answers = {name: predictions(module, group, test.images) for name, group in groups.items()}
    errors = {name: found != test.labels for name, found in answers.items()}
    accuracies = {name: accuracy(found, test.labels) for name, found in answers.items()}
    good = accuracies["original"].min().item()

    def distances(name: str, others: str | None = None) -> dict[str, Tensor]:
        """Every kind of distance to the nearest of another group, or of the same."""
        found = {
            kind: nearest_distance(found[name], others and found[others])
            for kind, found in (("plain", plain), ("aligned", aligned))
        }
        return found | {"nearest": torch.minimum(*found.values())}

    unit = {kind: summarise(found)["median"] for kind, found in distances("original").items()}
    result = {}
    for name in groups:
        own = name == "original"
        near = {kind: found / unit[kind] for kind, found in distances(name, None if own else "original").items()}
        alike = nearest_iou(errors[name], None if own else errors["original"])
        shown = torch.stack([near["nearest"], accuracies[name]], 1)[:SCATTERED].tolist()
        result[name] = {
            "accuracy": summarise(accuracies[name]),
            "similarity": summarise(alike),
            "distance": summarise(near["plain"]),
            "aligned_distance": summarise(near["aligned"]),
            "nearest_distance": summarise(near["nearest"]),
            "apart": summarise(distances(name)["nearest"] / unit["nearest"]),
            "new_and_good": novelty_curve(near["nearest"], accuracies[name], 1, good, MULTIPLES),
            "points": [[round(value, 3) for value in point] for point in shown],
        }
    return {"good": good, "unit": unit, "groups": result}
