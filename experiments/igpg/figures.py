"""The figures of `25_igpg`."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib import pyplot as plt

from experiments.igpg.jobs import ANONYMOUS, BLOCK_LESS, GENERATED, SCRATCH
from experiments.report.figures import BLACK, BLUE, GREEN, RED, SKY

STARTS = {
    GENERATED: (BLUE, "o", "-"),
    ANONYMOUS: (SKY, "D", "-."),
    BLOCK_LESS: (GREEN, "^", ":"),
    SCRATCH: (RED, "s", "--"),
}
"""How each start of a training is drawn."""


def along_sequence(axes: Sequence[plt.Axes], numbers: dict, names: Iterable[str], measure: str) -> None:
    """Draw an error of the prior against the place in the sequence (percent), a panel for each architecture.

    The line is the mean over seeds, the band their range.
    """
    for ax, name in zip(axes, names, strict=True):
        values = np.array([row["sequence"][measure] for row in numbers["architectures"][name]["rows"]])
        places = (np.arange(values.shape[1]) + 0.5) * 100 / values.shape[1]
        ax.plot(places, values.mean(0), color=BLUE, marker="o", markersize=2)
        ax.fill_between(places, values.min(0), values.max(0), color=BLUE, alpha=0.15, linewidth=0)
        ax.set(xlim=(0, 100), xticks=(0, 50, 100))


def tuning(ax: plt.Axes, numbers: dict, name: str, epochs: Sequence[int]) -> None:
    """Draw test accuracy against epochs of training, by start: means over seeds, and their range as a band.

    Epochs stand at equal distances. The black line is the originals' mean.
    """
    one = numbers["architectures"][name]
    places = range(len(epochs))
    for place, (start, (colour, marker, line)) in enumerate(STARTS.items()):
        if start not in one["tuning"][0]:
            continue
        values = np.array([[x["mean"] for x in curve[start]] for curve in one["tuning"]])
        # The first lies on top, and is the smallest.
        look = {"color": colour, "marker": marker, "markersize": 3 + 0.4 * place, "zorder": 3 - 0.1 * place}
        ax.plot(places, values.mean(0), line, label=start, **look)
        ax.fill_between(places, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
    ax.axhline(one["originals"]["mean"], color=BLACK, linewidth=0.8, zorder=1, label="originals")
    ax.set_xticks(places, [str(epoch) for epoch in epochs])
    ax.set(xlabel="epochs of training", ylim=(0, 102), title=one["name"])
