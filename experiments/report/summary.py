"""The figures in the README: a sentence on unseen tasks, and ten rows of results, all from records.

A row names the record of its numbers, and the notebook with the claim that decides its verdict.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from experiments.claims import interval
from experiments.report import pages
from experiments.report.verdicts import judged


@dataclass(frozen=True)
class Line:
    """One row: what is claimed, what the paper reports ("" where the claim is ours), and which notebook judges it.

    claim: a part of that claim in the notebook's verdict table, or of what the table says the paper reports.
    ours: what to show of the numbers of `record`; without a record it is what the notebook found.
    """

    what: str
    paper: str
    notebook: str
    claim: str
    record: str = ""
    ours: Callable[[dict], str] | None = None


def regions() -> dict[str, str]:
    """What stands between the README's marks, by the name of the region."""
    return {"unseen": unseen(), "results": results()}


def unseen() -> str:
    """How much worse than training the generator of the first snippet is, and how much better than a baseline."""
    numbers = pages.numbers("unseen_tasks")
    splits, first = numbers["splits"], numbers["splits"][0]
    best = max(first["baselines"], key=lambda name: sum(split["baselines"][name]["mean"] for split in splits))
    gap = interval([split["generated"]["mean"] - split["original"]["mean"] for split in splits])
    ahead = interval([split["generated"]["mean"] - split["baselines"][best]["mean"] for split in splits])
    return pages.paragraph(
        f"""Networks were trained for all {numbers["zoo"]["tasks"]:,} selections of ten digits. The generator saw those
        of {first["seen_tasks"]} selections, the odd digits among them; for the other {first["unseen_tasks"]} it writes
        networks whose accuracy differs from that of the trained ones by {gap} points, and from that of the best
        baseline ({best}) by {ahead} (means over {len(splits)} random splits, with intervals of 95 %)."""
    )


def results() -> str:
    """The table of at most ten rows; a row whose notebook has no verdicts is left out."""
    known = judged()
    rows = []
    for line in LINES:
        if (found := known.get(line.notebook)) is None:
            continue
        verdict = found.verdict(line.claim)
        ours = line.ours(pages.numbers(line.record)) if line.record else verdict.ours
        rows.append((line.what, line.paper or "-", ours, verdict.word, f"[{line.notebook}]({found.path})"))
    return pages.table(("claim", "paper", "ours", "verdict", ""), rows)


def _row(numbers: dict) -> str:
    return f"{numbers['generated']['mean']:.1f} %, trained {numbers['original']['mean']:.1f} %"


def _generators(numbers: dict) -> str:
    generated = statistics.fmean(one["generated"]["mean"] for one in numbers["by_seed"])
    return f"{generated:.1f} %, trained {numbers['original']['mean']:.1f} %"


def _variants(shown: dict[str, str]) -> Callable[[dict], str]:
    """Mean accuracy over seeds of some variants of a sweep, from {word to show: variant}."""

    def ours(numbers: dict) -> str:
        return ", ".join(f"{word} {_mean(numbers, variant):.1f} %" for word, variant in shown.items())

    return ours


def _mean(numbers: dict, variant: str) -> float:
    return statistics.fmean(cell["generated"]["mean"] for cell in numbers["variants"][variant]["cells"])


def _middle(numbers: dict) -> str:
    curve = numbers["pairs"]["generated, two basins, two states"]["as they are"]["curve"]
    return f"{curve[0]:.1f}, middle {curve[len(curve) // 2]:.1f}, {curve[-1]:.1f} %"


def _unseen(numbers: dict) -> str:
    original, generated = (
        statistics.fmean(split[kind]["mean"] for split in numbers["splits"]) for kind in ("original", "generated")
    )
    return f"{generated:.1f} %, trained {original:.1f} %"


LINES = (
    Line("training beats an untrained generator", "", "00", "untrained"),
    Line(
        "digits, ten runs: as good as trained",
        "",
        "04",
        "cnn_digits, several generators: accurate",
        "cnn_digits",
        _generators,
    ),
    Line(
        "CNN (s), ten runs: as good as trained",
        "v1 t. 8: 49.0, trained 49.0 %",
        "05",
        "cnn_s: generated",
        "cnn_s",
        _row,
    ),
    Line(
        "without recurrence: fails",
        "v1 t. 4a: fails, with it 75.3 %",
        "07",
        "without recurrence",
        "recurrent_and_positions",
        _variants({"without": "no recurrence", "with": "base"}),
    ),
    Line(
        "too small tokens: fail",
        "v1 t. 6: 0.3 %, default 75.3 %",
        "08",
        "too small tokens fail",
        "tokenization",
        _variants({"32 values": "32 values", "128 values": "base"}),
    ),
    Line(
        "LSTM, Transformer, Mamba all good",
        "v1 t. 5: 75.2, 74.8, 75.3 %",
        "09",
        "LSTM, Transformer",
        "structure",
        _variants({"LSTM": "LSTM", "Transformer": "Transformer", "Mamba-2": "base"}),
    ),
    Line(
        "several runs without states: fail",
        "v1 t. 15: 3 and 10 runs fail",
        "10",
        "without states, several runs",
        "permutation_state",
        _variants({"3 runs": "3, none", "10 runs": "10, none"}),
    ),
    Line(
        "ten runs with states: as good as trained",
        "v1 t. 15: 10 runs 88.2 %",
        "10",
        "networks of 10 runs",
        "permutation_state",
        _variants({"10 runs": "10, learned", "20 runs": "20, learned", "60 runs": "60, learned"}),
    ),
    Line(
        "two states: no straight path between",
        "v2 t. 18: 94.9, middle 18.4, 94.9 %",
        "11",
        "generated with two states",
        "linear_mode_connectivity",
        _middle,
    ),
    Line(
        "unseen tasks: as good as trained",
        "v1 t. 14: 90.0, trained 97.2 %",
        "15",
        "table 14",
        "unseen_tasks",
        _unseen,
    ),
)
