"""A stand-in for PASCAL VOC 2012 in the layout of its release: coloured blocks on grey, a colour for each class."""

from pathlib import Path

import torch
from PIL import Image

from experiments.detectors.scenes import VOC, VOC_CLASSES

SIDES = (60, 40)
OBJECTS = 3


def stand_in(folder: Path, images: int = 8) -> Path:
    """Write `folder`/VOCdevkit/VOC2012: so many images for training, and as many for what tests; return `folder`."""
    home, draw = folder / VOC, torch.Generator().manual_seed(0)
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (home / part).mkdir(parents=True, exist_ok=True)
    colours = torch.randint(256, (len(VOC_CLASSES), 3), generator=draw)
    for name, first in (("train", 0), ("val", images)):
        numbers = range(first, first + images)
        for number in numbers:
            pixels = torch.full((SIDES[1], SIDES[0], 3), 128)
            objects = []
            for _ in range(OBJECTS):
                kind = int(torch.randint(len(VOC_CLASSES), (), generator=draw))
                left, top = (int(torch.randint(side - 16, (), generator=draw)) for side in SIDES)
                pixels[top : top + 16, left : left + 16] = colours[kind]
                # Counted from 1, the last pixel included, as the release does.
                objects.append((VOC_CLASSES[kind], left + 1, top + 1, left + 16, top + 16))
            Image.fromarray(pixels.byte().numpy()).save(home / "JPEGImages" / f"{number:06d}.jpg")
            (home / "Annotations" / f"{number:06d}.xml").write_text(_annotation(number, objects))
        (home / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"{number:06d}\n" for number in numbers))
    return folder


def _annotation(number: int, objects: list[tuple[str, int, int, int, int]]) -> str:
    found = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>"
        for name, x0, y0, x1, y1 in objects
    )
    size = f"<size><width>{SIDES[0]}</width><height>{SIDES[1]}</height><depth>3</depth></size>"
    return f"<annotation><filename>{number:06d}.jpg</filename>{size}{found}</annotation>\n"
