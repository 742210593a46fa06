"""How the C library keeps freed memory: on a CPU it decides whether every large tensor is paid for in page faults."""

import ctypes
import functools
import platform

# The names and numbers of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
UNLIMITED = -1
"""As both thresholds read it, which are sizes without a sign."""
LARGEST_BYTES = 2**30
KEPT_BYTES = 2**31 - 1


@functools.cache
def keep_freed_memory() -> None:
    """Let this process keep freed tensors of up to 1 GiB, 2 GiB in all, for the next ones; Linux with glibc only.

    By default glibc returns freed blocks of some megabytes to the kernel, so each layer of each step fills fresh pages,
    which may take longer than computing what goes into them. Nothing a tensor holds depends on where it lies. The most
    that the process holds at one time hardly changes, but it keeps it until it ends. It concerns the whole program, so
    the program decides: nothing in the library calls this, `train`, `collect` and `generate` are faster on a CPU after
    it. Once per process; under another C library nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        # What one thread frees another can use: with memory of their own threads would hold more the longer they work.
        libc.mallopt(M_ARENA_MAX, 1)


def keep_all_freed_memory() -> None:
    """As `keep_freed_memory`, without limits: for a process that trains one large generator, and ends.

    Gradients of more than 2 GiB, which come and go with each step, are then paid for once, as on a GPU. What is kept
    falls into pieces where sizes change: networks of ten million values and more are written in minutes instead of
    seconds, and in several times the memory.
    """
    keep_freed_memory()
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, UNLIMITED)
        libc.mallopt(M_TRIM_THRESHOLD, UNLIMITED)
