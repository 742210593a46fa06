"""Scenes: pixels, boxes and masks say the same, tests are of digits that training never saw, nonsense is refused."""

import pytest
import torch

from experiments.dense.scenes import MOST_OBJECTS, SPLITS, VISIBLE, _digits, check, scenes
from rpglib.errors import InputError


@pytest.fixture(scope="module")
def made():
    return scenes(40, size=48, seed=1)


def test_labels_boxes_and_masks_are_of_the_same_digits(made):
    images, labels, objects = made
    assert images.shape == (40, 1, 48, 48) and images.dtype == torch.float32
    assert labels.shape == (40, 48, 48) and labels.dtype == torch.int64
    assert 0 <= images.min() < images.max() <= 1
    for picture, found in zip(labels, objects, strict=True):
        assert 1 <= len(found["labels"]) <= MOST_OBJECTS
        assert found["masks"].sum(0).max() == 1  # no pixel is of two digits
        again = torch.zeros_like(picture)
        for box, label, mask in zip(found["boxes"].int().tolist(), found["labels"], found["masks"], strict=True):
            again[mask] = label
            x0, y0, x1, y1 = box
            inside = mask[y0:y1, x0:x1]
            assert inside.sum() == mask.sum()
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
        assert torch.equal(again, picture)


def test_every_class_is_there_and_only_those_asked_for(made):
    assert torch.equal(made[1].unique(), torch.arange(11))
    assert scenes(20, classes=(3, 7), seed=2)[1].unique().tolist() == [0, 4, 8]


def test_digits_are_brighter_than_what_lies_behind_them(made):
    images, labels, _ = made
    assert images[:, 0][labels > 0].mean() > 2 * images[:, 0][labels == 0].mean()


def test_the_seed_and_nothing_else_decides(made):
    again, other = scenes(40, size=48, seed=1), scenes(40, size=48, seed=2)
    assert torch.equal(made[0], again[0]) and torch.equal(made[1], again[1])
    assert not torch.equal(made[1], other[1])
    assert torch.equal(scenes(3, seed=1)[0], scenes(5, seed=1)[0][:3])


def test_splits_are_written_with_different_digits_in_different_places():
    written = {split: {x.numpy().tobytes() for pool in _digits(split) for x in pool} for split in SPLITS}
    assert [len(x) for x in written.values()] == [1078, 359, 360]
    assert not written["train"] & written["test"] and not written["validation"] & written["test"]
    assert not torch.equal(scenes(3, split="train")[1] > 0, scenes(3, split="test")[1] > 0)


def test_covered_digits_stay_visible():
    objects = scenes(200, seed=3)[2]
    largest = {}
    for found in objects:
        for label, mask in zip(found["labels"].tolist(), found["masks"], strict=True):
            largest.setdefault(label, []).append(int(mask.sum()))
    # A side of 16 pixels or more, of which a digit has a tenth at the very least.
    assert min(min(x) for x in largest.values()) >= VISIBLE * 16 * 16 / 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"boxes": torch.zeros(0, 4), "labels": torch.zeros(0), "masks": torch.zeros(0, 8, 8)}, "is without objects"),
        ({"boxes": torch.tensor([[3.0, 2, 3, 6]])}, "degenerate box [3.0, 2.0, 3.0, 6.0]"),
        ({"boxes": torch.tensor([[3.0, 2, 9, 6]])}, "within 8 x 8"),
        ({"boxes": torch.full((1, 4), torch.nan)}, "degenerate box"),
        ({"masks": torch.zeros(1, 8, 8, dtype=torch.bool)}, "mask without pixels"),
        ({"labels": torch.tensor([0])}, "labels of objects count from 1"),
        ({"labels": torch.tensor([1, 2])}, "2 labels"),
    ],
)
def test_a_scene_that_teaches_nothing_is_refused_in_one_line(change, words):
    good = {"boxes": torch.tensor([[1.0, 1, 4, 4]]), "labels": torch.tensor([1])}
    good |= {"masks": torch.ones(1, 8, 8, dtype=torch.bool)}
    check([good], 8)
    with pytest.raises(InputError) as refused:
        check([good, good | change], 8)
    assert words in str(refused.value) and str(refused.value).startswith("scene 1 ")


@pytest.mark.parametrize("wrong", [{"classes": ()}, {"classes": (10,)}, {"n": 0}, {"size": 8}, {"split": "all"}])
def test_what_makes_no_scene_is_refused(wrong):
    with pytest.raises(InputError):
        scenes(**{"n": 1, **wrong})
