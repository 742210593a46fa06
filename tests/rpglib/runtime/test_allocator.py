"""Freed memory is used again: the same work takes far fewer page faults; the library leaves that to the program."""

import platform
import subprocess
import sys

import pytest

# Each round fills 64 MiB, 16,384 pages (or as many values as are asked for), and frees it. Of interest is the round with
# the fewest faults: the first finds its place in memory, and where glibc has several such places, so may others.
PROGRAM = """
import resource, sys
import torch
from rpglib.runtime.allocator import keep_all_freed_memory, keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
if sys.argv[1] == "keep all":
    keep_all_freed_memory()
if sys.argv[1] == "work":
    from rpglib import RPG, ParameterTokenizer, RPGConfig, TrainConfig, Zoo, train
    from rpglib.zoo.architectures import Architecture

    facts = dict(architecture=Architecture("mine"), runs=[0, 0], accuracies=[1.0, 1.0])
    zoo = Zoo.from_checkpoints([{"w": torch.randn(8, 8)} for _ in range(2)], **facts)
    config = RPGConfig(token_size=16, widths=(16,), d_state=4, headdim=8, channels=(1, 4, 1))
    model = RPG(config, ParameterTokenizer.fit(zoo, 16))
    train(model, zoo, TrainConfig(steps=2, batch_size=2), device="cpu", progress=False)
    model.generate(steps=2)
values, rounds = int(sys.argv[2]), int(sys.argv[3])
found = []
for _ in range(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(values)
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(found))
"""


def faults(how, values=2**24, rounds=20):
    call = [sys.executable, "-c", PROGRAM, how, str(values), str(rounds)]
    return int(subprocess.run(call, capture_output=True, text=True, check=True, timeout=120).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets glibc's allocator")
def test_freed_memory_is_not_paid_for_again():
    assert faults("keep") < 100 < faults("leave")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets glibc's allocator")
def test_what_is_larger_than_the_limit_is_kept_where_all_is():
    assert faults("keep all", 2**28 + 2**20, 4) < 100 < faults("keep", 2**28 + 2**20, 4)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets glibc's allocator")
def test_training_and_generating_leave_the_allocator_as_it_was():
    assert faults("work") > 100
