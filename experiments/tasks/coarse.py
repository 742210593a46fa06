"""Ten coarse classes of ImageNet (v2, table 20): where profile `paper` of `15_unseen_tasks` finds them, and a stand-in.

The stand-in has ImageNet's layout and a few images, and a network that is small enough for a test; the way from its
folders to the record is the one that ImageNet goes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from PIL import Image

from experiments.pipeline import images_of
from experiments.profiles import UNSEEN_PAPER, TaskRecipe, unseen_tasks
from experiments.records import working_dir
from experiments.tasks import tables
from experiments.tasks.unseen import Unseen
from experiments.tasks.unseen import unseen_tasks as compute
from rpglib.zoo.coarse_imagenet import COARSE_CLASSES

PIXELS = 48
"""Along a side of the stand-in's images, which are enlarged as ImageNet's are reduced."""


def stand_in(folder: Path, train: int = 2, val: int = 1) -> Path:
    """Write `folder`/imagenet/train/<wnid>/*.JPEG and val, as ImageNet is unpacked; return `folder`.

    All class folders that make the coarse classes are there; images, of a colour for each, are in one of every class.
    """
    from timm.data import ImageNetInfo

    names, draw = ImageNetInfo("imagenet-1k").label_names(), torch.Generator().manual_seed(0)
    for part, count in (("train", train), ("val", val)):
        for indices in COARSE_CLASSES.values():
            places = [folder / "imagenet" / part / names[index] for index in indices]
            for place in places:
                place.mkdir(parents=True, exist_ok=True)
            colour = torch.rand(3, 1, 1, generator=draw)
            for number in range(count):
                pixels = (colour + 0.1 * torch.randn(3, PIXELS, PIXELS, generator=draw)).clamp(0, 1)
                image = Image.fromarray((255 * pixels).byte().permute(1, 2, 0).numpy())
                image.save(places[-1] / f"{places[-1].name}_{number}.JPEG")
    return folder


def small(recipe: TaskRecipe = UNSEEN_PAPER) -> TaskRecipe:
    """The recipe of profile paper in the sizes of profile smoke, its vision transformer trained from scratch."""
    smoke = unseen_tasks("smoke")
    return replace(
        recipe,
        name="unseen_coarse_classes",
        architecture=replace(recipe.architecture, name="test_vit"),
        pretrained=False,
        pretrain=replace(smoke.pretrain, epochs=1, batch_size=10),
        collect=replace(recipe.collect, epochs=1, batch_size=10, finetune_batch_size=5, checkpoints=2),
        model=replace(smoke.model, token_size=1024),
        train=replace(smoke.train, steps=2),
        count=6,
        splits=(0,),
        seen=0.67,
        curve=(),
        finetuned=1,
        few=10,
        finetune_epochs=(0, 1),
        finetune_rates=(1e-3,),
    )


@contextmanager
def data_at(root: Path) -> Iterator[None]:
    """Read data sets below `root`, as RPG_DATA says it, and not those that were read before."""
    before = os.environ.get("RPG_DATA")
    os.environ["RPG_DATA"] = str(root)
    images_of.cache_clear()
    try:
        yield
    finally:
        images_of.cache_clear()
        if before is None:
            del os.environ["RPG_DATA"]
        else:
            os.environ["RPG_DATA"] = before


def on_stand_in(profile: str, seed: int = 0) -> Unseen:
    """Compute the small recipe on the stand-in, which is written into the profile's working folder."""
    with data_at(stand_in(working_dir(profile, "coarse_classes"))):
        return compute(small(), profile, True, seed, "cpu")


def table_20(profile: str, fresh: bool, seed: int = 0) -> pd.DataFrame | str:
    """The paper's table on the stand-in in profile smoke; elsewhere where the numbers are, or what they wait for."""
    if profile == "smoke" and fresh:
        return tables.some_tasks(on_stand_in(profile, seed).numbers["splits"][0])
    if profile == "paper":
        return "coarse classes: all of this notebook is about them"
    return (
        "coarse classes: not measured; unpack ImageNet's class folders into data/datasets/imagenet/train and val, or "
        "set RPG_DATA to the folder that holds imagenet/, and run profile paper with fresh=True"
    )
