"""Freed memory is used again: the same work takes far fewer page faults."""

import platform
import subprocess
import sys

import pytest

# Each round fills 64 MiB, 16,384 pages, and frees it; the first rounds find their place in memory.
PROGRAM = """
import resource, sys
import torch
from rpglib.runtime.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    call = [sys.executable, "-c", PROGRAM, how]
    return int(subprocess.run(call, capture_output=True, text=True, check=True, timeout=120).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets glibc's allocator")
def test_freed_memory_is_not_paid_for_again():
    assert faults("keep") < 100 < faults("leave")
