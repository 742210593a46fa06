"""What the paper's large networks cost on one GPU: writing them (v1, table 7 = v2, table 9), and a training step.

Neither depends on what the weights are, so generators and networks are as they start.
"""

import contextlib
import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch

from experiments.cost.meters import Clock
from experiments.cost.tokenizers import tokenizer_of
from rpglib.errors import InputError
from rpglib.model import mamba2
from rpglib.model.config import RPGConfig
from rpglib.model.rpg import RPG
from rpglib.runtime.hardware import has_bf16, pick
from rpglib.training import loop
from rpglib.training.loop import TrainConfig, train
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.store import Zoo

WRITTEN = {
    "vit_base_patch16_224": ("large", (5, 20, 60, 100, 200)),
    "convnext_large": ("large", (5, 20, 60, 100, 200)),
}
"""Network -> preset (v2, B.2) and numbers of DDIM steps: those of the paper's table."""
TRAINED = {
    "cnn_s": ("tiny", TrainConfig.paper()),
    "mobilenetv3_large_100": ("small", TrainConfig.paper()),
    "resnet18": ("base", TrainConfig.paper()),
}
"""Network -> preset and the paper's training (v1, table 11 = v2, table 15)."""
STEPS = 12


def measured(
    written: Mapping[str, tuple[str, Sequence[int]]] = WRITTEN,
    trained: Mapping[str, tuple[str, TrainConfig]] = TRAINED,
    device: str = "cuda",
    steps: int = STEPS,
) -> dict:
    """{"generation": rows of `generation`, "training": rows of `training`, "scan": "fused" or "chunked"}.

    Raises `InputError` without a GPU.
    """
    if not torch.cuda.is_available():
        raise InputError("the cost on a GPU is measured on one, and there is none here")
    rows = [generation(name, *what, device) for name, what in written.items()]
    return {
        "scan": "fused" if mamba2.fused_kernels(pick(device)) is not None else "chunked",
        "generation": [row for each in rows for row in each],
        "training": [row for name, what in trained.items() for row in training(name, *what, device, steps)],
    }


def generation(network: str, preset: str, counts: Sequence[int], device: str) -> list[dict]:
    """Rows {network, preset, parameters, tokens, steps, seconds, bytes} of writing one network with `counts` steps.

    Seconds from prototypes to state dict, after a network that does not count; bytes: the most that the device held.
    In bf16, in parts of 256 tokens.
    """
    config = replace(RPGConfig.preset(preset), permutation_states=1)
    tokenizer = tokenizer_of(_network(network), config.token_size)
    with _clean():
        model = RPG(config, tokenizer).to(device).eval()
        model.generate(1, steps=2, precision="auto")
        rows = []
        for steps in counts:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
            began = time.perf_counter()
            model.generate(1, steps=steps, precision="auto")
            rows.append(
                {
                    "network": network,
                    "preset": preset,
                    "parameters": tokenizer.num_parameters,
                    "tokens": tokenizer.num_tokens,
                    "generator_parameters": sum(p.numel() for p in model.parameters()),
                    "precision": "bf16" if has_bf16(model.device) else "fp32",
                    "steps": steps,
                    "seconds": time.perf_counter() - began,
                    "bytes": torch.cuda.max_memory_allocated(),
                }
            )
            print(rows[-1], flush=True)
        del model
    return rows


def training(network: str, preset: str, config: TrainConfig, device: str, steps: int) -> list[dict]:
    """Rows {network, preset, graph, seconds, bytes} of a training step, the median of those after the first third.

    Once as `train` does it, and once with its kernels told one by one instead of as a CUDA graph.
    """
    zoo = _zoo(network)
    model_config = replace(RPGConfig.preset(preset), permutation_states=len(zoo))
    tokenizer = tokenizer_of(_network(network), model_config.token_size)
    rows, graphed = [], loop.graphed
    for graph in (True, False):
        with _clean():
            clock = Clock()
            loop.graphed = graphed if graph else _told
            try:
                model = RPG(model_config, tokenizer)
                torch.cuda.reset_peak_memory_stats()
                few = replace(config, steps=steps)
                result = train(model, zoo, few, None, device, False, clock)
            finally:
                loop.graphed = graphed
            rows.append(
                {
                    "network": network,
                    "preset": preset,
                    "tokens": tokenizer.num_tokens,
                    "batch_size": config.batch_size,
                    "diffusion_batch": config.diffusion_batch,
                    "graph": graph,
                    "precision": result.precision,
                    "seconds": clock.median(steps // 3 + 1),
                    "bytes": torch.cuda.max_memory_allocated(),
                }
            )
            print(rows[-1], flush=True)
            del model
    return rows


def _told(model, _batch, options, _autocast):
    return partial(model, **options)


def _network(name: str) -> Architecture:
    return Architecture(name, 10, 3, 32) if name == "cnn_s" else Architecture(name, 1000, 3, 224)


def _zoo(network: str) -> Zoo:
    architecture = _network(network)
    return Zoo.from_checkpoints(
        (architecture.build().state_dict() for _ in range(2)),
        architecture=architecture,
        runs=[0, 1],
        accuracies=[0.0, 0.0],
        images="none",
        config={},
    )


@contextlib.contextmanager
def _clean() -> Iterator[None]:
    """What was allocated within is given back to the device at the end."""
    try:
        yield
    finally:
        gc.collect()
        torch.cuda.empty_cache()
