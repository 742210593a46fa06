"""RPG for several architectures: one recurrent model and one denoiser write the tokens of every layout.

Ours; the paper trains a generator for each architecture. What tells architectures apart is where their tokens lie: to
the paper's position embedding comes a learned one of the tensor's kind and shape, of its place in the network, and of
the network as a whole. Each architecture has permutation states of its own. No weight belongs to one token, so that an
architecture without a zoo can be asked for, too.

Shapes: N networks, L tokens of one architecture, F features of a place, H width, P permutation states.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.func import functional_call

from rpglib.errors import InputError, choice, shown
from rpglib.model.config import RPGConfig
from rpglib.model.positions import position_embedding
from rpglib.model.rpg import RPG
from rpglib.runtime.arguments import each, of, path, takes, whole
from rpglib.runtime.bundles import Bundle, intact, read_bundle, write_bundle
from rpglib.runtime.files import save_tensors
from rpglib.runtime.hardware import fp32
from rpglib.runtime.state_dicts import Checkpoint
from rpglib.tokenizer.several import Layout, family, fields_of, find, kinds_of, layouts_of, read_layouts, write_layouts
from rpglib.zoo.architectures import Architecture

STEM = "several"
HEAD, WEIGHTS = f"{STEM}.json", f"{STEM}.safetensors"
HIDDEN = 256
"""Width of the maps from places: they are computed for every token at each step, however few networks that sees."""
MOST_STATES = 2**20
"""Permutation states of one architecture."""


class SeveralRPG(nn.Module):
    """A generator of networks of every architecture that has a layout, and of others whose tensors are like those.

    states: the permutation states of each, 0 for none; `config.permutation_states` stays 0. With
    `config.prototype_gate` the gate of a token follows from its place. Untrained: `rpglib.training.several` trains it.
    Raises `InputError` where layouts do not go together, where tokens are of another size than the configuration's, and
    for a configuration that gives single tokens weights of their own, or networks tasks or conditions.
    """

    @takes(config=of(RPGConfig), layouts=layouts_of)
    @fp32()
    def __init__(self, config: RPGConfig, layouts: Sequence[Layout], states: Sequence[int]):
        super().__init__()
        _check(config)
        self.config, self.layouts, self.kinds = config, family(layouts), kinds_of(layouts)
        states = [whole(0, MOST_STATES)("states, for each,", x, {}) for x in each("states", states, "whole numbers")]
        if len(states) != len(layouts) or (min(states) == 0 < max(states)):
            raise InputError(
                f"states says how many each of {len(layouts)} architectures has, all or none of them 0, not {states}"
            )
        self.states = dict(zip(self.layouts, states, strict=True))
        first, width = layouts[0], config.widths[0]
        everyone = replace(config, permutation_states=sum(states))
        self.shared = RPG.with_positions(everyone, _position(config, first), first.tokenizer)
        if config.prototype_gate:
            # Each architecture's follows from its places: one that belongs to tokens would never learn.
            gate = self.shared.recurrent.gate.detach()
            del self.shared.recurrent.gate
            self.shared.recurrent.register_buffer("gate", gate, persistent=False)
        features = first.places(self.kinds).shape[1]
        self.place = _map(features, width)
        self.network = nn.Linear(features, width)
        self.gate = _map(features, config.widths[-1]) if config.prototype_gate else None
        # Worked out once: every step asks for them.
        for k, layout in enumerate(layouts):
            self.register_buffer(f"_places_{k}", layout.places(self.kinds), persistent=False)
            self.register_buffer(f"_position_{k}", _position(config, layout), persistent=False)

    @property
    def device(self) -> torch.device:
        return self.shared.device

    @takes(architecture=of(str, Architecture), images=of(str))
    def layout(self, architecture: str | Architecture, images: str | None = None) -> Layout:
        """The layout of an architecture, by its name where it was learned; that of another is put together.

        images: the data set of another one; by default that of the first layout. Raises `InputError` for an unknown
        name, for a learned one on another data set, and for an architecture with a tensor unlike all that were learned.
        """
        found = find(self.layouts, architecture, images)
        if images not in (None, found.images):
            raise InputError(f"{found.name} was learned on {found.images}, not on {images}; leave images out")
        return found

    def forward(self, architecture: str, tokens: Tensor, permutation: Tensor | None = None, **options) -> Tensor:
        """`RPG.forward` of checkpoints of one architecture; permutation (N,) counts from its own first state."""
        choice("architecture", architecture, self.layouts)
        if permutation is not None:
            own = self.states[architecture]
            if own and not bool(((permutation >= 0) & (permutation < own)).all()):
                raise InputError(
                    f"the permutation states of {architecture} are 0 to {own - 1}, not {shown(permutation.tolist())}"
                )
            permutation = permutation + self._first(architecture)
        given = {"tokens": tokens, "permutation": permutation, **options}
        return functional_call(self.shared, self._placed(self.layouts[architecture]), kwargs=given)

    def _placed(self, layout: Layout) -> dict[str, Tensor]:
        """What of the shared generator depends on the architecture, by its name there: (L, H) each."""
        if layout is self.layouts.get(layout.name):
            k = [*self.layouts].index(layout.name)
            places, position = getattr(self, f"_places_{k}"), getattr(self, f"_position_{k}")
        else:
            places, position = (
                x.to(self.place[0].weight) for x in (layout.places(self.kinds), _position(self.config, layout))
            )
        found = {"recurrent.position": position + self.place(places) + self.network(places.mean(0))}
        if self.gate is not None:
            found["recurrent.gate"] = 1 + self.gate(places)
        return found

    def _first(self, name: str) -> int:
        """Which of all states is the first of an architecture."""
        names = [*self.layouts]
        return sum(self.states[before] for before in names[: names.index(name)])

    @takes(architecture=of(str, Architecture), images=of(str))
    @torch.no_grad()
    def member(self, architecture: str | Architecture, images: str | None = None) -> RPG:
        """The generator of one architecture as an `RPG` of its own, with a copy of the weights; arguments as `layout`.

        One that was not learned takes the states of the architecture, of those learned on its data set, that shares
        most kinds of tensors with it; of several that of the nearest number of tokens.
        """
        layout = self.layout(architecture, images)
        name = layout.name if layout.name in self.layouts else self._like(layout)
        placed, first, count = self._placed(layout), self._first(name), self.states[name]
        state = self.shared.state_dict() | placed
        if count:
            states = "recurrent.permutation.weight"
            state[states] = state[states][first : first + count]
        with torch.random.fork_rng(devices=[]):
            config = replace(self.config, permutation_states=count)
            found = RPG.with_positions(config, placed["recurrent.position"], layout.tokenizer)
        found.load_state_dict(state)
        return found.to(self.device).eval()

    def _like(self, layout: Layout) -> str:
        def far(name: str) -> tuple[int, int]:
            other = self.layouts[name]
            return -len({*other.kinds} & {*layout.kinds}), abs(len(other) - len(layout))

        return min((name for name, other in self.layouts.items() if other.images == layout.images), key=far)

    def generate(
        self,
        n: int = 1,
        architecture: str | Architecture | None = None,
        *,
        images: str | None = None,
        **options,
    ) -> list[Checkpoint]:
        """Write `n` networks of an architecture: a learned one by its name (default: the first), or any `Architecture`.

        images as in `layout`; options as in `RPG.generate`, where permutation counts from the architecture's own first
        state. Raises `InputError` as both.
        """
        asked = next(iter(self.layouts)) if architecture is None else architecture
        return self.member(asked, images).generate(n, **options)

    @takes(path=path)
    def save_pretrained(self, path: str | Path) -> str:
        """Write weights, layouts and configuration into the folder `path`, all or nothing; returns their digest."""
        fields = {
            "config": self.config.to_dict(),
            "layouts": fields_of(self.layouts),
            "states": [*self.states.values()],
        }

        def write(folder: Path) -> None:
            save_tensors(folder / WEIGHTS, self.state_dict())
            write_layouts(folder, STEM, self.layouts)

        return write_bundle(path, HEAD, fields, write)

    @classmethod
    @takes(path=path)
    def from_pretrained(cls, path: str | Path) -> "SeveralRPG":
        """Read a generator; raises `InputError` where the folder holds none, or a damaged one."""
        folder = Path(path)
        if not (folder / HEAD).exists():
            raise InputError(f"{folder} holds no {HEAD}; give the folder that SeveralRPG.save_pretrained wrote")
        return read_bundle(folder, HEAD, cls._read)

    @classmethod
    def _read(cls, bundle: Bundle) -> "SeveralRPG":
        said = bundle.fields
        with intact(bundle):
            layouts = read_layouts(bundle, STEM, said["layouts"])
            with torch.random.fork_rng(devices=[]):  # what it begins with is written over
                model = cls(RPGConfig.from_dict(said["config"], bundle.folder / HEAD), layouts, said["states"])
            model.load_state_dict(load_file(bundle.file(WEIGHTS)))
        return model.eval()


def _check(config: RPGConfig) -> None:
    if config.permutation_states:
        raise InputError("each architecture has states of its own; leave permutation_states at 0 and give states=")
    if config.told:
        raise InputError("a generator for several architectures knows no tasks or conditions; train one for each")
    for name, own in (("position", "learned"), ("permutation", "gated")):
        if getattr(config, name) == own:
            raise InputError(
                f"{name}={own!r} gives each token of one architecture weights of its own; choose another for several"
            )


def _position(config: RPGConfig, layout: Layout) -> Tensor:
    return position_embedding(layout.tokenizer.positions, config.widths[0], config.position)


def _map(features: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, width))
