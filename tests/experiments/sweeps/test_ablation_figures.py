"""What figures of the ablations must not hide."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from experiments.report.figures import GENERATED, ORIGINAL
from experiments.sweeps import figures


@pytest.fixture
def ax():
    _, found = plt.subplots()
    yield found
    plt.close("all")


def cell(generated: float, original: float = 98.0, alike: float = 0.5) -> dict:
    keys = ("among_generated", "to_nearest_original", "among_originals")
    return {
        "generated": {"mean": generated, "accuracies": [generated - 1, generated + 1]},
        "original": {"mean": original},
        "diversity": dict.fromkeys(keys, alike),
        "parameters": 1000,
    }


def variants(rows: dict[str, list[float]], **more) -> dict:
    return {"variants": {name: {"cells": [cell(x) for x in found], **more} for name, found in rows.items()}}


def test_generated_networks_and_their_mean_have_one_colour(ax):
    figures.variants(ax, variants({"base": [90.0, 91.0]}))
    dots, mean, *_, originals = ax.collections
    colours = [found[0, :3].tolist() for found in (dots.get_facecolor(), mean.get_color(), originals.get_edgecolor())]
    assert colours[0] == colours[1] == list(plt.matplotlib.colors.to_rgb(GENERATED))
    assert colours[2] == list(plt.matplotlib.colors.to_rgb(ORIGINAL))


def test_no_recurrence_looks_alike_beside_whatever_it_stands(ax):
    numbers = variants({"a": [90.0], "b": [80.0]}, steps=8)
    for variant in numbers["variants"].values():
        variant["cells"][0]["evaluations"] = []
    figures.learning(ax, numbers, {"recurrence": "a", "no recurrence": "b"})
    line = ax.get_lines()[1]
    assert (line.get_color(), line.get_marker(), line.get_linestyle()) == figures.NO_RECURRENCE


def test_the_legend_by_runs_names_lines_from_above(ax):
    rows = {"1, learned": [98.1], "3, learned": [97.5], "3, fixed": [97.0], "1, none": [97.9], "3, none": [10.0]}
    means = {runs: {"accuracy": {"mean": mean}} for runs, mean in (("1", 60.0), ("3", 9.0))}
    figures.by_runs(ax, variants(rows) | {"mean_network": means})
    (legend,) = ax.figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["originals", "learned state", "fixed state", "no state", "mean network"]


def test_the_last_count_of_checkpoints_has_a_label(ax):
    counts = ("1", "10", "50", "200", "400")
    means = {count: {"similarity": {"mean": 0.9}} for count in counts}
    figures.by_checkpoints(ax, variants({count: [98.0] for count in counts}) | {"mean_network": means})
    assert sorted(ax.get_xticks()) == [1, 10, 50, 400]


def test_new_and_good_starts_at_zero_and_ends_where_nothing_is_left(ax):
    starts = ("original", "RPG", "untrained", "noise", "mean network", "average of", "interpolation", "Gaussian")
    groups = {start: {"new_and_good": [0.7, 0.2, 0.0, 0.0]} for start in starts}
    numbers = {"multiples": [0, 0.5, 1, 2], "audit": {"one run": {"seeds": [{"groups": groups}]}}}
    figures.new_and_good(ax, numbers, "one run")
    assert ax.get_lines()[1].get_ydata() == pytest.approx([70, 20, 0])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "0.5", "1"]


def test_both_bars_of_a_network_are_standard_deviations():
    _, axes = plt.subplots(1, 3)
    row = {"mean": 1.0, "std": 0.5}
    noise = {kind: {"0.01": row, "0.1": row, "1.0": row} for kind in ("absolute", "relative")}
    figures.noise_against_generation(axes, variants({"a": [96.0, 94.0, 92.0]}) | {"noise": {"a": noise}})
    across, up = (bars.get_segments()[0] for bars in axes[2].containers[0][2])
    assert np.ptp(across[:, 0]) / 2 == pytest.approx(0.5)
    assert np.ptp(up[:, 1]) / 2 == pytest.approx(2.0)
    plt.close("all")
