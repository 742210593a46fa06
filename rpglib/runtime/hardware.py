"""What the device at hand can do."""

import functools
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rpglib.errors import InputError, choice, shown

PRECISIONS = ("auto", "fp32", "bf16")
SIDE, GAIN = 512, 0.7
"""Of the product that decides on bf16, and the share of its time in fp32 that it may take."""


def pick(device: str | torch.device) -> torch.device:
    """The device by name; "auto" is the first GPU, or else the CPU. Raises `InputError` where it is not at hand."""
    if isinstance(device, str) and device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.empty(0, device=torch.device(device)).is_meta:
            raise ValueError("it holds no values")
    except (RuntimeError, AssertionError, ImportError, TypeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise InputError(f"device {shown(device)} cannot be used here ({reason}); try 'cpu'") from None
    return torch.device(device)


@contextmanager
def fp32() -> Iterator[None]:
    """PyTorch's own default type inside, also where the program around has set another; a decorator, too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def memory() -> float:
    """Bytes of the computer's memory; infinite where the operating system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware: emulated, as on CPUs with AVX2 only, it is 20 times slower.

    A CPU's flags say what it could do; a short measurement, once in a process, whether PyTorch gains by it here.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # Older versions of PyTorch do not say.
        known = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(known.get("avx512_bf16") or known.get("amx_tile")) and _gains_by_bf16()
    return False


@functools.cache
def _gains_by_bf16() -> bool:
    """Whether a product in bf16 takes less than `GAIN` of its time in fp32, by the quickest of five of each.

    In hardware it takes about a quarter, emulated many times: what else the machine does decides nothing.
    """
    single = torch.ones(SIDE, SIDE)
    half, seconds = single.bfloat16(), {torch.float32: [], torch.bfloat16: []}
    for _ in range(5):
        for x in (single, half):
            began = time.perf_counter()
            x @ x
            seconds[x.dtype].append(time.perf_counter() - began)
    return min(seconds[torch.bfloat16]) < GAIN * min(seconds[torch.float32])


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Whether to compute in bf16: "auto" does where the device has it. Raises `InputError` for another precision."""
    return choice("precision", precision, PRECISIONS) == "bf16" or (precision == "auto" and has_bf16(device))
