"""19: whether generation and training cost as little as promised, and whether the cost grows as it should."""

import math
import statistics
from collections.abc import Callable, Sequence

from experiments.sweeps.findings import Verdict, mean

GENERATION, TRAINING = 5.0, 3.0
"""How many times faster than the plain path generation and training steps are to be on a CPU."""
SAME = 0.1
"""Points of mean accuracy by which networks of the two paths may differ."""
FEW, FEW_MARGIN = 20, 0.3
"""So many sampling steps are to come within so many points of DDPM with all steps."""
EXPONENT = 1.05
FLAT, FLAT_FROM = 0.1, 1_000_000
"""Memory beyond the output is flat where its exponent, over networks of so many values and more, is at most this."""


def cost(numbers: dict) -> list[Verdict]:
    """Every promise with the numbers that keep or break it; ratios are those of medians over rounds."""
    ratios = {name: ratio(row["plain"], row["ours"]) for name, row in numbers["speed"].items()}
    apart = {name: accuracy_difference(row) for name, row in numbers["speed"].items()}
    training = {row["name"]: ratio(row["plain"], row["ours"]) for row in numbers.get("plain", ())}
    rows = numbers["growth"]
    large = [row for row in rows if row["parameters"] >= FLAT_FROM]
    exponents = {
        "time": exponent(rows, lambda row: statistics.median(row["seconds"])),
        "memory, output included": exponent(rows, lambda row: row["output"] + row["beyond"]),
    }
    return [
        Verdict(
            f"generation is at least {GENERATION:.0f} times faster than the plain path",
            "",
            _kept(r >= GENERATION for r in ratios.values()),
            _list(ratios, "{:.1f} times"),
        ),
        Verdict(
            f"networks of both paths have the same accuracy, to {SAME} points",
            "",
            _kept(abs(d) <= SAME for d in apart.values()),
            _list(apart, "{:+.2f}"),
        ),
        *_few_steps(numbers["samplers"]),
        Verdict(
            f"a training step is at least {TRAINING:.0f} times faster than the plain path",
            "",
            _kept(r >= TRAINING for r in training.values()),
            _list(training, "{:.1f} times"),
        ),
        Verdict(
            f"cost grows with an exponent of at most {EXPONENT} in the number of generated parameters",
            "",
            _kept(e <= EXPONENT for e in exponents.values()),
            _list(exponents, "{:.3f}"),
        ),
        _flat(large),
    ]


def ratio(off: Sequence[float], on: Sequence[float]) -> float:
    """How many times the first takes of the second: medians over rounds."""
    return statistics.median(off) / statistics.median(on)


def accuracy_difference(row: dict) -> float:
    """Points by which our networks are better than those of the plain path, in the mean."""
    return row["accuracy"]["ours"]["mean"] - row["accuracy"]["plain"]["mean"]


def exponent(rows: Sequence[dict], value: Callable[[dict], float]) -> float:
    """The slope of log(cost) against log(parameters) by least squares."""
    x, y = ([math.log(f(row)) for row in rows] for f in (lambda row: row["parameters"], value))
    return statistics.linear_regression(x, y).slope


def _few_steps(samplers: dict) -> list[Verdict]:
    """One verdict for each sampler that was measured with `FEW` steps."""
    found = []
    means = {name: {(r["sampler"], r["steps"]): r["accuracy"]["mean"] for r in rows} for name, rows in samplers.items()}
    whole = max((steps for rows in means.values() for sampler, steps in rows if sampler == "ddpm"), default=0)
    for sampler in dict.fromkeys(r["sampler"] for rows in samplers.values() for r in rows if r["steps"] == FEW):
        gaps = {name: rows[sampler, FEW] - rows["ddpm", whole] for name, rows in means.items()}
        found.append(
            Verdict(
                f"{FEW} steps of {sampler} are within {FEW_MARGIN} points of {whole:,} of ddpm, or better",
                "",
                _kept(gap >= -FEW_MARGIN for gap in gaps.values()),
                _list(gaps, "{:+.2f}"),
            )
        )
    return found


def _flat(rows: Sequence[dict]) -> Verdict:
    claim = f"memory beyond the output does not grow (exponent at most {FLAT} from {FLAT_FROM:,} parameters on)"
    if len(rows) < 2:
        return Verdict(claim, "", "not measured", "no network of that size")
    # At least a megabyte: what a process holds is counted in pages, and now and then in none.
    slope = exponent(rows, lambda row: max(row["beyond"], 1e6))
    megabytes = [row["beyond"] / 1e6 for row in rows]
    evidence = (
        f"exponent {slope:+.3f}; {min(megabytes):.0f} to {max(megabytes):.0f} MB, {mean(megabytes):.0f} in the mean"
    )
    return Verdict(claim, "", _kept([slope <= FLAT]), evidence)


def _kept(held) -> str:
    held = list(held)
    if not held:
        return "not measured"
    return "kept" if all(held) else f"kept in {sum(held)} of {len(held)}" if any(held) else "missed"


def _list(values: dict[str, float], form: str) -> str:
    return ", ".join(f"{name} {form.format(value)}" for name, value in values.items())
