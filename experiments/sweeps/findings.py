"""What a sweep's numbers say, seed by seed."""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from rpglib.analysis.accuracy import summarise


def accuracies(numbers: dict, variant: str, group: str = "generated") -> np.ndarray:
    """Mean accuracy in percent of every seed's networks; group: "generated" or "original"."""
    return np.array([cell[group]["mean"] for cell in numbers["variants"][variant]["cells"]], dtype=float)


def mean(values: Sequence[float]) -> float:
    """The mean over seeds."""
    return float(statistics.fmean(values))


def gap(numbers: dict, variant: str) -> np.ndarray:
    """By seed, how much better (points) a variant's generated networks are than its originals."""
    return accuracies(numbers, variant) - accuracies(numbers, variant, "original")


def standard_error(values: np.ndarray) -> float:
    """The standard error of a mean over seeds; 0 for a single one."""
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0


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


def by_seed(values: Sequence[float]) -> dict:
    """What a record keeps of a measurement with one value per seed: their summary, and the values themselves."""
    return summarise(values) | {"values": list(values)}


def seed_values(entry: dict) -> np.ndarray:
    """The values (seeds,) of a record's entry that `by_seed` made."""
    return np.array(entry["values"], dtype=float)
