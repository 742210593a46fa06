"""The picture of one generated network: verdict and confusion, test images with verdicts, and heads."""

import io

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.pyplot import Axes
from torch import Tensor

from experiments.report.figures import FULL_WIDTH, GREY, RED, style
from experiments.tasks.explore import Evaluation
from rpglib.zoo.images import Images

SIZE = (FULL_WIDTH, 4.4)
COLUMNS, ROWS = 10, 4
SAYS = {1: "in", 0: "out"}
MARKS = {True: "✓", False: "✗"}
STYLES = {
    True: ({"color": GREY, "linewidth": 0.5}, {"color": "#505050"}),
    False: ({"color": RED, "linewidth": 1.8}, {"color": RED, "weight": "bold"}),
}
"""Frame and text of a right and of a wrong answer."""


def png(found: Evaluation, dpi: int = 140) -> bytes:
    """The picture as a PNG file."""
    with style():
        figure = Figure(figsize=SIZE)
        draw(figure, found)
        buffer = io.BytesIO()
        # A person waits for it: to compress less is faster, and it goes no further than the browser.
        figure.savefig(buffer, format="png", dpi=dpi, pil_kwargs={"compress_level": 1})
    return buffer.getvalue()


def draw(figure: Figure, found: Evaluation) -> None:
    """Fill an empty figure of `SIZE`."""
    # Positions are given here; without an engine of its own a figure takes the style's when it is saved a second time.
    figure.set_layout_engine(PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True))
    figure.text(0.01, 0.97, f"Task: select {found.name()}", weight="bold", va="top")
    figure.text(0.01, 0.915, f"{found.accuracy:.1f} % right", size=16, va="top")
    status = found.status.replace(" that", "\nthat")
    figure.text(0.01, 0.83, f"of {len(found.right):,} test images; seed {found.seed}\n{status}", size=7, va="top")
    _confusion(figure.add_axes((0.075, 0.435, 0.165, 0.165 * SIZE[0] / SIZE[1])), found)
    _images(figure.add_axes((0.275, 0.375, 0.72, 0.56)), found)
    _heads(figure, found)


def _confusion(ax: Axes, found: Evaluation) -> None:
    counts = found.confusion.numpy()
    ax.imshow(counts / counts.sum(1, keepdims=True).clip(1), cmap="Blues", vmin=0, vmax=1.4)
    for (row, column), count in np.ndenumerate(counts):
        ax.text(column, row, f"{count:,}", ha="center", va="center", weight="bold" if row == column else "normal")
    ax.set_xticks([0, 1], ["selected", "not"])
    ax.set_yticks([0, 1], ["selected", "not"], rotation=90, va="center")
    ax.set(xlabel="the network says", ylabel="truth")
    ax.tick_params(length=0)
    ax.grid(visible=False)


def _images(ax: Axes, found: Evaluation) -> None:
    """Test images, the wrong ones first, each above its class, whether the network is right, and what it says."""
    right, size, names = found.right, found.images.size, found.images.class_names
    chosen = right.int().argsort(stable=True)[: COLUMNS * ROWS]
    step_down, step_across = size + size // 2, size + size // 4
    # Long names need a line of their own.
    separator = " " if max(map(len, names)) == 1 else "\n"
    canvas = np.ones((ROWS * step_down, COLUMNS * step_across, 3), np.float32)
    for place, (i, tile) in enumerate(zip(chosen.tolist(), _pixels(found.images, chosen), strict=True)):
        top, left = place // COLUMNS * step_down, place % COLUMNS * step_across + size // 8
        canvas[top : top + size, left : left + size] = tile
        good = bool(right[i])
        frame, text = STYLES[good]
        ax.add_patch(Rectangle((left - 0.5, top - 0.5), size, size, fill=False, clip_on=False, **frame))
        name, says = names[int(found.images.test.labels[i])], SAYS.get(int(found.answers[i]), "?")
        caption = f"{name}{separator}{MARKS[good]} {says}"
        ax.text(left + size / 2 - 0.5, top + 1.05 * size, caption, ha="center", va="top", size=6, **text)
    ax.imshow(canvas, interpolation="nearest", aspect="equal")
    ax.set_anchor("N")
    ax.set_axis_off()
    counts = [
        f"{MARKS[good]} {int((right[chosen] == good).sum()):,} of {int((right == good).sum()):,} {word}"
        for good, word in ((False, "wrong"), (True, "right"))
    ]
    ax.set_title(f"{', '.join(counts)} answers; in, out: what the network says", loc="left")


def _pixels(images: Images, chosen: Tensor) -> np.ndarray:
    """The chosen test images (k, S, S, 3) in 0..1, as they were before normalisation; ink is dark."""
    pixels = images.test.images
    low, high = pixels.amin((0, 2, 3), keepdim=True), pixels.amax((0, 2, 3), keepdim=True)
    scaled = (pixels[chosen] - low) / (high - low)
    if images.channels == 1:
        scaled = (1 - scaled).expand(-1, 3, -1, -1)
    return scaled.permute(0, 2, 3, 1).numpy()


def _heads(figure: Figure, found: Evaluation) -> None:
    """The generated head above its neighbours: a row per output, its weights and at the end its bias."""
    heads = torch.cat((found.head[None], found.neighbour_heads)).numpy()
    labels = [f"generated: {found.name()}"]
    for task, distance in zip(found.neighbours, found.distances.tolist(), strict=True):
        labels.append(f"original: {found.name(task)}\ndistance {distance:.2f}")
    limit = float(np.abs(heads).max()) or 1.0
    left, width, top, height, step = 0.282, 0.625, 0.265, 0.05, 0.066
    title = f"Heads: generated, and of the nearest originals; {found.own_place}"
    figure.text(left, top + height + 0.015, title, va="bottom")
    for place, (head, label) in enumerate(zip(heads, labels, strict=True)):
        ax = figure.add_axes((left, top - place * step, width, height))
        rows = np.column_stack((head[:-2].reshape(2, -1), head[-2:]))
        image = ax.imshow(rows, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        ax.axvline(rows.shape[1] - 1.5, color="black", linewidth=0.8)
        ax.set_xticks([])
        ax.set_yticks([0, 1], ["out", "in"], size=5)
        ax.tick_params(length=0, pad=1)
        ax.grid(visible=False)
        ax.text(-0.045, 0.5, label, transform=ax.transAxes, ha="right", va="center", size=7)
    ax.set_xticks([(rows.shape[1] - 2) / 2, rows.shape[1] - 1], ["weights", "bias"])
    bottom = top - (len(heads) - 1) * step
    figure.colorbar(image, cax=figure.add_axes((left + width + 0.015, bottom, 0.012, top + height - bottom)))
