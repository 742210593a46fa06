"""The figures of `21_new_networks`."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt

from experiments.novelty.tables import each
from experiments.report.figures import COLOURS, GENERATED, GREY, ORIGINAL

MARKERS = "osD^vPX<"
FARTHEST, FEWEST = 3.0, 0.1
"""Distance (LOO) and errors (percent) at the edges of the figure."""


def accuracy_against_distance(ax: plt.Axes, numbers: dict, families: Mapping[str, Sequence[str]]) -> None:
    """Draw every method's mean accuracy against its distance (LOO), a mark per seed and a marker per family.

    The distance is the lower of the median plain and aligned ones: mixtures of reordered networks are far from these as
    they stand. families: {label: methods}, the first one ours, of which the first method is drawn larger; one that is
    called by it and a comma is drawn hollow, in its colour. A line joins amounts of noise. The originals are a star.
    The accuracy's scale is logarithmic in the error. What lies beyond `FARTHEST` or has fewer errors than `FEWEST` is
    drawn there.
    """
    first, own = next(iter(families)), itertools.count()
    for label, methods in families.items():
        hollow = label.startswith(f"{first},")
        place = 0 if hollow else next(own)
        ours = place == 0
        colour = COLOURS[place] if place < len(COLOURS) else GREY
        points = [_place(numbers, name) for name in methods]
        marks = dict(edgecolors=colour, marker=MARKERS[place % len(MARKERS)])
        marks |= {"facecolors": "none", "linewidths": 0.8} if hollow else {"facecolors": colour, "linewidths": 0.4}
        for k, point in enumerate(points):
            size = (34 if k == 0 else 8) if ours else 12
            ax.scatter(*point, s=size, label=None if k else label, zorder=3 if ours else 2, **marks)
        if label == "noise":
            ax.plot(*np.array(sorted(point.mean(1).tolist() for point in points)).T, color=colour, linewidth=0.7)
    row = numbers["rows"]["originals"][0]
    ax.scatter(1, 100 - row["accuracy"]["mean"], s=60, marker="*", color=ORIGINAL, zorder=4, label="originals")
    ax.set_yscale("log")
    ax.invert_yaxis()
    ticks = [
        tick for tick in (FEWEST, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 90) if ax.get_ylim()[1] <= tick <= ax.get_ylim()[0]
    ]
    ax.set_yticks(ticks, [f"≥ {100 - tick:g}" if tick == FEWEST else f"{100 - tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xticks([0, 0.5, 1, 1.5, 2, 2.5, FARTHEST], ["0", "0.5", "1", "1.5", "2", "2.5", f"≥ {FARTHEST:g}"])
    ax.axvline(1, color=GREY, linewidth=0.6, zorder=1)
    ax.set(xlabel="distance to the nearest original (LOO)", ylabel="test accuracy (%)")


def _place(numbers: dict, name: str) -> np.ndarray:
    """Distances and errors (2, seeds) of a method, as they are drawn."""
    far = np.minimum(each(numbers, name, _lower), FARTHEST)
    wrong = 100 - np.array(each(numbers, name, lambda row: row["accuracy"]["mean"]))
    return np.array([far, np.maximum(wrong, FEWEST)])


def _lower(row: dict) -> float:
    return min(row["distance"]["median"], row["aligned_distance"]["median"])


def ensembles(ax: plt.Axes, numbers: dict, names: Mapping[str, str], measure: str) -> None:
    """Draw the accuracy (percent) or loss of mean votes against the number of members, from {label: method}.

    Bars reach from the worst seed to the best; methods stand side by side.
    """
    principal = {"originals": ORIGINAL, "ours": GENERATED}
    for place, (label, name) in enumerate(names.items()):
        sizes = list(numbers["rows"][name][0]["ensembles"])
        values = np.array([each(numbers, name, lambda row, m=m: row["ensembles"][m][measure]) for m in sizes])
        means = values.mean(1)
        ax.errorbar(
            np.array(list(map(int, sizes))) * 1.04 ** (place - (len(names) - 1) / 2),
            means,
            [means - values.min(1), values.max(1) - means],
            color=principal.get(label, COLOURS[place % len(COLOURS)]),
            marker=MARKERS[place],
            markersize=3.5,
            linewidth=1,
            elinewidth=0.8,
            capsize=1.5,
            label=label,
        )
    ax.set_xscale("log")
    ax.set_xticks(list(map(int, sizes)), sizes)
    ax.minorticks_off()
    ax.set(xlabel="members of the ensemble")
