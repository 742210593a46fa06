"""p-diff for whole networks: an autoencoder on flat weights, and diffusion in the space of its latents.

Wang et al. (arXiv 2402.13144); the recipe is that of the released workspace/full/mnist_cnnmedium.py. Weights are
normalised tensor by tensor and padded; the loss is the mean squared error alone, with noise on input and latent.
Scaled for a CPU, release in brackets: channels of the autoencoder 8, 16, 32, 32, 4 [64, 128, 256, 256, 32], of the
diffusion 16, 32, 64 [64, 128, 256, 512], latents of 64 [256], batches of 10 [50], 1,200 steps [2,000] and then 2,000
[8,000], at the higher rates that the shorter training wants [2e-5, 1e-4].
Other deviations: latents are centred and scaled before diffusion, as the authors advise where whole networks fail;
networks are sampled together and in evaluation mode, where the release leaves BatchNorm in training mode, one network
a batch; statistics of BatchNorm in the target are measured on training images, not generated.
Shapes: N networks of P parameters, Z values of a latent.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from rpglib.baselines.generator import (
    GeneratorConfig,
    Material,
    WeightGenerator,
    denoised,
    denoising_loss,
    descend,
    drawn,
    random_stream,
)
from rpglib.errors import InputError
from rpglib.model.denoiser import TimeEmbedding
from rpglib.model.diffusion import NoiseSchedule

WEIGHT_DECAY = 1e-5
KERNEL = 7


@dataclass(frozen=True)
class PDiffConfig(GeneratorConfig):
    """Sizes and training of the autoencoder, then of the diffusion.

    channels: of the encoder's convolutions, each of which halves the length; input_noise, latent_noise: standard
    deviations in training; diffusion_channels: down to the middle, mirrored behind it; sampling_steps: of the 1,000 of
    the schedule.
    """

    channels: tuple[int, ...] = (8, 16, 32, 32, 4)
    latent: int = 64
    input_noise: float = 0.001
    latent_noise: float = 0.1
    steps: int = 1200
    batch_size: int = 10
    learning_rate: float = 3e-3
    diffusion_channels: tuple[int, ...] = (16, 32, 64)
    diffusion_steps: int = 2000
    diffusion_learning_rate: float = 1e-3
    sampling_steps: int = 1000

    def __post_init__(self):
        super().__post_init__()
        if self.sampling_steps > NoiseSchedule.steps:
            raise InputError(f"PDiffConfig.sampling_steps is at most {NoiseSchedule.steps}, not {self.sampling_steps}")


class Autoencoder(nn.Module):
    """Flat weights (N, size) to latents (N, Z) and back, by convolutions of stride 2; size a multiple of 2^layers."""

    def __init__(self, size: int, config: PDiffConfig):
        super().__init__()
        channels, layers = config.channels, len(config.channels)
        self.shape = (channels[-1], size // 2**layers)
        down = [
            nn.Sequential(nn.Conv1d(a, b, KERNEL, stride=2, padding=3), nn.BatchNorm1d(b), nn.LeakyReLU())
            for a, b in zip((1, *channels), channels, strict=False)
        ]
        turned = channels[::-1]
        up = [
            nn.Sequential(nn.ConvTranspose1d(a, b, KERNEL, 2, 3, output_padding=1), nn.BatchNorm1d(b), nn.ELU())
            for a, b in zip(turned, (*turned[1:], turned[-1]), strict=True)
        ]
        inner = self.shape[0] * self.shape[1]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(inner, config.latent))
        self.decoder = nn.Sequential(
            nn.Linear(config.latent, inner),
            nn.Unflatten(1, self.shape),
            *up,
            nn.Conv1d(channels[0], 1, KERNEL, padding=3),
        )

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x[:, None])

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)[:, 0]


class LatentDenoiser(nn.Module):
    """The noise in latents (B, Z) at steps t (B,): convolutions over the latent as one channel, with skips added.

    The embedding of time, one value for each place, is added before every convolution.
    """

    def __init__(self, latent: int, channels: tuple[int, ...]):
        super().__init__()
        self.time = TimeEmbedding(latent)

        def block(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv1d(a, b, KERNEL, padding=3), nn.BatchNorm1d(b), nn.ELU())

        self.down = nn.ModuleList(block(a, b) for a, b in zip((1, *channels), channels, strict=False))
        turned = channels[::-1]
        self.up = nn.ModuleList(block(a, b) for a, b in pairwise(turned))
        self.last = nn.Conv1d(channels[0], 1, KERNEL, padding=3)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        x, time = x[:, None], self.time(t)[:, None]
        skips = []
        for layer in self.down:
            x = layer(x + time)
            skips.append(x)
        skips.pop()
        for layer in self.up:
            x = layer(x + time) + skips.pop()
        return self.last(x + time)[:, 0]


class PDiff(WeightGenerator):
    """An autoencoder of networks and a denoiser of its latents, which are centred and scaled between the two."""

    method = "p-diff"
    configuration = PDiffConfig

    def __init__(self, config: PDiffConfig, architecture, networks: int, bits: int = 0):
        super().__init__(config, architecture, networks, bits)
        size, multiple = self.target.size, 2 ** len(config.channels)
        self.padding = -size % multiple
        self.autoencoder = Autoencoder(size + self.padding, config)
        self.denoiser = LatentDenoiser(config.latent, config.diffusion_channels)
        for name, length in (("mean", size), ("std", size), ("centre", config.latent), ("scale", 1)):
            self.register_buffer(name, torch.zeros(length))

    def _learn(self, material: Material) -> None:
        config, count = self.config, len(material.weights)
        self.mean, self.std = self.target.scales(material.weights)
        x = nn.functional.pad((material.weights - self.mean) / self.std, (0, self.padding))
        draws = random_stream(material.seed, "p-diff batches")

        def reconstruction(step: int) -> Tensor:
            rows = x[drawn(count, config.batch_size, draws)]
            z = self.autoencoder.encode(rows + config.input_noise * torch.randn(rows.shape, generator=draws))
            z = z + config.latent_noise * torch.randn(z.shape, generator=draws)
            return (self.autoencoder.decode(z) - rows)[:, : self.target.size].square().mean()

        options = {"weight_decay": WEIGHT_DECAY, "progress": material.progress}
        self.losses["autoencoder"] = descend(
            self.autoencoder, reconstruction, config.steps, config.learning_rate, label="p-diff: autoencoder", **options
        )
        with torch.no_grad():
            z = self.autoencoder.eval().encode(x)
        self.centre, self.scale = z.mean(0), (z - z.mean(0)).square().mean().sqrt().clamp(min=1e-6).view(1)
        z = (z - self.centre) / self.scale

        def denoising(step: int) -> Tensor:
            return denoising_loss(self.denoiser, z[drawn(count, config.batch_size, draws)], NoiseSchedule(), draws)

        self.losses["diffusion"] = descend(
            self.denoiser,
            denoising,
            config.diffusion_steps,
            config.diffusion_learning_rate,
            label="p-diff: diffusion",
            **options,
        )

    def _written(self, n: int, task: Tensor | None, seed: int) -> Tensor:
        """Number i draws all its noise from random streams of its own."""
        steps = self.config.sampling_steps
        z = denoised(self.denoiser, (self.config.latent,), NoiseSchedule(), steps, n, seed)
        return self._decoded(z * self.scale + self.centre)

    def _decoded(self, z: Tensor) -> Tensor:
        return self.autoencoder.decode(z)[:, : self.target.size] * self.std + self.mean

    def _encoded(self, weights: Tensor) -> Tensor:
        x = nn.functional.pad((weights - self.mean) / self.std, (0, self.padding))
        return self._decoded(self.autoencoder.encode(x))
