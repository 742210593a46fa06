"""Which baselines do as well as a generator, and by how much the others fall short."""

from dataclasses import replace

import numpy as np
import pytest

from experiments import profiles
from experiments.baselines import ahead, matching


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
