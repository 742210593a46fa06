"""07 to 09: recurrence and positions, tokens, the structure of the recurrent model."""

from collections.abc import Sequence
from itertools import pairwise

from experiments.sweeps.findings import Verdict, accuracies, against, difference, gap, mean, word


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
    """Time counts as more where it is by twice the standard error over rounds; memory is counted and has none."""
    names = {"base": "Mamba-2"} | {name: name for name in numbers["variants"] if name != "base"}
    gaps, other = {name: gap(numbers, name) for name in names}, [name for name in names if name != "base"]
    seconds = numbers["step_seconds"]
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
            ", ".join(f"{label} {1000 * mean(seconds[name]):.1f} ms a step" for name, label in names.items()),
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
