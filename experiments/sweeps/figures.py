"""What the notebooks on ablations draw."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

from experiments.report.figures import BLACK, COLOURS, GENERATED, GREEN, GREY, ORIGINAL, RED, SKY
from experiments.sweeps.evaluations import on_the_way
from experiments.sweeps.findings import accuracies, alikeness, gap
from experiments.sweeps.findings import token_sizes as sizes_of
from rpglib.analysis.accuracy import summarise


def variants(ax: plt.Axes, numbers: dict, names: Sequence[str] | None = None, labels: Sequence[str] = ()) -> None:
    """Draw accuracy by variant: a dot per generated network, one column of dots per seed, a bar at each seed's mean.

    Hollow diamonds are the originals' means.
    """
    names = list(numbers["variants"]) if names is None else list(names)
    for place, name in enumerate(names):
        cells = numbers["variants"][name]["cells"]
        room = 0.66 / len(cells)  # for a seed's column
        offsets = (np.arange(len(cells)) - (len(cells) - 1) / 2) * room
        for offset, cell in zip(offsets, cells, strict=True):
            values = cell["generated"]["accuracies"]
            ax.scatter(np.full(len(values), place + offset), values, s=7, alpha=0.4, linewidths=0, color=GENERATED)
            middle, half = cell["generated"]["mean"], 0.4 * room
            ax.hlines(middle, place + offset - half, place + offset + half, color=GENERATED, linewidth=1.4, zorder=3)
        ax.scatter(
            place + offsets,
            accuracies(numbers, name, "original"),
            s=14,
            marker="D",
            facecolors="none",
            edgecolors=ORIGINAL,
            linewidths=0.7,
            zorder=4,
        )
    ax.set_xticks(range(len(names)), labels or names)
    ax.set(xlim=(-0.5, len(names) - 0.5), ylabel="test accuracy (%)")
    ax.grid(axis="x", visible=False)
    ax.tick_params(axis="x", length=0)


def legend_of_variants(figure: plt.Figure) -> None:
    """Say once, below all panels, what `variants` draws."""
    dot = {"linestyle": "", "color": GENERATED, "alpha": 0.4, "markeredgewidth": 0}
    hollow = {"linestyle": "", "color": ORIGINAL, "fillstyle": "none", "markeredgewidth": 0.7}
    handles = [
        plt.Line2D([], [], marker="o", markersize=3, label="generated network", **dot),
        plt.Line2D([], [], color=GENERATED, linewidth=1.4, label="their mean, by seed"),
        plt.Line2D([], [], marker="D", markersize=4, label="originals' mean", **hollow),
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, columnspacing=1, handlelength=1.2, handletextpad=0.4
    )


def by_runs(ax: plt.Axes, numbers: dict) -> None:
    """Draw accuracy against the number of independent runs, a line per kind of state; bars span the seeds.

    Dashed: the mean network of as many runs; dotted: the originals. The legend names the lines from above.
    """
    kinds: dict[str, list[tuple[int, str]]] = {}
    for name in numbers["variants"]:
        runs, kind = name.split(", ")
        kinds.setdefault(kind, []).append((int(runs), name))
    labels = {"none": "no state", "per run": "state per run"}
    for place, (kind, found) in enumerate(kinds.items()):
        values = np.array([accuracies(numbers, name) for _, name in sorted(found)])
        middle = values.mean(1)
        colour, marker, line = LINES[place]
        ax.errorbar(
            [runs * 1.1 ** (place - 1.5) for runs, _ in sorted(found)],
            middle,
            [middle - values.min(1), values.max(1) - middle],
            color=colour,
            marker=marker,
            linestyle=line,
            markersize=3.5,
            linewidth=1,
            capsize=1.5,
            elinewidth=0.8,
            label=labels.get(kind, f"{kind} state"),
        )
    found = dict(sorted(max(kinds.values(), key=len)))
    means = [numbers["mean_network"][str(runs)]["accuracy"]["mean"] for runs in found]
    ax.plot(list(found), means, color=GREY, linestyle="--", marker="x", markersize=4, linewidth=1, label="mean network")
    originals = [np.mean(accuracies(numbers, name, "original")) for name in found.values()]
    ax.plot(list(found), originals, color=ORIGINAL, linestyle=":", linewidth=1, label="originals")
    ax.set(xscale="log", xlabel="independent runs in the zoo", ylabel="test accuracy (%)")
    ax.set_xticks(list(found), [str(runs) for runs in found])
    _accuracy_axis(ax)
    handles = ax.get_legend_handles_labels()[0]
    lines = {handle: handle[0] if isinstance(handle, tuple) else handle for handle in handles}
    handles.sort(key=lambda handle: -np.mean(lines[handle].get_ydata()))
    ax.figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=2.8)


BROKEN = {
    "original, two basins": "original, one basin",
    "generated, two basins, two states": "generated, two basins, one state",
    "generated, ten basins, two runs": "generated, ten basins, one run",
}
"""Of 11: pairs of networks from two basins, and the pairs from one that stand beside them."""


def lines_between(axes: Sequence[plt.Axes], numbers: dict) -> None:
    """Draw accuracy along the line between networks of two basins, a panel per kind of pair, a line per treatment.

    Grey: networks of one basin, as they are.
    """
    weights, pairs = numbers["weights"], numbers["pairs"]
    for ax, (kind, connected) in zip(axes, BROKEN.items(), strict=True):
        beside = pairs[connected]["as they are"]["curve"]
        ax.plot(weights, beside, color=GREY, linewidth=1.8, alpha=0.6, label="within one basin")
        for place, (treatment, found) in enumerate(pairs[kind].items()):
            colour, _, line = LINES[place]
            curves = np.array(found["curves"])
            ax.plot(weights, found["curve"], color=colour, linestyle=line, label=treatment, linewidth=1.1)
            ax.fill_between(weights, curves.min(0), curves.max(0), color=colour, alpha=0.15, linewidth=0)
        ax.set(title=kind, xlim=(0, 1), ylim=(0, 102), xticks=(0, 0.5, 1))
        ax.set_xticklabels(["A", "middle", "B"])


def accuracy_against_similarity(ax: plt.Axes, scatter: dict, lowest: float = 84) -> None:
    """Draw each network's accuracy against its highest error-IoU with an original (paper, v1, figure 9; v2, figure 3).

    Noise is the darker, the more of it. Networks below the accuracy `lowest` (percent) are left out: what noise leaves
    of them needs no telling apart.
    """
    noise = [kind for kind in scatter if kind.startswith("noise")]
    shades = plt.get_cmap("YlOrRd")(np.linspace(0.35, 1, len(noise)))
    groups = [("original", ORIGINAL, "o", 20), ("generated", GENERATED, "^", 8)]
    groups += [(kind, shades[place], "+x1234"[place], 10) for place, kind in enumerate(noise)]
    for front, (kind, colour, marker, size) in enumerate(groups):
        # Generated networks lie inside the originals' circles where both are at one place.
        paint = {"facecolors": "none", "edgecolors": colour} if kind == "original" else {"color": colour}
        ax.scatter(
            scatter[kind]["similarity"],
            scatter[kind]["accuracy"],
            s=size,
            marker=marker,
            linewidths=0.6,
            label=kind,
            zorder=3 - front / 10,
            **paint,
        )
    ax.set(xlabel="highest error-IoU with an original", ylabel="test accuracy (%)", ylim=(lowest, 100), xlim=(0, 1.04))
    ax.legend(loc="lower right", labelspacing=0.3, handletextpad=0.2)


def by_checkpoints(ax: plt.Axes, numbers: dict) -> None:
    """Draw similarity against the number of checkpoints that a generator learns from (paper, v2, table 25)."""
    counts = sorted((name for name in numbers["variants"] if name.isdigit()), key=int)
    keys = {
        "to nearest original": ("to_nearest_original", GENERATED, "s", "--"),
        "among generated": ("among_generated", GENERATED, "o", "-"),
        "among originals": ("among_originals", ORIGINAL, "^", "-."),
    }
    for place, (label, (key, colour, marker, line)) in enumerate(keys.items()):
        found = {int(name): alikeness(numbers, name, key) for name in counts}
        found = {count: values for count, values in found.items() if None not in values}
        middle = np.array([np.mean(values) for values in found.values()])
        low, high = (np.array([f(values) for values in found.values()]) for f in (min, max))
        ax.errorbar(
            np.array(list(found)) * 1.08 ** (place - 1),
            middle,
            [middle - low, high - middle],
            color=colour,
            marker=marker,
            linestyle=line,
            markersize=4,
            markerfacecolor="white" if marker == "s" else colour,
            capsize=2,
            elinewidth=0.8,
            label=label,
        )
    means = [numbers["mean_network"][name]["similarity"]["mean"] for name in counts]
    style = {"color": GREY, "linestyle": ":", "marker": "x", "markersize": 4, "linewidth": 1}
    ax.plot([int(name) for name in counts], means, label="mean network", **style)
    ax.set(xscale="log", xlabel="checkpoints", ylabel="error-IoU", ylim=(0, 1.02))
    # The last count has a label; one less than three times the count before it would run into that one's.
    shown = counts[-1:]
    for name in reversed(counts):
        if 3 * int(name) <= int(shown[-1]):
            shown.append(name)
    ax.set_xticks([int(name) for name in shown], shown)
    ax.minorticks_off()
    ax.legend(loc="lower left", handlelength=2.8)


def exchanged_parts(ax: plt.Axes, exchange: dict) -> None:
    """Draw accuracy against the share of exchanged weights, for three kinds of pairs (paper, v1, figure 2)."""
    shown = {
        "two checkpoints of one run": ("one run", {"color": ORIGINAL, "marker": "o", "markerfacecolor": "none"}, 5.5),
        "two generated networks": ("generated", {"color": GENERATED, "marker": "^", "linestyle": "-."}, 3),
        "two independent runs": ("independent runs", {"color": RED, "marker": "s", "linestyle": "--"}, 3.5),
    }
    for kind, (label, style, size) in shown.items():
        row = exchange[kind]
        share = 100 * np.array(row["share"])
        middle, spread = np.array(row["accuracy"]), np.array(row["std"])
        ax.plot(share, middle, markersize=size, label=label, **style)
        ax.fill_between(share, middle - spread, middle + spread, color=style["color"], alpha=0.15, linewidth=0)
    ax.set(xlabel="weights exchanged (%)", ylabel="test accuracy (%)", ylim=(0, 102))
    ax.legend(loc="center", bbox_to_anchor=(0.48, 0.6), handlelength=2.8)


def noise_against_generation(axes: Sequence[plt.Axes], numbers: dict) -> None:
    """Draw what absolute and relative noise costs networks of several sizes, and, third, relative noise of 0.1 against
    generation.

    Bars are one standard deviation over seeds. Losses stand on a scale that is linear up to a point and logarithmic
    above.
    """
    *kinds, right = axes
    for place, (name, row) in enumerate(numbers["noise"].items()):
        colour, marker, line = LINES[place]
        parameters = numbers["variants"][name]["cells"][0]["parameters"]
        style = {"color": colour, "marker": marker, "markersize": 4, "capsize": 2, "elinewidth": 0.8}
        for ax, by_sigma in zip(kinds, row.values(), strict=True):
            found = list(by_sigma.values())
            ax.errorbar(
                np.array([float(sigma) for sigma in by_sigma]) * 1.1 ** (place - 1),
                [f["mean"] for f in found],
                [f["std"] for f in found],
                linestyle=line,
                label=f"{name} ({parameters:,} values)",
                **style,
            )
        noise, lost = row["relative"]["0.1"], summarise(-gap(numbers, name))
        right.errorbar(noise["mean"], lost["mean"], lost["std"], noise["std"], **style)
    sigmas = list(by_sigma)
    units = {"absolute": "absolute noise (units of the weights)", "relative": "relative noise (std of a tensor)"}
    for ax, kind in zip(kinds, row, strict=True):
        ax.set(xscale="log", xlabel=units[kind])
        ax.set_xticks([float(sigma) for sigma in sigmas], sigmas)
        ax.minorticks_off()
    ticks = (0, 0.5, 1, 2, 5, 10, 20, 50, 100)
    for ax, most in zip(axes, (100, 100, 20), strict=True):
        ax.axhline(0, color=GREY, linewidth=0.6)
        ax.set_yscale("symlog", linthresh=1)
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.set_ylim(-0.35, 1.1 * most)
    kinds[0].set_ylabel("lost to noise (points)")
    right.set(xlabel="lost to noise of 0.1 (points)", ylabel="lost to generation (points)", xlim=(0, None))


def cost(ax: plt.Axes, values: dict[str, Sequence[float]], ylabel: str) -> None:
    """Draw what variants cost: a bar from zero to the mean over seeds, a dot per seed where seeds differ."""
    for place, row in enumerate(values.values()):
        ax.bar(place, np.mean(row), width=0.6, color=COLOURS[5], linewidth=0)
        if len(set(row)) > 1:
            offsets = (np.arange(len(row)) - (len(row) - 1) / 2) * 0.14
            ax.scatter(place + offsets, row, s=9, color=BLACK, linewidths=0, zorder=3)
    ax.set_xticks(range(len(values)), list(values))
    ax.set(xlim=(-0.5, len(values) - 0.5), ylabel=ylabel)
    ax.set_ylim(0, 1.08 * max(max(row) for row in values.values()))
    ax.grid(axis="x", visible=False)
    ax.tick_params(axis="x", length=0)


def token_sizes(axes: Sequence[plt.Axes], numbers: dict) -> None:
    """Draw accuracy (first axes) and the memory of training (second) against the token size."""
    sizes = sizes_of(numbers)
    x, names = list(sizes), list(sizes.values())
    above, below = axes
    generated, originals = ([accuracies(numbers, name, group) for name in names] for group in ("generated", "original"))
    for size, row in zip(x, generated, strict=True):
        above.scatter([size] * len(row), row, s=9, color=COLOURS[0], alpha=0.5, linewidths=0, zorder=3)
    above.plot(x, [np.mean(row) for row in generated], color=COLOURS[0], label="generated (dots: seeds)")
    above.plot(x, [np.mean(row) for row in originals], color=BLACK, linestyle="--", linewidth=0.8, label="originals")
    above.set(ylabel="test accuracy (%)")
    above.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    memory = [numbers["variants"][name]["cells"][0]["training_bytes"] / 1e6 for name in names]
    below.plot(x, memory, color=COLOURS[1], marker="o", markersize=3)
    below.set(xlabel="token size (values)", ylabel="training memory (MB)", ylim=(0, 1.1 * max(memory)))
    for ax in axes:
        ax.set_xscale("log", base=2)
        ax.set_xticks(x, [f"{size:,}" + ("\n(base)" if name == "base" else "") for size, name in sizes.items()])
        ax.minorticks_off()


def along_sequence(ax: plt.Axes, decoders: Sequence[dict]) -> None:
    """Draw an autoregressive decoder's error by place: mean over seeds, and a band from the lowest to the highest."""
    rows = {
        "free-running": [d["free"]["error"] for d in decoders],
        "teacher-forced": [d["forced"]["error"] for d in decoders],
        "originals' spread": [d["spread"] for d in decoders],
    }
    styles = ((RED, "-"), (GREEN, "-."), (ORIGINAL, (0, (4, 1.5))))
    place = np.arange(1, len(decoders[0]["spread"]) + 1)
    ax.axhline(1, color=GREY, linestyle=":", linewidth=1.2, label="tokens of zeros")
    for (label, errors), (colour, dashes) in zip(rows.items(), styles, strict=True):
        errors = np.asarray(errors)
        if label != "originals' spread" and len(errors) > 1:
            ax.fill_between(place, errors.min(0), errors.max(0), color=colour, alpha=0.2, linewidth=0)
        ax.plot(place, errors.mean(0), color=colour, linestyle=dashes, label=label)
    ax.set(yscale="log", xlabel="place in the sequence (token)", ylabel="error (standard deviations)")
    ax.margins(x=0.01)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


# ---- 13 -------------------------------------------------------------------------------------------------------------

ACCURACY_TICKS = (10, 50, 80, 90, 95, 97, 98, 99, 100)
FAILS = 5
"""Points below the originals from which on the likeness of networks says nothing."""
NOVELTY = {
    "training networks": ("original", BLACK, "+", "-"),
    "RPG": ("RPG", COLOURS[0], "o", "-"),
    "untrained RPG": ("untrained", SKY, "v", (0, (1, 1))),
    "noise": ("noise", RED, "x", "--"),
    "mean network": ("mean network", GREY, "P", "--"),
    "averages": ("average of", COLOURS[2], "s", "-."),
    "interpolation": ("interpolation", COLOURS[3], "^", ":"),
    "Gaussian": ("Gaussian", COLOURS[4], "D", (0, (4, 1, 1, 1, 1, 1))),
}
"""Kinds of networks: the beginning of their groups' names, colour, marker and line."""


def _accuracy_axis(ax: plt.Axes) -> None:
    """An axis on which the last points before 100 % have room: logarithmic in the error rate plus one point."""
    ax.set_yscale("function", functions=(lambda a: -np.log10(101 - np.minimum(a, 100.9)), lambda b: 101 - 10**-b))
    ax.set_ylim(0, 100)
    ax.set_yticks(ACCURACY_TICKS)
    ax.minorticks_off()


def _kind(groups: dict, start: str) -> list[str]:
    """The groups of a kind; of those that mix networks, the aligned ones."""
    names = [name for name in groups if name.startswith(start)]
    return [name for name in names if name.endswith("aligned")] or names


def accuracy_and_novelty(ax: plt.Axes, numbers: dict, variant: str) -> None:
    """Draw the first seed's networks: accuracy against the distance to the nearest training network.

    Lines: one LOO, and, dashed, the distance between runs.
    """
    audit = numbers["audit"][variant]["seeds"][0]
    groups = audit["groups"]
    for label, (start, colour, marker, _) in NOVELTY.items():
        points = np.array([point for name in _kind(groups, start) for point in groups[name]["points"]])
        filled = {"linewidths": 0.8} if marker in "+x" else {"linewidths": 0.5, "edgecolors": "white"}
        # A single network would be lost among the groups' fifty.
        size, front = (28, 2.6) if len(points) == 1 else (11, 2.4 if label == "RPG" else 2.2)
        ax.scatter(*points.T, s=size, color=colour, marker=marker, label=label, alpha=0.8, zorder=front, **filled)
    ax.axvline(1, color=BLACK, linewidth=0.6, zorder=1)
    if audit["between_runs"] is not None:
        ax.axvline(audit["between_runs"]["lower"], color=BLACK, linewidth=0.6, linestyle="--", zorder=1)
    ax.set(title=variant, xscale="log", xlabel="distance (LOO)")
    _accuracy_axis(ax)


def new_and_good(ax: plt.Axes, numbers: dict, variant: str) -> None:
    """Draw the share of new and good networks against the distance that counts as new, means over seeds.

    Of the sizes of noise the one that does best at each distance. At 0, left of the logarithmic axis, all good networks
    count; the axis ends at the latest where nothing is left.
    """
    audits = [seed["groups"] for seed in numbers["audit"][variant]["seeds"]]
    best = {}
    for label, (start, *_) in NOVELTY.items():
        names = _kind(audits[0], start)
        shares = np.array([[groups[name]["new_and_good"] for groups in audits] for name in names], dtype=float)
        best[label] = 100 * shares.mean(1).max(0)
    zero, *multiples = numbers["multiples"]
    left = np.array(list(best.values())).max(0) > 0
    count = min(len(left), int(left.sum()) + 1)
    places = [multiples[0] / 2, *multiples][:count]
    for label, (_, colour, marker, line) in NOVELTY.items():
        front = 2.4 if label == "RPG" else 2.2
        style = {"color": colour, "marker": marker, "linestyle": line, "markersize": 3.2, "zorder": front}
        ax.plot(places, best[label][:count], label=label, **style)
    ax.set(xscale="log", xlabel="counts as new from (LOO)", ylim=(-4, 104))
    powers = [tick for tick in multiples[: count - 1] if math.log2(tick).is_integer()]
    ax.set_xticks([places[0], *powers], [f"{tick:g}" for tick in (zero, *powers)])
    ax.minorticks_off()


# ---- 03, 07, 09 -----------------------------------------------------------------------------------------------------

LINES = (
    (COLOURS[0], "o", "-"),
    (COLOURS[1], "s", "--"),
    (COLOURS[2], "^", "-."),
    (COLOURS[3], "D", ":"),
    (COLOURS[4], "v", "-"),
)
NO_RECURRENCE = LINES[3]
"""Whatever stands beside it, so that notebooks agree."""
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def learning(ax: plt.Axes, numbers: dict, names: Mapping[str, str], seconds: Mapping[str, float] | None = None) -> None:
    """Draw accuracy against the training step, a line per variant, from {label: variant}.

    seconds: of one step, by variant, for an axis of training time instead. Lines are means over seeds, bands reach from
    the lowest seed to the highest; the black line is the originals' mean.
    """
    _learning(ax, numbers, names, 1, seconds)
    originals = [value for name in names.values() for value in accuracies(numbers, name, "original")]
    ax.axhline(np.mean(originals), color=BLACK, linewidth=0.8, zorder=1.5)
    ax.set_ylabel("test accuracy (%)")
    _accuracy_axis(ax)


def learning_alike(ax: plt.Axes, numbers: dict, names: Mapping[str, str]) -> None:
    """Draw error-IoU among generated networks as `learning` draws accuracy; hollow markers where the networks fail."""
    _learning(ax, numbers, names, 2)
    originals = np.mean([value for name in names.values() for value in accuracies(numbers, name, "original")])
    for place, (label, name) in enumerate(names.items()):
        colour, marker, _ = _line(label, place)
        failed = [found for found in on_the_way(numbers, name) if np.mean(found[1]) < originals - FAILS]
        places = [found[0] for found in failed], [np.mean(found[2]) for found in failed]
        ax.plot(*places, color=colour, marker=marker, linestyle="", markersize=3.2, markerfacecolor="white")
    alike = [value for name in names.values() for value in alikeness(numbers, name, "among_originals")]
    ax.axhline(np.mean(alike), color=BLACK, linewidth=0.8, zorder=1.5)
    ax.set(ylabel="error-IoU among generated", ylim=(0, 1.02))


def _line(label: str, place: int) -> tuple[str, str, str]:
    return NO_RECURRENCE if label == "no recurrence" else LINES[place]


def _learning(ax: plt.Axes, numbers: dict, names: Mapping[str, str], index: int, seconds=None) -> None:
    every: set[float] = set()
    for place, (label, name) in enumerate(names.items()):
        colour, marker, line = _line(label, place)
        evaluations = on_the_way(numbers, name)
        places = np.array([found[0] for found in evaluations]) * (seconds[name] if seconds else 1)
        values = np.array([found[index] for found in evaluations])
        ax.plot(places, values.mean(1), color=colour, marker=marker, linestyle=line, markersize=3.2, label=label)
        ax.fill_between(places, values.min(1), values.max(1), color=colour, alpha=0.15, linewidth=0)
        every |= set(places)
    ticks = [tick for tick in TICKS if min(every) <= tick <= max(every)] if seconds else sorted(every)
    ax.set(xscale="log", xlabel="training time (s)" if seconds else "training step")
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()


def legend_below(figure: plt.Figure, ax: plt.Axes, **more: str) -> None:
    """One legend of `ax` for all panels; `more`: what a thin black line means."""
    handles, labels = ax.get_legend_handles_labels()
    for label in more.values():
        handles.append(plt.Line2D([], [], color=BLACK, linewidth=0.8))
        labels.append(label)
    columns = math.ceil(len(labels) / math.ceil(len(labels) / 6))  # six are as wide as a page
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, columnspacing=1.2, handlelength=2.8)
