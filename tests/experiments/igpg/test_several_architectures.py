"""The experiment on one RPG for several architectures: its rows, its record, and what is kept with it."""

from dataclasses import replace

import pytest

from experiments.igpg import tables, zoos
from experiments.igpg.jobs import GENERATED, ORIGINALS
from experiments.igpg.several import SEVERAL, UNTRAINED, Study, Variant
from experiments.profiles import SMOKE_MODEL
from rpglib.errors import InputError
from rpglib.training.loop import TrainConfig


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RPG_HOME", str(tmp_path_factory.mktemp("home")))
        config = replace(SMOKE_MODEL, permutation_states=0)
        train = TrainConfig(steps=2, batch_size=2, diffusion_batch=8, learning_rate=3e-3, precision="fp32")
        learned, held_out = zoos.learned("smoke"), zoos.held_out("smoke")
        variants = {"slow": Variant(config, replace(train, learning_rate=1e-9)), "fast": Variant(config, train)}
        yield Study(learned, held_out, variants, 20, 2, (0, 1), "smoke")


@pytest.fixture(scope="module")
def record(study):
    return study.record(fresh=True)


def test_the_record_is_read_by_the_same_settings_alone(study, record):
    assert study.record(fresh=False) == record
    for other in (
        replace(study, sampling_steps=3),
        replace(study, short=3),
        replace(study, variants={**study.variants, "fast": study.variants["slow"]}),
        replace(study, variants={"fast": study.variants["fast"]}),
        replace(study, recipes=study.recipes[:1]),
        replace(study, seeds=(0,)),
    ):
        with pytest.raises(InputError, match="other settings"):
            other.record(fresh=False)


def test_every_architecture_stands_beside_what_needs_no_generator(study, record):
    found = record["numbers"]["architectures"]
    assert [*found] == [recipe.name for recipe in (*study.recipes, study.held_out)]
    for recipe in study.recipes:
        for row in found[recipe.name]["rows"]:
            assert {SEVERAL, UNTRAINED, "mean network", "Gaussian", f"noise as far as {SEVERAL}"} <= row[
                "groups"
            ].keys()
    assert [*found[study.held_out.name]["rows"][1]["groups"]] == [SEVERAL, UNTRAINED]
    assert len(record["numbers"]["training"]) == 2


def test_what_is_kept_is_evaluated_as_it_was(study, record):
    assert "agree with the record" in study.check_live(record)
    with pytest.raises(InputError, match="restore it"):
        study.check_live({**record, "generator": "another"})
    name = study.recipes[0].name
    wrong = {name: {"rows": [{"groups": {SEVERAL: {"mean": -5.0}}}]}}
    with pytest.raises(AssertionError, match="differs"):
        study.check_live({**record, "numbers": {"architectures": wrong}})


def test_the_variant_of_the_lowest_loss_is_trained_at_full_length(study, record):
    searched = record["numbers"]["searched"]
    assert record["numbers"]["best"] == "fast" and searched["fast"]["loss"] < searched["slow"]["loss"]
    assert [*searched["slow"]["validation"]] == [recipe.name for recipe in study.recipes]
    assert record["numbers"]["training"][0]["loss"] != record["numbers"]["training"][1]["loss"]


def test_tables_show_every_architecture(study, record):
    numbers, names = record["numbers"], [recipe.name for recipe in study.recipes]
    row = {"mean": 90.0, "min": 80.0, "error_iou": 0.5, "distance": {"median": 1.0}}
    beside = {
        name: {"name": one["name"], ORIGINALS: row, "rows": [{"groups": {GENERATED: row}}], "rpg": [{"row": row}]}
        for name, one in numbers["architectures"].items()
    }
    found = tables.together({"architectures": beside}, numbers, numbers["architectures"])
    assert len(found) == 3 and set(found["originals (%)"]) == {"90.00"}
    assert [*tables.several_groups(numbers, names[0]).index][:2] == [SEVERAL, UNTRAINED]
    assert tables.searched(numbers).shape == (2, 3) and tables.several_cost(numbers).shape == (1, 5)
