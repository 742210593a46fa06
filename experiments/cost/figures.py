"""What 19 and 20 draw."""

import statistics
from collections.abc import Mapping, Sequence

from matplotlib import pyplot as plt

from experiments.cost.measures import MARGIN, ratio, reached
from experiments.cost.tables import NAMES, RECIPES
from experiments.report.figures import BLACK, BLUE, COLOURS, GREY, RED

MARKERS = "os^D"


def steps_taken(ax: plt.Axes, rows: Sequence[dict], title: str) -> None:
    """Draw mean accuracy against the number of sampling steps, a line per sampler; bars: ± one standard deviation."""
    for place, sampler in enumerate(dict.fromkeys(row["sampler"] for row in rows)):
        found = [row for row in rows if row["sampler"] == sampler]
        ax.errorbar(
            [row["steps"] * 1.06 ** (place - 1) for row in found],
            [row["accuracy"]["mean"] for row in found],
            [row["accuracy"]["std"] for row in found],
            marker=MARKERS[place],
            markersize=4,
            capsize=2,
            elinewidth=0.8,
            color=COLOURS[place],
            label={"ddim": "DDIM", "dpm++": "DPM-Solver++", "ddpm": "DDPM"}[sampler],
        )
    ax.set(xscale="log", xlabel="sampling steps", title=title)
    counts = (5, 20, 100, 1000)
    ax.set_xticks(counts, [f"{count:,}" for count in counts])
    ax.minorticks_off()


def bars(ax: plt.Axes, rows: Sequence[dict]) -> None:
    """Draw how many times faster each optimisation makes generation, on top of those before it."""
    names = [NAMES[row["name"]] for row in rows]
    values = [ratio(row["off"], row["on"]) for row in rows]
    ax.barh(names[::-1], values[::-1], color=BLUE, height=0.6)
    for place, value in enumerate(values[::-1]):
        ax.annotate(f"{value:.2f}", (max(value, 1), place), (3, 0), textcoords="offset points", va="center", fontsize=7)
    ax.axvline(1, color=BLACK, linewidth=0.8)
    ax.set(xlabel="times faster than without", xlim=(0, max(values) * 1.2))
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)


def growth(time: plt.Axes, memory: plt.Axes, rows: Sequence[dict]) -> None:
    """Draw time, and memory with its part beyond the output, against the number of generated parameters."""
    sizes = [row["parameters"] for row in rows]
    time.plot(sizes, [statistics.median(row["seconds"]) for row in rows], "o-", markersize=4, color=BLUE)
    time.set(xscale="log", yscale="log", xlabel="generated parameters", ylabel="seconds")
    memory.plot(sizes, [row["output"] / 1e6 for row in rows], "--", color=GREY, label="the network's tokens")
    beyond = [max(row["beyond"], 1e5) / 1e6 for row in rows]
    memory.plot(sizes, beyond, "s-", markersize=4, color=RED, label="beyond them")
    memory.set(xscale="log", yscale="log", xlabel="generated parameters", ylabel="memory (MB)")
    memory.legend()


def courses(ax: plt.Axes, zoo: Mapping, title: str, device: str) -> None:
    """Draw both recipes' accuracy against the seconds of training: means, and from the worst network to the best.

    A star: from here on within `MARGIN` of the originals, which the grey band shows with that margin.
    """
    original = zoo["original"]["mean"]
    ax.axhspan(original - MARGIN, original + MARGIN, color=GREY, alpha=0.35, linewidth=0, label="originals")
    ax.axhline(zoo["mean network"]["mean"], color=BLACK, linewidth=0.8, linestyle=":", label="mean network")
    for name, colour, marker in (("paper", RED, "s"), ("ours", BLUE, "o")):
        points = zoo[name]["points"]
        seconds, means = ([point[key] for point in points] for key in ("seconds", "mean"))
        ax.fill_between(seconds, *([p[key] for p in points] for key in ("min", "max")), color=colour, alpha=0.15, lw=0)
        ax.plot(seconds, means, marker=marker, markersize=3, color=colour, label=RECIPES[name])
        if first := reached(points, original):
            ax.plot(first["seconds"], first["mean"], "*", markersize=11, color=colour, markeredgecolor="white")
    ax.set(xscale="log", xlabel=f"seconds of training, {device}", title=title)
