"""The figures of `25_igpg`."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt

from experiments.report.figures import BLACK, COLOURS, GREY

MARKERS = "osD^vP"


def along_sequence(ax: plt.Axes, numbers: dict, names: Iterable[str], measure: str) -> None:
    """Draw an error against the place in the sequence (percent), by architecture; mean and range of seeds."""
    for colour, marker, name in zip(COLOURS, MARKERS, names, strict=False):
        one = numbers["architectures"][name]
        values = np.array([row["sequence"][measure] for row in one["rows"]])
        places = (np.arange(values.shape[1]) + 0.5) * 100 / values.shape[1]
        ax.plot(places, values.mean(0), color=colour, marker=marker, markersize=3, linewidth=1, label=one["name"])
        ax.fill_between(places, values.min(0), values.max(0), color=colour, alpha=0.12, linewidth=0)
    ax.set(xlabel="place in the sequence (%)")


def tuning(ax: plt.Axes, numbers: dict, name: str, epochs: Sequence[int], starts: Mapping[str, str]) -> None:
    """Draw test accuracy against epochs of training, from {label: start}: mean and range of seeds."""
    one = numbers["architectures"][name]
    for place, (label, start) in enumerate(starts.items()):
        if start not in one["tuning"][0]:
            continue
        values = np.array([[x["mean"] for x in curve[start]] for curve in one["tuning"]])
        colour = COLOURS[place] if place < len(COLOURS) else GREY
        places = range(len(epochs))
        ax.plot(places, values.mean(0), color=colour, marker=MARKERS[place], markersize=3.5, label=label)
        ax.fill_between(places, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
    ax.axhline(one["originals"]["mean"], color=BLACK, linewidth=0.8, linestyle="--", label="originals")
    ax.set_xticks(range(len(epochs)), [str(epoch) for epoch in epochs])
    ax.set_ylim(0, 102)
    ax.set(xlabel="epochs of training", ylabel="test accuracy (%)", title=one["name"])
