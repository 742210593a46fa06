"""The figures on unseen tasks say what they show: labels, means, one mark per task or network."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from experiments.report import figures
from experiments.tasks import figures as task_figures
from experiments.tasks.figures import CURVES


@pytest.fixture
def axes():
    with figures.style():
        figure, axes = plt.subplots(1, 2, layout="constrained")
        yield axes
        figure.canvas.draw()
        plt.close(figure)


def summary(*accuracies: float) -> dict:
    values = np.array(accuracies)
    return {"accuracies": list(accuracies), "mean": values.mean(), "std": values.std()}


def test_methods_have_a_row_each_and_print_their_mean(axes):
    split = {"original": summary(97, 98), "generated": summary(96, 97), "baselines": {"a baseline": summary(50, 60)}}
    task_figures.methods(axes[0], split)
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["original", "RPG", "a baseline"]
    assert [text.get_text() for text in axes[0].texts] == ["97.5", "96.5", "55.0"]
    assert [len(points.get_offsets()) for points in axes[0].collections] == [2, 2, 2]


def test_the_curve_has_a_line_per_method_each_with_a_look_of_its_own(axes):
    rows = [{"seen_tasks": n, "methods": {name: {"mean": n} for name in (*CURVES, "mean network")}} for n in (60, 98)]
    task_figures.curve(axes[0], rows, original=97.0)
    *lines, original = axes[0].lines
    assert [line.get_label() for line in lines] == list(CURVES), "floors and doubles are left out"
    assert all(list(line.get_xdata()) == [60, 98] for line in lines)
    assert original.get_label() == "original" and list(original.get_ydata()) == [97, 97]
    looks = {(line.get_marker(), line.get_fillstyle(), line.get_linestyle()) for line in axes[0].lines}
    assert len(looks) == len(CURVES) + 1, "every line is told apart without its colour"
    assert {line.get_color() for line in lines if line.get_label() == "RPG"} == {figures.GENERATED}


def test_a_curve_does_without_the_lookup_where_there_is_none(axes):
    rows = [{"seen_tasks": n, "methods": {"RPG": {"mean": 50 + n}}} for n in (8, 16)]
    task_figures.curve(axes[0], rows, original=70.0)
    assert [line.get_label() for line in axes[0].lines] == ["RPG", "original"]


@pytest.mark.parametrize(("weight", "ends"), [(1.0, "neither"), (1.5, "both")])
def test_heads_stand_in_groups_and_the_scale_says_where_weights_lie_beyond_it(axes, weight, ends):
    groups = {"original": np.ones((3, 5)), "generated": np.full((2, 5), -weight)}
    task_figures.heads(axes, {"select 1": {"original": np.zeros((3, 5))}, "select 2": groups}, limit=1.0)
    (image,) = axes[1].images
    assert image.get_array().shape == (5, 5) and image.get_clim() == (-1, 1)
    assert list(axes[1].get_yticks()) == [1, 3.5]
    assert [ax.get_title() for ax in axes] == ["select 1", "select 2"] and "5 weights" in axes[1].get_xlabel()
    assert image.colorbar.extend == ends and len(axes[0].figure.axes) == 3, "one colour bar for all"


def test_components_say_what_they_explain(axes):
    points = np.array([[0.0, 1.0], [1.0, 0.0]])
    task_figures.all_tasks(axes[0], points, np.array([1, 9]), [0.5, 0.25])
    assert axes[0].get_xlabel() == "component 1 (50 % of variance)"
    assert list(axes[0].collections[0].colorbar.get_ticks()) == list(range(1, 10)), "a colour for each count"
    task_figures.unseen_tasks(axes[1], [points, points], [points, points], [0.5, 0.25])
    assert [text.get_text() for text in axes[1].get_legend().get_texts()] == ["original", "generated"]
    assert sum(len(points.get_offsets()) for points in axes[1].collections) == 8


def test_finetuning_has_a_panel_per_set_of_images(axes):
    numbers = {
        "epochs": [0, 1],
        "accuracy": {
            part: {start: {"by_epoch": [summary(50, 60), summary(70, 80)]} for start in ("generated", "random")}
            for part in ("100 images", "1078 images")
        },
    }
    task_figures.finetuning(axes, numbers, original=90.0)
    assert [ax.get_title() for ax in axes] == ["100 images", "1,078 images"]
    assert [list(line.get_ydata()) for line in axes[0].lines] == [[55, 75], [55, 75], [90, 90]]
