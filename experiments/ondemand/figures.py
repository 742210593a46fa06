"""The figures of `22_networks_on_demand`."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib import pyplot as plt

from experiments.ondemand.family import background_of, taken
from experiments.ondemand.tables import each
from experiments.report.figures import BLACK, COLOURS, GREY
from rpglib.zoo.images import Split

MARKERS = "osD^vPX*"


def circumstances(axes: Sequence[plt.Axes], split: Split, rows: Sequence[Sequence[float]], image: int = 0) -> None:
    """Draw one image as it is taken under each of the rows."""
    generator = torch.Generator().manual_seed(0)
    for ax, row in zip(axes, rows, strict=True):
        one = taken(split.images[None, image : image + 1], torch.tensor([row]), background_of(split), generator)
        ax.imshow(-one[0, 0, 0], cmap="gray")
        ax.set_title(f"{row[0]:g}°, {row[1]:g} px, {row[2]:g}", fontsize="small")
        ax.set_axis_off()


def over_zoo(ax: plt.Axes, numbers: dict, sizes: Sequence[int], names: Sequence[str], lines: Mapping[str, str]) -> None:
    """Draw accuracy on held-out rows against the size of the zoo, and as lines what does not depend on it.

    names: of the methods with a size; lines: {label: method}.
    """
    for place, name in enumerate(names):
        values = np.array([each(numbers, f"{name} @ {size}") for size in sizes])
        colour = COLOURS[place % len(COLOURS)]
        ax.plot(sizes, values.mean(1), color=colour, marker=MARKERS[place % len(MARKERS)], markersize=3.5, label=name)
        ax.fill_between(sizes, values.min(1), values.max(1), color=colour, alpha=0.15, linewidth=0)
    for style, (label, name) in zip(("-", "--", ":", "-."), lines.items(), strict=False):
        ax.axhline(np.mean(each(numbers, name)), color=BLACK, linewidth=0.9, linestyle=style, label=label)
    ax.set_xscale("log")
    ax.set_xticks(list(sizes), [str(size) for size in sizes])
    ax.minorticks_off()
    ax.set(xlabel="networks of the zoo", ylabel="accuracy, held out (%)")


def accuracy_against_seconds(ax: plt.Axes, numbers: dict, names: Sequence[str]) -> None:
    """Draw accuracy on held-out rows against the seconds that each further network costs; a marker per method."""
    for place, name in enumerate(names):
        seconds = numbers["cost"][name]["network"]["mean"]
        colour = COLOURS[place] if place < len(COLOURS) else GREY
        style = {"s": 26, "color": colour, "marker": MARKERS[place % len(MARKERS)]}
        ax.scatter(seconds, np.mean(each(numbers, name)), label=name.partition(" @ ")[0], **style)
    ax.set_xscale("log")
    ax.set(xlabel="seconds of one core for a network", ylabel="accuracy, held out (%)")
