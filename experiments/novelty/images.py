"""Images as they could have been taken as well: for a behaviour that sees few of them."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Moved:
    """Turns, enlarges and shifts images, each at random up to these bounds, bilinearly; what comes in is background.

    turn: degrees; zoom: a share of the size; shift: a share of the image's width.
    """

    turn: float
    zoom: float
    shift: float

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        turn, zoom, *shift = 2 * torch.rand(4, len(images), generator=generator) - 1
        turn, zoom = math.radians(self.turn) * turn, 1 + self.zoom * zoom
        cos, sin = zoom * turn.cos(), zoom * turn.sin()
        # The coordinates of an image run from -1 to 1.
        x, y = (2 * self.shift * one for one in shift)
        maps = torch.stack((torch.stack((cos, -sin, x), 1), torch.stack((sin, cos, y), 1)), 1)
        grid = F.affine_grid(maps, list(images.shape), align_corners=False)
        background = images.amin()
        return F.grid_sample(images - background, grid, align_corners=False) + background
