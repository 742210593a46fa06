"""The results in the README, from the records: `python -m experiments.report.readme` renews them in place."""

from pathlib import Path

from experiments.cost import generation_cost
from experiments.cost import tables as cost_tables
from experiments.cost.verdicts import cost as verdicts_of_cost
from experiments.cost.verdicts import ratio
from experiments.profiles import cifar10_rows, main_results, quickstart, unseen_tasks
from experiments.records import home, read_record
from experiments.sweeps.findings import FAILED, MARGIN
from experiments.sweeps.recipes import SWEEPS
from experiments.sweeps.verdicts import VERDICTS
from experiments.tasks import tables as task_tables
from rpglib.errors import InputError
from rpglib.runtime.files import atomic

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"

COST_TEXT = (
    "On the same two cores, against a plain port of the released code (fp32, the same mathematics and steps): medians "
    "of alternating rounds, their range in brackets. Rows for GPUs are not measured."
)
ROW = (
    "| {name} | {images} | {parameters:,} | {o[mean]:.2f} ± {o[std]:.2f} | {g[mean]:.2f} ± {g[std]:.2f} "
    "| {g[min]:.2f} | {g[max]:.2f} | {d[among_originals]:.2f} | {d[among_generated]:.2f} "
    "| {d[nearest_original_among_originals]:.2f} | {d[to_nearest_original]:.2f} | {minutes:.1f} |"
)


def results() -> str:
    """Markdown of the recorded results of profile `cpu`, every figure with its n, spread and hardware."""
    recipes = (quickstart("cpu"), *main_results("cpu"), *cifar10_rows("cpu"))
    records = {recipe.name: read_record(recipe.name, "cpu") for recipe in recipes}
    hardware = records[recipes[0].name]["provenance"]["hardware"]
    lines = [
        "Test accuracy in percent, mean ± standard deviation of n = 50 originals and n = 10 generated networks, on "
        f"{hardware['cores']} cores of an {hardware['cpu']}, no GPU. Error-IoU (1: wrong on the same images) stands "
        "beside it: among originals (o-o), among generated (g-g), and to the nearest original, from another original "
        "and from a generated network. Mind the last two: with a permutation state per checkpoint, as in the paper, a "
        "generated network lies closer to one original than originals do to each other. It works; it is hardly new.",
        "",
        "| network | images | parameters | original | generated | min | best "
        "| IoU o-o | IoU g-g | IoU o-nearest | IoU g-nearest | minutes |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, record in records.items():
        numbers = record["numbers"]
        lines.append(
            ROW.format(
                name=name,
                images=record["data_source"],
                parameters=numbers["parameters"],
                o=numbers["original"],
                g=numbers["generated"],
                d=numbers["diversity"],
                minutes=sum(numbers["seconds"].values()) / 60,
            )
        )
    gain = read_record("collect_checkpoints", "cpu")["numbers"]["batching"]
    tokenizer = read_record("tokenizer_cost", "cpu")["numbers"]
    commands = read_record("commands", "cpu")["numbers"]
    peaks = tokenizer["peak_in_checkpoints"]
    lines += [
        "",
        "Minutes hold training the network, its 50 checkpoints, the generator, ten generated networks and all "
        "evaluation; a zoo that an earlier notebook collected is not collected again. The paper reports "
        "49.0 (original) and 49.0 (generated) for CNN (s), 62.1 and 62.0 for CNN (m).",
        "",
        f"A population of {gain['members']} small vision transformers trains {gain['gain']:.1f} times faster together "
        f"than one by one ({gain['steps']} steps each, one run). Encoding and decoding {tokenizer['network']} "
        f"({tokenizer['parameters'] / 1e6:.1f} M parameters) takes {tokenizer['ratio']:.1f} times a plain copy of its "
        f"tensors and at its peak {peaks['encode_decode']:.2f} times the checkpoint's memory, the checkpoint and the "
        f"mask included; with `decode(tokens, reuse=True)`, as generation does, {tokenizer['ratio_reuse']:.1f} and "
        f"{peaks['encode_decode_reuse']:.2f} (medians of 7 runs).",
        "",
        "From a bare clone, on the same machine and with packages already in uv's cache: `make quickstart` "
        f"{commands['quickstart_seconds'] / 60:.1f} minutes with installation, `make test` after it "
        f"{commands['test_seconds'] / 60:.1f} minutes (one run each).",
    ]
    return "\n".join([*lines, "", *cost(), "", *unseen(), "", *reproduced()])


def cost() -> list[str]:
    """Markdown lines on what generation and training cost, from the record of 19."""
    numbers = read_record(generation_cost.EXPERIMENT, "cpu")["numbers"]
    lines = ["**Cost.** " + COST_TEXT, ""]
    lines += ["| what | plain port (s) | rpglib (s) | times faster |", "|---|---|---|---|"]
    for name, row in numbers["speed"].items():
        what = f"{row['n']} networks of {name}, {row['steps']} steps"
        lines.append(_cost_row(what, row["plain"], row["ours"]))
    for row in numbers["plain"]:
        lines.append(_cost_row(f"training step of {row['name']}", row["plain"], row["ours"]))
    promises = [f"{verdict.claim}: {verdict.word} ({verdict.evidence})" for verdict in verdicts_of_cost(numbers)]
    return [*lines, "", "What was promised: " + "; ".join(promises) + "."]


def _cost_row(what: str, plain: list[float], ours: list[float]) -> str:
    return f"| {what} | {cost_tables.seconds(plain)} | {cost_tables.seconds(ours)} | {ratio(plain, ours):.1f} |"


def unseen() -> list[str]:
    """Markdown lines of the experiment on unseen tasks, from its record."""
    numbers = read_record(unseen_tasks("cpu").name, "cpu")["numbers"]
    cost = read_record("task_zoo_cost", "cpu")["numbers"]
    splits, zoo = numbers["splits"], numbers["zoo"]
    first, table = splits[0], task_tables.methods(splits)
    flipped, unflipped = (
        ", ".join(f"{split['flipped'][name]['mean']:.2f}" for split in splits) for name in ("flipped", "unflipped")
    )
    originals, generated = (
        sum(split["diversity"][key] for split in splits) / len(splits) for key in ("among_originals", "among_generated")
    )
    return [
        f"**Unseen tasks.** One network for each of the {zoo['tasks']:,} selections of ten digits. A generator sees "
        f"{first['seen_tasks']} of these tasks and writes {first['networks_per_task']} networks for each of the other "
        f"{first['unseen_tasks']}. Mean test accuracy in percent over all unseen tasks of three random splits:",
        "",
        f"| method | {' | '.join(table.columns)} |",
        f"|---{'|---' * len(table.columns)}|",
        *(f"| {name} | {' | '.join(row)} |" for name, row in table.iterrows()),
        "",
        "The baselines learn from the same networks; *head-only conditioning* is RPG as its released code conditions "
        "it. "
        f"With every bit flipped, accuracy by the flipped labels is {flipped} in the three splits, unflipped "
        f"{unflipped} "
        f"({sum(split['flipped']['pairs'] for split in splits)} pairs of opposite tasks, one network each). Error-IoU "
        f"within a task: {originals:.2f} among originals, {generated:.2f} among generated networks. Collecting the "
        f"{cost['checkpoints']:,} checkpoints took {cost['seconds'] / 60:.1f} minutes, training a generator of "
        f"{first['generator_parameters']:,} parameters at most "
        f"{max(split['seconds']['train_one'] for split in splits) / 60:.1f}.",
    ]


def reproduced() -> list[str]:
    """Markdown lines of all verdicts from the records: the paper's claims first, then our questions."""
    records = {number: read_record(make("cpu").experiment, "cpu") for number, make in SWEEPS.items()}
    verdicts = [(number, found) for number, record in records.items() for found in VERDICTS[number](record["numbers"])]
    n = max(record["n"] for record in records.values())
    return [
        "### What reproduced",
        "",
        f"The paper's ablations and analyses on networks for digits, {n} seeds each: originals, generators and all "
        "(05: CNN (m) on CIFAR-10, one zoo for all seeds). A "
        f"difference counts where it exceeds {MARGIN} points and twice its standard error; generation *fails* "
        f"{FAILED:.0f} points below the originals. The words follow from the numbers.",
        "",
        "| claim of the paper | where | verdict | evidence | notebook |",
        "|---|---|---|---|---|",
        *(f"| {v.claim} | {v.source} | {v.word} | {v.evidence} | {number} |" for number, v in verdicts if v.source),
        "",
        "What the paper leaves open:",
        "",
        "| question | answer | evidence | notebook |",
        "|---|---|---|---|",
        *(f"| {v.claim} | {v.word} | {v.evidence} | {number} |" for number, v in verdicts if not v.source),
    ]


def renewed(text: str) -> str:
    """The README's text with the results between its marks replaced; `InputError` where the marks are absent."""
    if BEGIN not in text or END not in text:
        raise InputError(f"the README lacks the marks {BEGIN} and {END}")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{results()}\n{END}{rest.partition(END)[2]}"


def path() -> Path:
    return home() / "README.md"


if __name__ == "__main__":
    text = renewed(path().read_text(encoding="utf-8"))
    with atomic(path()) as part:
        part.write_text(text, encoding="utf-8")
