"""What generators had reached on the way: evaluations and the end, seconds of training alone, tables and figures."""

import math

import matplotlib.pyplot as plt
import pytest

from experiments.sweeps import figures, tables
from experiments.sweeps.evaluations import on_the_way, path, seconds_to_work

VARIANTS = {
    "base": {},
    "epsilon": {"model.prediction": "epsilon"},
    "three times the rate": {"train.learning_rate": 3e-3},
    "half the steps": {"train.steps": 20},
    "averaged weights": {"train.ema": 0.99},
    "half the tokens": {"train.diffusion_batch": 96},
}


def at(accuracy, iou=0.9):
    return {"generated": {"mean": accuracy}, "diversity": {"among_generated": iou, "among_originals": 0.9}}


def cell(early=60, middle=68, end=68, iou=0.9, seconds=1.0):
    """Originals have 68 %; evaluations after 10 and 20 steps of `seconds`, the end after 40, 5 s spent on them."""
    evaluations = [{"step": s, "seconds": s * seconds} | at(a, iou) for s, a in ((10, early), (20, middle))]
    times = {"train": 40 * seconds + 5, "evaluate": 5.0}
    return at(end, iou) | {"original": {"mean": 68.0}, "evaluations": evaluations, "seconds": times}


def numbers(**changed):
    """All variants alike, at the originals after 20 steps, but for those named in `changed` (arguments of `cell`)."""
    variants = {}
    for name, changes in VARIANTS.items():
        one = cell(**changed.get(name, {}))
        if name in ("half the steps", "averaged weights"):
            one["evaluations"] = []
            one["seconds"] |= {"evaluate": 0.0}
        variants[name] = {"changes": changes, "cells": [one, one]}
    return {"variants": variants, "steps": dict.fromkeys(variants, 40) | {"half the steps": 20}}


def test_the_end_follows_the_evaluations_at_the_variant_s_own_length():
    found = numbers(base={"end": 69, "iou": 0.8})
    assert on_the_way(found, "base") == [
        (10, [60] * 2, [0.8] * 2),
        (20, [68] * 2, [0.8] * 2),
        (40, [69] * 2, [0.8] * 2),
    ]
    assert on_the_way(found, "half the steps") == [(20, [68] * 2, [0.9] * 2)]
    # One number where all trainings are equally long.
    assert on_the_way(found | {"steps": 30}, "base")[-1][0] == 30


def test_seconds_are_of_training_and_of_the_least_disturbed_seed():
    found = numbers()
    found["variants"]["base"]["cells"] = [cell(60, seconds=2.0), cell(62, seconds=1.0)]
    points = path(found, "base")
    assert [(p.step, p.seconds) for p in points] == [(10, 10), (20, 20), (40, 40)]
    assert points[0].accuracies == [60, 62]
    row = tables.training_time(found).loc["base"]
    assert (row["step 10"], row["ms a step"], row["s to work"], row["s in all"]) == ("61.0 / 0.90", "1000", "20", "40")
    assert tables.training_time(found).loc["averaged weights", "step 10"] == "-"


@pytest.mark.parametrize(
    ("reached", "seconds"), [({"early": 67.5}, 10), ({"early": 67.4}, 20), ({"middle": 60, "end": 60}, math.inf)]
)
def test_working_is_within_half_a_point(reached, seconds):
    assert seconds_to_work(numbers(base=reached), "base") == seconds


def test_convergence_lists_the_evaluations_and_the_end():
    row = tables.convergence(numbers(epsilon={"early": 50, "end": 67.25})).loc["epsilon"]
    assert row.to_dict() == {"step 10": "50.0 / 0.90", "step 20": "68.0 / 0.90", "step 40": "67.2 / 0.90"}


def test_every_variant_is_drawn_once_and_the_base_in_every_panel():
    figure, axes = plt.subplots(2, len(figures.LEVERS))
    figures.training_time(axes, numbers())
    shown = [label for ax in axes[0] for label in ax.get_legend_handles_labels()[1]]
    assert sorted(shown) == sorted(["base"] * (len(figures.LEVERS) - 1) + list(VARIANTS))
    plt.close(figure)
