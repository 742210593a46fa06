"""The figures of `22_networks_on_demand`."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib import pyplot as plt

from experiments.ondemand.family import background_of, taken
from experiments.ondemand.tables import each
from experiments.report.figures import GENERATED, GREEN, GREY, ORANGE, ORIGINAL, PURPLE, RED, SKY
from rpglib.zoo.images import Split

LOOKS = {
    "specialists, trained there": (ORIGINAL, "*", "-"),
    "behaviour": (GENERATED, "o", "--"),
    "generalist": (GREY, "X", ":"),
    "zoo": (SKY, "v", "-"),
    "zoo, diffusion": (PURPLE, "P", "-"),
    "plain hypernetwork": (GREEN, "s", "-"),
    "kernel ridge": (RED, "D", "-"),
    "neighbours, interpolated": (ORANGE, "^", "-"),
    "generalist, fine-tuned for an epoch": (GREY, "<", "-"),
    "generalist, fine-tuned for ten epochs": (GREY, ">", "-"),
}
"""Of each method: its colour, its marker, and the line that it is where the size of the zoo does not matter."""
LABELS = {"behaviour": "ours (behaviour)"}


def circumstances(axes: Sequence[plt.Axes], split: Split, rows: Sequence[Sequence[float]]) -> None:
    """Draw the first image as it is taken under each of the rows."""
    generator = torch.Generator().manual_seed(0)
    for ax, (angle, blur, noise) in zip(axes, rows, strict=True):
        row = torch.tensor([[angle, blur, noise]])
        (found,) = taken(split.images[None, :1], row, background_of(split), generator)
        ax.imshow(-found[0, 0], cmap="gray")
        turned = f"{angle:g}°".replace("-", "−")
        ax.set_title(f"{turned}\nblur {blur:g} px\nnoise {noise:g}", fontsize="small")
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
        ax.spines[:].set_visible(True)


def over_zoo(ax: plt.Axes, numbers: dict, sizes: Sequence[int], names: Sequence[str], lines: Sequence[str]) -> None:
    """Draw accuracy on held-out rows against the size of the zoo, and as lines what does not depend on it.

    names: of the methods with a size, their means and range over seeds; lines: of the others.
    """
    for name in names:
        values = np.array([each(numbers, f"{name} @ {size}") for size in sizes])
        colour, marker, _ = LOOKS[name]
        ax.plot(sizes, values.mean(1), color=colour, marker=marker, markersize=3.5)
        ax.fill_between(sizes, values.min(1), values.max(1), color=colour, alpha=0.15, linewidth=0)
    for name in lines:
        colour, _, style = LOOKS[name]
        ax.axhline(np.mean(each(numbers, name)), color=colour, linewidth=0.9, linestyle=style)
    ax.set_xscale("log")
    ax.set_xticks(list(sizes), [str(size) for size in sizes])
    ax.minorticks_off()
    ax.set(xlabel="networks of the zoo", ylabel="accuracy, held out (%)")


def accuracy_against_seconds(ax: plt.Axes, numbers: dict, names: Mapping[str, str]) -> None:
    """Draw accuracy on held-out rows (mean and range over seeds) against the seconds of a further network.

    names: {method: what it looks like}.
    """
    for name, looks in names.items():
        values = np.array(each(numbers, name))
        colour, marker, _ = LOOKS[looks]
        error = [[values.mean() - values.min()], [values.max() - values.mean()]]
        at = numbers["cost"][name]["network"]["mean"], values.mean()
        ax.errorbar(*at, error, fmt=marker, color=colour, markersize=5, elinewidth=0.8, capsize=1.5)
    ax.set_xscale("log")
    ax.set(xlabel="time of one core for a network (s)")


def legend(figure: plt.Figure, names: Sequence[str]) -> None:
    """Say once, below all panels, what each method looks like."""
    handles = [
        plt.Line2D([], [], color=colour, marker=marker, linestyle=style, markersize=4, label=LABELS.get(name, name))
        for name, (colour, marker, style) in LOOKS.items()
        if name in names
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
