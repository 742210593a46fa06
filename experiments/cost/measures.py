"""What is said of measured costs: how many times faster, how much more accurate, and how a cost grows."""

import math
import statistics
from collections.abc import Callable, Sequence

import numpy as np


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
