"""The mean network of a sweep's zoos, in smoke size."""

from dataclasses import replace

import pytest

from experiments.sweeps import mean_network
from experiments.sweeps.recipes import base
from experiments.sweeps.sweep import Sweep


def test_the_mean_of_one_network_is_that_network(tmp_path, monkeypatch):
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    start = base("smoke")
    start = replace(start, collect=replace(start.collect, runs=1, checkpoints=1))
    cells = Sweep("any", "smoke", start, {"base": {}}, (0, 1)).cells("base")
    trained = [cell.zoo().accuracies.item() for cell in cells]
    found = mean_network.measure(cells)
    assert found["accuracy"]["values"] == pytest.approx(trained)
    assert found["similarity"]["values"] == [1, 1]
    assert trained[0] != trained[1]
