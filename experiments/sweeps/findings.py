"""What a sweep's numbers say: differences over seeds, and verdicts in words that follow from them."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

REPRODUCED, IN_PART, NOT_REPRODUCED = "reproduced", "reproduced in part", "not reproduced"
NOT_TESTABLE = "not testable at this scale"
MARGIN = 0.5
"""Points of accuracy that count as a difference, where the seeds do not spread wider."""
FAILED = 10.0
"""Points below the originals at which generation counts as failed."""


@dataclass(frozen=True)
class Verdict:
    """A claim, where the paper makes it ("" where it is ours), whether it held here, and the numbers that say so."""

    claim: str
    source: str
    word: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.claim} ({self.source or 'not in the paper'}): {self.word}; {self.evidence}"


def word(*held: bool) -> str:
    """The verdict on a claim of the paper, tested once or in several places."""
    return REPRODUCED if all(held) else IN_PART if any(held) else NOT_REPRODUCED


@dataclass(frozen=True)
class Difference:
    """Mean over seeds of a paired difference, and its standard error (0 for a single seed)."""

    mean: float
    error: float

    @property
    def lower(self) -> bool:
        """Clearly below zero: by more than the margin and than twice the standard error."""
        return self.mean < -max(MARGIN, 2 * self.error)

    @property
    def higher(self) -> bool:
        """Clearly above zero."""
        return self.mean > max(MARGIN, 2 * self.error)

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ± {self.error:.2f}"


def accuracies(numbers: dict, variant: str, group: str = "generated") -> np.ndarray:
    """Mean accuracy in percent of every seed's networks; group: "generated" or "original"."""
    return np.array([cell[group]["mean"] for cell in numbers["variants"][variant]["cells"]])


def mean(values: Sequence[float]) -> float:
    """The mean over seeds."""
    return float(statistics.fmean(values))


def difference(values: Sequence[float], others: Sequence[float]) -> Difference:
    """The paired difference of two lists, seed by seed, with its standard error."""
    pairs = [a - b for a, b in zip(values, others, strict=True)]
    spread = statistics.stdev(pairs) / math.sqrt(len(pairs)) if len(pairs) > 1 else 0.0
    return Difference(statistics.fmean(pairs), spread)


def against(numbers: dict, variant: str, other: str = "base") -> Difference:
    """How much better (points) one variant's networks are than another's."""
    return difference(accuracies(numbers, variant), accuracies(numbers, other))


def gap(numbers: dict, variant: str) -> Difference:
    """How much better (points) a variant's generated networks are than its originals."""
    return difference(accuracies(numbers, variant), accuracies(numbers, variant, "original"))


def alikeness(numbers: dict, variant: str, key: str = "to_nearest_original") -> np.ndarray:
    """One of the error-IoUs of `diversity` of every seed."""
    return np.array([cell["diversity"][key] for cell in numbers["variants"][variant]["cells"]])


def excess_iou(numbers: dict, variant: str) -> np.ndarray:
    """By seed, how much more alike (error-IoU) a variant's generated networks are than its originals."""
    return alikeness(numbers, variant, "among_generated") - alikeness(numbers, variant, "among_originals")


def token_sizes(numbers: dict) -> dict[int, str]:
    """The variants cut within layers, the base included, by the number of values in a token, the smallest first."""
    found = {}
    for name, variant in numbers["variants"].items():
        if not variant["changes"].keys() - {"model.token_size"}:
            first = variant["cells"][0]
            found[round(first["parameters"] / (first["tokens"] * (1 - first["padding"])))] = name
    return dict(sorted(found.items()))


def fifths(values: Sequence[float]) -> list[float]:
    """Means over five equal stretches of a sequence."""
    cuts = [round(k * len(values) / 5) for k in range(6)]
    return [mean(values[a:b]) for a, b in pairwise(cuts)]


def side(d: Difference, margin: float = 0.0) -> int:
    """-1 or 1 where a difference is beyond the margin and twice its standard error, or else 0."""
    return (d.mean > 0) - (d.mean < 0) if abs(d.mean) > max(margin, 2 * d.error) else 0


def yes(held: bool, open_: bool) -> str:
    """The answer to a question of ours."""
    return "yes" if held else "no clear difference" if open_ else "no"
