"""RESULTS.md and the figures in the README: `python -m experiments.report.results` writes both from what is recorded.

Numbers come from the records, verdicts from the notebooks' own tables: nothing is measured or judged here.
"""

import statistics
from collections.abc import Sequence

from experiments.baselines import matching
from experiments.claims import Verdicts
from experiments.cost.measures import MARGIN, reached
from experiments.cost.tables import RECIPES
from experiments.records import home
from experiments.report import main_rows, pages, summary
from experiments.report.verdicts import judged
from experiments.tasks import tables as task_tables

SEVERAL = ("vit_digits", "cnn_digits", "cnn_s", "cnn_m")
ROWS = ("quickstart", *SEVERAL, "resnet18_runs", *(f"{name}_one_run" for name in SEVERAL))
"""The records of the main results, in the order of the table."""
UNSEEN = {"mirrored": "unseen_tasks", "varied": "unseen_tasks_varied"}
"""The records of both zoos of tasks."""
SHOWN = ("untrained generator", "mean network")
"""The baselines that have a column; the notebooks have all of them."""

HEAD = """
Written by `python -m experiments.report.results` from the records in [data/results](data/results) and from the verdict
tables of the [notebooks](notebooks); [PAPER.md](PAPER.md) says which table or figure of the paper each belongs to. All
accuracies are percent of test images without augmentation; ± is one standard deviation.
"""
RULE = """
A claim says where a mean over seeds lies. It is *reproduced* (ours: *holds*) where the t-interval of 95 % of the paired
differences over seeds lies inside the claimed range, *not reproduced* (*does not hold*) where all of it lies outside,
and *inconclusive* otherwise; p-values, and so the words, are corrected over the claims of one notebook by Holm's
method. Brackets hold the interval as it is: one inside the range may still be inconclusive. *n* counts seeds, or the
networks of one generator where a claim says so.
"""
INTRODUCTION = """
Each zoo has ten independent runs, ResNet-18's has three, with five checkpoints each, in the paper's tokens (normalised
by layer). The rows *one_run* have the paper's zoo, 50 checkpoints of a single run. These lie close together; where
their mean network is as good as generated ones, a row shows nothing about the generator.
"""
COLUMNS = """
A row of ten runs has several generators, ResNet-18's one, trained on its zoo with seeds of their own: what stands there
is the mean over them, each the mean of its networks, in brackets with the t-interval of 95 % over generators.
Accuracies of the untrained generator and of the mean network are means. *Values* count BatchNorm's statistics, which
are generated as well; *n*: originals, generated networks (generators x networks of each); *IoU*: error-IoU among
originals, among what one generator writes (1 means wrong on exactly the same images); *minutes*, of the first
generator: training, generating, evaluating and the baselines, on cores, or a GPU, that other work shared; not the zoo,
which was there before.
The paper (v1, table 8) reports 49.0 (original) and 49.0 (generated) for CNN (s), 62.1 and 62.0 for CNN (m), from one
run each.
"""


def page() -> str:
    """The text of RESULTS.md."""
    sections = (main_results(), new_networks(), unseen_tasks(), claims(), cost(), provenance())
    return "\n\n".join(["# Results", pages.paragraph(HEAD), *(part for section in sections for part in section)]) + "\n"


def main_results() -> list[str]:
    """Accuracy, baselines, diversity and minutes of the rows in which generated networks stand beside trained ones."""
    records = pages.records()
    rows = {name: records[name]["numbers"] for name in ROWS}
    columns = ("network", "images", "values", "n", "originals", "generated", "difference")
    columns += ("untrained generator", "mean network", "IoU", "minutes")
    accuracy = [
        (
            name,
            records[name]["data_source"],
            f"{r['parameters']:,}",
            main_rows.counts(r),
            pages.spread(r["original"]),
            main_rows.accuracy(r),
            main_rows.difference(r),
            f"{statistics.fmean(main_rows.untrained(r)):.1f}",
            f"{r['baselines']['mean network']['mean']:.1f}",
            f"{r['diversity']['among_originals']:.2f}, {statistics.fmean(main_rows.error_iou(r)):.2f}",
            f"{main_rows.minutes(r):.1f}",
        )
        for name, r in rows.items()
    ]
    usual, nearest = "nearest_original_among_originals", "to_nearest_original"
    nearer = [name for name, r in rows.items() if r["diversity"][nearest] > r["diversity"][usual]]
    as_good = [(name, "; ".join(matching(r)) or "none") for name, r in rows.items()]
    return [
        "## Generated against trained networks",
        pages.paragraph(INTRODUCTION),
        pages.table(columns, accuracy),
        pages.paragraph(COLUMNS),
        pages.table(
            ("network", "baselines at most 0.5 points below its first generator's networks, or above"), as_good
        ),
        pages.paragraph(
            f"""A network of the first generator is wrong where its nearest original is, more than originals are where
            theirs is, in {len(nearer)} of {len(rows)} rows ({", ".join(nearer)}). That is likeness of answers, not
            distance of weights, which [13_memorisation]({pages.notebook("13")}) measures."""
        ),
        pages.origin(*ROWS),
    ]


def new_networks() -> list[str]:
    """Networks of mixed states beside independent trainings."""
    return ["## New networks", summary.new(), pages.origin("new_networks")]


def unseen_tasks() -> list[str]:
    """Networks for tasks whose networks the generator did not see, and what the experiment took."""
    zoos = {name: pages.numbers(record) for name, record in UNSEEN.items()}
    first, zoo = zoos["mirrored"]["splits"][0], zoos["mirrored"]["zoo"]
    splits = {name: numbers["splits"] for name, numbers in zoos.items()}
    table = task_tables.methods(splits)

    def longest(part: str) -> float:
        return max(split["cpu_seconds"][part] for of_zoo in splits.values() for split in of_zoo) / 60

    alike = [
        f"{statistics.fmean(split['diversity'][f'among_{kind}'] for split in of_zoo):.2f} among {kind} ({name})"
        for name, of_zoo in splits.items()
        for kind in ("originals", "generated")
    ]
    return [
        "## Unseen tasks",
        pages.paragraph(
            f"""Networks were trained for all {zoo["tasks"]:,} selections of ten digits, in two zoos: *mirrored*, from
            one start and in one order of images, so that opposite tasks have mirrored networks, and *varied*, with
            random heads and orders. A generator learns from those of {first["seen_tasks"]} selections and writes
            {first["networks_per_task"]} networks for each of the other {first["unseen_tasks"]}; opposite selections are
            seen together or not at all. Mean accuracy over the unseen tasks of {len(splits["mirrored"])} random splits,
            and the difference to the originals with its interval of 95 % over the splits, which share tasks:"""
        ),
        pages.table(("method", *table.columns), [(name, *row) for name, row in table.iterrows()]),
        pages.paragraph(f"Error-IoU within a task: {'; '.join(alike)}."),
        pages.paragraph(
            f"""Training one generator of {first["generator_parameters"]:,} parameters took at most
            {longest("train"):.1f} minutes of one core."""
        ),
        pages.origin(*UNSEEN.values()),
    ]


def claims() -> list[str]:
    """The verdict tables of all notebooks, in their order."""
    parts = ["## Claims and verdicts", pages.paragraph(RULE)]
    for found in judged().values():
        rows = [(v.claim, v.paper or "-", v.ours, v.word) for v in found.verdicts]
        parts += [f"### {found.link}: {found.title}", pages.table(Verdicts.COLUMNS, rows)]
        parts += [pages.origin(*found.records)] if found.records else []
    return parts


def cost() -> list[str]:
    """Seconds against a plain port of the released code, and what else was timed."""
    numbers = pages.numbers("generation_cost")
    rows = {f"{r['n']} networks of {name}, {r['steps']} steps": r for name, r in numbers["speed"].items()}
    rows |= {f"training step of {r['name']}": r for r in numbers["plain"]}
    return [
        "## Cost",
        pages.paragraph(
            """Against a plain port of the released code (fp32, the same mathematics and steps): medians of n
            alternating rounds, their range in brackets."""
        ),
        pages.table(
            ("what", "plain port (s)", "rpglib (s)", "ratio of medians", "n"),
            [
                (what, _seconds(r["plain"]), _seconds(r["ours"]), f"{_ratio(r):.2f}", str(len(r["ours"])))
                for what, r in rows.items()
            ],
        ),
        pages.origin("generation_cost"),
        *_recipes(),
        pages.table(("what", "found"), _other_costs()),
        pages.origin("collect_checkpoints", "tokenizer_cost"),
    ]


def _recipes() -> list[str]:
    numbers = pages.numbers("paper_recipe")
    rows = []
    for zoo, found in numbers.items():
        for name, whose in RECIPES.items():
            points, first = found[name]["points"], reached(found[name]["points"], found["original"]["mean"])
            there = (f"{first['step']:,}", f"{first['seconds']:,.1f}") if first else ("-", "-")
            made = f"{points[-1]['step']:,} of {found[name]['steps']:,}"
            rows.append((zoo, whose, *there, made, pages.spread(points[-1]), pages.spread(found["original"])))
    columns = ("zoo", "recipe", "steps until there", "seconds until there", "steps made", "accuracy then", "originals")
    return [
        pages.paragraph(
            f"""The paper's recipe (RPG-Tiny) and ours on the same zoos of CNN (s), both trained by this library on one
            GPU, a training each. *There*: from this evaluation on no mean accuracy lies more than {MARGIN} points below
            the originals'. [20_paper_recipe]({pages.notebook("20")}) has the curves."""
        ),
        pages.table(columns, rows),
        pages.origin("paper_recipe"),
    ]


def _other_costs() -> list[tuple[str, str]]:
    together = pages.numbers("collect_checkpoints")["batching"]
    tokens = pages.numbers("tokenizer_cost")
    peak, network = (
        tokens["peak_in_checkpoints"],
        f"{tokens['network']} ({tokens['parameters'] / 1e6:.1f} M parameters)",
    )
    return [
        (
            f"{together['members']} small vision transformers trained together, {together['steps']} steps, one run",
            f"{together['gain']:.1f} times faster than one by one",
        ),
        (
            f"{network} into tokens and back, checkpoint and mask included in the memory",
            f"{tokens['ratio']:.1f} times the seconds of a plain copy, {peak['encode_decode']:.2f} times the "
            "checkpoint's memory at the peak",
        ),
        (
            "the same with `decode(tokens, reuse=True)`, as generation does",
            f"{tokens['ratio_reuse']:.1f} times the seconds, {peak['encode_decode_reuse']:.2f} times the memory",
        ),
    ]


def _ratio(row: dict) -> float:
    return statistics.median(row["plain"]) / statistics.median(row["ours"])


def _seconds(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def provenance() -> list[str]:
    """A table of all records."""
    rows = [
        (
            pages.link(name),
            str(r["n"]),
            _seeds(r["seeds"]),
            r["data_source"],
            pages.hardware(r),
            pages.commit(r),
            r["provenance"]["date"][:10],
        )
        for name, r in pages.records().items()
    ]
    return [
        "## Records",
        "*n* counts the independent items behind a record's numbers.",
        pages.table(("record", "n", "seeds", "images", "hardware", "commit", "date"), rows),
    ]


def _seeds(seeds: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in seeds.items()) or "-"


if __name__ == "__main__":
    pages.write("RESULTS.md", page())
    pages.write("README.md", pages.renewed((home() / "README.md").read_text(encoding="utf-8"), summary.regions()))
