"""Figures fit for a paper: one style, deterministic files, and the plots that several notebooks share."""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from PIL import Image

from experiments.pictures import few_colours
from experiments.records import figures_dir, home
from rpglib.runtime.files import atomic

COLUMN_WIDTH = 3.25  # inches: one column of a two-column page
FULL_WIDTH = 6.75
# Okabe & Ito (2008): told apart by colour-blind readers, and in print.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, BLACK = "#56B4E9", "#CC79A7", "#F0E442", "#000000"
COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY)
GREY = "#8A8A8A"
ORIGINAL, GENERATED = BLACK, BLUE
"""Of the two groups that all notebooks compare."""

STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8,
    "figure.constrained_layout.use": True,
    "figure.dpi": 150,
    "font.size": 8,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.4,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "savefig.dpi": 300,
    "xtick.labelsize": 7,
    "xtick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.labelsize": 7,
    "ytick.major.size": 2.5,
    "ytick.major.width": 0.6,
    "ytick.minor.size": 0,
}


@contextmanager
def style() -> Iterator[None]:
    """Apply the style inside a `with` block: make, fill and save the figure there."""
    with mpl.rc_context(STYLE):
        yield


def save(figure: mpl.figure.Figure, name: str, profile: str) -> Path:
    """Write <name>.pdf and <name>.png to the profile's figures and return the PNG's path relative to the project.

    The same figure gives the same bytes: the files carry no dates. The PNG has 256 colours, a third of the bytes: it is
    for screens, the PDF for print.
    """
    folder, pixels = figures_dir(profile), io.BytesIO()
    with style():
        with atomic(folder / f"{name}.pdf") as part:
            figure.savefig(part, metadata={"CreationDate": None})
        figure.savefig(pixels, format="png")
    with atomic(folder / f"{name}.png") as part, Image.open(pixels) as image:
        few_colours(image).save(part, format="png", optimize=True, dpi=image.info["dpi"])
    return (folder / f"{name}.png").relative_to(home())


def loss_curve(
    ax: plt.Axes, steps: Sequence[int], losses: Sequence[float], *, label: str | None = None, window: int = 10
) -> None:
    """Draw a training loss on a log axis: what was recorded faint, its geometric mean over `window` records strong.

    On a log axis the arithmetic mean stands far above what it is of where the loss falls.
    """
    steps, losses = np.asarray(steps), np.asarray(losses, dtype=float)
    (raw,) = ax.plot(steps, losses, linewidth=0.5, alpha=0.3)
    width = min(window, max(1, len(losses) // 10))
    mean = np.exp(np.convolve(np.log(losses), np.full(width, 1 / width), mode="valid"))
    # The mean of a window stands at the window's middle.
    start = (width - 1) // 2
    ax.plot(steps[start : start + len(mean)], mean, color=raw.get_color(), label=label)
    ax.set(xlabel="training step", ylabel="loss (mean squared error)", yscale="log")
    ax.margins(x=0.01)
    if label:
        ax.legend()


def accuracy_comparison(ax: plt.Axes, groups: dict[str, Sequence[float]], *, unit: str = "accuracy (%)") -> None:
    """Draw every network's accuracy (percent) as a point per group and the group's mean as a bar; the mean below."""
    labels, colours = [], {"original": ORIGINAL, "originals": ORIGINAL, "generated": GENERATED}
    for position, (label, values) in enumerate(groups.items()):
        values, colour = np.asarray(values, dtype=float), colours.get(label, COLOURS[1 + position % 5])
        ax.scatter(position + spread(values), values, s=12, color=colour, alpha=0.55, linewidths=0, zorder=2)
        ax.hlines(values.mean(), position - 0.34, position + 0.34, color="black", linewidth=1.2, zorder=3)
        labels.append(f"{label}\n{values.mean():.2f}")
    ax.set_xticks(range(len(labels)), labels)
    ax.set(xlim=(-0.5, len(labels) - 0.5), ylabel=unit)
    ax.grid(axis="x", visible=False)
    ax.tick_params(axis="x", length=0)


def baselines(ax: plt.Axes, rows: dict[str, dict], names: Sequence[str] = ()) -> None:
    """Draw accuracies (percent) of originals, generated networks and baselines, from {label: numbers of a row}.

    Points are means, lines reach from the worst network to the best. A baseline that one row lacks stays empty there.
    names: in this order, for axes that share it; by default those of `rows`.
    """
    names = names or group_names(rows.values())
    for place, (label, numbers) in enumerate(rows.items()):
        found = _groups(numbers)
        heights = [names.index(name) + 0.36 * (place - (len(rows) - 1) / 2) for name in found]
        lows, means, highs = ([summary[key] for summary in found.values()] for key in ("min", "mean", "max"))
        ax.hlines(heights, lows, highs, color=COLOURS[place], linewidth=1.6, alpha=0.5)
        mark = {"marker": "os^"[place], "markersize": 4, "fillstyle": ("full", "none", "full")[place]}
        ax.plot(means, heights, linestyle="", color=COLOURS[place], label=label, **mark)
    ax.axhline(1.5, color=GREY, linewidth=0.6)
    ax.set_yticks(range(len(names)), names)
    ax.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, 102), xlabel="accuracy (%)")
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)


def group_names(rows: Iterable[dict]) -> list[str]:
    """What `baselines` draws of the numbers of rows: originals, generated networks, and the baselines of any row."""
    return list(dict.fromkeys(name for numbers in rows for name in _groups(numbers)))


def _groups(numbers: dict) -> dict[str, dict]:
    return {kind: numbers[kind] for kind in ("original", "generated")} | numbers["baselines"]


def spread(values: np.ndarray, bins: int = 30, half_width: float = 0.28) -> np.ndarray:
    """Return sideways offsets that keep equal values apart; the same values give the same picture."""
    span = np.ptp(values) or 1.0
    level = np.round((values - values.min()) / span * bins).astype(int)
    offsets = np.zeros(len(values))
    for row in np.unique(level):
        members = np.flatnonzero(level == row)
        gap = min(0.06, 2 * half_width / len(members))
        offsets[members] = (np.arange(len(members)) - (len(members) - 1) / 2) * gap
    return offsets


def weight_heatmap(
    axes: Iterable[plt.Axes], original: np.ndarray, generated: np.ndarray, *, unit: str = "weight"
) -> None:
    """Draw two weight matrices (outputs, inputs) on one colour scale around zero, and their difference on its own.

    A scale ends at the 99.5 % quantile of what it shows; a colour bar is pointed where values lie outside. On the
    weights' scale the difference, often a hundred times smaller, would be an empty panel.
    """
    axes = list(axes)
    original, generated = np.atleast_2d(original), np.atleast_2d(generated)
    difference = generated - original
    groups = (
        (axes[:2], {"original": original, "generated": generated}, unit),
        (axes[2:], {"generated − original": difference}, f"difference in {unit}"),
    )
    for group, panels, label in groups:
        magnitudes = np.abs(np.stack(list(panels.values())))
        limit = float(np.quantile(magnitudes, 0.995)) or 1.0
        for ax, (title, matrix) in zip(group, panels.items(), strict=True):
            image = ax.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
            ax.set(title=title, xticks=[], yticks=[], xlabel="input")
            ax.grid(visible=False)
            ax.spines[:].set_visible(True)
        extend = "both" if magnitudes.max() > limit else "neither"
        group[0].set_ylabel("output")
        group[0].figure.colorbar(image, ax=group, label=label, extend=extend, fraction=0.1, pad=0.02, aspect=25)


def token_layout(
    ax: plt.Axes, layer_names: list[str], token_lengths: Sequence[int], layer_index: Sequence[int], token_size: int
) -> None:
    """Draw how a network's layers fill its tokens: one row per token, filled to its length, padding hatched.

    `token_lengths` (L,) counts each token's values of at most `token_size` (D); `layer_index` (L,) names its layer.
    """
    lengths, layers = np.asarray(token_lengths), np.asarray(layer_index)
    edges = np.arange(len(lengths) + 1)
    padding = 1 - lengths.sum() / (len(lengths) * token_size)
    ax.stairs(
        np.full(len(lengths), token_size),
        edges,
        orientation="horizontal",
        fill=True,
        facecolor="white",
        edgecolor="#B0B0B0",
        hatch="////",
        linewidth=0,
        label=f"padding ({100 * padding:.0f} % of values)",
    )
    # One patch per stretch of a layer, so that a network of ten thousand tokens is as quick to draw as a small one.
    starts = np.flatnonzero(np.diff(layers, prepend=layers[0] - 1))
    labels = []
    for order, (start, end) in enumerate(zip(starts, [*starts[1:], len(layers)], strict=True)):
        colour = (BLUE, ORANGE)[order % 2]
        ax.stairs(
            lengths[start:end], edges[start : end + 1], orientation="horizontal", fill=True, color=colour, linewidth=0
        )
        labels.append((start, end, layer_names[layers[start]]))
    if len(lengths) <= 120:
        ax.hlines(edges[1:-1], 0, token_size, color="white", linewidth=0.5)
    room = ax.get_window_extent().height / ax.figure.dpi * 72 / 8  # lines of 8 points that fit
    shown = _apart(labels, len(lengths) / room)
    ax.set_yticks([position for position, _ in shown], [name for _, name in shown])
    ax.set(xlim=(0, token_size), ylim=(len(lengths), 0), xlabel="position in the token (values)")
    if token_size % 4 == 0:
        ax.set_xticks(range(0, token_size + 1, token_size // 4))
    ax.grid(visible=False)
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _apart(labels: list[tuple[int, int, str]], distance: float) -> list[tuple[float, str]]:
    """Return the labels (start, end, text) that have room at their middles, the longest stretches first."""
    kept: list[tuple[float, str]] = []
    for start, end, text in sorted(labels, key=lambda label: label[0] - label[1]):
        middle = (start + end) / 2
        if all(abs(middle - other) >= distance for other, _ in kept):
            kept.append((middle, text))
    return kept
