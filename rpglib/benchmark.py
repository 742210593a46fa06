"""The tokenizer's cost in time and memory: `python -m rpglib.benchmark` measures and records it."""

import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch

from rpglib.records import write_record
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
    others = _resident() - size
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
    peak = {kind: (_peak(work) - others) / size for kind, work in kinds.items() if kind != "copy"}
    medians = {kind: statistics.median(values) for kind, values in seconds.items()}
    return {
        "network": name,
        "parameters": tokenizer.num_parameters,
        "seconds": medians,
        "ratio": medians["encode_decode"] / medians["copy"],
        "ratio_reuse": medians["encode_decode_reuse"] / medians["copy"],
        "peak_in_checkpoints": peak,
    }


def _resident() -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS")


def _peak(work: Callable) -> int:
    """Highest resident memory while `work` runs, by sampling every two milliseconds."""
    samples, done = [_resident()], threading.Event()

    def watch():
        while not done.wait(0.002):
            samples.append(_resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return max(samples)


if __name__ == "__main__":
    start = time.perf_counter()
    numbers = tokenizer_cost()
    write_record(
        "tokenizer_cost",
        "digits",
        numbers,
        config={},
        seeds={},
        n=7,
        wall_seconds=time.perf_counter() - start,
        data_source="random weights",
    )
    print(numbers)
