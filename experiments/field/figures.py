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
        # The first name lies on top.
        above = 2 + (len(names) - k if own else 0)
        ax.scatter(far, mean, color=colour, marker=marker, s=18 if own else 10, linewidths=0, label=name, zorder=above)
    ax.axhline(zoo["rows"][OWN]["originals"][0]["accuracy"]["mean"], color=BLACK, linewidth=0.6, zorder=1)
    ax.axvline(1, color=BLACK, linewidth=0.6, zorder=1)
    ax.set_xscale("log")
    ax.set_xlim(NEAREST / 1.3, FARTHEST * 1.3)
    ax.set_xticks([0.03, 0.1, 1, 10, 100, 1000], ["≤ .03", "", "1", "10", "100", "≥ 1,000"])
    ax.minorticks_off()


def curves(axes: Sequence[plt.Axes], zoo: Mapping, names: Sequence[str]) -> None:
    """Draw how the loss of each stage of a method's training fell, of its first seed, at its own length.

    The panel of a method that could not be fitted stays empty.
    """
    for ax, name in zip(axes, names, strict=True):
        ax.set(xlabel="training (%)", title=name)
        if name not in zoo["cost"][OWN]:
            continue
        stages = list(zoo["cost"][OWN][name]["loss"].items())
        for k, (stage, losses) in enumerate(stages):
            ax.plot(np.linspace(0, 100, len(losses)), losses, color=COLOURS[k], label=stage)
        drawn = [loss for _, losses in stages for loss in losses]
        if min(drawn) > 0:
            ax.set_yscale("log")
            # Whole decades, so that each axis has two labels at least.
            ax.set_ylim(10 ** np.floor(np.log10(min(drawn))), 10 ** np.ceil(np.log10(max(drawn))))
        else:  # a likelihood's
            ax.set_yscale("symlog", linthresh=1, subs=None)
            ax.set_yticks([-1000, 0, 1000])
        ax.minorticks_off()
        ax.legend(fontsize=6)
