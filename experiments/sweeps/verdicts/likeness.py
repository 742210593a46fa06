"""12 and 14: how alike generated networks are to originals, and how sensitive those are."""

from itertools import combinations, pairwise

from experiments.sweeps.findings import FAILED, MARGIN, NOT_TESTABLE, Verdict, alikeness, difference, gap, mean, word


def similarity(numbers: dict) -> list[Verdict]:
    counts = sorted((name for name in numbers["variants"] if name.isdigit()), key=int)
    fifty, most = str(numbers["checkpoints"]), counts[-1]

    def alike(name: str, key: str = "to_nearest_original") -> float:
        return mean(alikeness(numbers, name, key))

    falls = difference(alikeness(numbers, counts[0], "among_generated"), alikeness(numbers, fifty, "among_generated"))
    settles = alike(most, "among_generated") - alike(fifty, "among_generated")
    diffusion = difference(alikeness(numbers, most), alikeness(numbers, "without diffusion"))
    ensemble = {name: row["similarity"]["mean"] for name, row in numbers["ensemble"].items()}
    scatter = {
        kind: (mean(points["similarity"]), mean(points["accuracy"])) for kind, points in numbers["scatter"].items()
    }
    here, right = scatter["generated"]
    noise = [alike for kind, (alike, acc) in scatter.items() if kind.startswith("noise") and acc >= right - MARGIN]
    drop = {
        # Rounding here and adding zero spares the reader a fall of -0.0 points.
        kind: round(row["accuracy"][0] - min(row["accuracy"][1:-1] or row["accuracy"]), 1) + 0.0
        for kind, row in numbers["exchange"].items()
    }
    apart, together = drop["two independent runs"], drop["two checkpoints of one run"]
    return [
        Verdict(
            "more checkpoints make generated networks less alike, up to about 50",
            "table 25",
            word(falls.mean > 2 * falls.error, abs(settles) <= 0.05),
            "error-IoU among generated networks "
            + ", ".join(f"{alike(name, 'among_generated'):.2f} ({name})" for name in counts)
            + "; to the nearest original "
            + ", ".join(f"{alike(name):.2f}" for name in counts),
        ),
        Verdict(
            "diffusion makes networks less like the originals than regression does",
            "table 26",
            word(diffusion.mean < -2 * diffusion.error),
            f"error-IoU with the nearest original {alike(most):.2f} with and {alike('without diffusion'):.2f} without, "
            f"with the originals' vote {ensemble[most]:.2f} and {ensemble['without diffusion']:.2f}",
        ),
        Verdict(
            "generated networks trade similarity for accuracy better than noise does",
            "figures 3 / 9",
            word(bool(noise) and here < min(noise)),
            f"generated: similarity {here:.2f} at {right:.1f} %; noise of no less accuracy (margin {MARGIN} points): "
            + (f"{min(noise):.2f} at best" if noise else "none"),
        ),
        Verdict(
            "exchanging parts of two independently trained networks breaks them",
            "first version, figure 2",
            word(apart > FAILED),
            f"accuracy falls by {apart:.1f} points at worst, by {together:.1f} between checkpoints of one run and by "
            f"{drop['two generated networks']:.1f} between generated networks",
        ),
    ]


def sensitivity(numbers: dict) -> list[Verdict]:
    names = sorted(numbers["variants"], key=lambda name: numbers["variants"][name]["cells"][0]["parameters"])
    costs = {name: numbers["noise"][name]["absolute"]["0.1"]["mean"] for name in names}
    gaps = {name: -gap(numbers, name).mean for name in names}
    falls = [costs[a] > costs[b] for a, b in pairwise(names)]
    agree = [(costs[a] - costs[b]) * (gaps[a] - gaps[b]) > 0 for a, b in combinations(names, 2)]
    # Gaps that no seed tells from zero cannot widen with anything.
    visible = any(gap(numbers, name).lower for name in names)
    sizes = {name: numbers["variants"][name]["cells"][0]["parameters"] for name in names}
    return [
        Verdict(
            "smaller networks are more sensitive to noise",
            "tables 16 / 24",
            word(*falls),
            "noise of 0.1 costs " + ", ".join(f"{costs[n]:.1f} points at {sizes[n]:,} weights" for n in names),
        ),
        Verdict(
            "the more sensitive a network, the wider the gap of its generated copies",
            "tables 16 / 24",
            word(*agree) if visible else NOT_TESTABLE,
            "; ".join(f"{n}: noise costs {costs[n]:.1f}, generation {gaps[n]:+.2f} points" for n in names)
            + ("" if visible else "; no gap is clearly below zero"),
        ),
    ]
