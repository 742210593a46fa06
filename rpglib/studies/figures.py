"""What the notebooks on ablations draw."""

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt

from rpglib.figures import BLACK, COLOURS
from rpglib.studies.verdicts import accuracies


def variants(ax: plt.Axes, numbers: dict, names: Sequence[str] | None = None, labels: Sequence[str] = ()) -> None:
    """Draw accuracy by variant: a dot per generated network, one column of dots per seed, a bar at each seed's mean.

    Hollow diamonds are the originals' means.
    """
    names = list(numbers["variants"]) if names is None else list(names)
    for place, name in enumerate(names):
        cells = numbers["variants"][name]["cells"]
        offsets = (np.arange(len(cells)) - (len(cells) - 1) / 2) * 0.22
        for offset, cell in zip(offsets, cells, strict=True):
            values = cell["generated"]["accuracies"]
            ax.scatter(np.full(len(values), place + offset), values, s=7, alpha=0.5, linewidths=0, color=COLOURS[0])
            middle = cell["generated"]["mean"]
            ax.hlines(middle, place + offset - 0.08, place + offset + 0.08, color=COLOURS[1], linewidth=1.4, zorder=3)
        ax.scatter(
            place + offsets,
            accuracies(numbers, name, "original"),
            s=14,
            marker="D",
            facecolors="none",
            edgecolors=BLACK,
            linewidths=0.7,
            zorder=4,
        )
    ax.set_xticks(range(len(names)), labels or names)
    ax.set(xlim=(-0.5, len(names) - 0.5), ylabel="test accuracy (%)")
    ax.grid(axis="x", visible=False)
    ax.tick_params(axis="x", length=0)


def legend_of_variants(figure: plt.Figure) -> None:
    """Say once, below all panels, what `variants` draws."""
    dot = {"linestyle": "", "color": COLOURS[0], "alpha": 0.6}
    hollow = {"linestyle": "", "color": BLACK, "fillstyle": "none"}
    handles = [
        plt.Line2D([], [], marker="o", markersize=3, label="generated network", **dot),
        plt.Line2D([], [], color=COLOURS[1], linewidth=1.4, label="mean of a seed"),
        plt.Line2D([], [], marker="D", markersize=4, label="originals' mean", **hollow),
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, columnspacing=1, handlelength=1.2, handletextpad=0.4
    )
