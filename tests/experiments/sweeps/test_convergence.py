"""05: verdicts on hand-made numbers, on both sides of every rule; one zoo for all seeds; what evaluations take."""

import math
from dataclasses import replace

import matplotlib.pyplot as plt
import pytest

from experiments.pipeline import images_of, obtain_zoo
from experiments.profiles import CNN_M, cifar10_rows
from experiments.sweeps import cells, figures, tables, verdicts
from experiments.sweeps.cells import Cell, run
from experiments.sweeps.recipes import base, cifar10_convergence
from experiments.sweeps.sweep import Sweep, differences
from experiments.sweeps.verdicts.convergence import path, seconds_to_work

ORDER = [
    "epsilon",
    "sample",
    "three times the rate",
    "half the tokens",
    "twice the tokens",
    "fallen rate",
    "half the steps",
    "averaged weights",
    "stands",
]


def at(accuracy, iou=0.9):
    return {"generated": {"mean": accuracy}, "diversity": {"among_generated": iou, "among_originals": 0.9}}


def cell(early, middle, end, iou=0.9, seconds=1.0):
    """Originals have 68 %; evaluations after 10 and 20 steps of `seconds`, the end after 40, 5 s spent on them."""
    evaluations = [{"step": s, "seconds": s * seconds} | at(a, iou) for s, a in ((10, early), (20, middle))]
    times = {"train": 40 * seconds + 5, "evaluate": 5.0}
    return at(end, iou) | {"original": {"mean": 68.0}, "evaluations": evaluations, "seconds": times}


def numbers(**changed):
    """All variants alike, working after 20 steps, but for those named in `changed` (arguments of `cell`)."""
    study = cifar10_convergence("cpu")
    variants = {}
    for name, changes in study.variants.items():
        one = cell(**({"early": 60, "middle": 68, "end": 68} | changed.get(name.replace(" ", "_"), {})))
        if name in ("half the steps", "averaged weights"):
            one["evaluations"] = []
            one["seconds"] |= {"evaluate": 0.0}
        variants[name] = {"changes": changes, "cells": [one, one]}
    steps = dict.fromkeys(variants, 40) | {"half the steps": 20}
    return {"variants": variants, "steps": steps}


def words(**changed):
    return dict(zip(ORDER, (v.word for v in verdicts.cifar10_convergence(numbers(**changed))), strict=True))


def test_alike_is_no_difference():
    found = words()
    assert [found[name] for name in ORDER] == ["no clear difference"] * 6 + ["yes"] * 3


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ({"early": 68}, "yes"),
        ({"middle": 60}, "no"),
        ({"early": 67.4}, "no clear difference"),
        ({"seconds": 0.8}, "no clear difference"),
        ({"seconds": 0.7}, "yes"),
        ({"seconds": 1.3}, "no clear difference"),
        ({"seconds": 1.4}, "no"),
        ({"middle": 60, "end": 60}, "no"),
    ],
)
def test_sooner_is_a_quarter_less_training_time(sample, expected):
    found = words(sample=sample)
    assert found["sample"] == expected
    assert found["epsilon"] == "no clear difference"


def test_what_never_works_is_never_sooner():
    never = {"middle": 60, "end": 60}
    assert words(base=never)["sample"] == "yes"
    assert words(base=never, sample=never)["sample"] == "no clear difference"
    assert seconds_to_work(numbers(base=never), "base") == math.inf


@pytest.mark.parametrize(
    ("end", "expected"), [(68, "no clear difference"), (68.6, "yes"), (67.6, "no clear difference"), (67.4, "no")]
)
def test_a_fallen_rate_is_compared_at_the_same_step(end, expected):
    assert words(half_the_steps={"end": end})["fallen rate"] == expected
    # With the base's end out of sight: only its evaluation after as many steps counts.
    assert words(half_the_steps={"end": end}, base={"end": 60})["fallen rate"] == expected


@pytest.mark.parametrize("name", ["half_the_steps", "averaged_weights"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"end": 67.6}, "yes"),
        ({"end": 67.4}, "no"),
        ({"iou": 0.94}, "yes"),
        ({"iou": 0.84}, "no"),
    ],
)
def test_ending_as_well_takes_accuracy_and_spread(name, change, expected):
    assert words(**{name: change})[name.replace("_", " ")] == expected


@pytest.mark.parametrize(
    ("base", "expected"), [({"iou": 0.94}, "yes"), ({"iou": 0.99}, "no"), ({"end": 67.6}, "yes"), ({"end": 67.4}, "no")]
)
def test_the_base_stands_while_nothing_is_clearly_better(base, expected):
    assert words(base=base)["stands"] == expected


def test_seconds_are_of_training_and_of_the_least_disturbed_seed():
    found = numbers()
    found["variants"]["base"]["cells"] = [
        cell(60, 68, 68, seconds=2.0),
        cell(62, 68, 68, seconds=1.0),
    ]
    points = path(found, "base")
    assert [(p.step, p.seconds) for p in points] == [(10, 10), (20, 20), (40, 40)]
    assert points[0].accuracies == [60, 62]
    row = tables.training_time(found).loc["base"]
    assert (row["step 10"], row["ms a step"], row["s to work"], row["s in all"]) == ("61.0 / 0.90", "1000", "20", "40")
    assert tables.training_time(found).loc["averaged weights", "step 10"] == "-"


def test_every_variant_is_drawn_once_and_the_base_in_every_panel():
    study = numbers()
    figure, axes = plt.subplots(2, len(figures.LEVERS))
    figures.training_time(axes, study)
    shown = [label for ax in axes[0] for label in ax.get_legend_handles_labels()[1]]
    assert sorted(shown) == sorted(["base"] * (len(figures.LEVERS) - 1) + list(study["variants"]))
    plt.close(figure)


# ---- the sweep ------------------------------------------------------------------------------------------------------


def test_seeds_share_the_zoo_of_the_row():
    study = cifar10_convergence("cpu")
    first, second = study.cells("base", "cpu")[:2]
    assert differences(first.recipe, second.recipe) == {"train.seed"}
    assert first.zoo_recipe.name == second.zoo_recipe.name == CNN_M.name
    assert first.recipe.collect == CNN_M.collect and first.recipe.architecture == CNN_M.architecture
    moved = study.cells("base", "cpu", seed=3)[1]
    assert (moved.recipe.collect.seed, moved.recipe.train.seed) == (CNN_M.collect.seed + 3, CNN_M.train.seed + 4)


def test_looks_are_taken_where_they_say_something():
    study = cifar10_convergence("cpu")
    evaluations = {name: study.cells(name, "cpu")[0].evaluations for name in study.variants}
    half = study.recipe("half the steps").train.steps
    assert half in study.evaluations, "the fallen rate is compared with the base's evaluation after as many steps"
    assert evaluations["averaged weights"] == ()
    assert evaluations["base"] == study.evaluations and evaluations["half the steps"] == tuple(
        s for s in study.evaluations if s < half
    )


def test_base_of_the_study_is_the_row_but_for_its_length():
    (row,) = cifar10_rows("cpu")
    study = cifar10_convergence("cpu")
    assert differences(row, study.base) == {"name", "train.steps", "sampling_steps"}


def test_looks_know_their_seconds_and_originals_are_asked_once(tmp_path, monkeypatch):
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    asked = []
    recipe = base("smoke")
    longer = replace(recipe, train=replace(recipe.train, steps=4))
    study = Sweep("evaluations", longer, {"base": {}, "1d": {"model.position": "1d"}}, seeds=(0,), evaluations=(1, 3))
    real = cells.predictions
    monkeypatch.setattr(cells, "predictions", lambda *a, **k: asked.append(1) or real(*a, **k))
    cells._answers.cache_clear()
    first, _ = run([*study.cells("base", "smoke"), *study.cells("1d", "smoke")])
    assert len(asked) == 1
    one, three = first["evaluations"]
    seconds = first["seconds"]
    assert 0 < one["seconds"] < three["seconds"] < seconds["train"] - seconds["evaluate"]
    assert one["original"] == first["original"]
    # What was kept is what a cell without evaluations finds.
    plain_cell = Cell(longer, "smoke")
    cells._answers.cache_clear()
    (alone,) = run([plain_cell])
    assert alone["generated"] == first["generated"] and alone["diversity"] == first["diversity"]
    assert alone["seconds"]["evaluate"] == 0


def test_a_zoo_of_a_row_is_not_collected_again(tmp_path, monkeypatch):
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    recipe = replace(base("smoke"), name="row")
    images = images_of("digits")
    obtain_zoo(recipe, "smoke", images)
    monkeypatch.setattr("experiments.pipeline.collect", lambda *_, **__: pytest.fail("collected again"))
    study = Sweep("shared", recipe, {"base": {}}, seeds=(0, 1), zoo="row")
    for job in study.cells("base", "smoke"):
        assert len(job.zoo()) == recipe.collect.checkpoints
