"""Networks of several architectures as chunks of one size, and what a generator is told of each chunk's place.

Chunks are the tokens of a `ParameterTokenizer` for each architecture: every tensor is normalised by its own statistics
and starts a chunk of its own, the last one of a tensor is padded. Deviation: the paper flattens a whole network, scales
it by one number and pads its end; there a chunk holds different tensors in every architecture.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rpglib.errors import InputError, shown
from rpglib.runtime.arguments import of, takes, whole
from rpglib.runtime.state_dicts import tied
from rpglib.tokenizer import ParameterTokenizer
from rpglib.tokenizer.layout import Layer
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.store import Zoo

AXES, OCTAVES = 4, 10
"""Sizes of a tensor that are told, and periods of the waves that tell numbers apart: 2, 4, ... 1,024."""


@dataclass(frozen=True)
class Layout:
    """One architecture on one data set, and how its networks become chunks."""

    architecture: Architecture
    images: str
    tokenizer: ParameterTokenizer

    @classmethod
    @takes(zoo=of(Zoo), chunk=whole(1))
    def fit(cls, zoo: Zoo, chunk: int) -> "Layout":
        """Measure a zoo's statistics; raises `InputError` where it does not know its architecture or data set."""
        if zoo.architecture is None or zoo.images is None:
            missing = "architecture" if zoo.architecture is None else "data set"
            raise InputError(
                f"a zoo does not know its {missing}; collect it, or read it with {missing.split()[-1]}=..."
            )
        return cls(zoo.architecture, zoo.images, ParameterTokenizer.fit(zoo, chunk))

    @property
    def name(self) -> str:
        """How `generate` is asked for it."""
        return self.architecture.name

    def __len__(self) -> int:
        return self.tokenizer.num_tokens

    @cached_property
    def kinds(self) -> list[str]:
        """The kind of every tensor, in the order of the chunks."""
        return [kind_of(layer) for layer in self.tokenizer.layers]

    @takes(networks=of(Zoo, list))
    def chunks(self, networks) -> Tensor:
        """The chunks (N, L, K) of networks, zero where padded; `InputError` for other architectures."""
        if not len(networks):
            raise InputError("there is no network to cut into chunks; give one at least")
        return torch.stack([self.tokenizer.encode(networks[i])[0] for i in range(len(networks))])

    def places(self, kinds: Sequence[str]) -> Tensor:
        """What is told of the place of each chunk: (L, F).

        The kind of its tensor among `kinds` (none where it is another), the tensor's sizes, its number from the first
        and from the last tensor, the number of its block from the first and from the last, and the chunk's number
        within the tensor, from both ends.
        """
        layers, rows = self.tokenizer.layers, []
        blocks = [block_of(layer.name) for layer in layers]
        last = max(blocks)
        for k, (layer, segment) in enumerate(zip(layers, self.tokenizer.segments, strict=True)):
            count = segment.stride // self.tokenizer.token_size
            sizes = [math.log2(size) / 8 for size in layer.shape[:AXES]]
            known = [float(kind == self.kinds[k]) for kind in kinds]
            of_tensor = torch.tensor([*known, *sizes, *[0.0] * (AXES - len(sizes))])
            numbers = [k, len(layers) - 1 - k, blocks[k] + 1, last - blocks[k]]
            inside = torch.arange(count)
            waves = [_waves(torch.full((count,), number)) for number in numbers]
            rows.append(torch.cat((of_tensor.expand(count, -1), *waves, _waves(inside), _waves(count - 1 - inside)), 1))
        return torch.cat(rows)


def kind_of(layer: Layer) -> str:
    """The name of a tensor without its numbers, and how many axes it has: "blocks.#.norm1.weight, 1"."""
    return f"{re.sub(r'[0-9]+(?=[.]|$)', '#', layer.name)}, {len(layer.shape)}"


def block_of(name: str) -> int:
    """The first number in the name of a tensor, -1 where there is none."""
    found = re.search(r"(?:^|[.])([0-9]+)(?:[.]|$)", name)
    return int(found[1]) if found else -1


def _waves(numbers: Tensor) -> Tensor:
    """Sines and cosines (n, 2 x OCTAVES) that tell whole numbers (n,) apart."""
    phase = numbers[:, None] * math.pi / 2.0 ** torch.arange(OCTAVES)
    return torch.cat((phase.sin(), phase.cos()), 1)


@takes(architecture=of(Architecture))
def unseen(architecture: Architecture, images: str, known: Sequence[Layout]) -> Layout:
    """The layout of an architecture without a zoo: each tensor is normalised as those like it are.

    Like it are tensors of its kind and shape in the known layouts on the same data set; of these it takes the mean
    statistics of those that lie, relative to their network's blocks, nearest to it. Raises `InputError` where there is
    none.
    """
    state = architecture.build().state_dict()
    aliases = tied(state)
    layers, constants = [], {}
    for name, x in state.items():
        if name not in aliases:
            if x.is_floating_point() and x.numel():
                layers.append(Layer(name, tuple(x.shape), x.dtype, log=name.endswith("running_var")))
            else:
                constants[name] = x
    found = [_like(layer, _share(layer, layers), images, known) for layer in layers]
    token_size = known[0].tokenizer.token_size
    tokenizer = ParameterTokenizer(layers, *zip(*found, strict=True), constants, aliases, list(state), token_size)
    return Layout(architecture, images, tokenizer)


def _share(layer: Layer, layers: Sequence[Layer]) -> float:
    """Where a tensor's block lies among those of its network: from 0 to 1."""
    blocks = [block_of(other.name) for other in layers if kind_of(other) == kind_of(layer)]
    return (block_of(layer.name) - min(blocks)) / max(1, max(blocks) - min(blocks))


def _like(layer: Layer, share: float, images: str, known: Sequence[Layout]) -> tuple[Tensor, Tensor, float]:
    """Shift, scale and reference for a tensor, from those like it."""
    candidates = []
    for layout in known:
        own = layout.tokenizer
        for k, other in enumerate(own.layers if layout.images == images else ()):
            if kind_of(other) == kind_of(layer) and other.shape == layer.shape:
                far = abs(_share(other, own.layers) - share)
                candidates.append((far, own.shift[k], own.scale[k], own.log_reference[k]))
    if not candidates:
        raise InputError(
            f"no architecture that was learned on {shown(images)} has a tensor like {layer.name!r} of the shape "
            f"{layer.shape}; add a zoo of one that has"
        )
    least = min(far for far, *_ in candidates)
    nearest = [one for far, *one in candidates if far <= least + 1e-6]
    shifts, scales, references = zip(*nearest, strict=True)
    return torch.stack(shifts).mean(0), torch.stack(scales).mean(0), sum(references) / len(references)
