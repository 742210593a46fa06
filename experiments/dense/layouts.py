"""Public data sets in the folders of their releases: ADE20K's scene parsing (ADEChallengeData2016) and COCO 2017.

The same layouts are written with scenes, on which the way through large networks is tried.
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from experiments.dense.kinds import Scenes
from experiments.dense.scenes import check
from experiments.dense.segmentation import IGNORED
from experiments.pictures import opened
from rpglib.errors import InputError
from rpglib.runtime.files import write_json

ADE, COCO = "ADEChallengeData2016", "coco"
PARTS = {"train": ("training", "train2017"), "val": ("validation", "val2017")}
"""What the releases call their two parts: ADE20K's folders, COCO's folders and files."""


class Files:
    """Images of a public release, read as they are asked for: `files[rows]` is `Scenes` of those rows."""

    def __init__(self, images: list[Path], size: int):
        self.images, self.size = images, size

    def __len__(self) -> int:
        return len(self.images)

    def picture(self, row: int) -> tuple[Tensor, tuple[int, int]]:
        """An image (3, size, size) from 0 to 1, its longer side resized, zeros below or right; and (height, width)."""
        pixels = torch.from_numpy(np.array(opened(self.images[row], "RGB"))).permute(2, 0, 1).float() / 255
        height, width = self.fitted(tuple(pixels.shape[1:]))
        small = interpolate(pixels[None], size=(height, width), mode="bilinear", antialias=True, align_corners=False)
        return _filled(small[0], self.size, 0.0), (height, width)

    def fitted(self, sides: tuple[int, int]) -> tuple[int, int]:
        """Height and width with the longer one of `size`."""
        return tuple(max(1, round(side * self.size / max(sides))) for side in sides)


class ADE20K(Files):
    """Images with a label for each of 150 classes (0..149); what the release labels 0 is `IGNORED`."""

    def __init__(self, root: Path, part: str, size: int):
        folder, name = root / ADE, PARTS[part][0]
        if not (folder / "images" / name).is_dir() or not (folder / "annotations" / name).is_dir():
            raise InputError(
                f"no ADE20K in {folder}; unpack ADEChallengeData2016.zip in {root}, which makes images/{name} and "
                f"annotations/{name} there, or set RPG_DATA"
            )
        super().__init__(sorted((folder / "images" / name).glob("*.jpg")), size)
        if not self.images:
            raise InputError(f"{folder / 'images' / name} holds no .jpg; unpack ADEChallengeData2016.zip again")
        self.annotations = [folder / "annotations" / name / f"{path.stem}.png" for path in self.images]
        if missing := [path for path in self.annotations if not path.is_file()]:
            raise InputError(f"{missing[0]} is absent ({len(missing)} missing); unpack ADEChallengeData2016.zip again")

    def __getitem__(self, rows: Tensor) -> Scenes:
        images, labels = [], []
        for row in rows.tolist():
            image, sides = self.picture(row)
            said = torch.from_numpy(np.array(opened(self.annotations[row]))).long()
            said = torch.where(said == 0, IGNORED, said - 1)
            said = interpolate(said[None, None].float(), size=sides, mode="nearest")[0, 0].long()
            images.append(image)
            labels.append(_filled(said, self.size, IGNORED))
        return Scenes(torch.stack(images), torch.stack(labels), [])


class CocoInstances(Files):
    """Images with boxes, labels (1.. in the order of the release's categories) and masks of their objects.

    In training, images without objects, which teach nothing, and crowds are left out; evaluation takes all images, and
    told of crowds ("iscrowd"), as the release's.
    """

    def __init__(self, root: Path, part: str, size: int):
        folder, name = root / COCO, PARTS[part][1]
        file = folder / "annotations" / f"instances_{name}.json"
        if not file.is_file() or not (folder / name).is_dir():
            raise InputError(
                f"no COCO in {folder}; unpack {name}.zip and annotations_trainval2017.zip there, which makes {name} "
                f"and annotations/{file.name}, or set RPG_DATA"
            )
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            known = {x["id"]: (folder / name / x["file_name"], (x["height"], x["width"])) for x in said["images"]}
            self.categories = {x["id"]: k + 1 for k, x in enumerate(said["categories"])}
            of: dict[int, list] = {}
            for one in said["annotations"]:
                if part == "val" or not one.get("iscrowd"):
                    of.setdefault(one["image_id"], []).append(one)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} is not COCO's ({error}); unpack annotations_trainval2017.zip again") from None
        chosen = [key for key in known if part == "val" or key in of]
        if not chosen:
            raise InputError(f"{file} names no object in any image; unpack annotations_trainval2017.zip again")
        super().__init__([known[key][0] for key in chosen], size)
        self.training = part != "val"
        self.sides, self.said = [known[key][1] for key in chosen], [of.get(key, []) for key in chosen]

    def __getitem__(self, rows: Tensor) -> Scenes:
        images, objects = [], []
        for row in rows.tolist():
            image, sides = self.picture(row)
            images.append(image)
            objects.append(self.objects(row, sides))
        if self.training:
            check(objects, self.size)
        return Scenes(torch.stack(images), torch.zeros(len(images), 0, 0, dtype=torch.int64), objects)

    def objects(self, row: int, sides: tuple[int, int]) -> dict[str, Tensor]:
        """The objects of one image, resized to `sides`; those that resizing leaves without a pixel are left out."""
        height, width = self.sides[row]
        boxes, labels, masks, crowds = [], [], [], []
        for one in self.said[row]:
            x, y, w, h = one["bbox"]
            mask = polygon(one["segmentation"], (height, width), sides, self.size)
            box = torch.tensor([x, y, x + w, y + h]) * (sides[1] / width)
            box[0::2], box[1::2] = box[0::2].clamp(0, sides[1]), box[1::2].clamp(0, sides[0])
            if mask.any() and box[2] > box[0] and box[3] > box[1]:
                boxes.append(box)
                labels.append(self.categories[one["category_id"]])
                masks.append(mask)
                crowds.append(one.get("iscrowd", 0))
        found = {
            "boxes": torch.stack(boxes) if boxes else torch.zeros(0, 4),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "masks": torch.stack(masks) if masks else torch.zeros(0, self.size, self.size, dtype=torch.bool),
        }
        return found if self.training else found | {"iscrowd": torch.tensor(crowds, dtype=torch.int64)}


def polygon(said, sides: tuple[int, int], fitted: tuple[int, int], size: int) -> Tensor:
    """A mask (size, size) of COCO's polygons, or of its run lengths, in an image of `sides`, resized to `fitted`."""
    from PIL import ImageDraw

    if isinstance(said, dict):
        counts = torch.tensor(said["counts"])
        # Column after column, from the ground on.
        values = (torch.arange(len(counts)) % 2).repeat_interleave(counts)
        whole = values.view(sides[1], sides[0]).T.float()
        small = interpolate(whole[None, None], size=fitted, mode="nearest")[0, 0]
    else:
        drawn, factor = Image.new("L", (fitted[1], fitted[0])), fitted[1] / sides[1]
        for part in said:
            ImageDraw.Draw(drawn).polygon([factor * x for x in part], fill=1, outline=1)
        small = torch.from_numpy(np.array(drawn)).float()
    return _filled(small, size, 0.0) > 0


def _filled(x: Tensor, size: int, value: float) -> Tensor:
    full = x.new_full((*x.shape[:-2], size, size), value)
    full[..., : x.shape[-2], : x.shape[-1]] = x
    return full


def write_ade(root: Path, part: str, made: Scenes) -> None:
    """Write scenes in ADE20K's layout: digits are its first classes, and the ground is not labelled."""
    for k, (image, labels) in enumerate(zip(made.images, made.labels, strict=True)):
        for kind, pixels, end in (
            ("images", (255 * image[0]).round().byte(), "jpg"),
            ("annotations", labels.byte(), "png"),
        ):
            path = root / ADE / kind / PARTS[part][0] / f"ADE_{PARTS[part][0][:5]}_{k + 1:08d}.{end}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.numpy()).save(path)


def write_coco(root: Path, part: str, made: Scenes) -> None:
    """Write scenes in COCO's layout, with masks as run lengths."""
    name, images, annotations = PARTS[part][1], [], []
    for k, (image, found) in enumerate(zip(made.images, made.objects, strict=True)):
        path = root / COCO / name / f"{k:012d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * image[0]).round().byte().numpy()).save(path)
        height, width = image.shape[1:]
        images.append({"id": k, "file_name": path.name, "height": height, "width": width})
        for (x0, y0, x1, y1), label, mask in zip(
            found["boxes"].tolist(), found["labels"].tolist(), found["masks"], strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": k,
                    "category_id": label,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                    "segmentation": {"size": [height, width], "counts": run_lengths(mask)},
                }
            )
    categories = [{"id": digit + 1, "name": str(digit)} for digit in range(10)]
    path = root / COCO / "annotations" / f"instances_{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"images": images, "annotations": annotations, "categories": categories})


def run_lengths(mask: Tensor) -> list[int]:
    """COCO's uncompressed run lengths of a mask (H, W): column after column, ground and object in turn."""
    flat = torch.cat((torch.zeros(1, dtype=torch.bool), mask.T.flatten()))
    ends = (flat[1:] != flat[:-1]).nonzero()[:, 0].tolist()
    return [b - a for a, b in zip([0, *ends], [*ends, mask.numel()], strict=True)]
