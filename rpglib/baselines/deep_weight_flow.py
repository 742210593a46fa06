"""DeepWeightFlow: a small network that learns the flow from noise to the flat weights of aligned networks.

arXiv 2601.05052; sizes and settings are those of the released code for its MNIST networks. Shapes: N networks of P
parameters, D coordinates of each: its principal components or, without PCA, its parameters themselves (D = P).
Deviations: BatchNorm's statistics are measured on training images, where the release takes test images; the weights
kept are those of the last step, where the release keeps those of the lowest loss of a single batch and may stop early;
each step draws its batch anew, rather than epoch by epoch; the PCA is exact, not incremental; units are aligned by
`rpglib.analysis.alignment.align`, which takes the layers in a fixed order.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpglib.baselines.generator import GeneratorConfig, Material, WeightGenerator, descend, drawn, noise, random_stream
from rpglib.errors import InputError, whole_number
from rpglib.model.config import MOST_SIZE

BETAS, WEIGHT_DECAY, LAST_RATE = (0.9, 0.95), 1e-5, 1e-6
"""Of AdamW, whose rate falls from `learning_rate` to `LAST_RATE` by a cosine."""


@dataclass(frozen=True)
class DeepWeightFlowConfig(GeneratorConfig):
    """Size, training and sampling; the defaults are the release's.

    width, time_width: of the network's layers and of its embedding of time; aligned: bring the units of every network
    into the order nearest to the first one's; components: principal components D, N - 1 where that is fewer (N centred
    networks span no more, so that generated ones stay in the affine hull of the zoo's), None for no PCA; sigma:
    standard deviation of the noise that becomes networks; path_noise: of the noise on what lies between.
    """

    width: int = 512
    time_width: int = 64
    dropout: float = 0.1
    aligned: bool = True
    components: int | None = 99
    sigma: float = 0.01
    path_noise: float = 0.001
    steps: int = 30_000
    batch_size: int = 8
    learning_rate: float = 5e-4
    sampling_steps: int = 99

    def __post_init__(self):
        super().__post_init__()
        if self.components is not None:
            whole_number("DeepWeightFlowConfig.components, if not None,", self.components, 1, MOST_SIZE)
        if self.width % 2:
            raise InputError(f"DeepWeightFlowConfig.width must be even, the middle layer has half of it: {self.width}")
        if self.sigma <= 0:
            raise InputError("DeepWeightFlowConfig.sigma must be above 0: noise is what becomes networks")
        if not self.dropout < 1:
            raise InputError(f"DeepWeightFlowConfig.dropout must be at least 0 and below 1, not {self.dropout}")


class FlowNetwork(nn.Module):
    """The velocity (N, D) of points (N, D) at times (N, 1) from 0 (noise) to 1 (networks); zero before training."""

    def __init__(self, coordinates: int, config: DeepWeightFlowConfig):
        super().__init__()
        width, half, time = config.width, config.width // 2, config.time_width
        self.time = nn.Sequential(nn.Linear(1, time), nn.GELU(), nn.Linear(time, time))

        def block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
            return nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.GELU()

        self.layers = nn.Sequential(
            *block(coordinates + time, width),
            nn.Dropout(config.dropout),
            *block(width, half),
            nn.Dropout(config.dropout),
            *block(half, width),
            nn.Linear(width, coordinates),
        )
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.layers(torch.cat((x, self.time(t)), 1))


class DeepWeightFlow(WeightGenerator):
    """A flow between noise and networks: `flow` predicts the velocity, `axes` (D, P) are the principal components.

    Without PCA there are no axes.
    """

    method = "DeepWeightFlow"
    configuration = DeepWeightFlowConfig

    def __init__(self, config: DeepWeightFlowConfig, architecture, networks: int, bits: int = 0):
        super().__init__(config, architecture, networks, bits)
        size, pca = self.target.size, config.components is not None
        coordinates = min(config.components, networks - 1, size) if pca else size
        self.flow = FlowNetwork(coordinates, config)
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64) if pca else None)
        self.register_buffer("axes", torch.zeros(coordinates, size, dtype=torch.float64) if pca else None)

    def _learn(self, material: Material) -> None:
        points = material.weights
        if self.axes is not None:
            from sklearn.decomposition import PCA

            # An exact decomposition draws nothing.
            pca = PCA(len(self.axes), svd_solver="full").fit(points.double().numpy())
            self.mean.copy_(torch.from_numpy(pca.mean_))
            self.axes.copy_(torch.from_numpy(pca.components_))
            points = ((points - self.mean) @ self.axes.T).float()
        self.losses["flow"] = fit_flow(self.flow, points, self.config, material.seed, material.progress)

    def _written(self, n: int, task: Tensor | None, seed: int) -> Tensor:
        """Number i starts from noise of a random stream of its own, that of the seed and of i."""
        size = self.flow.layers[-1].out_features
        x = followed(self.flow, self.config.sigma * noise(n, size, seed), self.config.sampling_steps)
        return x if self.axes is None else x.double() @ self.axes + self.mean


def fit_flow(
    network: FlowNetwork, points: Tensor, config: DeepWeightFlowConfig, seed: int, progress: bool
) -> list[float]:
    """Train on points (N, D), returning the loss of every step.

    With x0 one of N fixed points of noise and x1 a point, paired at random, the loss is the mean
    squared error of the velocity x1 - x0 at (1 - t) x0 + t x1, t uniform between 0 and 1.
    """
    draws = random_stream(seed, "flow batches")
    sources = config.sigma * torch.randn(points.shape, generator=random_stream(seed, "flow noise"))

    def loss_at(step: int) -> Tensor:
        x0, x1 = (x[drawn(len(x), config.batch_size, draws)] for x in (sources, points))
        t = torch.rand(len(x1), 1, generator=draws)
        x = (1 - t) * x0 + t * x1 + config.path_noise * torch.randn(x1.shape, generator=draws)
        return F.mse_loss(network(x, t), x1 - x0)

    options = {"weight_decay": WEIGHT_DECAY, "betas": BETAS, "last_rate": LAST_RATE, "progress": progress}
    return descend(network, loss_at, config.steps, config.learning_rate, label="train DeepWeightFlow", **options)


def followed(velocity: FlowNetwork, x: Tensor, steps: int) -> Tensor:
    """Where points (N, D) are at time 1, by `steps` steps of equal length of the classical Runge-Kutta method."""
    h = 1 / steps

    def at(x: Tensor, t: float) -> Tensor:
        return velocity(x, x.new_full((len(x), 1), t))

    for k in range(steps):
        t = k / steps
        k1 = at(x, t)
        k2 = at(x + h / 2 * k1, t + h / 2)
        k3 = at(x + h / 2 * k2, t + h / 2)
        k4 = at(x + h * k3, t + h)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x
