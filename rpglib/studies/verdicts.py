"""Verdicts: what the records say of the paper's claims, in words that follow from the numbers."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

REPRODUCED, IN_PART, NOT_REPRODUCED = "reproduced", "reproduced in part", "not reproduced"
NOT_TESTABLE, OURS = "not testable at this scale", "new here"
MARGIN = 0.5
"""Points of accuracy that count as a difference, where the seeds do not spread wider."""
FAILED = 10.0
"""Points below the originals at which generation counts as failed."""


@dataclass(frozen=True)
class Verdict:
    """A claim, where the paper makes it ("" where it is ours), whether it held here, and the numbers that say so."""

    claim: str
    source: str
    word: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.claim} ({self.source or 'not in the paper'}): {self.word}; {self.evidence}"


def word(*held: bool) -> str:
    """The verdict on a claim of the paper, tested once or in several places."""
    return REPRODUCED if all(held) else IN_PART if any(held) else NOT_REPRODUCED


@dataclass(frozen=True)
class Difference:
    """Mean over seeds of a paired difference, and its standard error (0 for a single seed)."""

    mean: float
    error: float

    @property
    def lower(self) -> bool:
        """Clearly below zero: by more than the margin and than twice the standard error."""
        return self.mean < -max(MARGIN, 2 * self.error)

    @property
    def higher(self) -> bool:
        """Clearly above zero."""
        return self.mean > max(MARGIN, 2 * self.error)

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ± {self.error:.2f}"


def accuracies(numbers: dict, variant: str, group: str = "generated") -> list[float]:
    """Mean accuracy in percent of every seed's networks."""
    return [cell[group]["mean"] for cell in numbers["variants"][variant]["cells"]]


def mean(values: Sequence[float]) -> float:
    """The mean over seeds."""
    return statistics.fmean(values)


def difference(values: Sequence[float], others: Sequence[float]) -> Difference:
    """The paired difference of two lists, seed by seed, with its standard error."""
    pairs = [a - b for a, b in zip(values, others, strict=True)]
    spread = statistics.stdev(pairs) / math.sqrt(len(pairs)) if len(pairs) > 1 else 0.0
    return Difference(statistics.fmean(pairs), spread)


def against(numbers: dict, variant: str, other: str = "base") -> Difference:
    """How much better (points) one variant's networks are than another's."""
    return difference(accuracies(numbers, variant), accuracies(numbers, other))


def gap(numbers: dict, variant: str) -> Difference:
    """How much better (points) a variant's generated networks are than its originals."""
    return difference(accuracies(numbers, variant), accuracies(numbers, variant, "original"))


def alikeness(numbers: dict, variant: str, key: str = "to_nearest_original") -> list[float]:
    """One of the error-IoUs of `diversity` of every seed."""
    return [cell["diversity"][key] for cell in numbers["variants"][variant]["cells"]]


# ---- one function per notebook ----------------------------------------------------------------------------------


def recurrent_and_positions(numbers: dict) -> list[Verdict]:
    none = against(numbers, "no recurrence")
    positions = {name: against(numbers, name) for name in ("by index", "learned")}
    return [
        Verdict(
            "without recurrence generation fails",
            "table 4a",
            word(none.lower),
            f"without it {mean(accuracies(numbers, 'no recurrence')):.1f} %, with it "
            f"{mean(accuracies(numbers, 'base')):.1f} % (difference {none})",
        ),
        Verdict(
            "positions by layer, by index or learned serve alike",
            "table 4b",
            word(not any(d.lower or d.higher for d in positions.values())),
            "; ".join(f"{name} {d} against by layer" for name, d in positions.items()),
        ),
    ]


def permutation_state(numbers: dict) -> list[Verdict]:
    kinds: dict[str, dict[int, str]] = {}
    for name in numbers["variants"]:
        runs, kind = name.split(", ")
        kinds.setdefault(kind, {})[int(runs)] = name
    with_state = next(iter(kinds))
    other = next(kind for kind in kinds if kind not in (with_state, "none"))
    several = sorted(runs for runs in kinds[with_state] if runs > 1)
    single = against(numbers, kinds[with_state][1], kinds["none"][1])

    def each(kind: str) -> str:
        found = (f"{runs} runs {mean(accuracies(numbers, kinds[kind][runs])):.1f} %" for runs in several)
        return f"{', '.join(found)} (originals {mean(accuracies(numbers, kinds[kind][several[-1]], 'original')):.1f} %)"

    both = [against(numbers, kinds[other][runs], kinds[with_state][runs]) for runs in kinds[other]]
    return [
        Verdict(
            "with one run, permutation states change nothing in accuracy",
            "tables 15 / 17",
            word(not (single.lower or single.higher)),
            f"with against without states {single}; error-IoU among generated networks "
            f"{mean(alikeness(numbers, kinds[with_state][1], 'among_generated')):.2f} with, "
            f"{mean(alikeness(numbers, kinds['none'][1], 'among_generated')):.2f} without",
        ),
        Verdict(
            "without states, several runs make generation fail",
            "tables 15 / 17",
            word(*(gap(numbers, kinds["none"][runs]).mean < -FAILED for runs in several)),
            each("none"),
        ),
        Verdict(
            "with states, several runs do as well as one",
            "tables 15 / 17",
            word(*(not gap(numbers, kinds[with_state][runs]).lower for runs in several)),
            each(with_state),
        ),
        Verdict(
            f"a {other} state does what a {with_state} one does",
            "",
            OURS,
            "; ".join(f"{runs} runs {found}" for runs, found in zip(kinds[other], both, strict=True))
            + f" ({other} against {with_state}, points)",
        ),
    ]


def linear_mode_connectivity(numbers: dict) -> list[Verdict]:
    pairs = numbers["pairs"]

    def barrier(kind: str, treatment: str = "as they are") -> float:
        return pairs[kind][treatment]["barrier"]["mean"]

    def middle(kind: str) -> str:
        curve = pairs[kind]["as they are"]["curve"]
        return f"{curve[0]:.1f} / {curve[len(curve) // 2]:.1f} / {curve[-1]:.1f}"

    one, same, two = "generated, one basin", "generated, two basins, one state", "generated, two basins, two states"
    treatments = [t for t in pairs[two] if t != "as they are"]
    return [
        Verdict(
            "networks generated with one state, or from one basin, are linearly connected",
            "table 18",
            word(barrier(one) <= 2 * MARGIN, barrier(same) <= 2 * MARGIN),
            f"ends and middle, one basin {middle(one)}, two basins and one state {middle(same)} (%); barriers "
            f"{barrier(one):.2f} and {barrier(same):.2f} points",
        ),
        Verdict(
            "networks generated with two states are not",
            "table 18",
            word(barrier(two) > FAILED),
            f"{middle(two)} (%); barrier {barrier(two):.1f} points, of originals of two runs "
            f"{barrier('original, two basins'):.1f}",
        ),
        Verdict(
            "what weight matching and fresh BatchNorm statistics leave of the barrier between two states",
            "",
            OURS,
            "; ".join(
                f"{t} {barrier(two, t):.1f} (originals {barrier('original, two basins', t):.1f})" for t in treatments
            )
            + " points",
        ),
    ]


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
        kind: row["accuracy"][0] - min(row["accuracy"][1:-1] or row["accuracy"])
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
            word(*agree),
            "; ".join(f"{n}: noise {costs[n]:.1f}, generation {gaps[n]:.2f} points" for n in names),
        ),
    ]


def tokenization(numbers: dict) -> list[Verdict]:
    """Failing: below half of the originals' accuracy, with other sizes above it.

    Rising: the largest size is clearly better than the smallest, and none clearly worse than the next smaller one.
    """
    cuts = {name: against(numbers, name) for name in ("flatten", "channel")}
    sizes = token_sizes(numbers)
    names = list(sizes.values())
    reached = {size: mean(accuracies(numbers, name)) for size, name in sizes.items()}
    smallest, originals = reached[min(sizes)], mean(accuracies(numbers, names[0], "original"))
    steps = [against(numbers, b, a) for a, b in pairwise(names)]
    whole = against(numbers, names[-1], names[0])
    memory = {size: numbers["variants"][name]["cells"][0]["training_bytes"] / 1e6 for size, name in sizes.items()}
    return [
        Verdict(
            "tokens cut within layers beat a flattened network and tokens of whole channels",
            "figure 4",
            word(all(d.lower for d in cuts.values())),
            f"within layers {mean(accuracies(numbers, 'base')):.1f} %; "
            + "; ".join(f"{name} {mean(accuracies(numbers, name)):.1f} % ({d})" for name, d in cuts.items()),
        ),
        Verdict(
            "too small tokens fail",
            "table 6",
            word(smallest < originals / 2 < max(reached.values())),
            f"{min(sizes)} values reach {smallest:.1f} %, the originals {originals:.1f} %",
        ),
        Verdict(
            "accuracy rises with the token size",
            "table 6",
            word(whole.higher and not any(d.lower for d in steps)),
            ", ".join(f"{size}: {value:.1f} %" for size, value in reached.items())
            + f" (largest against smallest {whole})",
        ),
        Verdict(
            "large tokens cost memory",
            "figure 8a",
            word(all(memory[max(sizes)] > other for size, other in memory.items() if size != max(sizes))),
            ", ".join(f"{size}: {value:.1f} MB" for size, value in memory.items()),
        ),
    ]


def token_sizes(numbers: dict) -> dict[int, str]:
    """The variants cut within layers, the base included, by the number of values in a token, the smallest first."""
    found = {}
    for name, variant in numbers["variants"].items():
        if not variant["changes"].keys() - {"model.token_size"}:
            first = variant["cells"][0]
            found[round(first["parameters"] / (first["tokens"] * (1 - first["padding"])))] = name
    return dict(sorted(found.items()))


def structure(numbers: dict) -> list[Verdict]:
    """Time counts as more where it is by twice the standard error over seeds; memory is counted and has none."""
    names = {"base": "Mamba-2"} | {name: name for name in numbers["variants"] if name != "base"}
    gaps, other = {name: gap(numbers, name) for name in names}, [name for name in names if name != "base"]
    seconds = {name: [cell["seconds"]["train"] for cell in numbers["variants"][name]["cells"]] for name in names}
    memory = {name: numbers["variants"][name]["cells"][0]["training_bytes"] / 1e6 for name in names}
    slower = [difference(seconds[name], seconds["base"]) for name in other]
    alike = [against(numbers, name) for name in other]
    return [
        Verdict(
            "LSTM, Transformer and Mamba-2 all give good results, within 0.5 points",
            "table 5",
            word(not any(d.lower for d in gaps.values()) and not any(d.lower or d.higher for d in alike)),
            "; ".join(
                f"{label} {mean(accuracies(numbers, name)):.1f} % ({gaps[name]} against originals)"
                for name, label in names.items()
            ),
        ),
        Verdict(
            "Mamba needs the least training time",
            "table 5",
            word(all(d.mean > 2 * d.error for d in slower)),
            ", ".join(f"{label} {mean(seconds[name]):.0f} s" for name, label in names.items()),
        ),
        Verdict(
            "Mamba needs the least training memory",
            "table 5",
            word(all(memory["base"] < memory[name] for name in other)),
            ", ".join(f"{label} {memory[name]:.1f} MB" for name, label in names.items()),
        ),
        _decoder(numbers),
    ]


def _decoder(numbers: dict) -> Verdict:
    """Errors add up: free running over teacher-forced error grows from the first to the last fifth of the tokens.

    Noise: the last fifth, but not the first, is at least as wrong as zeros, each layer's mean, which are wrong by 1.
    """
    decoders = numbers["decoder"]
    free, forced, spread = (
        [fifths(_error(decoder, key)) for decoder in decoders] for key in ("free", "forced", "spread")
    )
    start, end = ([a[k] / b[k] for a, b in zip(free, forced, strict=True)] for k in (0, -1))
    growth = difference(end, start)
    first, last = (mean([values[k] for values in free]) for k in (0, -1))
    reached, originals = mean([d["free"]["mean"] for d in decoders]), mean(accuracies(numbers, "base", "original"))
    return Verdict(
        "an autoregressive decoder's errors add up until the end of the sequence is noise",
        "appendix C.9",
        word(growth.mean > 2 * growth.error and first < 1 <= last),
        f"free-running error {first:.3f} in the first fifth of the tokens, {last:.3f} "
        f"in the last (noise: 1; originals' spread there {mean([values[-1] for values in spread]):.3f}), "
        f"{mean(start):.2f} and {mean(end):.2f} times the teacher-forced ({growth}); accuracy {reached:.1f} %, "
        f"teacher-forced {mean([d['forced']['mean'] for d in decoders]):.1f} %, originals {originals:.1f} %",
    )


def _error(decoder: dict, key: str) -> Sequence[float]:
    return decoder[key] if key == "spread" else decoder[key]["error"]


def fifths(values: Sequence[float]) -> list[float]:
    """Means over five equal stretches of a sequence."""
    cuts = [round(k * len(values) / 5) for k in range(6)]
    return [mean(values[a:b]) for a, b in pairwise(cuts)]
