"""How images are taken: turned by any angle, blurred, with noise; and which of these circumstances are held out.

Shapes: N networks, B images of each, C channels, S pixels along a side; a row says what one network is for: angle
(degrees counterclockwise), blur (standard deviation of a Gaussian in pixels) and noise (standard deviation; that of all
training pixels is 1).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from rpglib.tasks.conditions import Condition, random_conditions
from rpglib.zoo.images import Split

CIRCUMSTANCES = (
    Condition("angle", -180, 180, "angle"),
    Condition("blur", 0, 0.8),
    Condition("noise", 0, 0.5),
)
ARCS = ((30.0, 45.0), (140.0, 155.0), (-110.0, -95.0))
"""Angles that are held out, whatever blur and noise."""
STRONG = (0.6, 0.35)
"""Blur and noise above these are held out together, whatever the angle; each of them alone is seen."""
SEEN, HELD_OUT = "seen ranges", ("angles", "combinations")
KINDS = (*HELD_OUT, SEEN)


def kinds(rows: Tensor) -> dict[str, Tensor]:
    """Which of the rows (N, 3) are of each kind: kind -> (N,) bool; what is held out twice is of none."""
    angle, blur, noise = rows.unbind(1)
    arcs = torch.stack([(angle >= low) & (angle < high) for low, high in ARCS]).any(0)
    strong = (blur > STRONG[0]) & (noise > STRONG[1])
    return {"angles": arcs & ~strong, "combinations": strong & ~arcs, SEEN: ~arcs & ~strong}


def draw(n: int, generator: torch.Generator, kind: str = SEEN) -> Tensor:
    """Rows (n, 3) at random, all of their kind alike; from the seen ranges alone anything is trained."""
    found = torch.empty(0, len(CIRCUMSTANCES))
    while len(found) < n:
        rows = random_conditions(CIRCUMSTANCES, 2 * n, generator).float()
        found = torch.cat((found, rows[kinds(rows)[kind]]))
    return found[:n]


def taken(images: Tensor, rows: Tensor, background: Tensor, generator: torch.Generator | None) -> Tensor:
    """Images (N, B, C, S, S) as they are taken under the rows (N, 3), one for all B of a network.

    Turned about the centre (bilinear; beyond the border lies the background (C, 1, 1)), blurred, and with noise from
    the generator; without one there is no noise.
    """
    angle, blur, noise = rows.to(images.dtype).unbind(1)
    x = turned(images, angle, background) - background
    place = torch.arange(x.shape[-1], dtype=x.dtype)
    away = torch.arange(-len(place), len(place) + 1, dtype=x.dtype)
    width = 2 * blur.clamp(min=1e-3).square()[:, None]
    weight = torch.exp(-(place[:, None] - place).square() / width[..., None])
    weight = (weight / torch.exp(-away.square() / width).sum(1)[:, None, None])[:, None, None]
    # Far below rounding, and products with numbers next to nothing take a hundred times as long.
    weight = weight.where(weight > 1e-12, 0.0)
    x = weight @ x @ weight.mT + background
    if generator is not None:
        x = x + noise.view(-1, 1, 1, 1, 1) * torch.randn(x.shape, generator=generator)
    return x


def turned(images: Tensor, angle: Tensor, background: Tensor) -> Tensor:
    """Images (N, B, C, S, S) turned counterclockwise by angles (N,) in degrees."""
    turn = torch.deg2rad(angle)
    cos, sin, zero = turn.cos(), turn.sin(), torch.zeros_like(turn)
    # What lies at a place came from where the opposite turn leads; the vertical axis points down.
    matrix = torch.stack((cos, -sin, zero, sin, cos, zero), 1).view(-1, 2, 3)
    x = (images - background).flatten(1, 2)  # all images of a network are turned alike, as if they were channels
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False).view_as(images) + background


def background_of(split: Split) -> Tensor:
    """The values (C, 1, 1) of an empty pixel: the lowest of each channel."""
    return split.images.amin((0, 2, 3))[:, None, None]
