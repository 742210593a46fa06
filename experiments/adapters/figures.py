"""The figures of `26_adapters`."""

from collections.abc import Mapping

import numpy as np
from matplotlib import pyplot as plt

from experiments.adapters.jobs import GENERATED, ORIGINALS
from experiments.report.figures import BLACK, BLUE, COLOURS, GREY


def families(ax: plt.Axes, numbers: Mapping) -> None:
    """Draw the accuracy of every original and generated adapter by family, other groups as a mark at their mean."""
    for place, (name, found) in enumerate(numbers["families"].items()):
        for k, (group, row) in enumerate(found["groups"].items()):
            label = group if place == 0 else None
            if group in (ORIGINALS, GENERATED):
                x = place + (-0.15 if group == ORIGINALS else 0.15) + np.linspace(-0.08, 0.08, len(row["accuracies"]))
                ax.scatter(
                    x, row["accuracies"], s=8, color=BLACK if group == ORIGINALS else BLUE, label=label, linewidths=0
                )
            else:
                again, colour = divmod(k - 2, len(COLOURS) - 1)
                marker = "x" if again else "_"  # where colours are used up
                ax.scatter(place + 0.34, row["mean"], s=14, marker=marker, color=COLOURS[1 + colour], label=label)
        ax.scatter(
            place - 0.34,
            numbers["base"]["accuracy"][name],
            s=14,
            marker="_",
            color=GREY,
            label=None if place else "base",
        )
    ax.set_xticks(range(len(numbers["families"])), [name.replace(" ", "\n", 1) for name in numbers["families"]])
    ax.set_ylabel("test accuracy (%)")


def combinations(ax: plt.Axes, numbers: Mapping) -> None:
    """Draw each method's accuracy on every combination that no adapter served, and its mean."""
    for place, (_, values) in enumerate(found := numbers["combinations"]["accuracies"].items()):
        ax.scatter(np.full(len(values), place), values, s=8, color=BLUE if place == 0 else GREY, linewidths=0)
        ax.scatter(place, np.mean(values), s=40, marker="_", color=BLACK)
    ax.set_xticks(range(len(found)), [name for name, _ in found], rotation=30, ha="right")
    ax.set_ylabel("test accuracy (%)")
