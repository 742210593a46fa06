"""The figures of `24_baselines`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt

from experiments.field.study import OWN
from experiments.field.tables import each, lower
from experiments.report.figures import BLACK, COLOURS, GREY

MARKERS = "osD^vP*X<"
FARTHEST, NEAREST = 1000.0, 0.03
"""Distances (LOO) at the edges of the figure."""


def accuracy_against_distance(ax: plt.Axes, zoo: Mapping, names: Sequence[str], others: Sequence[str]) -> None:
    """Draw every method's mean accuracy against its median distance (LOO), a mark per seed; `others` are grey.

    A name that the zoo lacks keeps its mark, so that panels of several zoos agree. The distance is the lower of plain
    and aligned, on a logarithmic scale; the originals' accuracy is a line, their distance 1.
    """
    for place, name in enumerate((*others, *names)):
        if name not in zoo["rows"][OWN]:
            continue
        own = place >= len(others)
        k = place - len(others)
        # NaN, which is not drawn, where a method could not be fitted.
        far = np.clip(np.array(each(zoo, OWN, name, lower), dtype=float), NEAREST, FARTHEST)
        mean = np.array(each(zoo, OWN, name, lambda row: row["accuracy"]["mean"]), dtype=float)
        colour = COLOURS[k % len(COLOURS)] if own else GREY
        marker = MARKERS[k % len(MARKERS)] if own else MARKERS[place % len(MARKERS)]
        ax.scatter(far, mean, color=colour, marker=marker, s=18 if own else 10, linewidths=0, label=name)
    ax.axhline(zoo["rows"][OWN]["originals"][0]["accuracy"]["mean"], color=BLACK, linewidth=0.6, zorder=1)
    ax.axvline(1, color=BLACK, linewidth=0.6, zorder=1)
    ax.set_xscale("log")
    ax.set_xlim(NEAREST / 1.3, FARTHEST * 1.3)
    ax.set_xticks([0.03, 0.1, 1, 10, 100, 1000], ["≤ .03", "0.1", "1", "10", "100", "≥ 1,000"])
    ax.minorticks_off()


def curves(axes: Sequence[plt.Axes], zoo: Mapping, names: Sequence[str]) -> None:
    """Draw how the loss of each stage of a method's training fell, of its first seed, at its own length."""
    for ax, name in zip(axes, names, strict=True):
        for k, (stage, losses) in enumerate(zoo["cost"][OWN][name]["loss"].items()):
            ax.plot(np.linspace(0, 100, len(losses)), losses, color=COLOURS[k], label=stage)
        ax.set(xlabel="training (%)", title=name)
        # A likelihood's loss falls below zero.
        ax.set_yscale("symlog", linthresh=0.01)
        ax.minorticks_off()
        ax.legend(fontsize=6)
