"""Figures of the experiments on unseen tasks, in the style of `experiments.report.figures`."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import BoundaryNorm

from experiments.report.figures import COLOURS, GENERATED, GREEN, GREY, ORANGE, ORIGINAL, PURPLE, RED, SKY
from experiments.tasks.asked import ASKED, HYPERNETWORK
from experiments.tasks.baselines import LOOKUP
from experiments.tasks.tables import counted
from experiments.tasks.unseen import REGRESSION

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
CURVES = {
    ASKED: (RED, "D", "full", "-"),
    HYPERNETWORK: (GREEN, "s", "full", "-"),
    "RPG": (GENERATED, "o", "full", "-"),
    REGRESSION: (SKY, "o", "none", "--"),
    "kernel ridge": (PURPLE, "^", "full", "-."),
    "ridge on bits and pairs": (ORANGE, "v", "none", "-."),
    "nearest seen task": (GREY, "P", "full", "--"),
    LOOKUP: (ORIGINAL, "", "full", ":"),
}
"""By method colour, marker, its filling and line. Left to the table: what learns nothing of a task, the weaker
regressions, and swapped heads, which are the nearest task's."""


def methods(ax: plt.Axes, split: dict) -> None:
    """Draw the accuracy (percent) on every unseen task of one split, a row per method, and the mean as a bar."""
    rows = {"original": split["original"], "RPG": split["generated"], **split["baselines"]}
    random = np.random.default_rng(0)
    for row, (name, found) in enumerate(rows.items()):
        values = np.asarray(found["accuracies"])
        colour = {"original": ORIGINAL, "RPG": GENERATED}.get(name, GREY)
        ax.scatter(values, row + random.uniform(-0.28, 0.28, len(values)), s=4, color=colour, alpha=0.4, linewidths=0)
        ax.plot([values.mean()] * 2, [row - 0.36, row + 0.36], color=RED, linewidth=1.6, solid_capstyle="butt")
        ax.annotate(f"{values.mean():.1f}", (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=7)
    ax.set_yticks(range(len(rows)), rows)
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="accuracy on an unseen task (%)")
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)


def curve(ax: plt.Axes, rows: Sequence[dict], original: float) -> None:
    """Draw mean accuracy (percent) on unseen tasks against the number of seen tasks, a line per method of `CURVES`.

    original: of the trained networks. Most methods come near it: the axis is logarithmic in the error and half a point.
    """
    counts = [row["seen_tasks"] for row in rows]
    for name, (colour, marker, filling, line) in CURVES.items():
        if name in rows[-1]["methods"]:
            means = [row["methods"][name]["mean"] for row in rows]
            look = {"color": colour, "marker": marker, "fillstyle": filling, "linestyle": line}
            ax.plot(counts, means, markersize=4, label=name, **look)
    ax.axhline(original, color=ORIGINAL, linewidth=0.8, label="original", zorder=1)
    ax.set_yscale("function", functions=(lambda x: -np.log10(100.5 - np.minimum(x, 100)), lambda y: 100.5 - 10**-y))
    ax.margins(y=0.08)
    low, high = ax.get_ylim()
    ticks = [tick for tick in (50, 60, 70, 80, 85, 90, 93, 95, 96, 97, 98, 99, 100) if low <= tick <= high]
    ax.set_yticks(ticks, [str(tick) for tick in ticks])
    ax.set_xscale("log", base=2)
    ax.set_xticks(counts, [f"{count:,}" for count in counts])
    ax.minorticks_off()
    ax.set(xlabel="seen tasks", ylabel="accuracy on unseen tasks (%)")
    in_order = sorted(ax.lines, key=lambda line: -line.get_ydata()[-1])
    ax.legend(handles=in_order, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3)


def heads(axes: Sequence[plt.Axes], panels: Mapping[str, Mapping[str, np.ndarray]], limit: float) -> None:
    """Draw the classifier heads (networks, weights) of each panel's groups as rows of colour, {title: {group: heads}}.

    One scale of -limit to limit serves all; its colour bar is pointed where weights lie outside.
    """
    for ax, (title, groups) in zip(axes, panels.items(), strict=True):
        image = _rows(ax, groups, limit)
        ax.set_title(title)
    ax.set_xlabel(f"the {image.get_array().shape[1]} weights of the head")
    beyond = any(np.abs(rows).max() > limit for groups in panels.values() for rows in groups.values())
    extend = "both" if beyond else "neither"
    ax.figure.colorbar(image, ax=list(axes), label="weight", extend=extend, fraction=0.05, pad=0.02, aspect=30)


def _rows(ax: plt.Axes, groups: Mapping[str, np.ndarray], limit: float) -> mpl.image.AxesImage:
    matrix = np.concatenate(list(groups.values()))
    image = ax.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    edge, places = 0, []
    for values in groups.values():
        places.append(edge + (len(values) - 1) / 2)
        edge += len(values)
        if edge < len(matrix):
            ax.axhline(edge - 0.5, color="white", linewidth=2)
    ax.set_yticks(places, list(groups))
    ax.set_xticks([])
    ax.grid(visible=False)
    return image


def all_tasks(ax: plt.Axes, points: np.ndarray, selected: np.ndarray, explained: Sequence[float]) -> None:
    """Draw every task's head (T, 2), coloured by how many classes the task selects (T,)."""
    counts = np.arange(selected.min(), selected.max() + 1)
    norm = BoundaryNorm([*(counts - 0.5), counts[-1] + 0.5], plt.colormaps["viridis"].N)
    dots = ax.scatter(*points.T, c=selected, s=5, cmap="viridis", norm=norm, linewidths=0)
    ax.figure.colorbar(dots, ax=ax, label="selected classes", ticks=counts, fraction=0.05, pad=0.02)
    _axes(ax, explained)


def unseen_tasks(
    ax: plt.Axes, originals: Sequence[np.ndarray], generated: Sequence[np.ndarray], explained: Sequence[float]
) -> None:
    """Draw some unseen tasks' original (C, 2) and generated (n, 2) heads, a colour and a marker per task."""
    for order, (own, written) in enumerate(zip(originals, generated, strict=True)):
        colour, marker = COLOURS[order % len(COLOURS)], MARKERS[order % len(MARKERS)]
        ax.scatter(*own.T, s=26, color=colour, marker=marker)
        ax.scatter(*written.T, s=22, facecolors="none", edgecolors=colour, marker=marker, linewidths=0.8)
    # Above the points, and in no task's colour.
    handles = [
        ax.scatter([], [], s=26, color=GREY, label="original"),
        ax.scatter([], [], s=22, facecolors="none", edgecolors=GREY, label="generated"),
    ]
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    _axes(ax, explained)


def finetuning(axes: Sequence[plt.Axes], numbers: dict, original: float) -> None:
    """Draw mean accuracy (percent) against epochs of training, a panel per set of images and a line per start.

    original: the mean of the zoo's networks for unseen tasks.
    """
    for ax, (part, starts) in zip(axes, numbers["accuracy"].items(), strict=True):
        for order, (start, result) in enumerate(starts.items()):
            means = np.array([found["mean"] for found in result["by_epoch"]])
            spread = np.array([found["std"] for found in result["by_epoch"]])
            ax.plot(numbers["epochs"], means, marker=MARKERS[order], markersize=3, color=COLOURS[order], label=start)
            ax.fill_between(
                numbers["epochs"], means - spread, means + spread, color=COLOURS[order], alpha=0.15, linewidth=0
            )
        ax.axhline(original, color=ORIGINAL, linewidth=0.8, linestyle=":", label="original")
        ax.set(title=counted(part), xlabel="epochs of training", xticks=numbers["epochs"])
    axes[0].set_ylabel("accuracy on unseen tasks (%)")
    axes[-1].legend(loc="lower right")


def _axes(ax: plt.Axes, explained: Sequence[float]) -> None:
    for axis, share, number in zip(("x", "y"), explained, (1, 2), strict=True):
        ax.set(**{f"{axis}label": f"component {number} ({100 * share:.0f} % of variance)"})
