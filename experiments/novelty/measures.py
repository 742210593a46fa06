"""What is measured of a group of networks: accuracy, three distances to the zoo, diversity of answers, ensembles.

Distances are Euclidean, over all parameters without BatchNorm's statistics, each in units of the zoo's own median
leave-one-out distance of that kind (LOO).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from experiments.baselines import Networks, arranged, points
from rpglib.analysis.accuracy import accuracy, load, summarise
from rpglib.analysis.memorisation import nearest_distance, novelty_curve
from rpglib.analysis.scales import without_scales
from rpglib.analysis.similarity import mean_iou
from rpglib.errors import InputError
from rpglib.zoo.images import Split
from rpglib.zoo.store import Zoo

MULTIPLES = (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2)
"""Distances (LOO) from which on a network counts as new."""
TOGETHER = 10
"""Networks that vote together."""
MEMBERS = (1, 2, 5, 10, 20, 40)
"""Sizes of ensembles."""
KINDS = ("plain", "aligned", "without scales")


@dataclass(frozen=True)
class Ruler:
    """A zoo's networks as everything is measured by: their parameters by kind of distance, and one LOO of each.

    plain: units in the order in which they stand. aligned: in the order nearest to the first original's. without
    scales: aligned after the scales that do nothing were taken out; where the architecture has none, as aligned.
    kinds: those that are asked for.
    """

    module: nn.Module
    originals: Networks
    kinds: Sequence[str] = KINDS

    @classmethod
    def of(cls, zoo: Zoo, kinds: Sequence[str] = KINDS) -> "Ruler":
        return cls(zoo.build(), [zoo[k] for k in range(len(zoo))], kinds)

    def points(self, networks: Sequence, kind: str) -> Tensor:
        """The parameters (N, P) of networks, prepared for that kind of distance."""
        if kind == "without scales":
            networks, reference = ([_bare(self.module, x) for x in of] for of in (networks, self.originals[:1]))
        else:
            reference = self.originals[:1]
        return points(networks if kind == "plain" else arranged(self.module, reference[0], networks))

    @cached_property
    def references(self) -> dict[str, Tensor]:
        return {kind: self.points(self.originals, kind) for kind in self.kinds}

    @cached_property
    def units(self) -> dict[str, float]:
        """One LOO by kind of distance."""
        return {kind: nearest_distance(x).median().item() for kind, x in self.references.items()}

    def distances(self, networks: Sequence, kind: str, own: bool = False) -> Tensor:
        """The distance (N,) of each network to the nearest original, in LOO; own: to the nearest of `networks`."""
        found = self.points(networks, kind)
        return nearest_distance(found, None if own else self.references[kind]) / self.units[kind]


def _bare(module: nn.Module, network) -> dict[str, Tensor]:
    try:
        return without_scales(module, network)
    except InputError:
        return dict(network)


def row(ruler: Ruler, networks: Networks, test: Split, good: float | None = None, originals: bool = False) -> dict:
    """What one group of networks is, in numbers; of `originals` each one is compared with the others.

    accuracy (percent), distance, aligned_distance, distance_without_scales to the nearest original and apart, to the
    nearest of the group (None for one network; plain, LOO), each summarised; error_iou among the group (None for one);
    new_and_good: the share that is at least so many LOO away, by `MULTIPLES`, by the lower of plain and aligned
    distance, and as accurate as `good` (percent; by default the group's lowest); ensembles: `ensembles`; loss and
    calibration of the networks one by one.
    """
    answers = probabilities(ruler.module, networks, test.images)
    predicted = said(answers)
    right = accuracy(predicted, test.labels)
    near = {kind: ruler.distances(networks, kind, own=originals) for kind in KINDS}
    several = len(networks) > 1
    lower = torch.minimum(near["plain"], near["aligned"])
    return {
        "n": len(networks),
        "accuracy": summarise(right),
        "distance": summarise(near["plain"]),
        "aligned_distance": summarise(near["aligned"]),
        "distance_without_scales": summarise(near["without scales"]),
        "apart": summarise(ruler.distances(networks, "plain", own=True)) if several else None,
        "error_iou": mean_iou(predicted != test.labels) if several else None,
        "new_and_good": novelty_curve(lower, right, 1, right.min().item() if good is None else good, MULTIPLES),
        "loss": cross_entropy(answers, test.labels).mean().item(),
        "calibration": torch.stack([calibration_error(one, test.labels) for one in answers]).mean().item(),
        "ensembles": ensembles(answers, test.labels),
    }


def accuracies(module: nn.Module, networks: Networks, part: Split) -> Tensor:
    """The accuracy (N,) of networks on one part of a data set, in percent."""
    return accuracy(said(probabilities(module, networks, part.images)), part.labels)


def said(probabilities: Tensor) -> Tensor:
    """The classes that are answered (N, n), -1 where a network answers NaN, which is never right by chance."""
    return torch.where((probabilities > 0).any(-1), probabilities.argmax(-1), -1)


@torch.no_grad()
def probabilities(module: nn.Module, networks: Networks, images: Tensor) -> Tensor:
    """What N networks say of n images (n, C, S, S): probabilities (N, n, classes); all zero where one answers NaN."""
    module = copy.deepcopy(module).eval()
    found = []
    for network in networks:
        load(module, network)
        found.append(module(images).softmax(-1).nan_to_num(0.0))
    return torch.stack(found)


def ensembles(answers: Tensor, labels: Tensor) -> dict[str, dict]:
    """Accuracy (percent), loss (nats) and calibration error of mean votes, by members; disjoint ensembles averaged."""
    found = {}
    for members in MEMBERS:
        if members > len(answers):
            break
        votes = [part.mean(0) for part in answers.split(members) if len(part) == members]
        found[str(members)] = {
            "ensembles": len(votes),
            "accuracy": accuracy(torch.stack(votes).argmax(-1), labels).mean().item(),
            "loss": cross_entropy(torch.stack(votes), labels).mean().item(),
            "calibration": torch.stack([calibration_error(vote, labels) for vote in votes]).mean().item(),
        }
    return found


def cross_entropy(answers: Tensor, labels: Tensor) -> Tensor:
    """The negative log-likelihood (N,) in nats of probabilities (N, n, classes), each taken as 1e-12 at least."""
    right = answers[:, torch.arange(len(labels)), labels].double()
    return -right.clamp(min=1e-12).log().mean(1)


def calibration_error(answers: Tensor, labels: Tensor, bins: int = 15) -> Tensor:
    """The expected calibration error of probabilities (n, classes): between confidence and accuracy, over bins."""
    confidence, predicted = answers.double().max(-1)
    right = (predicted == labels).double()
    which = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, which, confidence - right)
    return gap.abs().sum() / len(labels)
