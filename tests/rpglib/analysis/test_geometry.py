"""Principal components against a known answer and scikit-learn, and the rank of the own centre by hand."""

import pytest
import torch
from sklearn.decomposition import PCA

from rpglib.analysis.geometry import own_rank, principal_components
from rpglib.errors import InputError


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_known_answer():
    """A cross of arms 2 and 1 around (10, 20, 30), the long one along (0, -3, -4) / 5: variances 8 and 2 of 10."""
    centre = torch.tensor([10, 20, 30], dtype=torch.float64)
    long, short = torch.tensor([[0, -0.6, -0.8], [1, 0, 0]], dtype=torch.float64)
    points = centre + torch.stack([2 * long, -2 * long, short, -short])
    found = principal_components(points)
    torch.testing.assert_close(found.mean, centre)
    torch.testing.assert_close(found.directions, torch.tensor([[0, 0.6, 0.8], [1, 0, 0]], dtype=torch.float64))
    torch.testing.assert_close(found.explained, torch.tensor([0.8, 0.2], dtype=torch.float64))
    expected = torch.tensor([[-2.0, 0], [2, 0], [0, 1], [0, -1]], dtype=torch.float64)
    torch.testing.assert_close(found.project(points), expected)


@pytest.mark.parametrize("shape", [(40, 5), (6, 30)])
def test_agrees_with_scikit_learn_up_to_sign(shape):
    points = random(*shape) @ torch.diag(1.0 + torch.arange(shape[1], dtype=torch.float64)) + 100
    found, expected = principal_components(points, 4), PCA(4).fit(points)
    directions = torch.from_numpy(expected.components_)
    sign = (found.directions * directions).sum(1).sign()
    torch.testing.assert_close(found.directions, directions * sign[:, None])
    torch.testing.assert_close(found.explained, torch.from_numpy(expected.explained_variance_ratio_))
    others = random(3, shape[1], seed=1)
    torch.testing.assert_close(found.project(others), torch.from_numpy(expected.transform(others)) * sign)


def test_the_largest_entry_of_a_direction_is_positive_whatever_the_points_orientation():
    points = random(20, 6)
    for turned in (points, -points, points.flip(0)):
        found = principal_components(turned, 6)
        torch.testing.assert_close(found.directions, principal_components(points, 6).directions)
        assert (found.directions.gather(1, found.directions.abs().argmax(1, keepdim=True)) > 0).all()


def test_all_directions_are_orthonormal_and_explain_everything():
    points = random(20, 6)
    found = principal_components(points, 6)
    torch.testing.assert_close(found.directions @ found.directions.T, torch.eye(6, dtype=torch.float64))
    assert found.explained.sum().item() == pytest.approx(1) and (found.explained.diff() <= 0).all()
    torch.testing.assert_close(found.project(points) @ found.directions + found.mean, points)


@pytest.mark.parametrize(
    ("points", "count"),
    [
        (random(3, 5), 3),
        (random(5, 3), 4),
        (random(5, 3), 0),
        (random(1, 3), 1),
        (random(0, 3), 1),
        (torch.full((4, 3), 0.1), 1),
        (torch.tensor([[0.1, 0.2], [0.1, 0.2], [3.0, 4.0]]), 2),
        (1e6 + random(9, 1) * random(1, 4, seed=1), 2),
    ],
)
def test_more_directions_than_the_points_span_are_refused(points, count):
    with pytest.raises(InputError, match=f"points of . values have no {count} principal components"):
        principal_components(points, count)


def test_own_rank_by_hand():
    centres = torch.tensor([[0.0, 0], [4, 0], [10, 0]])
    points = torch.tensor([[1.0, 0], [1, 0], [1, 0], [2, 5], [2, 5], [0, 0]])
    #                        nearest, second, third;  a tie of the first two; the own centre itself
    assert own_rank(points, torch.tensor([0, 1, 2, 0, 1, 0]), centres).tolist() == [1, 2, 3, 1, 1, 1]


def test_own_rank_of_equal_centres_is_shared():
    """Thirty centres: PyTorch computes distances to more than 25 through a matrix product."""
    centres = torch.arange(15.0).repeat(2)[:, None].expand(-1, 3)
    owners = torch.arange(30)
    assert own_rank(centres, owners, centres).tolist() == [1] * 30
    # Along a line the own centre at distance k has both copies of k others before it.
    assert own_rank(torch.zeros(30, 3), owners, centres).tolist() == [1 + 2 * k for k in range(15)] * 2


def test_own_rank_follows_the_definition_on_random_points():
    points, centres = random(20, 8), random(9, 8, seed=1)
    owners = torch.arange(20) % 9
    expected = []
    for point, owner in zip(points, owners, strict=True):
        distances = (centres - point).norm(dim=1)
        expected.append(1 + sum(bool(d < distances[owner]) for d in distances))
    assert own_rank(points, owners, centres).tolist() == expected


def test_one_component_may_be_asked_for():
    points = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    assert principal_components(points, 1).directions.equal(principal_components(points, 2).directions[:1])
