"""The figures on unseen tasks say what they show: labels, means, one mark per task or network."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from experiments.report import figures
from experiments.tasks import figures as task_figures


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


def test_the_curve_has_a_line_per_method(axes):
    names = ["RPG, asked", "RPG", "RPG without diffusion", "lookup", *(f"baseline {k}" for k in range(4))]
    rows = [{"seen_tasks": n, "methods": {name: {"mean": 50 + n} for name in names}} for n in (16, 64)]
    task_figures.curve(axes[0], rows, names)
    assert [line.get_label() for line in axes[0].lines] == names
    assert all(list(line.get_xdata()) == [16, 64] for line in axes[0].lines)
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes[0].lines}
    assert len(looks) == len(names), "every line is told apart"


def test_heads_stand_in_groups(axes):
    groups = {"original": np.ones((3, 5)), "generated": -np.ones((2, 5))}
    task_figures.head_weights(axes[0], groups, "a task", limit=1.0)
    (image,) = axes[0].images
    assert image.get_array().shape == (5, 5) and image.get_clim() == (-1, 1)
    assert list(axes[0].get_yticks()) == [1, 3.5]
    assert "5 weights" in axes[0].get_xlabel()


def test_components_say_what_they_explain(axes):
    points = np.array([[0.0, 1.0], [1.0, 0.0]])
    task_figures.all_tasks(axes[0], points, np.array([1, 9]), [0.5, 0.25])
    assert axes[0].get_xlabel() == "component 1 (50 % of variance)"
    task_figures.unseen_tasks(axes[1], [points, points], [points, points], [0.5, 0.25])
    assert [text.get_text() for text in axes[1].get_legend().get_texts()] == ["original", "generated"]
    assert sum(len(points.get_offsets()) for points in axes[1].collections) == 8


def test_finetuning_has_a_panel_per_set_of_images(axes):
    numbers = {
        "epochs": [0, 1],
        "accuracy": {
            part: {start: {"by_epoch": [summary(50, 60), summary(70, 80)]} for start in ("generated", "random")}
            for part in ("100 images", "1,078 images")
        },
    }
    task_figures.finetuning(axes, numbers)
    assert [ax.get_title() for ax in axes] == ["100 images", "1,078 images"]
    assert [list(line.get_ydata()) for line in axes[0].lines] == [[55, 75], [55, 75]]
