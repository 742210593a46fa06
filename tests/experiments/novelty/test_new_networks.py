"""The experiment on new networks: what is measured, what is mixed, and that its record can be read, and can fail."""

import copy
import json
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
import torch

from experiments import records
from experiments.novelty import figures, jobs, tables
from experiments.novelty.images import Moved
from experiments.novelty.measures import (
    KINDS,
    MULTIPLES,
    Ruler,
    calibration_error,
    cross_entropy,
    ensembles,
    probabilities,
    row,
)
from experiments.novelty.mixing import MIXTURES, averages, mixtures
from experiments.novelty.study import LONGER, ORIGINALS, Part, Study, Variant
from experiments.sweeps.recipes import base
from experiments.sweeps.sweep import vary
from rpglib.analysis.alignment import permute
from rpglib.errors import InputError
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import CollectConfig, collect
from rpglib.zoo.images import load_images

CHANGES = {
    "name": "new_networks",
    "collect.runs": 4,
    "collect.checkpoints": 1,
    "model.permutation": "gated",
    "train.steps": 2,
    "train.diffusion": False,
    "sampling_steps": 1,
}
OURS = Variant({"networks": 2, "batch_size": 8, "augment": Moved(5.0, 0.1, 0.1)})
VARIANTS = {"ours": OURS, "without behaviour": Variant(None), "short": Variant(None, {"train.steps": 1})}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("RPG_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def study(home):
    flows = {"DeepWeightFlow": {"steps": 4}}
    whole = Part(vary(base("smoke"), CHANGES), VARIANTS, (0, 1), networks=4, flows=flows, epochs=1)
    other = Part(
        vary(base("smoke"), CHANGES | {"name": "other", "collect.runs": 3, "model.permutation_states": 3}),
        {"ours": OURS},
        (0,),
        networks=3,
    )
    return Study({"whole": whole, "other": other}, "smoke", device="cpu")


@pytest.fixture(scope="module")
def record(study):
    return study.record(fresh=True)


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


@pytest.fixture(scope="module")
def zoo(digits):
    config = CollectConfig(epochs=2, runs=5, checkpoints=1)
    return collect(Architecture("cnn_digits", 10, 1, 8), digits, config, progress=False)


# ---- measures --------------------------------------------------------------------------------------------------------


def test_originals_are_one_loo_away_and_copies_none(zoo, digits):
    ruler = Ruler.of(zoo)
    own = row(ruler, ruler.originals, digits.test, originals=True)
    kinds = ("distance", "aligned_distance", "distance_without_scales", "apart")
    assert [own[kind]["median"] for kind in kinds] == pytest.approx([1] * 4)
    assert own["accuracy"]["mean"] == pytest.approx(float(zoo.accuracies.mean()), abs=1e-3)
    assert own["new_and_good"][0] == 1
    copies = row(ruler, ruler.originals[:2], digits.test, good=0.0)
    assert [copies[kind]["max"] for kind in kinds[:3]] == [0, 0, 0]
    assert copies["new_and_good"] == [1] + [0] * (len(MULTIPLES) - 1)
    one = row(ruler, ruler.originals[:1], digits.test, good=0.0)
    assert one["apart"] is None and one["error_iou"] is None and list(one["ensembles"]) == ["1"]


def test_what_is_only_reordered_or_scaled_is_not_new(zoo):
    ruler = Ruler.of(zoo)
    generator = torch.Generator().manual_seed(0)
    moved = permute(zoo.build(), zoo[0], [torch.randperm(n, generator=generator) for n in (8, 16, 12)])
    scaled = dict(moved)
    for name, factor in (("0.weight", 3.0), ("1.running_mean", 3.0), ("1.running_var", 9.0)):
        scaled[name] = factor * scaled[name]
    near = {kind: [float(ruler.distances([x], kind)) for x in (moved, scaled)] for kind in KINDS}
    assert near["plain"][0] > 0.5 and near["aligned"][0] < 1e-5 < 0.05 < near["aligned"][1]
    assert max(near["without scales"]) < 1e-3


def test_ensembles_vote_by_their_mean(digits):
    labels = torch.tensor([0, 1, 2])
    right, wrong = torch.eye(3)[labels], torch.eye(3)[(labels + 1) % 3]
    answers = torch.stack([0.9 * right + 0.1 * wrong, 0.4 * right + 0.6 * wrong] * 2)
    found = ensembles(answers, labels)
    assert [found[m]["accuracy"] for m in ("1", "2")] == [50, 100] and set(found) == {"1", "2"}
    assert found["2"]["loss"] == pytest.approx(-math.log(0.65), rel=1e-5) and found["2"]["ensembles"] == 2
    torch.testing.assert_close(cross_entropy(answers, labels)[:2], -torch.tensor([0.9, 0.4]).double().log())


def test_calibration_compares_confidence_with_accuracy():
    answers = torch.tensor([[0.8, 0.2]] * 10)
    assert float(calibration_error(answers, torch.tensor([0] * 8 + [1] * 2))) == pytest.approx(0, abs=1e-6)
    assert float(calibration_error(answers, torch.tensor([0] * 5 + [1] * 5))) == pytest.approx(0.3, abs=1e-6)


def test_a_network_that_answers_nan_is_never_sure(zoo, digits):
    broken = {name: x * math.nan if x.is_floating_point() else x for name, x in zoo[0].items()}
    assert probabilities(zoo.build(), [broken], digits.test.images).eq(0).all()


# ---- images ----------------------------------------------------------------------------------------------------------


def test_images_are_moved_within_their_bounds(digits):
    images = digits.train.images[:50]
    still = Moved(0.0, 0.0, 0.0)(images, torch.Generator())
    torch.testing.assert_close(still, images, rtol=0, atol=1e-5)
    moved = Moved(15.0, 0.1, 0.1)(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape and moved.amin() >= images.amin() - 1e-5 and moved.amax() <= images.amax() + 1e-5
    change = (moved - images).flatten(1).norm(dim=1) / images.flatten(1).norm(dim=1)
    assert 0.1 < change.median() < 1 and len(change.unique()) == 50
    # One pixel in the middle of nine: by a third of the width it moves to another pixel, and no further.
    dot = torch.zeros(200, 1, 3, 3)
    dot[:, :, 1, 1] = 1
    shifted = Moved(0.0, 0.0, 1 / 3)(dot, torch.Generator().manual_seed(0))
    torch.testing.assert_close(shifted.sum((1, 2, 3)), torch.ones(200), rtol=0, atol=1e-4)
    assert (shifted.mean(0) > 0.02).all()
    turned = Moved(180.0, 0.0, 0.0)(dot, torch.Generator().manual_seed(0))
    torch.testing.assert_close(turned[:, 0, 1, 1], torch.ones(200))


# ---- mixtures --------------------------------------------------------------------------------------------------------


def test_mixtures_are_what_they_are_called():
    found = {kind: mixtures(kind, 50, 12, seed=3) for kind in MIXTURES}
    for weights in found.values():
        torch.testing.assert_close(weights.sum(1), torch.ones(50))
    counts = {kind: set((weights > 0).sum(1).tolist()) for kind, weights in found.items()}
    assert counts == dict(zip(MIXTURES, ({2}, {2}, {5}, {1}), strict=True))
    assert set(found["midpoints of two"].flatten().tolist()) == {0, 0.5}
    assert found["one each"].argmax(1).tolist() == [k % 12 for k in range(50)]
    assert not torch.equal(found["mixtures of two"], mixtures("mixtures of two", 50, 12, seed=4))
    assert torch.equal(found["mixtures of five"], mixtures("mixtures of five", 50, 12, seed=3))
    assert set(averages(9, 12, 4, seed=0).flatten().tolist()) == {0, 0.25}
    assert averages(2, 3, 16, seed=0).eq(1 / 3).all(), "no more than there are"


# ---- the record ------------------------------------------------------------------------------------------------------


def test_every_row_holds_what_was_asked(record):
    numbers = record["numbers"]["whole"]
    rows = numbers["rows"]
    assert {f"ours: {kind}" for kind in MIXTURES} | {ORIGINALS, LONGER} <= rows.keys()
    assert {len(found) for name, found in rows.items() if name != ORIGINALS} == {2} and len(rows[ORIGINALS]) == 1
    for name, found in rows.items():
        for one in found:
            assert one["n"] == (1 if name == LONGER else 4)
            assert {"accuracy", "distance", "aligned_distance", "apart", "error_iou"} <= one.keys()
    noise = rows["noise of 1 LOO"][0]["distance"]["median"]
    assert noise == pytest.approx(1, abs=0.2) and rows["midpoints of two"][0]["distance"]["median"] < 0.9
    # Seeds move what is drawn and trained.
    assert rows["ours: one each"][0]["distance"] != rows["ours: one each"][1]["distance"]


def test_it_is_read_as_it_was_written_and_computed_once(study, record, monkeypatch):
    assert study.record(fresh=False) == record
    monkeypatch.setattr(jobs, "fit", lambda *arguments, **options: pytest.fail("trained again"))
    again = study.record(fresh=True)
    assert again["numbers"] == record["numbers"] and again["generator"] == record["generator"]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"seeds": (0,)},
        {"networks": 5},
        {"epochs": 2},
        {"variants": VARIANTS | {"ours": Variant({"networks": 3})}},
        {"variants": VARIANTS | {"short": Variant(None, {"train.steps": 3})}},
        {"recipe": None},
    ],
)
def test_a_record_of_other_settings_is_refused(study, record, change):
    whole = study.parts["whole"]
    if "recipe" in change:
        change = {"recipe": replace(whole.recipe, sampling_steps=3)}
    if "seed" not in change:
        change = {"parts": study.parts | {"whole": replace(whole, **change)}}
    with pytest.raises(InputError, match="other settings"):
        replace(study, **change).record(fresh=False)


def test_it_is_checked_live_and_the_check_can_fail(study, record):
    assert "agree with the record" in study.check_live(record)
    other = copy.deepcopy(record)
    other["numbers"]["whole"]["rows"][f"ours: {MIXTURES[0]}"][0]["accuracy"]["mean"] += 1
    with pytest.raises(AssertionError, match="differs from the record"):
        study.check_live(other)
    with pytest.raises(InputError, match="of two runs"):
        study.check_live(record | {"generator": "another"})


def test_a_broken_training_goes_on(study, tmp_path, monkeypatch):
    job = replace(study.parts["whole"].jobs("smoke", 0, "cpu")["ours"][0], seed=5)
    whole = job.compute(tmp_path / "whole")
    fit = jobs.fit

    def broken(*arguments, **options):
        def stop(step, model):
            raise KeyboardInterrupt

        return fit(*arguments, **options, on_step=stop)

    monkeypatch.setattr(jobs, "fit", broken)
    with pytest.raises(KeyboardInterrupt):
        job.compute(tmp_path / "broken")
    monkeypatch.setattr(jobs, "fit", fit)
    assert job.compute(tmp_path / "broken")["rows"] == whole["rows"]


@pytest.mark.parametrize("method", jobs.FLOWS)
def test_a_flow_is_measured_as_the_rest_is(study, method, tmp_path):
    settings = jobs.FLOWS[method] | {"steps": 2}
    part = replace(study.parts["whole"], flows={method: settings})
    found = part.jobs("smoke", 0, "cpu")[method][0].compute(tmp_path)
    one = found["rows"][method]
    assert one["n"] == 4 and one["apart"]["median"] > 0 and len(found["loss"]["losses"]) == 2
    assert {"train", "step", "network"} == found["cpu_seconds"].keys() and found["generator_parameters"] > 10**5


def test_tables_and_figures_show_the_numbers(record, home):
    numbers = json.loads((records.results_dir("smoke") / "new_networks.json").read_text())["numbers"]["whole"]
    table = tables.methods(numbers)
    mean = sum(one["accuracy"]["mean"] for one in numbers["rows"]["noise of 1 LOO"]) / 2
    assert list(table.index) == list(numbers["rows"])
    assert table.loc["noise of 1 LOO", "accuracy (%)"].startswith(f"{mean:.2f} ±")
    assert table.loc[LONGER, "apart (LOO)"] == "-" and table.loc[LONGER, "networks"] == "1"
    assert tables.new_and_good(numbers).loc[ORIGINALS, ">= 0"] == "100"
    assert tables.ensembles(numbers, [ORIGINALS], "loss").columns.tolist() == ["1", "2"]
    assert tables.cost(numbers).loc["ours", "a step (ms)"] != "-"
    figure, axes = plt.subplots(1, 2)
    families = {"ours, one each": ["ours: one each"], "noise": ["noise of 0.5 LOO", "noise of 1 LOO"]}
    figures.accuracy_against_distance(axes[0], numbers, families)
    figures.ensembles(axes[1], numbers, {"originals": ORIGINALS}, "loss")
    assert axes[0].get_legend_handles_labels()[1] == [*families, "originals"]
    # Sizes of noise have an order; kinds of mixtures have none, and no line through them.
    assert [len(line.get_xdata()) for line in axes[0].lines if line.get_color() == figures.MARKS["noise"][0]] == [2]
    assert not [line for line in axes[0].lines if line.get_color() == figures.GENERATED]
    assert axes[1].lines[0].get_xdata().tolist() == [1, 2]
    figure.canvas.draw()
    plt.close(figure)


def test_seconds_of_a_zoo_that_was_at_hand_are_not_known(home, record, tmp_path):
    job = jobs.Collecting(vary(base("smoke"), CHANGES | {"name": "elsewhere"}), "smoke", 0, 0, "cpu")
    assert job.compute(tmp_path)["cpu_seconds"] > 0
    next(home.rglob("elsewhere_*.json")).unlink()
    assert job.compute(tmp_path)["cpu_seconds"] is None
    numbers = copy.deepcopy(record["numbers"]["whole"])
    numbers["zoo"]["cpu_seconds"] = None
    assert tables.cost(numbers).loc["originals, each", "training (s)"] == "-"


def test_the_seed_of_the_experiment_moves_those_of_its_cells(study):
    moved = study.parts["whole"].jobs("smoke", 5, "cpu")
    assert [job.seed for job in moved["ours"]] == [5, 6]
