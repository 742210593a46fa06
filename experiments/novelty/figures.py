"""The figures of `21_new_networks`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt

from experiments.novelty.tables import each
from experiments.report.figures import BLACK, GENERATED, GREEN, GREY, ORANGE, ORIGINAL, PURPLE, RED, SKY

MARKS = {
    "ours, midpoints of two": (GENERATED, "o", True),
    "ours, mixtures of two": (GENERATED, "^", False),
    "ours, mixtures of five": (GENERATED, "v", False),
    "ours, one each": (GENERATED, "s", False),
    "ours, midpoints with noise": (GENERATED, "D", False),
    "without behaviour": (RED, "s", True),
    "hypernetwork": (GREEN, "D", True),
    "DeepWeightFlow": (ORANGE, "^", True),
    "noise": (PURPLE, "v", True),
    "mixtures of weights": (SKY, "P", True),
    "mixtures of weights, aligned": (GREY, "X", True),
    "originals": (ORIGINAL, "*", True),
}
"""Colour and marker of each family of methods, and whether it is filled: the same in both figures."""
JUDGED = "ours, midpoints of two"
"""What claims are judged by stands out."""
FARTHEST, FEWEST = 3.0, 0.1
"""Distance (LOO) and errors (percent) at the edges of the figure."""


def accuracy_against_distance(ax: plt.Axes, numbers: dict, families: Mapping[str, Sequence[str]]) -> None:
    """Draw every method's mean accuracy against its distance (LOO), a mark per seed; a line through sizes of noise.

    The distance is the lower of the median plain and aligned ones: mixtures of reordered networks are far from these as
    they stand. families: {a label of `MARKS`: methods}. The originals are a star. The accuracy's scale is logarithmic
    in the error. What lies beyond `FARTHEST` or has fewer errors than `FEWEST` is drawn there.
    """
    for label, methods in families.items():
        colour, marker, filled = MARKS[label]
        points = [_place(numbers, name) for name in methods]
        marks = dict(marker=marker, s=34 if label == JUDGED else 11, edgecolors=colour, linewidths=0.7)
        marks |= {"facecolors": colour if filled else "none", "zorder": 3 if label == JUDGED else 2}
        ax.scatter(*np.concatenate(points, 1), label=label, **marks)
        if label == "noise":
            ax.plot(*np.array([point.mean(1) for point in points]).T, color=colour, linewidth=0.7)
    row = numbers["rows"]["originals"][0]
    ax.scatter(1, 100 - row["accuracy"]["mean"], s=60, marker="*", color=ORIGINAL, zorder=4, label="originals")
    ax.set_yscale("log")
    ax.invert_yaxis()
    ticks = [
        tick for tick in (FEWEST, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 90) if ax.get_ylim()[1] <= tick <= ax.get_ylim()[0]
    ]
    ax.set_yticks(ticks, [f"{'≥ ' if tick == FEWEST else ''}{100 - tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xticks([0, 0.5, 1, 1.5, 2, 2.5, FARTHEST], ["0", "0.5", "1", "1.5", "2", "2.5", f"≥ {FARTHEST:g}"])
    ax.axvline(1, color=BLACK, linewidth=0.6, zorder=1)
    ax.set(xlabel="distance to the nearest original (LOO)", ylabel="test accuracy (%)")


def _place(numbers: dict, name: str) -> np.ndarray:
    """Distances and errors (2, seeds) of a method, as they are drawn."""
    far = np.minimum(each(numbers, name, _lower), FARTHEST)
    wrong = 100 - np.array(each(numbers, name, lambda row: row["accuracy"]["mean"]))
    return np.array([far, np.maximum(wrong, FEWEST)])


def _lower(row: dict) -> float:
    return min(row["distance"]["median"], row["aligned_distance"]["median"])


def ensembles(ax: plt.Axes, numbers: dict, names: Mapping[str, str], measure: str) -> None:
    """Draw accuracy (percent) or loss of mean votes against the number of members; bars reach over the seeds.

    names: {a label of `MARKS`: method}. Marks stand 9 % apart sideways, so that bars do not hide each other.
    """
    for place, (label, name) in enumerate(names.items()):
        colour, marker, filled = MARKS[label]
        sizes = list(numbers["rows"][name][0]["ensembles"])
        values = np.array([each(numbers, name, lambda row, m=m: row["ensembles"][m][measure]) for m in sizes])
        ax.errorbar(
            np.array(sizes, dtype=float) * 1.09 ** (place - (len(names) - 1) / 2),
            values.mean(1),
            np.abs([values.min(1), values.max(1)] - values.mean(1)) if np.ptp(values, 1).any() else None,
            color=colour,
            marker=marker,
            markersize=6 if marker == "*" else 3.5,
            markerfacecolor=colour if filled else "white",
            linestyle="-" if filled else "--",
            elinewidth=0.7,
            linewidth=1,
            capsize=1.5,
            label=label,
        )
    ax.set_xscale("log")
    ax.set_xticks(list(map(int, sizes)), sizes)
    ax.minorticks_off()
    ax.set(xlabel="members of the ensemble")
