"""D2NWG: latent diffusion of networks whose condition is the data set that they are for.

Soro et al. (arXiv 2402.18153); the recipe is that of the released stage1/configs/base_config_kl.yaml, made for networks
of 2,864 weights. A linear map makes an image of a network; a convolutional variational autoencoder compresses it; a
U-Net denoises the latent, laid out as an image of one channel, beside a second channel that encodes the data set. Loss
of the autoencoder: negative log-likelihood of the absolute error with a learned scale, 1e-6 times the divergence, and
1,000 times the mean squared error.
Scaled for a CPU, release in brackets: images of 32 x 32 [64 x 64], autoencoder of 16 channels [128], U-Net of 16
[256] over the latent's 16 x 16 [32 x 32], batches of 16 [64], 500 and 800 steps [3,000 and 1,000 epochs].
Other deviations: the data set's features are pixels pooled to 8 x 8, of five training images per class, in place of
CLIP's; of a binary task they are the means over the classes that share an answer; weights are standardised tensor by
tensor, not divided by one number; AdamW with a cosine rate, without warm-up; of the schedule's 1,024 steps 128 are
sampled. On one data set the condition is a constant.
Shapes: N networks of P parameters, C classes of F features, latents (N, 4, S, S).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpglib.baselines.generator import (
    GeneratorConfig,
    Material,
    WeightGenerator,
    denoised,
    denoising_loss,
    descend,
    drawn,
    labelled,
    random_stream,
)
from rpglib.errors import InputError
from rpglib.model.denoiser import TimeEmbedding
from rpglib.model.diffusion import NoiseSchedule
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.images import Images

SCHEDULE = NoiseSchedule(1024, 0.0015, 0.0155)
BETAS = (0.5, 0.9)
DIVERGENCE, SQUARED = 1e-6, 1000.0
"""Weights in the autoencoder's loss."""
LATENT, HALVED, GROUPS = 4, 4, 8
"""Channels of a latent, how many times smaller than the image it is, and groups of a normalisation."""
SHOTS, POOLED = 5, 8
"""Training images of each class that stand for a data set, and pixels along a side of their features."""


@dataclass(frozen=True)
class D2NWGConfig(GeneratorConfig):
    """Sizes and training of the autoencoder, then of the diffusion.

    side: of the image that a network becomes, a multiple of 8; channels: of the autoencoder; diffusion_channels: of
    the U-Net; both multiples of 8.
    """

    side: int = 32
    channels: int = 16
    steps: int = 500
    batch_size: int = 16
    learning_rate: float = 1e-3
    diffusion_channels: int = 16
    diffusion_steps: int = 800
    diffusion_learning_rate: float = 1e-3
    sampling_steps: int = 128

    def __post_init__(self):
        super().__post_init__()
        for name in ("side", "channels", "diffusion_channels"):
            if getattr(self, name) % 8:
                raise InputError(f"D2NWGConfig.{name} must be a multiple of 8, not {getattr(self, name)}")
        if self.sampling_steps > SCHEDULE.steps:
            raise InputError(f"D2NWGConfig.sampling_steps is at most {SCHEDULE.steps}, not {self.sampling_steps}")


class ResidualBlock(nn.Module):
    """Two normalised convolutions of images (B, C, S, S) and a skip; `time` (B, T) moves what is between them."""

    def __init__(self, inputs: int, outputs: int, time: int = 0):
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(GROUPS, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.second = nn.Sequential(nn.GroupNorm(GROUPS, outputs), nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.time = nn.Linear(time, outputs) if time else None

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        h = self.first(x)
        if self.time is not None:
            h = h + self.time(time)[:, :, None, None]
        return self.skip(x) + self.second(h)


class VariationalAutoencoder(nn.Module):
    """Flat weights (N, P) to means and log variances of latents (N, 4, S, S), and latents back to weights."""

    def __init__(self, size: int, config: D2NWGConfig):
        super().__init__()
        c, side = config.channels, config.side
        self.encoder = nn.Sequential(
            nn.Linear(size, side**2), nn.Unflatten(1, (1, side, side)), nn.Conv2d(1, c, 3, padding=1),
            ResidualBlock(c, c), nn.Conv2d(c, c, 3, 2, 1), ResidualBlock(c, c), nn.Conv2d(c, c, 3, 2, 1),
            ResidualBlock(c, 2 * c), nn.GroupNorm(GROUPS, 2 * c), nn.SiLU(), nn.Conv2d(2 * c, 2 * LATENT, 3, padding=1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(LATENT, 2 * c, 3, padding=1), ResidualBlock(2 * c, c),
            nn.Upsample(scale_factor=2), nn.Conv2d(c, c, 3, padding=1), ResidualBlock(c, c),
            nn.Upsample(scale_factor=2), nn.Conv2d(c, c, 3, padding=1), ResidualBlock(c, c),
            nn.GroupNorm(GROUPS, c), nn.SiLU(), nn.Conv2d(c, 1, 3, padding=1), nn.Flatten(), nn.Linear(side**2, size),
        )  # fmt: skip
        self.log_scale = nn.Parameter(torch.zeros(()))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return mean, log_variance.clamp(-30, 20)

    def loss(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of weights (N, P) by a latent drawn for each."""
        mean, log_variance = self.encode(x)
        z = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=generator)
        error = self.decoder(z) - x
        likelihood = (error.abs() / self.log_scale.exp() + self.log_scale).sum() / len(x)
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum() / 2 / len(x)
        return likelihood + DIVERGENCE * divergence + SQUARED * error.square().mean()


class UNet(nn.Module):
    """The noise in images (B, 1, S, S) at steps t (B,), given a second channel (1 or B, 1, S, S)."""

    def __init__(self, channels: int):
        super().__init__()
        c, time = channels, 4 * channels
        self.time = TimeEmbedding(time)
        self.first = nn.Conv2d(2, c, 3, padding=1)
        self.down = nn.ModuleList((ResidualBlock(c, c, time), ResidualBlock(c, 2 * c, time)))
        self.halve = nn.Conv2d(c, c, 3, 2, 1)
        self.norm, self.attention = nn.GroupNorm(GROUPS, 2 * c), nn.MultiheadAttention(2 * c, 2, batch_first=True)
        self.middle = ResidualBlock(2 * c, 2 * c, time)
        self.up = nn.ModuleList((ResidualBlock(4 * c, c, time), ResidualBlock(2 * c, c, time)))
        self.last = nn.Sequential(nn.GroupNorm(GROUPS, c), nn.SiLU(), nn.Conv2d(c, 1, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        time = self.time(t)
        high = self.down[0](self.first(torch.cat((x, condition.expand_as(x)), 1)), time)
        low = self.down[1](self.halve(high), time)
        tokens = self.norm(low).flatten(2).mT
        middle = low + self.attention(tokens, tokens, tokens, need_weights=False)[0].mT.unflatten(2, low.shape[2:])
        h = self.up[0](torch.cat((self.middle(middle, time), low), 1), time)
        return self.last(self.up[1](torch.cat((F.interpolate(h, scale_factor=2.0), high), 1), time))


class DatasetEncoder(nn.Module):
    """Features (B, C, 5, F) of the images of C classes to a channel (B, 1, S, S)."""

    def __init__(self, classes: int, features: int, side: int):
        super().__init__()
        self.mix = nn.Linear(classes * SHOTS, LATENT)
        self.draw = nn.Sequential(nn.LeakyReLU(), nn.Flatten(), nn.Linear(LATENT * features, side**2))
        self.side = side

    def forward(self, features: Tensor) -> Tensor:
        return self.draw(self.mix(features.flatten(1, 2).mT)).view(-1, 1, self.side, self.side)


class D2NWG(WeightGenerator):
    """A variational autoencoder of networks, a denoiser of its latents, and the encoder of the data set beside them."""

    method = "D2NWG"
    configuration = D2NWGConfig
    tasks = True

    def __init__(self, config: D2NWGConfig, architecture: Architecture, networks: int, bits: int = 0):
        super().__init__(config, architecture, networks, bits)
        # (4, S, S) laid out as (1, 2 S, 2 S).
        self.latent_side = 2 * config.side // HALVED
        features = architecture.channels * POOLED**2
        classes = bits or architecture.num_classes
        self.autoencoder = VariationalAutoencoder(self.target.size, config)
        self.denoiser = UNet(config.diffusion_channels)
        self.dataset = DatasetEncoder(2 if bits else classes, features, self.latent_side)
        self.register_buffer("features", torch.zeros(classes, SHOTS, features))
        for name, length in (("mean", self.target.size), ("std", self.target.size), ("scale", 1)):
            self.register_buffer(name, torch.zeros(length))

    def _learn(self, material: Material) -> None:
        config, count = self.config, len(material.weights)
        if material.images is None:
            raise InputError("D2NWG encodes the data set that networks are for; give images")
        self.features = class_features(material.images, len(self.features))
        self.mean, self.std = self.target.scales(material.weights)
        x = (material.weights - self.mean) / self.std
        draws = random_stream(material.seed, "D2NWG batches")
        self.losses["autoencoder"] = descend(
            self.autoencoder,
            lambda step: self.autoencoder.loss(x[drawn(count, config.batch_size, draws)], draws),
            config.steps,
            config.learning_rate,
            betas=BETAS,
            label="D2NWG: autoencoder",
            progress=material.progress,
        )
        with torch.no_grad():
            z = self.autoencoder.eval().encode(x)[0]
        self.scale = z.std(correction=0).clamp(min=1e-6).view(1)
        z = (z / self.scale).reshape(count, 1, self.latent_side, self.latent_side)
        told = self._features(material.tasks)

        def denoising(step: int) -> Tensor:
            rows = drawn(count, config.batch_size, draws)
            condition = self.dataset(told[rows] if len(told) > 1 else told)
            return denoising_loss(lambda x, t: self.denoiser(x, t, condition), z[rows], SCHEDULE, draws)

        self.losses["diffusion"] = descend(
            nn.ModuleList((self.denoiser, self.dataset)),
            denoising,
            config.diffusion_steps,
            config.diffusion_learning_rate,
            label="D2NWG: diffusion",
            progress=material.progress,
        )

    def _features(self, tasks: Tensor | None) -> Tensor:
        """What the encoder is told: (1, C, 5, F) of the data set, or (N, 2, 5, F) of tasks (N, bits)."""
        if tasks is None:
            return self.features[None]
        answers = torch.stack((1 - tasks, tasks), 1).float()
        means = answers / answers.sum(2, keepdim=True)
        return torch.einsum("nak,ksf->nasf", means, self.features)

    def _written(self, n: int, task: Tensor | None, seed: int) -> Tensor:
        """Number i draws all its noise from random streams of its own."""
        condition = self.dataset(self._features(None if task is None else task[None]))
        shape = (1, self.latent_side, self.latent_side)
        steps = self.config.sampling_steps
        z = denoised(lambda x, t: self.denoiser(x, t, condition), shape, SCHEDULE, steps, n, seed)
        return self._decoded((z * self.scale).reshape(n, LATENT, self.latent_side // 2, self.latent_side // 2))

    def _decoded(self, z: Tensor) -> Tensor:
        return self.autoencoder.decoder(z) * self.std + self.mean

    def _encoded(self, weights: Tensor) -> Tensor:
        return self._decoded(self.autoencoder.encode((weights - self.mean) / self.std)[0])


def class_features(images: Images, classes: int) -> Tensor:
    """Features (C, 5, F) of five training images of each class; a class with fewer repeats them.

    Raises `InputError` for a class without images.
    """
    part = labelled(images.train)
    found = []
    for k in range(classes):
        own = part.images[part.labels == k][:SHOTS].float()
        if not len(own):
            raise InputError(f"D2NWG wants training images of every class; there is none of class {k}")
        own = own[torch.arange(SHOTS) % len(own)]
        found.append(F.adaptive_avg_pool2d(own, POOLED).flatten(1))
    return torch.stack(found)
