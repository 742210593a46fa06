"""Verdicts follow the interval rule: closed forms of the t-interval, Holm by hand, and words that turn with numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.claims import Claims, holm, interval

THREE = [69.0 - 97.7, 92.6 - 97.7, 68.8 - 97.7]
"""Differences that look large: without recurrence 69.0, 92.6 and 68.8 % against 97.7 %."""


def words(*claims):
    found = Claims()
    for values, bounds in claims:
        found.add("a claim", values, **bounds)
    return [verdict.word for verdict in found.verdicts()]


def test_interval_is_the_t_interval():
    found = interval(THREE)
    assert found.n == 3 and found.mean == pytest.approx(np.mean(THREE))
    half = 4.302653 * np.std(THREE, ddof=1) / math.sqrt(3)  # t quantile of two degrees of freedom
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))
    assert str(interval([2.0])) == "+2.00 (n = 1)"


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=8, unique=True), st.floats(-20, 20))
def test_a_single_claim_above_a_bound_is_scipys_two_sided_t_test(values, bound):
    p = stats.ttest_1samp(values, bound).pvalue
    (word,) = words((values, {"above": bound}))
    if abs(p - 0.05) > 1e-6:
        assert word == ("inconclusive" if p >= 0.05 else "holds" if np.mean(values) > bound else "does not hold")


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=8, unique=True))
def test_a_claim_between_bounds_holds_where_the_interval_lies_inside(values):
    found = interval(values)
    (word,) = words((values, {"above": -1, "below": 1}))
    if word == "holds":
        assert -1 < found.low and found.high < 1
    if -1 < found.low and found.high < 1:
        assert word == "holds"
    if word == "does not hold":
        assert found.low > 1 or found.high < -1


def test_two_of_three_seeds_do_not_decide():
    assert words((THREE, {"below": -10})) == ["inconclusive"]
    assert words(([-28.7, -29.1, -28.9], {"below": -10})) == ["holds"]
    assert words(([0.1, -0.1, 0.0], {"below": -10})) == ["does not hold"]


def test_all_of_several_means_must_lie_inside_and_one_outside_refutes():
    inside, outside, open_ = [0.0, 0.01, -0.01], [5.0, 5.01, 4.99], [0.0, 3.0, -3.0]
    bounds = {"above": -0.5, "below": 0.5}
    assert words(({"a": inside, "b": inside}, bounds)) == ["holds"]
    assert words(({"a": inside, "b": open_}, bounds)) == ["inconclusive"]
    assert words(({"a": inside, "b": outside, "c": open_}, bounds)) == ["does not hold"]


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_many_claims_need_more_evidence_than_one():
    values = [1.0, 2.0, 1.8]
    one = ([values], {"above": 0.0})
    p = stats.ttest_1samp(values, 0).pvalue
    assert 0.025 < p < 0.05
    assert words((values, one[1])) == ["holds"]
    assert words((values, one[1]), (values, one[1])) == ["inconclusive"] * 2


def test_one_seed_decides_nothing_and_equal_values_do():
    assert words(([5.0], {"above": 0})) == ["inconclusive"]
    assert words(([5.0, 5.0], {"above": 0})) == ["holds"]
    assert words(([0.0, 0.0], {"above": 0})) == ["does not hold"]


def test_words_and_texts_of_a_table():
    claims = Claims()
    claims.add("it is | above", [1.0, 1.1, 1.2], above=0, paper="v1, table 1: 1.1", ours="see")
    claims.fact("it was counted", False, "3 of 4")
    found = claims.verdicts()
    assert [v.word for v in found] == ["reproduced", "does not hold"]
    assert repr(found).startswith("REPRODUCED: it is | above\n    paper: v1, table 1: 1.1\n    ours: see; +1.10 [")
    rows = found._repr_markdown_().splitlines()
    assert rows[0] == "| claim | paper | ours | verdict |" and len(rows) == 4
    assert rows[2].startswith("| it is \\| above | v1, table 1: 1.1 | see; +1.10 [+0.85, +1.35] points, n = 3, p = ")
    assert rows[3] == "| it was counted | - | 3 of 4 | does not hold |"
    assert "<td" in found._repr_html_() and "see; +1.10" in found._repr_html_()
