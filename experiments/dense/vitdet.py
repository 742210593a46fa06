"""A plain vision transformer with a simple feature pyramid, as ViTDet has it, by the names of its public release.

Source: Li et al. 2022 (ViTDet), section 3, and detectron2's `modeling/backbone/vit.py`: absolute positions, decomposed
relative positions, attention in windows but for a few blocks, and a pyramid from the last map alone.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class ViTConfig:
    """Sizes of the transformer and of its pyramid.

    size: pixels along a side, patch: of a token. window: tokens along a side that attend to each other, 0 for all;
    every `every`-th block attends to all. scales: of the pyramid's maps, relative to the tokens' map. out: channels of
    each map.
    """

    size: int = 64
    channels: int = 1
    patch: int = 8
    width: int = 96
    depth: int = 3
    heads: int = 4
    hidden: int = 4
    window: int = 0
    every: int = 1
    scales: tuple[float, ...] = (2.0, 1.0, 0.5)
    out: int = 48

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels between neighbouring places of each map."""
        return tuple(int(self.patch / scale) for scale in self.scales)


class Norm(nn.Module):
    """Layer normalisation over the channels of maps (n, C, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Attention over maps (n, H, W, C) with decomposed relative positions."""

    def __init__(self, width: int, heads: int, side: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        place = torch.arange(side)
        self.register_buffer("apart", place[:, None] - place[None, :] + side - 1, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n, height, width, _ = x.shape
        q, k, v = self.qkv(x).view(n, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        square = q.view(n, self.heads, height, width, -1)
        rows = torch.einsum("nghwc,hkc->nghwk", square, self.rel_pos_h[self.apart])
        columns = torch.einsum("nghwc,wkc->nghwk", square, self.rel_pos_w[self.apart])
        bias = (rows[..., :, None] + columns[..., None, :]).reshape(n, self.heads, height * width, height * width)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(x.transpose(1, 2).reshape(n, height, width, -1))


class Block(nn.Module):
    """A block with normalisation first; within windows where `window` is not 0."""

    def __init__(self, config: ViTConfig, window: int):
        super().__init__()
        self.window = window
        self.norm1, self.norm2 = (nn.LayerNorm(config.width, eps=1e-6) for _ in range(2))
        self.attn = Attention(config.width, config.heads, window or config.size // config.patch)
        self.mlp = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(config.width, config.hidden * config.width),
                act=nn.GELU(),
                fc2=nn.Linear(config.hidden * config.width, config.width),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        if self.window:
            n, height, width, _ = y.shape
            # As in the release: windows that leave the map are filled with zeros.
            y = F.pad(y, (0, 0, 0, -width % self.window, 0, -height % self.window))
            rows, columns = y.shape[1] // self.window, y.shape[2] // self.window
            y = y.view(n, rows, self.window, columns, self.window, -1).transpose(2, 3).flatten(0, 2)
            y = self.attn(y).view(n, rows, columns, self.window, self.window, -1).transpose(2, 3)
            y = y.reshape(n, rows * self.window, columns * self.window, -1)[:, :height, :width]
        else:
            y = self.attn(y)
        x = x + y
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Images (n, C, size, size) -> the last map (n, width, size / patch, size / patch)."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        side = config.size // config.patch
        self.patch_embed = nn.Sequential(
            OrderedDict(proj=nn.Conv2d(config.channels, config.width, config.patch, config.patch))
        )
        # Without the class token's place, which the weights that ViTDet starts from have first and nothing uses.
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, side * side, config.width))
        windows = (config.window if (k + 1) % config.every else 0 for k in range(config.depth))
        self.blocks = nn.ModuleList(Block(config, window) for window in windows)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch_embed(images).permute(0, 2, 3, 1)
        x = x + self.pos_embed.view(1, x.shape[1], x.shape[2], -1)
        for block in self.blocks:
            x = block(x)
        return x.permute(0, 3, 1, 2)


class Conv(nn.Conv2d):
    """A convolution without bias and its normalisation, under the release's names."""

    def __init__(self, channels: int, out: int, kernel: int):
        super().__init__(channels, out, kernel, padding=kernel // 2, bias=False)
        self.norm = Norm(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x))


class SimpleFeaturePyramid(nn.Module):
    """Maps of several strides, each from the transformer's last map: {"p3": (n, out, H, W), ...}."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.net, self.out_channels = ViT(config), config.out
        self.names: dict[str, str] = {}
        for scale, stride in zip(config.scales, config.strides, strict=True):
            level, width = int(math.log2(stride)), config.width
            layers: list[nn.Module] = []
            if scale == 4:
                layers = [nn.ConvTranspose2d(width, width // 2, 2, 2), Norm(width // 2), nn.GELU()]
                layers.append(nn.ConvTranspose2d(width // 2, width // 4, 2, 2))
                width //= 4
            elif scale == 2:
                layers = [nn.ConvTranspose2d(width, width // 2, 2, 2)]
                width //= 2
            elif scale == 0.5:
                layers = [nn.MaxPool2d(2)]
            self.add_module(
                f"simfp_{level}", nn.Sequential(*layers, Conv(width, config.out, 1), Conv(config.out, config.out, 3))
            )
            self.names[f"p{level}"] = f"simfp_{level}"

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.net(images)
        return {name: self.get_submodule(part)(x) for name, part in self.names.items()}
