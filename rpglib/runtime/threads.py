"""Threads beside PyTorch's own."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch


def one_core_threads(count: int, name: str) -> ThreadPoolExecutor:
    """So many threads, in each of which PyTorch uses no others: those that wait for work keep a core busy.

    How many threads PyTorch uses in this one, and in those that are started later, stays as it is.
    """
    own, started = torch.get_num_threads(), threading.Barrier(count)

    def alone() -> None:
        torch.get_num_threads()  # otherwise PyTorch would set the number that it has for new threads later
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(count, name, alone)
    list(pool.map(abs, range(count)))
    torch.set_num_threads(own)  # for threads that others start later
    return pool
