"""Batches follow from seed and step alone, read no more than they need, and a thread changes nothing in them."""

import dataclasses
import threading

import pytest
import torch
from launch_training import MODEL

from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.tasks.conditions import Condition
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training import batches
from rpglib.training.batches import Batches, ahead
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.store import Zoo


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    torch.manual_seed(0)
    architecture = Architecture("cnn_digits", 10, 1, 8)
    checkpoints = [architecture.build().state_dict() for _ in range(6)]
    facts = {"architecture": architecture, "runs": range(6), "accuracies": [0.0] * 6}
    return Zoo.write(tmp_path_factory.mktemp("zoo"), checkpoints, **facts)


def drawn(zoo, config=MODEL, **options):
    model = RPG(config, ParameterTokenizer.fit(zoo, 64))
    return Batches(model, zoo, **{"batch_size": 4, "diffusion_batch": 7} | options)


def equal(a, b):
    return a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)


def test_a_step_has_one_batch_in_memory_from_files_and_ahead(zoo, monkeypatch):
    kept = drawn(zoo)
    monkeypatch.setattr(batches, "CACHED_VALUES", 0)
    streamed = drawn(zoo)
    assert kept.kept is not None and streamed.kept is None
    for step, batch in zip(range(2, 6), ahead(streamed, range(2, 6)), strict=True):
        assert equal(kept(step), batch)
    assert not equal(kept(2), kept(3)) and not equal(kept(2), drawn(zoo, seed=1)(2))
    assert not equal(kept(2), drawn(zoo, process=1)(2))


def test_chosen_tokens_are_those_of_the_whole_batch(zoo):
    some, whole = drawn(zoo)(0), drawn(zoo, whole=True)(0)
    assert some["tokens"].shape == (7, 64) and whole["tokens"].flatten(0, 1)[some["chosen"]].equal(some["tokens"])


def test_runs_with_gaps_between_their_numbers_have_states_without(zoo):
    some = zoo.subset([0, 2, 5])
    batch = drawn(some, dataclasses.replace(MODEL, permutation_states=3), permutation="run")
    assert batch.states.tolist() == [0, 1, 2]
    with pytest.raises(InputError, match=r"has 3 permutation states \(one per run\), the generator 2"):
        drawn(some, dataclasses.replace(MODEL, permutation_states=2), permutation="run")
    with pytest.warns(UserWarning, match="the generator 4; .* never trained"):
        drawn(some, dataclasses.replace(MODEL, permutation_states=4), permutation="run")


def test_every_token_of_a_batch_is_chosen_in_time_and_none_twice_in_a_step(zoo):
    batch = drawn(zoo, diffusion_batch=50)
    count, seen = 4 * batch.tokenizer.num_tokens, set()
    for step in range(100):
        chosen = batch(step)["chosen"].tolist()
        assert len(set(chosen)) == 50
        seen |= set(chosen)
    assert seen == set(range(count))
    # Where all of them pass the denoiser, in their order.
    assert drawn(zoo, diffusion_batch=count)(0)["chosen"].equal(torch.arange(count))


def test_both_of_two_diffusion_steps_are_drawn(zoo):
    batch = drawn(zoo, dataclasses.replace(MODEL, diffusion_steps=2))
    assert torch.cat([batch(step)["t"] for step in range(10)]).unique().tolist() == [0, 1]


BLUR = Condition("blur", 0, 5)


def conditioned(zoo, described_by=(BLUR,)):
    facts = {"architecture": zoo.architecture, "runs": range(6), "accuracies": [0.0] * 6}
    rows = [[float(k)] * len(described_by) for k in range(6)]
    return Zoo.from_checkpoints(
        list(zoo), **facts, conditions=rows if described_by else None, described_by=described_by
    )


def test_a_checkpoint_comes_with_its_condition_and_is_told_of_it_unless_that_is_left_out(zoo):
    config = dataclasses.replace(MODEL, conditions=(BLUR,))
    plain, told = drawn(zoo), drawn(conditioned(zoo), config)
    dropping = drawn(conditioned(zoo), dataclasses.replace(config, condition_dropout=0.25))
    left_out = 0
    for step in range(100):
        batch, before = told(step), plain(step)
        assert batch["task"].equal(config.features(batch["permutation"].double()[:, None]))
        assert all(batch[name].equal(before[name]) for name in before), "nothing else is drawn otherwise"
        task = dropping(step)["task"]
        out = task[:, -1] == 1
        assert task[~out, :-1].equal(batch["task"][~out]) and (task[out, :-1] == 0.5).all() and not task[~out, -1].any()
        left_out += int(out.sum())
    assert left_out == pytest.approx(100, abs=30)


@pytest.mark.parametrize(
    ("described_by", "has"),
    [
        ((), "has none"),
        ((Condition("turn", 0, 5),), r"has turn \(number, 0 to 5\); set RPGConfig.conditions=zoo.described_by"),
        ((Condition("blur", 0, 6),), r"are blur \(number, 0 to 5\), the zoo has blur \(number, 0 to 6\)"),
    ],
)
def test_a_zoo_of_other_conditions_is_refused(zoo, described_by, has):
    with pytest.raises(InputError, match=has):
        drawn(conditioned(zoo, described_by), dataclasses.replace(MODEL, conditions=(BLUR,)))


@pytest.mark.parametrize(("size", "least", "most"), [(4, 0, 1), (6, 1, 1), (15, 2, 3)])
def test_checkpoints_are_drawn_without_replacement(zoo, size, least, most):
    batch = drawn(zoo, batch_size=size)
    for step in range(20):
        counts = batch(step)["permutation"].bincount(minlength=6)
        assert counts.sum() == size and counts.min() >= least and counts.max() <= most


def test_what_fails_in_the_thread_is_raised_at_its_step_and_the_thread_ends():
    seen = []

    def make(step):
        if step == 2:
            raise ValueError("step 2")
        return step

    with pytest.raises(ValueError, match="step 2"):
        for item in ahead(make, range(5)):
            seen.append(item)
    assert seen == [0, 1]
    iterator = ahead(make, range(2))
    next(iterator)
    iterator.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]
    assert list(ahead(make, range(0))) == []


def test_loading_ahead_leaves_the_cores_to_the_computation():
    before = torch.get_num_threads()
    assert list(ahead(lambda step: torch.get_num_threads(), range(2))) == [1, 1]
    assert torch.get_num_threads() == before


STREAMS = {
    (0, 0, 0): 2654435769,
    (1, 0, 0): 3317869467,
    (0, 1, 0): 643080592,
    (0, 0, 1): 10979785,
    (7, 80000, 3): 408850699,
    (1099511627777, 80001, 7): 3717571823,
}


def test_the_streams_of_steps_are_those_that_records_were_made_with():
    assert {place: batches._mix(*place) for place in STREAMS} == STREAMS and len(set(STREAMS.values())) == len(STREAMS)
