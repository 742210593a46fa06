"""The face of every published generator in this package, and what all of them share.

A method is fitted to a zoo and then writes networks: `PDiff.fit(zoo, PDiffConfig(), images).generate(10)`. Networks are
flat vectors of their parameters in the module's order; BatchNorm's statistics are no parameters and are measured
afresh, on training images. Shapes: N networks of P parameters, n networks that are written.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm.auto import trange

from rpglib.analysis.accuracy import answered, load
from rpglib.analysis.alignment import align, hidden_layers
from rpglib.analysis.connectivity import recalibrated
from rpglib.errors import InputError, check_types, shown, whole_number
from rpglib.model.config import MOST_SIZE
from rpglib.model.diffusion import NoiseSchedule
from rpglib.model.samplers import ddpm
from rpglib.runtime.arguments import each, flag, of, takes, whole
from rpglib.runtime.arguments import path as a_path
from rpglib.runtime.bundles import Bundle, intact, read_bundle, write_bundle
from rpglib.runtime.files import save_tensors
from rpglib.runtime.hardware import fp32
from rpglib.runtime.modes import evaluating
from rpglib.runtime.randomness import stream
from rpglib.runtime.state_dicts import Checkpoint, tied
from rpglib.tasks import check_task
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.images import Images, Split, take
from rpglib.zoo.store import Zoo

HEAD, TENSORS = "generator.json", "generator.safetensors"
CALIBRATION = 1024
"""Training images on which BatchNorm's statistics are measured, and validation images on which a method chooses."""
SWEEPS = 100
"""Of the alignment, at most."""
MOST_NETWORKS = 2**16
"""That are written in one call."""


@dataclass(frozen=True)
class GeneratorConfig:
    """Settings of a method: every whole number is a size or a count of one at least, every rate is above 0."""

    def __post_init__(self):
        check_types(self)
        for field in dataclasses.fields(self):
            name, value = f"{type(self).__name__}.{field.name}", getattr(self, field.name)
            if field.type is int:
                whole_number(name, value, 1, MOST_SIZE)
            elif field.name.endswith("rate") and value <= 0:
                raise InputError(f"{name} must be above 0, or nothing would learn")
            elif field.type is float and value < 0:
                raise InputError(f"{name} must be at least 0, not {value}")
            elif field.type == tuple[int, ...]:
                if not isinstance(value, list | tuple) or not value:
                    raise InputError(f"{name} takes a list of whole numbers, one at least, not {shown(value)}")
                widths = tuple(whole_number(f"{name}, for each,", x, 1, MOST_SIZE) for x in value)
                object.__setattr__(self, field.name, widths)


class Target:
    """An architecture whose networks are written: from its networks to a matrix (N, P) and back."""

    def __init__(self, architecture: Architecture):
        with torch.random.fork_rng(devices=[]):
            self.module = architecture.build()
        self.shapes = {name: p.shape for name, p in self.module.named_parameters()}
        self.size = sum(map(math.prod, self.shapes.values()))
        self.aliases = tied(self.module.state_dict())
        self.normalised = any(isinstance(x, nn.BatchNorm1d | nn.BatchNorm2d) for x in self.module.modules())

    def weights(self, networks: Iterable[Checkpoint]) -> Tensor:
        """The parameters (N, P) float32 of networks."""
        rows = [torch.cat([x[name].detach().flatten().float() for name in self.shapes]) for x in networks]
        return torch.stack(rows)

    def stacked(self, weights: Tensor) -> dict[str, Tensor]:
        """The parameters (N, P) of networks side by side: name -> (N, ...)."""
        parts = weights.split([math.prod(shape) for shape in self.shapes.values()], 1)
        return {name: x.reshape(len(x), *shape) for (name, shape), x in zip(self.shapes.items(), parts, strict=True)}

    def networks(self, weights: Tensor, first: Checkpoint) -> list[dict[str, Tensor]]:
        """The state dicts of parameters (N, P); all else is that of `first`."""
        written = {name: x.to(first[name].dtype) for name, x in self.stacked(weights).items()}
        # Memory of their own: what is changed or saved of one network must be nothing of another's.
        found = [
            {name: (written[name][i] if name in written else x).clone() for name, x in first.items()}
            for i in range(len(weights))
        ]
        return [state | {name: state[source] for name, source in self.aliases.items()} for state in found]

    def scales(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and the standard deviation of each tensor over N networks, for each of its parameters: (P,), (P,).

        A tensor of equal numbers has the deviation 1.
        """
        parts = weights.split([math.prod(shape) for shape in self.shapes.values()], 1)
        found = [(x.mean(), x.std(correction=0)) for x in parts]
        mean, std = (
            torch.cat([values[k].expand(x.shape[1]) for values, x in zip(found, parts, strict=True)]) for k in (0, 1)
        )
        return mean.contiguous(), torch.where(std > 0, std, 1.0)


@dataclass(frozen=True)
class Material:
    """What a method learns from: N networks and their parameters (N, P), aligned where asked for, and images.

    tasks (N, bits) int64 where the networks have tasks. seed: of the fit; progress: whether bars are shown.
    """

    networks: list[dict[str, Tensor]]
    weights: Tensor
    tasks: Tensor | None
    images: Images | None
    seed: int
    progress: bool


class WeightGenerator(nn.Module):
    """A published method: `fit` it to a zoo, `generate` networks, keep it by `save_pretrained`.

    losses: of every training step by stage; empty where it was read from files. What is not generated, BatchNorm's
    statistics too where there were no images to measure them on, is the zoo's first network's. A subclass says its
    `method` (its name in messages), its `configuration`, whether it writes for `tasks`, and how it learns (`_learn`)
    and writes (`_written`); its tensors have sizes that follow from the arguments of `__init__` alone.
    """

    method: ClassVar[str]
    configuration: ClassVar[type[GeneratorConfig]]
    tasks: ClassVar[bool] = False

    def __init__(self, config: GeneratorConfig, architecture: Architecture, networks: int, bits: int = 0):
        """networks: of the zoo; bits: of a task, 0 for none."""
        super().__init__()
        self.config, self.architecture, self.zoo_size, self.bits = config, architecture, networks, bits
        self.target = Target(architecture)
        self.first: dict[str, Tensor] = {}
        self.kept: dict[str, Tensor] = {}
        self.losses: dict[str, list[float]] = {}

    def _learn(self, material: Material) -> None:
        raise NotImplementedError

    def _written(self, n: int, task: Tensor | None, seed: int) -> Tensor:
        """The parameters (n, P) of n networks."""
        raise NotImplementedError

    def _encoded(self, weights: Tensor) -> Tensor:
        """What the autoencoder makes of parameters (N, P); only of a method that has one."""
        raise NotImplementedError

    @classmethod
    @takes(zoo=of(Zoo), config=of(GeneratorConfig), images=of(Images), seed=whole(), progress=flag)
    @fp32()
    def fit(
        cls, zoo: Zoo, config: GeneratorConfig, images: Images | None = None, seed: int = 0, progress: bool = True
    ) -> Self:
        """Learn on the CPU to write networks like those of the zoo, whatever their runs; the seed decides all.

        images: `train` measures BatchNorm's statistics in every network that is written, and some methods need it, or
        `validation`, for more; `test` is never read. Raises `InputError` for less than two networks, for networks or
        images that are not finite or not the architecture's, for what the method cannot take, and when a loss is no
        longer finite.
        """
        of(cls.configuration)("config", config, {})
        if len(zoo) < 2:
            raise InputError(f"{cls.method} learns how networks differ; give a zoo of two or more")
        networks = [zoo[i] for i in range(len(zoo))]
        bits = zoo.tasks.shape[1] if cls.tasks and zoo.tasks is not None else 0
        with torch.random.fork_rng(devices=[]):
            zoo.build()  # refuses a zoo that does not know its architecture
            torch.manual_seed(stream(seed, cls.method))
            try:
                self = cls(config, zoo.architecture, len(zoo), bits)
            except (RuntimeError, MemoryError) as error:
                if not any(word in str(error) for word in ("alloc", "overflow", "memory")):
                    raise
                raise InputError(f"{cls.method} of these sizes does not fit into memory; lower them") from None
            load(self.target.module, networks[0])
            self.first = networks[0]
            if images is not None:
                self._keep(images)
            if getattr(config, "aligned", False):
                networks = self._aligned(networks)
            weights = self.target.weights(networks)
            if not bool(weights.isfinite().all()):
                raise InputError("a network holds NaN or infinity, which nothing can learn; leave it out by zoo.subset")
            self._learn(Material(networks, weights, zoo.tasks if bits else None, images, seed, progress))
        return self.eval().requires_grad_(False)

    def _keep(self, images: Images) -> None:
        """Check the images, and keep what is needed of them to write networks."""
        for part in (images.train, images.validation):
            few = take(part, CALIBRATION)
            if not len(few) or not bool(few.images.isfinite().all()):
                raise InputError("there are no images, or they hold NaN or infinity; leave those images out")
            answered(self.target.module.eval(), few.images[:1])
        if self.target.normalised:
            self.kept["calibration"] = take(images.train, CALIBRATION).images

    def _aligned(self, networks: Sequence[Checkpoint]) -> list[dict[str, Tensor]]:
        """The networks with their units in the order nearest to the first one's."""
        module = self.target.module
        try:
            hidden_layers(module)
        except InputError as error:
            own, name = self.configuration.__name__, self.architecture.name
            raise InputError(f"{name} cannot be aligned; set {own}(aligned=False) ({error})") from None
        return [dict(networks[0]), *(align(module, networks[0], network, SWEEPS) for network in networks[1:])]

    @takes(n=whole(1, MOST_NETWORKS), seed=whole())
    @torch.no_grad()
    @fp32()
    def generate(self, n: int, task: Sequence[int] | Tensor | None = None, seed: int = 0) -> list[dict[str, Tensor]]:
        """Write `n` networks, for one task (bits) where the zoo has tasks and the method writes for them.

        Raises `InputError` where a task is missing, or given to a generator that knows none.
        """
        if task is not None and not self.bits:
            raise InputError(f"this {self.method} was fitted to no tasks; leave task out")
        if task is None and self.bits:
            raise InputError(
                f"this {self.method} writes networks for tasks; give one as task=[...] of {self.bits} bits"
            )
        with evaluating(self):
            return self._networks(n, None if task is None else check_task(task, self.bits), seed)

    def _networks(self, n: int, task: Tensor | None, seed: int) -> list[dict[str, Tensor]]:
        return self._whole(self._written(n, task, seed))

    def _whole(self, weights: Tensor) -> list[dict[str, Tensor]]:
        """The networks of parameters (N, P), BatchNorm's statistics measured afresh where there were images."""
        networks = self.target.networks(weights, self.first)
        if "calibration" not in self.kept:
            return networks
        return [recalibrated(self.target.module, network, self.kept["calibration"]) for network in networks]

    @torch.no_grad()
    @fp32()
    def reconstructed(self, networks: Iterable[Checkpoint]) -> list[dict[str, Tensor]]:
        """What the method's autoencoder makes of networks, put into the zoo's order of units where that was learned.

        Raises `InputError` for a method without an autoencoder, and for networks that are not the architecture's.
        """
        if type(self)._encoded is WeightGenerator._encoded:
            raise InputError(f"{self.method} has no autoencoder; take a method that has one")
        networks = list(each("networks", networks, "state dicts"))
        for network in networks:
            load(self.target.module, network)
        if not networks:
            return []
        if getattr(self.config, "aligned", False):
            networks = self._aligned([self.first, *networks])[1:]
        with evaluating(self):
            return self._whole(self._encoded(self.target.weights(networks)))

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """All that a fitted generator holds: what was "learned", the zoo's "first" network, and images that are "kept".

        A tensor that the first network has under two names is there once.
        """
        first = {name: x for name, x in self.first.items() if name not in self.target.aliases}
        return {"learned": self.state_dict(), "first": first, "kept": self.kept}

    @takes(path=a_path)
    def save_pretrained(self, path: str | Path) -> str:
        """Write the generator into the folder `path`, generator.json and one safetensors file; returns their digest."""
        tensors = {f"{part}.{name}": x for part, own in self.parts().items() for name, x in own.items()}
        fields = {
            "method": self.method,
            "config": dataclasses.asdict(self.config),
            "architecture": self.architecture.to_dict(),
            "networks": self.zoo_size,
            "bits": self.bits,
        }
        # As it will be read back: JSON has no tuples, and the digest is of what it has.
        return write_bundle(
            Path(path), HEAD, json.loads(json.dumps(fields)), lambda folder: save_tensors(folder / TENSORS, tensors)
        )

    @classmethod
    @takes(path=a_path)
    def from_pretrained(cls, path: str | Path) -> Self:
        """Read what `save_pretrained` wrote; `InputError` where it is absent, damaged or of another method."""
        return read_bundle(Path(path), HEAD, cls._opened)

    @classmethod
    def _opened(cls, bundle: Bundle) -> Self:
        fields, place = bundle.fields, bundle.folder / HEAD
        if fields.get("method") != cls.method:
            raise InputError(
                f"{place} is of {shown(fields.get('method'))}, not of {cls.method}; read it by its own class"
            )
        with intact(bundle, f"generator of {cls.method}"):
            config, architecture = cls.configuration(**fields["config"]), Architecture.from_dict(fields["architecture"])
            self = cls(config, architecture, fields["networks"], fields["bits"])
            tensors = load_file(bundle.file(TENSORS))
            parts = {
                part: {k.removeprefix(f"{part}."): x for k, x in tensors.items() if k.startswith(f"{part}.")}
                for part in ("learned", "first", "kept")
            }
            self.load_state_dict(parts["learned"])
        first = parts["first"]
        first |= {name: first[source] for name, source in self.target.aliases.items()}
        # In the architecture's order: the file has one of its own.
        self.first = {name: first[name] for name in self.target.module.state_dict()}
        self.kept = parts["kept"]
        return self.eval().requires_grad_(False)


def random_stream(seed: int, purpose: str) -> torch.Generator:
    """The random stream of a purpose, under one seed."""
    return torch.Generator().manual_seed(stream(seed, purpose))


def noise(n: int, size: int, seed: int, purpose: str = "network") -> Tensor:
    """Standard normal noise (n, size); row i is of a random stream of its own, that of the seed and of i."""
    generators = [torch.Generator().manual_seed(stream(seed, purpose, i)) for i in range(n)]
    return torch.stack([torch.randn(size, generator=g, dtype=torch.float32) for g in generators])


def drawn(count: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """The rows of a batch: `batch_size` different ones of `count`, all in a new order where there are no more."""
    return torch.randperm(count, generator=generator)[:batch_size]


def descend(
    module: nn.Module,
    loss_at: Callable[[int], Tensor],
    steps: int,
    learning_rate: float,
    *,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    last_rate: float = 0.0,
    label: str,
    progress: bool,
) -> list[float]:
    """Train by AdamW, whose rate falls to `last_rate` by a cosine; returns the loss of every step.

    Raises `InputError` when the loss is no longer finite.
    """
    options = {"betas": betas, "weight_decay": weight_decay, "fused": True}
    optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate, **options)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, last_rate)
    losses = []
    bar = trange(steps, desc=label, disable=not progress, mininterval=1.0)
    for step in bar:
        loss = loss_at(step)
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


Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, ...), t (B,)) -> the noise in it (B, ...)."""


def denoising_loss(denoise: Denoiser, x0: Tensor, schedule: NoiseSchedule, generator: torch.Generator) -> Tensor:
    """The mean squared error of the noise that is predicted in points (B, ...), each at a random step (Ho et al.)."""
    t = torch.randint(schedule.steps, (len(x0),), generator=generator)
    noise = torch.randn(x0.shape, generator=generator)
    return (denoise(schedule.add_noise(x0, noise, t), t) - noise).square().mean()


def denoised(denoise: Denoiser, shape: Sequence[int], schedule: NoiseSchedule, steps: int, n: int, seed: int) -> Tensor:
    """Points (n, *shape) by `steps` steps of ancestral sampling (DDPM)."""
    rounds = iter(range(steps + 1))

    def draw() -> Tensor:
        return noise(n, math.prod(shape), seed, f"diffusion {next(rounds)}").view(n, *shape)

    def predict(x: Tensor, t: int) -> Tensor:
        return denoise(x, torch.full((n,), t))

    return ddpm(predict, draw(), schedule, steps=steps, prediction="epsilon", draw_noise=draw)


def labelled(part) -> Split:
    """One part of a data set in memory; of one that is read as it is needed, `CALIBRATION` images."""
    return part if isinstance(part, Split) else take(part, CALIBRATION)
