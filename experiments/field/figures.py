"""The figures of `24_baselines`."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator

from experiments.field.study import EQUAL, OWN
from experiments.field.tables import accuracy, better, each, lower
from experiments.report.figures import BLACK, GENERATED, GREY, RED

LINES = ("-", "--")
"""Of the stages of a training."""


def gaps(axes: Sequence[plt.Axes], zoos: Mapping, names: Sequence[str], others: Sequence[str]) -> None:
    """Draw each method's mean accuracy less the originals' (points), as `_by_method` does; the line is no difference.

    The axis is linear to a point on either side and logarithmic beyond, so that both small and large gaps are seen.
    """
    of = {name: accuracy(zoo["rows"][OWN]["originals"][0]) for name, zoo in zoos.items()}
    _by_method(axes, zoos, names, others, lambda name, row: accuracy(row) - of[name])
    farthest = max(2, *(1.3 * ax.dataLim.x1 for ax in axes))
    for ax in axes:
        ax.axvline(0, color=BLACK, linewidth=0.6, zorder=1)
        ax.set_xscale("symlog", linthresh=1, linscale=1.5)
        ax.set_xlim(-130, farthest)
        ax.set_xticks([-100, -10, -1, 0, 1], ["−100", "", "−1", "0", "1"])


def distances(axes: Sequence[plt.Axes], zoos: Mapping, names: Sequence[str], others: Sequence[str]) -> None:
    """Draw each method's median distance (LOO), the lower of plain and aligned, as `_by_method` does; the line is 1."""
    _by_method(axes, zoos, names, others, lambda name, row: lower(row))
    for ax in axes:
        ax.axvline(1, color=BLACK, linewidth=0.6, zorder=1)
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(100))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_locator(LogLocator(10))
        ax.xaxis.set_minor_formatter("")


def _by_method(
    axes: Sequence[plt.Axes],
    zoos: Mapping,
    names: Sequence[str],
    others: Sequence[str],
    value: Callable[[str, Mapping], float],
) -> None:
    """Draw a number of each seed of each method, a row each, of each zoo, a panel each; `others` stand last and grey.

    Filled is the length at which a method is better on validation images, hollow and a little lower the other one. The
    row of a method that a zoo lacks, or that could not be fitted there, stays empty.
    """
    rows = [*names, *others]
    marks = {names[0]: (GENERATED, "o")} | dict.fromkeys(names[1:], (RED, "D")) | dict.fromkeys(others, (GREY, "s"))
    for ax, (title, zoo) in zip(axes, zoos.items(), strict=True):
        for place, name in enumerate(rows):
            if name not in zoo["rows"][OWN]:
                continue
            colour, marker = marks[name]
            best, two = better(zoo, name), name in zoo["rows"][EQUAL]
            for length in (OWN, EQUAL) if two else (OWN,):
                filled = length == best
                height = place + two * (-0.14 if filled else 0.24)
                # NaN, which is not drawn, where a method could not be fitted.
                seeds = np.array(each(zoo, length, name, lambda row, title=title: value(title, row)), dtype=float)
                ax.plot(
                    seeds,
                    np.full(len(seeds), height),
                    linestyle="",
                    color=colour,
                    marker=marker,
                    markersize=2.6,
                    markeredgewidth=0.5,
                    fillstyle="full" if filled else "none",
                )
        ax.axhline(len(names) - 0.5, color=GREY, linewidth=0.6)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_yticks(range(len(rows)), rows)
        ax.tick_params(axis="y", length=0)
        ax.tick_params(labelsize=6)


def curves(axes: Sequence[plt.Axes], zoo: Mapping, kinds: Mapping[str, str]) -> None:
    """Draw how the loss of each stage of a method's training fell, of its first seed, at its own length.

    kinds: what each method's loss is, for the titles. The panel of a method that could not be fitted stays empty.
    """
    for place, (ax, (name, kind)) in enumerate(zip(axes, kinds.items(), strict=True)):
        ax.set_title(f"{name}\n({kind})", fontsize=7)
        if name not in zoo["cost"][OWN]:
            continue
        stages = list(zoo["cost"][OWN][name]["loss"].items())
        for line, (stage, losses) in zip(LINES, stages, strict=False):
            colour = RED if place else GENERATED
            ax.plot(np.linspace(0, 100, len(losses)), losses, color=colour, linestyle=line, label=stage)
        drawn = [loss for _, losses in stages for loss in losses]
        if min(drawn) > 0:
            ax.set_yscale("log")
            # Whole decades, so that each axis has two labels at least.
            ax.set_ylim(10 ** np.floor(np.log10(min(drawn))), 10 ** np.ceil(np.log10(max(drawn))))
        else:  # a likelihood's
            ax.set_yscale("symlog", linthresh=1, subs=None)
            ax.set_yticks([-1000, 0, 1000])
        ax.minorticks_off()
        ax.legend(fontsize=6, handlelength=1.4)
