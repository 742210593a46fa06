"""Conditions: what a generator is told of each kind, and that a bad one is one clear line, or a warning."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from rpglib.errors import InputError
from rpglib.tasks.conditions import KINDS, Condition, check_conditions, described, features, random_conditions

ANGLE, BLUR = Condition("angle", -180, 180, "angle"), Condition("blur", 0, 1.2)
CAMERA, FLIP = Condition("camera", 2, 5, "identity"), Condition("flip", kind="bit")
ALL = (ANGLE, BLUR, CAMERA, FLIP)
ROW = [30.0, 0.5, 4, 1]


def told(condition, *values):
    return features([condition], torch.tensor(values, dtype=torch.float64)[:, None])


# ---- features --------------------------------------------------------------------------------------------------------


def test_every_feature_is_told_from_0_to_1():
    rows = random_conditions(ALL, 500, torch.Generator().manual_seed(0))
    found = features(ALL, rows)
    assert found.shape == (500, sum(x.features for x in ALL)) and found.dtype == torch.float32
    assert 0 <= found.min() < 0.01 and 0.99 < found.max() <= 1
    assert features((), torch.empty(3, 0)).shape == (3, 0)


def test_bits_are_told_as_they_are_and_identities_by_a_feature_of_their_own():
    assert told(FLIP, 0, 1).tolist() == [[0], [1]]
    assert told(CAMERA, 2, 5, 3).equal(torch.eye(4)[[0, 3, 1]])


def test_an_angle_comes_round():
    assert torch.allclose(told(ANGLE, -180, -170, 541), told(ANGLE, 180, 190, 181), atol=1e-6)
    # Nothing jumps where the range ends, and no two angles are told alike.
    near, far = told(ANGLE, 179.9, 180.1, 0.0), told(ANGLE, *range(-180, 180, 5))
    assert (near[0] - near[1]).norm() < 0.01 < 1 < (near[0] - near[2]).norm()
    assert torch.cdist(far, far).add(torch.eye(len(far))).min() > 0.05


def test_a_number_is_told_by_its_place_and_by_waves():
    found = told(BLUR, 0, 0.6, 1.2)
    assert found[:, 0].tolist() == pytest.approx([0, 0.5, 1])
    # Half a turn over the range: the sine rises from end to end.
    assert found[:, 1].tolist() == pytest.approx([0, 0.5, 1])
    assert torch.cdist(found, found).add(torch.eye(3)).min() > 0.5
    # Ten ranges away is told as one.
    assert told(BLUR, 2.4, 12.0, -1.2, -1e30)[[0, 2]].equal(told(BLUR, 2.4, 12.0, -1.2, -1e30)[[1, 3]])


def test_all_of_a_range_is_drawn_alike():
    rows = random_conditions(ALL, 4000, torch.Generator().manual_seed(1))
    for k, condition in enumerate(ALL):
        assert condition.low <= rows[:, k].min() and rows[:, k].max() <= condition.high
    assert rows[:, 2].long().bincount().tolist()[2:] == pytest.approx([1000] * 4, abs=120)
    assert float(rows[:, 3].mean()) == pytest.approx(0.5, abs=0.03)
    assert float(rows[:, 0].mean()) == pytest.approx(0, abs=6) and float(rows[:, 1].mean()) == pytest.approx(
        0.6, abs=0.03
    )
    assert rows.equal(random_conditions(ALL, 4000, torch.Generator().manual_seed(1)))


# ---- what is asked for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        ROW,
        torch.tensor(ROW),
        [ROW, ROW],
        [ROW],
        {"flip": 1, "angle": 30, "camera": 4, "blur": 0.5},
        [{"flip": True, "angle": torch.tensor(30.0), "camera": 4, "blur": 0.5}] * 2,
        torch.tensor([ROW, ROW], requires_grad=True),
        [np.array(ROW), torch.tensor(ROW)],
    ],
)
def test_a_condition_may_be_a_row_or_a_dict_for_all_or_for_each(given):
    found = check_conditions(ALL, given, 2)
    assert found.tolist() == [ROW, ROW] and found.dtype == torch.float64 and not found.requires_grad


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1.0], r"4 numbers \(angle, blur, camera, flip\) or a dict of them, or 2 such rows; not of the shape \(1,\)"),
        ([ROW] * 3, r"not of the shape \(3, 4\)"),
        ("fast", "not 'fast'"),
        ([[1, 2], [1]], "2 such rows; not"),
        ({"angle": 1, "blur": 0, "camera": 2}, "the condition 'flip' is missing; give all of angle, blur"),
        ({"turn": 1}, "unknown condition 'turn'; known: angle, blur, camera, flip"),
        ([math.nan, 0.5, 4, 1], "condition angle: nan is no finite number; give one from -180 to 180"),
        ([0, math.inf, 4, 1], "condition blur: inf is no finite number"),
        ({"angle": None, "blur": 0, "camera": 2, "flip": 1}, "is 4 numbers"),
        ([0, 0.5, 4, 0.5], "condition flip: 0.5 is no whole number from 0 to 1"),
        ([0, 0.5, 6, 1], "condition camera: 6 is no whole number from 2 to 5"),
        ([0, 0.5, 2.5, 1], "condition camera: 2.5 is no whole number"),
    ],
)
def test_a_bad_condition_is_one_clear_line(given, message):
    with pytest.raises(InputError, match=message) as caught:
        check_conditions(ALL, given, 2)
    assert "\n" not in str(caught.value)


def test_outside_of_the_range_is_answered_with_a_warning_that_names_it():
    with pytest.warns(
        UserWarning, match=r"^condition blur: 1.5 is outside of 0 to 1.2, the range that was trained$"
    ) as seen:
        assert check_conditions([BLUR], [1.5]).tolist() == [[1.5]]
    assert seen[0].filename == __file__, "the caller's own line"
    with warnings.catch_warnings(action="error"):
        # What was rounded to fp32 is inside, and an angle always is.
        check_conditions([BLUR, ANGLE], torch.tensor([1.2, 1e6]))


@pytest.mark.parametrize(
    "condition",
    [*ALL, Condition("narrow", 1.0001, 1.0002), Condition("wide", -1e30, 1e300), Condition("below", -5, -4.999999)],
)
def test_an_example_lies_within_the_range(condition):
    assert condition.low <= condition.inside <= condition.high
    check_conditions([condition], [condition.inside], strict=True)


def test_outside_of_a_hard_range_is_refused():
    for condition, strict in ((Condition("blur", 0, 1.2, hard=True), False), (BLUR, True)):
        with pytest.raises(InputError, match=r"^condition blur: -1 is outside of 0 to 1.2$"):
            check_conditions([condition], [-1.0], strict=strict)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "colour"}, "unknown kind of condition 'colour'; known: number, angle, bit, identity"),
        ({"name": ""}, "needs a name"),
        ({"low": 1.0}, "low must be below high, not 1.0 to 1.0"),
        ({"low": -1e308, "high": 1e308}, "low must be below high"),
        ({"high": math.nan}, "takes a finite number"),
        ({"kind": "bit", "high": 2.0}, "a bit is 0 or 1"),
        ({"kind": "angle", "hard": True}, "comes round"),
        ({"kind": "identity", "high": 2.5}, "identities are up to 65,536 whole numbers"),
        ({"kind": "identity", "high": 70_000}, "identities are up to 65,536 whole numbers"),
    ],
)
def test_a_condition_that_is_none_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Condition(**{"name": "x"} | fields)


def test_conditions_come_back_from_json_and_have_names_of_their_own():
    as_json = [{"name": x.name, "low": x.low, "high": x.high, "kind": x.kind, "hard": x.hard} for x in ALL]
    assert described("conditions", as_json) == described("conditions", ALL) == ALL
    assert {x.kind for x in ALL} == set(KINDS)
    for value, message in (
        ([BLUR, BLUR], "two conditions have the name 'blur'"),
        ([{"low": 0}], "conditions takes conditions, not"),
        (["blur"], "conditions, for each, takes a Condition, not 'blur'"),
        (BLUR, "conditions takes a list of conditions"),
    ):
        with pytest.raises(InputError, match=message):
            described("conditions", value)


def test_features_of_rows_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="as many columns, not 2"):
        features([BLUR], torch.zeros(3, 2))
    with pytest.raises(InputError, match=r"identities lie in 2\.\.5"):
        told(CAMERA, 9)


def test_rows_may_come_by_name_in_every_form():
    described = (Condition("angle", -180, 180, "angle"), Condition("blur", 0, 2))
    expected = torch.tensor([[10.0, 1.0], [20.0, 1.0]], dtype=torch.float64)
    columns = {"blur": [1, 1], "angle": [10, 20]}
    rows = [{"angle": 10, "blur": 1}, {"blur": 1, "angle": 20}]
    forms = (columns, {"angle": torch.tensor([10, 20]), "blur": 1}, rows, pd.DataFrame(columns), expected.tolist())
    for given in forms:
        assert check_conditions(described, given, 2).equal(expected)
    for wrong in (
        {"angle": [10, 20, 30], "blur": 1},
        {"angle": [[10], [20]], "blur": [1, 1, 1]},
        {"angle": "a", "blur": 1},
    ):
        with pytest.raises(InputError, match="a condition is 2 numbers"):
            check_conditions(described, wrong, 2)
    with pytest.raises(InputError, match="the condition 'blur' is missing"):
        check_conditions(described, pd.DataFrame({"angle": [1, 2]}), 2)
