"""DeepWeightFlow: a small network that learns the flow from noise to the flat weights of aligned networks.

arXiv 2601.05052; sizes and settings are those of the released code for its MNIST networks. Shapes: N networks of P
parameters, D coordinates of each: its principal components or, without PCA, its parameters themselves (D = P).
Deviations: BatchNorm's statistics are measured on training images, where the release takes test images; the weights
kept are those of the last step, where the release keeps those of the lowest loss of a single batch and may stop early;
each step draws its batch anew, rather than epoch by epoch; the PCA is exact, not incremental; units are aligned by
`rpglib.analysis.alignment.align`, which takes the layers in a fixed order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import trange

from rpglib.analysis.accuracy import load
from rpglib.analysis.alignment import align, hidden_layers
from rpglib.analysis.connectivity import recalibrated
from rpglib.errors import InputError, check_types, whole_number
from rpglib.model.config import MOST_SIZE
from rpglib.runtime.arguments import flag, of, takes, whole
from rpglib.runtime.hardware import fp32
from rpglib.runtime.randomness import stream
from rpglib.runtime.state_dicts import Checkpoint, flatten, tied, unflatten
from rpglib.zoo.images import Split
from rpglib.zoo.store import Zoo

if TYPE_CHECKING:
    from sklearn.decomposition import PCA

BETAS, WEIGHT_DECAY, LAST_RATE = (0.9, 0.95), 1e-5, 1e-6
"""Of AdamW, whose rate falls from `learning_rate` to `LAST_RATE` by a cosine."""
SWEEPS = 100
"""Of the alignment, at most."""


@dataclass(frozen=True)
class DeepWeightFlowConfig:
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
        check_types(self)
        for name in ("width", "time_width", "batch_size", "sampling_steps"):
            whole_number(f"DeepWeightFlowConfig.{name}", getattr(self, name), 1, MOST_SIZE)
        whole_number("DeepWeightFlowConfig.steps", self.steps, 1)
        if self.components is not None:
            whole_number("DeepWeightFlowConfig.components, if not None,", self.components, 1, MOST_SIZE)
        if self.width % 2:
            raise InputError(f"DeepWeightFlowConfig.width must be even, the middle layer has half of it: {self.width}")
        if self.learning_rate <= 0:
            raise InputError("DeepWeightFlowConfig.learning_rate must be above 0, or nothing would learn")
        if self.sigma <= 0 or self.path_noise < 0:
            raise InputError("DeepWeightFlowConfig.sigma must be above 0, and path_noise at least 0")
        if not 0 <= self.dropout < 1:
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


class DeepWeightFlow:
    """A trained flow, made by `fit_deep_weight_flow`.

    network: predicts the velocity; losses: one per training step; pca: from parameters to coordinates and back, None
    without. What is not generated, BatchNorm's statistics too where there are no images to measure them on, is the
    first network's.
    """

    def __init__(
        self,
        config: DeepWeightFlowConfig,
        network: FlowNetwork,
        losses: list[float],
        pca: "PCA | None",
        module: nn.Module,
        first: Checkpoint,
        images: Split | None,
    ):
        self.config, self.network, self.losses, self.pca = config, network, losses, pca
        self._module, self._first, self._images = module, first, images

    @takes(n=whole(1, MOST_SIZE), seed=whole())
    @torch.no_grad()
    def generate(self, n: int, seed: int = 0) -> list[dict[str, Tensor]]:
        """Write `n` networks; number i starts from noise of a random stream of its own, that of the seed and of i.

        The flow is followed by `sampling_steps` steps of equal length of the classical Runge-Kutta method.
        """
        size = self.network.layers[-1].out_features
        generators = [torch.Generator().manual_seed(stream(seed, "network", i)) for i in range(n)]
        x = self.config.sigma * torch.stack([torch.randn(size, generator=g, dtype=torch.float32) for g in generators])
        steps = self.config.sampling_steps
        for k in range(steps):
            x = _runge_kutta(self.network, x, k / steps, 1 / steps)
        weights = x if self.pca is None else torch.from_numpy(self.pca.inverse_transform(x.double().numpy()))
        written = unflatten(weights, _learned(self._module, self._first))
        aliases = tied(self._first)
        found = []
        for i in range(n):
            state = {**self._first, **{name: values[i] for name, values in written.items()}}
            state |= {name: state[source] for name, source in aliases.items()}
            found.append(state if self._images is None else recalibrated(self._module, state, self._images.images))
        return found


@takes(zoo=of(Zoo), config=of(DeepWeightFlowConfig), images=of(Split), seed=whole(), progress=flag)
@fp32()
def fit_deep_weight_flow(
    zoo: Zoo, config: DeepWeightFlowConfig, images: Split | None = None, seed: int = 0, progress: bool = True
) -> DeepWeightFlow:
    """Train a flow on the CPU to the networks of the zoo, whatever their runs and tasks.

    images: TRAINING images on which BatchNorm's statistics are measured afresh in every generated network; without
    them these stay the first network's. With x0 one of N fixed points of noise and x1 a network, paired at random, the
    loss is the mean squared error of the velocity x1 - x0 at (1 - t) x0 + t x1, t uniform between 0 and 1.
    Raises `InputError` for less than two networks, for networks or images that are not finite, for images that are not
    the architecture's, for an architecture that cannot be aligned, and when the loss is no longer finite.
    """
    with torch.random.fork_rng(devices=[]):
        module, networks = zoo.build(), [zoo[i] for i in range(len(zoo))]
    first = networks[0]
    load(module, first)
    if len(zoo) < 2:
        raise InputError("a flow between one network and itself is none; give a zoo of two or more")
    if images is not None:
        if not bool(images.images.isfinite().all()):
            raise InputError("the images hold NaN or infinity; leave those images out")
        recalibrated(module, first, images.images)  # refuses what is not the architecture's before the training
    if config.aligned:
        networks = _aligned(module, networks, zoo.architecture.name)
    weights = flatten(_stacked([_learned(module, network) for network in networks])).float()
    if not bool(weights.isfinite().all()):
        raise InputError("a network holds NaN or infinity, which no flow leads to; leave it out by zoo.subset")
    pca = None
    if config.components is not None:
        from sklearn.decomposition import PCA

        points = weights.double().numpy()
        # An exact decomposition draws nothing.
        pca = PCA(min(config.components, len(zoo) - 1, weights.shape[1]), svd_solver="full").fit(points)
        weights = torch.from_numpy(pca.transform(points)).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "flow network"))  # and of its dropout
        network = FlowNetwork(weights.shape[1], config)
        losses = _train(network, weights, config, seed, progress)
    return DeepWeightFlow(config, network.eval().requires_grad_(False), losses, pca, module, first, images)


def _train(
    network: FlowNetwork, weights: Tensor, config: DeepWeightFlowConfig, seed: int, progress: bool
) -> list[float]:
    """Train on the coordinates (N, D); returns the loss of every step."""
    noise, draws = (torch.Generator().manual_seed(stream(seed, purpose)) for purpose in ("flow noise", "flow batches"))
    sources = config.sigma * torch.randn(weights.shape, generator=noise)
    options = {"betas": BETAS, "weight_decay": WEIGHT_DECAY, "fused": True}
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, **options)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps, LAST_RATE)
    losses = []
    bar = trange(config.steps, desc="train DeepWeightFlow", disable=not progress, mininterval=1.0)
    for step in bar:
        x0, x1 = (x[torch.randperm(len(x), generator=draws)[: config.batch_size]] for x in (sources, weights))
        t = torch.rand(len(x1), 1, generator=draws)
        x = (1 - t) * x0 + t * x1 + config.path_noise * torch.randn(x1.shape, generator=draws)
        loss = F.mse_loss(network(x, t), x1 - x0)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise InputError(f"the loss is not finite at step {step}; lower learning_rate, or scale the weights down")
        loss.backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            bar.set_postfix(loss=f"{sum(losses[-100:]) / len(losses[-100:]):.5f}")
    return losses


def _runge_kutta(velocity: FlowNetwork, x: Tensor, t: float, h: float) -> Tensor:
    """Follow the flow from points (N, D) at time t for the time h, by one step of fourth order."""

    def at(x: Tensor, t: float) -> Tensor:
        return velocity(x, x.new_full((len(x), 1), t))

    k1 = at(x, t)
    k2 = at(x + h / 2 * k1, t + h / 2)
    k3 = at(x + h / 2 * k2, t + h / 2)
    k4 = at(x + h * k3, t + h)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _aligned(module: nn.Module, networks: Sequence[Checkpoint], name: str) -> list[dict[str, Tensor]]:
    try:
        hidden_layers(module)
    except InputError as error:
        raise InputError(f"{name} cannot be aligned; set DeepWeightFlowConfig(aligned=False) ({error})") from None
    return [dict(networks[0]), *(align(module, networks[0], network, SWEEPS) for network in networks[1:])]


def _learned(module: nn.Module, network: Checkpoint) -> dict[str, Tensor]:
    """What of a network is generated: the parameters, in the module's order."""
    return {name: network[name] for name, _ in module.named_parameters()}


def _stacked(networks: Sequence[Checkpoint]) -> dict[str, Tensor]:
    return {name: torch.stack([network[name] for network in networks]) for name in networks[0]}
