"""The figures of `26_adapters`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt

from experiments.adapters import jobs
from experiments.report import figures
from experiments.report.figures import GREY, RED

COLOURS = {
    jobs.ORIGINALS: figures.ORIGINAL,
    "trained on it": figures.ORIGINAL,
    jobs.GENERATED: figures.GENERATED,
}
"""What is trained, what is generated; all else is grey, and told apart by its row."""


def families(axes: Sequence[plt.Axes], numbers: Mapping) -> None:
    """Draw a panel per family: in a row per group the accuracy (percent) of each adapter, and their mean as a bar.

    First the base model, of which there is one.
    """
    for ax, (name, found) in zip(axes, numbers["families"].items(), strict=True):
        groups = {group: row["accuracies"] for group, row in found["groups"].items()}
        _rows(ax, {"base model": [numbers["base"]["accuracy"][name]]} | groups)
        ax.set(title=name, xlabel="accuracy (%)", xlim=(15, 105), xticks=(20, 60, 100))


def combinations(ax: plt.Axes, numbers: Mapping) -> None:
    """Draw each method's accuracy (percent) on every combination that no adapter served, and their mean as a bar."""
    _rows(ax, numbers["combinations"]["accuracies"])
    ax.set_xlabel("accuracy, mean of the families of a combination (%)")


def _rows(ax: plt.Axes, groups: Mapping[str, Sequence[float]]) -> None:
    for row, (name, values) in enumerate(groups.items()):
        values = np.asarray(values)
        heights, colour = row + figures.spread(values), COLOURS.get(name, GREY)
        ax.scatter(values, heights, s=6, color=colour, alpha=0.6, linewidths=0, zorder=3)
        ax.plot([values.mean()] * 2, [row - 0.4, row + 0.4], color=RED, linewidth=1.2, solid_capstyle="butt")
    ax.set_yticks(range(len(groups)), groups)
    ax.set_ylim(len(groups) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
