"""What is read while something runs: the time at the end of each step, and the memory that is held."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from rpglib.runtime.resident import resident


@dataclass
class Clock:
    """Notes the time whenever it is called: at the end of every step, as a training's `on_step`."""

    now: Callable[[], float] = time.perf_counter
    ends: list[float] = field(default_factory=list)

    def __call__(self, *_) -> None:
        self.ends.append(self.now())

    def median(self, warm: int = 1) -> float:
        """Seconds of a step without the first `warm`, one or more: the beginning of the first is not known."""
        return statistics.median(b - a for a, b in pairwise(self.ends[warm - 1 :]))


@contextmanager
def held() -> Iterator[list[int]]:
    """The process's resident memory in bytes, before what is done within and then every five milliseconds."""
    samples, done = [resident()], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            samples.append(resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield samples
    finally:
        done.set()
        watcher.join()
