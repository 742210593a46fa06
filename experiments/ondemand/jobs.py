"""The jobs of `22_networks_on_demand`: zoo, specialists, generalists, generators and what they are compared with.

Each is computed once and kept (`experiments.sweeps.cells`), so that a broken run goes on and two run side by side.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from experiments.hypernetwork import fit_hypernetwork
from experiments.ondemand.baselines import WRITERS
from experiments.ondemand.behaviour import UnderCircumstances
from experiments.ondemand.family import CIRCUMSTANCES, KINDS, draw
from experiments.ondemand.networks import (
    TOGETHER,
    accuracies,
    alike,
    generalist,
    plain,
    specialists,
    told,
    turned_back,
)
from experiments.pipeline import images_of, pick, thinned
from experiments.records import plain as as_json
from experiments.sources import code_of
from experiments.sweeps.cells import folder_of
from rpglib.model.config import RPGConfig
from rpglib.model.rpg import RPG
from rpglib.runtime.files import save_tensors
from rpglib.runtime.randomness import stream
from rpglib.tasks.conditions import features
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.loop import TrainConfig, train
from rpglib.zoo.architectures import Architecture, cnn_digits
from rpglib.zoo.collect import Schedule, init_population
from rpglib.zoo.images import Images
from rpglib.zoo.store import Zoo

CODE = code_of(__file__)
NETWORKS = "networks.safetensors"
VIEWS = {"plain": plain, "told": told, "turned back": turned_back}
ALONE = 5
"""Networks that are generated one by one at most, to time one."""


@dataclass(frozen=True)
class Plan:
    """What the jobs share: networks and their trainings, the generator and its training, what is asked for.

    generalist: of one network for all circumstances, which the zoo's `networks` specialists start from (`zoo`), and of
    those that are compared, unless `compared` is another schedule for these; specialists: of those that are trained
    from scratch where it is measured. behaviour: settings of what generators and hypernetwork are asked. asked: as many
    rows of each kind; finetuned: the generalist is fine-tuned for the first so many of each, with these `finetuning`
    schedules by name.
    """

    model: RPGConfig
    train: TrainConfig
    generalist: Schedule
    zoo: Schedule
    specialists: Schedule
    finetuning: Mapping[str, Schedule]
    networks: int
    asked: Mapping[str, int]
    finetuned: int
    behaviour: Mapping
    hypernetwork: int = 256
    sampling_steps: int = 4
    normalisation: str = "residual"
    compared: Schedule | None = None
    images: str = "digits"
    architecture: Architecture = field(default_factory=lambda: Architecture("cnn_digits", 10, 1, 8))

    @property
    def together(self) -> int:
        """Networks that are trained in one pass, and in one job."""
        return TOGETHER if self.architecture.batched else 1

    def rows(self, seed: int) -> Tensor:
        """What is asked for (U, 3): held-out rows by kind, then seen ranges."""
        generator = torch.Generator().manual_seed(stream(seed, "asked"))
        return torch.cat([draw(self.asked[kind], generator, kind) for kind in KINDS])

    def kinds(self) -> list[str]:
        """The kind of each of the rows."""
        return [kind for kind in KINDS for _ in range(self.asked[kind])]


@dataclass(frozen=True)
class Job:
    """zoo_seed: of zoo, rows and specialists, which all seeds share; seed: moves everything else."""

    plan: Plan
    profile: str
    zoo_seed: int
    seed: int
    device: str = "auto"

    def facts(self) -> dict:
        own = {name: value for name, value in vars(self).items() if name not in ("profile", "device")}
        return as_json({**own, "images": self.data.source, "code_of_jobs": CODE})

    @property
    def data(self) -> Images:
        return images_of(self.plan.images)

    def module(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            return self.plan.architecture.build()

    def measured(self, state: Mapping[str, Tensor], rows: Tensor | None = None) -> list[float]:
        """Test accuracies (percent) of networks side by side, each under its row, of all rows by default."""
        rows = self.plan.rows(self.zoo_seed) if rows is None else rows
        return _rounded(accuracies(self.module(), state, rows, self.data.test, self.zoo_seed))

    def other(self, kind: type["Job"], seed: int, **own) -> "Job":
        """Another job of the same plan, zoo and device."""
        return kind(self.plan, self.profile, self.zoo_seed, seed, self.device, **own)

    def start(self) -> dict[str, Tensor]:
        """The generalist that the zoo's specialists start from, side by side with none: (1, ...)."""
        return load_file(folder_of(self.other(Generalist, self.zoo_seed)) / NETWORKS)

    def zoo(self, size: int) -> Zoo:
        """So many of the zoo's specialists with their circumstances: all of them, or some at random by the seed."""
        plan = self.plan
        count = -(-plan.networks // plan.together)
        parts = [self.other(Collected, self.zoo_seed, part=k) for k in range(count)]
        found = [load_file(folder_of(part) / NETWORKS) for part in parts]
        rows = torch.cat([part.rows() for part in parts])
        checkpoints = [
            {name: x[k] for name, x in part.items()} for part in found for k in range(len(part["conditions"]))
        ]
        checkpoints = [{name: x for name, x in one.items() if name != "conditions"} for one in checkpoints]
        facts = {"architecture": plan.architecture, "images": plan.images, "accuracies": None}
        zoo = Zoo.from_checkpoints(
            checkpoints, **facts, runs=range(len(rows)), conditions=rows, described_by=CIRCUMSTANCES
        )
        order = torch.randperm(len(zoo), generator=torch.Generator().manual_seed(stream(self.seed, "subset")))
        return zoo if size == len(zoo) else zoo.subset(order[:size])


@dataclass(frozen=True)
class Generalist(Job):
    """One network for all circumstances of the seen ranges, by default like the specialists.

    view: what it is given; network: another architecture's name; width: of a `cnn_digits`; compared: by whose schedule.
    """

    view: str = "plain"
    network: str | None = None
    width: int | None = None
    compared: bool = False

    def build(self) -> nn.Module:
        own = self.plan.architecture
        channels = own.channels + (1 + len(CIRCUMSTANCES) if self.view == "told" else 0)
        if self.width is not None:
            return cnn_digits(own.num_classes, channels, own.image_size, self.width)
        return replace(own, name=self.network or own.name, channels=channels).build()

    def compute(self, folder: Path) -> dict:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(self.seed, "generalist's start"))
            module = self.build()
        state = {name: x[None].clone() for name, x in module.state_dict().items()}
        began, view = time.process_time(), VIEWS[self.view]
        schedule = self.plan.compared if self.compared and self.plan.compared else self.plan.generalist
        trained = generalist(module, state, self.data.train, schedule, self.seed, view)
        seconds = time.process_time() - began
        save_tensors(folder / NETWORKS, trained)
        rows = self.plan.rows(self.zoo_seed)
        return {
            "accuracy": _rounded(accuracies(module, trained, rows, self.data.test, self.zoo_seed, view)),
            "weights": _weights(trained),
            "cpu_seconds": {"train": seconds},
        }


@dataclass(frozen=True)
class Collected(Job):
    """A part of the zoo: specialists for rows of the seen ranges, fine-tuned from one generalist."""

    part: int = 0

    def rows(self) -> Tensor:
        generator = torch.Generator().manual_seed(stream(self.zoo_seed, "zoo"))
        return draw(self.plan.networks, generator).split(self.plan.together)[self.part]

    def compute(self, folder: Path) -> dict:
        rows, began = self.rows(), time.process_time()
        seed = stream(self.zoo_seed, "zoo", self.part)
        state = alike(self.start(), len(rows))
        found = specialists(self.module(), state, self.data.train, rows, self.plan.zoo, seed, self.plan.together)
        seconds = time.process_time() - began
        save_tensors(folder / NETWORKS, {**found, "conditions": rows})
        return {"cpu_seconds": seconds, "networks": len(rows)}


@dataclass(frozen=True)
class Specialists(Job):
    """Networks that are trained where it is measured, each from a random start of its own; a part of the rows."""

    part: int = 0

    def rows(self) -> Tensor:
        return self.plan.rows(self.zoo_seed).split(self.plan.together)[self.part]

    def compute(self, folder: Path) -> dict:
        rows, began = self.rows(), time.process_time()
        seeds = [stream(self.zoo_seed, "specialist's start", self.part, k) for k in range(len(rows))]
        state = init_population(self.plan.architecture, seeds)
        seed = stream(self.zoo_seed, "specialists", self.part)
        schedule, together = self.plan.specialists, self.plan.together
        found = specialists(self.module(), state, self.data.train, rows, schedule, seed, together)
        seconds = time.process_time() - began
        return {
            "accuracy": self.measured(found, rows),
            "weights": _weights(found),
            "cpu_seconds": {"network": seconds / len(rows)},
        }


@dataclass(frozen=True)
class Generated(Job):
    """A generator. size: specialists of the zoo by which tokens are centred and scaled.

    reconstruction: weight of the loss by their weights, 0 to learn nothing from these; asked: whether the behaviour is
    asked. steps: of the training, by default as planned. gated: whether tokens have gates on their prototypes.
    """

    size: int = 1
    reconstruction: float = 1.0
    asked: bool = True
    diffusion: bool = False
    steps: int | None = None
    gated: bool = True

    def compute(self, folder: Path) -> dict:
        plan, zoo = self.plan, self.zoo(self.size)
        config = replace(_training(self), diffusion=self.diffusion)
        own = None
        if self.asked:
            options = {"reconstruction": self.reconstruction, **plan.behaviour}
            own = UnderCircumstances(self.data.train, plan.architecture, **options)
        shape = replace(plan.model, prototype_gate=self.gated, sampling_steps=steps_of(plan, self.diffusion))
        model = _new(shape, plan, zoo, config.seed)
        result = train(model, zoo, config, folder / "training", pick(self.device), progress=False, behaviour=own)
        (folder / "training" / "training.pt").unlink()
        model.save_pretrained(folder)
        rows = plan.rows(self.zoo_seed)
        seconds = alone(lambda few: generated(plan, model, few, self.diffusion, self.seed), rows)
        found = generated(plan, model, rows, self.diffusion, self.seed)
        return {
            "accuracy": self.measured(found),
            "weights": _weights(found),
            "parameters": sum(p.numel() for p in model.parameters()),
            "loss": thinned(result.losses),
            "cpu_seconds": {"train": result.processor_seconds, "network": seconds},
        }


def _training(job: "Generated | Plainly") -> TrainConfig:
    config = job.plan.train
    return replace(config, seed=config.seed + job.seed, steps=job.steps or config.steps)


def _new(config: RPGConfig, plan: Plan, zoo: Zoo, seed: int) -> RPG:
    tokenizer = ParameterTokenizer.fit(zoo, config.token_size, "layer", plan.normalisation)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RPG(config, tokenizer)


def steps_of(plan: Plan, diffusion: bool) -> int:
    """Of sampling; without diffusion one says all."""
    return plan.sampling_steps if diffusion else 1


def generated(plan: Plan, model: RPG, rows: Tensor, diffusion: bool, seed: int) -> dict[str, Tensor]:
    """A generator's networks for rows (N, 3), side by side."""
    found = model.generate(len(rows), condition=rows, sampler="ddim", steps=steps_of(plan, diffusion), seed=seed)
    return {name: torch.stack([network[name] for network in found]) for name in found[0]}


@dataclass(frozen=True)
class FromZoo(Job):
    """What is made of so many of the zoo's networks without training."""

    size: int = 1

    def compute(self, folder: Path) -> dict:
        zoo = self.zoo(self.size)
        tokenizer = ParameterTokenizer.fit(zoo, self.plan.model.token_size, "layer", self.plan.normalisation)
        tokens = torch.stack([tokenizer.encode(zoo[k])[0].flatten() for k in range(len(zoo))])
        rows, found = self.plan.rows(self.zoo_seed), {}
        for name, write in WRITERS.items():

            def written(few: Tensor, write=write) -> dict[str, Tensor]:
                made = write(zoo.conditions.float(), tokens, few).view(len(few), *tokenizer.mask.shape)
                return tokenizer.decode_together(made.float())

            seconds, state = alone(written, rows), written(rows)
            accuracy = self.measured(state)
            found[name] = {"accuracy": accuracy, "weights": _weights(state), "cpu_seconds": {"network": seconds}}
        return found


def alone(write: Callable[[Tensor], object], rows: Tensor) -> float:
    """Seconds of one core for a network that is written alone, the median of a few; what is fitted for it counts."""
    seconds = []
    for row in rows[:ALONE].split(1):
        began = time.process_time()
        write(row)
        seconds.append(time.process_time() - began)
    return median(seconds)


def _told(rows: Tensor) -> Tensor:
    """What the plain hypernetwork is told of rows (N, 3): as a generator is, but from -1 to 1."""
    return 2 * features(CIRCUMSTANCES, rows) - 1


@dataclass(frozen=True)
class Plainly(Job):
    """A plain hypernetwork, by the behaviour alone; size and steps: as the generator's."""

    size: int = 1
    steps: int | None = None

    def compute(self, folder: Path) -> dict:
        plan, zoo = self.plan, self.zoo(self.size)
        tokenizer = ParameterTokenizer.fit(zoo, plan.model.token_size, "layer", plan.normalisation)
        own = UnderCircumstances(self.data.train, plan.architecture, **plan.behaviour)
        began = time.process_time()
        count = sum(condition.features for condition in CIRCUMSTANCES)
        model, losses = fit_hypernetwork(tokenizer, _told, count, plan.hypernetwork, own, _training(self))
        seconds = time.process_time() - began
        rows = plan.rows(self.zoo_seed)
        with torch.no_grad():
            each, found = alone(model, rows), model(rows)
        return {
            "accuracy": self.measured(found),
            "weights": _weights(found),
            "parameters": sum(p.numel() for p in model.parameters()),
            "loss": thinned(losses),
            "cpu_seconds": {"train": seconds, "network": each},
        }


@dataclass(frozen=True)
class FineTuned(Job):
    """The seed's compared generalist, fine-tuned where it is measured, by the schedule of that name; a few rows."""

    name: str = ""

    def places(self) -> list[int]:
        """Which rows these are."""
        known = self.plan.kinds()
        return [k for kind in KINDS for k in [i for i, x in enumerate(known) if x == kind][: self.plan.finetuned]]

    def compute(self, folder: Path) -> dict:
        job = self.other(Generalist, self.seed, compared=self.plan.compared is not None)
        start = load_file(folder_of(job) / NETWORKS)
        rows, split = self.plan.rows(self.zoo_seed)[self.places()], self.data.train
        schedule, seed = self.plan.finetuning[self.name], stream(self.seed, "fine-tuning")
        together = self.plan.together
        found = specialists(self.module(), alike(start, len(rows)), split, rows, schedule, seed, together)
        began = time.process_time()
        specialists(self.module(), start, split, rows[:1], schedule, seed)  # how long one alone takes
        seconds = time.process_time() - began
        return {"accuracy": self.measured(found, rows), "weights": _weights(found), "cpu_seconds": {"network": seconds}}


def _weights(state: Mapping[str, Tensor]) -> int:
    """Numbers that one network has, BatchNorm's statistics included."""
    return sum(x[0].numel() for x in state.values() if x.is_floating_point())


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]
