"""The figures in the README: a sentence on unseen tasks, ten rows of results, and minutes, all from records.

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
    """One row: what is claimed, what the paper reports, what `ours` finds in the numbers of `record`, who judges.

    claim: a part of that claim in the verdict table of the notebook, or of what the table says the paper reports.
    """

    what: str
    paper: str
    record: str
    ours: Callable[[dict], str]
    notebook: str
    claim: str


def regions() -> dict[str, str]:
    """What stands between the README's marks, by the name of the region."""
    return {"unseen": unseen(), "results": results(), "minutes": minutes()}


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
        word, ours = found.verdict(line.claim).word, line.ours(pages.numbers(line.record))
        rows.append((line.what, line.paper, ours, word, f"[{line.notebook}]({found.path})"))
    return pages.table(("claim", "paper", "ours", "verdict", ""), rows)


def minutes() -> str:
    """How long the two commands take, and where."""
    record = pages.records()["commands"]
    quickstart, test = (record["numbers"][f"{name}_seconds"] / 60 for name in ("quickstart", "test"))
    return pages.paragraph(
        f"""On {pages.hardware(record)}, with packages already in a cache: {quickstart:.1f} minutes for the first,
        installation included, and {test:.1f} for the second after it (one run each)."""
    )


def _row(numbers: dict) -> str:
    return f"{numbers['generated']['mean']:.1f} %, trained {numbers['original']['mean']:.1f} %"


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


def _exchange(numbers: dict) -> str:
    curve = numbers["exchange"]["two independent runs"]["accuracy"]
    return f"{curve[0]:.1f} %, at worst {min(curve):.1f} %"


def _unseen(numbers: dict) -> str:
    original, generated = (
        statistics.fmean(split[kind]["mean"] for split in numbers["splits"]) for kind in ("original", "generated")
    )
    return f"{generated:.1f} %, trained {original:.1f} %"


LINES = (
    Line("CNN (s) as good as trained", "v1 t. 8: 49.0, trained 49.0 %", "cnn_s", _row, "04", "CNN (s)"),
    Line("CNN (m) as good as trained", "v1 t. 8: 62.0, trained 62.1 %", "cnn_m", _row, "05", "CNN (m)"),
    Line(
        "no recurrence: fails",
        "v1 t. 4a: fails, with it 75.3 %",
        "recurrent_and_positions",
        _variants({"without": "no recurrence", "with": "base"}),
        "07",
        "table 4a",
    ),
    Line(
        "too small tokens: fail",
        "v1 t. 6: 0.3 %, default 75.3 %",
        "tokenization",
        _variants({"16 values": "16 values", "128 values": "base"}),
        "08",
        "small tokens",
    ),
    Line(
        "LSTM, Transformer, Mamba all good",
        "v1 t. 5: 75.2, 74.8, 75.3 %",
        "structure",
        _variants({"LSTM": "LSTM", "Transformer": "Transformer", "Mamba-2": "base"}),
        "09",
        "LSTM, Transformer",
    ),
    Line(
        "several runs, no states: fails",
        "v1 t. 15: 3 and 10 runs fail",
        "permutation_state",
        _variants({"3 runs": "3, none", "10 runs": "10, none"}),
        "10",
        "without states",
    ),
    Line(
        "several runs with states: works",
        "v1 t. 15: 3 runs 88.1, 10 runs 88.2 %",
        "permutation_state",
        _variants({"3 runs": "3, learned", "10 runs": "10, learned"}),
        "10",
        "with states",
    ),
    Line(
        "two states: no straight path",
        "v2 t. 18: 94.9, middle 18.4, 94.9 %",
        "linear_mode_connectivity",
        _middle,
        "11",
        "two states",
    ),
    Line("exchanged parts break networks", "v1 f. 2", "similarity", _exchange, "12", "exchanging parts"),
    Line(
        "unseen tasks: as good as trained",
        "v1 t. 14: 90.0, trained 97.2 %",
        "unseen_tasks",
        _unseen,
        "15",
        "table 14",
    ),
)
