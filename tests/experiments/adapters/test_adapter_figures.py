"""The figures of adapters show every group in a row of its own; their tables say which columns are generated ones."""

import pytest
from matplotlib import pyplot as plt

from experiments.adapters import figures as adapter_figures
from experiments.adapters import tables
from experiments.report import figures


@pytest.fixture
def numbers():
    def group(*accuracies):
        middle = sum(accuracies) / len(accuracies)
        return {
            "accuracies": list(accuracies),
            "mean": middle,
            "max": max(accuracies),
            "min": min(accuracies),
            "std": 1,
        }

    groups = {"originals": group(90.0, 92.0), "generated": group(91.0, 91.0), "mean adapter": group(70.0)}
    return {
        "base": {"accuracy": {"analogies": 25.0}},
        "families": {"analogies": {"groups": groups}},
        "combinations": {"accuracies": {"generated": [80.0, 82.0], "trained on it": [95.0, 96.0]}},
    }


def test_every_group_has_a_row_and_equal_adapters_lie_beside_each_other(numbers):
    with figures.style():
        figure, (one, other) = plt.subplots(1, 2, layout="constrained")
        adapter_figures.families([one], numbers)
        adapter_figures.combinations(other, numbers)
        figure.canvas.draw()
    rows = [label.get_text() for label in one.get_yticklabels()]
    assert rows == ["base model", "originals", "generated", "mean adapter"]
    dots = [points.get_offsets() for points in one.collections]
    assert [len(row) for row in dots] == [1, 2, 2, 1]
    assert len({tuple(dot) for dot in dots[2].tolist()}) == 2
    assert [list(line.get_xdata()) for line in one.lines] == [[25, 25], [91, 91], [91, 91], [70, 70]]
    assert [label.get_text() for label in other.get_yticklabels()] == ["generated", "trained on it"]
    plt.close(figure)


def test_table_3_names_the_columns_of_generated_adapters(numbers):
    table = tables.table_3(numbers)
    assert table.columns.tolist()[:3] == [("base model", "mean"), ("original", "mean"), ("generated", "best")]
    assert table.loc["analogies", ("generated", "min")] == "91.0"
