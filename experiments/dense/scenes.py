"""Scenes composed from scikit-learn's handwritten digits: a label for every pixel, a box and a mask for every digit.

Digits of several sizes and strengths lie over each other on a shaded ground with lines and dots that belong to none.
"""

from collections.abc import Iterable, Mapping
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from rpglib.errors import InputError, choice, shown, whole_number
from rpglib.zoo.images import load_images

SPLITS = ("train", "validation", "test")
DIGITS = 10
LEAST_SIZE = 32
"""Pixels along a side of a scene: its smallest digits have a quarter of them."""
MOST_OBJECTS = 4
VISIBLE = 0.7
"""Of each digit at least this share of pixels stays uncovered by later ones."""
INK = 0.35
"""From this strength on, of one, a pixel is its digit's."""
TRIES = 20


def scenes(
    n: int, size: int = 64, classes: Iterable[int] = range(DIGITS), seed: int = 0, split: str = "train"
) -> tuple[Tensor, Tensor, list[dict[str, Tensor]]]:
    """Compose n scenes of `size` x `size` pixels with one to four digits of `classes`, by `seed`.

    split: which part of scikit-learn's digits they are written with, that of the library's data set: a digit of one
    part is in no scene of another. Returns images (n, 1, size, size) float32 from 0 to 1, labels (n, size, size) int64
    (0: ground, digit + 1), and by scene the objects: boxes (k, 4) float32 as x0, y0, x1, y1 in pixels around what is
    visible, labels (k,) int64 (digit + 1), masks (k, size, size) bool. Raises `InputError` for sizes or classes that
    make no scene.
    """
    whole_number("n", n, 1)
    whole_number("size", size, LEAST_SIZE)
    classes = sorted({whole_number("classes", digit, 0, DIGITS - 1) for digit in classes})
    if not classes:
        raise InputError("classes names no digit, and a scene without objects teaches nothing; give some of 0 to 9")
    written = _digits(choice("split", split, SPLITS))
    pools = [written[digit] for digit in classes]
    draw = torch.Generator().manual_seed(len(SPLITS) * whole_number("seed", seed, 0) + SPLITS.index(split))
    made = [_scene(size, classes, pools, draw) for _ in range(n)]
    objects = [found for _, _, found in made]
    check(objects, size)
    return torch.stack([image for image, _, _ in made]), torch.stack([labels for _, labels, _ in made]), objects


def check(objects: Iterable[Mapping[str, Tensor]], size: int | tuple[int, int]) -> None:
    """Raise `InputError` for a scene without objects, a box that encloses no pixel or leaves the image, a mask without
    pixels, and labels that are none; size: pixels along a side, or (height, width)."""
    height, width = (size, size) if isinstance(size, int) else size
    for number, found in enumerate(objects):
        boxes, labels, masks = found["boxes"], found["labels"], found["masks"]
        if not len(boxes):
            raise InputError(f"scene {number} is without objects; leave it out")
        if not len(boxes) == len(labels) == len(masks):
            counts = f"{len(boxes)} boxes, {len(labels)} labels and {len(masks)} masks"
            raise InputError(f"scene {number} has {counts}; give one of each for an object")
        inside = (boxes[:, :2] >= 0).all(1) & (boxes[:, 2] <= width) & (boxes[:, 3] <= height)
        wrong = ~(inside & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
        if wrong.any():
            box = shown([round(x, 2) for x in boxes[wrong.nonzero()[0, 0]].tolist()])
            raise InputError(
                f"scene {number} has a degenerate box {box}; give x0 < x1, y0 < y1 within {width} x {height}"
            )
        if not masks.flatten(1).any(1).all():
            raise InputError(f"scene {number} has a mask without pixels; leave its object out")
        if (labels < 1).any():
            raise InputError(f"scene {number} labels an object {int(labels.min())}; labels of objects count from 1")


@cache
def _digits(split: str) -> tuple[Tensor, ...]:
    """By digit its images (n, 1, 8, 8) of one part, ink from 0 to 1."""
    part = getattr(load_images("digits"), split)
    low, high = part.images.min(), part.images.max()
    ink = (part.images - low) / (high - low)
    return tuple(ink[part.labels == digit] for digit in range(DIGITS))


def _scene(
    size: int, classes: list[int], pools: list[Tensor], draw: torch.Generator
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=draw))

    def number(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=draw).item()

    image = _ground(size, draw)
    masks, labels = torch.zeros(0, size, size, dtype=torch.bool), []
    for _ in range(whole(1, MOST_OBJECTS)):
        kind, level = whole(0, len(classes) - 1), number(0.55, 1.0)
        side = whole(size // 4, size // 2)
        drawn = pools[kind][whole(0, len(pools[kind]) - 1)]
        drawn = interpolate(drawn[None], size=(side, side), mode="bicubic", align_corners=False)[0, 0].clamp(0, 1)
        for _ in range(TRIES):
            top, left = whole(0, size - side), whole(0, size - side)
            ink = torch.zeros(size, size)
            ink[top : top + side, left : left + side] = drawn
            own = ink >= INK
            if bool(((masks & ~own).sum((1, 2)) >= VISIBLE * _whole_sizes(masks, labels)).all()):
                break
        else:
            continue
        image = image * (1 - ink) + level * ink
        masks = torch.cat((masks & ~own, own[None]))
        labels.append((classes[kind] + 1, int(own.sum())))
    image = (image + 0.04 * torch.randn(size, size, generator=draw)).clamp(0, 1)
    kinds = torch.tensor([label for label, _ in labels])
    # Masks do not meet: of two digits a pixel is the later one's.
    return image[None], (masks * kinds[:, None, None]).sum(0), {"boxes": _boxes(masks), "labels": kinds, "masks": masks}


def _whole_sizes(masks: Tensor, labels: list[tuple[int, int]]) -> Tensor:
    """Pixels (k,) of each digit before others covered it."""
    return torch.tensor([pixels for _, pixels in labels], dtype=torch.float32).reshape(len(masks))


def _ground(size: int, draw: torch.Generator) -> Tensor:
    """What lies behind the digits: a slope of grey, three lines and a dozen dots."""
    place = torch.linspace(0, 1, size)
    corner = 0.3 * torch.rand(4, generator=draw)
    rows, columns = place[:, None], place[None, :]
    ground = (1 - rows) * ((1 - columns) * corner[0] + columns * corner[1])
    ground = ground + rows * ((1 - columns) * corner[2] + columns * corner[3])
    for x0, y0, angle, level in torch.rand(3, 4, generator=draw).tolist():
        turn = torch.tensor(3.14159 * angle)
        across = (columns - x0) * turn.sin() - (rows - y0) * turn.cos()
        along = (columns - x0) * turn.cos() + (rows - y0) * turn.sin()
        line = (across.abs() < 0.6 / size) & (along.abs() < 0.2)
        ground = torch.where(line, 0.3 + 0.5 * level, ground)
    dots = torch.randint(size * size, (12,), generator=draw)
    ground = ground.contiguous()
    ground.view(-1)[dots] = 0.3 + 0.5 * torch.rand(12, generator=draw)
    return ground


def _boxes(masks: Tensor) -> Tensor:
    """Boxes (k, 4) around masks (k, H, W): the edges of their outermost pixels."""
    found = []
    for mask in masks:
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        found.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return torch.tensor(found, dtype=torch.float32)
