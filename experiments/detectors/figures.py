"""The figure of `28_detectors`."""

import statistics
from collections.abc import Mapping

import numpy as np
from matplotlib import pyplot as plt

from experiments.detectors.jobs import AP, ONE
from experiments.detectors.settings import GENERATED, SCRATCH, SHARED
from experiments.detectors.tables import TRAINED, methods, tuned
from experiments.report import figures
from experiments.report.figures import GREEN, GREY, ORANGE, RED, spread

LOOKS = {
    GENERATED: (figures.GENERATED, "o", "-"),
    SHARED: (ORANGE, "s", "--"),
    SCRATCH: (GREEN, "^", ":"),
}
"""By start of fine-tuning: colour, marker, line."""
COLOURS = {GENERATED: figures.GENERATED, SHARED: ORANGE, TRAINED: figures.ORIGINAL}
MEASURES = {AP: (-0.18, "o", "full"), ONE: (0.18, "s", "none")}
"""By measure: offset, marker and its filling."""


def curves(ax: plt.Axes, numbers: Mapping) -> None:
    """Draw mAP50-95 (percent) against epochs of fine-tuning by start, and its range over the unseen selections."""
    for start, (colour, marker, line) in LOOKS.items():
        epochs = numbers["tuned"][start]["epochs"]
        found = [tuned(numbers, start, epoch) for epoch in epochs]
        means, look = [statistics.fmean(x) for x in found], {"color": colour, "marker": marker, "linestyle": line}
        ax.plot(epochs, means, markersize=4, label=start, **look)
        ax.fill_between(epochs, [min(x) for x in found], [max(x) for x in found], color=colour, alpha=0.15, linewidth=0)
    ax.set_xticks(epochs)
    ax.set(xlabel="epochs of fine-tuning", ylabel="mAP50-95 (%)")
    ax.legend(loc="center right")


def beside(ax: plt.Axes, numbers: Mapping) -> None:
    """Draw both measures (percent) of every method on each unseen selection, and their means as bars."""
    for measure, (shift, marker, filling) in MEASURES.items():
        found = methods(numbers, measure)
        for place, (name, values) in enumerate(found.items()):
            own, colour = np.asarray(values), COLOURS.get(name, GREY)
            across = place + shift + 0.6 * spread(own)
            look = {"color": colour, "marker": marker, "fillstyle": filling, "markeredgewidth": 0.5}
            ax.plot(across, own, linestyle="", markersize=2.5, **look)
            ax.hlines(own.mean(), place + shift - 0.16, place + shift + 0.16, color=RED, linewidth=1.4, zorder=3)
        ax.plot([], [], linestyle="", color=GREY, marker=marker, fillstyle=filling, markersize=4, label=measure)
    ax.set_xticks(range(len(found)), list(found), rotation=35, ha="right")
    ax.set_ylabel("AP (%)")
    ax.legend(loc="lower left")
