"""The generator: codes, prior, and the layouts of the architectures that it writes.

Shapes: N networks, L chunks, K values of a chunk, C codes of a chunk.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rpglib.errors import InputError, choice, shown
from rpglib.igpg.codes import Codes
from rpglib.igpg.config import IGPGConfig
from rpglib.igpg.prefix import image_features, text_features
from rpglib.igpg.prefix import instruction as sentence_for
from rpglib.igpg.prior import Prior
from rpglib.runtime.arguments import flag, number, of, path, takes, tensor, whole
from rpglib.runtime.bundles import Bundle, intact, read_bundle, write_bundle
from rpglib.runtime.files import save_tensors
from rpglib.runtime.hardware import fp32
from rpglib.runtime.randomness import stream
from rpglib.runtime.state_dicts import Checkpoint
from rpglib.tokenizer.several import Layout, family, fields_of, find, kinds_of, read_layouts, write_layouts
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.images import Images
from rpglib.zoo.store import Zoo

STEM = "igpg"
HEAD, WEIGHTS = f"{STEM}.json", f"{STEM}.safetensors"
PARTS = 2048
"""Chunks that pass the encoder or the decoder at once."""
MOST_NETWORKS = 2**20


class IGPG(nn.Module):
    """Writes networks of every architecture that it learned, and of others whose tensors are like those.

    layouts: of the architectures that are learned; identities: (name of the architecture, run) of each training run;
    datasets: `image_features` by the name of the data set. Untrained: `rpglib.igpg.training` trains codes, then prior.
    Raises `InputError` where two layouts have one name, or there is none.
    """

    @fp32()
    def __init__(
        self,
        config: IGPGConfig,
        layouts: Sequence[Layout],
        identities: Sequence[tuple[str, int]],
        datasets: Mapping[str, Tensor],
    ):
        super().__init__()
        self.config, self.identities = config, [(name, run) for name, run in identities]
        self.layouts, self.kinds = family(layouts), kinds_of(layouts)
        self.datasets = dict(datasets)
        self.codes = Codes(config)
        self.prior = Prior(config, layouts[0].places(self.kinds).shape[1], len(self.identities))
        self.prior.entries.copy_(self.codes.codebook.detach())

    def layout(self, architecture: str | Architecture, images: str | None = None) -> Layout:
        """The layout of an architecture, by its name where it was learned; that of another is put together.

        images: the data set of another one; by default that of the first layout. Raises `InputError` for an unknown
        name and for an architecture with a tensor unlike all that were learned.
        """
        if images is not None:
            choice("data set", images, self.datasets)
        return find(self.layouts, architecture, images)

    @takes(architecture=of(str), run=whole(0))
    def identity(self, architecture: str, run: int) -> int:
        """The identity of a training run; raises `InputError` where it was not learned."""
        if (architecture, run) not in self.identities:
            own = [known for name, known in self.identities if name == architecture]
            raise InputError(f"run {shown(run)} of {shown(architecture)} was not learned; learned are its runs {own}")
        return self.identities.index((architecture, run))

    @takes(networks=of(Zoo, list), layout=of(Layout))
    @torch.no_grad()
    def encode(self, networks: Zoo | list[Checkpoint], layout: Layout) -> Tensor:
        """The codes (N, L, C) of networks, one at least; raises `InputError` for another architecture's."""
        chunks = layout.tokens(networks)
        parts = [self.codes.encode(part) for part in chunks.flatten(0, 1).split(PARTS)]
        return torch.cat(parts).view(*chunks.shape[:2], -1)

    @takes(codes=tensor("N+ L C", "whole"), layout=of(Layout))
    @torch.no_grad()
    def decode(self, codes: Tensor, layout: Layout) -> list[dict[str, Tensor]]:
        """The networks of codes (N, L, C); raises `InputError` where these are not codes of the layout."""
        codes, wanted = codes.long(), (len(layout), self.config.codes)
        if codes.shape[1:] != wanted:
            raise InputError(f"codes of {layout.name} are (N, {wanted[0]}, {wanted[1]}) numbers")
        parts = [self.codes.decode(part) for part in codes.flatten(0, 1).split(PARTS)]
        chunks = torch.cat(parts).view(*codes.shape[:2], -1)
        return [layout.tokenizer.decode(one) for one in chunks]

    def generate(
        self,
        n: int = 1,
        architecture: str | Architecture | None = None,
        instruction: str | None = None,
        *,
        images: str | Images | None = None,
        run: int | None = None,
        seed: int = 0,
        temperature: float = 0.3,
    ) -> list[dict[str, Tensor]]:
        """Write `n` networks.

        architecture: a learned one by its name (default: the first), or an `Architecture`, learned or not.
        instruction: a sentence; by default one that asks for this architecture on this data set. images: a data set
        that was learned, by its name, or any other; by default the architecture's own. run: the training run whose
        like all are to be; by default the prior chooses one for each network, as the instruction lets it, of a learned
        architecture among its own runs. temperature: of the codes, 0 for the likeliest. Network i is the same whatever
        n is.
        Raises `InputError` for what was not learned and cannot be put together.
        """
        codes, _, layout = self.generate_codes(
            n, architecture, instruction, images=images, run=run, seed=seed, temperature=temperature
        )
        return self.decode(codes, layout)

    @takes(n=whole(1, MOST_NETWORKS), run=whole(0), anonymous=flag, seed=whole(), temperature=number(0))
    @torch.no_grad()
    def generate_codes(
        self,
        n: int = 1,
        architecture: str | Architecture | None = None,
        instruction: str | None = None,
        *,
        images: str | Images | None = None,
        run: int | None = None,
        anonymous: bool = False,
        seed: int = 0,
        temperature: float = 0.3,
    ) -> tuple[Tensor, Tensor, Layout]:
        """As `generate`, the codes (n, L, C), identities (n,) and the layout; anonymous: without any identity."""
        name = images if isinstance(images, str) else None
        layout = self.layout(next(iter(self.layouts)) if architecture is None else architecture, name)
        dataset = self._dataset(layout.images if images is None else images)
        if instruction is None:
            asked = images.name if isinstance(images, Images) else images
            instruction = sentence_for(layout.name, asked or layout.images)
        text = text_features([instruction], self.config.text, self.config.text_features).expand(n, -1)
        identity = None
        if run is not None or anonymous:
            chosen = len(self.identities) if anonymous else self.identity(layout.name, run)
            identity = torch.full((n,), chosen)
        generators = [torch.Generator().manual_seed(stream(seed, "network", k)) for k in range(n)]
        places = layout.places(self.kinds)
        own = [k for k, (name, _) in enumerate(self.identities) if name == layout.name]
        among = torch.tensor(own or range(len(self.identities)))
        codes, identity = self.prior.generate(places, text, dataset, identity, temperature, generators, among)
        return codes, identity, layout

    def _dataset(self, images: str | Images) -> Tensor:
        if isinstance(images, Images):
            return image_features(images)
        return self.datasets[choice("data set", images, self.datasets)]

    @takes(path=path)
    def save_pretrained(self, path: str | Path) -> str:
        """Write weights, layouts and configuration into the folder `path`, all or nothing; returns their digest."""
        fields = {
            "config": self.config.to_dict(),
            "layouts": fields_of(self.layouts),
            "identities": self.identities,
            "datasets": {name: x.tolist() for name, x in self.datasets.items()},
        }

        def write(folder: Path) -> None:
            save_tensors(folder / WEIGHTS, self.state_dict())
            write_layouts(folder, STEM, self.layouts)

        return write_bundle(path, HEAD, fields, write)

    @classmethod
    @takes(path=path)
    def from_pretrained(cls, path: str | Path) -> "IGPG":
        """Read a generator; raises `InputError` where the folder holds none, or a damaged one."""
        folder = Path(path)
        if not (folder / HEAD).exists():
            raise InputError(f"{folder} holds no {HEAD}; give the folder that IGPG.save_pretrained wrote")
        return read_bundle(folder, HEAD, cls._read)

    @classmethod
    def _read(cls, bundle: Bundle) -> "IGPG":
        said = bundle.fields
        with intact(bundle):
            layouts = read_layouts(bundle, STEM, said["layouts"])
            datasets = {name: torch.tensor(x) for name, x in said["datasets"].items()}
            with torch.random.fork_rng(devices=[]):  # what it begins with is written over
                model = cls(IGPGConfig.from_dict(said["config"]), layouts, said["identities"], datasets)
            model.load_state_dict(load_file(bundle.file(WEIGHTS)))
        return model.eval()
