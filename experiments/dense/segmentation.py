"""Semantic segmentation: transformers' UperNet on a small ConvNeXt or on a plain vision transformer."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experiments.dense.kinds import Measured, Scenes, Source, batches
from experiments.extras import DENSE

IGNORED = 255
"""A pixel with this label teaches nothing and is not asked for."""
MEAN, DEVIATION = 0.2, 0.25
"""Of the pixels that a network is given; about those of our scenes."""


@dataclass(frozen=True)
class Segmenter:
    """UperNet of these sizes. `widths` are of the stages of ConvNeXt, or, with `depth`, one of BEiT's transformer.

    patch: pixels along a side of a token. head: width of UperNet's own maps. depth: blocks of the transformer, of which
    four equally spaced ones are looked at, 0 for ConvNeXt. batch: images that are answered together. ground: how much
    pixels of the first class count in training; where most are of it, less than 1 keeps a network from answering it
    everywhere for half of its training.
    """

    main: str = "mIoU"
    classes: int = 11
    channels: int = 1
    size: int = 64
    patch: int = 2
    widths: tuple[int, ...] = (16, 32, 48, 64)
    head: int = 32
    pools: tuple[int, ...] = (1, 2)
    depth: int = 0
    heads: int = 12
    batch: int = 50
    ground: float = 1.0

    def build(self) -> nn.Module:
        """A new network; its weights come from torch's current random state."""
        transformers = DENSE.package("transformers")
        if self.depth:
            backbone = transformers.BeitConfig(
                hidden_size=self.widths[0],
                num_hidden_layers=self.depth,
                num_attention_heads=self.heads,
                intermediate_size=4 * self.widths[0],
                image_size=self.size,
                patch_size=self.patch,
                num_channels=self.channels,
                use_absolute_position_embeddings=True,
                layer_scale_init_value=0.0,
                drop_path_rate=0.1,
                out_indices=[self.depth * k // 4 for k in (1, 2, 3, 4)],
                add_fpn=True,
                initializer_range=0.07,
            )
        else:
            backbone = transformers.ConvNextConfig(
                num_channels=self.channels,
                patch_size=self.patch,
                hidden_sizes=list(self.widths),
                depths=[1] * len(self.widths),
                image_size=self.size,
                out_features=[f"stage{k + 1}" for k in range(len(self.widths))],
                # As trained from scratch on few images: blocks count from the first step on.
                layer_scale_init_value=1.0,
                initializer_range=0.05,
            )
        return _answering()(
            transformers.UperNetConfig(
                backbone_config=backbone,
                hidden_size=self.head,
                pool_scales=list(self.pools),
                use_auxiliary_head=False,
                num_labels=self.classes,
            )
        )

    def loss(self, model: nn.Module, taught: Scenes) -> Tensor:
        """Cross-entropy over the pixels of these scenes, weighted by class."""
        device = next(model.parameters()).device
        weights = torch.ones(self.classes, device=device)
        weights[0] = self.ground
        logits = self.logits(model, taught.images.to(device))
        return F.cross_entropy(logits, taught.labels.to(device), weights, ignore_index=IGNORED)

    def logits(self, model: nn.Module, images: Tensor) -> Tensor:
        """Logits (n, classes, H, W) of images (n, C, H, W)."""
        return model((images - MEAN) / DEVIATION).unflatten(1, (self.classes, *images.shape[2:]))

    @torch.no_grad()
    def answered(self, model: nn.Module, images: Tensor) -> Tensor:
        """The class of every pixel (n, H, W)."""
        model.eval()
        return self.logits(model, images.to(next(model.parameters()).device)).argmax(1).cpu()

    def measure(self, model: nn.Module, asked: Source) -> Measured:
        """Mean IoU over classes, pixel accuracy, mean accuracy over classes; wrong are pixels that are asked for."""
        table, wrong = torch.zeros(self.classes, self.classes, dtype=torch.float64), []
        for part in batches(asked, self.batch):
            found, known = self.answered(model, part.images), part.labels != IGNORED
            table += confusion(found[known], part.labels[known], self.classes)
            wrong.append((found != part.labels)[known])
        return Measured(scores(table), torch.cat(wrong))


@cache
def _answering() -> type[nn.Module]:
    """UperNet that answers images (n, C, H, W) with logits (n, classes x H x W) and nothing else.

    What looks at networks of any kind knows answers with two axes.
    """

    class UperNet(DENSE.package("transformers").UperNetForSemanticSegmentation):
        def forward(self, pixel_values: Tensor) -> Tensor:
            return super().forward(pixel_values=pixel_values, return_dict=True).logits.flatten(1)

    return UperNet


def confusion(found: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How many pixels (E,) of each class (row) were given each class (column): (classes, classes) float64."""
    return torch.bincount(labels * classes + found, minlength=classes**2).view(classes, classes).double()


def scores(table: Tensor) -> dict[str, float]:
    """Metrics (percent) of a table of confusion; classes that are neither there nor given do not count."""
    right, there = table.diag(), table.sum(1)
    either = there + table.sum(0) - right
    return {
        "mIoU": 100 * (right / either)[either > 0].mean().item(),
        "pixel accuracy": 100 * (right.sum() / table.sum()).item(),
        "mAcc": 100 * (right / there)[there > 0].mean().item(),
    }
