"""The figure of `27_dense`: scenes, what is true of them, and what an original and a generated network see."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch, Rectangle

from experiments.report.figures import BLACK

# The muted colours of Tol (2021), which colour-blind readers tell apart, and black.
DIGITS = (*"#CC6677 #332288 #DDCC77 #117733 #88CCEE #882255 #44AA99 #999933 #AA4499".split(), BLACK)
LABELS = ListedColormap(["#F2F2F2", *DIGITS])
SEEN = ("true", "original", "generated")
SMALLEST = 12
"""Pixels of a digit that is named in the picture."""


def sights(axes: np.ndarray, found: Mapping[str, Sequence[Mapping]], boxed: Sequence[str] = ()) -> None:
    """Draw a scene in each row of `axes` (scenes, 1 + 3 kinds): its image, and by kind its true and two seen labels.

    found: {kind: the scenes' pictures}; boxed: kinds with boxes, too. A key of the digits' colours is below.
    """
    for k, line in enumerate(axes):
        line[0].imshow(next(iter(found.values()))[k]["image"], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        pictures = [(kind, rows[k][part]) for kind, rows in found.items() for part in SEEN]
        for ax, (kind, picture) in zip(line[1:], pictures, strict=True):
            _labels(ax, np.asarray(picture["labels"]), picture["boxes"] if kind in boxed else ())
    for ax, name in zip(axes[0], ("scene", *SEEN * len(found)), strict=True):
        ax.set_title(name)
    for ax, kind in zip(axes[0, 2::3], found, strict=True):
        place = {"xycoords": "axes fraction", "xytext": (0, 16), "textcoords": "offset points"}
        ax.annotate(kind, (0.5, 1), ha="center", weight="bold", **place)
    for ax in axes.flat:
        ax.set_axis_off()
    key = [Patch(color=colour, label=digit) for digit, colour in enumerate(DIGITS)]
    axes[0, 0].figure.legend(handles=key, loc="outside lower center", ncols=10, handlelength=1, columnspacing=1.5)


def _labels(ax: plt.Axes, labels: np.ndarray, boxes: Sequence[Sequence[float]]) -> None:
    """Draw labels (H, W), 0 for the ground and digit + 1, with the boxes, and write each digit where it is."""
    ax.imshow(labels, cmap=LABELS, vmin=-0.5, vmax=10.5, interpolation="nearest")
    for x0, y0, x1, y1 in boxes:
        place = (x0 - 0.5, y0 - 0.5)
        ax.add_patch(Rectangle(place, x1 - x0, y1 - y0, fill=False, edgecolor=BLACK, linewidth=0.6))
    outline = [patheffects.withStroke(linewidth=1.2, foreground=BLACK)]
    for label in np.unique(labels[labels > 0]):
        pixels = np.argwhere(labels == label)
        if len(pixels) >= SMALLEST:
            # The pixel of the digit that is nearest to the middle of all: the middle itself may lie outside.
            y, x = pixels[((pixels - pixels.mean(0)) ** 2).sum(1).argmin()]
            style = {"fontsize": 6, "color": "white", "path_effects": outline}
            ax.text(x, y, str(label - 1), ha="center", va="center", **style)
