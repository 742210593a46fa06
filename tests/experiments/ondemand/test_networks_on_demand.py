"""Networks on demand: what is held out, what networks see, and a record that can be read, and that can fail."""

import copy
import json
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
import torch

from experiments import records
from experiments.hypernetwork import fit_hypernetwork
from experiments.ondemand import figures, jobs, tables
from experiments.ondemand import study as study_module
from experiments.ondemand.baselines import WRITERS, neighbours
from experiments.ondemand.behaviour import UnderCircumstances
from experiments.ondemand.family import (
    ARCS,
    CIRCUMSTANCES,
    HELD_OUT,
    KINDS,
    SEEN,
    STRONG,
    background_of,
    draw,
    kinds,
    taken,
)
from experiments.ondemand.jobs import Plan
from experiments.ondemand.networks import accuracies, generalist, specialists, told, turned_back
from experiments.ondemand.setting import at_hand
from experiments.ondemand.study import COMPANION, GENERALIST, HYPERNETWORK, SPECIALISTS, Study
from experiments.report.figures import GENERATED
from experiments.sweeps.cells import folder_of
from rpglib import RPG, ParameterTokenizer, RPGConfig, TrainConfig
from rpglib.errors import InputError
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import Schedule, init_population
from rpglib.zoo.images import Images, Split, load_images

CNN = Architecture("cnn_digits", 10, 1, 8)
BRIEF = Schedule(1, 3e-3, 256)
PLAN = Plan(
    model=RPGConfig(
        token_size=128, widths=(32,), d_state=8, headdim=16, channels=(1, 4, 8, 4, 1), conditions=CIRCUMSTANCES
    ),
    train=TrainConfig(steps=2, batch_size=2, diffusion_batch=16, learning_rate=3e-3, precision="fp32"),
    generalist=BRIEF,
    zoo=BRIEF,
    specialists=BRIEF,
    finetuning={"fine-tuned": BRIEF},
    networks=4,
    asked={"angles": 2, "combinations": 2, SEEN: 1},
    finetuned=1,
    behaviour={"networks": 2, "batch_size": 8},
    hypernetwork=16,
)
VARIANTS = {
    "ours": {"size": 4},
    "alone": {"size": 2, "reconstruction": 0.0},
    "zoo": {"size": 4, "asked": False, "steps": 1},
}


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("RPG_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def study(home):
    generalists = {GENERALIST: {}, "told": {"view": "told"}, "wide": {"width": 8}}
    return Study(PLAN, "smoke", VARIANTS, ("zoo",), (2, 4), generalists, (0, 1), device="cpu")


@pytest.fixture(scope="module")
def record(study):
    return study.record(fresh=True)


# ---- circumstances ---------------------------------------------------------------------------------------------------


def test_images_are_turned_blurred_and_noisy(digits):
    images, background = digits.train.images[:6].view(2, 3, 1, 8, 8), background_of(digits.train)
    still = taken(images, torch.zeros(2, 3), background, None)
    torch.testing.assert_close(still, images, rtol=0, atol=1e-5)
    quarter = taken(images, torch.tensor([[90.0, 0, 0], [-180.0, 0, 0]]), background, None)
    torch.testing.assert_close(quarter[0], images[0].rot90(1, (-2, -1)), rtol=0, atol=1e-4)
    torch.testing.assert_close(quarter[1], images[1].rot90(2, (-2, -1)), rtol=0, atol=1e-4)
    # A blurred point: all of it is there, as wide as was said.
    point = background.expand(1, 1, 1, 9, 9).clone()
    point[..., 4, 4] += 1
    blurred = taken(point, torch.tensor([[0.0, 0.8, 0.0]]), background, None)[0, 0, 0] - background
    away = torch.arange(9) - 4.0
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-3)
    assert float((blurred.sum(0) * away.square()).sum()) == pytest.approx(0.8**2, rel=0.05)
    noisy = taken(images, torch.tensor([[0.0, 0, 0.5], [0.0, 0, 0.1]]), background, torch.Generator().manual_seed(0))
    assert (noisy - images).std((1, 2, 3, 4)).tolist() == pytest.approx([0.5, 0.1], rel=0.2)


def test_every_channel_of_an_image_is_taken_alike():
    images = torch.rand(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    split = Split(images.flatten(0, 1), torch.zeros(8, dtype=torch.int64))
    background, rows = background_of(split), torch.tensor([[35.0, 0.5, 0], [-120.0, 0.2, 0]])
    assert background.flatten().equal(split.images.amin((0, 2, 3)))
    found = taken(images, rows, background, None)
    for k in range(3):
        one = taken(images[:, :, k : k + 1], rows, background[k : k + 1], None)
        torch.testing.assert_close(found[:, :, k : k + 1], one)
    noisy = taken(images, torch.tensor([[0.0, 0, 0.5], [0.0, 0, 0.1]]), background, torch.Generator().manual_seed(0))
    assert (noisy - images).std((1, 3, 4)).flatten().tolist() == pytest.approx([0.5] * 3 + [0.1] * 3, rel=0.2)


def test_what_is_held_out_is_never_drawn_for_training(digits):
    rows = draw(3000, torch.Generator().manual_seed(0))
    angle, blur, noise = rows.unbind(1)
    assert not any(((angle >= low) & (angle < high)).any() for low, high in ARCS)
    assert not ((blur > STRONG[0]) & (noise > STRONG[1])).any() and blur.max() > STRONG[0] and noise.max() > STRONG[1]
    assert kinds(rows)[SEEN].all()
    for kind in HELD_OUT:
        found = kinds(draw(200, torch.Generator().manual_seed(1), kind))
        assert found[kind].all() and not any(found[other].any() for other in KINDS if other != kind)
    own = UnderCircumstances(digits.train, CNN)
    assert kinds(own.conditions(500, torch.Generator().manual_seed(2)))[SEEN].all() and own.disagreement == 0
    assert not {tuple(x) for x in PLAN.rows(0).tolist()} & {tuple(x) for x in PLAN.rows(1).tolist()}
    assert PLAN.kinds() == [k for row in PLAN.rows(0) for k, x in kinds(row[None]).items() if x]


def test_the_generator_is_asked_for_what_is_taken_under_each_row(digits):
    own, generator = UnderCircumstances(digits.train, CNN), torch.Generator().manual_seed(0)
    images, labels = digits.train.images[:8].view(2, 4, 1, 8, 8), digits.train.labels[:8].view(2, 4)
    found, answers = own.see(images, labels, torch.tensor([[90.0, 0, 0], [0.0, 0, 0]]), generator)
    torch.testing.assert_close(found[0], images[0].rot90(1, (-2, -1)), rtol=0, atol=1e-4)
    torch.testing.assert_close(found[1], images[1], rtol=0, atol=1e-4)
    assert answers.equal(labels)


# ---- networks --------------------------------------------------------------------------------------------------------


def test_a_specialist_learns_what_it_sees_and_not_another(digits):
    rows = torch.tensor([[0.0, 0, 0.1], [180.0, 0, 0.1]])
    state, schedule = init_population(CNN, [0, 1]), Schedule(4, 5e-3, 32, decay=True)
    found = specialists(CNN.build(), state, digits.train, rows, schedule, 0)
    own, other = (accuracies(CNN.build(), found, x, digits.validation, 0) for x in (rows, rows.flip(0)))
    assert own.min() > 80 and other.max() < 60
    # The same noise for the same row, whoever is asked, and whatever else is asked.
    again = accuracies(CNN.build(), {name: x[1:] for name, x in found.items()}, rows[1:], digits.validation, 0)
    assert again.tolist() == own[1:].tolist()


def test_one_network_for_all_may_be_told_or_see_images_turned_back(digits):
    images = digits.train.images[None, :2]
    row = torch.tensor([[90.0, 0.8, 0.25]])
    seen = told(images, row, torch.zeros(1, 1, 1))
    assert seen.shape == (1, 2, 5, 8, 8) and seen[:, :, :1].equal(images)
    assert seen[0, 1, 1:, 3, 3].tolist() == pytest.approx([1, 0, 1, 0], abs=1e-6)
    background = background_of(digits.train)
    turned = taken(images, torch.tensor([[90.0, 0, 0]]), background, None)
    torch.testing.assert_close(turned_back(turned, row, background), images, rtol=0, atol=1e-4)
    state, schedule = init_population(CNN, [0]), Schedule(6, 5e-3, 32, decay=True)
    rows = draw(4, torch.Generator().manual_seed(0))
    right = []
    for view in (None, turned_back):
        options = {} if view is None else {"view": view}
        one = generalist(CNN.build(), state, digits.train, schedule, 0, **options)
        right.append(accuracies(CNN.build(), one, rows, digits.validation, 0, **options).mean())
    assert right[1] > right[0] + 10 and right[0] > 20


def test_neighbours_are_the_nearest_by_angle_that_comes_round():
    seen = torch.tensor([[-175.0, 0.4, 0.2], [0.0, 0.4, 0.2], [90.0, 0.4, 0.2]])
    tokens = torch.tensor([[1.0], [2.0], [4.0]])
    asked = torch.tensor([[178.0, 0.4, 0.2], [80.0, 0.4, 0.2], [45.0, 0.4, 0.2]])
    assert neighbours(seen, tokens, asked, 1)[:2].flatten().tolist() == [1, 4]
    assert float(neighbours(seen, tokens, asked, 2)[2]) == pytest.approx(3, abs=0.1)
    assert neighbours(seen, tokens, seen, 2).flatten().tolist() == pytest.approx([1, 2, 4], abs=1e-4)
    assert WRITERS["mean network"](seen, tokens, asked).flatten().tolist() == pytest.approx([7 / 3] * 3)


def test_a_plain_hypernetwork_learns_and_follows_from_its_seed(digits):
    tokenizer = ParameterTokenizer.fit([CNN.build().state_dict() for _ in range(3)], 128)
    own = UnderCircumstances(digits.train, CNN, networks=4, batch_size=16)
    config = replace(PLAN.train, steps=100, weight_decay=0.0)
    told = (jobs._told, sum(one.features for one in CIRCUMSTANCES), 32)
    model, losses = fit_hypernetwork(tokenizer, *told, own, config)
    assert sum(losses[-10:]) < sum(losses[:10]) - 0.1 and all(map(math.isfinite, losses))
    short = [fit_hypernetwork(tokenizer, *told, own, replace(config, steps=2, seed=seed))[1] for seed in (0, 0, 1)]
    assert short[0] == short[1] != short[2]
    written = model(torch.zeros(2, 3))
    assert {name: x.shape[1:] for name, x in written.items()} == {
        name: x.shape for name, x in CNN.build().state_dict().items()
    }


# ---- the record ------------------------------------------------------------------------------------------------------


def test_every_method_is_measured_for_every_row(record):
    numbers = record["numbers"]
    made = {f"{name} @ {size}" for name in (*WRITERS, "zoo") for size in (2, 4)}
    assert numbers["accuracy"].keys() == {
        *VARIANTS,
        *made,
        SPECIALISTS,
        HYPERNETWORK,
        GENERALIST,
        "told",
        "wide",
        "fine-tuned",
    }
    for name, found in numbers["accuracy"].items():
        assert len(found) == (1 if name == SPECIALISTS else 2) and {len(row) for row in found} == {5}
        measured = [[value is not None for value in row] for row in found]
        assert measured == [[True, False, True, False, True] if name == "fine-tuned" else [True] * 5] * len(found)
    assert numbers["kinds"] == ["angles"] * 2 + ["combinations"] * 2 + [SEEN]
    assert numbers["weights"]["ours"] == 3586 and numbers["weights"]["wide"] > 10_000
    assert numbers["accuracy"]["zoo"] == numbers["accuracy"]["zoo @ 4"], "the same, computed once"
    assert numbers["zoo"]["networks"] == 4


def test_the_zoo_keeps_its_circumstances(study, record):
    zoo = study._kept().zoo(4)
    assert (
        zoo.described_by == CIRCUMSTANCES
        and kinds(zoo.conditions)[SEEN].all()
        and len(zoo.conditions.unique(dim=0)) == 4
    )
    parts = [study._job(jobs.FromZoo, s, size=2).zoo(2).conditions.tolist() for s in range(6)]
    assert {tuple(row) for part in parts for row in part} == {tuple(row) for row in zoo.conditions.tolist()}
    assert {len(part) for part in parts} == {2} and len({str(sorted(part)) for part in parts}) > 1, (
        "seeds move the part"
    )


def test_the_kept_generator_has_its_generalist_beside_it(study, record):
    folder = records.generator_dir("smoke", "networks_on_demand")
    model, companions, digest = RPG.read(folder, companions=(COMPANION,))
    assert digest == record["generator"] and model.config.conditions == CIRCUMSTANCES
    module = CNN.build()
    module.load_state_dict(companions[COMPANION])
    (network,) = model.generate(1, condition={"angle": 200, "blur": 0.1, "noise": 0.2}, steps=1)
    module.load_state_dict(network)


def test_it_is_read_as_it_was_written_and_computed_once(study, record, monkeypatch):
    assert study.record(fresh=False) == record
    monkeypatch.setattr(jobs, "train", lambda *arguments, **options: pytest.fail("trained again"))
    again = study.record(fresh=True)
    assert again["numbers"]["accuracy"] == record["numbers"]["accuracy"] and again["generator"] == record["generator"]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"seeds": (0,)},
        {"sizes": (2,)},
        {"curve": ()},
        {"generalists": {GENERALIST: {}}},
        {"variants": VARIANTS | {"ours": {"size": 3}}},
        {"plan": replace(PLAN, networks=5)},
        {"plan": replace(PLAN, behaviour={"networks": 3})},
        {"plan": replace(PLAN, zoo=Schedule(2, 3e-3, 256))},
    ],
)
def test_a_record_of_other_settings_is_refused(study, record, change):
    with pytest.raises(InputError, match="other settings"):
        replace(study, **change).record(fresh=False)


def test_jobs_find_each_other_on_the_device_that_was_chosen(study, record, monkeypatch):
    """Elsewhere than on a GPU that is there, too: what was computed by the processor is read again."""
    monkeypatch.setattr("experiments.sweeps.cells._device", lambda job: "cuda" if job.device == "auto" else job.device)
    job = study._job(jobs.FromZoo, size=2)
    assert (folder_of(job.other(jobs.Generalist, 0)) / "numbers.json").exists()
    assert len(job.zoo(2)) == 2 and job.start()


def test_it_is_checked_live_and_the_check_can_fail(study, record):
    assert "agree with the record" in study.check_live(record)
    other = copy.deepcopy(record)
    other["numbers"]["accuracy"]["ours"][0] = [x + 1 for x in other["numbers"]["accuracy"]["ours"][0]]
    with pytest.raises(AssertionError, match="differs from the record"):
        study.check_live(other)
    with pytest.raises(InputError, match="of two runs"):
        study.check_live(record | {"generator": "another"})


def test_tables_and_figures_show_the_numbers(record, digits, home):
    numbers = json.loads((records.results_dir("smoke") / "networks_on_demand.json").read_text())["numbers"]
    table = tables.methods(numbers, [SPECIALISTS, "ours", "fine-tuned"])
    rows = numbers["accuracy"]["ours"]
    held = [sum(row[:4]) / 4 for row in rows]
    assert table.loc["ours", "all held out"].startswith(f"{sum(held) / 2:.2f}")
    assert table.loc[SPECIALISTS, SEEN] == f"{numbers['accuracy'][SPECIALISTS][0][4]:.2f}"
    assert tables.each(numbers, "ours") == pytest.approx(held)
    few = numbers["accuracy"]["fine-tuned"]
    expected = [(a[0] - b[0] + a[2] - b[2]) / 2 for a, b in zip(rows, few, strict=True)]
    assert tables.against(numbers, "ours", "fine-tuned") == pytest.approx(expected)
    assert tables.curve(numbers, (2, 4)).columns.tolist() == [2, 4]
    figure, axes = plt.subplots(1, 3)
    figures.over_zoo(axes[0], numbers, (2, 4), ("zoo",), (SPECIALISTS,))
    figures.accuracy_against_seconds(axes[1], numbers, {"ours": "behaviour", SPECIALISTS: SPECIALISTS})
    figures.circumstances(axes[2:], digits.validation, [(-40, 0.4, 0.1)])
    figures.legend(figure, {"zoo", "behaviour", SPECIALISTS})
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == [SPECIALISTS, "ours (behaviour)", "zoo"]
    assert axes[0].lines[0].get_xdata().tolist() == [2, 4] and axes[1].lines[0].get_color() == GENERATED
    assert axes[2].get_title() == "−40°\nblur 0.4 px\nnoise 0.1"
    figure.canvas.draw()
    plt.close(figure)


def test_natural_images_have_a_record_of_their_own_and_networks_that_are_trained_one_by_one(home, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    parts = [
        Split(torch.randn(16, 3, 32, 32, generator=generator), torch.arange(16) % 10)
        for _ in ("train", "validation", "test")
    ]
    images = Images("cifar10", "random pixels", *parts, tuple("0123456789"))
    for module in (jobs, study_module):
        monkeypatch.setattr(module, "images_of", lambda name: images)
    brief = Schedule(1, 3e-3, 8)
    own = {"images": "cifar10", "architecture": Architecture("cnn_s", 10, 3, 32), "finetuning": {}, "networks": 2}
    own |= {
        "compared": replace(brief, epochs=3),
        "generalist": brief,
        "zoo": brief,
        "specialists": brief,
        "asked": {"angles": 1, "combinations": 1, SEEN: 1},
    }
    plan = replace(PLAN, **own)
    assert plan.together == 1 and PLAN.together > 1
    generalists = {GENERALIST: {}, "told": {"view": "told"}, "larger": {"network": "cnn_m"}}
    variants = {"ours": {"size": 2, "reconstruction": 0.0}}
    study = Study(plan, "smoke", variants, (), (), generalists, (0,), device="cpu", name="other", keeps=False)
    record = study.record(fresh=True)
    numbers = record["numbers"]
    assert record["experiment"] == "other" and study.record(fresh=False) == record
    assert numbers["weights"] == {GENERALIST: 2864, "told": 2864 + 4 * 8 * 25, "larger": 10_853} | dict.fromkeys(
        (HYPERNETWORK, "ours", SPECIALISTS), 2864
    )
    assert [len(numbers["accuracy"][name][0]) for name in ("ours", SPECIALISTS)] == [3, 3]
    trained = [study._job(jobs.Generalist, compared=longer) for longer in (False, True)]
    assert [jobs.folder_of(one).joinpath("numbers.json").exists() for one in trained] == [True, True]
    assert "generator" not in record and not records.generator_dir("smoke", "other").exists()


def test_generalists_that_are_trained_longer_take_the_place_of_the_others(study, record):
    longer = replace(
        study,
        plan=replace(PLAN, compared=replace(BRIEF, epochs=2)),
        variants={},
        curve=(),
        sizes=(),
        name="longer",
        keeps=False,
    )
    numbers, others = record["numbers"], longer.record(fresh=True)["numbers"]
    assert others["accuracy"].keys() == {GENERALIST, "told", "wide", "fine-tuned"} and "zoo" not in others
    assert others["accuracy"][GENERALIST] != numbers["accuracy"][GENERALIST]
    found = tables.renewed(numbers, others)
    assert found["accuracy"] == numbers["accuracy"] | others["accuracy"] and found["rows"] == numbers["rows"]
    assert found["cost"]["wide"] == others["cost"]["wide"] and found["cost"]["ours"] == numbers["cost"]["ours"]
    with pytest.raises(InputError, match="different circumstances"):
        tables.renewed(numbers, others | {"rows": others["rows"][::-1]})


def test_the_sliders_read_what_is_recorded(record, study):
    """The panel of 18 has this generator, and the generalist of the same seed."""
    found, rows = at_hand("smoke"), study.plan.rows(0)[:1]
    setting = found.at(dict(zip(("angle", "blur", "noise"), rows[0].tolist(), strict=True)))
    again = jobs.generated(study.plan, found.model, rows, False, 0)
    assert all(x.equal(again[name][0]) for name, x in setting.network.items())
    kept = jobs.Generalist(study.plan, "smoke", 0, 0, "cpu")
    assert kept.measured({name: x[None] for name, x in found.generalist.items()}) == pytest.approx(
        record["numbers"]["accuracy"][GENERALIST][0]
    )
