"""What a sweep's numbers say: differences over seeds, and verdicts in words that follow from them."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rpglib.analysis.accuracy import summarise

REPRODUCED, IN_PART, NOT_REPRODUCED = "reproduced", "reproduced in part", "not reproduced"
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


def by_seed(values: Sequence[float]) -> dict:
    """What a record keeps of a measurement with one value per seed: their summary, and the values themselves."""
    return summarise(values) | {"values": list(values)}


def of_seeds(found: dict) -> np.ndarray:
    """The values (seeds,) behind a summary of `by_seed`.

    A record without them has mean, standard deviation and n, which are all that a t-interval asks for: what comes back
    then are rising values that have just these.
    """
    if "values" in found:
        return np.array(found["values"], dtype=float)
    steps = np.arange(found["n"]) - (found["n"] - 1) / 2
    return found["mean"] + found["std"] * steps / (steps.std(ddof=1) if len(steps) > 1 else 1)


def paired(found: dict, other: dict) -> np.ndarray:
    """The differences (seeds,) of two summaries; where a record keeps no values, paired for the widest interval."""
    values, others = of_seeds(found), of_seeds(other)
    if "values" in found and "values" in other:
        return values - others
    return np.sort(values) - np.sort(others)[::-1]


def side(d: Difference, margin: float = 0.0) -> int:
    """-1 or 1 where a difference is beyond the margin and twice its standard error, or else 0."""
    return (d.mean > 0) - (d.mean < 0) if abs(d.mean) > max(margin, 2 * d.error) else 0
