"""Freed memory is used again: the same work takes far fewer page faults; the library leaves that to the program."""

import platform
import subprocess
import sys

import pytest

# Each round fills 64 MiB, 16,384 pages, and frees it; the first rounds find their
# place in memory.
PROGRAM = """
import resource, sys
import torch
from rpglib.runtime.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
if sys.argv[1] == "work":
    from rpglib import RPG, ParameterTokenizer, RPGConfig, TrainConfig, Zoo, train
    from rpglib.zoo.architectures import Architecture

    facts = dict(architecture=Architecture("mine"), runs=[0, 0], accuracies=[1.0, 1.0])
    zoo = Zoo.from_checkpoints([{"w": torch.randn(8, 8)} for _ in range(2)], **facts)
    config = RPGConfig(token_size=16, widths=(16,), d_state=4, headdim=8, channels=(1, 4, 1))
    model = RPG(config, ParameterTokenizer.fit(zoo, 16))
    train(model, zoo, TrainConfig(steps=2, batch_size=2), device="cpu", progress=False)
    model.generate(steps=2)
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


# Blocks of more than 1 GiB, asked for as they are: PyTorch's places for them differ from round to round.
LARGE = """
import ctypes, resource, sys
from rpglib.runtime import allocator

getattr(allocator, sys.argv[1])()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.memset.argtypes, libc.free.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t], [ctypes.c_void_p]
size = 2**30 + 2**22
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(size)
    libc.memset(block, 1, size)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    call = [sys.executable, "-c", PROGRAM, how]
    return int(subprocess.run(call, capture_output=True, text=True, check=True, timeout=120).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets glibc's allocator")
def test_freed_memory_is_not_paid_for_again():
    assert faults("keep") < 100 < faults("leave")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets glibc's allocator")
def test_what_is_larger_than_the_limit_is_kept_where_all_is():
    found = {}
    for how in ("keep_all_freed_memory", "keep_freed_memory"):
        call = [sys.executable, "-c", LARGE, how]
        found[how] = int(subprocess.run(call, capture_output=True, text=True, check=True, timeout=120).stdout)
    assert found["keep_all_freed_memory"] < 100 < found["keep_freed_memory"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets glibc's allocator")
def test_training_and_generating_leave_the_allocator_as_it_was():
    assert faults("work") > 100
