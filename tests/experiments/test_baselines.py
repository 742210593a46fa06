"""Which baselines do as well as a generator, and by how much the others fall short."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from experiments import profiles
from experiments.baselines import accuracies_on, ahead, matching, one_by_one, side_by_side
from rpglib.zoo.images import Split


def numbers():
    def found(*accuracies):
        return {"mean": float(np.mean(accuracies)), "accuracies": list(accuracies)}

    baselines = {"far below": found(10.0), "just as good": found(97.6, 97.4), "below": found(97.0, 97.6, 97.8, 97.5)}
    return {"generated": found(98.0, 97.9, 98.1, 98.0), "baselines": baselines}


@pytest.mark.parametrize(
    ("margin", "expected"), [(0.5, ["just as good"]), (0.6, ["just as good", "below"]), (0.0, []), (90, None)]
)
def test_a_baseline_matches_within_the_margin(margin, expected):
    assert matching(numbers(), margin) == (list(numbers()["baselines"]) if expected is None else expected)


def test_differences_are_taken_network_by_network():
    found = ahead(numbers(), ["just as good", "far below"])
    assert list(found) == ["just as good", "far below"]
    np.testing.assert_allclose(found["just as good"], [0.4, 0.5, 0.5, 0.6])
    np.testing.assert_allclose(found["far below"], [88.0, 87.9, 88.1, 88.0])


@pytest.mark.parametrize("profile", ["smoke", "cpu"])
def test_a_row_of_one_run_has_as_many_checkpoints(profile):
    recipes = profiles.beside_one_run(profiles.main_results(profile))
    for several, one in zip(recipes[::2], recipes[1::2], strict=True):
        assert one.name == f"{several.name}_one_run" and one.collect.runs == one.generators == 1
        assert one.collect.checkpoints == several.collect.runs * several.collect.checkpoints
        kept = replace(one, name=several.name, collect=several.collect, generators=several.generators)
        assert kept == several, "nothing else differs"


def test_a_row_of_one_run_stands_alone():
    recipes = profiles.main_results("paper")
    assert profiles.beside_one_run(recipes) == recipes


def test_networks_stand_side_by_side_and_one_by_one():
    torch.manual_seed(0)
    modules = [nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 3)) for _ in range(2)]
    networks = [module.state_dict() for module in modules]
    state = side_by_side(networks)
    assert state["2.weight"].shape == (2, 3, 4) and state["1.num_batches_tracked"].shape == (2,)
    back = one_by_one(state)
    assert all(
        list(a) == list(b) and all(a[name].equal(b[name]) for name in a) for a, b in zip(networks, back, strict=True)
    )
    part = Split(torch.randn(40, 1, 2, 2), torch.arange(40) % 3)
    right = [(module.eval()(part.images).argmax(1) == part.labels).double().mean().item() for module in modules]
    for given in (networks, state):
        assert accuracies_on(modules[0], given, part).tolist() == pytest.approx([100 * share for share in right])
