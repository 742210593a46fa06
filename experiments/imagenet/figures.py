"""The figure on what the large networks cost, in the style of `experiments.report.figures`."""

from collections.abc import Mapping, Sequence

from matplotlib import pyplot as plt

from experiments.imagenet.tables import GIGABYTES, SECONDS
from experiments.report.figures import BLACK, COLOURS

FAMILIES = {"resnet": "ResNet", "vit": "ViT", "convnext": "ConvNeXt", "swin": "Swin", "mobilenet": "MobileNet"}
MARKERS = ("s", "o", "^", "D", "v")
QUANTITIES = (
    ("process_seconds", "time of the process (s)", SECONDS, (5, 10, 20, 50, 100)),
    ("peak_gb", "peak memory (GB)", GIGABYTES, (0.5, 1, 2, 5, 10)),
)
MILLIONS = (3, 10, 30, 100, 300)


def costs(axes: Sequence[plt.Axes], found: Mapping[str, dict]) -> None:
    """Draw seconds of the process and its peak memory (GB) against the number of values, and both limits."""
    for ax, (key, label, limit, ticks) in zip(axes, QUANTITIES, strict=True):
        every = [cost[key] for cost in found.values()]
        for (prefix, family), marker, colour in zip(FAMILIES.items(), MARKERS, COLOURS, strict=False):
            members = [cost for name, cost in found.items() if name.startswith(prefix)]
            sizes = [cost["parameters"] / 1e6 for cost in members]
            values = [cost[key] for cost in members]
            ax.scatter(sizes, values, s=22, marker=marker, color=colour, alpha=0.85, linewidths=0, label=family)
        ax.axhline(limit, color=BLACK, linestyle="--", linewidth=0.8)
        ax.annotate(f"limit {limit}", (0.02, limit), xycoords=("axes fraction", "data"), va="bottom", fontsize=7)
        ax.set(xscale="log", yscale="log", xlabel="values in the network (millions)", ylabel=label)
        ax.set_xticks(MILLIONS, [f"{tick:g}" for tick in MILLIONS])
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
        low, high = min(ticks[0], 0.8 * min(every)), max(1.4 * limit, 1.2 * max(every))
        ax.set(xlim=(MILLIONS[0], MILLIONS[-1]), ylim=(low, high))
