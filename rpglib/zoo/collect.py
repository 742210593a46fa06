"""Collecting training checkpoints: train, fine-tune one epoch, save checkpoints evenly (paper v2, section C.6).

Small networks train together: N members advance in one batched pass (`torch.func.vmap`), each with its own weights,
data order and labels. A chunk of one member is an ordinary training loop, on which every timm model runs.
"""

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from rpglib.analysis.accuracy import accuracy, answers, predictions
from rpglib.errors import InputError, check_types, whole_number
from rpglib.runtime.arguments import dense, flag, function, network, of, path, takes, tensor, whole, wholes
from rpglib.runtime.hardware import pick
from rpglib.runtime.randomness import stream
from rpglib.runtime.state_dicts import check_state_dict, digest
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.images import Images, Split, Stream
from rpglib.zoo.store import Zoo

CHUNK = 64
"""Members per batched pass: with more, the weights and activations of a step fall out of the processor's cache."""

MOST_RUNS, MOST_EPOCHS = 2**20, 2**20
"""More are a mistake that would end in want of memory."""

State = dict[str, Tensor]
"""Parameters and buffers of N members side by side: name -> (N, ...)."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train with AdamW.

    epochs: passes over the images, each without its last incomplete batch; decay: warm up over the first tenth of the
    steps and fall to 0 along a cosine, instead of a constant learning rate.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    weight_decay: float = 0.0
    decay: bool = False

    def __post_init__(self):
        check_types(self)
        whole_number("Schedule.epochs", self.epochs, 0, MOST_EPOCHS)
        whole_number("Schedule.batch_size", self.batch_size, 1)
        if min(self.learning_rate, self.weight_decay) < 0:
            raise InputError("Schedule.learning_rate and weight_decay must not be negative")

    @takes(images=whole(0))
    def steps(self, images: int) -> int:
        """Return the number of training steps on so many images."""
        return self.epochs * (images // self.batch_size)

    @takes(step=whole(0), steps=whole(1))
    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of one of `steps` steps."""
        if not self.decay:
            return self.learning_rate
        warm_up = min(1.0, 10 * (step + 1) / steps)
        return self.learning_rate * warm_up * (1 + math.cos(math.pi * step / steps)) / 2


@dataclass(frozen=True)
class CollectConfig:
    """How a zoo is collected: `epochs` of training, then one of fine-tuning with `checkpoints` saved evenly, per run.

    The paper gives no learning rates or batch sizes for this; the defaults are ours, for the digits.
    runs: independent repetitions, each from its own initial network (its permutation state); seed: everything random
    follows from it. shared_order: the tasks of one run see the images in one order, so that the labels are all that
    tells them apart; otherwise every task has an order of its own.
    """

    epochs: int = 30
    learning_rate: float = 5e-3
    finetune_learning_rate: float = 1e-3
    batch_size: int = 32
    finetune_batch_size: int = 20
    weight_decay: float = 0.01
    checkpoints: int = 50
    runs: int = 1
    seed: int = 0
    shared_order: bool = False

    def __post_init__(self):
        check_types(self)
        for name in ("batch_size", "finetune_batch_size", "checkpoints"):
            whole_number(f"CollectConfig.{name}", getattr(self, name), 1)
        whole_number("CollectConfig.runs", self.runs, 1, MOST_RUNS)
        whole_number("CollectConfig.epochs", self.epochs, 0, MOST_EPOCHS)
        whole_number("CollectConfig.seed", self.seed, 0)
        if min(self.learning_rate, self.finetune_learning_rate, self.weight_decay) < 0:
            raise InputError(
                "CollectConfig.learning_rate, finetune_learning_rate and weight_decay must not be negative"
            )

    @property
    def training(self) -> Schedule:
        return Schedule(self.epochs, self.learning_rate, self.batch_size, self.weight_decay, decay=True)

    @property
    def finetuning(self) -> Schedule:
        return Schedule(1, self.finetune_learning_rate, self.finetune_batch_size, self.weight_decay)


@takes(
    architecture=of(Architecture),
    images=of(Images),
    config=of(CollectConfig),
    path=path,
    progress=flag,
)
def collect(
    architecture: Architecture,
    images: Images,
    config: CollectConfig,
    path: str | Path | None = None,
    *,
    label_maps: Tensor | None = None,
    start: Mapping[str, Tensor] | None = None,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> Zoo:
    """Train `config.runs` networks, fine-tune each for one epoch and return the zoo of the checkpoints saved in it.

    label_maps (tasks, classes) of 0 and 1: every run trains one network per task, whose label for class c is
    label_maps[task, c]; the zoo's tasks are these rows. start: a state dict that all begin from instead of a random
    network that the members of one run share; tensors that it leaves out, such as the head's, are drawn anew for every
    run and task. path: folder to store the zoo in; without it the zoo stays in memory. Checkpoints are in the order of
    run, task, step. Accuracies are measured on the test images.
    Raises `InputError` where images, labels or start do not fit the architecture, where the fine-tuning epoch has fewer
    steps than checkpoints, and where training diverges.
    """
    count = len(images.train)
    _check(architecture, images, config, label_maps, start)
    tasks = 1 if label_maps is None else len(label_maps)
    members = [(run, task) for run in range(config.runs) for task in range(tasks)]
    chunks = _chunks(len(members), CHUNK if architecture.batched else 1)
    finetuning = config.finetuning.steps(count)
    save_at = [round((k + 1) * finetuning / config.checkpoints) for k in range(config.checkpoints)]
    device = pick(device)
    module = architecture.build().to(device)
    train = _on(images.train, device)

    def checkpoints() -> Iterator[tuple[dict[str, Tensor], float]]:
        total = len(chunks) * (config.training.steps(count) + finetuning)
        with tqdm(total=total, desc="collecting", unit="step", disable=not progress) as bar:
            for chosen in ([members[i] for i in chunk] for chunk in chunks):
                maps = None if label_maps is None else label_maps[[task for _, task in chosen]]
                random = (lambda run, _: _seed(config, run)) if start is None else partial(stream, config.seed, "start")
                state = init_population(architecture, [random(*member) for member in chosen], start)

                def phase(state: State, number: int, schedule: Schedule, save_at=None, chosen=chosen, maps=maps):
                    seeds = [_seed(config, run, 0 if config.shared_order else task, number) for run, task in chosen]
                    return advance(module, state, train, schedule, seeds, maps, save_at=save_at, tick=bar.update)

                if config.epochs:
                    (state,) = phase(state, 0, config.training)
                for (_, task), saved in _by_member(chosen, phase(state, 1, config.finetuning, save_at)):
                    label_map = None if maps is None else label_maps[task]
                    for row, percent in enumerate(score(module, saved, images.test, label_map, device)):
                        yield {name: tensor[row] for name, tensor in saved.items()}, percent

    store = Zoo.from_checkpoints if path is None else lambda *args, **facts: Zoo.write(path, *args, **facts)
    saved_by = [member for member in members for _ in save_at]
    return store(
        checkpoints(),
        architecture=architecture,
        runs=[run for run, _ in saved_by],
        accuracies=None,  # measured on the way
        tasks=None if label_maps is None else label_maps[[task for _, task in saved_by]],
        images=images.name,
        config=collection_facts(config, images, start),
    )


@takes(config=of(CollectConfig), images=of(Images), start=network)
def collection_facts(config: CollectConfig, images: Images, start: Mapping[str, Tensor] | None = None) -> dict:
    """What a zoo keeps of how it was collected, by which it is known again (JSON values)."""
    return {
        **asdict(config),
        "source": images.source,
        **({} if start is None else {"start": digest(start)}),
    }


@takes(architecture=of(Architecture), seeds=wholes())
def init_population(
    architecture: Architecture, seeds: Sequence[int], start: Mapping[str, Tensor] | None = None
) -> State:
    """Return the untrained networks of the seeds side by side, name -> (N, ...), with copies of what `start` holds.

    Raises `InputError` where `start` is not a state dict of the architecture, or a part of one.
    """
    if start is not None:
        check_state_dict(start, "the start")
    start, expected = start or {}, _initial(architecture, 0)
    for name in sorted(start.keys() - expected.keys()):
        raise InputError(f"the start has an extra tensor {name!r}")
    for name, values in start.items():
        if values.shape != expected[name].shape:
            raise InputError(f"the start's {name!r} is {list(values.shape)}, expected {list(expected[name].shape)}")
        if values.dtype != expected[name].dtype:
            raise InputError(f"the start's {name!r} is of {values.dtype}; convert it to {expected[name].dtype}")
    drawn = expected.keys() - start.keys()
    networks = {seed: _initial(architecture, seed) for seed in set(seeds)} if drawn else {}
    return {
        name: torch.stack([networks[seed][name] for seed in seeds])
        if name in drawn
        else start[name].detach().expand(len(seeds), *tensor.shape).clone()
        for name, tensor in expected.items()
    }


def _initial(architecture: Architecture, seed: int) -> dict[str, Tensor]:
    # PyTorch's initialisers know only the global random state: seed it for this network and put it back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return architecture.build().state_dict()


@takes(chunk=whole(1))
def train_population(
    module: nn.Module,
    state: State,
    split: Split | Stream,
    schedule: Schedule,
    seeds: Sequence[int],
    label_maps: Tensor | None = None,
    *,
    save_at: Sequence[int] | None = None,
    chunk: int = CHUNK,
) -> State:
    """Train N members from `state` and return their states after the steps `save_at` (S of them): name -> (S, N, ...).

    seeds (N): of each member's data order, so that a member's result does not depend on the others (a stream is read
    in the order of a chunk's first member); label_maps (N, classes) int64: each member's label for every class. Without
    `save_at`, S = 1: after the last step. Chunks of one member are ordinary training loops. Raises `InputError` where
    training diverges.
    """
    seeds, save_at = _checked(module, state, split, schedule, seeds, label_maps, save_at)
    parts = []
    for members in _chunks(len(seeds), chunk):
        chosen = slice(members.start, members.stop)
        maps = None if label_maps is None else label_maps[chosen]
        begin = {name: tensor[chosen] for name, tensor in state.items()}
        parts.append(_stack(advance(module, begin, split, schedule, seeds[chosen], maps, save_at=save_at)))
    return {name: torch.cat([part[name] for part in parts], dim=1) for name in parts[0]}


@takes(see=function, tick=function)
def advance(
    module: nn.Module,
    state: State,
    split: Split | Stream,
    schedule: Schedule,
    seeds: Sequence[int],
    label_maps: Tensor | None = None,
    *,
    save_at: Sequence[int] | None = None,
    see: Callable[[Tensor, int], Tensor] | None = None,
    tick: Callable[[], object] = lambda: None,
) -> Iterator[State]:
    """Train one chunk of members, all in one pass, and yield their state after each of the steps `save_at`.

    The arguments are those of `train_population`. see: what the members make of their images (N, b, C, S, S) at a step,
    by its number, such as turn them, each as its own condition says; `tick` is called after every step.
    """
    seeds, save_at = _checked(module, state, split, schedule, seeds, label_maps, save_at)
    device = next(module.parameters()).device
    steps = schedule.steps(len(split))
    saves = {steps} if save_at is None else set(save_at)
    learner = (_Alone if len(seeds) == 1 else _Together)(module, {k: v.to(device) for k, v in state.items()})
    optimizer = torch.optim.AdamW(learner.parameters, weight_decay=schedule.weight_decay, fused=True)
    batches = _streamed if isinstance(split, Stream) else _shuffled
    for step, (x, y) in enumerate(batches(split, schedule, seeds, label_maps)):
        optimizer.param_groups[0]["lr"] = schedule.rate(step, steps)
        optimizer.zero_grad()
        x = x if see is None else see(x, step)
        # A sum: the gradient of each member is that of its own loss alone.
        try:
            loss = learner.losses(x.to(device), y.to(device)).sum()
        except (RuntimeError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{type(module).__name__} cannot learn from these images and labels ({reason})") from error
        loss.backward()
        optimizer.step()
        tick()
        if step + 1 in saves:
            if not loss.isfinite():
                raise InputError(
                    f"training diverged before step {step + 1}; lower learning_rate {schedule.learning_rate}"
                )
            yield learner.state()


def _checked(
    module: nn.Module,
    state: State,
    split: Split | Stream,
    schedule: Schedule,
    seeds: Sequence[int],
    label_maps: Tensor | None,
    save_at: Sequence[int] | None,
) -> tuple[list[int], list[int] | None]:
    """The seeds and the steps to save at, as numbers; raises `InputError` where the arguments do not fit together."""
    of(nn.Module)("module", module, {})
    of(Split, Stream)("split", split, {})
    of(Schedule)("schedule", schedule, {})
    seeds, own = wholes()("seeds", seeds, {}), module.state_dict()
    network("state", state, {})
    expected = {name: ((len(seeds), *x.shape), x.dtype) for name, x in own.items()}
    if not seeds or not own or {name: (tuple(x.shape), x.dtype) for name, x in state.items()} != expected:
        raise InputError("state takes the tensors of a network of the module per seed, side by side: (N, ...) of each")
    if label_maps is not None:
        tensor(f"{len(seeds)} classes", "whole")("label_maps", label_maps, {})
        if isinstance(split, Split) and len(split) and int(split.labels.max()) >= label_maps.shape[1]:
            raise InputError(f"label_maps has {label_maps.shape[1]} classes, the images have more")
    if save_at is not None:
        save_at = wholes(1, max(1, schedule.steps(len(split))))("save_at", save_at, {})
        if not save_at:
            raise InputError("save_at is empty; give at least one step, or None for the last")
    elif not schedule.steps(len(split)):
        raise InputError(f"{schedule} has no step on {len(split)} images; lower batch_size or raise epochs")
    return seeds, save_at


class _Together:
    """Several members in one batched pass."""

    def __init__(self, module: nn.Module, state: State):
        # On the meta device the template cannot lend its own weights by mistake.
        self._module = copy.deepcopy(module).to("meta").train()
        names = {name for name, _ in module.named_parameters()}
        self._state = {k: v.detach().clone().requires_grad_(k in names) for k, v in state.items()}
        self.parameters = [self._state[name] for name in self._state if name in names]
        # BatchNorm updates its running statistics in place, which vmap passes on to the stacked buffers.
        self._loss = vmap(lambda state, x, y: cross_entropy(functional_call(self._module, state, x), y))

    def losses(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss (N,) of every member on its own images (N, b, C, S, S) and labels (N, b)."""
        return self._loss(self._state, x, y)

    def state(self) -> State:
        return {name: tensor.detach().clone() for name, tensor in self._state.items()}


class _Alone:
    """One member in an ordinary training loop."""

    def __init__(self, module: nn.Module, state: State):
        self._module = copy.deepcopy(module).train()
        self._module.load_state_dict({name: tensor[0] for name, tensor in state.items()})
        self.parameters = list(self._module.parameters())

    def losses(self, x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(self._module(x[0]), y[0])

    def state(self) -> State:
        return {name: tensor.detach().clone().unsqueeze(0) for name, tensor in self._module.state_dict().items()}


def _shuffled(split: Split, schedule: Schedule, seeds: Sequence[int], label_maps: Tensor | None):
    """Yield images (N, b, C, S, S) and labels (N, b) of every step, each member in the order of its own seed."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    count, device = len(split), split.images.device
    labels = split.labels.expand(len(seeds), -1) if label_maps is None else label_maps.to(device)[:, split.labels]
    for _ in range(schedule.epochs):
        order = torch.stack([torch.randperm(count, generator=generator) for generator in generators]).to(device)
        for start in range(0, count - schedule.batch_size + 1, schedule.batch_size):
            chosen = order[:, start : start + schedule.batch_size]
            yield split.images[chosen], labels.gather(1, chosen)


def _streamed(part: Stream, schedule: Schedule, seeds: Sequence[int], label_maps: Tensor | None):
    """Yield the same for a stream, which is read once for all members: in the order of the first one's seed."""
    for epoch in range(schedule.epochs):
        for images, labels in part.batches(schedule.batch_size, stream(seeds[0], "epoch", epoch)):
            if len(labels) == schedule.batch_size:
                labels = labels.expand(len(seeds), -1) if label_maps is None else label_maps[:, labels]
                yield images.expand(len(seeds), *images.shape), labels


@takes(label_map=tensor("classes", "whole"))
def score(
    module: nn.Module,
    networks: State,
    split: Split | Stream,
    label_map: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> list[float]:
    """Return the accuracy of N networks on one part of a data set, in percent."""
    predicted, labels = answers(module, networks, split, device=device)
    labels = labels.cpu()
    if label_map is not None and int(labels.max()) >= len(label_map):
        raise InputError(f"label_map has {len(label_map)} classes, the images have more; give every class its label")
    return accuracy(predicted, labels if label_map is None else label_map[labels]).tolist()


@takes(architecture=of(Architecture), images=of(Images), config=of(CollectConfig), members=whole(1, MOST_RUNS))
def batching_gain(
    architecture: Architecture, images: Images, config: CollectConfig, members: int = 32
) -> dict[str, float]:
    """Train the same members together and one by one and return both times.

    Result: members, steps (of each), seconds_together, seconds_one_by_one, gain (their ratio), difference (of two
    corresponding final weights, at most) and agreement (percent of validation images which the two networks of a
    member classify alike): only rounding tells the two ways apart.
    """
    if not architecture.small or not config.training.steps(len(images.train)):
        raise InputError("small networks are compared, trained for a step at least; see Architecture and epochs")
    seeds = [_seed(config, member) for member in range(members)]
    _check_images(architecture, images)
    module, state = architecture.build(), init_population(architecture, seeds)
    # The first step of a process loads parts of PyTorch, which is no part of the comparison.
    train_population(module, state, Split(images.train.images[:1], images.train.labels[:1]), Schedule(1, 0.0, 1), seeds)
    results, seconds = [], []
    for chunk in (CHUNK, 1):
        begin = time.perf_counter()
        trained = train_population(module, state, images.train, config.training, seeds, chunk=chunk)
        seconds.append(time.perf_counter() - begin)
        results.append({name: tensor[0] for name, tensor in trained.items()})
    together, alone = results
    predicted = [predictions(module, networks, images.validation.images) for networks in results]
    return {
        "members": members,
        "steps": config.training.steps(len(images.train)),
        "seconds_together": seconds[0],
        "seconds_one_by_one": seconds[1],
        "gain": seconds[1] / seconds[0],
        "difference": max(float((together[name] - alone[name]).abs().max()) for name in together),
        "agreement": float(accuracy(*predicted).mean()),
    }


def _by_member(members: list, saved: Iterable[State]) -> Iterator[tuple[tuple[int, int], State]]:
    """Yield each member with its saved states side by side, or, for a lone one, as they come: they may be large."""
    if len(members) == 1:
        yield from ((members[0], state) for state in saved)
        return
    states = _stack(saved)
    for i, member in enumerate(members):
        yield member, {name: tensor[:, i] for name, tensor in states.items()}


def _stack(states: Iterable[State]) -> State:
    states = list(states)
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


def _chunks(count: int, size: int) -> list[range]:
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


def _seed(config: CollectConfig, *parts: int) -> int:
    """Return the seed of a (run, task, phase), or of a run's start, the same on every machine.

    No two of a zoo share one but a run's start and its first task's phase 0: zeros behind the parts change nothing.
    """
    return int(np.random.SeedSequence([config.seed, *parts]).generate_state(1)[0])


def _on(split: Split | Stream, device: torch.device | str) -> Split | Stream:
    """Return the images on the device, where they fit."""
    return split if isinstance(split, Stream) else Split(split.images.to(device), split.labels.to(device))


def _check_images(architecture: Architecture, images: Images) -> None:
    expected, found = (architecture.channels, architecture.image_size), (images.channels, images.size)
    if expected != found:
        raise InputError(
            f"{architecture.name} takes {expected[0]} channels of {expected[1]} pixels, {images.name} has {found[0]} "
            f"of {found[1]}; set channels and image_size of the architecture"
        )


def _check(
    architecture: Architecture,
    images: Images,
    config: CollectConfig,
    label_maps: Tensor | None,
    start: Mapping[str, Tensor] | None,
) -> None:
    if start is not None:
        check_state_dict(start, "the start")
    _check_images(architecture, images)
    if label_maps is not None:
        if not isinstance(dense("label_maps", label_maps), Tensor) or label_maps.dtype != torch.int64:
            raise InputError("label_maps is a tensor of whole numbers (int64), a row per task; give torch.tensor(rows)")
        if label_maps.shape[1:] != (images.num_classes,) or not len(label_maps):
            raise InputError(
                f"label_maps has shape {list(label_maps.shape)}; it needs one column per class of {images.name}"
            )
    classes = images.num_classes if label_maps is None else int(label_maps.max()) + 1
    if classes > architecture.num_classes:
        raise InputError(
            f"{architecture.name} has {architecture.num_classes} outputs for {classes} labels; give it more"
        )
    if config.epochs and not config.training.steps(len(images.train)):
        raise InputError(
            f"a batch of {config.batch_size} does not fit into {len(images.train)} training images; lower batch_size"
        )
    steps = config.finetuning.steps(len(images.train))
    if not 1 <= config.checkpoints <= steps:
        raise InputError(
            f"{config.checkpoints} checkpoints do not fit into the {steps} steps of the fine-tuning epoch; "
            f"lower checkpoints or finetune_batch_size"
        )
