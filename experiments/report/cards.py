"""A model card beside every committed generator, from the record that it was measured for.

`python -m experiments.report.cards` writes them, in the form of the hub: YAML on top, then prose.
"""

from pathlib import Path

from experiments.baselines import matching
from experiments.novelty.mixing import MIXTURES
from experiments.records import DEFAULT_PROFILE, home
from experiments.report import main_rows, pages

MIXED = "new_networks"
"""The generator of mixed states."""
RECORDS = {"ablation_base": "recurrent_and_positions"}
"""The records of generators that have another name: several ablations share one base, and 07 is the first of them."""

FRONT = """\
---
license: mit
library_name: rpglib
tags:
- weight-generation
- hypernetworks
- diffusion
- recurrent-diffusion
---"""
NORMALISED = {
    "layer": "normalised by layer, as in the paper",
    "residual": "centred over the zoo and scaled by layer",
}


def generators() -> list[str]:
    """The names of the generators that the default profile keeps."""
    return sorted(path.parent.name for path in (home() / "data/generators" / DEFAULT_PROFILE).glob("*/config.json"))


def path(name: str) -> Path:
    """Where the card of a generator lies, relative to the project."""
    return Path("data/generators", DEFAULT_PROFILE, name, "README.md")


def card(name: str) -> str:
    """The text of one card."""
    record_name = RECORDS.get(name, name)
    record = pages.records()[record_name]
    mixed = name == MIXED
    recipe, measured = _mixed(record) if mixed else _measured(record)
    network, model, zoo = recipe["architecture"]["name"], recipe["model"], recipe["collect"]
    tasks = model["task_bits"] > 0
    if tasks:
        of = f"{measured['seen_tasks']} of {record['numbers']['zoo']['tasks']:,} selections of ten classes"
        trained_on = f"{zoo['checkpoints']} checkpoints for each of {of}"
        how_many = f"means over {measured['unseen_tasks']} selections that it did not see, ten networks each"
    else:
        runs = f"each of {zoo['runs']} runs" if zoo["runs"] > 1 else "one run"
        trained_on = f"{zoo['checkpoints']} checkpoint{'s' * (zoo['checkpoints'] > 1)} of {runs}"
        trained_on += ", and from what mixtures of them do on training images" if mixed else ""
        how_many = f"{measured['original']['n']} originals, {measured['generated']['n']} generated networks"
        how_many += ", each of two mixed states" if mixed else ""
    parts = [
        FRONT,
        f"# {name}",
        pages.paragraph(
            f"""Writes the weights of `{network}`{_size(measured)}, a classifier of images ({record["data_source"]}).
            Learned from {trained_on}, in {recipe["train"]["steps"]:,} steps of training. Tokens of
            {model["token_size"]} values, {NORMALISED[recipe["normalisation"]]}; {model["prediction"]} prediction;
            {measured["generator_parameters"]:,} parameters."""
        ),
        pages.table(
            ("accuracy (%)", "mean ± std", "min", "max", "n"),
            [
                (kind, pages.spread(found), f"{found['min']:.2f}", f"{found['max']:.2f}", str(found["n"]))
                for kind, found in ((kind, measured[kind]) for kind in ("original", "generated"))
            ],
        ),
        pages.paragraph(
            f"""Test images without augmentation; {how_many}; one generator (seed 0). {_others(measured)}
            {_record_line(record_name)}"""
        ),
        "```python\n" + _snippet(name, recipe, tasks, mixed) + "\n```",
        pages.paragraph(f"**Limits.** {_limits(measured, tasks, mixed)}"),
    ]
    return "\n\n".join(parts) + "\n"


def _measured(record: dict) -> tuple[dict, dict]:
    """The recipe and the numbers of the generator that a record keeps: of a sweep, its base with the first seed."""
    numbers, config = record["numbers"], record["config"]
    if "variants" in numbers:
        base = next(variant for variant, row in numbers["variants"].items() if not row["changes"])
        return config[base], numbers["variants"][base]["cells"][0]
    return config, numbers["splits"][0] if "splits" in numbers else numbers


def _mixed(record: dict) -> tuple[dict, dict]:
    """The recipe of the generator of mixed states, and the numbers of its midpoints."""
    own, rows = record["numbers"]["cnn_digits"], {"original": "originals", "generated": f"ours: {MIXTURES[0]}"}
    measured = {kind: own["rows"][row][0]["accuracy"] for kind, row in rows.items()}
    measured["generator_parameters"] = own["cost"]["ours"]["generator_parameters"]
    return record["config"]["cnn_digits"]["recipe"], measured


def _size(measured: dict) -> str:
    return f" ({measured['parameters']:,} values in {measured['tokens']} tokens)" if "tokens" in measured else ""


def _others(measured: dict) -> str:
    """How well other trainings of the generator do, where a record has some."""
    if (several := len(measured.get("by_seed", ()))) < 2:
        return ""
    return (
        f"With it, {several} generators were trained on the same checkpoints, each with a seed of its own; their means "
        f"average {main_rows.accuracy(measured)} % (in brackets the t-interval of 95 % over generators)."
    )


def _record_line(name: str) -> str:
    record = pages.records()[name]
    where = f"{pages.hardware(record)}; commit {pages.commit(record)}; {record['provenance']['date'][:10]}"
    return f"Record: [{name}](../../../results/{DEFAULT_PROFILE}/{name}.json); {where}."


def _snippet(name: str, recipe: dict, tasks: bool, mixed: bool) -> str:
    settings = f'sampler="{recipe["sampler"]}", steps={recipe["sampling_steps"]}'
    task = "task=[0, 1] * 5, " if tasks else "mixture=mixture, " if mixed else ""
    mixture = []
    if mixed:
        states = recipe["model"]["permutation_states"]
        mixture = [f"mixture = [[0.5 * (k in pair) for k in range({states})] for pair in ((0, 1), (2, 3), (4, 5))]"]
    return "\n".join(
        (
            "from rpglib import RPG\n",
            f'generator = RPG.from_pretrained("data/generators/{DEFAULT_PROFILE}/{name}")',
            *mixture,
            f"networks = generator.generate(3, {task}{settings})  # state dicts",
        )
    )


def _limits(measured: dict, tasks: bool, mixed: bool) -> str:
    known = "Writes this one architecture alone, for images that are prepared as those it was trained on."
    if tasks:
        return f"{known} The classes are those ten; a selection of none or all of them is no task."
    if mixed:
        return (
            f"{known} Networks of two or more mixed states are what it was asked for; those of one are less accurate."
        )
    known += " What it writes comes from the runs it learned from, and may lie near their checkpoints."
    as_good = matching(measured) if "baselines" in measured else []
    return f"{known} Baselines as accurate (to half a point): {'; '.join(as_good)}." if as_good else known


if __name__ == "__main__":
    for generator in generators():
        pages.write(str(path(generator)), card(generator))
