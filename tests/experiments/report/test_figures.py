"""Figures: the same figure gives the same bytes, the plots show the numbers that they were given."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from experiments.report import figures
from rpglib.errors import InputError


@pytest.fixture(autouse=True)
def canvas(monkeypatch, tmp_path):
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    plt.switch_backend("agg")
    with figures.style():
        yield
    plt.close("all")


def axes(count=1):
    return plt.subplots(1, count, figsize=(figures.COLUMN_WIDTH, 2))


def test_saved_twice_is_equal_and_holds_no_date(tmp_path):
    for name in ("one", "two"):
        figure, ax = axes()
        figures.loss_curve(ax, range(100), np.linspace(1, 0.1, 100), label="epsilon")
        assert str(figures.save(figure, name, "cpu")) == f"figures/{name}.png"
    for suffix in (".pdf", ".png"):
        one, two = ((tmp_path / "figures" / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
        assert one == two
    pdf = (tmp_path / "figures" / "one.pdf").read_bytes()
    assert b"/CreationDate" not in pdf and b"/Type3" not in pdf


def test_the_picture_for_screens_has_few_colours_that_look_like_all(tmp_path):
    figure, (left, right) = axes(2)
    left.imshow(np.linspace(0, 1, 4096).reshape(64, 64))
    for place, colour in enumerate(figures.COLOURS):
        right.plot([0, 1], [place, place + 1], color=colour)
    figures.save(figure, "one", "cpu")
    with figures.style():
        figure.savefig(tmp_path / "all.png")
    with Image.open(tmp_path / "figures/one.png") as few, Image.open(tmp_path / "all.png") as known:
        assert few.mode == "P" and few.info["dpi"] == known.info["dpi"]
        found, wanted = (np.asarray(image.convert("RGB"), dtype=int) for image in (few, known))
    assert np.abs(found - wanted).max() <= 12 and np.abs(found - wanted).mean() < 1
    assert (tmp_path / "figures/one.png").stat().st_size < (tmp_path / "all.png").stat().st_size


def test_bands_that_overlap_keep_their_colours(tmp_path):
    """A band in another's hue would be taken for that method's."""
    figure, ax = axes()
    for place, colour in enumerate(figures.COLOURS):
        ax.fill_between([place, place + 2], 0, 1 + place, alpha=0.15, linewidth=0, color=colour)
        ax.plot([0, 7], [place, 7 - place], color=colour)
    figures.save(figure, "one", "cpu")
    with figures.style():
        figure.savefig(tmp_path / "all.png")
    with Image.open(tmp_path / "figures/one.png") as few, Image.open(tmp_path / "all.png") as known:
        found, wanted = (np.asarray(image.convert("RGB"), dtype=int).reshape(-1, 3) for image in (few, known))
    colours, where, count = np.unique(wanted, axis=0, return_inverse=True, return_counts=True)
    areas = [k for k in range(len(colours)) if count[k] > 2000]
    assert len(areas) > 8
    for k in areas:
        assert np.abs(found[where.ravel() == k] - colours[k]).max() <= 2, colours[k]


def test_the_strong_line_lies_on_the_loss():
    _, ax = axes()
    losses = np.geomspace(10, 1e-3, 400)
    figures.loss_curve(ax, range(400), losses)
    line = ax.lines[1]
    middle = np.interp(line.get_xdata(), range(400), losses)
    assert np.allclose(line.get_ydata(), middle, rtol=0.05)


def test_baselines_stand_below_the_generated_networks():
    _, ax = axes()
    one = {"min": 10.0, "mean": 20.0, "max": 30.0}
    rows = {"ten": {"original": one, "generated": one, "baselines": {"mean network": one | {"mean": 12.0}, "x": one}}}
    rows["one"] = rows["ten"] | {"baselines": {"mean network": one}}
    figures.baselines(ax, rows)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["original", "generated", "mean network", "x"]
    ten, alone, _ = ax.lines
    assert list(ten.get_xdata()) == [20, 20, 12, 20] and len(alone.get_xdata()) == 3
    assert ax.get_legend_handles_labels()[1] == ["ten", "one"] and ax.get_ylim()[0] > ax.get_ylim()[1]


def test_smoke_figures_are_scratch(tmp_path):
    figure, _ = axes()
    figures.save(figure, "a", "smoke")
    assert not (tmp_path / "figures").exists()
    assert {path.name for path in (tmp_path / "data/runs/smoke/figures").iterdir()} == {"a.pdf", "a.png"}
    with pytest.raises(InputError, match="unknown profile"):
        figures.save(figure, "a", "none")


def test_style_ends_with_its_block():
    with mpl.rc_context():
        mpl.rcdefaults()
        before = mpl.rcParams["font.size"]
        with figures.style():
            assert mpl.rcParams["font.size"] == 8 != before
        assert mpl.rcParams["font.size"] == before


@pytest.mark.parametrize("length", [1, 7, 1000])
def test_running_mean_of_a_straight_line_is_the_line(length):
    _, ax = axes()
    steps = np.arange(length)
    figures.loss_curve(ax, steps, 1 + steps)
    raw, mean = ax.lines
    assert np.array_equal(raw.get_ydata(), 1 + steps)
    # An even window's middle lies half a step beside a step.
    np.testing.assert_allclose(mean.get_ydata(), 1 + mean.get_xdata(), atol=0.51)


def test_accuracy_shows_every_network_and_the_mean():
    _, ax = axes()
    groups = {"originals": [90.0, 90.0, 93.0], "generated": [91.0]}
    figures.accuracy_comparison(ax, groups)
    points = [collection.get_offsets() for collection in ax.collections[::2]]
    assert [list(group[:, 1]) for group in points] == [[90, 90, 93], [91]]
    assert len(set(points[0][:, 0])) > 1, "equal values lie side by side"
    assert [bar.get_segments()[0][0][1] for bar in ax.collections[1::2]] == [91, 91]
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["originals\n91.00", "generated\n91.00"]


def test_heatmaps_of_weights_share_a_scale_and_the_difference_has_its_own():
    figure, panels = axes(3)
    original, generated = np.diag([1.0, -2.0]), np.diag([1.0, -1.0])
    figures.weight_heatmap(panels, original, generated)
    shown = [ax.images[0] for ax in panels]
    np.testing.assert_array_equal(shown[2].get_array(), generated - original)
    assert shown[0].get_clim() == shown[1].get_clim()
    for image, largest in ((shown[0], 2), (shown[2], 1)):
        low, high = image.get_clim()
        assert low == -high and 0.9 * largest < high <= largest
    assert [ax.get_ylabel() for ax in figure.axes[3:]] == ["weight", "difference in weight"]


def test_token_layout_fills_and_pads():
    _, ax = axes()
    figures.token_layout(ax, ["a", "b"], [10, 4, 6], [0, 0, 1], token_size=10)
    everything, first, second = (patch.get_data() for patch in ax.patches)
    assert list(everything.values) == [10, 10, 10]
    assert (list(first.values), list(first.edges)) == ([10, 4], [0, 1, 2])
    assert (list(second.values), list(second.edges)) == ([6], [2, 3])
    assert ax.get_legend().get_texts()[0].get_text() == "padding (33 % of values)"
    assert {label.get_text() for label in ax.get_yticklabels()} == {"a", "b"}


def test_layer_names_never_overlap():
    figure, ax = axes()
    count = 300
    figures.token_layout(ax, [f"layer {i}" for i in range(count)], np.full(count, 5), np.arange(count), token_size=5)
    figure.canvas.draw()
    boxes = sorted((label.get_window_extent() for label in ax.get_yticklabels()), key=lambda box: box.y0)
    assert len(boxes) > 5
    assert all(above.y0 >= below.y1 - 1 for below, above in itertools.pairwise(boxes))
