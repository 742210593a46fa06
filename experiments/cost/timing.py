"""What a training step takes, measured side by side: variant after variant, round after round, in one process."""

import functools
import statistics
import time
from dataclasses import replace
from itertools import pairwise

from experiments.pipeline import fit, pick
from experiments.sweeps.sweep import Sweep

WARM, TIMED, ROUNDS = 5, 20, 3


def measure(sweep: Sweep) -> dict:
    """Seconds of a training step: "step_seconds" {variant: [median of one round's steps, ...]}.

    The time of a cell's whole training also holds what its process did before, and whatever else the machine did. Here
    every variant trains a few steps in turn, the first of which do not count, with all cores to itself; and all of it
    again, so that what disturbs one round shows in the spread over rounds. One more round goes before, uncounted.
    """
    cells = {name: sweep.cells(name)[0] for name in sweep.variants}
    found: dict[str, list[float]] = {name: [] for name in cells}
    warm, timed, rounds = (1, 2, 1) if sweep.profile == "smoke" else (WARM, TIMED, ROUNDS)
    for count in range(rounds + 1):
        for name, cell in cells.items():
            ends: list[float] = []
            recipe = replace(cell.recipe, train=replace(cell.recipe.train, steps=warm + timed))
            note = functools.partial(_note, ends)
            fit(recipe, cell.zoo(), pick(sweep.device), progress=False, on_step=note)
            # The first round finds the process cold, whatever variant comes first.
            if count:
                found[name].append(statistics.median(b - a for a, b in pairwise(ends[warm - 1 :])))
    return {"step_seconds": found}


def _note(ends: list[float], *_) -> None:
    ends.append(time.perf_counter())
