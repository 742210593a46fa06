"""What is suggested trains, and is what the zoo's sizes ask for; every setting has a reason."""

import pytest
import torch

from rpglib import Zoo, describe, suggest, train
from rpglib.errors import InputError
from rpglib.tasks.conditions import Condition
from rpglib.training import suggestion


def zoo_of(n: int, values: int = 900, **facts) -> Zoo:
    draws = (torch.Generator().manual_seed(i) for i in range(n))
    networks = [
        {"a.weight": torch.randn(values // 30, 30, generator=g), "b": torch.randn(3, generator=g)} for g in draws
    ]
    return Zoo.read(networks, **facts)


@pytest.mark.parametrize(
    ("values", "token"), [(300, 128), (3_600, 128), (11_000, 128), (60_000, 256), (1_000_000, 1024), (11_200_000, 4096)]
)
def test_tokens_grow_with_the_root_of_the_values(values, token):
    assert suggestion._token_size(values) == token


def test_states_and_steps_follow_the_number_of_checkpoints(monkeypatch):
    found = suggest(zoo_of(3))
    assert (found.model.permutation_states, found.train.steps, found.train.permutation) == (3, 600, "checkpoint")
    assert suggest(zoo_of(20)).train.steps == 1200
    given = suggest(zoo_of(3), steps=7, states=0, seed=5)
    assert (given.model.permutation_states, given.train.steps, given.train.seed) == (0, 7, 5)
    monkeypatch.setattr(suggestion, "MOST_STATES", 4)
    rows = [{"run": i // 3} for i in range(6)]
    found = suggest(zoo_of(6, table=rows))
    assert (found.model.permutation_states, found.train.permutation) == (2, "run")
    assert found.reasons["permutation_states"].startswith("2, one for each run")
    monkeypatch.undo()
    zoo = zoo_of(6, table=rows)
    assert (suggest(zoo, states=2).train.permutation, suggest(zoo, states=6).train.permutation) == ("run", "checkpoint")
    with pytest.raises(InputError, match="3 permutation states are too few; 6 tell all checkpoints apart, 2 the runs"):
        suggest(zoo, states=3)


def test_tasks_replace_states():
    rows = [{"task": f"{i % 2}1{1 - i % 2}"} for i in range(4)]
    found = suggest(zoo_of(4, table=rows))
    assert (found.model.task_bits, found.model.permutation_states, found.normalisation) == (3, 0, "residual")
    assert found.reasons["permutation_states"].startswith("none")


def test_a_generator_that_memory_does_not_hold_gets_smaller_tokens(monkeypatch):
    monkeypatch.setattr(suggestion, "memory", lambda: 2 * 16 * 4e6)
    found = suggest(zoo_of(2, 300_000))
    assert found.model.token_size == 256 and "memory" in found.reasons


@pytest.mark.parametrize("basins", [1, 3])
def test_what_to_expect_is_said(basins):
    zoo = (
        zoo_of(3)
        if basins == 3
        else Zoo.read([{"a": torch.randn(30, generator=torch.Generator()) + k / 99} for k in (1, 2)])
    )
    assert suggest(zoo).reasons["expect"].startswith(f"{basins} basins" if basins > 1 else "all checkpoints are of one")


def test_what_is_suggested_trains_and_every_setting_has_a_reason():
    zoo = zoo_of(4)
    found = suggest(zoo, describe(zoo), steps=2)
    model = found.generator(zoo)
    train(model, zoo, found.train, progress=False)
    (own,), (told,) = model.generate(1), model.generate(1, steps=4)
    assert own.keys() == zoo[0].keys() and all(own[name].equal(told[name]) for name in own)
    assert all(
        value.equal(found.generator(zoo).state_dict()[name])
        for name, value in found.generator(zoo).state_dict().items()
    )
    needed = {"token_size", "widths", "permutation_states", "steps", "normalisation", "sampling_steps", "learning_rate"}
    assert needed | {"expect"} == found.reasons.keys()


def test_conditions_tell_checkpoints_apart_in_the_place_of_states():
    own = [zoo_of(4)[k] for k in range(4)]
    told = (Condition("angle", -180, 180, "angle"),)
    zoo = Zoo.read(own, table=[{"angle": 30 * k} for k in range(4)], described_by=told)
    found = suggest(zoo, steps=2)
    assert found.model.conditions == told and not found.model.permutation_states and found.normalisation == "residual"
    model = found.generator(zoo)
    train(model, zoo, found.train, progress=False)
    one, other = model.generate(2, condition=[[30], [90]], steps=1)
    assert any(not one[name].equal(other[name]) for name in one)


def test_what_cannot_be_generated_is_refused():
    alike = Zoo.read([{"a": torch.ones(3)}] * 2)
    with pytest.raises(InputError, match="no floating-point tensor of this zoo varies"):
        suggest(alike)
    with pytest.raises(InputError, match="is of 3 checkpoints, the zoo has 2"):
        suggest(zoo_of(2), describe(zoo_of(3)))
