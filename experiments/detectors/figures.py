"""The figure of `28_detectors`."""

import statistics
from collections.abc import Mapping

import numpy as np
from matplotlib import pyplot as plt

from experiments.detectors.jobs import AP, ONE
from experiments.detectors.settings import GENERATED, SCRATCH, SHARED
from experiments.detectors.tables import methods, tuned
from experiments.report.figures import BLACK, BLUE, GREY


def curves(ax: plt.Axes, numbers: Mapping) -> None:
    """Draw mAP50-95 (percent) against epochs of fine-tuning by start, and its range over the unseen selections."""
    for start, colour in ((GENERATED, BLUE), (SHARED, BLACK), (SCRATCH, GREY)):
        epochs = numbers["tuned"][start]["epochs"]
        found = [tuned(numbers, start, epoch) for epoch in epochs]
        ax.plot(epochs, [statistics.fmean(x) for x in found], color=colour, marker="o", markersize=3, label=start)
        ax.fill_between(epochs, [min(x) for x in found], [max(x) for x in found], color=colour, alpha=0.15, linewidth=0)
    ax.set_xticks(epochs)
    ax.set_xlabel("epochs of fine-tuning")
    ax.set_ylabel("mAP50-95 (%)")


def beside(ax: plt.Axes, numbers: Mapping) -> None:
    """Draw both measures (percent) of every method on each unseen selection, and their means."""
    for shift, measure, colour in ((-0.15, AP, BLUE), (0.15, ONE, GREY)):
        found = methods(numbers, measure)
        for place, (_, own) in enumerate(found.items()):
            label = measure if place == 0 else None
            ax.scatter(np.full(len(own), place + shift), own, s=6, color=colour, linewidths=0, label=label)
            ax.scatter(place + shift, np.mean(own), s=36, marker="_", color=BLACK)
    ax.set_xticks(range(len(found)), list(found), rotation=35, ha="right")
    ax.set_ylabel("test measure (%)")
