"""Tasks: all of them in counting order, opposites and splits, and whatever is no task is one clear line."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rpglib.errors import InputError
from rpglib.tasks import all_tasks, check_task, check_tasks, name_of, split_tasks


@pytest.mark.parametrize(("bits", "count"), [(1, 0), (2, 2), (3, 6), (10, 1022)])
def test_every_selection_but_none_and_all_in_counting_order(bits, count):
    tasks = all_tasks(bits)
    assert tasks.shape == (count, bits) and tasks.dtype == torch.int64
    assert [int(name_of(task).replace(" ", ""), 2) for task in tasks] == list(range(1, 2**bits - 1))


@pytest.mark.parametrize("bits", [2, 3, 7])
def test_a_task_and_its_opposite_stand_at_the_same_distance_from_the_ends(bits):
    tasks = all_tasks(bits)
    assert tasks.flip(0).equal(1 - tasks)


@given(pairs=st.integers(1, 150), seed=st.integers(0, 2**32), seen=st.floats(0, 1))
def test_a_split_is_disjoint_exhaustive_sorted_and_seeded(pairs, seed, seen):
    parts = split_tasks(2 * pairs, seed, seen)
    assert torch.cat(parts).sort().values.equal(torch.arange(2 * pairs))
    assert len(parts[0]) == 2 * round(seen * pairs)
    for part, again in zip(parts, split_tasks(2 * pairs, seed, seen), strict=True):
        assert part.equal(part.sort().values) and part.equal(again)


@pytest.mark.parametrize("seed", range(5))
def test_opposites_are_on_the_same_side(seed):
    tasks = all_tasks()
    for part in split_tasks(len(tasks), seed):
        rows = {tuple(task) for task in tasks[part].tolist()}
        assert all(tuple(1 - bit for bit in row) in rows for row in rows)


def test_tasks_that_are_no_pairs_are_refused():
    with pytest.raises(InputError, match="7 tasks are no pairs of opposites"):
        split_tasks(7, 0)


def test_splits_of_several_seeds_differ_and_hold_the_paper_s_share():
    first, second = (split_tasks(1022, seed)[0] for seed in (0, 1))
    assert len(first) == len(second) == 818 and not first.equal(second)


def test_splitting_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    split_tasks(10, 3)
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize(
    "task",
    [
        [0, 1, 1, 0],
        (0.0, 1.0, 1.0, 0.0),
        [False, True, True, False],
        torch.tensor([0, 1, 1, 0], dtype=torch.uint8),
        torch.tensor([0, 1, 1, 0]).numpy(),
    ],
)
def test_bits_of_every_kind_become_int64(task):
    checked = check_task(task, 4)
    assert checked.dtype == torch.int64 and checked.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("bits", [2, 5])
def test_all_tasks_pass_the_check_one_by_one_and_together(bits):
    tasks = all_tasks(bits)
    assert check_tasks(tasks, bits).equal(tasks)
    assert torch.stack([check_task(task.tolist(), bits) for task in tasks]).equal(tasks)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ([0, 1, 1], r"a task has 4 bits, one per class; got the shape \(3,\)"),
        ([0, 1, 1, 0, 0], r"4 bits, one per class; got the shape \(5,\)"),
        ([[0, 1, 1, 0]], r"4 bits, one per class; got the shape \(1, 4\)"),
        (6, r"4 bits, one per class; got the shape \(\)"),
        ([0, 1, 2, 0], r"0 or 1, not \[0, 1, 2, 0\]"),
        ([0, 1, -1, 0], "0 or 1, not"),
        ([0, 1, 0.5, 0], "0 or 1, not"),
        ([0, 1, float("nan"), 0], "0 or 1, not"),
        ([0, 0, 0, 0], r"some classes but not all; \[0, 0, 0, 0\] selects no class"),
        ([1, 1, 1, 1], r"some classes but not all; \[1, 1, 1, 1\] selects every class"),
        ("0110", "a task is a list of 4 bits, not '0110'"),
        (["0", "1", "1", "0"], "a task is a list of 4 bits, not"),
        ([0, 1, None, 0], "a task is a list of 4 bits, not"),
        ([[0, 1], [1]], "a task is a list of 4 bits, not"),
    ],
)
def test_what_is_no_task_is_one_clear_line(task, message):
    with pytest.raises(InputError, match=message) as caught:
        check_task(task, 4)
    assert "\n" not in str(caught.value)


def test_one_bad_row_among_good_ones_is_named():
    tasks = all_tasks(3)
    for row in ([0, 0, 0], [1, 1, 1], [0, 3, 1]):
        with pytest.raises(InputError, match=rf"\[{', '.join(map(str, row))}\]"):
            check_tasks(torch.cat((tasks, torch.tensor([row]), tasks)), 3)
    for shape in ((6, 2), (6,)):
        with pytest.raises(InputError, match="tasks have 3 bits, one per class"):
            check_tasks(torch.ones(shape), 3)


def test_the_name_is_the_bits_as_tables_print_them():
    assert name_of([0, 1, 0, 0, 0, 1, 0, 1, 1, 1]) == name_of(torch.tensor([0.0, 1, 0, 0, 0, 1, 0, 1, 1, 1]))
    assert name_of([0, 1, 0, 0, 0, 1, 0, 1, 1, 1]) == "0 1 0 0 0 1 0 1 1 1"
