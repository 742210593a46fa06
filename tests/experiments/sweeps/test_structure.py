"""The decoder beside the sweep over structures in smoke size, and verdicts of 08 and 09 that must turn with numbers."""

import pytest

from experiments.sweeps import structure, tables, verdicts
from experiments.sweeps.findings import REPRODUCED
from experiments.sweeps.recipes import structure as sweep
from experiments.sweeps.verdicts.architecture import fifths, token_sizes


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RPG_HOME", str(tmp_path_factory.mktemp("home")))
        first = structure.measure(sweep("smoke"), "smoke")
        patch.setattr(structure.Decoder, "compute", None)
        again = structure.measure(sweep("smoke"), "smoke")
        assert again["decoder"] == first["decoder"], "it was computed twice"
    assert set(first["step_seconds"]) == set(sweep("smoke").variants)
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
    one, other = (structure.Decoder(r, "smoke", structure.AutoregressiveConfig()) for r in _renamed())
    assert one.facts() == other.facts(), "a name computes nothing"
    shorter = structure.Decoder(one.recipe, "smoke", structure.AutoregressiveConfig(steps=9))
    assert shorter.facts() != one.facts()


def _renamed():
    base = sweep("smoke").base
    return base, structure.replace(base, name="other")


# ---- verdicts ---------------------------------------------------------------------------------------------------


def variant(accuracies, changes=None, size=128, memory=1e6):
    """Three seeds' cells; originals reach 90 %."""
    cells = [
        {
            "generated": {"mean": a + k / 10},
            "original": {"mean": 90.0 + k / 10},
            "training_bytes": memory,
            "parameters": 1000,
            "tokens": 2000 // size,
            "padding": 1 - 1000 / (2000 // size * size),
        }
        for k, a in enumerate(accuracies)
    ]
    return {"changes": changes or {}, "cells": cells}


def sized(size, accuracy, memory):
    return variant([accuracy] * 3, {"model.token_size": size}, size=size, memory=memory)


def tokenization(base=90, flatten=50, channel=50, smallest=10, largest=92, heavy=4e6):
    return {
        "variants": {
            "base": variant([base] * 3, memory=2e6),
            "flatten": variant([flatten] * 3, {"slicing": "flatten"}),
            "channel": variant([channel] * 3, {"slicing": "channel"}),
            "512 values": sized(512, largest, heavy),
            "16 values": sized(16, smallest, 1e6),
        }
    }


def words(found):
    return [verdict.word == REPRODUCED for verdict in found]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [True, True, True, True]),
        ({"channel": 89.8}, [False, True, True, True]),
        ({"smallest": 60}, [True, False, True, True]),
        ({"base": 12, "flatten": 9, "channel": 9, "largest": 20}, [True, False, True, True]),  # all sizes fail
        ({"largest": 80}, [True, True, False, True]),
        ({"smallest": 91.8}, [True, False, False, True]),
        ({"heavy": 1.5e6}, [True, True, True, False]),
    ],
)
def test_words_on_tokenization(changes, expected):
    assert words(verdicts.tokenization(tokenization(**changes))) == expected


def test_token_sizes_are_read_from_cells_in_order():
    assert token_sizes(tokenization()) == {16: "16 values", 128: "base", 512: "512 values"}


def structures(lstm=(90, 90, 90), seconds=2.0, memory=2e6, end=1.3, start=0.1, forced=0.1):
    decoder = {
        "free": {"mean": 10.0, "error": [start] * 4 + [0.5] * 12 + [end] * 4},
        "forced": {"mean": 80.0, "error": [start] * 4 + [0.2] * 12 + [forced] * 4},
        "spread": [0.05] * 20,
    }
    return {
        "variants": {
            "base": variant([90] * 3),
            "LSTM": variant(lstm, {"model.recurrence": "lstm"}, memory=3e6),
            "Transformer": variant([90] * 3, {"model.recurrence": "transformer"}, memory=memory),
        },
        "decoder": [decoder] * 3,
        "step_seconds": {
            "base": [1.0, 1.01, 1.02],
            "LSTM": [seconds, seconds + 0.01, seconds + 0.02],
            "Transformer": [2] * 3,
        },
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [True, True, True, True]),
        ({"lstm": (89.4, 89.4, 89.4)}, [False, True, True, True]),
        ({"lstm": (85, 90, 92)}, [True, True, True, True]),  # seeds spread wider than they differ
        ({"lstm": (91, 91, 91)}, [False, True, True, True]),
        ({"seconds": 0.9}, [True, False, True, True]),
        ({"memory": 1e6}, [True, True, False, True]),
        ({"end": 0.9}, [True, True, True, False]),  # wrong, not noise
        ({"start": 1.2}, [True, True, True, False]),  # noise from the start
        ({"forced": 1.3}, [True, True, True, False]),  # noise without any feeding back
    ],
)
def test_words_on_structure(changes, expected):
    assert words(verdicts.structure(structures(**changes))) == expected


def test_table_of_the_decoder():
    table = tables.decoder(structures())
    assert table.loc["free-running", "last fifth"] == "1.300 ± 0.000"
    assert table.loc["teacher-forced", "second"] == "0.200 ± 0.000"
    assert table.loc["spread of originals", "accuracy"] == "90.10 ± 0.10"


def test_fifths_cover_a_sequence():
    assert fifths([1, 1, 2, 2, 3, 3, 4, 4, 5, 5]) == [1, 2, 3, 4, 5]
