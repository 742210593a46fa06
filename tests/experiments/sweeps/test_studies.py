"""The measures behind 10 to 12, where an answer is known beforehand."""

from dataclasses import replace

import pytest
import torch

from experiments.pipeline import images_of
from experiments.sweeps import cells, connectivity, mean_network, similarity, states
from experiments.sweeps.findings import by_seed
from experiments.sweeps.recipes import base
from experiments.sweeps.sweep import Sweep, vary
from rpglib.analysis.accuracy import predictions
from rpglib.analysis.similarity import mean_iou


@pytest.fixture(scope="module")
def study(home):
    """The smallest sweep with one basin, with two of one state each, and with the base's, a state per checkpoint."""
    variants = {
        "one basin": {"collect.runs": 1, "collect.checkpoints": 4},
        "two basins": {"train.permutation": "run", "model.permutation_states": 2},
        "ten basins": {},
    }
    found = Sweep("lines", "smoke", base("smoke"), variants, (0,))
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


def test_pairs_come_from_where_they_say(study, monkeypatch):
    one, two, ten = (study.cells(name)[0] for name in study.variants)
    kinds = connectivity._kinds(one, two, ten)
    zoo = two.zoo()
    for a, b in kinds["original, two basins"]:
        runs = [next(int(zoo.runs[k]) for k in range(len(zoo)) if _same(zoo[k], x)) for x in (a, b)]
        assert runs == [0, 1]
    for a, b in kinds["original, one basin"]:
        assert not _same(a, b)
    model, recipe = two.model(), two.recipe
    sampler = {"sampler": recipe.sampler, "steps": recipe.sampling_steps, "seed": recipe.train.seed}
    networks = model.generate(10, permutation=[0] * 5 + [1] * 5, **sampler)
    assert _same(kinds["generated, two basins, two states"][0][1], networks[5])

    monkeypatch.setattr(connectivity, "written", lambda cell, asked: list(asked))
    kinds, runs = connectivity._kinds(one, two, ten), ten.zoo().runs.tolist()
    assert all(runs[a] == runs[b] and a != b for a, b in kinds["generated, ten basins, one run"])
    assert all(runs[a] != runs[b] for a, b in kinds["generated, ten basins, two runs"])
    assert all(a != b for a, b in kinds["generated, one basin"])


def test_states_of_a_run_are_its_own_or_those_of_its_checkpoints(study):
    one, two, ten = (study.cells(name)[0] for name in study.variants)
    assert states.of_run(one, 0, 2) == [0, 2]
    assert states.of_run(ten, 1, 5) == [2, 2, 2, 3, 3]
    assert states.of_run(two, 1, 3) == [1, 1, 1]


def test_spread_within_a_run_is_measured_where_there_are_states(study):
    found = states.measure(replace(study, variants=study.variants | {"none": {"model.permutation_states": 0}}))
    assert set(found["within_run"]) == set(study.variants) and set(found["mean_network"]) == {"1", "2"}
    (cell,) = study.cells("ten basins")
    first = cell.zoo().subset([0, 1])
    errors = predictions(first.build(), first, images_of("digits").test.images) != images_of("digits").test.labels
    assert found["within_run"]["ten basins"]["original"]["values"] == [pytest.approx(mean_iou(errors))]


def test_the_mean_network_is_that_of_the_zoo(study):
    (cell,) = study.cells("one basin")
    zoo, test, module = cell.zoo(), images_of("digits").test, cell.recipe.architecture.build()
    module.load_state_dict({name: x.to(zoo[0][name].dtype) for name, x in _mean(zoo).items()})
    with torch.no_grad():
        right = (module.eval()(test.images).argmax(1) == test.labels).double().mean().item()
    found = mean_network.measure([cell])
    assert found["accuracy"]["values"] == [pytest.approx(100 * right)]
    assert 0 < found["similarity"]["mean"] <= 1


def _mean(zoo):
    return {name: torch.stack([zoo[k][name].double() for k in range(len(zoo))]).mean(0) for name in zoo[0]}


def test_without_diffusion_the_networks_of_a_state_are_one(study, monkeypatch):
    split, (cell,) = images_of("digits").test, study.cells("ten basins")
    alone = replace(cell, recipe=vary(cell.recipe, {"train.diffusion": False}))
    cells.run([alone])
    found = similarity._diffusion([alone], split)
    assert (found["one_state"]["mean"], found["apart"]["mean"]) == (1, 0)
    assert similarity._diffusion([cell], split)["apart"]["mean"] > 0
    # Copies of originals are at no distance from them.
    monkeypatch.setattr(similarity, "generate", lambda cell, model, n, seed: [alone.zoo()[k % 4] for k in range(n)])
    assert similarity._diffusion([cell], split)["distance"]["mean"] == 0


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
    row = study.cells("one basin"), study.cells("two basins")
    found = similarity._exchange(*row, images_of("digits").test)
    numbers = {"exchange": found}
    for kind, entry in found.items():
        assert entry["share"][0] == 0 and entry["share"][-1] == pytest.approx(1), kind
        assert entry["accuracy"][0] == pytest.approx(entry["accuracy"][-1])
        assert similarity.after_exchange(numbers, kind, 1) == pytest.approx(entry["accuracy"][-1])


def test_likeness_to_the_vote_of_the_originals(study, monkeypatch):
    (cell,) = study.cells("two basins")
    zoo, split = cell.zoo(), images_of("digits").test
    predicted = predictions(zoo.build(), zoo, split.images)
    vote = torch.stack([x.bincount(minlength=10).argmax() for x in predicted.T])
    one, all_of_them = predicted[0] != split.labels, vote != split.labels
    monkeypatch.setattr(similarity, "generate", lambda cell, model, n, seed: [zoo[0]] * n)
    found = similarity._diffusion([cell], split)["ensemble"]["mean"]
    assert 0 < found < 1 and found == pytest.approx(((one & all_of_them).sum() / (one | all_of_them).sum()).item())


def test_exchange_takes_the_nearest_share():
    row = {"share": [0.0, 0.4, 1.0], "values": [[97.0, 20.0, 97.0], [98.0, 30.0, 98.0]]}
    assert similarity.after_exchange({"exchange": {"pair": row}}, "pair", 0.5).tolist() == [20, 30]


def test_lead_over_noise():
    """Noise of accuracy 100 x similarity; generated networks five points above it with one seed, ten with another."""
    rows = {
        "generated": {"similarity": [0.7, 0.6], "accuracy": [75.0, 70.0]},
        "noise 0.1": {"similarity": [0.9, 0.9], "accuracy": [90.0, 90.0]},
        "noise 0.4": {"similarity": [0.5, 0.5], "accuracy": [50.0, 50.0]},
    }
    found = {kind: {key: by_seed(values) for key, values in row.items()} for kind, row in rows.items()}
    assert similarity.lead_over_noise({"tradeoff": {"zoo": found}}, "zoo") == pytest.approx([5.0, 10.0])
