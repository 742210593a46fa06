"""Distances to the nearest network by hand and by definition, and shares of networks that are new and good."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rpglib.analysis import memorisation
from rpglib.analysis.memorisation import nearest_distance, new_and_good, novelty_curve
from rpglib.errors import InputError

NAN = float("nan")


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_distances_by_hand():
    points = torch.tensor([[0.0, 0], [3, 4], [10, 0]])
    found = nearest_distance(points, torch.tensor([[0.0, 0], [3, 0]]))
    assert found.tolist() == [0, 4, 7] and found.dtype == torch.float64


def test_leaving_one_out_by_hand():
    points = torch.tensor([[0.0, 0], [3, 4], [10, 0], [3, 4]])
    assert nearest_distance(points).tolist() == pytest.approx([5, 0, 65**0.5, 0])
    assert nearest_distance(points, points).tolist() == [0] * 4
    assert nearest_distance(points[:2]).tolist() == [5, 5], "of two each is the other's nearest"


@pytest.mark.parametrize("columns", [1, 7, 60, 4096])
def test_distances_follow_the_definition_in_blocks_of_any_size(columns, monkeypatch):
    monkeypatch.setattr(memorisation, "COLUMNS", columns)
    points, references = random(5, 60), random(9, 60, seed=1)
    expected = [min((x - y).double().norm().item() for y in references) for x in points]
    assert nearest_distance(points, references).tolist() == pytest.approx(expected)


def test_copies_among_many_networks_are_at_distance_zero_and_near_ones_are_told_apart():
    """Forty networks: PyTorch would compute distances to more than 25 through a matrix product."""
    zoo = 100 + random(40, 50)
    assert (nearest_distance(zoo, zoo) == 0).all()
    near = zoo.double()
    near[:, 0] += 1e-7
    assert nearest_distance(near, zoo).tolist() == pytest.approx([1e-7] * 40, rel=1e-5)


@given(seed=st.integers(0, 2**32), scale=st.floats(0.01, 100))
def test_distances_scale_with_the_weights_and_fall_with_more_references(seed, scale):
    points, references = random(4, 6, seed=seed).double(), random(5, 6, seed=seed + 1).double()
    found = nearest_distance(points, references)
    torch.testing.assert_close(nearest_distance(scale * points, scale * references), scale * found)
    assert (found <= nearest_distance(points, references[:2])).all()


def test_new_and_good_by_hand():
    distances, accuracies = torch.tensor([1.0, 2, 3, 4]), torch.tensor([90.0, 80, 10, 90])
    assert new_and_good(distances, accuracies, 2, 80) == 0.5, "both limits belong to it"
    assert new_and_good(distances, accuracies, 2.5, 80) == 0.25
    assert new_and_good(distances, accuracies, 0, 0) == 1
    assert new_and_good(torch.tensor([NAN, 5, 5]), torch.tensor([90, NAN, 90]), 1, 50) == pytest.approx(1 / 3)


def test_a_curve_by_hand():
    distances, accuracies = torch.tensor([0.5, 1, 1.5, 3]), torch.tensor([90.0, 90, 90, 90])
    assert novelty_curve(distances, accuracies, 0.5, 90) == [1, 0.75, 0.5, 0.25, 0.25, 0.25]
    assert novelty_curve(distances, accuracies, 0.5, 91) == [0] * 6
    assert novelty_curve(distances, accuracies, 1.0, 90, multiples=(0, 1.2)) == [1, 0.5]


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda: nearest_distance(random(3, 2), random(3, 4)), "of 2 and of 4 weights"),
        (lambda: nearest_distance(random(1, 2)), "give more networks"),
        (lambda: nearest_distance(random(2, 2), random(0, 2)), "give more networks"),
        (lambda: new_and_good(random(3), random(2), 0, 0), "not of the same networks"),
        (lambda: new_and_good(random(0), random(0), 0, 0), "at least 1"),
    ],
)
def test_mistakes_are_one_clear_line(mistake, words):
    with pytest.raises(InputError, match=words) as caught:
        mistake()
    assert "\n" not in str(caught.value)


def test_one_reference_is_enough_and_one_point_alone_is_not():
    assert nearest_distance(torch.zeros(2, 3), torch.ones(1, 3)).tolist() == pytest.approx([3**0.5] * 2)
    with pytest.raises(InputError):
        nearest_distance(torch.zeros(1, 3))


@pytest.mark.parametrize("unit", [0.0, -1.0])
def test_a_zoo_of_copies_has_no_unit(unit):
    with pytest.raises(InputError, match="calls copies new"):
        novelty_curve(torch.zeros(3), torch.ones(3), unit, 0.5)
