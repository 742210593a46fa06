"""The figure of `27_dense`: scenes, what is true of them, and what an original and a generated network see."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap
from matplotlib.patches import Rectangle

from experiments.report.figures import BLACK

# The ground, and ten digits.
LABELS = ListedColormap(["#F2F2F2", *plt.colormaps["tab10"].colors])
COLUMNS = ("scene", "true", "original", "generated")


def sights(axes: np.ndarray, rows: Sequence[Mapping], boxes: bool = False) -> None:
    """Draw a scene in each row of `axes` (scenes, 4): image, labels, and the labels that two networks give.

    boxes: with those of each object.
    """
    for line, row in zip(axes, rows, strict=True):
        line[0].imshow(row["image"], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        for ax, part in zip(line[1:], COLUMNS[1:], strict=True):
            ax.imshow(row[part]["labels"], cmap=LABELS, vmin=-0.5, vmax=10.5, interpolation="nearest")
            for x0, y0, x1, y1 in row[part]["boxes"] if boxes else ():
                place = (x0 - 0.5, y0 - 0.5)
                ax.add_patch(Rectangle(place, x1 - x0, y1 - y0, fill=False, edgecolor=BLACK, linewidth=0.6))
    for ax, name in zip(axes[0], COLUMNS, strict=True):
        ax.set_title(name)
    for ax in axes.flat:
        ax.set_axis_off()
