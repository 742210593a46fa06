"""What a training step takes, measured side by side: variant after variant, round after round, in one process."""

from dataclasses import replace

from experiments.cost.meters import Clock
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
            clock = Clock()
            recipe = replace(cell.recipe, train=replace(cell.recipe.train, steps=warm + timed))
            fit(recipe, cell.zoo(), pick(sweep.device), progress=False, on_step=clock)
            # The first round finds the process cold, whatever variant comes first.
            if count:
                found[name].append(clock.median(warm))
    return {"step_seconds": found}
