"""17: are generated networks new? The audit of Zeng et al. (arXiv 2506.07998), which RPG's authors never ran."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from rpglib.analysis.accuracy import accuracy, predictions, summarise
from rpglib.analysis.alignment import align
from rpglib.analysis.connectivity import recalibrated
from rpglib.analysis.memorisation import nearest_distance, novelty_curve
from rpglib.analysis.perturbation import averaged, gaussian, interpolated, noised
from rpglib.analysis.similarity import nearest_iou
from rpglib.checkpoints import STATISTICS, flatten, unflatten
from rpglib.errors import InputError
from rpglib.pipeline import generate, images_of
from rpglib.studies.cells import Cell
from rpglib.studies.connectivity import CALIBRATION
from rpglib.studies.sweep import Sweep
from rpglib.zoo.images import Images, take

SIGMAS = (0.02, 0.06, 0.12, 0.25)
"""Standard deviations of the noise on originals; 0.06 and 0.12 are those of the published audit."""
AVERAGED = 16
MULTIPLES = (0.5, 1, 1.5, 2, 3, 4, 5, 6)
"""Distances at which a network counts as new, in units of the zoo's median leave-one-out distance."""
SCATTERED = 50

Networks = list[dict[str, Tensor]]


def measure(sweep: Sweep, profile: str, seed: int = 0, device: str = "auto") -> dict:
    """The audit of every variant: "audit" {variant: {"seeds": [...]}}, one entry per seed, see `audit`."""
    images = images_of(sweep.base.images)
    return {
        "audit": {
            name: {"seeds": [audit(cell, images) for cell in sweep.cells(name, profile, seed, device)]}
            for name in sweep.variants
        },
        "multiples": list(MULTIPLES),
        "averaged": AVERAGED,
    }


def audit(cell: Cell, images: Images) -> dict:
    """Accuracy, similarity and novelty of generated networks and of simple rivals, as many of each as originals.

    Returns "good", the accuracy that a network needs, which is the originals' lowest; "unit", the originals' median
    leave-one-out distance, as they are and aligned; and "groups" {name: ...} with accuracy and similarity (highest
    error-IoU with an original; for originals, with another one), distance and aligned distance to the nearest original
    in units, and new_and_good, the share of such networks by `MULTIPLES` of the aligned unit. Distances are taken over
    parameters, without BatchNorm's statistics. Rivals that mix networks get these statistics measured afresh.
    """
    zoo, module = cell.zoo(), cell.recipe.architecture.build()
    originals = [zoo[k] for k in range(len(zoo))]
    arranged = _arranger(module, originals[0])
    groups = _groups(cell, module, originals, arranged, take(images.train, CALIBRATION).images)
    test = images.test
    points, aligned = _points(originals), _points(arranged(originals))
    units = {"as they are": nearest_distance(points).median().item(), "aligned": _unit(aligned)}
    answers = {name: predictions(module, group, test.images) for name, group in groups.items()}
    errors = {name: found != test.labels for name, found in answers.items()}
    accuracies = {name: accuracy(found, test.labels) for name, found in answers.items()}
    good = accuracies["original"].min().item()
    result = {}
    for name, group in groups.items():
        own = name == "original"
        near = nearest_distance(_points(group), None if own else points)
        near_aligned = nearest_distance(_points(arranged(group)), None if own else aligned)
        alike = nearest_iou(errors[name], None if own else errors["original"])
        result[name] = {
            "accuracy": summarise(accuracies[name]),
            "similarity": summarise(alike),
            "distance": summarise(near / units["as they are"]),
            "aligned_distance": summarise(near_aligned / units["aligned"]),
            "new_and_good": novelty_curve(near_aligned, accuracies[name], units["aligned"], good, MULTIPLES),
            "points": [
                [round(value, 4) for value in point]
                for point in torch.stack([near_aligned / units["aligned"], accuracies[name], alike], 1).tolist()
            ][:SCATTERED],
        }
    return {"good": good, "unit": units, "groups": result}


def _unit(points: Tensor) -> float:
    return nearest_distance(points).median().item()


def _groups(cell: Cell, module, originals: Networks, arranged: Callable, calibration: Tensor) -> dict[str, Networks]:
    seed, n = cell.recipe.train.seed, len(originals)
    groups = {"original": originals, "RPG": generate(cell.recipe, cell.model(), n, seed)}
    for sigma in SIGMAS:
        groups[f"noise {sigma}"] = [noised(network, sigma, seed + k) for k, network in enumerate(originals)]

    def mixed(weights: Tensor, like: Mapping[str, Tensor]) -> Networks:
        stacked = unflatten(weights, like)
        networks = ({name: x[k] for name, x in stacked.items()} for k in range(len(weights)))
        return [recalibrated(module, {**originals[0], **network}, calibration) for network in networks]

    for suffix, networks in (("", originals), (", aligned", arranged(originals))):
        learned = _learned(networks[0])
        weights = _points(networks)
        groups |= {
            f"average of {min(AVERAGED, n)}{suffix}": mixed(averaged(weights, min(AVERAGED, n), n, seed), learned),
            f"interpolation{suffix}": mixed(interpolated(weights, n, seed), learned),
            f"Gaussian{suffix}": mixed(gaussian(weights, n, seed), learned),
        }
    return groups


def _arranger(module, reference: Mapping[str, Tensor]) -> Callable[[Networks], Networks]:
    """A function that aligns networks with one reference; where units cannot be permuted, one that changes nothing."""
    try:
        align(module, reference, reference)
    except InputError:
        return lambda networks: networks
    return lambda networks: [align(module, reference, network) for network in networks]


def _learned(network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters: neither BatchNorm's statistics nor its counter."""
    return {name: x for name, x in network.items() if x.is_floating_point() and not name.endswith(STATISTICS)}


def _points(networks: Networks) -> Tensor:
    """The parameters of N networks as a matrix (N, P)."""
    learned = [_learned(network) for network in networks]
    return flatten({name: torch.stack([network[name] for network in learned]) for name in learned[0]})
