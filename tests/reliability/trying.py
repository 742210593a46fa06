"""What every kind of trial needs: its count, children that may be killed, and a small recipe to compute."""

import os
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from experiments import profiles

SMOKE = profiles.main_results("smoke")[1]
TINY = replace(SMOKE, generators=1, networks=2, train=replace(SMOKE.train, steps=12, save_every=2), sampling_steps=1)


@dataclass
class Trial:
    """How often something was tried, what did not hold, and how often what happened."""

    tries: int = 0
    faults: list[str] = field(default_factory=list)
    seen: Counter = field(default_factory=Counter)

    def one(self, what: str, check: Callable[[], str | None]) -> None:
        """Count one try: `check` says what happened, and raises where something does not hold."""
        self.tries += 1
        try:
            if happened := check():
                self.seen[happened] += 1
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            text = " ".join(str(error).split())[:200]
            self.faults.append(f"{what}: {type(error).__name__}: {text} ({Path(place.filename).name}:{place.lineno})")

    def each(self, what: str, folder: Path, count: int, check: Callable[[Path], str | None]) -> "Trial":
        """`one` for every folder from 0 on; returns the trial itself."""
        for k in range(count):
            self.one(f"{what} {k}", partial(check, folder / str(k)))
        return self

    def facts(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in sorted(self.seen.items()))


def child(work: Callable[[], None]) -> int:
    """Start `work` in a process of its own."""
    if (process := os.fork()) == 0:
        try:
            sys.stderr = open(os.devnull, "w")
            work()
            os._exit(0)
        except BaseException as error:
            print(f"    child: {type(error).__name__}: {str(error)[:300]}", flush=True)
            os._exit(1)
    return process


def ended(process: int) -> int:
    """Wait for a child; its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed_after(seconds: float, work: Callable[[], None]) -> bool:
    """Start `work`, kill it after so many seconds; False where it had finished before."""
    process = child(work)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    return ended(process) == -signal.SIGKILL


def seconds_of(work: Callable[[], None]) -> float:
    """How long `work` takes in a process of its own, which must end well."""
    began = time.perf_counter()
    assert ended(child(work)) == 0, "the unbroken one did not end well"
    return time.perf_counter() - began


def killed_once(place: Path, seconds: float, work: Callable[[], None]) -> None:
    """Kill `work`, which takes so many seconds, before it has finished: begun anew and killed sooner where it has."""
    while not killed_after(seconds, work):
        shutil.rmtree(place)
        place.mkdir()
        seconds *= 0.8


def one_line(error: Exception) -> str:
    """The kind of an error that tells one line; anything else is a fault."""
    assert str(error) and "\n" not in str(error), f"not one line: {str(error)!r}"
    return "told"


def no_parts(folder: Path) -> None:
    """What killed processes left must be gone."""
    left = [path.name for path in folder.rglob("*") if ".part-" in path.name or path.name.startswith(".waiting-")]
    assert not left, f"left over: {left}"
