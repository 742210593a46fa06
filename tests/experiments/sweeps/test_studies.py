"""The measures behind 11 and 12, where an answer is known beforehand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.pipeline import images_of
from experiments.sweeps import cells, connectivity, similarity
from experiments.sweeps.findings import by_seed, seed_values
from experiments.sweeps.recipes import base
from experiments.sweeps.sweep import Sweep


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RPG_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def study(home):
    """The smallest sweep with one and with two basins, computed."""
    two = {"collect.runs": 2, "collect.checkpoints": 2, "train.permutation": "run", "model.permutation_states": 2}
    found = Sweep("lines", "smoke", base("smoke"), {"one basin": {}, "two basins": two}, (0,))
    cells.run([cell for name in found.variants for cell in found.cells(name)])
    return found


def test_ends_of_a_line_are_its_networks(study):
    found = connectivity.measure(study)
    assert found["weights"] == [0, 0.5, 1]
    assert len(found["pairs"]["original, two basins"]["as they are"]["barrier"]["values"]) == 1
    for kind, row in found["pairs"].items():
        assert set(row) == set(connectivity.TREATMENTS), kind
        # Another order of the hidden units changes no end.
        assert row["aligned"]["curve"][::2] == pytest.approx(row["as they are"]["curve"][::2])


def test_pairs_come_from_where_they_say(study):
    one, two = (study.cells(name)[0] for name in study.variants)
    kinds = connectivity._kinds(one, two)
    zoo = two.zoo()
    for a, b in kinds["original, two basins"]:
        runs = [next(int(zoo.runs[k]) for k in range(len(zoo)) if _same(zoo[k], x)) for x in (a, b)]
        assert runs == [0, 1]
    for a, b in kinds["original, one basin"]:
        assert not _same(a, b)
    model, recipe = two.model(), two.recipe
    sampler = {"sampler": recipe.sampler, "steps": recipe.sampling_steps, "seed": recipe.train.seed}
    written = model.generate(10, permutation=[0] * 5 + [1] * 5, **sampler)
    assert _same(kinds["generated, two basins, two states"][0][1], written[5])


def _same(a, b):
    return all(torch.equal(x, b[name]) for name, x in a.items())


def test_layers_stay_together():
    network = {name: torch.zeros(1) for name in ("0.weight", "1.weight", "1.bias", "1.running_mean", "5.weight")}
    assert similarity._first_layers(network) == [
        [],
        ["0.weight"],
        ["0.weight", "1.weight", "1.bias", "1.running_mean"],
        list(network),
    ]


def test_exchanging_everything_changes_nothing(study):
    row = [study.cells("one basin")[0]], [study.cells("two basins")[0]]
    found = similarity._exchange(*row, images_of("digits").test)
    numbers = {"exchange": found}
    for kind, entry in found.items():
        assert entry["share"][0] == 0 and entry["share"][-1] == pytest.approx(1), kind
        assert entry["accuracy"][0] == pytest.approx(entry["accuracy"][-1])
        assert seed_values(similarity.after_exchange(numbers, kind, 1)) == pytest.approx(entry["accuracy"][-1])


def test_a_vote_is_most_like_itself(study):
    """A zoo of one checkpoint votes as that checkpoint does, so the originals' similarity to it would be 1."""
    cell = study.cells("one basin")[0]
    single = replace(cell, recipe=replace(cell.recipe, collect=replace(cell.recipe.collect, checkpoints=1)))
    single = replace(single, recipe=replace(single.recipe, model=replace(single.recipe.model, permutation_states=1)))
    cells.run([single])
    found = similarity._ensemble([single], images_of("digits").test)
    assert found["ensemble_accuracy"]["mean"] == pytest.approx(single.numbers()["original"]["mean"])


def test_exchange_of_a_record_without_values():
    row = {"share": [0.0, 0.4, 1.0], "accuracy": [97.0, 20.0, 97.0], "std": [1.0, 2.0, 1.0]}
    numbers = {"exchange": {"pair": row}, "ensemble": {"without diffusion": {"similarity": {"n": 3}}}}
    assert similarity.after_exchange(numbers, "pair", 0.5) == {"n": 3, "mean": 20, "std": 2}


@pytest.mark.parametrize("kept", [False, True])
def test_lead_over_noise(kept):
    """Noise of accuracy 100 x similarity; generated networks five points above it."""
    scatter = {
        "generated": {"similarity": [0.6, 0.8], "accuracy": [75.0, 75.0]},
        "noise 0.1": {"similarity": [0.9], "accuracy": [90.0]},
        "noise 0.4": {"similarity": [0.5], "accuracy": [50.0]},
    }
    numbers = {"scatter": scatter}
    if kept:
        numbers["tradeoff"] = {
            kind: {key: by_seed([float(np.mean(values))] * 2) for key, values in row.items()}
            for kind, row in scatter.items()
        }
    assert similarity.lead_over_noise(numbers) == pytest.approx([5.0] * (2 if kept else 1))
