"""Verdicts: what the records say of the paper's claims, in words that follow from the numbers."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

REPRODUCED, NOT_REPRODUCED, NOT_TESTABLE, OURS = (
    "reproduced",
    "not reproduced",
    "not testable at this scale",
    "new here",
)
MARGIN = 0.5
"""Points of accuracy that count as a difference, where the seeds do not spread wider."""


@dataclass(frozen=True)
class Verdict:
    """A claim, where the paper makes it ("" where it is ours), whether it held here, and the numbers that say so."""

    claim: str
    source: str
    word: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.claim} ({self.source or 'not in the paper'}): {self.word}; {self.evidence}"


def word(held: bool) -> str:
    """The verdict on a claim of the paper."""
    return REPRODUCED if held else NOT_REPRODUCED


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


def accuracies(numbers: dict, variant: str, group: str = "generated") -> list[float]:
    """Mean accuracy in percent of every seed's networks."""
    return [cell[group]["mean"] for cell in numbers["variants"][variant]["cells"]]


def mean(values: Sequence[float]) -> float:
    """The mean over seeds."""
    return statistics.fmean(values)


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


def alikeness(numbers: dict, variant: str, key: str = "to_nearest_original") -> list[float]:
    """One of the error-IoUs of `diversity` of every seed."""
    return [cell["diversity"][key] for cell in numbers["variants"][variant]["cells"]]


# ---- one function per notebook ----------------------------------------------------------------------------------


def recurrent_and_positions(numbers: dict) -> list[Verdict]:
    none = against(numbers, "no recurrence")
    positions = {name: against(numbers, name) for name in ("by index", "learned")}
    return [
        Verdict(
            "without recurrence generation fails",
            "table 4a",
            word(none.lower),
            f"without it {mean(accuracies(numbers, 'no recurrence')):.1f} %, with it "
            f"{mean(accuracies(numbers, 'base')):.1f} % (difference {none})",
        ),
        Verdict(
            "positions by layer, by index or learned serve alike",
            "table 4b",
            word(not any(d.lower or d.higher for d in positions.values())),
            "; ".join(f"{name} {d} against by layer" for name, d in positions.items()),
        ),
    ]
