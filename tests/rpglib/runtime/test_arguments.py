"""Arguments are checked by what stands beside a function's name: sizes, values and kinds, in one line each."""

import numpy as np
import pytest
import torch

from rpglib.errors import InputError
from rpglib.runtime.arguments import each, number, of, path, takes, tensor, whole, wholes


@takes(a=tensor("N P+"), b=tensor("P", "whole"), n=whole(1, 9), where=path)
def call(a, b, n=1, where=None):
    """Documented."""
    return a, b, n, where


A, B = torch.ones(2, 3, requires_grad=True), torch.arange(3)


def test_what_fits_is_passed_on_as_it_is_without_its_history():
    a, b, n, where = call(A, b=B, n=np.int64(3))
    assert a.equal(A) and not a.requires_grad and b is not None and (type(n), n, where) == (int, 3, None)
    assert call.__name__ == "call" and call.__doc__ == "Documented."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": [[1.0]]}, r"a takes a tensor \(N, P\) of numbers, not \[\[1.0\]\]"),
        ({"a": A > 0}, r"a takes a tensor \(N, P\) of numbers, not \(2, 3\) bool"),
        ({"a": A[:, :0]}, r"a takes a tensor \(N, P\) of numbers, not \(2, 0\) float32"),
        ({"a": A.to("meta")}, "not .* float32 on meta"),
        ({"a": A.detach().to_sparse()}, "not .*torch.sparse_coo"),
        ({"b": B[:2]}, r"b takes a tensor \(P; P = 3\) of whole numbers, not \(2\) int64"),
        ({"b": B.float()}, "of whole numbers, not .* float32"),
        ({"b": None}, "not None"),
        ({"n": 10}, "n takes a whole number from 1 to 9, not 10"),
        ({"where": 3}, "where takes a path, as text or a Path, not 3"),
        ({"where": "a\0"}, "where takes a path"),
    ],
)
def test_what_does_not_is_told(change, message):
    with pytest.raises(InputError, match=message):
        call(**({"a": A, "b": B} | change))


def test_further_axes_are_equal_where_some_are_named():
    same = takes(a=tensor("B ..."), b=tensor("B ..."))(lambda a, b: True)
    assert same(torch.ones(2, 3, 4), torch.ones(2, 3, 4))
    for other in (torch.ones(2, 3), torch.ones(2, 4, 3), torch.ones(3, 3, 4)):
        with pytest.raises(InputError, match="b takes"):
            same(torch.ones(2, 3, 4), other)


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (tensor(values="bits"), [torch.tensor([0.0, 1.0]), torch.tensor([True])], [torch.tensor([0.5])]),
        (tensor(values="finite"), [torch.arange(2)], [torch.tensor([torch.nan])]),
        (tensor("2"), [torch.ones(2)], [torch.ones(3)]),
        (number(0, 1), [0, 1, 0.5, np.float32(0.5)], [-0.1, 1.1, float("nan"), True, "0", 10**400, np.float32("nan")]),
        (wholes(0), [[1], (2, 3), torch.arange(2), np.arange(2), range(2), []], [3, "3", [0.5], [-1], {1: 2}, [None]]),
        (of(bool), [True], [1, "True", None]),
    ],
)
def test_kinds(kind, right, wrong):
    for value in right:
        kind("x", value, {})
    for value in wrong:
        with pytest.raises(InputError, match=r"^x"):
            kind("x", value, {})


def test_lists_are_gone_through_and_single_things_are_not():
    assert list(each("x", ("a", "b"), "names")) == ["a", "b"]
    for single in ("ab", b"ab", {"a": 1}, 3, None, torch.tensor(1.0), torch.nn.Sequential(), list):
        with pytest.raises(InputError, match="x takes a list of names"):
            each("x", single, "names")


def test_a_message_is_one_line_whatever_it_names():
    assert str(InputError("a\nb\r\nc")) == "a b c"
