"""Figures of a zoo: how alike its checkpoints are, what varies in them, and where generated networks lie."""

import itertools

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from experiments.own.measures import CHECKPOINTS, GENERATED
from experiments.report.figures import BLUE, COLOURS, GREY, ORIGINAL, RED

MOST_BARS = 24
MARKERS = "os^DvP<>"


def alike(ax: plt.Axes, found: dict) -> None:
    """The correlation of every two checkpoints' weights; checkpoints of one basin stand together."""
    described = found["description"]
    correlations = np.array(described["correlations"], dtype=float)
    shown = np.linspace(0, described["checkpoints"] - 1, len(correlations)).round().astype(int)
    order = np.argsort(np.array(described["basins"])[shown], kind="stable")
    image = ax.imshow(correlations[order][:, order], vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest")
    ax.set(xlabel="checkpoint", ylabel="checkpoint", title="correlation of weights")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(visible=False)
    ax.figure.colorbar(image, ax=ax, shrink=0.8)


def spread(ax: plt.Axes, found: dict) -> None:
    """How much each tensor differs between checkpoints, beside its deviation within one; the largest tensors.

    Grey are those that are no parameters: BatchNorm's statistics.
    """
    known = [x for x in found["description"]["tensors"] if x["spread"] is not None and x["kind"] != "constant"]
    largest = {x["name"] for x in sorted(known, key=lambda x: -x["size"])[:MOST_BARS]}
    kept = [x for x in known if x["name"] in largest]
    places = np.arange(len(kept))
    colours = [BLUE if x["kind"] == "parameter" else GREY for x in kept]
    ax.barh(places, [x["spread"] for x in kept], color=colours, height=0.7)
    ax.axvline(1, color=RED, linewidth=0.8, linestyle="--")
    ax.set_yticks(places, [x["name"] for x in kept], fontsize=5)
    ax.set(xlabel="spread between checkpoints", ylim=(len(kept) - 0.4, -0.6))
    ax.annotate("nothing shared", (1, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=6)
    ax.grid(axis="y", visible=False)


def scores(ax: plt.Axes, found: dict) -> None:
    """Scores by distance to the nearest checkpoint; distances alone where nothing evaluates."""
    principal, others = {CHECKPOINTS: ORIGINAL, GENERATED: BLUE}, itertools.cycle(COLOURS[1:])
    for k, (name, x) in enumerate(found["groups"].items()):
        colour = principal.get(name) or next(others)
        if x["distances"] is None:
            continue
        heights = x["scores"] if x["scores"] is not None else np.full(x["n"], -k)
        # Hollow, and what it is about on top: several groups may lie on one another.
        style = {"s": 16, "linewidths": 0.8, "facecolors": "none", "edgecolors": colour, "label": name}
        ax.scatter(
            x["distances"], heights, marker=MARKERS[k % len(MARKERS)], zorder=4 if name == GENERATED else 3, **style
        )
    ax.axvline(1, color=GREY, linewidth=0.8)
    ax.set_xscale("symlog", linthresh=0.1)
    ax.set_xlim(left=-0.01)
    ax.set(xlabel="distance to the nearest checkpoint (LOO)", ylabel="score")
    if all(x["scores"] is None for x in found["groups"].values()):
        ax.set(yticks=[], ylabel="")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
