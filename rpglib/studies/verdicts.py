"""Verdicts: what the records say of the paper's claims, in words that follow from the numbers."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
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


ALIKE = 0.05
"""Error-IoU that counts as a difference between means of pairs, where the seeds do not spread wider."""


def memorisation(numbers: dict) -> list[Verdict]:
    """Zeng et al.'s questions, for every way of collecting; the words follow from the seeds' means and their errors.

    Where less than half of the generated networks reach the originals' lowest accuracy, accuracy fails, and neither
    distance nor similarity is worth a word.
    """
    found = []
    for name, variant in numbers["audit"].items():
        audits = [seed["groups"] for seed in variant["seeds"]]
        # At distance 0 the share of new and good networks is that of the good ones.
        works = mean([groups["RPG"]["new_and_good"][0] for groups in audits]) >= 0.5
        found += [
            replace(verdict, word=verdict.word if works else "accuracy fails, so this says nothing")
            for verdict in _novelty(name, audits, numbers["multiples"])
        ]
    return found


def _novelty(name: str, audits: list[dict], multiples: Sequence[float]) -> list[Verdict]:
    def values(group: str, key: str, statistic: str) -> list[float]:
        return [groups[group][key][statistic] for groups in audits]

    def against_originals(key: str, statistic: str) -> tuple[Difference, str]:
        ours, theirs = values("RPG", key, statistic), values("original", key, statistic)
        return difference(ours, theirs), f"{mean(ours):.3g} against {mean(theirs):.3g}"

    near, distances = against_originals("aligned_distance", "median")
    alike, similarities = against_originals("similarity", "mean")
    apart, distance = values("RPG", "apart", "median"), values("RPG", "aligned_distance", "median")
    common = _side(difference(apart, distance))
    rates = {group: [_rate(groups[group], multiples) for groups in audits] for group in audits[0]}
    ours = rates.pop("RPG")
    del rates["original"]
    behind = {group: difference(ours, row) for group, row in rates.items()}
    better = [group for group, d in behind.items() if _side(d) < 0]
    level = [group for group, d in behind.items() if _side(d) == 0]
    rows = [f"RPG {mean(ours):.2f}", *(f"{group} {mean(rates[group]):.2f}" for group in better + level)]
    return [
        Verdict(
            f"{name}: generated networks lie nearer to a training network than training networks to each other",
            "",
            _yes(_side(near) < 0, _side(near) == 0),
            f"median distance {distances} of the training networks' own; mean accuracy "
            f"{mean(values('RPG', 'accuracy', 'mean')):.1f} % against "
            f"{mean(values('original', 'accuracy', 'mean')):.1f} %",
        ),
        Verdict(
            f"{name}: a generated network's highest error-IoU with a training network is higher than theirs",
            "",
            _yes(_side(alike) > 0, _side(alike) == 0),
            f"mean {similarities}",
        ),
        Verdict(
            f"{name}: generated networks share what is new: they lie nearer to each other than to a training network",
            "",
            _yes(common < 0, common == 0),
            f"median distance to the nearest of their own {mean(apart):.3g}, to the nearest training network "
            f"{mean(distance):.3g}",
        ),
        Verdict(
            f"{name}: more of RPG's networks are both new and good than of every simple rival",
            "",
            _yes(not better and not level, not better),
            f"mean share over distances of 1 unit and more, with the rivals that are not behind: {', '.join(rows)}",
        ),
    ]


def _rate(group: dict, multiples: Sequence[float]) -> float:
    """The share of new and good networks, averaged over the distances at which new means anything."""
    return mean([share for k, share in zip(multiples, group["new_and_good"], strict=True) if k >= 1])


def _side(d: Difference, margin: float = 0.0) -> int:
    """-1 or 1 where a difference is beyond the margin and twice its standard error, or else 0."""
    return (d.mean > 0) - (d.mean < 0) if abs(d.mean) > max(margin, 2 * d.error) else 0


def _yes(held: bool, open_: bool) -> str:
    """The answer to a question of ours."""
    return "yes" if held else "no clear difference" if open_ else "no"


def training_objective(numbers: dict) -> list[Verdict]:
    """What predictions end in, which normalisation gives accuracy and spread, and whether the defaults stand.

    Accurate: at most `MARGIN` below the originals in the mean. Spread is kept where error-IoU among generated networks
    is at most `ALIKE` above that among originals in the mean, lost where it is above by twice its standard error, too,
    and open otherwise. The choice: of all variants whose mean accuracy is within `MARGIN` of the best, the one whose
    error-IoU among generated networks is nearest to that among originals, in the mean over seeds. A default stands
    where its accuracy is within the margin, too, and its error-IoU not clearly farther off than the choice's.
    """
    names = list(numbers["variants"])
    accurate = [name for name in names if gap(numbers, name).mean >= -MARGIN]
    excess = {name: _excess(numbers, name) for name in names}
    fate = {name: _fate(excess[name]) for name in accurate}
    steps = {name: steps_to_work(numbers, name) for name in names}
    sample, epsilon = ([name for name in names if name.startswith(kind)] for kind in ("sample", "epsilon"))
    pairs = list(zip(epsilon, sample, strict=True))

    def rows(chosen: Sequence[str]) -> str:
        return "; ".join(
            f"{name} {mean(accuracies(numbers, name)):.1f} %, excess IoU {excess[name]} ({fate.get(name, 'fails')})"
            for name in chosen
        )

    found = [
        Verdict(
            "sample prediction ends near the mean network: accurate, but more alike than the originals",
            "",
            _share([fate.get(name) == "lost" for name in sample]),
            f"originals {mean(accuracies(numbers, names[0], 'original')):.1f} %; {rows(sample)}",
        ),
        Verdict(
            "epsilon prediction keeps the originals' spread where it is accurate",
            "",
            _fates([fate[name] for name in epsilon if name in fate]),
            rows(epsilon),
        ),
        Verdict(
            "epsilon needs more steps than sample prediction to come within the margin of the originals' accuracy",
            "",
            _share([steps[a] > steps[b] for a, b in pairs]),
            "; ".join(f"{name} {_count(steps[name])}" for pair in pairs for name in pair),
        ),
    ]
    for kind in dict.fromkeys(name.partition(", ")[2] for name in names):
        ours = [name for name in names if name.endswith(kind)]
        found.append(
            Verdict(
                f"normalised by {kind}, generated networks are accurate and keep the spread, whatever is predicted",
                "",
                _fates([fate.get(name, "fails") for name in ours]),
                rows(ours),
            )
        )
    for use, name in DEFAULTS.items():
        found.append(_stands(numbers, f"the default of {use}, {name}, stands", name, names))
    layer = [name for name in names if name.endswith("layer")]
    found.append(_stands(numbers, "the default of the ablations stands on the paper's tokens", ABLATIONS, layer))
    return found


def _stands(numbers: dict, claim: str, default: str, names: Sequence[str]) -> Verdict:
    chosen, deviation = choice_of(numbers, names)
    evidence = f"the rule chooses {chosen}, IoU off by {mean(deviation[chosen]):.2f}"
    if default not in deviation:
        return Verdict(claim, "", "no", f"{evidence}; the default's accuracy is not within the margin of the best")
    farther = difference(deviation[default], deviation[chosen])
    held = _side(farther, ALIKE) <= 0
    return Verdict(claim, "", "yes" if held else "no", f"{evidence}; the default's is farther off by {farther}")


ABLATIONS = "sample, layer"
DEFAULTS = {"the main results": "velocity, residual", "the ablations": ABLATIONS}
"""What `profiles.SMALL_MODEL` and `studies.recipes.DIGITS` predict, and on what tokens."""


def choice_of(numbers: dict, names: Sequence[str]) -> tuple[str, dict[str, list[float]]]:
    """The variant that the rule of `training_objective` chooses, and the candidates' |IoU - originals'| by seed."""
    best = max(mean(accuracies(numbers, name)) for name in names)
    deviation = {
        name: [abs(a - b) for a, b in _ious(numbers, name)]
        for name in names
        if mean(accuracies(numbers, name)) >= best - MARGIN
    }
    return min(deviation, key=lambda name: mean(deviation[name])), deviation


def on_the_way(numbers: dict, variant: str) -> list[tuple[int, list[float], list[float]]]:
    """Every look and the end: (step, mean accuracy by seed in percent, error-IoU among generated by seed)."""
    cells = numbers["variants"][variant]["cells"]
    looks = [*zip(*(cell["looks"] for cell in cells), strict=True), [{"step": numbers["steps"], **c} for c in cells]]
    return [
        (
            row[0]["step"],
            [look["generated"]["mean"] for look in row],
            [look["diversity"]["among_generated"] for look in row],
        )
        for row in looks
    ]


def steps_to_work(numbers: dict, variant: str) -> float:
    """The first step at which the mean accuracy is within `MARGIN` of the originals'; infinity where there is none."""
    wanted = mean(accuracies(numbers, variant, "original")) - MARGIN
    return next((step for step, reached, _ in on_the_way(numbers, variant) if mean(reached) >= wanted), math.inf)


def _ious(numbers: dict, variant: str) -> list[tuple[float, float]]:
    keys = ("among_generated", "among_originals")
    return list(zip(*(alikeness(numbers, variant, key) for key in keys), strict=True))


def _excess(numbers: dict, variant: str) -> Difference:
    """How much more alike (error-IoU) generated networks are than originals."""
    return difference(*map(list, zip(*_ious(numbers, variant), strict=True)))


def _fate(excess: Difference) -> str:
    """What became of the originals' spread."""
    return "lost" if _side(excess, ALIKE) > 0 else "kept" if excess.mean <= ALIKE else "open"


def _fates(found: Sequence[str]) -> str:
    """Yes where all kept it, no where none did or may have, or else how many."""
    if not found:
        return "nothing is accurate"
    if set(found) == {"kept"}:
        return "yes"
    if not {"kept", "open"} & set(found):
        return "no"
    return ", ".join(f"{found.count(fate)} {fate}" for fate in ("kept", "open", "lost", "fails") if fate in found)


def _share(held: Sequence[bool]) -> str:
    """Yes where all held, no where none did, or else how many."""
    return "yes" if all(held) else f"in {sum(held)} of {len(held)}" if any(held) else "no"


def _count(steps: float) -> str:
    return f"{steps:.0f} steps" if math.isfinite(steps) else "not reached"
