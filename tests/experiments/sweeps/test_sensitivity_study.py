"""What noise costs, where the answer is known beforehand."""

import pytest
import torch

from experiments.pipeline import images_of
from experiments.sweeps import cells, sensitivity
from experiments.sweeps.recipes import base
from experiments.sweeps.sweep import Sweep
from rpglib.analysis.accuracy import accuracy, predictions
from rpglib.analysis.perturbation import noised


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The smallest sweep, computed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RPG_HOME", str(tmp_path_factory.mktemp("home")))
        found = Sweep("noise", "smoke", base("smoke"), {"base": {}}, (0, 1))
        cells.run(found.cells("base"))
        yield found


def test_networks_without_noise_lose_nothing(study, monkeypatch):
    monkeypatch.setattr(sensitivity, "SIGMAS", (0.0, 10.0))
    found = sensitivity.measure(study)
    assert found["steps"] == {"base": study.base.train.steps}
    for kind in ("absolute", "relative"):
        assert found["noise"]["base"][kind]["0.0"]["values"] == [0, 0]
        assert found["noise"]["base"][kind]["10.0"]["mean"] > 10


def test_the_cost_is_a_mean_over_the_first_checkpoint_of_every_run(study, monkeypatch):
    """With one draw only the first run counts, with two the second as well; every seed has noise of its own."""
    monkeypatch.setattr(sensitivity, "SIGMAS", (1.0,))
    test = images_of("digits").test
    expected = []
    for cell in study.cells("base"):
        zoo, seed = cell.zoo(), cell.recipe.train.seed
        firsts = [zoo[list(zoo.runs).index(run)] for run in (0, 1)]
        noisy = [noised(network, 1.0, seed, relative=True, number=k) for k, network in enumerate(firsts)]
        reached = [accuracy(predictions(zoo.build(), group, test.images), test.labels) for group in (firsts, noisy)]
        expected.append(reached[0] - reached[1])
    lost = torch.stack(expected)
    for draws, values in ((1, lost[:, 0]), (2, lost.mean(1))):
        monkeypatch.setattr(sensitivity, "DRAWS", draws)
        found = sensitivity.measure(study)["noise"]["base"]["relative"]["1.0"]["values"]
        assert found == pytest.approx(values.tolist())
