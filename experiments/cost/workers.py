"""Processes to work and to measure in: what one of them holds or has switched on, no other does."""

import os
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

from rpglib.runtime.processes import end_with


def worker(here: bool = False) -> Executor:
    """One process that does what it is given in turn, started afresh; with `here` a thread of this one instead.

    It ends with this process, even where that is killed.
    """
    return ThreadPoolExecutor(1) if here else ProcessPoolExecutor(1, get_context("spawn"), end_with, (os.getpid(),))
