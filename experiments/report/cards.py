"""A model card beside every committed generator, from the record that it was measured for.

`python -m experiments.report.cards` writes them, in the form of the hub: YAML on top, then prose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.baselines import matching
from experiments.novelty.mixing import MIXTURES
from experiments.ondemand.study import SPECIALISTS
from experiments.records import DEFAULT_PROFILE, home
from experiments.report import main_rows, pages
from rpglib.analysis.accuracy import summarise
from rpglib.model.card import front
from rpglib.tasks.conditions import Condition

RECORDS = {"ablation_base": "recurrent_and_positions"}
"""The records of generators that have another name: several ablations share one base, and 07 is the first of them."""
OWN = "your_networks"
"""A generator that is saved with its card, like anybody's."""

NORMALISED = {
    "layer": "normalised by layer, as in the paper",
    "residual": "centred over the zoo and scaled by layer",
}


ALONE = "Writes this one architecture alone, for images that are prepared as those it was trained on."


def generators() -> list[str]:
    """The names of the generators that the default profile keeps."""
    found = (path.parent.name for path in (home() / "data/generators" / DEFAULT_PROFILE).glob("*/config.json"))
    return sorted(name for name in found if name != OWN)


def path(name: str) -> Path:
    """Where the card of a generator lies, relative to the project."""
    return Path("data/generators", DEFAULT_PROFILE, name, "README.md")


@dataclass(frozen=True)
class Described:
    """What a card says of a generator.

    recipe: as a record has it; measured: accuracies of "original" and "generated" networks and, where they are known,
    sizes, baselines and other trainings; learned_from, measured_on: ends of sentences; asked: what `generate` is given
    in the snippet, and the lines that this needs before it.
    """

    recipe: dict
    measured: dict
    learned_from: str
    measured_on: str
    limits: str
    asked: str = ""
    before: tuple[str, ...] = ()
    images: str = "Test images without augmentation"


def card(name: str) -> str:
    """The text of one card."""
    record_name = RECORDS.get(name, name)
    record = pages.records()[record_name]
    own = DESCRIBED.get(name, _described)(record)
    recipe, measured, model = own.recipe, own.measured, own.recipe["model"]
    parts = [
        front(),
        f"# {name}",
        pages.paragraph(
            f"""Writes the weights of `{recipe["architecture"]["name"]}`{_size(measured)}, a classifier of images
            ({record["data_source"]}). Learned from {own.learned_from}, in {recipe["train"]["steps"]:,} steps of
            training. Tokens of {model["token_size"]} values, {NORMALISED[recipe["normalisation"]]};
            {model["prediction"]} prediction; {measured["generator_parameters"]:,} parameters."""
        ),
        pages.table(
            ("accuracy (%)", "mean ± std", "min", "max", "n"),
            [
                (kind, pages.spread(found), f"{found['min']:.2f}", f"{found['max']:.2f}", str(found["n"]))
                for kind, found in ((kind, measured[kind]) for kind in ("original", "generated"))
            ],
        ),
        pages.paragraph(
            f"""{own.images}; {own.measured_on}; one generator (seed 0). {_others(measured)}
            {_record_line(record_name)}"""
        ),
        "```python\n" + _snippet(name, own) + "\n```",
        pages.paragraph(f"**Limits.** {own.limits}"),
    ]
    return "\n\n".join(parts) + "\n"


def _described(record: dict) -> Described:
    """A generator of a results row or of a sweep: of the latter its base with the first seed."""
    recipe, measured = record["config"], record["numbers"]
    if "variants" in measured:
        base = next(variant for variant, row in measured["variants"].items() if not row["changes"])
        recipe, measured = recipe[base], measured["variants"][base]["cells"][0]
    as_good = matching(measured) if "baselines" in measured else []
    limits = f"{ALONE} What it writes comes from the runs it learned from, and may lie near their checkpoints."
    return Described(
        recipe,
        measured,
        _checkpoints(recipe["collect"]),
        _counts(measured),
        f"{limits} Baselines as accurate (to half a point): {'; '.join(as_good)}." if as_good else limits,
    )


def _of_tasks(record: dict) -> Described:
    """The generator of networks for selections of classes."""
    recipe, measured = record["config"], record["numbers"]["splits"][0]
    of = f"{measured['seen_tasks']} of {record['numbers']['zoo']['tasks']:,} selections of ten classes"
    return Described(
        recipe,
        measured,
        f"{recipe['collect']['checkpoints']} checkpoints for each of {of}",
        f"means over {measured['unseen_tasks']} selections that it did not see, ten networks each",
        f"{ALONE} The classes are those ten; a selection of none or all of them is no task.",
        "task=[0, 1] * 5, ",
    )


def _of_mixtures(record: dict) -> Described:
    """The generator of mixed states, by its midpoints."""
    own, rows = record["numbers"]["cnn_digits"], {"original": "originals", "generated": f"ours: {MIXTURES[0]}"}
    measured = {kind: own["rows"][row][0]["accuracy"] for kind, row in rows.items()}
    measured["generator_parameters"] = own["cost"]["ours"]["generator_parameters"]
    recipe = record["config"]["cnn_digits"]["recipe"]
    states = recipe["model"]["permutation_states"]
    return Described(
        recipe,
        measured,
        f"{_checkpoints(recipe['collect'])}, and from what mixtures of them do on training images",
        f"{_counts(measured)}, each of two mixed states",
        f"{ALONE} Networks of two or more mixed states are what it was asked for; those of one are less accurate.",
        "mixture=mixture, ",
        (f"mixture = [[0.5 * (k in pair) for k in range({states})] for pair in ((0, 1), (2, 3), (4, 5))]",),
    )


def _of_circumstances(record: dict) -> Described:
    """The generator of networks for how images are taken."""
    plan, numbers = record["config"]["plan"], record["numbers"]
    first, how = next(iter(record["config"]["variants"].items()))
    networks = {"original": SPECIALISTS, "generated": first}
    measured = {
        kind: summarise(torch.tensor(numbers["accuracy"][row][0], dtype=torch.float64))
        for kind, row in networks.items()
    }
    measured["generator_parameters"] = numbers["cost"][first]["parameters"]
    conditions = plan["model"]["conditions"]
    row = ", ".join(f'"{one["name"]}": {Condition(**one).inside:g}' for one in conditions)
    return Described(
        {**plan, "train": plan["train"] | {"steps": how["steps"]}, "sampler": "ddim", "sampling_steps": 1},
        measured,
        f"what networks for random settings of {', '.join(one['name'] for one in conditions)} do on training images; "
        f"{how['size']} trained networks only say about which mean, and on what scale, weights are written",
        f"{len(numbers['rows'])} settings, most of them of held-out ranges, for each of which a network was trained "
        "(original) and one was generated",
        f"{ALONE} Settings outside of the ranges in its configuration are answered with a warning.",
        "condition=setting, ",
        (f"setting = {{{row}}}",),
        "Test images as each setting has them taken",
    )


DESCRIBED: dict[str, Callable[[dict], Described]] = {
    "unseen_tasks": _of_tasks,
    "new_networks": _of_mixtures,
    "networks_on_demand": _of_circumstances,
}
"""What says what a card says, of the generators that are asked for something."""


def _checkpoints(collect: dict) -> str:
    runs = f"each of {collect['runs']} runs" if collect["runs"] > 1 else "one run"
    return f"{collect['checkpoints']} checkpoint{'s' * (collect['checkpoints'] > 1)} of {runs}"


def _counts(measured: dict) -> str:
    return f"{measured['original']['n']} originals, {measured['generated']['n']} generated networks"


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


def _snippet(name: str, own: Described) -> str:
    settings = f'sampler="{own.recipe["sampler"]}", steps={own.recipe["sampling_steps"]}'
    return "\n".join(
        (
            "from rpglib import RPG\n",
            f'generator = RPG.from_pretrained("data/generators/{DEFAULT_PROFILE}/{name}")',
            *own.before,
            f"networks = generator.generate(3, {own.asked}{settings})  # state dicts",
        )
    )


if __name__ == "__main__":
    for generator in generators():
        pages.write(str(path(generator)), card(generator))
