"""Networks trained for one circumstance each, or for all at once; and how well any network does under its own.

Shapes: N networks side by side, name -> (N, ...); rows (N, 3) say what each is for; B images of each at a step.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from experiments.ondemand.family import CIRCUMSTANCES, background_of, draw, taken, turned
from rpglib.runtime.randomness import stream
from rpglib.zoo.collect import Schedule, State, advance
from rpglib.zoo.images import Split

TOGETHER = 32
"""Networks that are trained in one pass, where that is worth it (`Architecture.batched`)."""

View = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(images (N, B, C, S, S) as they are taken, rows (N, 3), background) -> what a network is given of them."""


def plain(images: Tensor, rows: Tensor, background: Tensor) -> Tensor:
    """The images as they are."""
    return images


def told(images: Tensor, rows: Tensor, background: Tensor) -> Tensor:
    """With the circumstances as further channels: sine and cosine of the angle, blur and noise, from -1 to 1."""
    turn = torch.deg2rad(rows[:, 0])
    shares = [
        2 * (rows[:, k] - x.low) / (x.high - x.low) - 1 for k, x in enumerate(CIRCUMSTANCES) if x.kind == "number"
    ]
    planes = torch.stack((turn.sin(), turn.cos(), *shares), 1)[:, None, :, None, None]
    return torch.cat((images, planes.expand(*images.shape[:2], -1, *images.shape[3:])), 2)


def turned_back(images: Tensor, rows: Tensor, background: Tensor) -> Tensor:
    """The images turned back by the angle, which a program that knows it can do."""
    return turned(images, -rows[:, 0], background)


def specialists(
    module: nn.Module,
    state: State,
    split: Split,
    rows: Tensor,
    schedule: Schedule,
    seed: int,
    together: int = TOGETHER,
) -> State:
    """Train N networks from `state`, each on the images as they are taken under its row, with new noise every time."""
    background, found = background_of(split), []
    for first in range(0, len(rows), together):
        chosen = slice(first, first + together)
        seeds = [stream(seed, "specialist", first + k) for k in range(len(rows[chosen]))]

        def see(images: Tensor, step: int, rows=rows[chosen], first=first) -> Tensor:
            generator = torch.Generator().manual_seed(stream(seed, "specialists' noise", first, step))
            return taken(images, rows, background, generator)

        begin = {name: x[chosen] for name, x in state.items()}
        found += advance(module, begin, split, schedule, seeds, see=see)
    return {name: torch.cat([part[name] for part in found]) for name in found[0]}


def generalist(
    module: nn.Module, state: State, split: Split, schedule: Schedule, seed: int, view: View = plain
) -> State:
    """Train one network from `state` (1, ...) on images that are taken each under a row of its own, of seen ranges."""
    background = background_of(split)

    def see(images: Tensor, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(stream(seed, "generalist's images", step))
        rows = draw(images.shape[1], generator)
        # An image each for as many networks, and back.
        found = taken(images.transpose(0, 1), rows, background, generator)
        return view(found, rows, background).transpose(0, 1)

    (trained,) = advance(module, state, split, schedule, [stream(seed, "generalist")], see=see)
    return trained


@torch.no_grad()
def accuracies(
    module: nn.Module, networks: Mapping[str, Tensor], rows: Tensor, split: Split, seed: int, view: View = plain
) -> Tensor:
    """The accuracy (N,) in percent of each network (N, ...), or of one (1, ...), on all images under each row.

    The noise follows from the seed and the row, so that all networks for a row see the same images.
    """
    background, ask, found = background_of(split), partial(functional_call, module.eval()), []
    for k, row in enumerate(rows.split(1)):
        generator = torch.Generator().manual_seed(stream(seed, f"seen under {row.tolist()}"))
        images = view(taken(split.images[None], row, background, generator), row, background)[0]
        network = {name: x[k if len(x) > 1 else 0] for name, x in networks.items()}
        found.append((ask(network, (images,)).argmax(-1) == split.labels).double().mean() * 100)
    return torch.stack(found)


def alike(network: Mapping[str, Tensor], n: int) -> State:
    """One network (1, ...) side by side n times."""
    return {name: x.expand(n, *x.shape[1:]).clone() for name, x in network.items()}
