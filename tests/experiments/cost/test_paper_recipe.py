"""Both recipes' curves: stopped and resumed they are those of an unbroken run, and what is said of them."""

from itertools import pairwise

import pytest

from experiments.cost import figures, paper_recipe, tables
from experiments.cost.measures import reached, speed, step_seconds
from experiments.pipeline import images_of, obtain_zoo
from rpglib.errors import InputError

TIMES = {"seconds", "wall_seconds", "evaluation_seconds"}
SOON = 1e-9  # hours: spent as soon as anything is


@pytest.fixture(scope="module")
def recipes(home):
    return paper_recipe.recipes("smoke")


@pytest.fixture(scope="module")
def go_on(recipes):
    """Train and evaluate in a folder, with the paper's recipe on ten runs and some hours."""
    recipe = recipes["cnn_digits"]["paper"]
    images = images_of(recipe.images)
    zoo = obtain_zoo(recipe, "smoke", images)
    return lambda folder, hours=1.0: paper_recipe.run(recipe, zoo, images.test, folder, hours)


def untimed(points):
    return [{name: value for name, value in point.items() if name not in TIMES} for point in points]


@pytest.fixture(scope="module")
def unbroken(go_on, tmp_path_factory):
    return go_on(tmp_path_factory.mktemp("unbroken"))


def test_a_curve_goes_to_the_end_and_its_time_is_that_of_training(unbroken):
    assert [point["step"] for point in unbroken] == [4, 6, 9]
    seconds = [point["seconds"] for point in unbroken]
    assert 0 < seconds[0] < seconds[1] < seconds[2] and len({point["loss"] for point in unbroken}) == 3


def test_a_budget_stops_where_the_state_was_saved_and_a_larger_one_goes_on(go_on, unbroken, tmp_path):
    (first,) = go_on(tmp_path, SOON)
    assert first["step"] == 2, "the first save"
    assert go_on(tmp_path, SOON) == [first], "nothing is left of the budget"
    resumed = go_on(tmp_path)
    # Where the first budget ended is no point of the curve.
    assert untimed(resumed) == untimed(unbroken)
    assert resumed[0]["seconds"] > first["seconds"], "time goes on from where it was"
    assert go_on(tmp_path, SOON) == resumed, "all that was reached stays, whatever the budget"


@pytest.mark.parametrize("killed", [1, 2, 3])
def test_killed_at_an_evaluation_it_comes_to_the_same_curve(go_on, unbroken, tmp_path, monkeypatch, killed):
    measured, calls = paper_recipe.measured, []

    def kill(*arguments):
        calls.append(arguments)
        if len(calls) == killed:
            raise KeyboardInterrupt
        return measured(*arguments)

    monkeypatch.setattr(paper_recipe, "measured", kill)
    with pytest.raises(KeyboardInterrupt):
        go_on(tmp_path)
    assert untimed(go_on(tmp_path)) == untimed(unbroken)


def test_a_budget_is_above_nothing(go_on, tmp_path):
    with pytest.raises(InputError, match="hours must be above 0"):
        go_on(tmp_path, 0.0)


def test_evaluations_are_as_dense_as_said_and_where_states_are_saved():
    steps = paper_recipe.due(80_000, 50)
    assert steps[0] == 100 and steps[-1] == 80_000 and all(step % 50 == 0 for step in steps)
    assert all(later / earlier <= 1.8 for earlier, later in pairwise(steps))
    assert paper_recipe.due(9, 2) == (4, 6, 9) and paper_recipe.due(1, 50) == (1,)


def curve(*means):
    return [{"step": 10 * k, "seconds": float(k), "mean": mean} for k, mean in enumerate(means, start=1)]


@pytest.mark.parametrize(
    ("means", "after"),
    [
        ((10, 30, 49), None),
        ((10, 49.5, 50.2), 2),  # the margin belongs to it, and better is no worse
        ((49.9, 10, 49.6, 50), 3),  # left again: the first time does not count
        ((50, 50, 49.4), None),
        ((50,), 1),
    ],
)
def test_reached_is_from_where_on_it_stays(means, after):
    found = reached(curve(*means), 50)
    assert (found and found["seconds"]) == after


@pytest.mark.parametrize(
    ("paper", "ours", "expected"),
    [
        ((10, 10, 10, 50), (10, 50), (2.0, True)),
        ((10, 10, 10, 10, 10, 10), (10, 50), (3.0, False)),  # at least: it had not come there
        ((50, 50), (10, 10), None),
    ],
)
def test_the_speed_is_a_ratio_or_a_bound(paper, ours, expected):
    zoo = {"original": {"mean": 50}, "paper": {"points": curve(*paper)}, "ours": {"points": curve(*ours)}}
    assert speed(zoo) == expected
    assert step_seconds(zoo["paper"]) == 0.1


@pytest.fixture(scope="module")
def record(recipes):
    return paper_recipe.record_of(recipes, "smoke", True, 1.0)


def test_a_record_holds_both_zoos_and_is_read_again(recipes, record):
    assert set(record["numbers"]) == {"cnn_digits", "cnn_digits_one_run"}
    for zoo in record["numbers"].values():
        assert zoo["original"]["n"] == 4 and zoo["mean network"]["n"] == 1
        assert [zoo[kind]["points"][-1]["step"] for kind in ("paper", "ours")] == [9, 9]
    assert paper_recipe.record_of(recipes, "smoke", False, 1.0) == record
    with pytest.raises(InputError, match="other settings or another seed"):
        paper_recipe.record_of(paper_recipe.recipes("smoke", 1), "smoke", False, 1.0)
    with pytest.raises(InputError, match="measured on 'cpu' in profile 'smoke', not on 'cuda'"):
        paper_recipe.record_of(recipes, "smoke", True, 1.0, device="cuda")


def test_a_step_is_timed_again(recipes, record):
    assert "times one of ours" in paper_recipe.check_live(recipes, record, factor=30)
    other = {**record, "numbers": {"cnn_digits": {k: {"points": curve(0)} for k in ("paper", "ours")}}}
    with pytest.raises(AssertionError, match="costs"):
        paper_recipe.check_live(recipes, other, factor=1.001)


def test_the_paper_recipe_is_the_papers():
    for zoo, pair in paper_recipe.recipes("cpu").items():
        paper, ours = pair["paper"], pair["ours"]
        assert paper.name == ours.name == zoo and paper.collect == ours.collect
        assert (paper.train.steps, paper.train.learning_rate, paper.train.prototype_loss) == (80_000, 3e-5, 0)
        assert (paper.model.prediction, paper.model.permutation, paper.model.prototype_skip) == (
            "epsilon",
            "fixed",
            False,
        )
        assert (paper.sampler, paper.sampling_steps, paper.normalisation, paper.slicing) == (
            "ddpm",
            1000,
            "layer",
            "layer",
        )


def test_tables_and_figure_say_who_came_there(record):
    zoo = dict(record["numbers"]["cnn_digits"])
    for kind, last in (("paper", 50.0), ("ours", zoo["original"]["mean"])):
        *before, end = zoo[kind]["points"]
        zoo[kind] = {**zoo[kind], "points": [*before, {**end, "mean": last, "distance": None}]}
    table = tables.courses({"cnn_digits": zoo})
    assert table.loc[("cnn_digits", "the paper's"), "there after (s)"] == "not within this time"
    assert table.loc[("cnn_digits", "the paper's"), "steps"] == "9 of 9"
    assert float(table.loc[("cnn_digits", "ours"), "there after (s)"]) == pytest.approx(
        zoo["ours"]["points"][-1]["seconds"], abs=0.06
    )
    assert list(tables.course(zoo)["distance (LOO)"])[-1] == "infinite"
    with figures.plt.rc_context():
        figure, ax = figures.plt.subplots()
        figures.courses(ax, zoo, "zoo", "one core")
        stars = [line for line in ax.lines if line.get_marker() == "*"]
        assert len(stars) == 1 and stars[0].get_color() == figures.BLUE
        figures.plt.close(figure)
