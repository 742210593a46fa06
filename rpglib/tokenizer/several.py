"""Networks of several architectures as tokens of one size, and what a generator is told of each token's place.

Each architecture has a `ParameterTokenizer` of its own: every tensor is normalised by its own statistics and starts a
token of its own, the last one of a tensor is padded.

Shapes: N networks, L tokens of one network, D token size, F features of a place.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from rpglib.errors import InputError, choice, shown
from rpglib.runtime.arguments import each, of, takes, whole
from rpglib.runtime.bundles import Bundle
from rpglib.runtime.hardware import fp32
from rpglib.runtime.state_dicts import is_variance, tied
from rpglib.tokenizer import ParameterTokenizer
from rpglib.tokenizer.layout import Layer
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.store import Zoo

FILE = "{}-layout-{}.safetensors"
AXES, OCTAVES, INSIDE = 4, 10, 20
"""Sizes of a tensor that are told; periods of the waves that tell numbers of tensors and blocks apart, 2, 4, ... 1,024,
and of those that tell tokens of a tensor apart, of which there can be a million."""


@dataclass(frozen=True)
class Layout:
    """One architecture on one data set, and how its networks become tokens, each of one tensor ("layer" slicing)."""

    architecture: Architecture
    images: str
    tokenizer: ParameterTokenizer

    def __post_init__(self):
        if self.tokenizer.slicing != "layer":
            raise InputError(
                f"a layout's tokens are of one tensor each; fit with slicing='layer', not {self.tokenizer.slicing!r}"
            )

    @classmethod
    @takes(zoo=of(Zoo), token_size=whole(1))
    def fit(cls, zoo: Zoo, token_size: int) -> "Layout":
        """Measure a zoo's statistics.

        Raises `InputError` where it does not know its architecture or data set, or holds networks of another one.
        """
        if zoo.architecture is None or zoo.images is None:
            missing = "architecture" if zoo.architecture is None else "data set"
            raise InputError(
                f"a zoo does not know its {missing}; collect it, or read it with {missing.split()[-1]}=..."
            )
        with torch.random.fork_rng(devices=[]):
            wanted = {name: x.shape for name, x in zoo.build().state_dict().items()}
        if {name: x.shape for name, x in zoo[0].items()} != wanted:
            raise InputError(f"a zoo's networks are not of {zoo.architecture.name}, which it says; name their own")
        return cls(zoo.architecture, zoo.images, ParameterTokenizer.fit(zoo, token_size))

    @property
    def name(self) -> str:
        """How `generate` is asked for it."""
        return self.architecture.name

    def __len__(self) -> int:
        return self.tokenizer.num_tokens

    @cached_property
    def kinds(self) -> list[str]:
        """The kind of every tensor, in the order of the tokens."""
        return [kind_of(layer) for layer in self.tokenizer.layers]

    @cached_property
    def shares(self) -> list[float]:
        """Where every tensor's block lies among those of its kind, from 0 to 1."""
        names = [layer.name for layer in self.tokenizer.layers]
        return _shares([*zip(names, self.kinds, strict=True)])

    @takes(networks=of(Zoo, list))
    def tokens(self, networks) -> Tensor:
        """The tokens (N, L, D) of networks, zero where padded; `InputError` for other architectures."""
        if not len(networks):
            raise InputError("there is no network to cut into tokens; give one at least")
        return torch.stack([self.tokenizer.encode(networks[i])[0] for i in range(len(networks))])

    @fp32()
    def places(self, kinds: Sequence[str]) -> Tensor:
        """What is told of the place of each token: (L, F).

        The kind of its tensor among `kinds` (none where it is another), the tensor's sizes, its number from the first
        and from the last tensor, the number of its block from the first and from the last, and the token's number
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
            waves += [_waves(inside, INSIDE), _waves(count - 1 - inside, INSIDE)]
            rows.append(torch.cat((of_tensor.expand(count, -1), *waves), 1))
        return torch.cat(rows)


def family(layouts: Sequence[Layout]) -> dict[str, Layout]:
    """The layouts of one generator by the names of their architectures.

    Raises `InputError` where there is none, where two have one name, and where their tokens differ in size.
    """
    names = [layout.name for layout in layouts]
    if not names or len({*names}) < len(names):
        raise InputError(f"a generator is made for one zoo at least, each of another architecture, not {shown(names)}")
    if len(sizes := {layout.tokenizer.token_size for layout in layouts}) > 1:
        raise InputError(f"the tokens of one generator have one size, not {sorted(sizes)}; fit all with one token_size")
    return dict(zip(names, layouts, strict=True))


def zoos_of(name: str, value, sizes: dict) -> list[Zoo]:
    """A list of zoos, as an argument (`takes`)."""
    return [of(Zoo)(f"{name}, for each,", zoo, {}) for zoo in each(name, value, "zoos")]


def layouts_of(name: str, value, sizes: dict) -> list[Layout]:
    """A list of layouts, as an argument (`takes`)."""
    return [of(Layout)(f"{name}, for each,", layout, {}) for layout in each(name, value, "layouts")]


def matched(layouts: Mapping[str, Layout], zoos: Sequence[Zoo]) -> list[tuple[Layout, Zoo]]:
    """Each layout with its zoo.

    Raises `InputError` where the zoos are not of these architectures and data sets, in their order.
    """
    given, wanted = ([(x.architecture, x.images) for x in of] for of in (zoos, layouts.values()))
    if given != wanted:
        said = [
            ", ".join(
                f"{'an unknown one' if a is None else a.name} on {images or 'unknown images'}" for a, images in of
            )
            for of in (given, wanted)
        ]
        raise InputError(f"the zoos are of {said[0]}, the generator of {said[1]}; give its own")
    return [*zip(layouts.values(), zoos, strict=True)]


def kinds_of(layouts: Iterable[Layout]) -> list[str]:
    """The kinds of tensors that are in any of these layouts."""
    return sorted({kind for layout in layouts for kind in layout.kinds})


def find(layouts: Mapping[str, Layout], architecture: str | Architecture, images: str | None = None) -> Layout:
    """The layout of an architecture, by its name where it is among these; that of another is put together (`unseen`).

    images: the data set of another one; by default that of the first layout. Raises `InputError` for an unknown name
    and for an architecture with a tensor unlike all of these.
    """
    if not isinstance(architecture, Architecture):
        return layouts[choice("architecture", architecture, layouts)]
    known = layouts.get(architecture.name)
    if known is not None and known.architecture == architecture:
        return known
    if images is None:
        images = next(iter(layouts.values())).images
    return unseen(architecture, images, [*layouts.values()])


def write_layouts(folder: Path, stem: str, layouts: Mapping[str, Layout]) -> None:
    """Write the tokenizers of layouts into files that begin with `stem`; `fields_of` are the rest of layouts."""
    for k, layout in enumerate(layouts.values()):
        layout.tokenizer.save(folder / FILE.format(stem, k))


def fields_of(layouts: Mapping[str, Layout]) -> list[dict]:
    """What is to be said of layouts beside their tokenizers, as plain JSON values."""
    return [{"architecture": x.architecture.to_dict(), "images": x.images} for x in layouts.values()]


def read_layouts(bundle: Bundle, stem: str, fields: Sequence[Mapping]) -> list[Layout]:
    """The layouts whose tokenizers `write_layouts` wrote; raises `InputError` for absent or damaged files."""
    return [
        Layout(
            Architecture.from_dict(one["architecture"]),
            one["images"],
            ParameterTokenizer.load(bundle.file(FILE.format(stem, k))),
        )
        for k, one in enumerate(fields)
    ]


def kind_of(layer: Layer) -> str:
    """The name of a tensor without numbers between dots, and how many axes it has: "blocks.#.norm1.weight, 1"."""
    return f"{re.sub(r'(?<![^.])[0-9]+(?![^.])', '#', layer.name)}, {len(layer.shape)}"


def block_of(name: str) -> int:
    """The first number in the name of a tensor, -1 where there is none."""
    found = re.search(r"(?:^|[.])([0-9]+)(?:[.]|$)", name)
    return int(found[1]) if found else -1


def _waves(numbers: Tensor, octaves: int = OCTAVES) -> Tensor:
    """Sines and cosines (n, 2 x octaves) that tell whole numbers (n,) apart."""
    phase = numbers[:, None] * math.pi / 2.0 ** torch.arange(octaves)
    return torch.cat((phase.sin(), phase.cos()), 1)


@takes(architecture=of(Architecture))
@fp32()
def unseen(architecture: Architecture, images: str, known: Sequence[Layout]) -> Layout:
    """The layout of an architecture without a zoo: each tensor is normalised as those like it are.

    Like it are tensors of its kind and shape in the known layouts on the same data set; of these it takes the mean
    statistics of those that lie, relative to their network's blocks, nearest to it (and, where variances have different
    offsets in their logarithm, of those with the first one's). Raises `InputError` where there is none.
    """
    with torch.random.fork_rng(devices=[]):
        state = architecture.build().state_dict()
    aliases = tied(state)
    layers, constants = [], {}
    for name, x in state.items():
        if name not in aliases:
            if x.is_floating_point() and x.numel():
                layers.append(Layer(name, tuple(x.shape), x.dtype, log=is_variance(name)))
            else:
                constants[name] = x
    own = [(layer.name, kind_of(layer)) for layer in layers]
    shares = _shares(own)
    candidates = [
        (layout.tokenizer, k, kind, share)
        for layout in known
        if layout.images == images
        for k, (kind, share) in enumerate(zip(layout.kinds, layout.shares, strict=True))
    ]
    alike, *found = zip(
        *(
            _like(layer, kind, share, images, candidates)
            for layer, (_, kind), share in zip(layers, own, shares, strict=True)
        ),
        strict=True,
    )
    layers = [replace(layer, offset=other.offset) for layer, other in zip(layers, alike, strict=True)]
    token_size = known[0].tokenizer.token_size
    tokenizer = ParameterTokenizer(layers, *found, constants, aliases, list(state), token_size)
    return Layout(architecture, images, tokenizer)


def _shares(layers: Sequence[tuple[str, str]]) -> list[float]:
    """Where the block of each tensor, by name and kind, lies among those of its kind: from 0 to 1."""
    blocks: dict[str, list[int]] = {}
    for name, kind in layers:
        blocks.setdefault(kind, []).append(block_of(name))
    ends = {kind: (min(found), max(found)) for kind, found in blocks.items()}
    return [(block_of(name) - ends[kind][0]) / max(1, ends[kind][1] - ends[kind][0]) for name, kind in layers]


def _like(
    layer: Layer, kind: str, share: float, images: str, known: Sequence[tuple[ParameterTokenizer, int, str, float]]
) -> tuple[Layer, Tensor, Tensor, float]:
    """The nearest tensor like this one, and shift, scale and reference from all that are as near.

    known: tokenizers, which of their tensors, its kind, and where its block lies.
    """
    candidates = [
        (abs(place - share), own.layers[k], own.shift[k], own.scale[k], own.log_reference[k])
        for own, k, other, place in known
        if other == kind and own.layers[k].shape == layer.shape
    ]
    if not candidates:
        raise InputError(
            f"no architecture that was learned on {shown(images)} has a tensor like {layer.name!r} of the shape "
            f"{layer.shape}; add a zoo of one that has"
        )
    least = min(far for far, *_ in candidates)
    nearest = [one for far, *one in candidates if far <= least + 1e-6]
    first = nearest[0][0]
    _, shifts, scales, references = zip(*(one for one in nearest if one[0].offset == first.offset), strict=True)
    return first, torch.stack(shifts).mean(0), torch.stack(scales).mean(0), sum(references) / len(references)
