"""The figures of `24_baselines`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt

from experiments.field.study import OWN
from experiments.report.figures import BLACK, COLOURS, GREY

MARKERS = "osD^vP*X<"
FARTHEST, NEAREST = 1000.0, 0.03
"""Distances (LOO) at the edges of the figure."""
EVEN = 0.1
"""Points of accuracy up to which the axis is linear, for what is about as good as the originals or better."""

Points = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""By method the distances (LOO) and accuracies (percent) of its seeds."""


def below_originals(ax: plt.Axes, originals: float, methods: Points, others: Points) -> None:
    """Draw by how many points methods stay below the originals, against their distances (LOO); a mark per seed.

    Both axes are logarithmic, that of accuracy linear near zero: there the good ones are, and would lie on one another.
    originals: their accuracy (percent). The first method lies on top; `others` are small and grey.
    """
    for place, (name, points) in enumerate(others.items()):
        _mark(ax, originals, points, marker=MARKERS[place], color=GREY, s=8, linewidths=0.5, label=name, zorder=2)
    for place, (name, points) in enumerate(methods.items()):
        colour = COLOURS[place % len(COLOURS)]
        # Where colours come again, marks are hollow.
        faces = {"facecolors": colour if place < len(COLOURS) else "none", "edgecolors": colour}
        above = 3 + len(methods) - place
        _mark(ax, originals, points, marker=MARKERS[place], s=20, linewidths=0.9, label=name, zorder=above, **faces)
    ax.axhline(0, color=BLACK, linewidth=0.6, zorder=1)
    ax.axvline(1, color=BLACK, linewidth=0.6, zorder=1)
    ax.set_xscale("log")
    ax.set_xlim(NEAREST / 1.3, FARTHEST * 1.3)
    ax.set_xticks([0.03, 0.1, 1, 10, 100, 1000], ["≤ .03", "0.1", "1", "10", "100", "≥ 1,000"])
    ax.set_yscale("symlog", linthresh=EVEN)
    ax.set_ylim(100, -1.5)
    ax.set_yticks([-1, -EVEN, 0, EVEN, 1, 10, 100], ["−1", "−0.1", "0", "0.1", "1", "10", "100"])
    ax.minorticks_off()


def _mark(ax: plt.Axes, originals: float, points: tuple[Sequence[float], Sequence[float]], **looks) -> None:
    # NaN, which is not drawn, where a method could not be fitted.
    far, accuracy = (np.array(values, dtype=float) for values in points)
    ax.scatter(np.clip(far, NEAREST, FARTHEST), originals - accuracy, **looks)


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
