"""Sweeps vary what they declare and nothing else; their cells are computed once; their records are read back."""

from dataclasses import replace

import pytest
import torch

from experiments.records import PROFILES
from experiments.sweeps import cells, sweep
from experiments.sweeps.cells import Cell
from experiments.sweeps.memory import training_bytes
from experiments.sweeps.recipes import SWEEPS, base, recurrent_and_positions
from experiments.sweeps.sweep import Sweep, differences, vary
from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.loop import TrainConfig, train
from rpglib.zoo.collect import CollectConfig

IMAGES = {"digits": 1078, "cifar10": 45_000}
"""How many images each data set trains on."""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("number", SWEEPS)
def test_no_variant_differs_in_an_undeclared_field(number, profile):
    study = SWEEPS[number](profile)
    for name, changes in study.variants.items():
        assert differences(study.base, study.recipe(name)) == set(changes), name


@pytest.mark.parametrize("number", SWEEPS)
def test_every_sweep_has_its_base_once(number):
    study = SWEEPS[number]("cpu")
    assert [name for name, changes in study.variants.items() if not changes]
    recipes = [study.recipe(name) for name in study.variants]
    assert len(set(map(repr, recipes))) == len(recipes)
    assert len(study.seeds) >= 3


@pytest.mark.parametrize("number", SWEEPS)
def test_equal_names_of_generators_mean_equal_bases(number):
    """Sweeps that keep their base's generator in one place must have one base."""
    study = SWEEPS[number]("cpu")
    assert (study.base.name == base("cpu").name) == (study.base == base("cpu"))


def test_differences_sees_every_level():
    start = base("cpu")
    other = replace(start, slicing="flatten", model=replace(start.model, token_size=7))
    assert differences(start, other) == {"slicing", "model.token_size"}
    assert differences(start, start) == set()


def test_vary():
    start = base("cpu")
    other = vary(start, {"slicing": "flatten", "model.token_size": 7})
    assert (other.slicing, other.model.token_size, other.collect) == ("flatten", 7, start.collect)
    with pytest.raises(InputError, match="no field 'tokens'"):
        vary(start, {"model.tokens": 7})
    with pytest.raises(InputError, match="in the base already"):
        vary(start, {"model.token_size": start.model.token_size})


@pytest.fixture
def small():
    """Two variants of the smoke base."""
    return Sweep("small", base("smoke"), {"base": {}, "1d": {"model.position": "1d"}}, seeds=(0,))


def test_cells_are_computed_once_and_shared(home, small, monkeypatch):
    first = cells.run(small.cells("base", "smoke"))
    monkeypatch.setattr(Cell, "compute", lambda *_: pytest.fail("computed again"))
    assert cells.run(small.cells("base", "smoke")) == first
    # Another experiment with the same recipe under another name is the same cell.
    renamed = replace(small, experiment="other", base=replace(small.base, name="other"))
    assert cells.run(renamed.cells("base", "smoke")) == first


def test_a_broken_run_goes_on_where_it_stopped(home, small, monkeypatch):
    compute, done = Cell.compute, []

    def interrupted(cell, folder):
        if cell.recipe.model.position == "1d" and not done:
            done.append(cell)
            raise KeyboardInterrupt
        return compute(cell, folder)

    monkeypatch.setattr(Cell, "compute", interrupted)
    both = [*small.cells("base", "smoke"), *small.cells("1d", "smoke")]
    with pytest.raises(KeyboardInterrupt):
        cells.run(both)
    assert both[0].numbers()["tokens"] > 0
    monkeypatch.setattr(Cell, "compute", lambda cell, folder: compute(cell, folder) | {"second": True})
    assert ["second" in found for found in cells.run(both)] == [False, True]


def test_cells_in_processes_agree_with_cells_in_this_one(home, small):
    jobs = [*small.cells("base", "smoke"), *small.cells("1d", "smoke")]
    here = cells.run(jobs)
    # Only smoke runs stay in one process; the profile is no part of what a cell computes.
    there = cells.run([replace(job, profile="cpu") for job in jobs])
    for a, b in zip(here, there, strict=True):
        assert a["generated"]["accuracies"] == b["generated"]["accuracies"]
        assert a["loss"]["losses"] == pytest.approx(b["loss"]["losses"], rel=1e-4)


def test_records_are_read_back_and_checked(home, small):
    record = sweep.record_of(small, "smoke", fresh=True, more=lambda *_: {"extra": 1})
    assert sweep.record_of(small, "smoke", fresh=False) == record
    assert record["numbers"]["extra"] == 1
    assert record["numbers"]["variants"]["1d"]["changes"] == {"model.position": "1d"}
    assert "agree with the record" in sweep.check_live(small, record, "smoke")
    record["numbers"]["variants"]["base"]["cells"][0]["generated"]["accuracies"][0] += 5
    with pytest.raises(AssertionError, match="differ from the record by 5"):
        sweep.check_live(small, record, "smoke")
    with pytest.raises(InputError, match="another seed"):
        sweep.record_of(small, "smoke", fresh=False, seed=1)
    with pytest.raises(InputError, match="another sweep"):
        sweep.record_of(replace(small, variants={"base": {}}), "smoke", fresh=False)
    with pytest.raises(InputError, match="no record of 'absent'"):
        sweep.record_of(replace(small, experiment="absent"), "smoke", fresh=False)


def test_seeds_move_everything():
    study = recurrent_and_positions("cpu")
    first, second = study.cells("base", "cpu")[:2]
    assert differences(first.recipe, second.recipe) == {"collect.seed", "train.seed"}
    assert first.zoo_recipe.name != second.zoo_recipe.name


def test_training_memory_counts_and_leaves_no_trace():
    zoo = [{"weight": torch.randn(40, 8), "bias": torch.randn(40)} for _ in range(4)]
    recipe = base("smoke")
    tokenizer = ParameterTokenizer.fit(zoo, recipe.model.token_size)
    model = RPG(recipe.model, tokenizer).eval()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    config = replace(recipe.train, batch_size=2, diffusion_batch=2)
    found = training_bytes(model, config)
    weights = 4 * sum(x.numel() for x in model.parameters())
    assert found > 4 * weights - 12 * sum(x.numel() for x in model.recurrent.permutation.parameters())
    # Twice the networks and twice the tokens: twice what is kept for the way back, but for what belongs to no batch.
    double = training_bytes(model, replace(config, batch_size=4, diffusion_batch=4))
    assert 1.5 < (double - 4 * weights) / (found - 4 * weights) < 2.2
    assert not model.training
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


def test_without_diffusion_the_skip_alone_learns():
    zoo = _Zoo([{"weight": torch.full((8, 16), float(k))} for k in (1, 2)])
    model_config = replace(base("smoke").model, prediction="sample", prototype_skip=True, permutation_states=0)
    config = TrainConfig(steps=4, batch_size=2, diffusion_batch=2, diffusion=False, precision="fp32")
    model = RPG(model_config, ParameterTokenizer.fit(zoo, model_config.token_size))
    before = {name: x.clone() for name, x in model.named_parameters()}
    train(model, zoo, config, progress=False)
    changed = {name for name, x in model.named_parameters() if not torch.equal(x, before[name])}
    assert any(name.startswith("skip") for name in changed)
    assert not any(name.startswith("denoiser") for name in changed)
    one, two = model.generate(2, steps=1)
    torch.testing.assert_close(one, two)  # no state, no diffusion: one network only
    with pytest.raises(InputError, match="prototype_skip"):
        train(RPG(base("smoke").model, model.tokenizer), zoo, replace(config, permutation="run"), progress=False)


class _Zoo(list):
    runs, tasks = torch.zeros(2, dtype=torch.int64), None


def test_collecting_config_of_the_base_fits_its_images():
    """So many checkpoints must fit into the fine-tuning epoch of every sweep's zoos: 1,078 training images."""
    for make in SWEEPS.values():
        study = make("cpu")
        for name in study.variants:
            config: CollectConfig = study.recipe(name).collect
            assert config.checkpoints <= config.finetuning.steps(IMAGES[study.base.images])
