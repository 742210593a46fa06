"""What training and sampling would cost where nothing was run: the cost model against this machine, and for others."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import torch

from experiments.cost import rates
from experiments.cost.roofline import Rates, sampling, training_memory, training_seconds, training_step
from experiments.cost.tokenizers import tokenizer_of
from experiments.cost.training_cost import preset_cost, recipes_of
from experiments.cost.workers import worker
from experiments.imagenet.networks import NETWORKS
from experiments.profiles import Recipe
from experiments.records import read_record, write_record
from rpglib.model.config import RPGConfig
from rpglib.model.rpg import RPG
from rpglib.training.loop import TrainConfig
from rpglib.zoo.architectures import Architecture

EXPERIMENT = "cost_model"
PRESETS = ("tiny", "small", "base")
"""Those that this machine can hold."""
TOKENS, SAMPLING_STEPS = {"tiny": 512, "small": 64, "base": 64}, 10
"""Of a network that is sampled, by preset."""
TRAINING_STEPS = {"tiny": 60, "small": 6, "base": 6}
"""That are timed, by preset: of short ones more, so that a moment's noise is not their median."""
H100 = Rates(product=989e12, convolution=989e12, convolution_backward=989e12, bandwidth=3.35e12, link=450e9)
"""What its data sheet says (NVIDIA, H100 SXM5: bf16 without sparsity, HBM3, NVLink in one direction). Nothing reaches
all of it; what follows counts passes as if none were fused, so that it is no bound either."""
PAPER_HOURS = {
    "vit_tiny_patch16_224": 4,
    "vit_small_patch16_224": 10,
    "vit_base_patch16_224": 54,
    "convnext_large": 144,
}
"""GPU hours (v2, table 27, which does not name the GPU)."""
DEVICES = (1, 8, 64)
NOISE = (64, 8192)
"""Tokens, and values of each, whose noise is drawn to measure how fast one core does that."""


def record_of(profile: str, fresh: bool) -> dict:
    """Measure this machine and predict, and record it (`fresh`), or read the record. Returns its numbers.

    numbers: {"rates": {token size: of this machine}, "rows": as `rows` has them, "networks": as `predictions` has
    them, "bounds": {recipe: as `bound` has it}, of those whose steps `training_cost` times, "noise": `noise_rate`}.
    """
    if not fresh:
        return read_record(EXPERIMENT, profile)["numbers"]
    began, smoke = time.perf_counter(), profile == "smoke"
    presets, networks = (PRESETS[:1], tuple(PAPER_HOURS)[:1]) if smoke else (PRESETS, tuple(PAPER_HOURS))
    train, recipes = TrainConfig.paper(precision="bf16"), recipes_of(profile)
    sizes = {RPGConfig.preset(name).token_size for name in presets} | {x.model.token_size for x in recipes.values()}
    own = {size: rates.measured(size, scale=16 if smoke else 1) for size in sorted(sizes)}
    numbers = {
        "rates": {str(size): asdict(found) for size, found in own.items()},
        "rows": [row for name in presets for row in rows(name, own[RPGConfig.preset(name).token_size], smoke)],
        "networks": predictions(train, networks=networks),
        "bounds": {name: bound(recipe, own[recipe.model.token_size]) for name, recipe in recipes.items()},
        "noise": noise_rate(),
    }
    return write_record(
        EXPERIMENT,
        profile,
        numbers,
        config={"train": train, "device": H100},
        seeds={},
        n=1,
        wall_seconds=time.perf_counter() - began,
        data_source="weights before training",
    )["numbers"]


def rows(preset: str, own: Rates, smoke: bool = False) -> list[dict]:
    """{preset, what, predicted, measured: seconds}: of a training step as `preset_cost` takes it, and of a network.

    Of the former also "bytes" and "predicted_bytes", and "shares" of the predicted seconds by kind of operation.
    """
    config = replace(RPGConfig.preset(preset), permutation_states=2)
    with worker(smoke) as alone:
        real = alone.submit(preset_cost, preset, 3 if smoke else TRAINING_STEPS[preset], not smoke).result()
    sizes = {key: real[key] for key in ("batch_size", "diffusion_batch")}
    train, tokens = TrainConfig.paper(**sizes, precision="fp32"), real["tokens"]
    work = training_step(config, tokens, train)
    step = {"preset": preset, "what": "training step", "measured": [real["seconds"]], "predicted": work.seconds(own)}
    step |= {"bytes": real["counted_bytes"], "predicted_bytes": training_memory(config, tokens, train)}
    tokens, steps = (8, 2) if smoke else (TOKENS[preset], SAMPLING_STEPS)
    with worker(smoke) as alone:
        seconds = alone.submit(sampled, preset, tokens, steps).result()
    wanted = sampling(config, tokens).seconds(own, steps)
    network = {"preset": preset, "what": "network", "measured": seconds, "predicted": wanted}
    return [step | {"shares": work.shares(own)}, network | {"tokens": tokens, "steps": steps}]


def noise_rate() -> float:
    """Values of noise that are drawn in a second, on one core, whatever the device that computes: a training's."""
    generator = torch.Generator().manual_seed(0)
    return math.prod(NOISE) / rates.seconds(lambda: torch.randn(*NOISE, generator=generator), "cpu")


def bound(recipe: Recipe, own: Rates) -> dict:
    """What a training step must take on this machine: {"seconds", "shares": by kind of operation}."""
    tokens = tokenizer_of(recipe.architecture, recipe.model.token_size).num_tokens
    work = training_step(recipe.model, tokens, recipe.train)
    return {"seconds": work.seconds(own), "shares": work.shares(own)}


def sampled(preset: str, tokens: int, steps: int, repeats: int = 3) -> list[float]:
    """Seconds of writing one network of so many tokens, each time, after one that does not count."""
    config = replace(RPGConfig.preset(preset), permutation_states=2)
    model, found = RPG.with_positions(config, torch.zeros(tokens, config.widths[0])), []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        list(model.generate_tokens(1, steps=steps))
        found.append(time.perf_counter() - began)
    return found[1:]


def predictions(
    train: TrainConfig,
    device: Rates = H100,
    counts: Sequence[int] = DEVICES,
    networks: Sequence[str] = tuple(PAPER_HOURS),
) -> list[dict]:
    """Rows of the paper's networks: tokens, and by number of devices hours of the whole training and bytes of each.

    noise: values that a step draws, of all devices together.
    """
    found = []
    for name in networks:
        preset = NETWORKS[name][0]
        config = replace(RPGConfig.preset(preset), permutation_states=50)
        tokens = tokenizer_of(Architecture(name, 1000, 3, 224), config.token_size).num_tokens
        hours_on = {n: train.steps * training_seconds(config, tokens, train, device, n) / 3600 for n in counts}
        noisy = min(train.diffusion_batch, train.batch_size * tokens)
        found.append(
            {
                "network": name,
                "preset": preset,
                "tokens": tokens,
                "steps": train.steps,
                "noise": noisy * config.token_size,
                "hours": hours_on,
                "bytes": {n: training_memory(config, tokens, train, n) for n in counts},
                "paper": PAPER_HOURS[name],
            }
        )
    return found


def within(rows: Sequence[dict], share: float = 0.25) -> list[str]:
    """The rows that are off by more than this share of what was measured, in words."""
    return [
        f"{row['preset']}, {row['what']}"
        for row in rows
        if abs(row["predicted"] / statistics.median(row["measured"]) - 1) > share
    ]
