"""The drawing of the method that heads the README and notebook 01: `python -m experiments.report.drawing` writes it."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch, Rectangle

from experiments.records import DEFAULT_PROFILE, figures_dir
from experiments.report.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY
from rpglib.runtime.files import atomic

NAME = "rpg.svg"
SIZE = (8.8, 3.9)  # inches: all coordinates below are inches from the lower left corner
INK = "#222222"
# The network that is drawn: each layer's colour, and how many values each of its tokens holds, of at most CELLS.
LAYERS = ((BLUE, (6, 6)), (ORANGE, (6, 6, 6)), (GREEN, (3,)))
TOKENS = [(colour, length) for colour, lengths in LAYERS for length in lengths]
CELLS, CELL, ROW = 6, 0.14, 0.17
PANELS = (
    (0.1, 2.0, "1  Networks as tokens"),
    (2.2, 3.1, "2  A recurrent model writes prototypes"),
    (5.4, 3.3, "3  A diffusion model writes tokens"),
)
# Heights of the rows of the second panel, and of the lines above and below them.
SPREAD, POSITION, RECURRENT, PROTOTYPE, COLLECT = 3.02, 2.62, 1.92, 1.22, 0.94
# Letters as outlines, so that they look the same wherever the file is shown; no random names of its parts.
STYLE = {"svg.fonttype": "path", "svg.hashsalt": "rpg", "font.family": "DejaVu Sans", "hatch.linewidth": 0.5}


def method() -> mpl.figure.Figure:
    """Draw checkpoints -> tokens; embeddings -> recurrent model -> prototypes; noise -> diffusion model -> networks."""
    with mpl.rc_context(STYLE):
        # White behind everything: on a dark page a transparent drawing could not be read.
        figure = plt.figure(figsize=SIZE, facecolor="white")
        ax = figure.add_axes((0, 0, 1, 1), xlim=(0, SIZE[0]), ylim=(0, SIZE[1]))
        ax.axis("off")
        for left, width, title in PANELS:
            _box(ax, left, 0.5, width, 3.3, face="#F7F7F7", edge="#D5D5D5")
            _text(ax, left + 0.08, 3.63, title, ha="left", weight="bold")
        _checkpoints(ax)
        _recurrence(ax)
        _diffusion(ax)
        ax.plot((1.0, 1.0, 7.85, 7.85), (0.6, 0.32, 0.32, 0.6), color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        _text(ax, 4.4, 0.15, "training: the diffusion model must restore these tokens from noisy ones")
    return figure


def write(path: Path) -> None:
    """Write the drawing as SVG; the same code gives the same bytes."""
    figure = method()
    with mpl.rc_context(STYLE), atomic(path) as part:
        figure.savefig(part, format="svg", metadata={"Date": None, "Creator": None, "Title": "The method of RPG"})
    plt.close(figure)


def _checkpoints(ax: plt.Axes) -> None:
    _networks(ax, 0.36, 2.62, seed=0)
    _text(ax, 1.0, 2.48, "trained networks")
    _arrow(ax, (1.0, 2.36), (1.0, 1.86))
    _text(ax, 1.08, 2.12, "normalise\neach layer, cut", ha="left")
    _tokens(ax, 1.0, 0.8, seed=0)


def _recurrence(ax: plt.Axes) -> None:
    xs = np.linspace(3.2, 5.1, len(TOKENS))
    for y, label in ((POSITION, "position"), (RECURRENT, "recurrent\nmodel"), (PROTOTYPE, "prototype")):
        _text(ax, 2.28, y, label, ha="left")
    # Every token is given both, and every prototype is handed on: one line that collects, one that spreads.
    for left, width, label, colour in ((2.7, 1.6, "permutation state $s$", PURPLE), (4.45, 0.78, "task", SKY)):
        _box(ax, left, 3.16, width, 0.28, face=colour, edge=INK, alpha=0.35)
        _text(ax, left + width / 2, 3.3, label)
        _line(ax, (left + width / 2, left + width / 2), (3.16, SPREAD))
    _line(ax, (xs[0], xs[-1]), (SPREAD, SPREAD))
    _line(ax, (xs[0], 5.4), (COLLECT, COLLECT))
    _arrow(ax, (5.4, COLLECT), (5.52, COLLECT))
    for k, (x, (colour, _)) in enumerate(zip(xs, TOKENS, strict=True)):
        for y, letter in ((POSITION, "e"), (PROTOTYPE, "p")):
            ax.add_patch(Rectangle((x - 0.13, y - 0.13), 0.26, 0.26, facecolor=colour, alpha=0.35, linewidth=0))
            _text(ax, x, y, f"${letter}_{k + 1}$")
        _box(ax, x - 0.13, RECURRENT - 0.14, 0.26, 0.28, face="white", edge=INK)
        _text(ax, x, RECURRENT, "$f$")
        for start, end in ((SPREAD, POSITION), (POSITION - 0.14, RECURRENT), (RECURRENT - 0.15, PROTOTYPE)):
            _arrow(ax, (x, start), (x, end + 0.14))
        _line(ax, (x, x), (PROTOTYPE - 0.14, COLLECT))
        if k:
            _arrow(ax, (xs[k - 1] + 0.14, RECURRENT), (x - 0.14, RECURRENT))


def _diffusion(ax: plt.Axes) -> None:
    _tokens(ax, 6.15, 2.36, seed=1, noise=True)
    _text(ax, 6.65, 2.86, "noise", ha="left")
    _arrow(ax, (6.15, 2.3), (6.15, 1.62))
    _box(ax, 5.54, 0.8, 1.22, 0.8, face="white", edge=INK)
    _text(ax, 6.15, 1.2, "denoiser,\nseveral steps\nfor each token")
    _arrow(ax, (6.8, 1.2), (7.38, 1.2))
    _tokens(ax, 7.85, 0.8, seed=2)
    _arrow(ax, (7.85, 1.86), (7.85, 2.36))
    _text(ax, 7.77, 2.12, "join, undo the\nnormalisation", ha="right")
    _text(ax, 7.85, 2.48, "new networks")
    _networks(ax, 7.21, 2.62, seed=2)


def _networks(ax: plt.Axes, left: float, bottom: float, seed: int) -> None:
    """Three state dicts as cards one behind the other, with one matrix per layer on the first."""
    for shift in (0.16, 0.08, 0.0):
        _box(ax, left + shift, bottom + shift, 1.12, 0.62, face="white", edge=GREY)
    shades, x = np.random.default_rng(seed), left + 0.1
    for colour, lengths in LAYERS:
        rows = max(2, round(sum(lengths) / 4))
        for place, alpha in enumerate(shades.uniform(0.25, 1, 3 * rows)):
            corner = (x + 0.1 * (place % 3), bottom + 0.46 - 0.1 * (place // 3))
            ax.add_patch(Rectangle(corner, 0.1, 0.1, facecolor=colour, alpha=alpha, linewidth=0))
        x += 0.32


def _tokens(ax: plt.Axes, middle: float, bottom: float, seed: int, noise: bool = False) -> None:
    """The tokens of one network, a row each; padding is hatched."""
    shades, left = np.random.default_rng(seed), middle - CELL * CELLS / 2
    for row, (colour, length) in enumerate(reversed(TOKENS)):
        y = bottom + ROW * row
        for place, alpha in enumerate(shades.uniform(0.2, 1, CELLS)):
            corner, padding = (left + CELL * place, y), place >= length and not noise
            face = "white" if padding else INK if noise else colour
            cell = Rectangle(corner, CELL, CELL, facecolor=face, alpha=None if padding else alpha, linewidth=0)
            if padding:
                cell.set(hatch="//////", edgecolor=GREY)
            ax.add_patch(cell)
        ax.add_patch(Rectangle((left, y), CELL * CELLS, CELL, fill=False, edgecolor=INK, linewidth=0.6))


def _box(ax: plt.Axes, left: float, bottom: float, width: float, height: float, face: str, edge: str, **options):
    style = "round,pad=0,rounding_size=0.05"
    ax.add_patch(
        FancyBboxPatch((left, bottom), width, height, style, facecolor=face, edgecolor=edge, linewidth=0.8, **options)
    )


def _text(ax: plt.Axes, x: float, y: float, text: str, ha: str = "center", **options) -> None:
    ax.text(x, y, text, ha=ha, va="center", fontsize=9.2, color=INK, linespacing=1.1, **options)


def _line(ax: plt.Axes, xs: tuple[float, float], ys: tuple[float, float]) -> None:
    ax.plot(xs, ys, color=INK, linewidth=0.9, solid_capstyle="projecting")


def _arrow(ax: plt.Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    shape = {"arrowstyle": "-|>", "color": INK, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7}
    ax.annotate("", end, start, arrowprops=shape)


if __name__ == "__main__":
    write(figures_dir(DEFAULT_PROFILE) / NAME)
