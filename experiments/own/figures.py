"""Figures of a zoo: how alike its checkpoints are, what varies in them, and where generated networks lie."""

import numpy as np
from matplotlib import pyplot as plt

from experiments.own.measures import CHECKPOINTS
from experiments.own.measures import GENERATED as WRITTEN
from experiments.own.tables import in_percent
from experiments.report.figures import BLUE, GENERATED, GREY, ORIGINAL, RED

MOST_BARS = 24


def alike(ax: plt.Axes, found: dict) -> None:
    """The correlation of every two checkpoints' weights; checkpoints of one basin stand together."""
    described = found["description"]
    correlations = np.array(described["correlations"], dtype=float)
    shown = np.linspace(0, described["checkpoints"] - 1, len(correlations)).round().astype(int)
    order = np.argsort(np.array(described["basins"])[shown], kind="stable")
    image = ax.imshow(correlations[order][:, order], vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest")
    label = f"{len(shown)} checkpoints, by basin"
    ax.set(xticks=[], yticks=[], xlabel=label, ylabel=label)
    ax.grid(visible=False)
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label="correlation of weights")


def spread(ax: plt.Axes, found: dict) -> None:
    """How much each tensor differs between checkpoints, beside its deviation within one; the largest tensors."""
    known = [x for x in found["description"]["tensors"] if x["spread"] is not None and x["kind"] != "constant"]
    largest = {x["name"] for x in sorted(known, key=lambda x: -x["size"])[:MOST_BARS]}
    kept = [x for x in known if x["name"] in largest]
    for colour, learned, label in ((BLUE, True, "learned"), (GREY, False, "statistics of BatchNorm")):
        bars = {k: x["spread"] for k, x in enumerate(kept) if (x["kind"] == "parameter") == learned}
        if bars:
            ax.barh([*bars], [*bars.values()], color=colour, height=0.7, label=label)
    ax.axvline(1, color=RED, linewidth=0.8, linestyle="--", label="checkpoints share nothing")
    ax.set_yticks(range(len(kept)), [x["name"] for x in kept], fontsize=6)
    ax.set(xlabel="spread between checkpoints", ylim=(len(kept) - 0.4, -0.6))
    ax.grid(axis="y", visible=False)


def known(found: dict) -> list[str]:
    """What there is to be drawn of the groups: "scores" where something evaluates, "distances" of a zoo of several."""
    return [what for what in ("scores", "distances") if any(x[what] is not None for x in found["groups"].values())]


def groups(ax: plt.Axes, found: dict, what: str) -> None:
    """A row for each group: its networks' "scores", or their "distances" to the nearest checkpoint.

    Strokes are networks; the point is what the table has, the mean of scores and the median of distances.
    """
    colours = {CHECKPOINTS: ORIGINAL, WRITTEN: GENERATED}
    for place, (name, x) in enumerate(found["groups"].items()):
        if x[what] is not None:
            colour, middle = colours.get(name, GREY), np.mean if what == "scores" else np.median
            ax.scatter(x[what], np.full(len(x[what]), place), s=50, marker="|", linewidths=0.8, alpha=0.5, color=colour)
            ax.plot(middle(x[what]), place, "o", markersize=4, color=colour)
    ax.set_yticks(range(len(found["groups"])), list(found["groups"]))
    ax.set(ylim=(len(found["groups"]) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    if what == "scores":
        ax.set(xlabel=f"score{' (%)' if in_percent(found) else ''}")
    else:
        # Copies lie at thousandths of a LOO, networks of an untrained generator at a hundred.
        ax.set_xscale("symlog", linthresh=0.01, linscale=0.5)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.axvline(1, color=GREY, linewidth=0.8, zorder=1)
        farthest = max(max(x[what]) for x in found["groups"].values() if x[what] is not None)
        ax.set(xlim=(0, 2 * max(1, farthest)), xlabel="distance (LOO)")
