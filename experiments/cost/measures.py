"""What is said of measured costs: how many times faster, how much more accurate, and how a cost grows."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np

MARGIN = 0.5
"""Within so many points (percent) of the originals' mean accuracy a generator has come to it."""


def ratio(off: Sequence[float], on: Sequence[float]) -> float:
    """How many times the first takes of the second: medians over rounds."""
    return statistics.median(off) / statistics.median(on)


def ratios(off: Sequence[float], on: Sequence[float]) -> np.ndarray:
    """How many times the first takes of the second in each round (both work in turn), one value per round."""
    return np.array(off) / np.array(on)


def exponent(rows: Sequence[dict], value: Callable[[dict], float]) -> float:
    """The slope of log(cost) against log(parameters) by least squares."""
    x, y = ([math.log(f(row)) for row in rows] for f in (lambda row: row["parameters"], value))
    return statistics.linear_regression(x, y).slope


def step_seconds(course: Mapping) -> float:
    """Seconds of a training step, in the mean over all that were made."""
    last = course["points"][-1]
    return last["seconds"] / last["step"]


def reached(points: Sequence[dict], original: float) -> dict | None:
    """The evaluation from which on no mean accuracy lies more than `MARGIN` points below the originals'.

    None where the last one does.
    """
    found = None
    for point in reversed(points):
        if point["mean"] < original - MARGIN:
            break
        found = point
    return found


def speed(zoo: Mapping, unit: str = "seconds") -> tuple[float, bool] | None:
    """Seconds (or "step") until the originals' accuracy is `reached`, the paper's recipe over ours, and whether exact.

    Where the paper's did not reach it, all of its time counts, and the ratio is a lower bound; None where ours did not.
    """
    paper, ours = (reached(zoo[name]["points"], zoo["original"]["mean"]) for name in ("paper", "ours"))
    if ours is None:
        return None
    return (paper or zoo["paper"]["points"][-1])[unit] / ours[unit], paper is not None
