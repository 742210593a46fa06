"""10 and 11: several training runs in one generator, and lines between the networks that it writes."""

from experiments.sweeps.findings import FAILED, MARGIN, Verdict, accuracies, against, alikeness, gap, mean, word, yes


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
    # Two ways to fail are not worth a comparison.
    working = [
        found
        for runs, found in zip(kinds[other], both, strict=True)
        if gap(numbers, kinds[with_state][runs]).mean >= -FAILED
    ]
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
            f"a {other} state does what a {with_state} one does, where that works",
            "",
            yes(bool(working) and not any(d.lower or d.higher for d in working), not working),
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
            "weight matching and fresh BatchNorm statistics close the barrier between two states",
            "",
            yes(min(barrier(two, t) for t in pairs[two]) <= 2 * MARGIN, False),
            f"as they are {barrier(two):.1f} points; "
            + "; ".join(
                f"{t} {barrier(two, t):.1f} (originals {barrier('original, two basins', t):.1f})" for t in treatments
            ),
        ),
    ]
