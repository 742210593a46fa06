"""Published generators beside RPG: what their jobs find, what fits into memory, and a record that can be read."""

import copy
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import pytest

from experiments.field import figures, jobs, scale, tables
from experiments.field.jobs import GENERATORS, MEAN_ROW, RPG_ROW, HeldOut, Method, Written, thinned
from experiments.field.scale import Fits, needed
from experiments.field.study import EQUAL, LONGEST, OWN, Study, stretch
from experiments.novelty.measures import MULTIPLES
from experiments.profiles import UNSEEN
from experiments.sweeps.recipes import base
from experiments.sweeps.sweep import vary
from rpglib.errors import InputError

KERNEL = {"written": {"as released": {}, "independent seeds": {"independent_seeds": True}}}
METHODS = {
    "DeepWeightFlow": Method("DeepWeightFlow", {"width": 8, "steps": 4, "sampling_steps": 2}),
    "S_KDE30": Method("S_KDE30", {"width": 4, "permutations": 1, "latent": 4, "steps": 4, "kept": 1.0}, **KERNEL),
    "hypernetwork": Method("hypernetwork", {"width": 4, "networks": 2, "steps": 4}),
}


@pytest.fixture(scope="module")
def study(home):
    own = {"name": "field", "collect.runs": 3, "train.steps": 2, "model.permutation_states": 6, "sampling_steps": 1}
    zoos = {"one run": vary(base("smoke"), own | {"name": "field_one", "collect.runs": 1, "collect.checkpoints": 6})}
    zoos["three runs"] = vary(base("smoke"), own)
    return Study(
        zoos, METHODS, ["S_KDE30"], UNSEEN["smoke"], (0,), (0,), 3, 2, (), ["hypernetwork"], "smoke", device="cpu"
    )


@pytest.fixture(scope="module")
def record(study):
    return study.record(fresh=True)


def test_every_method_has_a_row_for_each_zoo_length_and_seed(record):
    written = {"DeepWeightFlow", "S_KDE30, as released", "S_KDE30, independent seeds", "hypernetwork"}
    for name, zoo in record["numbers"]["zoos"].items():
        beside = {"originals", RPG_ROW, "untrained generator", "mean network", "Gaussian", "midpoint, one run"}
        assert written | beside <= zoo["rows"][OWN].keys() and zoo["rows"][EQUAL].keys() == written, name
        for rows in (*zoo["rows"][OWN].values(), *zoo["rows"][EQUAL].values()):
            assert len(rows) == 1
            assert all(
                0 <= row["accuracy"]["mean"] <= 100 and len(row["new_and_good"]) == len(MULTIPLES) for row in rows
            )
        assert zoo["rows"][OWN]["originals"][0]["distance"] == pytest.approx(1, abs=0.3)
        assert zoo["held_out"].keys() == {"S_KDE30"} and not zoo["failed"]
    assert record["numbers"]["tasks"][EQUAL].keys() == {"hypernetwork"}
    tasks = record["numbers"]["tasks"][OWN]
    assert tasks.keys() == {RPG_ROW, MEAN_ROW, "hypernetwork"}
    assert all(found[0]["tasks"] == 2 and 0 <= found[0]["accuracy"] <= 100 for found in tasks.values())
    # One network for all tasks, half of them the opposites of the others.
    assert tasks[MEAN_ROW][0]["majority"] >= 50 and tasks[RPG_ROW][0]["trained"] == tasks[MEAN_ROW][0]["trained"]


def test_at_rpgs_time_steps_are_multiplied_by_what_grows_with_them():
    def took(seconds):
        return {"cpu_seconds": {"fit": seconds}}

    # 2 s are fixed: 98 s are left of RPG's, four times what 24.5 s of its own steps take.
    assert stretch(took(100), took(26.5), took(2)) == 4
    assert stretch(took(10), took(26.5), took(12)) == 0 and Method("hypernetwork").config(0.0).steps == 1
    assert stretch(took(1e9), took(3), took(2)) == LONGEST
    assert stretch(took(100), {"failed": "no"}, took(2)) == 1


def test_both_lengths_stand_in_the_record(record, study):
    assert record["numbers"]["processor_seconds"] > 0 and record["numbers"]["zoos_at_hand"] == 0
    for zoo in record["numbers"]["zoos"].values():
        own, equal = (zoo["cost"][length] for length in (OWN, EQUAL))
        assert own["hypernetwork"]["steps"]["steps"] == 4 and equal["hypernetwork"]["steps"]["steps"] >= 1
        assert equal.keys() == set(METHODS) and own[RPG_ROW]["generator_bytes"]["images"] == 0
        # S_KDE30 keeps images of networks with BatchNorm.
        assert own["S_KDE30"]["generator_bytes"]["images"] > 0
    assert record["config"]["configurations"]["S_KDE30"]["latent"] == 4


def test_a_method_that_cannot_be_fitted_is_reported_and_the_others_go_on(study, record, monkeypatch, tmp_path):
    one = Written(study.zoos["one run"], "smoke", 0, 3, "cpu", method=Method("hypernetwork", {"learning_rate": 1e30}))
    found = one.compute(tmp_path)
    assert "loss is not finite" in found["failed"] and "rows" not in found
    fine = {"rows": {"": record["numbers"]["zoos"]["one run"]["rows"][OWN]["hypernetwork"][0]}}
    fine |= {"cpu_seconds": {"fit": 1.0, "network": 0.1}, "generator_parameters": 3, "loss": {}, "steps": {}}
    fine |= {"generator_bytes": {"weights": 1, "images": 0}}
    held = {("one run", "S_KDE30"): [{"failed": "no autoencoder"}]}
    jobs_of = {OWN: {("one run", "hypernetwork"): [found, fine]}, EQUAL: {("one run", "hypernetwork"): [found, found]}}
    numbers = study._zoo("one run", {}, jobs_of, held)
    assert list(numbers["failed"]) == [
        f"{length}, hypernetwork, seed {k}" for length, k in ((OWN, 0), (EQUAL, 0), (EQUAL, 1))
    ]
    assert numbers["cost"][OWN]["hypernetwork"] and "hypernetwork" not in numbers["rows"][EQUAL]
    assert tables.cost(numbers).loc["hypernetwork", "fit, RPG's time (s)"] == "-"
    assert tables.each(numbers, OWN, "hypernetwork", tables.lower)[0] is None
    why = tables.failed({"one run": numbers})["why"]
    assert "not finite" in why[("one run", f"{OWN}, hypernetwork, seed 0")]
    assert why[("one run", "held out, S_KDE30")] == "no autoencoder" and tables.held_out({"one run": numbers}).empty
    figure, axis = plt.subplots()
    figures.curves([axis], numbers, {"D2NWG": "likelihood"})  # which is not there
    assert not axis.lines
    plt.close(figure)


def test_seeds_move_with_the_seed_of_the_experiment(study):
    assert [job.seed for job in replace(study, seeds=(0, 2), seed=5)._each(Written, "one run")] == [5, 7]


def test_of_several_runs_whole_ones_are_held_out(study, tmp_path, monkeypatch):
    seen = {}
    fit = jobs.HyperRepresentations.fit.__func__

    def watched(cls, zoo, *arguments, **options):
        seen["runs"] = zoo.runs.tolist()
        return fit(cls, zoo, *arguments, **options)

    monkeypatch.setattr(jobs.HyperRepresentations, "fit", classmethod(watched))
    found = HeldOut(study.zoos["three runs"], "smoke", 0, 3, "cpu", method=METHODS["S_KDE30"]).compute(tmp_path)
    assert seen["runs"] == [0, 0, 1, 1] and found["lost"]["held out"]["n"] == 2
    assert found["error"].keys() == {"seen", "held out"} and min(found["error"].values()) > 0
    assert 0 <= found["nearer"] <= 1 and found["processor_seconds"] > 0
    found = HeldOut(study.zoos["one run"], "smoke", 0, 3, "cpu", method=METHODS["S_KDE30"]).compute(tmp_path)
    assert seen["runs"] == [0] * 5 and found["lost"]["held out"]["n"] == 1


def test_what_is_written_is_told_apart_by_seed_and_stretch(study):
    one = Written(study.zoos["one run"], "smoke", 0, 3, "cpu", method=METHODS["hypernetwork"])
    facts = [
        x.facts() for x in (one, replace(one, seed=1), replace(one, stretch=2.0), replace(one, method=Method("SANE")))
    ]
    assert all(a != b for k, a in enumerate(facts) for b in facts[:k])
    assert one.method.config(2.5).steps == 10 and Method("p-diff").config(0.5).diffusion_steps == 1000


def test_losses_are_thinned_to_means():
    assert thinned([]) == [] and thinned([1.0, 2.0]) == [1, 2]
    parts = thinned([float(k) for k in range(1000)])
    assert len(parts) == jobs.LOSS_POINTS and parts[0] == pytest.approx(19.5) and parts[-1] == pytest.approx(979.5)


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_the_least_bytes_are_four_numbers_for_each_weight():
    method = Method("hypernetwork", {"width": 8, "state": 2})
    parameters, least = needed(method, "cnn_s")
    weights = 2 * 8 + 8 + 8 * 8 + 8 + 8 * 2864 + 2864
    assert parameters == 2864 and least == 4 * (4 * weights + 2 * 2864)
    # Counted without memory: no machine holds this one.
    assert needed(Method("DeepWeightFlow", {"components": None}), "convnext_large")[1] > 1e12


@pytest.mark.parametrize("name", [*GENERATORS, *scale.RPGS])
def test_every_method_says_what_it_needs(name):
    parameters, least = needed(Method(name), "cnn_m")
    assert parameters == 10_853 and least >= 0


def test_a_step_is_measured_in_a_process_of_its_own_for_every_network(monkeypatch):
    monkeypatch.setattr(scale, "memory", lambda: 1e12)
    method = Method("DeepWeightFlow", {"components": None, "width": 8})
    found = Fits("smoke", method, ("cnn_s", "convnext_large", "cnn_m"), 2e9).compute(None)
    assert found["processor_seconds"] > 1
    found = found["networks"]
    assert list(found) == ["cnn_s", "convnext_large", "cnn_m"]
    assert found["cnn_s"]["fits"] and 5e7 < found["cnn_s"]["held_bytes"] < 2e9
    assert not found["convnext_large"]["fits"] and found["convnext_large"]["held_bytes"] is None
    assert tables.largest({"flow": found}) == {"flow": 10_853}
    table = tables.memory({"flow": found})
    assert float(table.loc["flow", "cnn_s"]) > 0 and table.loc["flow", "convnext_large"].startswith("> ")


def test_a_step_that_holds_too_much_or_takes_too_long_is_ended(monkeypatch):
    method = Method("DeepWeightFlow", {"components": None, "width": 8})
    found = Fits("smoke", method, ("cnn_s",), 1e7)._measured("cnn_s")
    assert found == {"held_bytes": None, "more_than": scale.BEYOND * 1e7, "too_slow": False}
    monkeypatch.setattr(scale, "LIMIT", 0.0)
    found = Fits("smoke", method, ("cnn_s",), 1e12)._measured("cnn_s")
    assert found == {"held_bytes": None, "more_than": 0, "too_slow": True}
    assert tables.memory({"flow": {"cnn_s": found}}).loc["flow", "cnn_s"] == "slow"


def test_a_step_that_is_refused_its_memory_says_how_much_it_asked_for():
    wide = Method("S_KDE30", {"width": 2**20, "layers": 1})
    found = Fits("smoke", wide, ("cnn_m",), 8e9)._measured("cnn_m")
    assert found["held_bytes"] is None and found["more_than"] > 1e12
    with pytest.raises(InputError, match="free memory"):
        Fits("smoke", wide, ("cnn_m",), 1e15)._measured("cnn_m")
    assert scale.refused(RuntimeError("you tried to allocate 12 bytes")) == 12 and scale.refused(InputError("no")) == 0


@pytest.mark.parametrize("name", ["DeepWeightFlow", "S_KDE30", "D2NWG", next(iter(scale.RPGS))])
def test_one_step_can_be_made(name):
    small = METHODS[name].settings if name in METHODS else {"side": 8, "channels": 8, "diffusion_channels": 8}
    assert scale._step(Method(name, {} if name in scale.RPGS else small), "cnn_s") > 5e7


# ---- the record ------------------------------------------------------------------------------------------------------


def test_it_is_read_as_it_was_written(study, record):
    assert study.record(fresh=False) == record
    for change in ({"seed": 1}, {"networks": 4}, {"seeds": (0, 1)}, {"methods": METHODS | {"SANE": Method("SANE")}}):
        with pytest.raises(InputError, match="other settings"):
            replace(study, **change).record(fresh=False)


def test_it_is_checked_live_and_the_check_can_fail(study, record):
    assert "agree with the record" in study.check_live(record)
    with pytest.raises(InputError, match="of two runs"):
        study.check_live(record | {"generator": "another"})
    other = copy.deepcopy(record)
    other["numbers"]["zoos"]["three runs"]["rows"][OWN]["DeepWeightFlow"][0]["accuracy"]["mean"] += 5
    with pytest.raises(AssertionError, match="differs from the record"):
        study.check_live(other)


def test_tables_and_figures_show_the_numbers(record):
    zoo = record["numbers"]["zoos"]["three runs"]
    table = tables.methods(zoo, list(MULTIPLES))
    for length in (OWN, EQUAL):
        row = zoo["rows"][length]["hypernetwork"][0]
        assert table.loc["hypernetwork", ("mean accuracy (%)", length)] == f"{tables.accuracy(row):.2f}"
        worst = tables.extremes(zoo).loc["hypernetwork", ("worst (%)", length)]
        assert worst == f"{row['accuracy']['min']:.2f}"
    assert table.loc[RPG_ROW, ("mean accuracy (%)", OWN)] and not table.loc[RPG_ROW, ("mean accuracy (%)", EQUAL)]
    assert tables.cost(zoo).loc[RPG_ROW, "parameters"].replace(",", "").isdigit()
    assert list(tables.held_out(record["numbers"]["zoos"]).columns) == [
        "points lost, seen", "points lost, held out", "error, seen", "error, held out", "nearer to another (%)"
    ]  # fmt: skip
    assert tables.failed(record["numbers"]["zoos"]).empty
    figure, axes = plt.subplots(1, 2)
    figures.curves(axes, zoo, {RPG_ROW: "squared error", "hypernetwork": "cross-entropy"})
    assert len(axes[1].lines[0].get_xdata()) == len(zoo["cost"][OWN]["hypernetwork"]["loss"]["images"])
    figure.canvas.draw()
    plt.close(figure)


def test_compared_is_the_length_that_is_better_on_validation_images():
    def row(accuracy, validation):
        return {"accuracy": {"mean": accuracy}, "validation": validation, "distance": 3.0, "aligned_distance": 2.0}

    zoo = {
        "rows": {
            OWN: {"originals": [row(90, 90)], "RPG": [row(89, 89)], "a": [row(60, 60)], "b": [None], "c": [row(9, 9)]},
            EQUAL: {"a": [row(80, 80)], "b": [row(70, 70)]},
        }
    }
    assert [tables.better(zoo, name) for name in ("RPG", "a", "b", "c")] == [OWN, EQUAL, EQUAL, OWN]
    figure, (above, below) = plt.subplots(2)
    figures.gaps([above], {"zoo": zoo}, ["RPG", "a", "b"], ["c", "another zoo's"])
    assert above.get_xlim() == (-130, 2)
    figures.distances([below], {"zoo": zoo}, ["RPG", "a", "b"], ["c", "another zoo's"])
    marks = [line for line in above.lines if line.get_marker() in "oDs"]
    filled = [float(x.get_xdata()[0]) for x in marks if x.get_fillstyle() == "full"]
    hollow = [float(x.get_xdata()[0]) for x in marks if x.get_fillstyle() == "none"]
    assert filled == [-1, -10, -20, -81] and hollow[0] == -30 and math.isnan(hollow[1])
    assert {float(x.get_xdata()[0]) for x in below.lines if x.get_marker() == "s"} == {2}
    assert [label.get_text() for label in above.get_yticklabels()] == ["RPG", "a", "b", "c", "another zoo's"]
    figure.canvas.draw()
    plt.close(figure)
