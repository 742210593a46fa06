"""Training one RPG for several architectures: each step sees checkpoints of all of them.

Shapes: N checkpoints of one architecture per step, L tokens, D token size.
"""

import math
import time
from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from tqdm.auto import trange

from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
from rpglib.model.several import SeveralRPG
from rpglib.runtime.arguments import flag, of, takes
from rpglib.runtime.hardware import fp32, uses_bf16
from rpglib.tokenizer.several import Layout, matched, zoos_of
from rpglib.training.averages import Averages
from rpglib.training.loop import TrainConfig, TrainResult, batches_of, check_fits, frozen, learn, optimizer_of, rate
from rpglib.zoo.store import Zoo


@takes(zoos=zoos_of, config=of(RPGConfig), train=of(TrainConfig))
def new_several(zoos: Sequence[Zoo], config: RPGConfig, train: TrainConfig) -> SeveralRPG:
    """An untrained generator for the architectures of these zoos, one zoo each.

    Each has as many permutation states as `train.permutation` tells apart in its zoo; the first weights follow from
    `train.seed`. Raises `InputError` for a zoo that does not know its architecture or data set, for two of one
    architecture, and for a configuration that `SeveralRPG` refuses.
    """
    layouts = [Layout.fit(zoo, config.token_size) for zoo in zoos]
    states = [_states(zoo, train) for zoo in zoos]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(train.seed)
        return SeveralRPG(config, layouts, states)


@fp32()
@takes(model=of(SeveralRPG), zoos=zoos_of, config=of(TrainConfig), progress=flag)
def train_several(model: SeveralRPG, zoos: Sequence[Zoo], config: TrainConfig, progress: bool = True) -> TrainResult:
    """Train a generator on its zoos, on the device where it is; it is left in evaluation mode.

    `batch_size` and `diffusion_batch` are of each architecture. A step's loss is the mean over all architectures'
    tokens of what `RPG.forward` computes for each, so that a token counts alike in a short and in a long network.
    The result depends on model, zoos and `config` alone. Unlike `train` it neither resumes nor runs in several
    processes. Raises `InputError` where zoos, generator and recipe do not fit, and when the loss is no longer finite.
    """
    check_fits(model, config)
    pairs = matched(model.layouts, zoos)
    for (name, own), zoo in zip(model.states.items(), zoos, strict=True):
        if own and own != (told := _states(zoo, config)):
            raise InputError(
                f"{name} has {own} permutation states, permutation={config.permutation!r} tells {told} apart in its "
                "zoo; make the generator by new_several with the recipe that trains it"
            )
    with frozen(None if config.diffusion else model.shared.denoiser):
        return _train(model, pairs, config, progress)


def _states(zoo: Zoo, train: TrainConfig) -> int:
    """How many permutation states a recipe tells apart in a zoo."""
    return len(zoo) if train.permutation == "checkpoint" else len(zoo.runs.unique())


def _train(model: SeveralRPG, pairs: Sequence[tuple[Layout, Zoo]], config: TrainConfig, progress: bool) -> TrainResult:
    whole = sum(len(layout) for layout, _ in pairs)
    parts = []
    for k, (layout, zoo) in enumerate(pairs):
        # The number keeps the draws of two architectures apart.
        batches = batches_of(model.member(layout.name), zoo, config, process=k, device=model.device)
        parts.append((layout, len(layout) / whole, batches))
    bf16 = uses_bf16(config.precision, model.device)
    autocast = partial(torch.autocast, model.device.type, torch.bfloat16, enabled=bf16)
    optimizer = optimizer_of(model, config)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, config.steps, config.warmup))
    averaged = Averages(model, config.ema) if config.ema else None
    options = {"weighting": config.weighting, "prototype_loss": config.prototype_loss,
               "diffusion": config.diffusion or not model.shared.denoiser.at_zero,
               "recompute": config.gradient_checkpointing}  # fmt: skip
    result = TrainResult(precision="bf16" if bf16 else "fp32")
    began, computed = time.perf_counter(), time.process_time()
    learn(model)
    for step in trange(config.steps, desc="train generator", disable=not progress, mininterval=1.0):
        value = 0.0
        for layout, share, batches in parts:
            mask = layout.tokenizer.mask.to(model.device)
            with autocast():
                loss = share * model(layout.name, mask=mask, **batches(step), **options)
            loss.backward()
            value += float(loss.detach())
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip))
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise InputError(f"loss or gradient is not finite at step {step}; lower learning_rate")
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        if averaged is not None:
            averaged.update(step)
        result.losses.append(value)
    result.seconds, result.processor_seconds = time.perf_counter() - began, time.process_time() - computed
    if averaged is not None:
        model.load_state_dict(averaged.state_dict())
    model.eval()
    return result
