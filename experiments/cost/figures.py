"""What 19 and 20 draw."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt

from experiments.cost.measures import MARGIN, ratio, ratios, reached
from experiments.cost.tables import NAMES
from experiments.report.figures import BLACK, BLUE, COLOURS, GREY, RED

MARKERS = "os^D"


def steps_taken(ax: plt.Axes, rows: Sequence[dict], title: str) -> None:
    """Draw mean accuracy against the number of sampling steps, a line per sampler; bars: ± one standard deviation.

    Where several samplers take as many steps, their marks stand 6 % apart sideways.
    """
    samplers = list(dict.fromkeys(row["sampler"] for row in rows))
    taken = {steps: [row["sampler"] for row in rows if row["steps"] == steps] for steps in {r["steps"] for r in rows}}
    for place, sampler in enumerate(samplers):
        found = [row for row in rows if row["sampler"] == sampler]
        beside = [taken[row["steps"]] for row in found]
        ax.errorbar(
            [
                row["steps"] * 1.06 ** (others.index(sampler) - (len(others) - 1) / 2)
                for row, others in zip(found, beside, strict=True)
            ],
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
    ax.set_xticks(sorted(taken), [f"{steps:,}" for steps in sorted(taken)])
    ax.minorticks_off()


def ladder(ax: plt.Axes, rows: Sequence[dict]) -> None:
    """Draw how many times faster each optimisation makes generation, on top of those before it.

    Points are ratios of medians, lines reach over the rounds.
    """
    for place, row in enumerate(rows):
        value, rounds = ratio(row["off"], row["on"]), ratios(row["off"], row["on"])
        ax.hlines(place, min(rounds), max(rounds), color=BLUE, linewidth=1.6, alpha=0.5)
        ax.plot(value, place, "o", markersize=4, color=BLUE)
        ax.annotate(f"{value:.2f}", (value, place), (0, 4), textcoords="offset points", ha="center", fontsize=7)
    ax.axvline(1, color=BLACK, linewidth=0.8)
    ax.set(xscale="log", xlabel="times faster than without", ylim=(len(rows) - 0.5, -0.7))
    low, high = ax.get_xlim()
    ticks = [x for x in (0.25, 0.5, 0.7, 0.8, 0.9, 1, 1.2, 1.4, 1.6, 2, 3, 5, 10) if low <= x <= high]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(rows)), [NAMES[row["name"]] for row in rows])
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)


def growth(time: plt.Axes, memory: plt.Axes, rows: Sequence[dict]) -> None:
    """Draw time, and memory with its part beyond the output, against the number of generated parameters.

    Times are medians, bars reach over the rounds.
    """
    sizes = [row["parameters"] for row in rows]
    medians = np.array([statistics.median(row["seconds"]) for row in rows])
    ends = np.array([[min(row["seconds"]), max(row["seconds"])] for row in rows]).T
    marks = {"marker": "o", "markersize": 4, "capsize": 2, "elinewidth": 0.8, "color": BLUE}
    time.errorbar(sizes, medians, np.abs(ends - medians), **marks)
    time.set(xscale="log", yscale="log", xlabel="generated parameters", ylabel="generation time (s)")
    memory.plot(sizes, [row["output"] / 1e6 for row in rows], "--", color=GREY, label="the network's tokens")
    beyond = [max(row["beyond"], 1e5) / 1e6 for row in rows]
    memory.plot(sizes, beyond, "s-", markersize=4, color=RED, label="beyond them")
    memory.set(xscale="log", yscale="log", xlabel="generated parameters", ylabel="memory (MB)")
    memory.legend(loc="upper left")


def courses(ax: plt.Axes, zoo: Mapping, title: str, device: str) -> None:
    """Draw both recipes' accuracy against the seconds of training: means, and from the worst network to the best.

    A star: from here on within `MARGIN` of the originals, which the grey band shows with that margin.
    """
    original = zoo["original"]["mean"]
    ax.axhspan(original - MARGIN, original + MARGIN, color=GREY, alpha=0.35, linewidth=0, label="originals")
    ax.axhline(zoo["mean network"]["mean"], color=BLACK, linewidth=0.8, linestyle=":", label="mean network")
    for name, whose, colour, marker in (("paper", "paper's", RED, "s"), ("ours", "our", BLUE, "o")):
        points = zoo[name]["points"]
        seconds, means = ([point[key] for point in points] for key in ("seconds", "mean"))
        ax.fill_between(seconds, *([p[key] for p in points] for key in ("min", "max")), color=colour, alpha=0.15, lw=0)
        ax.plot(seconds, means, marker=marker, markersize=3, color=colour, label=f"{whose} recipe")
        if first := reached(points, original):
            ax.plot(first["seconds"], first["mean"], "*", markersize=11, color=colour, markeredgecolor="white")
    star = {"marker": "*", "s": 60, "facecolors": "white", "edgecolors": BLACK, "linewidths": 0.6}
    ax.scatter([], [], label=f"within {MARGIN:g} points from here on", **star)
    ax.set(xscale="log", xlabel=f"training time (s), {device}", title=title)
