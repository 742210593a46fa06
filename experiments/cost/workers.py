"""Processes in which costs are measured: what one of them holds or has switched on, no other does."""

from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context


def worker(here: bool = False) -> Executor:
    """One process that does what it is given in turn, started afresh; with `here` a thread of this one instead."""
    return ThreadPoolExecutor(1) if here else ProcessPoolExecutor(1, get_context("spawn"))
