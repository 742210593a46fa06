"""The figure of detectors tells starts and measures apart without colours; a colour is one method in both panels."""

import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from experiments.detectors import figures as detector_figures
from experiments.detectors import tables
from experiments.detectors.jobs import AP, ONE
from experiments.detectors.settings import GENERATED, SCRATCH, SHARED
from experiments.report import figures


@pytest.fixture
def numbers():
    rows = [{AP: 60.0, ONE: 50.0}, {AP: 62.0, ONE: 50.0}]
    start = {"epochs": [0, 5], "measures": [[row, row] for row in rows]}
    written = {"measures": {name: rows for name in (GENERATED, SHARED, "lookup")}, "unseen": [(0, 1), (1, 0)]}
    return {"written": written, "tuned": {name: start for name in (GENERATED, SHARED, SCRATCH)}}


def test_starts_and_measures_are_told_apart(numbers):
    with figures.style():
        figure, (left, right) = plt.subplots(1, 2, layout="constrained")
        detector_figures.curves(left, numbers)
        detector_figures.beside(right, numbers)
        figure.canvas.draw()
    assert len({(line.get_marker(), line.get_linestyle()) for line in left.lines}) == 3
    marks = [line for line in right.lines if len(line.get_xdata())]
    assert len({(line.get_marker(), line.get_fillstyle()) for line in marks}) == 2
    colours = [to_hex(line.get_color()) for line in marks[:4]]
    assert colours[:2] == [to_hex(line.get_color()) for line in left.lines[:2]]
    assert colours[2:] == [to_hex(figures.GREY), to_hex(figures.ORIGINAL)], "the last is trained on the selection"
    across = marks[4].get_xdata()
    assert across[0] != across[1], "equal values lie beside each other"
    assert right.get_ylabel() == "AP (%)" and right.get_legend() is not None
    plt.close(figure)


def test_table_21_is_in_percent(numbers):
    table = tables.table_21(numbers)
    assert table.loc["0 1", "epoch 0"] == "60.0 / 60.0" and table.loc[f"mean, {GENERATED}", "epoch 5"] == "61.0"
