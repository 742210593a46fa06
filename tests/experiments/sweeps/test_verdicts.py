"""Verdicts follow from the numbers: hand-made records on both sides of every rule."""

import pytest

from experiments.sweeps import verdicts
from experiments.sweeps.findings import (
    IN_PART,
    NOT_REPRODUCED,
    REPRODUCED,
    Difference,
    difference,
    gap,
    word,
)


def cells(generated, original=97.0, iou=0.5, **more):
    """One cell per seed: accuracies in percent, the same error-IoU everywhere."""
    keys = ("among_generated", "to_nearest_original", "among_originals", "nearest_original_among_originals")
    return {
        "changes": {},
        "cells": [
            {
                "original": {"mean": original},
                "generated": {"mean": value},
                "diversity": dict.fromkeys(keys, iou),
                "parameters": 1000,
                **more,
            }
            for value in generated
        ],
    }


def words(found):
    return [verdict.word for verdict in found]


def test_paired_differences():
    found = difference([3, 5, 4], [1, 2, 3])
    assert found.mean == 2 and found.error == pytest.approx(1 / 3**0.5)
    assert difference([3], [1]) == Difference(2, 0)


@pytest.mark.parametrize(
    ("mean", "error", "lower", "higher"),
    [
        (-1, 0, True, False),
        (-1, 0.6, False, False),
        (-0.4, 0, False, False),
        (1, 0.1, False, True),
        (1, 1, False, False),
    ],
)
def test_a_difference_counts_beyond_margin_and_noise(mean, error, lower, higher):
    found = Difference(mean, error)
    assert (found.lower, found.higher) == (lower, higher)


def test_words():
    assert word(True) == word(True, True) == REPRODUCED
    assert word(True, False) == IN_PART
    assert word(False, False) == NOT_REPRODUCED


def test_gap_is_paired_by_seed():
    numbers = {"variants": {"x": {"cells": cells([90])["cells"] + cells([95], 99)["cells"]}}}
    assert gap(numbers, "x").mean == -5.5


@pytest.mark.parametrize(("without", "expected"), [(60, REPRODUCED), (97, NOT_REPRODUCED)])
def test_recurrence(without, expected):
    variants = {"base": cells([97, 97]), "no recurrence": cells([without] * 2)}
    variants |= {"by index": cells([97, 97]), "learned": cells([97, 97.2])}
    assert words(verdicts.recurrent_and_positions({"variants": variants})) == [expected, REPRODUCED]
    variants["learned"] = cells([98, 98])
    assert words(verdicts.recurrent_and_positions({"variants": variants}))[1] == NOT_REPRODUCED
