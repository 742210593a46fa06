"""The experiment on IGPG: what is measured, and that its record can be read, and refuses other settings."""

from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
import torch

from experiments.igpg import figures, measures, tables, zoos
from experiments.igpg.jobs import ANONYMOUS, GENERATED, ORIGINALS, SCRATCH, PriorVariant, shortened
from experiments.igpg.study import Study, needed
from rpglib.analysis.accuracy import accuracy, predictions
from rpglib.errors import InputError
from rpglib.igpg.config import CodesTraining, IGPGConfig, PriorTraining
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import CollectConfig, collect
from rpglib.zoo.images import load_images

EPOCHS = (0, 1)
PRIORS = {
    "slow": PriorVariant(16, 1, PriorTraining(steps=2, batch_size=2, learning_rate=1e-9)),
    "wide": PriorVariant(32, 1, PriorTraining(steps=2, batch_size=2)),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RPG_HOME", str(tmp_path_factory.mktemp("home")))
        recipes, held_out = zoos.learned("smoke"), zoos.held_out("smoke")
        config = IGPGConfig(chunk=256, codes=4, codebook=8, context=16, width=16, layers=1, headdim=8, code_hidden=16)
        yield Study(
            recipes,
            held_out,
            config,
            CodesTraining(steps=5, batch_size=48),
            PRIORS,
            (0, 1),
            8,
            (0.0, 0.5),
            {held_out.name: EPOCHS},
            "smoke",
        )


@pytest.fixture(scope="module")
def record(study):
    return study.record(fresh=True)


def test_the_record_is_read_by_the_same_settings_alone(study, record):
    assert study.record(fresh=False) == record
    for other in (
        replace(study, short=3),
        replace(study, priors={**PRIORS, "wide": replace(PRIORS["wide"], layers=2)}),
        replace(study, recipes=study.recipes[:1]),
        replace(study, seeds=(0,)),
    ):
        with pytest.raises(InputError, match="other settings"):
            other.record(fresh=False)


def test_every_architecture_has_its_rows(study, record):
    numbers = record["numbers"]
    names = [recipe.name for recipe in (*study.recipes, study.held_out)]
    assert [*numbers["architectures"]] == names
    for name in names[:-1]:
        one = numbers["architectures"][name]
        assert len(one["rows"]) == 2 and len(one["rpg"]) == 1
        beside = {GENERATED, ANONYMOUS, "untrained prior", "mean network", "Gaussian", "noise as far as IGPG"}
        assert beside <= one["rows"][0]["groups"].keys()
    assert {GENERATED, ANONYMOUS} <= numbers["architectures"][names[-1]]["rows"][0]["groups"].keys()
    assert 0 <= numbers["codes"]["usage"]["dead"] <= 1
    # The originals are told apart from their copies.
    assert numbers["architectures"][names[0]][ORIGINALS]["distance"]["median"] == pytest.approx(1, abs=0.05)


def test_the_prior_is_that_of_the_lowest_loss_and_the_temperature_the_best_on_validation_images(record):
    numbers = record["numbers"]
    assert numbers["search"]["wide"]["loss"] < numbers["search"]["slow"]["loss"]
    assert numbers["best"]["prior"] == "wide"
    for tried, chosen in zip(numbers["tried"], numbers["best"]["temperatures"], strict=True):
        assert tried[f"{chosen:g}"] == max(tried.values())


def test_tables_and_figures_show_every_architecture(study, record):
    numbers, names = record["numbers"], [recipe.name for recipe in study.recipes]
    assert len(tables.accuracy(numbers, [*names, study.held_out.name])) == 3
    assert tables.RPG in tables.groups(numbers, names[0]).index
    assert {"identity", "instruction", "unseen wording", "chance"} <= {*tables.retrieved(numbers, names).columns}
    assert tables.tuning(numbers, study.held_out.name, EPOCHS).shape[1] == len(EPOCHS)
    assert len(tables.settings(numbers)) == 4 and len(tables.cost(numbers, names)) == 2
    figure, axes = plt.subplots(1, len(names) + 1)
    figures.along_sequence(axes[:-1], numbers, names, "teacher forcing, unknown")
    assert all(len(axis.get_lines()) == len(axis.collections) == 1 for axis in axes[:-1])  # a mean and a range
    figures.tuning(axes[-1], numbers, study.held_out.name, EPOCHS)
    shown = axes[-1].get_legend_handles_labels()[1]
    assert {GENERATED, SCRATCH, "originals"} <= {*shown} and len(axes[-1].collections) == len(shown) - 1
    plt.close(figure)


def test_what_is_kept_is_evaluated_as_it_was(study, record):
    assert "agree with the record" in study.check_live(record)
    with pytest.raises(InputError, match="restore it"):
        study.check_live({**record, "generator": "another"})
    broken = {**record, "numbers": {**record["numbers"], "architectures": dict(record["numbers"]["architectures"])}}
    name = study.recipes[0].name
    one = broken["numbers"]["architectures"][name]
    groups = {**one["rows"][0]["groups"], GENERATED: {"mean": -5.0}}
    broken["numbers"]["architectures"][name] = {**one, "rows": [{**one["rows"][0], "groups": groups}]}
    with pytest.raises(AssertionError, match="differs"):
        study.check_live(broken)


def test_epochs_are_counted_until_the_accuracy_is_reached(record, study):
    curve = [{"mean": 20.0}, {"mean": 90.0}, {"mean": 97.0}]
    assert measures.epochs_until(curve, (0, 1, 5), 90.0) == 1
    assert measures.epochs_until(curve, (0, 1, 5), 98.0) is None
    assert len(needed(record["numbers"], study.held_out.name, GENERATED, EPOCHS)) == 2


def test_a_block_less_is_the_network_without_it():
    deep, shallow = (Architecture(f"vit_small_digits_{depth}", 10, 1, 8).build() for depth in (4, 3))
    less = measures.a_block_less(deep.state_dict(), 1)
    shallow.load_state_dict(less)
    images = torch.randn(3, 1, 8, 8)
    deep.blocks[1] = torch.nn.Identity()
    torch.testing.assert_close(shallow.eval()(images), deep.eval()(images))


def test_only_networks_of_four_blocks_are_shortened():
    digits, config = load_images("digits"), CollectConfig(epochs=0, runs=1, checkpoints=1)
    two, three, four = (
        collect(Architecture(f"vit_small_digits{end}", 10, 1, 8), digits, config, progress=False)
        for end in ("", "_3", "_4")
    )
    assert shortened([two], three, digits.validation) == []
    (less,) = shortened([two, four], three, digits.validation)
    right = [
        accuracy(predictions(three.build(), [network], digits.validation.images), digits.validation.labels)
        for network in (less, *(measures.a_block_less(four[0], block) for block in range(4)))
    ]
    assert right[0] == max(right[1:])


def test_networks_train_on_from_their_start():
    digits = load_images("digits")
    architecture = Architecture("cnn_digits", 10, 1, 8)
    networks = [architecture.build().state_dict() for _ in range(2)]
    how = measures.Tuning((0, 2), 5e-3, 32, 0.01)
    found = measures.tuned(architecture.build(), {"mine": networks}, digits, how)["mine"]
    assert len(found) == 2 and found[0]["mean"] < 40 < 80 < found[1]["mean"]


def test_zoos_share_no_seed():
    for profile in ("smoke", "cpu"):
        recipes = [*zoos.learned(profile), zoos.held_out(profile)]
        assert len({recipe.collect.seed for recipe in recipes}) == len({r.name for r in recipes}) == len(recipes)
        assert zoos.held_out(profile).architecture not in [r.architecture for r in zoos.learned(profile)]
