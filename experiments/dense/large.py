"""The paper's own way (v1, table 2): UperNet and ViTDet on ViT-Base, on ADE20K and COCO as they are released.

Not run where the data sets are absent; profile smoke goes this way with scenes in the same layouts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from experiments.dense.detection import Detector
from experiments.dense.kinds import Kind, Scenes
from experiments.dense.layouts import ADE20K, CocoInstances, write_ade, write_coco
from experiments.dense.segmentation import Segmenter
from experiments.dense.settings import SMOKE
from experiments.dense.teaching import Teaching, teach
from experiments.dense.vitdet import ViTConfig
from experiments.large import Generator
from experiments.profiles import PAPER_TRAIN_LARGE
from rpglib.analysis.accuracy import summarise
from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
from rpglib.runtime.hardware import pick
from rpglib.zoo.store import Zoo

MAE = "mae_pretrain_vit_base.pth"
"""Weights of ViT-Base as masked autoencoders release them, from which ViTDet starts, too."""


@dataclass(frozen=True)
class Large:
    """A kind of network on a public data set in `root`, its run, and its generator.

    size: pixels along a side of an image; start: a file of MAE's weights, if any.
    """

    kind: Kind
    data: type
    root: Path
    size: int
    teaching: Teaching
    generator: Generator
    start: Path | None = None
    networks: int = 10
    device: str = "auto"

    def compute(self, folder: Path) -> dict:
        """By metric of the whole validation part: "original", of the last checkpoint, and what generated ones have.

        Raises `InputError` where the data set is absent.
        """
        taught, asked = (self.data(self.root, part, self.size) for part in ("train", "val"))
        device = pick(self.device)
        start = partial(started, path=self.start) if self.start is not None else None
        kept, _ = teach(self.kind, taught, self.teaching, 0, str(device), start)
        zoo = Zoo.write(folder / "zoo", kept, runs=[0] * len(kept), accuracies=None)
        generated = self.generator.written(zoo, self.networks, folder, self.device)
        model, found = self.kind.build().to(device), []
        for network in (kept[-1], *generated):
            model.load_state_dict(network)
            found.append(self.kind.measure(model, asked).metrics)
        return {name: {"original": x} | summarise([one[name] for one in found[1:]]) for name, x in found[0].items()}


def started(model: nn.Module, path: Path) -> None:
    """Give a network's transformer the weights of a masked autoencoder's file, its positions resized.

    Raises `InputError` where the file cannot be read.
    """
    try:
        said = torch.load(path, map_location="cpu", weights_only=True)["model"]
    except Exception as error:  # torch.load tells of damage in many unrelated types
        raise InputError(f"{path} is not MAE's ({type(error).__name__}); download {MAE} again") from None
    own = model.state_dict()
    detector = "backbone.net.pos_embed" in own
    places = "backbone.net.pos_embed" if detector else "backbone.beit.embeddings.position_embeddings"
    said = {**said, "pos_embed": resized(said["pos_embed"], own[places].shape[1], class_token=not detector)}
    given = {f"backbone.net.{name}": x for name, x in said.items()} if detector else as_beit(said)
    model.load_state_dict(own | {name: x for name, x in given.items() if name in own})


def resized(positions: Tensor, count: int, class_token: bool) -> Tensor:
    """Positions (1, 1 + n, C), the class token's first, for `count` of them, with the class token's or without."""
    first, rest = positions[:, :1], positions[:, 1:]
    side, new = round(rest.shape[1] ** 0.5), round((count - class_token) ** 0.5)
    grid = rest.view(1, side, side, -1).permute(0, 3, 1, 2)
    grid = interpolate(grid, size=(new, new), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    return torch.cat((first, grid), 1) if class_token else grid


def as_beit(said: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A vision transformer's weights under the names that transformers' BEiT has; a bias of keys, which it lacks,
    changes no attention."""
    inside = {"norm1": "layernorm_before", "norm2": "layernorm_after", "attn.proj": "attention.o_proj"}
    whole = {"pos_embed": "position_embeddings", "cls_token": "cls_token"}
    whole |= {f"patch_embed.proj.{part}": f"patch_embeddings.projection.{part}" for part in ("weight", "bias")}
    found = {f"backbone.beit.embeddings.{new}": said[old] for old, new in whole.items()}
    for name, x in said.items():
        if not name.startswith("blocks."):
            continue
        _, number, rest = name.split(".", 2)
        stem, part = rest.rsplit(".", 1)
        place = f"backbone.beit.layers.{number}"
        if stem == "attn.qkv":
            for letter, third in zip("qkv", x.chunk(3), strict=True):
                found[f"{place}.attention.{letter}_proj.{part}"] = third
        else:
            found[f"{place}.{inside.get(stem, stem)}.{part}"] = x
    return found


BASE = {"size": 1024, "channels": 3, "patch": 16, "width": 768, "depth": 12, "heads": 12, "window": 14, "every": 3}
"""ViTDet's backbone on ViT-Base: every third block attends to all."""


def paper(root: Path) -> dict[str, Large]:
    """The paper's rows: UperNet and ViTDet on ViT-Base, generators of size "large" (v2, B.2), 50 checkpoints each.

    Trainings start from MAE's weights where `root` has them. Ours, as the paper names none: rates, epochs, a simple
    resize instead of crops, and the heads of torchvision.
    """
    start = root / MAE if (root / MAE).is_file() else None
    model = replace(RPGConfig.preset("large"), permutation_states=50, permutation="fixed")
    common = {"root": root, "generator": Generator(model, PAPER_TRAIN_LARGE), "start": start}
    teaching = Teaching(16, 16, 1e-4, 0.05, 1e-6, 1000, 50)
    segmenter = Segmenter(
        classes=150, channels=3, size=512, patch=16, widths=(768,), head=512, pools=(1, 2, 3, 6), depth=12, batch=4
    )
    detector = Detector(
        backbone=ViTConfig(**BASE, scales=(4.0, 2.0, 1.0, 0.5), out=256),
        classes=80,
        anchor=8.0,
        ratios=(0.5, 1.0, 2.0),
        proposals=1000,
        samples=512,
        most=100,
        roi=7,
        mask=14,
        hidden=1024,
        convolutions=4,
        mean=(0.485, 0.456, 0.406),
        deviation=(0.229, 0.224, 0.225),
        batch=1,
    )
    return {
        "ADE20K": Large(segmenter, ADE20K, size=512, teaching=teaching, **common),
        "COCO": Large(detector, CocoInstances, size=1024, teaching=replace(teaching, epochs=25), **common),
    }


def stand_in(folder: Path) -> dict[str, Large]:
    """The same way with tiny networks of the same parts, on a few scenes in both layouts, written into `folder`."""
    for part, split, count in (("train", "train", 6), ("val", "test", 4)):
        made = Scenes.composed(split, count, 64)
        write_ade(folder, part, made)
        write_coco(folder, part, made)
    small = next(iter(SMOKE["detection"].populations.values()))
    common = {
        "root": folder,
        "size": 64,
        "teaching": Teaching(epochs=1, batch=3, tail=2, checkpoints=2),
        "generator": Generator(replace(small.model, permutation_states=2), small.train, steps=2),
        "networks": 2,
        "device": "cpu",
    }
    segmenter = Segmenter(classes=150, channels=3, patch=16, widths=(16,), head=8, depth=4, heads=2, batch=2)
    transformer = ViTConfig(
        64, 3, 16, width=16, depth=3, heads=2, window=3, every=3, scales=(4.0, 2.0, 1.0, 0.5), out=8
    )
    detector = Detector(
        backbone=transformer, mean=(0.2,) * 3, deviation=(0.25,) * 3, hidden=16, proposals=20, samples=16, batch=2
    )
    return {"ADE20K": Large(segmenter, ADE20K, **common), "COCO": Large(detector, CocoInstances, **common)}
