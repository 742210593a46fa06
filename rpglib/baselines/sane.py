"""SANE: an autoencoder of networks token by token, and the best of many candidates from a kernel density of latents.

Schürholt et al., "Towards Scalable and Versatile Weight Space Learning" (arXiv 2406.09997); the recipe is that of the
released pretrain_sane_cifar10_cnn.py and sample_models.py. Tokens are units padded to one size, with learned positions
of token, layer and place in the layer; each has a latent of its own. The loss is .95 times the masked squared error
plus .05 times the contrast of two views (NT-Xent), weights standardised, networks aligned to the first, views
permutations with multiplicative noise .1. Latents are drawn from a Gaussian kernel density, bandwidth .2; of five
candidates for every network the most accurate on validation images are kept (50 and 10 in the release).
**As released all tokens are drawn with one seed**, so that every candidate comes of one network of the zoo.
Scaled for a CPU, release in brackets: width 64 [1,024], 2 layers [8], latents of 16 values a token [128], one window of
the whole network [64 tokens], batches of 16 [32], views in one order, which is what so few steps learn [5 of 200],
600 steps at 1e-3 [50 epochs at 1e-4, OneCycle].
Other deviations: weight decay is 3e-5, S_KDE30's [3e-9]; candidates are never chosen on training images, which the
release does without validation; the seed is that of `generate`, where the release always takes 42.
Shapes: N networks of P parameters, L tokens of D values, Z values of a token's latent.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rpglib.analysis.accuracy import accuracy, predictions
from rpglib.baselines.generator import CALIBRATION, Material
from rpglib.baselines.hyper_representations import UnitConfig, UnitGenerator, Units, transformer
from rpglib.errors import InputError
from rpglib.zoo.images import take

PROJECTED = 30
"""Width of the contrast's projection."""


@dataclass(frozen=True)
class SaneConfig(UnitConfig):
    """As `UnitConfig`, latents and noise for each token, noise multiplicative.

    aligned: networks to the first one; candidates: for every network that is written.
    """

    width: int = 64
    latent: int = 16
    noise: float = 0.1
    bandwidth: float = 0.2
    aligned: bool = True
    candidates: int = 5


class TokenAutoencoder(nn.Module):
    """Tokens (N, L, D) to latents (N, L, Z) and back."""

    def __init__(self, units: Units, config: SaneConfig):
        super().__init__()
        length, size = units.places.shape
        width, self.latent_shape = config.width, (length, config.latent)
        layer = torch.cat([torch.full((b - a,), k) for k, (a, b, _) in enumerate(units.groups)])
        place = torch.cat([torch.arange(b - a) for a, b, _ in units.groups])
        self.register_buffer("places", torch.stack((torch.arange(length), layer, place)), persistent=False)
        self.position = nn.ModuleList(
            nn.ModuleList(nn.Embedding(int(x.max()) + 1, width) for x in self.places) for _ in range(2)
        )
        for table in self.position.parameters():
            nn.init.normal_(table, std=0.02)
        self.embed, self.compress = nn.Linear(size, width), nn.Linear(width, config.latent)
        self.expand, self.write = nn.Linear(config.latent, width), nn.Linear(width, size)
        self.encoder, self.decoder = transformer(width, config.layers), transformer(width, config.layers)
        self.project = nn.Sequential(
            nn.Flatten(), nn.Linear(length * config.latent, PROJECTED), nn.LayerNorm(PROJECTED), nn.ReLU(),
            nn.Linear(PROJECTED, PROJECTED),
        )  # fmt: skip

    def _positions(self, side: int) -> Tensor:
        return sum(table(places) for table, places in zip(self.position[side], self.places, strict=True))

    def encode(self, tokens: Tensor) -> Tensor:
        return self.compress(self.encoder(self.embed(tokens) + self._positions(0)))

    def decode(self, z: Tensor) -> Tensor:
        return self.write(self.decoder(self.expand(z) + self._positions(1)))


class Sane(UnitGenerator):
    """SANE, which keeps validation images to choose its candidates on."""

    method = "SANE"
    configuration = SaneConfig
    autoencoder_type = TokenAutoencoder

    def _seen(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        return tokens * (1 + self.config.noise * torch.randn(tokens.shape, generator=generator))

    def _learn(self, material: Material) -> None:
        if self.config.candidates > 1:
            if material.images is None:
                raise InputError("SANE chooses candidates on validation images; give images, or set candidates=1")
            part = take(material.images.validation, CALIBRATION)
            self.kept |= {"validation": part.images, "labels": part.labels}
        super()._learn(material)

    def _networks(self, n: int, task: Tensor | None, seed: int) -> list[dict[str, Tensor]]:
        """The n most accurate of n times `candidates`, the best first."""
        candidates = super()._networks(n * self.config.candidates, task, seed)
        if self.config.candidates == 1:
            return candidates
        right = accuracy(predictions(self.target.module, candidates, self.kept["validation"]), self.kept["labels"])
        return [candidates[k] for k in right.argsort(descending=True, stable=True)[:n].tolist()]
