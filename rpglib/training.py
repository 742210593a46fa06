"""The training loop of a generator: Accelerate, bf16 where the hardware has it, resumable at any moment.

Shapes: N checkpoints of the zoo, L tokens, D token size.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from tqdm.auto import tqdm

from rpglib.allocator import keep_freed_memory
from rpglib.errors import InputError, choice
from rpglib.files import atomic
from rpglib.model.rpg import RPG

PRECISIONS = ("auto", "fp32", "bf16")
OPTIMIZERS = ("adamw", "adamw8bit")

# A zoo of this many token values or fewer (1 GiB) is tokenised once and kept; a larger one is read as it is needed.
CACHED_VALUES = 2**28


class Checkpoints(Protocol):
    """What training needs of a zoo: state dicts by index, their run (N,) and their task (N, bits) or None."""

    runs: Tensor
    tasks: Tensor | None

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class TrainConfig:
    """The recipe. The defaults but `steps` are the paper's table 11 for up to 50 M parameters.

    batch_size: checkpoints per step and process. diffusion_batch: tokens per step and process that pass the denoiser.
    warmup: share of the steps with a rising rate, before a cosine down to zero. ema: decay of the averaged weights that
    training returns, 0 for none. permutation: what a permutation state identifies, each "checkpoint" or each "run".
    weighting: what the loss counts alike, every "value" (the paper) or every "token", so that small layers such as the
    head weigh as much as large ones. prototype_loss: weight of the error of the prototypes' linear skip over all tokens
    of the batch, which costs little beside the denoiser; for models with `prototype_skip`. diffusion: False leaves the
    denoiser as it starts, at zero, so that the skip alone learns: regression (paper, table 26). precision: "auto" is
    bf16 where the device computes it in hardware, else fp32. save_every: steps between the checkpoints of the training
    itself, written only where `train` is given a folder.
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
    weighting: str = "value"
    prototype_loss: float = 0.0
    diffusion: bool = True
    seed: int = 0
    save_every: int = 500

    def __post_init__(self):
        choice("precision", self.precision, PRECISIONS)
        choice("optimizer", self.optimizer, OPTIMIZERS)
        choice("permutation", self.permutation, ("checkpoint", "run"))
        choice("weighting", self.weighting, ("value", "token"))
        if min(self.steps, self.batch_size, self.diffusion_batch, self.save_every) < 1:
            raise InputError("steps, batch_size, diffusion_batch and save_every must be at least 1")


@dataclass
class TrainResult:
    """The loss of every step, the seconds spent in them (resumed parts included), and the precision used."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    precision: str = "fp32"


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware: emulated, as on CPUs with AVX2 only, it is 20 times slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def train(
    model: RPG,
    zoo: Checkpoints,
    config: TrainConfig,
    folder: str | Path | None = None,
    device: str | torch.device | None = None,
    progress: bool = True,
    on_step: Callable[[int, RPG], None] | None = None,
) -> TrainResult:
    """Train `model` in place on the checkpoints of `zoo`; it is left in evaluation mode, with averaged weights if any.

    With `folder` the state is saved there every `save_every` steps, atomically, and a later call with the same
    arguments goes on from it: every random choice depends on the seed and the step alone, so an interrupted run ends in
    the same weights as an unbroken one. Under `accelerate launch` each process draws its own batches and the gradients
    are averaged. `device` "cpu" keeps the training off a GPU that is there; it is chosen otherwise by Accelerate.
    `on_step` is called after every step with its number and the model.
    Raises `InputError` where zoo, model and recipe do not fit, and when the loss is no longer finite.
    """
    # Imported where it is used: whoever only reads a generator or a recipe does not wait for it.
    from accelerate import Accelerator, PartialState
    from accelerate.state import AcceleratorState

    data = _ZooTokens(model, zoo, config)
    # Said aloud where there is no accelerator too: only then does Accelerate join several CPU processes.
    on_cpu = not torch.accelerator.is_available() if device is None else torch.device(device).type == "cpu"
    if on_cpu:
        keep_freed_memory()
    use_bf16 = config.precision == "bf16" or (config.precision == "auto" and has_bf16(PartialState(cpu=on_cpu).device))
    # Accelerate keeps the precision of a process's first training; each training here may choose its own.
    # The same holds for the device, which several processes share with their launcher and must keep.
    AcceleratorState._reset_state(reset_partial_state=PartialState().num_processes == 1)
    accelerator = Accelerator(mixed_precision="bf16" if use_bf16 else "no", cpu=on_cpu)
    data.mask = data.mask.to(accelerator.device)
    model.denoiser.requires_grad_(config.diffusion)
    optimizer = _optimizer(model, config)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, config.steps, config.warmup))
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    weights, averaged = _Weights(model), None
    if config.ema:
        decay = torch.optim.swa_utils.get_ema_multi_avg_fn(config.ema)
        averaged = torch.optim.swa_utils.AveragedModel(weights, multi_avg_fn=decay, use_buffers=True)

    result = TrainResult(precision="bf16" if use_bf16 else "fp32")
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    if averaged is not None:
        parts["averaged"] = averaged
    path = Path(folder) / "training.pt" if folder is not None else None
    identity = _identity(model, zoo, config, accelerator.num_processes)
    start = _resume(path, parts, result, identity)

    wrapped.train()
    began = time.perf_counter() - result.seconds
    bar = tqdm(
        range(start, config.steps),
        desc="train generator",
        initial=start,
        total=config.steps,
        disable=not (progress and accelerator.is_main_process),
        mininterval=1.0,
    )
    for step in bar:
        # One stream per step and process: nothing to save but the step to go on exactly.
        generator = torch.Generator().manual_seed(_mix(config.seed, step, accelerator.process_index))
        tokens, permutation, task = data.batch(generator, accelerator.device)
        with accelerator.autocast():
            loss = wrapped(
                tokens,
                data.mask,
                permutation,
                task,
                generator=generator,
                diffusion_batch=config.diffusion_batch,
                weighting=config.weighting,
                prototype_loss=config.prototype_loss,
            )
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(model.parameters(), config.gradient_clip)
        # Read together: each reading waits for the device.
        value, size = torch.stack((loss.detach(), norm)).tolist()
        # Checked before the step: a saved state must never hold weights that such a gradient has spoilt.
        if not (math.isfinite(value) and math.isfinite(size)):
            raise InputError(
                f"loss or gradient is not finite at step {step}; lower learning_rate or use precision='fp32'"
            )
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        if averaged is not None:
            averaged.update_parameters(weights)
        result.losses.append(value)
        if step % 20 == 0:
            bar.set_postfix(loss=f"{sum(result.losses[-20:]) / len(result.losses[-20:]):.4f}")
        result.seconds = time.perf_counter() - began
        if path and ((step + 1) % config.save_every == 0 or step + 1 == config.steps) and accelerator.is_main_process:
            _save(path, parts, result, step + 1, identity)
        if on_step is not None:
            on_step(step, model)
    # Takes the mixed-precision wrapper off the model's forward: a later training chooses anew.
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
    if averaged is not None:
        averaged.module.copy_to(model)
    model.eval()
    return result


class _ZooTokens:
    """Batches of tokens, permutation states and tasks; a small zoo is tokenised once, a large one as it is read."""

    def __init__(self, model: RPG, zoo: Checkpoints, config: TrainConfig):
        if model.tokenizer is None:
            raise InputError("this generator has no tokenizer; build it as RPG(config, tokenizer) to train it")
        tokenizer = model.tokenizer
        self.zoo, self.tokenizer, self.batch_size = zoo, tokenizer, config.batch_size
        self.states = self.tasks = None
        if model.config.permutation_states:
            self.states = torch.arange(len(zoo)) if config.permutation == "checkpoint" else torch.as_tensor(zoo.runs)
            if int(self.states.max()) >= model.config.permutation_states:
                raise InputError(
                    f"the zoo has {int(self.states.max()) + 1} permutation states (one per {config.permutation}), the "
                    f"generator {model.config.permutation_states}; set RPGConfig.permutation_states"
                )
        if config.prototype_loss and not model.config.prototype_skip:
            raise InputError("prototype_loss needs a generator with prototype_skip=True; set one or drop the other")
        if not config.diffusion and not model.config.prototype_skip:
            raise InputError("diffusion=False needs a generator with prototype_skip=True, or nothing would learn")
        if model.config.task_bits:
            if zoo.tasks is None or zoo.tasks.shape[1] != model.config.task_bits:
                has = "no tasks" if zoo.tasks is None else f"tasks of {zoo.tasks.shape[1]} bits"
                raise InputError(f"the generator is conditioned on {model.config.task_bits} bits, the zoo has {has}")
            self.tasks = zoo.tasks.float()
        self.mask = tokenizer.mask
        self.cache = None
        if len(zoo) * tokenizer.num_tokens * tokenizer.token_size <= CACHED_VALUES:
            self.cache = torch.stack([tokenizer.encode(zoo[i])[0] for i in range(len(zoo))])

    def batch(self, generator: torch.Generator, device: torch.device):
        """Checkpoints without replacement where the zoo is large enough: (B, L, D), (B,) or None, (B, bits) or None."""
        n = len(self.zoo)
        order = torch.cat([torch.randperm(n, generator=generator) for _ in range(-(-self.batch_size // n))])
        rows = order[: self.batch_size]
        if self.cache is not None:
            tokens = self.cache[rows]
        else:
            tokens = torch.stack([self.tokenizer.encode(self.zoo[int(i)])[0] for i in rows])
        states = self.states[rows].to(device) if self.states is not None else None
        tasks = self.tasks[rows].to(device) if self.tasks is not None else None
        return tokens.to(device, non_blocking=True), states, tasks


class _Weights(torch.nn.Module):
    """The model's parameters and buffers alone: averaging must not copy the tokenizer's statistics."""

    def __init__(self, model: RPG):
        super().__init__()
        self.recurrent, self.denoiser, self.skip = model.recurrent, model.denoiser, model.skip

    def copy_to(self, model: RPG) -> None:
        model.load_state_dict(self.state_dict())


def rate(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up over that share of the steps, then half a cosine to zero, as a factor of the learning rate."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _optimizer(model: RPG, config: TrainConfig) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    if config.optimizer == "adamw8bit":
        try:
            from bitsandbytes.optim import AdamW8bit
        except ImportError:
            raise InputError("optimizer='adamw8bit' needs bitsandbytes; install the gpu extra") from None
        return AdamW8bit(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
    # One pass over weights, gradient and averages instead of one per arithmetic operation.
    return torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def _mix(seed: int, step: int, process: int) -> int:
    """One 32-bit seed from three numbers (torch's CPU generator reads no more bits than these)."""
    value = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + process * 0x94D049BB133111EB + 1) % 2**64
    value = (value ^ (value >> 31)) * 0x9E3779B97F4A7C15 % 2**64
    return value >> 32


def _identity(model: RPG, zoo: Checkpoints, config: TrainConfig, processes: int) -> dict:
    """What must agree for a saved state to be this run's: configurations, tokenizer, and the zoo in its statistics."""
    tokenizer = model.tokenizer
    statistics = [float(x.double().sum()) for x in (*tokenizer.shift, *tokenizer.scale)]
    return {
        "model": dataclasses.asdict(model.config),
        "train": dataclasses.asdict(config),
        "tokenizer": [repr(tokenizer), statistics],
        "checkpoints": len(zoo),
        "processes": processes,
    }


def _save(path: Path, parts: dict, result: TrainResult, step: int, identity: dict) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    state |= {"step": step, "result": dataclasses.asdict(result), "identity": identity}
    with atomic(path) as part:
        try:
            torch.save(state, part)
        except RuntimeError as error:  # how torch reports a full disk
            raise OSError(str(error).splitlines()[0]) from error


def _resume(path: Path | None, parts: dict, result: TrainResult, identity: dict) -> int:
    """Load the saved state into `parts` and `result`; returns the step to go on with, 0 where there is none."""
    if path is None or not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch reports a broken file in several unrelated types
        raise InputError(f"cannot read {path} ({str(error).splitlines()[0]}); delete it to start again") from None
    if state["identity"] != identity:
        raise InputError(f"{path} belongs to a run with another configuration; choose another folder or delete it")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    result.__dict__.update(state["result"])
    return state["step"]
