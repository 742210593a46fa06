"""Figures of the experiments on unseen tasks, in the style of `experiments.report.figures`."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt

from experiments.report.figures import BLACK, BLUE, COLOURS, GENERATED, GREY, RED

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


def methods(ax: plt.Axes, split: dict) -> None:
    """Draw the accuracy (percent) on every unseen task of one split, a row per method, and the mean as a bar."""
    rows = {"original": split["original"], "RPG": split["generated"], **split["baselines"]}
    random = np.random.default_rng(0)
    for row, (name, found) in enumerate(rows.items()):
        values = np.asarray(found["accuracies"])
        colour = {"original": BLACK, "RPG": BLUE}.get(name, GREY)
        ax.scatter(values, row + random.uniform(-0.28, 0.28, len(values)), s=4, color=colour, alpha=0.4, linewidths=0)
        ax.plot([values.mean()] * 2, [row - 0.36, row + 0.36], color=RED, linewidth=1.6, solid_capstyle="butt")
        ax.annotate(f"{values.mean():.1f}", (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=7)
    ax.set_yticks(range(len(rows)), rows)
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="accuracy on an unseen task (%)")
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)


def curve(ax: plt.Axes, rows: Sequence[dict], names: Sequence[str]) -> None:
    """Draw mean accuracy (percent) on unseen tasks against the number of seen tasks, a line for each of these methods.

    Those of our generator are blue, strong where it is asked, and hollow without diffusion; the lookup is grey.
    """
    counts, others = [row["seen_tasks"] for row in rows], itertools.cycle(COLOURS[1:])
    for marker, name in zip(MARKERS, names, strict=False):
        means = [row["methods"][name]["mean"] for row in rows]
        ours = name.startswith("RPG")
        colour = GENERATED if ours else GREY if name == "lookup" else next(others)
        style = {"fillstyle": "none" if "without" in name else "full", "linestyle": "-" if "asked" in name else "--"}
        ax.plot(counts, means, marker, color=colour, markersize=4, linewidth=1.8 if "asked" in name else 0.9, **style)
        ax.lines[-1].set_label(name)
    ax.set_xscale("log", base=2)
    ax.set_xticks(counts, [str(count) for count in counts])
    ax.minorticks_off()
    ax.set(xlabel="seen tasks", ylabel="accuracy on unseen tasks (%)")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def head_weights(ax: plt.Axes, groups: Mapping[str, np.ndarray], title: str, limit: float) -> None:
    """Draw classifier heads (networks, weights) of several groups as rows of colour on one scale of -limit to limit.

    The colour bar is pointed where weights lie beyond it.
    """
    heads = np.concatenate(list(groups.values()))
    image = ax.imshow(heads, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    edge, places = 0, []
    for values in groups.values():
        places.append(edge + (len(values) - 1) / 2)
        edge += len(values)
        if edge < len(heads):
            ax.axhline(edge - 0.5, color="white", linewidth=2)
    ax.set_yticks(places, list(groups))
    ax.set(title=title, xlabel=f"the {heads.shape[1]} weights of the head")
    ax.set_xticks([])
    ax.grid(visible=False)
    extend = "both" if np.abs(heads).max() > limit else "neither"
    ax.figure.colorbar(image, ax=ax, label="weight", extend=extend, fraction=0.05, pad=0.02)


def all_tasks(ax: plt.Axes, points: np.ndarray, selected: np.ndarray, explained: Sequence[float]) -> None:
    """Draw every task's head (T, 2), coloured by how many classes the task selects (T,)."""
    dots = ax.scatter(*points.T, c=selected, s=5, cmap="viridis", linewidths=0)
    ax.figure.colorbar(dots, ax=ax, label="selected classes", fraction=0.05, pad=0.02)
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


def finetuning(axes: Sequence[plt.Axes], numbers: dict) -> None:
    """Draw mean accuracy (percent) against epochs of training, a panel per set of images and a line per start."""
    for ax, (part, starts) in zip(axes, numbers["accuracy"].items(), strict=True):
        for order, (start, result) in enumerate(starts.items()):
            means = np.array([found["mean"] for found in result["by_epoch"]])
            spread = np.array([found["std"] for found in result["by_epoch"]])
            ax.plot(numbers["epochs"], means, marker=MARKERS[order], markersize=3, color=COLOURS[order], label=start)
            ax.fill_between(
                numbers["epochs"], means - spread, means + spread, color=COLOURS[order], alpha=0.15, linewidth=0
            )
        ax.set(title=part, xlabel="epochs of training", xticks=numbers["epochs"])
    axes[0].set_ylabel("accuracy on unseen tasks (%)")
    axes[-1].legend(loc="lower right")


def _axes(ax: plt.Axes, explained: Sequence[float]) -> None:
    for axis, share, number in zip(("x", "y"), explained, (1, 2), strict=True):
        ax.set(**{f"{axis}label": f"component {number} ({100 * share:.0f} % of variance)"})
