"""The training loop of a generator: Accelerate, bf16 where the hardware has it, resumable at any moment.

Shapes: N checkpoints of the zoo, L tokens, D token size.
"""

import dataclasses
import hashlib
import json
import math
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from rpglib.errors import InputError, check_types, choice, shown, warn, whole_number
from rpglib.model.rpg import RPG
from rpglib.runtime.arguments import flag, function, number, of, path, takes, whole
from rpglib.runtime.files import atomic, check_writable
from rpglib.runtime.hardware import PRECISIONS, fp32, pick, uses_bf16
from rpglib.runtime.sources import LIBRARY, sources_digest
from rpglib.runtime.state_dicts import digest
from rpglib.training.averages import Averages
from rpglib.training.batches import Batches, Checkpoints, ahead, checkpoints
from rpglib.training.behaviour import Behaviour, WithBehaviour
from rpglib.training.graphs import graphed

if TYPE_CHECKING:
    from accelerate import Accelerator

OPTIMIZERS = ("adamw", "adamw8bit")
MOST_TOGETHER = 2**20
"""Checkpoints of a step at most."""
_CODE = sources_digest(LIBRARY)
"""Of the code that runs: what is edited later is another."""
STATE = "training.pt"
"""A training's state in its folder."""


@dataclass(frozen=True)
class TrainConfig:
    """How a generator is trained.

    The defaults up to `optimizer` are the paper's for networks of up to 50 M parameters (v1, table 11; v2, table 15).
    For larger ones v1 names "adamw8bit", which the released code uses for all, and v2 AdamW. warmup and gradient_clip
    are ours: no table has them, and the released code clips no gradient. weighting and prototype_loss are ours, too:
    they go with `RPGConfig`'s supervised prototype, which says why. `TrainConfig.paper()` has neither.
    batch_size: checkpoints per step and process. diffusion_batch: tokens per step and process that pass the denoiser.
    warmup: share of the steps with a rising rate, before a cosine down to zero. ema: decay of the averaged weights that
    training returns, 0 for none (`Averages`). permutation: what a permutation state identifies, each "checkpoint"
    (paper v1, sections 2.3 and 3.1) or each "run" (the released code where the checkpoints come from several).
    weighting: what the loss counts alike, every "value" (the paper) or every "token", so that small layers such as the
    head weigh as much as large ones. prototype_loss: weight of the error of the prototypes' linear skip over all tokens
    of the batch, which costs little beside the denoiser; for models with `prototype_skip`. diffusion: False leaves the
    denoiser as it starts, at zero, so that the skip alone learns: regression (paper v2, table 26).
    gradient_checkpointing: what layers compute inside is computed again on the way back instead of kept: less memory,
    about a third more time. precision: "auto" is bf16 where the device computes it in hardware, else fp32. save_every:
    steps between the checkpoints of the training itself, written only where `train` is given a folder.
    """

    steps: int = 80_000
    batch_size: int = 16
    diffusion_batch: int = 1024
    learning_rate: float = 3e-5
    weight_decay: float = 1e-5
    optimizer: str = "adamw"
    warmup: float = 0.02
    gradient_clip: float = 1.0
    ema: float = 0.0
    precision: str = "auto"
    permutation: str = "checkpoint"
    weighting: str = "token"
    prototype_loss: float = 4.0
    diffusion: bool = True
    gradient_checkpointing: bool = False
    seed: int = 0
    save_every: int = 500

    def __post_init__(self):
        check_types(self)
        choice("precision", self.precision, PRECISIONS)
        choice("optimizer", self.optimizer, OPTIMIZERS)
        choice("permutation", self.permutation, ("checkpoint", "run"))
        choice("weighting", self.weighting, ("value", "token"))
        for name in ("steps", "diffusion_batch", "save_every"):
            whole_number(f"TrainConfig.{name}", getattr(self, name), 1)
        whole_number("TrainConfig.batch_size", self.batch_size, 1, MOST_TOGETHER)
        whole_number("TrainConfig.seed", self.seed, 0)
        if min(self.learning_rate, self.gradient_clip) <= 0:
            raise InputError("learning_rate and gradient_clip must be above 0, or nothing would learn")
        if not (0 <= self.ema < 1 and 0 <= self.warmup <= 1):
            raise InputError(f"ema takes 0 to below 1, warmup 0 to 1, not ema={self.ema}, warmup={self.warmup}")
        if min(self.weight_decay, self.prototype_loss) < 0:
            raise InputError("weight_decay and prototype_loss must not be negative")

    @classmethod
    def paper(cls, **changes) -> "TrainConfig":
        """The paper's loss, every value alike and of the denoiser alone (v1, equation 5), for the paper's presets."""
        return cls(**{"weighting": "value", "prototype_loss": 0.0} | changes)


@dataclass
class TrainResult:
    """The loss of every step, the seconds spent in them (resumed parts included), and the precision used.

    processor_seconds: what this process's threads computed meanwhile; on a shared machine the clock also counts others.
    """

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    processor_seconds: float = 0.0
    precision: str = "fp32"


@fp32()
@takes(
    model=of(RPG),
    zoo=checkpoints,
    config=of(TrainConfig),
    folder=path,
    progress=flag,
    on_step=function,
    behaviour=of(Behaviour),
)
def train(
    model: RPG,
    zoo: Checkpoints,
    config: TrainConfig,
    folder: str | Path | None = None,
    device: str | torch.device | None = None,
    progress: bool = True,
    on_step: Callable[[int, RPG], None] | None = None,
    behaviour: Behaviour | None = None,
) -> TrainResult:
    """Train `model` in place on the checkpoints of `zoo`; it is left in evaluation mode, with averaged weights if any.

    Parameters that do not require gradients stay as they are, and so do the statistics of BatchNorm layers that have
    none that does.

    With `folder` the state is saved there every `save_every` steps, atomically, and a later call with the same
    arguments goes on from it: every random choice depends on the seed and the step alone, so an interrupted run ends in
    the same weights as an unbroken one. What is learned takes the saved weights over, whatever `model` came with. A
    state of other arguments, checkpoints, frozen weights or code is set aside, with a warning, and taken up again by a
    call with its own. More steps are other arguments, too: a finished generator is trained further in another folder.
    Several processes need one folder that all of them see.
    `device` "cpu" keeps the training off a GPU that is there; it is chosen otherwise by Accelerate. `on_step` is called
    after every step with its number and the model. `behaviour` adds a loss of what generated networks do, of mixtures
    of permutation states or of conditions; such a step is not captured in a CUDA graph, and not sharded.

    Under `accelerate launch --multi_gpu --num_processes 8 script.py` each process draws its own batches and the
    gradients are averaged, as are BatchNorm's statistics: all end with the same generator. With `--use_fsdp
    --fsdp_version 2` as well, weights, gradients and the optimiser's averages are divided among the processes: a
    generator that one device cannot train. (`--fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP
    --fsdp_transformer_layer_cls_to_wrap Mamba2` gathers one recurrent layer at a time.) Every process then trains a
    copy of `model`, which itself stays where it is and takes the whole weights over at the end, and before each
    `on_step`.
    Raises `InputError` where zoo, model and recipe do not fit, when the loss is no longer finite, and under FSDP 1.
    """
    check_fits(model, config)
    # Before the denoiser is frozen for this training: that one begins anew with every generator.
    fixed = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    kept = digest(fixed) if folder is not None and fixed else ""
    with (
        frozen(None if config.diffusion else model.denoiser),
        torch.inference_mode(False),
        torch.enable_grad(),
        _accelerate_as_found(),
    ):
        try:
            return _train(model, zoo, config, folder, kept, device, progress, on_step, behaviour)
        finally:
            model.eval()


@contextmanager
def _accelerate_as_found() -> Iterator[None]:
    """One process' Accelerate is set up afterwards as before: the caller's own Accelerator may be another one."""
    from accelerate.state import AcceleratorState, GradientState, PartialState

    states = [kind._shared_state for kind in (AcceleratorState, GradientState, PartialState)]  # nothing public does it
    before = [dict(state) for state in states]
    try:
        yield
    finally:
        if states[-1].get("num_processes") == 1:
            for state, found in zip(states, before, strict=True):
                state.clear()
                state.update(found)


def _train(
    model: RPG,
    zoo: Checkpoints,
    config: TrainConfig,
    folder: str | Path | None,
    kept: str,
    device: str | torch.device | None,
    progress: bool,
    on_step: Callable[[int, RPG], None] | None,
    behaviour: Behaviour | None,
) -> TrainResult:
    place = _placed(config, device)
    learner = _Learner(model, config, place, behaviour)
    accelerator = place.accelerator
    # With the behaviour alone nothing is learned from the zoo's weights.
    learns = behaviour is None or behaviour.reconstruction > 0
    own = {"process": accelerator.process_index, "device": place.device}
    batches = batches_of(model, zoo, config, **own) if learns else None
    result, state, start = TrainResult(precision=place.precision), None, 0
    if folder is not None:
        identity = _identity(model, zoo, config, result.precision, accelerator.num_processes, behaviour, kept)
        state = _State(Path(folder) / STATE, identity, learner.parts, result, place)
        start = state.resume(config.steps)
    steps = range(start, config.steps)
    learner.begin()

    began = time.perf_counter() - result.seconds
    computed = time.process_time() - result.processor_seconds
    bar = tqdm(
        steps,
        desc="train generator",
        initial=start,
        total=config.steps,
        disable=not (progress and accelerator.is_main_process),
        mininterval=1.0,
    )
    loss_of = learner.loss_of(batches, steps)
    with closing(_loaded(batches, steps, place.device)) as loaded:
        for step, batch in zip(bar, loaded, strict=True):
            if behaviour is not None:
                batch["step"] = step
            with place.autocast():
                loss = loss_of(**batch)
            result.losses.append(learner.update(loss, step))
            if step % 20 == 0:
                bar.set_postfix(loss=f"{sum(result.losses[-20:]) / len(result.losses[-20:]):.4f}")
            result.seconds = time.perf_counter() - began
            result.processor_seconds = time.process_time() - computed
            if state is not None and ((step + 1) % config.save_every == 0 or step + 1 == config.steps):
                state.save(step + 1)
            if on_step is not None:
                learner.hand_over(model, "model")
                on_step(step, model)
    learner.hand_over(model, "averaged" if config.ema else "model")
    return result


def _loaded(batches: Batches | None, steps: range, device: torch.device) -> Iterator[dict]:
    """The batch of each step; an empty one where nothing is learned from the zoo."""
    if batches is None:
        return ({} for _ in steps)
    # On the CPU, a kept zoo's batch is at hand sooner than a thread could hand it over.
    threaded = device.type == "cuda" or batches.kept is None
    return ahead(batches, steps) if threaded else (batches(step) for step in steps)


@dataclass(frozen=True)
class _Place:
    """Where a training computes: its device and precision, alone or with other processes, sharded or not."""

    accelerator: "Accelerator"
    device: torch.device
    precision: str
    alone: bool
    sharded: bool

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


def _placed(config: TrainConfig, device: str | torch.device | None) -> _Place:
    # Imported where it is used: whoever only reads a generator or a recipe does not wait for it.
    from accelerate import Accelerator, DistributedDataParallelKwargs, DistributedType, PartialState

    # Said aloud where there is no accelerator: only then does Accelerate join several CPU processes.
    on_cpu = not torch.accelerator.is_available()
    state = PartialState(cpu=on_cpu)
    alone = state.num_processes == 1
    chosen = state.device if device is None else pick(device)
    if not alone and chosen.type != state.device.type:
        raise InputError(f"the processes of this launch compute on {state.device.type}; launch them for {chosen.type}")
    # Accelerate keeps the device and the precision of a process's first training, but each training chooses its own:
    # one process is its own device's master, and autocast is ours. In shards, weights are therefore gathered in fp32.
    device = chosen if alone else state.device
    precision = "bf16" if uses_bf16(config.precision, device) else "fp32"
    try:
        accelerator = Accelerator(
            mixed_precision="no",
            cpu=on_cpu,
            device_placement=not alone,
            # Statistics are averaged over the processes below; the position table need not travel at every step.
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
    except ValueError as error:  # such as after an Accelerator of the caller's own with another precision
        reason = str(error).splitlines()[0]
        raise InputError(f"Accelerate is set up otherwise in this process ({reason}); train in a new one") from None
    sharded = accelerator.distributed_type == DistributedType.FSDP
    if sharded and not accelerator.is_fsdp2:
        raise InputError("sharded training is FSDP 2's; launch with --fsdp_version 2")
    return _Place(accelerator, device, precision, alone, sharded)


class _Learner:
    """What learns, `model` or a sharded copy of it, and what it learns by: optimiser, rate and averages.

    parts: by name, all whose state a training goes on from; of a sharded training their states are whole.
    """

    def __init__(self, model: RPG, config: TrainConfig, place: _Place, behaviour: Behaviour | None):
        self.config, self.place, self.model = config, place, model
        accelerator = place.accelerator
        if place.sharded:
            # Not needed, and therefore not waited for, by any other training.
            from rpglib.training.sharding import Whole, WholeOptimizer, copy_of_first

            self.model = copy_of_first(model, place.device)
            # Accelerate's way of loading on one process alone loses buffers, of which these models have some.
            accelerator.state.fsdp_plugin.cpu_ram_efficient_loading = False
        elif place.alone:
            model.to(place.device)
        # A denoiser that stays at zero need not be computed.
        self.denoises = config.diffusion or not self.model.denoiser.at_zero
        asked = self.model
        if behaviour is not None:
            if place.sharded:
                raise InputError("behaviour is not for sharded training; train without FSDP, or without behaviour")
            asked = WithBehaviour(asked, behaviour, config.seed, accelerator.process_index, self.denoises)
        # Only steps of one process that are alike, and keep what they compute, can be captured.
        captured = place.device.type == "cuda" and place.alone and behaviour is None
        self.captured = captured and not config.gradient_checkpointing
        optimizer = optimizer_of(self.model, config)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: rate(k, config.steps, config.warmup))
        self.asked, self.optimizer = accelerator.prepare(asked, optimizer)
        self.averages = Averages(self.model, config.ema) if config.ema else None
        self.parts = {"model": self.model, "optimizer": self.optimizer}
        if self.averages is not None:
            self.parts["averaged"] = self.averages
        if place.sharded:
            kinds = {"optimizer": WholeOptimizer}
            self.parts = {name: kinds.get(name, Whole)(part) for name, part in self.parts.items()}
        self.parts["scheduler"] = self.scheduler

    def begin(self) -> None:
        # An interrupted step, or a part that is frozen now, may have left some.
        self.model.zero_grad()
        learn(self.asked)

    def loss_of(self, batches: Batches | None, steps: range) -> Callable[..., Tensor]:
        """What gives the loss of a batch; on a GPU as a graph, captured with the first one."""
        options = {
            "mask": self.model.tokenizer.mask.to(self.place.device),
            "weighting": self.config.weighting,
            "prototype_loss": self.config.prototype_loss,
            "diffusion": self.denoises,
            "recompute": self.config.gradient_checkpointing,
        }
        if self.captured and steps:
            return graphed(self.asked, batches(steps.start), options, self.place.autocast)
        return partial(self.asked, **options)

    def update(self, loss: Tensor, step: int) -> float:
        """Take a step down the loss, whose value is returned; raises `InputError` where it is not finite."""
        accelerator = self.place.accelerator
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        norm = norm.full_tensor() if self.place.sharded else norm
        # Read together: each reading waits for the device.
        value, size = torch.stack((loss.detach(), norm)).tolist()
        # Checked before the step: a saved state must never hold weights that such a gradient has spoilt.
        if not (math.isfinite(value) and math.isfinite(size)):
            raise InputError(
                f"loss or gradient is not finite at step {step}; lower learning_rate or use precision='fp32'"
            )
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        if not self.place.alone:
            _average_statistics(self.model, accelerator)
        if self.averages is not None:
            self.averages.update(step)
        return value

    def hand_over(self, model: RPG, part: str) -> None:
        """Give the caller's model the weights of a part, "model" or "averaged", where it has not got them already."""
        if self.place.sharded:
            self.parts[part].copy_to(model)
        elif part == "averaged":
            model.load_state_dict(self.averages.state_dict())


@dataclass(frozen=True)
class _State:
    """The file of a training's state: that of `parts`, the result so far, and whose they are."""

    file: Path
    identity: dict
    parts: dict
    result: TrainResult
    place: _Place

    def resume(self, steps: int) -> int:
        """Load what was saved into parts and result; returns the step to go on with, 0 where there is nothing.

        Raises `InputError` where the processes find different states, or the file cannot be written.
        """
        accelerator, main = self.place.accelerator, self.place.accelerator.is_main_process
        if main:
            _take_up(self.file, self.identity)
        accelerator.wait_for_everyone()
        start = _resume(self.file, self.parts, self.result, self.identity)
        if not self.place.alone:
            starts = accelerator.gather(torch.tensor([start], device=self.place.device))
            if len({*starts.tolist()}) > 1:
                raise InputError(
                    f"the processes find different states in {self.file.parent}; give all of them one folder that they "
                    "share"
                )
        if start < steps and main:
            check_writable(self.file)
        return start

    def save(self, step: int) -> None:
        state = {name: part.state_dict() for name, part in self.parts.items()}  # for which all processes are needed
        if self.place.accelerator.is_main_process:
            done = {"step": step, "result": dataclasses.asdict(self.result), "identity": self.identity}
            _save(self.file, state | done)


def learn(module: nn.Module) -> None:
    """Put a module into training mode, but for BatchNorm layers that are frozen: their statistics would follow."""
    module.train()
    for layer in module.modules():
        own = [*layer.parameters()] if isinstance(layer, nn.modules.batchnorm._BatchNorm) else []
        if own and not any(p.requires_grad for p in own):
            layer.eval()


@takes(part=of(nn.Module, NoneType))
@contextmanager
def frozen(part: nn.Module | None) -> Iterator[None]:
    """Inside, nothing of `part` learns; afterwards what learned before does again, and nothing else."""
    learning = [p for p in part.parameters() if p.requires_grad] if part is not None else []
    for p in learning:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in learning:
            p.requires_grad_(True)


def _average_statistics(model: RPG, accelerator: "Accelerator") -> None:
    """Give every process the mean of all processes' BatchNorm statistics.

    Each process's follow its own batches, and a step later its networks would be others. One small message: unlike
    synchronised BatchNorm, which PyTorch has for GPUs only, it changes nothing of what is learned.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    statistics = [x for norm in norms for x in (norm.running_mean, norm.running_var)]
    if statistics:
        mean = accelerator.reduce(torch.cat(statistics), "mean")
        for x, of_all in zip(statistics, mean.split([len(x) for x in statistics]), strict=True):
            x.copy_(of_all)


@takes(model=of(RPG), zoo=checkpoints, config=of(TrainConfig))
def batches_of(model: RPG, zoo: Checkpoints, config: TrainConfig, **options) -> Batches:
    """The batches that `train` draws for this recipe; `options` and errors as in `Batches`."""
    return Batches(
        model,
        zoo,
        batch_size=config.batch_size,
        diffusion_batch=config.diffusion_batch,
        permutation=config.permutation,
        seed=config.seed,
        **{"whole": config.prototype_loss != 0} | options,
    )


def check_fits(model: nn.Module, config: TrainConfig) -> None:
    """Raise `InputError` where a generator (anything with an RPG's `config`) cannot be trained by a recipe."""
    if config.prototype_loss and not model.config.prototype_skip:
        raise InputError("prototype_loss needs a generator with prototype_skip=True; set that, or prototype_loss=0.0")
    if not config.diffusion and not model.config.prototype_skip:
        raise InputError("diffusion=False needs a generator with prototype_skip=True, or nothing would learn")
    if not any(p.requires_grad for p in model.parameters()):
        raise InputError("every part of this generator is frozen; call requires_grad_() on what is to learn")
    if other := {x.dtype for x in model.parameters()} - {torch.float32}:
        raise InputError(f"training updates weights in fp32, not in {other.pop()}; call model.float() before")


@takes(step=whole(0), steps=whole(1), warmup=number(0, 1))
def rate(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up over that share of the steps, then half a cosine to zero, as a factor of the learning rate."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def optimizer_of(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser of what learns of a model; raises `InputError` where its package is absent."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if config.optimizer == "adamw8bit":
        try:
            from bitsandbytes.optim import AdamW8bit
        except ImportError:
            raise InputError("optimizer='adamw8bit' needs bitsandbytes; install the gpu extra") from None
        return AdamW8bit(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
    # One pass over weights, gradient and averages instead of one per arithmetic operation.
    return torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def _identity(
    model: RPG,
    zoo: Checkpoints,
    config: TrainConfig,
    precision: str,
    processes: int = 1,
    behaviour: Behaviour | None = None,
    kept: str = "",
) -> dict:
    """What must agree for a saved state to be this run's: configurations, tokenizer, checkpoints, and this library.

    kept: the digest of what was frozen.
    """
    tokenizer = model.tokenizer
    statistics = [float(x.double().sum()) for x in (*tokenizer.shift, *tokenizer.scale)]
    return {
        "model": model.config.to_dict(),
        "train": dataclasses.asdict(config),
        "precision": precision,
        "tokenizer": [repr(tokenizer), statistics],
        "frozen": [kept, *(name for name, p in model.named_parameters() if not p.requires_grad)],
        "checkpoints": len(zoo),
        "zoo": _fingerprint(zoo),
        "processes": processes,
        "behaviour": behaviour.facts() if behaviour is not None else None,
        "code": _CODE,
    }


def _fingerprint(zoo: Checkpoints) -> str:
    """A fingerprint of runs, tasks, conditions and checkpoints in their order; of each tensor the ends, soon done."""
    found = hashlib.sha256(str([torch.as_tensor(zoo.runs).tolist(), len(zoo)]).encode())
    for rows in (zoo.tasks, getattr(zoo, "conditions", None)):
        found.update(b"" if rows is None else rows.cpu().numpy().tobytes())
    for i in range(len(zoo)):
        for name, x in sorted(zoo[i].items()):
            found.update(repr((name, x.dtype, tuple(x.shape))).encode())
            values = x.detach().flatten()
            for end in (values[:64], values[-64:]):
                found.update(end.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def _save(path: Path, state: dict) -> None:
    with atomic(path) as part:
        try:
            torch.save(state, part)
        except RuntimeError as error:  # how torch reports a full disk
            raise OSError(str(error).splitlines()[0]) from error


def _take_up(path: Path, identity: dict) -> None:
    """Set aside the state of another run, which no step of this one may start from, and take back this run's own.

    What cannot be read stays where it is.
    """
    try:
        found = torch.load(path, map_location="meta", weights_only=True, mmap=True)["identity"] if path.exists() else {}
    except Exception:  # `_resume` says what is wrong
        return
    if found and found != identity:
        name = _aside(path, found).name
        os.replace(path, path.with_name(name))
        warn(f"{path} is of a run with another {_difference(found, identity)}; it is now {name}")
    if found != identity and (own := _aside(path, identity)).exists():
        os.replace(own, path)


def _aside(path: Path, identity: dict) -> Path:
    """Where the state of that run waits while another one has its place."""
    text = json.dumps(identity, sort_keys=True, default=repr)
    return path.with_name(f"{path.stem}.aside-{hashlib.sha256(text.encode()).hexdigest()[:8]}{path.suffix}")


def _difference(old: dict, new: dict) -> str:
    """In which facts two identities differ, with both values where they are settings."""
    found, old = [], old if isinstance(old, dict) else {}
    for name in new:
        a, b = old.get(name), new[name]
        if isinstance(a, dict) and isinstance(b, dict):
            found += [f"{name}.{k} ({shown(a.get(k))} -> {shown(b[k])})" for k in b if a.get(k) != b[k]]
        elif a != b:
            found.append(name)
    return ", ".join(found)


def _resume(path: Path, parts: dict, result: TrainResult, identity: dict) -> int:
    """Load the saved state into `parts` and `result`; returns the step to go on with, 0 where there is none."""
    if not path.exists():
        return 0
    try:
        # torch writes checksums but does not compare them.
        with zipfile.ZipFile(path) as archive:
            if broken := archive.testzip():
                raise ValueError(f"{broken} is damaged")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch reports a broken file in several unrelated types
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"cannot read {path} ({reason}); delete it to start again") from None
    if not isinstance(state, dict) or "identity" not in state:
        raise InputError(f"{path} is no state of a training; give another folder, or move the file away")
    if state["identity"] != identity:  # in a folder of this process alone
        return 0
    for name, part in parts.items():
        part.load_state_dict(state[name])
    result.__dict__.update(state["result"])
    return state["step"]
