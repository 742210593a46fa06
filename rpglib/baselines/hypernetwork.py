"""A plain hypernetwork: a random state, and a task where there is one, to weights by a perceptron.

Ha et al. (arXiv 1609.09106) with a state as in von Oswald et al. (arXiv 1906.00695): two hidden layers write all
weights of a network at once. It is trained through the images alone: what it writes must classify training images. Of
the zoo it takes the architecture and each tensor's mean and deviation, in which it writes, and its tasks; no weight of
the zoo is learned. Nothing asks its networks to differ.
Deviations: sizes and training are ours; the last layer's bias starts as noise, so that its first network is a random
one and units are not all alike; BatchNorm normalises by the batch in training, and its statistics are measured on
training images afterwards.
Shapes: N networks of P parameters, B images of a step, Z values of a state.
"""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, replace_all_batch_norm_modules_, vmap

from rpglib.baselines.generator import (
    GeneratorConfig,
    Material,
    Target,
    WeightGenerator,
    descend,
    labelled,
    noise,
    random_stream,
)
from rpglib.errors import InputError
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.images import Images, Split


@dataclass(frozen=True)
class HypernetworkConfig(GeneratorConfig):
    """state: Z; width: of the hidden layers; networks, batch_size: networks of a step, and images that each sees."""

    state: int = 16
    width: int = 64
    networks: int = 4
    batch_size: int = 64
    steps: int = 500
    learning_rate: float = 3e-3


class Hypernetwork(WeightGenerator):
    """States (N, Z), with a task's bits as -1 and 1 behind them, to weights (N, P)."""

    method = "hypernetwork"
    configuration = HypernetworkConfig
    tasks = True

    def __init__(self, config: HypernetworkConfig, architecture: Architecture, networks: int, bits: int = 0):
        super().__init__(config, architecture, networks, bits)
        size, width = self.target.size, config.width
        self.layers = nn.Sequential(
            nn.Linear(config.state + bits, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, size)
        )
        nn.init.normal_(self.layers[-1].bias)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.zeros(size))

    def forward(self, states: Tensor, tasks: Tensor | None) -> Tensor:
        told = states if tasks is None else torch.cat((states, 2.0 * tasks - 1), 1)
        return self.layers(told) * self.std + self.mean

    def _learn(self, material: Material) -> None:
        if material.images is None:
            raise InputError("a hypernetwork learns from training images alone; give images")
        config, draws = self.config, random_stream(material.seed, "hypernetwork")
        self.mean, self.std = self.target.scales(material.weights)
        images = checked(material.images, self.bits or self.architecture.num_classes)
        # With the batch's own statistics: running ones could not be kept for many networks at once.
        module = replace_all_batch_norm_modules_(Target(self.architecture).module.train())
        ask = vmap(partial(functional_call, module), randomness="different")

        def loss_at(step: int) -> Tensor:
            states = torch.randn(config.networks, config.state, generator=draws)
            chosen = torch.randint(len(images), (config.networks, config.batch_size), generator=draws)
            labels, tasks = images.labels[chosen], None
            if material.tasks is not None:
                tasks = material.tasks[torch.randint(len(material.tasks), (config.networks,), generator=draws)]
                labels = tasks.gather(1, labels)
            weights = self.target.stacked(self(states, tasks))
            answers = ask(weights, (images.images[chosen],))
            return F.cross_entropy(answers.flatten(0, 1), labels.flatten())

        self.losses["images"] = descend(
            self, loss_at, config.steps, config.learning_rate, label="train hypernetwork", progress=material.progress
        )

    def _written(self, n: int, task: Tensor | None, seed: int) -> Tensor:
        """Number i has a state of a random stream of its own, that of the seed and of i."""
        return self(noise(n, self.config.state, seed), None if task is None else task.expand(n, -1))


def checked(images: Images, classes: int) -> Split:
    """The training images; `InputError` where their labels are not of so many classes."""
    part = labelled(images.train)
    if not 0 <= int(part.labels.min()) <= int(part.labels.max()) < classes:
        raise InputError(f"the images' labels must lie in 0..{classes - 1}; give those that the zoo was trained on")
    return part
