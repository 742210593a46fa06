"""The figures in the README: networks on demand, sentences on new networks and on speed, and rows of results.

A row names the notebook and the claim that decides its verdict; what was found comes from that verdict, too.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import mean

from experiments.claims import interval
from experiments.cost.measures import ratio
from experiments.novelty.jobs import NOISY_MIDPOINTS
from experiments.novelty.study import ORIGINALS
from experiments.report import main_rows, on_demand, pages
from experiments.report.verdicts import judged

HARDER = ("vit_small_digits", "cnn_s")
"""Zoos of new networks for which one generator each was trained."""


@dataclass(frozen=True)
class Line:
    """One row: what is claimed, what the paper reports ("" where the claim is ours), and which notebook judges it.

    claim: a part of that claim in the notebook's verdict table, or of what the table says the paper reports. record: of
    a main result, whose accuracies are shown instead of what the verdict says was found.
    """

    what: str
    paper: str
    notebook: str
    claim: str
    record: str = ""


def regions() -> dict[str, str]:
    """What stands between the README's marks, by the name of the region."""
    return {"demand": on_demand.region(), "new": new(), "results": results(), "speed": speed()}


def new() -> str:
    """What networks of mixed states are, beside independent trainings, what they cost, and what they need."""
    numbers = pages.numbers("new_networks")["cnn_digits"]
    ours, zoo, cost = "ours: midpoints of two", numbers["zoo"], numbers["cost"]["ours"]
    originals, images_alone = (numbers["rows"][name] for name in (ORIGINALS, "hypernetwork: midpoints of two"))
    originals = originals[0]

    def found(value: Callable[[dict], float], name: str = ours) -> str:
        return interval([value(row) for row in numbers["rows"][name]]).text(signed=False)

    def median(kind: str) -> str:
        return found(lambda row: row[kind]["median"])

    def accuracy(row: dict) -> float:
        return row["accuracy"]["mean"]

    def overlap(row: dict) -> float:
        return row["error_iou"]

    def votes(row: dict) -> float:
        return row["ensembles"]["10"]["accuracy"]

    shaken = f"ours: {NOISY_MIDPOINTS}"
    others = (pages.numbers("new_networks")[name]["rows"] for name in HARDER)
    means = [[accuracy(group[name][0]) for name in (ours, ORIGINALS)] for group in others]
    harder = " and ".join(f"{generated:.1f} % (originals {original:.1f})" for generated, original in means)
    alone, near = (mean(value(row) for row in images_alone) for value in (accuracy, lambda row: row["apart"]["median"]))
    spent = cost["train"]["mean"] + (zoo["cpu_seconds"] or 0)
    return pages.paragraph(
        f"""{zoo["networks"]} independent trainings are learned by heart, and a further loss on the training images asks
        mixtures of them to classify, to disagree, and not to err together (without diffusion). Such networks lie
        {median("distance")} from the nearest original, in the median, where 1 is how far a training lies from the
        nearest other one ({median("distance_without_scales")} without factors that cancel between layers), have a test
        accuracy of {found(accuracy)} % (originals {accuracy(originals):.2f}) and errors that overlap by
        {found(overlap)} (originals {overlap(originals):.2f}), and ten of them vote with {found(votes)} % (ten originals
        {votes(originals):.2f}); with noise of 0.2 on what is written it is {found(accuracy, shaken)} % and
        {found(overlap, shaken)}. This takes {spent / 60:.0f} minutes of one core, and the training images, which
        mixtures of weights need for BatchNorm at most; two harder zoos, one generator each, give {harder}. Networks
        lie nearer to each other than trainings do, {median("apart")}, and those of a hypernetwork that sees images
        alone, with {alone:.2f} %, at {near:.2f} ({len(numbers["rows"][ours])} generators of one zoo, intervals of 95 %:
        [21_new_networks]({pages.notebook("21")}))."""
    )


def results() -> str:
    """The table of at most ten rows; a row whose notebook has no verdicts is left out."""
    known = judged()
    rows = []
    for line in LINES:
        if (found := known.get(line.notebook)) is None:
            continue
        verdict = found.verdict(line.claim)
        ours = _row(pages.numbers(line.record)) if line.record else _shown(verdict.ours)
        rows.append((line.what, line.paper or "-", ours, verdict.word, f"[{line.notebook}]({found.path})"))
    return pages.table(("claim", "paper", "ours", "verdict", ""), rows)


def speed() -> str:
    """How many times faster than the plain path writing and training are, the medians of their rounds, in one line."""
    numbers = pages.numbers("generation_cost")

    def times(rows: Iterable[dict]) -> str:
        found = [ratio(row["plain"], row["ours"]) for row in rows]
        return f"{min(found):.1f} to {max(found):.1f}"

    return (
        f"On two cores, ten networks are written {times(numbers['speed'].values())} times as fast as by a plain port "
        f"with our scan, a training step is {times(numbers['plain'])} times as fast ([19]({pages.notebook('19')}))."
    )


def _shown(ours: str) -> str:
    """What a notebook puts before the intervals of its claim or, where that is nothing, their means.

    Intervals, n and p are in RESULTS.md.
    """
    parts = re.sub(r", n = .*$", "", ours).split("; ")
    words = [part for part in parts if "[" not in part]
    return "; ".join(words) if words else re.sub(r" \[[^\]]*\]", "", "; ".join(parts))


def _row(numbers: dict) -> str:
    return f"{main_rows.accuracy(numbers)} %, trained {numbers['original']['mean']:.2f} %"


LINES = (
    Line("training beats an untrained generator", "", "00", "untrained"),
    Line(
        "digits, ten runs: as good as trained",
        "",
        "04",
        "cnn_digits, several generators: accurate",
        record="cnn_digits",
    ),
    Line(
        "CNN (s), ten runs: as good as trained",
        "v1 t. 8: 49.0, trained 49.0 %",
        "05",
        "cnn_s, several generators: accurate",
        "cnn_s",
    ),
    Line(
        "ResNet-18 (11 M weights), three runs, training cut short: as good as trained",
        "",
        "05",
        "resnet18_runs: generated networks work",
        "resnet18_runs",
    ),
    Line(
        "CNN (s), ten runs: to be as good as trained the paper's recipe takes ten times as many steps as ours, or more",
        "",
        "20",
        "cnn_s: the paper's recipe takes at least 10 times as many steps",
    ),
    Line("without recurrence: fails (600 steps)", "v1 t. 4a: fails, with it 75.3 %", "07", "without recurrence"),
    Line("too small tokens: fail", "v1 t. 6: 0.3 %, default 75.3 %", "08", "too small tokens fail"),
    Line("LSTM, Transformer, Mamba all good", "v1 t. 5: 75.2, 74.8, 75.3 %", "09", "LSTM, Transformer"),
    Line("ten runs with states: as good as trained", "v1 t. 15: 88.2 %, trained 88.1 %", "10", "networks of 10 runs"),
    Line("unseen tasks: as good as trained", "v1 t. 14: 90.0, trained 97.2 %", "15", "table 14"),
)
