"""The drawing of the method: the committed file is what the code draws, and nothing in it overlaps or leaves it."""

import itertools
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib import pyplot as plt

from experiments.report import drawing

COMMITTED = Path(__file__).parents[3] / "figures" / drawing.NAME


@pytest.fixture(autouse=True)
def canvas():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_committed_file_is_what_the_code_draws(tmp_path):
    drawing.write(tmp_path / drawing.NAME)
    assert (tmp_path / drawing.NAME).read_bytes() == COMMITTED.read_bytes(), "python -m experiments.report.drawing"


def test_it_is_small_has_a_white_ground_and_needs_no_font():
    assert COMMITTED.stat().st_size < 200_000
    drawn = list(ElementTree.parse(COMMITTED).iter())
    assert not [part for part in drawn if part.tag.endswith("}text")]
    first = next(part for part in drawn if part.tag.endswith("}path"))
    assert first.get("style") == "fill: #ffffff"


def test_no_text_overlaps_another_or_its_panel():
    figure = drawing.method()
    (ax,) = figure.axes
    renderer = figure.canvas.get_renderer()
    boxes = {text.get_text(): text.get_window_extent(renderer) for text in ax.texts if text.get_text()}
    assert {"trained networks", "prototype", "new networks"} <= boxes.keys()
    for (one, box), (other, second) in itertools.combinations(boxes.items(), 2):
        assert not box.overlaps(second), (one, other)
    for name, box in boxes.items():
        (left, right) = ax.transData.inverted().transform([(box.x0, 0), (box.x1, 0)])[:, 0]
        inside = [panel for panel, width, _ in drawing.PANELS if panel < left and right < panel + width]
        assert inside or name.startswith("training: "), name
