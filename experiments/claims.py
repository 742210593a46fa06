"""Claims, and verdicts on them by one rule: does an interval over seeds lie inside the claimed range, or outside?

A claim says where a mean over seeds lies: above a bound, below one, or between two. What is asked of several means
must be true of all. Each mean stands with its t-interval; the claim *holds* where every interval lies inside the range,
*does not hold* where one lies outside, and is *inconclusive* otherwise. The level of 5 % is shared over the claims of a
notebook by Holm's method, so that a notebook with many claims does not find something by chance alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from scipy import stats

LEVEL = 0.05

Values = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Interval:
    """The mean of n values, one per seed, and its t-interval of 95 % (n - 1 degrees of freedom)."""

    mean: float
    low: float
    high: float
    n: int

    def text(self, signed: bool = True) -> str:
        """The mean and, in brackets, the interval; a difference shows its sign."""
        numbers = [f"{x:+.2f}" if signed else f"{x:.2f}" for x in (self.mean, self.low, self.high)]
        return "{} [{}, {}]".format(*numbers) if self.n > 1 else f"{numbers[0]} (n = 1)"

    __str__ = text


def interval(values: Values) -> Interval:
    """The mean of paired differences, or of other values that vary over seeds, with its interval."""
    values = np.asarray(values, dtype=float)
    mean, n = float(values.mean()), len(values)
    half = _error(values) * float(stats.t.ppf(1 - LEVEL / 2, n - 1)) if n > 1 else math.inf
    return Interval(mean, mean - half, mean + half, n)


@dataclass(frozen=True)
class Verdict:
    """A claim, what the paper reports ("" where the claim is ours), what was found here, and the word that follows."""

    claim: str
    paper: str
    ours: str
    word: str


@dataclass(frozen=True)
class _Claim:
    claim: str
    paper: str
    ours: str
    holds: float
    fails: float


@dataclass
class Claims:
    """The claims of one notebook; `verdicts` decides them together."""

    found: list[_Claim] = field(default_factory=list)

    def add(
        self,
        claim: str,
        values: Values | Mapping[str, Values],
        *,
        above: float = -math.inf,
        below: float = math.inf,
        paper: str = "",
        ours: str = "",
        unit: str = "points",
        signed: bool = True,
    ) -> None:
        """Claim that the mean over seeds of `values`, or of each of several by name, lies between `above` and `below`.

        paper: what it reports, and where (version and table). ours: what to print before the intervals. signed: whether
        positive values show a sign, as differences do.
        """
        several = values if isinstance(values, Mapping) else {"": values}
        tests = [_p_values(np.asarray(v, dtype=float), above, below) for v in several.values()]
        holds = max(inside for inside, _ in tests)
        # Several chances to fail: Bonferroni.
        fails = min(1.0, len(tests) * min(outside for _, outside in tests))
        sizes = {len(v) for v in several.values()}
        shown = "; ".join(f"{name} {interval(v).text(signed)}".strip() for name, v in several.items())
        evidence = f"{shown} {unit}".strip() + f", n = {'/'.join(map(str, sorted(sizes)))}"
        self.found.append(_Claim(claim, paper, f"{ours}; {evidence}" if ours else evidence, holds, fails))

    def fact(self, claim: str, holds: bool, ours: str, paper: str = "") -> None:
        """Claim something that does not vary over seeds: a count, or a measurement that stands for itself."""
        self.found.append(_Claim(claim, paper, ours, *((0.0, 1.0) if holds else (1.0, 0.0))))

    def verdicts(self) -> "Verdicts":
        """Decide all claims."""
        corrected = holm([min(c.holds, c.fails) for c in self.found])
        rows = []
        for c, p in zip(self.found, corrected, strict=True):
            words = ("reproduced", "not reproduced") if c.paper else ("holds", "does not hold")
            word = "inconclusive" if p >= LEVEL else words[c.fails < c.holds]
            certain = {c.holds, c.fails} == {0.0, 1.0}
            rows.append(Verdict(c.claim, c.paper, c.ours if certain else f"{c.ours}, p = {p:.2g}", word))
        return Verdicts(rows)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p-values that hold for all claims together."""
    found, running = [1.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        running = max(running, min(1.0, (len(p) - rank) * p[index]))
        found[index] = running
    return found


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _p_values(values: np.ndarray, above: float, below: float) -> tuple[float, float]:
    """The least levels at which the t-interval lies inside the range, and outside of it."""
    if len(values) < 2:
        return 1.0, 1.0
    mean, error = values.mean(), _error(values)

    def tail(distance: float) -> float:
        """How likely a mean at least so far beyond a bound is, if the truth lies on the bound."""
        if math.isinf(distance) or error == 0:
            return float(distance <= 0)
        return float(stats.t.sf(distance / error, len(values) - 1))

    bounds = [tail(mean - above), tail(below - mean)]
    inside = min(1.0, 2 * max(bounds))
    outside = min(1.0, 2 * (1 - max(bounds)))
    return inside, outside


class Verdicts(list[Verdict]):
    """Verdicts that a notebook displays as one table; as Markdown they go into RESULTS.md, too."""

    COLUMNS = ("claim", "paper", "ours", "verdict")

    def __repr__(self) -> str:
        blocks = (
            f"{v.word.upper()}: {v.claim}\n" + (f"    paper: {v.paper}\n" if v.paper else "") + f"    ours: {v.ours}"
            for v in self
        )
        return "\n".join(blocks)

    def _repr_markdown_(self) -> str:
        rows = (
            f"| {' | '.join(t.replace('|', chr(92) + '|') for t in (v.claim, v.paper or '-', v.ours, v.word))} |"
            for v in self
        )
        return "\n".join([f"| {' | '.join(self.COLUMNS)} |", "|---" * len(self.COLUMNS) + "|", *rows])

    def _repr_html_(self) -> str:
        def cells(texts: Sequence[str], tag: str) -> str:
            return "".join(f'<{tag} style="text-align:left;vertical-align:top">{escape(t)}</{tag}>' for t in texts)

        rows = (f"<tr>{cells((v.claim, v.paper or '-', v.ours, v.word), 'td')}</tr>" for v in self)
        return f"<table><thead><tr>{cells(self.COLUMNS, 'th')}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
