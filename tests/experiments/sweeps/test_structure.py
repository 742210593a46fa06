"""The decoder beside the sweep over structures, in smoke size."""

import pytest

from experiments.sweeps import structure
from experiments.sweeps.recipes import base
from experiments.sweeps.sweep import Sweep

STUDY = Sweep("structure", "smoke", base("smoke"), {"base": {}, "LSTM": {"model.recurrence": "lstm"}}, (0,))


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RPG_HOME", str(tmp_path_factory.mktemp("home")))
        first = structure.measure(STUDY)
        patch.setattr(structure.Decoder, "compute", None)
        again = structure.measure(STUDY)
        assert again["decoder"] == first["decoder"], "it was computed twice"
    assert set(first["step_seconds"]) == set(STUDY.variants)
    assert all(seconds > 0 for row in first["step_seconds"].values() for seconds in row)
    return first["decoder"]


def test_decoder_is_measured_fed_with_its_own_tokens_and_with_true_ones(measured):
    (found,) = measured
    for key in ("free", "forced"):
        assert found[key]["n"] == structure.NETWORKS and 0 <= found[key]["mean"] <= 100
        assert len(found[key]["error"]) == len(found["spread"]), "one number per token"
    assert found["free"]["error"][0] == pytest.approx(found["forced"]["error"][0]), "nothing came before the first"
    assert found["free"]["error"][1:] != found["forced"]["error"][1:]
    assert all(value > 0 for value in found["spread"])


def test_job_is_named_by_what_it_computes():
    recipes = STUDY.base, structure.replace(STUDY.base, name="other")
    one, other = (structure.Decoder(r, "smoke", structure.AutoregressiveConfig()) for r in recipes)
    assert one.facts() == other.facts(), "a name computes nothing"
    shorter = structure.Decoder(one.recipe, "smoke", structure.AutoregressiveConfig(steps=9))
    assert shorter.facts() != one.facts()
