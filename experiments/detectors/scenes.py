"""What detectors see: images, and the boxes and classes of what is in them, of digits or of PASCAL VOC's folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from experiments.dense import scenes as digits
from experiments.pictures import opened
from rpglib.errors import InputError, choice
from rpglib.tasks import CLASS_NAMES

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
CLASSES = {"digits": CLASS_NAMES["digits"], "voc": VOC_CLASSES}
"""The classes of each source, in the order of a selection's bits."""
VOC = Path("VOCdevkit/VOC2012")
VOC_SETS = {"train": "train", "validation": "val", "test": "val"}
"""Annotations of VOC2012's test images are not public: of `val`, every other image is tested on."""


@dataclass(frozen=True)
class Scenes:
    """n images and their objects: boxes [(k, 4)] float32 as x0, y0, x1, y1 in pixels, classes [(k,)] int64 from 0.

    images: (n, 1 or 3, S, S) float32 from 0 to 1, or n files, which are read when they are asked for and enlarged or
    reduced to `size` pixels along the longer side, on grey.
    """

    images: Tensor | Sequence[Path]
    boxes: Sequence[Tensor]
    classes: Sequence[Tensor]
    size: int
    source: str

    def __len__(self) -> int:
        return len(self.boxes)

    def batch(self, rows: Sequence[int]) -> Tensor:
        """Images (len(rows), 3, S, S), as YOLOv8 takes them."""
        if isinstance(self.images, Tensor):
            return self.images[torch.as_tensor(rows)].expand(-1, 3, -1, -1)
        return torch.stack([_read(self.images[row], self.size) for row in rows])

    def objects(self, row: int, selection: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (k, 4) and classes (k,) of a scene, those of the selection (bits) alone."""
        chosen = selection[self.classes[row]].bool()
        return self.boxes[row][chosen], self.classes[row][chosen]


def scenes(source: str, n: int, size: int, split: str, seed: int = 0, root: Path | None = None) -> Scenes:
    """n scenes of `size` pixels of "digits", composed by `seed`, or the first n of "voc" in `root` (0: all).

    Raises `InputError` where VOC's folders are absent, with what to put where.
    """
    if choice("source", source, CLASSES) == "voc":
        return _voc(root, n, size, split)
    images, _, objects = digits.scenes(n, size, seed=seed, split=split)
    boxes, classes = [x["boxes"] for x in objects], [x["labels"] - 1 for x in objects]
    return Scenes(images, boxes, classes, size, "scenes of scikit-learn digits")


def _voc(root: Path, n: int, size: int, split: str) -> Scenes:
    from torchvision.datasets import VOCDetection

    if not (root / VOC / "ImageSets" / "Main" / f"{VOC_SETS[split]}.txt").is_file():
        raise InputError(
            f"PASCAL VOC is not in {root / VOC}; unpack VOCtrainval_11-May-2012.tar in {root}, or set RPG_DATA"
        )
    read = VOCDetection(str(root), year="2012", image_set=VOC_SETS[split])
    # Validation and test are two halves of what is published as `val`.
    first, step = {"train": (0, 1), "validation": (0, 2), "test": (1, 2)}[split]
    rows = range(first, len(read.images), step)[: n or None]
    boxes, classes = [], []
    for row in rows:
        found = read.parse_voc_xml(_parsed(read.annotations[row]))["annotation"]
        scale, left, top = _fit(int(found["size"]["width"]), int(found["size"]["height"]), size)
        own = [[float(x["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax")] for x in found["object"]]
        if unknown := {x["name"] for x in found["object"]} - set(VOC_CLASSES):
            raise InputError(f"{read.annotations[row]} names {sorted(unknown)[0]!r}, which is no class of VOC's")
        # VOC counts pixels from 1, and a box's last pixel is in it.
        own = torch.tensor(own).view(-1, 4) - torch.tensor([1.0, 1.0, 0.0, 0.0])
        if not (own[:, 2:] > own[:, :2]).all():
            raise InputError(f"{read.annotations[row]} has a degenerate box; give xmin < xmax and ymin < ymax")
        boxes.append(own * scale + torch.tensor([left, top, left, top], dtype=torch.float32))
        classes.append(torch.tensor([VOC_CLASSES.index(x["name"]) for x in found["object"]], dtype=torch.int64))
    return Scenes([Path(read.images[row]) for row in rows], boxes, classes, size, "PASCAL VOC 2012")


def _parsed(path: str):
    from xml.etree import ElementTree

    try:
        return ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is damaged ({error}); unpack it again") from None


def _fit(width: int, height: int, size: int) -> tuple[float, int, int]:
    """Scale, and pixels to the left and above, that put an image of these sides into the middle of a square."""
    scale = size / max(width, height)
    return scale, (size - round(width * scale)) // 2, (size - round(height * scale)) // 2


def _read(path: Path, size: int) -> Tensor:
    image = opened(path, "RGB")
    scale, left, top = _fit(*image.size, size)
    sides = (round(image.width * scale), round(image.height * scale))
    pixels = torch.from_numpy(np.array(image.resize(sides))).permute(2, 0, 1).float() / 255
    right, below = size - left - sides[0], size - top - sides[1]
    return pad(pixels, (left, right, top, below), value=114 / 255)  # the grey of YOLO's own borders
