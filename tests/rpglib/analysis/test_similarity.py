"""Error overlap and diversity, against sets worked out by hand and against the definition on random errors."""

import pytest
import torch

from rpglib.analysis.similarity import diversity, error_iou, nearest_iou
from rpglib.errors import InputError


def errors(*rows):
    """ "1101" -> True where a network is wrong."""
    return torch.tensor([[mark == "1" for mark in row] for row in rows])


def test_overlap_by_hand():
    found = error_iou(errors("1100", "1111", "0000"), errors("0110", "1100", "0000", "0011"))
    expected = torch.tensor([[1 / 3, 1, 0, 0], [0.5, 0.5, 0, 0.5], [0, 0, 1, 0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def test_overlap_follows_the_definition_on_random_errors():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(count, 200, generator=generator) < 0.1 for count in (6, 4))
    found = error_iou(a, b)
    for i in range(6):
        for j in range(4):
            assert found[i, j].item() == pytest.approx(((a[i] & b[j]).sum() / (a[i] | b[j]).sum()).item())
    torch.testing.assert_close(error_iou(b, a), found.T)
    assert (error_iou(a, a).diagonal() == 1).all()


def test_nearest_leaves_a_network_out_of_its_own_references():
    population = errors("1100", "0110", "0011")
    torch.testing.assert_close(nearest_iou(population), torch.full((3,), 1 / 3, dtype=torch.float64))
    assert (nearest_iou(population, population) == 1).all()


def test_nearest_keeps_a_true_twin():
    assert nearest_iou(errors("1100", "1100", "0011")).tolist() == [1, 1, 0]


def test_a_single_original_has_nothing_beside_it():
    errors = torch.tensor([[True, False], [True, True]])
    found = diversity(errors, errors[:1])
    assert found["among_originals"] is None and found["nearest_original_among_originals"] is None
    assert found["to_nearest_original"] == pytest.approx(0.75)


def test_of_two_networks_each_is_the_other_s_nearest():
    pair = errors("1100", "0110")
    assert nearest_iou(pair).tolist() == pytest.approx([1 / 3, 1 / 3])
    found = diversity(pair, pair)
    assert found["among_originals"] == found["nearest_original_among_originals"] == pytest.approx(1 / 3)


def test_diversity_by_hand():
    generated, originals = errors("1100", "1110", "0001"), errors("1100", "0110", "0011")
    assert diversity(generated, originals) == pytest.approx(
        {
            "among_generated": (2 / 3 + 0 + 0) / 3,
            "to_nearest_original": (1 + 2 / 3 + 1 / 2) / 3,
            "among_originals": (1 / 3 + 0 + 1 / 3) / 3,
            "nearest_original_among_originals": 1 / 3,
        }
    )


def test_copies_of_the_originals_are_found_out():
    originals = errors("1100", "0110", "0011")
    found = diversity(originals[[0, 0, 0]], originals)
    assert found["among_generated"] == found["to_nearest_original"] == 1


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda e: error_iou(e.long(), e), "bool tensor"),
        (lambda e: error_iou(e, e[0]), "bool tensor"),
        (lambda e: error_iou(e, e[:, 1:]), "on 4 and on 3 images"),
        (lambda e: nearest_iou(e[:1]), "give more networks"),
        (lambda e: nearest_iou(e, e[:0]), "give more networks"),
        (lambda e: diversity(e[:1], e), "two generated networks, not 1"),
        (lambda e: diversity(e, e[:0]), "needs another one"),
    ],
)
def test_mistakes_are_one_clear_line(mistake, words):
    with pytest.raises(InputError, match=words) as caught:
        mistake(errors("1100", "0110"))
    assert "\n" not in str(caught.value)
