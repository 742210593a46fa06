"""Costs, measured on a quiet machine and recorded: `python -m experiments.cost.benchmark NAME`, one of `COSTS`."""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from experiments.cost import gpu_cost
from experiments.cost.meters import held
from experiments.imagenet import networks as large_networks
from experiments.records import write_record
from rpglib.errors import choice
from rpglib.runtime.resident import resident
from rpglib.tokenizer import ParameterTokenizer


def tokenizer_cost(name: str = "convnext_large", token_size: int = 16384, repeats: int = 7) -> dict:
    """Seconds of encoding + decoding a network against a plain copy of its tensors, and the peak memory of the former.

    Times are medians of `repeats` alternating runs after one warm-up; memory is the process's resident memory (Linux),
    in units of the checkpoint's bytes, with the checkpoint itself and the tokenizer's mask counted.
    """
    import timm

    with torch.device("meta"):
        shapes = timm.create_model(name).state_dict()
    state = {
        key: torch.empty(x.shape).normal_() if x.is_floating_point() else x.new_ones(x.shape, device="cpu")
        for key, x in shapes.items()
    }
    size = sum(x.numel() * x.element_size() for x in state.values())
    tokenizer = ParameterTokenizer.fit([state], token_size)
    # Taken before the first encoding: the mask that the tokenizer keeps from then on is part of the cost.
    others = resident() - size
    kinds: dict[str, Callable] = {
        "copy": lambda: {key: x.clone() for key, x in state.items()},
        "encode_decode": lambda: tokenizer.decode(tokenizer.encode(state)[0]),
        "encode_decode_reuse": lambda: tokenizer.decode(tokenizer.encode(state)[0], reuse=True),
    }
    seconds = {kind: [] for kind in kinds}
    for repeat in range(repeats + 1):
        for kind, work in kinds.items():
            start = time.perf_counter()
            work()
            if repeat:
                seconds[kind].append(time.perf_counter() - start)
    peak = {}
    for kind in ("encode_decode", "encode_decode_reuse"):
        with held() as samples:
            kinds[kind]()
        peak[kind] = (max(samples) - others) / size
    medians = {kind: statistics.median(values) for kind, values in seconds.items()}
    return {
        "network": name,
        "parameters": tokenizer.num_parameters,
        "seconds": medians,
        "ratio": medians["encode_decode"] / medians["copy"],
        "ratio_reuse": medians["encode_decode_reuse"] / medians["copy"],
        "peak_in_checkpoints": peak,
    }


COSTS = {
    "tokenizer": (tokenizer_cost, 7, "random weights", "cpu"),
    "large_networks": (large_networks.measured, 1, "synthetic images, labelled at random", "cpu"),
    "gpu": (gpu_cost.measured, 1, "weights before training", "gpu"),
}
"""What can be measured: the function, how many times it repeats its work, what it reads, and the record's profile."""


def record(name: str) -> dict:
    """Measure one of `COSTS`, write its record and return it. Raises `InputError` for others."""
    measure, repeats, source, profile = COSTS[choice("cost", name, COSTS)]
    start = time.perf_counter()
    numbers = measure()
    return write_record(
        f"{name}_cost",
        profile,
        numbers,
        config={},
        seeds={},
        n=repeats,
        wall_seconds=time.perf_counter() - start,
        data_source=source,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m experiments.cost.benchmark", description=__doc__)
    parser.add_argument("cost", choices=COSTS)
    print(record(parser.parse_args().cost)["numbers"])
