"""Verdicts follow from the numbers: hand-made records on both sides of every rule."""

import pytest

from experiments.sweeps import verdicts
from experiments.sweeps.findings import (
    IN_PART,
    NOT_REPRODUCED,
    NOT_TESTABLE,
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


def test_permutation_states():
    def found(with_3, with_10, without_3=12, without_10=10):
        variants = {"1, learned": cells([97, 97]), "1, none": cells([97, 97])}
        variants |= {"3, learned": cells([with_3] * 2), "3, none": cells([without_3] * 2), "3, fixed": cells([97, 97])}
        variants |= {"10, learned": cells([with_10] * 2), "10, none": cells([without_10] * 2)}
        return words(verdicts.permutation_state({"variants": variants}))

    assert found(97, 97) == [REPRODUCED, REPRODUCED, REPRODUCED, "yes"]
    assert found(95, 30) == [REPRODUCED, REPRODUCED, NOT_REPRODUCED, "no"]
    assert found(97, 30) == [REPRODUCED, REPRODUCED, IN_PART, "yes"]
    assert found(20, 30, 97, 97) == [REPRODUCED, NOT_REPRODUCED, NOT_REPRODUCED, "no clear difference"]


def test_linear_mode_connectivity():
    def found(one, two, aligned=20):
        def kind(depth):
            curve = [97.0, 97.0 - depth, 97.0]
            return {
                "as they are": {"curve": curve, "barrier": {"mean": depth}},
                "aligned": {"barrier": {"mean": aligned}},
            }

        kinds = ("original, one basin", "original, two basins", "generated, one basin")
        pairs = dict.fromkeys(kinds, kind(one))
        pairs |= {"generated, two basins, one state": kind(one), "generated, two basins, two states": kind(two)}
        return words(verdicts.linear_mode_connectivity({"pairs": pairs}))

    assert found(0.1, 80) == [REPRODUCED, REPRODUCED, "no"]
    assert found(30, 5) == [NOT_REPRODUCED, NOT_REPRODUCED, "no"]
    assert found(0.1, 80, 0.5)[2] == "yes"


def similarity_numbers():
    return {
        "variants": {
            "1": cells([97, 97], iou=0.9),
            "50": cells([97, 97], iou=0.6),
            "400": cells([97, 97], iou=0.6),
            "without diffusion": cells([97, 97], iou=0.8),
        },
        "checkpoints": 50,
        "ensemble": {name: {"similarity": {"mean": 0.5}} for name in ("50", "400", "without diffusion")},
        "scatter": {
            "original": {"similarity": [0.9], "accuracy": [97]},
            "generated": {"similarity": [0.6], "accuracy": [97]},
            "noise 0.02": {"similarity": [0.8], "accuracy": [97]},
            "noise 0.4": {"similarity": [0.1], "accuracy": [50]},
        },
        "exchange": {
            "two checkpoints of one run": {"accuracy": [97, 96, 97]},
            "two independent runs": {"accuracy": [97, 20, 97]},
            "two generated networks": {"accuracy": [97, 97, 97]},
        },
    }


def test_similarity():
    assert words(verdicts.similarity(similarity_numbers())) == [REPRODUCED] * 4
    numbers = similarity_numbers()
    numbers["variants"]["1"] = cells([97, 97], iou=0.6)
    numbers["variants"]["without diffusion"] = cells([97, 97], iou=0.5)
    numbers["scatter"]["noise 0.02"]["similarity"] = [0.5]
    numbers["exchange"]["two independent runs"]["accuracy"][1] = 90
    assert words(verdicts.similarity(numbers)) == [IN_PART, *[NOT_REPRODUCED] * 3]


def test_sensitivity():
    def found(small, large, gap_small, gap_large):
        variants = {"a": cells([97 - gap_small] * 2), "b": cells([97 - gap_large] * 2, parameters=5000)}
        noise = {n: {"absolute": {"0.1": {"mean": value}}} for n, value in (("a", small), ("b", large))}
        return words(verdicts.sensitivity({"variants": variants, "noise": noise}))

    assert found(5, 1, 0.9, 0.1) == [REPRODUCED, REPRODUCED]
    assert found(1, 5, 0.9, 0.1) == [NOT_REPRODUCED, NOT_REPRODUCED]
    assert found(5, 1, 0.2, 0.1) == [REPRODUCED, NOT_TESTABLE]
