"""S_KDE30: an autoencoder of networks as sequences of their units, and a kernel density of its latents.

Schürholt et al., "Hyper-Representations as Generative Models" (arXiv 2209.14733); architecture and losses of the
released def_AE.py, def_encoder_attn.py and def_loss.py, sampling of sample_finetune_auxiliaries.py. A token is what a
unit has: its incoming weights, its bias and, here, its BatchNorm. Each layer's tokens have a linear map of their own;
transformer layers and one more linear map lead to the latent, and mirrored back. The loss is (1 - gamma) times the
squared error, weights standardised, plus gamma times a contrast of two views of each network (NT-Xent), views with
permuted units, noise and erased weights. Networks are drawn from a Gaussian kernel density of the latents of the best
30 %, each dimension for itself, bandwidth 0.002.
**As released every dimension is drawn with the same seed**, so that all of them pick the same network: what comes out
is a training latent with one number added to all its dimensions. `independent_seeds` draws each with its own.
Deviations: the trained configurations are in no repository, so sizes and the strengths of views are ours, for a CPU
(width 48, 2 layers, latents of 64, batches of 16, 600 steps), views in one order by default: with 32 orders such an
autoencoder does not learn within such a length; weights are standardised tensor by tensor; the best are
chosen on validation images, not on test images; the seed is that of `generate`, where the release always takes 42.
Shapes: N networks of P parameters, L tokens of D values, Z values of a latent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpglib.analysis.accuracy import accuracy, predictions
from rpglib.analysis.alignment import hidden_layers, permute
from rpglib.baselines.generator import (
    CALIBRATION,
    GeneratorConfig,
    Material,
    Target,
    WeightGenerator,
    descend,
    drawn,
    random_stream,
)
from rpglib.errors import InputError
from rpglib.runtime.randomness import stream
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.images import take

WEIGHT_DECAY = 3e-5
HEADS = 4
MOST_SEED = 2**32
"""NumPy's seeds lie below it."""


@dataclass(frozen=True)
class UnitConfig(GeneratorConfig):
    """Size, training and sampling of an autoencoder of units and a kernel density.

    latent: Z; gamma, temperature: of the contrast; permutations: orders of units that views are drawn from, 1 for none
    but the order as it is; noise: standard deviation of a view's noise; kept: share of the zoo, the best, that is drawn
    from; bandwidth: of the kernel density; independent_seeds: for each dimension, which the releases lack.
    """

    width: int = 48
    layers: int = 2
    latent: int = 64
    gamma: float = 0.05
    temperature: float = 0.1
    permutations: int = 1
    noise: float = 0.05
    steps: int = 600
    batch_size: int = 16
    learning_rate: float = 1e-3
    kept: float = 0.3
    bandwidth: float = 0.002
    independent_seeds: bool = False

    def __post_init__(self):
        super().__post_init__()
        name = type(self).__name__
        if self.width % HEADS:
            raise InputError(f"{name}.width must be a multiple of {HEADS}, its heads, not {self.width}")
        if not self.gamma <= 1 or not 0 < self.kept <= 1:
            raise InputError(f"{name}.gamma and kept are shares, at most 1, and something must be kept")
        if self.bandwidth <= 0 or self.temperature <= 0:
            raise InputError(f"{name}.bandwidth and temperature must be above 0")


@dataclass(frozen=True)
class HyperRepresentationsConfig(UnitConfig):
    """As `UnitConfig`; erased: share of weights that a view lacks. Noise is added to standardised weights."""

    learning_rate: float = 3e-3
    erased: float = 0.05

    def __post_init__(self):
        super().__post_init__()
        if not self.erased < 1:
            raise InputError(f"HyperRepresentationsConfig.erased is a share below 1, not {self.erased}")


class Units:
    """Where the values of an architecture's units stand: (L, D) places in its flat weights, P where there is none.

    groups: (first token, last token + 1, values) of each layer. A tensor of two axes or more begins a layer with a
    token for each entry of its first axis that is longer than 1, the last one aside: tables of positions (1, n, d) have
    n. Vectors as long as that, biases and norms, belong to it, others are a layer of one token.
    """

    def __init__(self, target: Target):
        layers: list[list[Tensor]] = []
        first = 0
        for shape in target.shapes.values():
            places = torch.arange(first, first + shape.numel())
            first += len(places)
            if len(shape) > 1:
                rows = next((n for n in shape[:-1] if n > 1), 1)
                layers.append([places.view(rows, -1)])
            elif layers and len(layers[-1][0]) == len(places):
                layers[-1].append(places[:, None])
            else:
                layers.append([places[None]])
        tables = [torch.cat(layer, 1) for layer in layers]
        wide = max(table.shape[1] for table in tables)
        self.places = torch.cat([F.pad(table, (0, wide - table.shape[1]), value=target.size) for table in tables])
        self.mask = self.places < target.size
        self.groups, start = [], 0
        for table in tables:
            self.groups.append((start, start + len(table), table.shape[1]))
            start += len(table)
        # Where the value of each parameter stands among all values of tokens.
        self.back = torch.empty(target.size, dtype=torch.int64)
        self.back[self.places[self.mask]] = self.mask.flatten().nonzero()[:, 0]

    def tokens(self, weights: Tensor) -> Tensor:
        """Tokens (N, L, D) of weights (N, P), zero where padded."""
        return F.pad(weights, (0, 1))[:, self.places]

    def weights(self, tokens: Tensor) -> Tensor:
        """Weights (N, P) of tokens (N, L, D)."""
        return tokens.flatten(1)[:, self.back]


def transformer(width: int, layers: int) -> nn.Module:
    """Layers over tokens (N, L, width), each normalised before."""
    layer = nn.TransformerEncoderLayer(width, HEADS, 4 * width, 0.0, F.gelu, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


class UnitAutoencoder(nn.Module):
    """Tokens (N, L, D) to latents (N, Z) and back, with linear maps for each layer's tokens."""

    def __init__(self, units: Units, config: HyperRepresentationsConfig):
        super().__init__()
        length, width = len(units.places), config.width
        self.latent_shape = (config.latent,)
        self.groups, self.size = units.groups, units.places.shape[1]
        self.embed = nn.ModuleList(nn.Linear(values, width) for _, _, values in self.groups)
        self.positions = nn.ParameterList(0.02 * torch.randn(length, width) for _ in range(2))
        self.encoder, self.decoder = transformer(width, config.layers), transformer(width, config.layers)
        self.compress, self.expand = nn.Linear(length * width, config.latent), nn.Linear(config.latent, length * width)
        self.write = nn.ModuleList(nn.Linear(width, values) for _, _, values in self.groups)
        self.project = nn.Sequential(
            nn.Linear(config.latent, config.latent), nn.LayerNorm(config.latent), nn.ReLU(),
            nn.Linear(config.latent, config.latent),
        )  # fmt: skip

    def encode(self, tokens: Tensor) -> Tensor:
        parts = [layer(tokens[:, a:b, :values]) for layer, (a, b, values) in zip(self.embed, self.groups, strict=True)]
        return self.compress(self.encoder(torch.cat(parts, 1) + self.positions[0]).flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        x = self.decoder(self.expand(z).unflatten(1, self.positions[1].shape) + self.positions[1])
        parts = [
            F.pad(layer(x[:, a:b]), (0, self.size - values))
            for layer, (a, b, values) in zip(self.write, self.groups, strict=True)
        ]
        return torch.cat(parts, 1)


class UnitGenerator(WeightGenerator):
    """An autoencoder of units, and the latents of the zoo's best networks, which a kernel density is drawn from.

    A subclass says its `autoencoder_type`, made of (units, config), and what its encoder sees of a view (`_seen`).
    """

    autoencoder_type: ClassVar[type[nn.Module]]

    def __init__(self, config: UnitConfig, architecture: Architecture, networks: int, bits: int = 0):
        super().__init__(config, architecture, networks, bits)
        self.units = Units(self.target)
        self.autoencoder = self.autoencoder_type(self.units, config)
        self.register_buffer("mean", torch.zeros(self.target.size))
        self.register_buffer("std", torch.zeros(self.target.size))
        self.register_buffer("latents", torch.zeros(best_count(config.kept, networks), *self.autoencoder.latent_shape))

    def _seen(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """What the encoder sees of tokens (N, L, D) in training."""
        raise NotImplementedError

    def _learn(self, material: Material) -> None:
        config, mask, count = self.config, self.units.mask, len(material.weights)
        rows = best(self.target, material, len(self.latents), self.method)
        self.mean, self.std = self.target.scales(material.weights)
        x = (material.weights - self.mean) / self.std
        orders = permuted_places(self.target, config.permutations, random_stream(material.seed, "orders"))
        draws = random_stream(material.seed, "unit batches")

        def loss_at(step: int) -> Tensor:
            batch = x[drawn(count, config.batch_size, draws)]
            error, projected = 0.0, []
            for _ in range(2):
                chosen = orders[torch.randint(len(orders), (len(batch),), generator=draws)]
                whole = self.units.tokens(batch.gather(1, chosen))
                z = self.autoencoder.encode(self._seen(whole, draws) * mask)
                error = error + (self.autoencoder.decode(z) - whole)[:, mask].square().mean() / 2
                projected.append(self.autoencoder.project(z))
            return (1 - config.gamma) * error + config.gamma * contrast(*projected, config.temperature)

        self.losses["autoencoder"] = descend(
            self.autoencoder,
            loss_at,
            config.steps,
            config.learning_rate,
            weight_decay=WEIGHT_DECAY,
            label=f"train {self.method}",
            progress=material.progress,
        )
        with torch.no_grad():
            self.latents = self.autoencoder.eval().encode(self.units.tokens(x[rows]))

    def _written(self, n: int, task: Tensor | None, seed: int) -> Tensor:
        config = self.config
        z = kernel_density(self.latents.flatten(1), config.bandwidth, n, seed, config.independent_seeds)
        return self._decoded(z.view(n, *self.latents.shape[1:]))

    def _decoded(self, z: Tensor) -> Tensor:
        return self.units.weights(self.autoencoder.decode(z)) * self.std + self.mean

    def _encoded(self, weights: Tensor) -> Tensor:
        return self._decoded(self.autoencoder.encode(self.units.tokens((weights - self.mean) / self.std)))


class HyperRepresentations(UnitGenerator):
    """S_KDE30, with the same seed for all dimensions unless its configuration says otherwise."""

    method = "S_KDE30"
    configuration = HyperRepresentationsConfig
    autoencoder_type = UnitAutoencoder

    def _seen(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        there = torch.rand(tokens.shape, generator=generator) >= self.config.erased
        return (tokens + self.config.noise * torch.randn(tokens.shape, generator=generator)) * there


def kernel_density(latents: Tensor, bandwidth: float, n: int, seed: int, independent: bool) -> Tensor:
    """Latents (n, Z) from a Gaussian kernel density of each dimension of latents (N, Z).

    With one seed for all, not each its own, a sample is one of `latents` with one number added to all dimensions.
    """
    from sklearn.neighbors import KernelDensity

    columns = []
    for k, column in enumerate(latents.double().T.numpy()):
        own = stream(seed, "kernel density", k if independent else 0) % MOST_SEED
        density = KernelDensity(bandwidth=bandwidth).fit(column[:, None])
        columns.append(torch.from_numpy(density.sample(n, random_state=own)))
    return torch.cat(columns, 1).to(latents.dtype)


def contrast(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """NT-Xent (Chen et al. 2020) of projections a, b (N, Z) of two views of N networks."""
    both = F.normalize(torch.cat((a, b)), dim=1)
    likeness = (both @ both.T / temperature).fill_diagonal_(-torch.inf)
    other = torch.arange(len(both)).roll(len(a))
    return F.cross_entropy(likeness, other)


def best_count(share: float, networks: int) -> int:
    """How many of a zoo's networks the best share is, two at least."""
    return max(2, round(share * networks))


def best(target: Target, material: Material, count: int, method: str) -> Sequence[int]:
    """The rows of the `count` networks that are most accurate on validation images; `InputError` without images."""
    networks = material.networks
    if count >= len(networks):
        return range(len(networks))
    if material.images is None:
        raise InputError(f"{method} keeps the best of the zoo on validation images; give images, or kept=1.0")
    part = take(material.images.validation, CALIBRATION)
    right = accuracy(predictions(target.module, networks, part.images), part.labels)
    return right.argsort(descending=True, stable=True)[:count].tolist()


def permuted_places(target: Target, count: int, generator: torch.Generator) -> Tensor:
    """Places (count, P) in flat weights that put hidden units into random orders; the first is as it is.

    Raises `InputError` for an architecture whose units cannot be permuted, unless count is 1.
    """
    as_it_is = torch.arange(target.size)
    if count == 1:
        return as_it_is[None]
    try:
        layers = hidden_layers(target.module)
    except InputError as error:
        raise InputError(f"these networks have no views of other orders; set permutations=1 ({error})") from None
    # In float64, which holds every place; a permuted network of places says where each value comes from.
    state = target.module.state_dict()
    numbered = target.networks(as_it_is[None].double(), {k: x.double() for k, x in state.items()})[0]
    module = target.module.double()
    try:
        found = [as_it_is]
        for _ in range(count - 1):
            orders = [torch.randperm(layer.units, generator=generator) for layer in layers]
            moved = permute(module, numbered, orders)
            found.append(torch.cat([moved[name].flatten() for name in target.shapes]).long())
    finally:
        module.float()
    return torch.stack(found)
