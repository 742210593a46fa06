"""10: permutation states: which belong to a run, and how much networks of one run differ with one each, or with many.

Paper, v1, table 15; v2, table 17.
"""

from collections.abc import Sequence

from torch import Tensor

from experiments.pipeline import NETWORKS, images_of
from experiments.sweeps import mean_network
from experiments.sweeps.cells import Cell
from experiments.sweeps.findings import by_seed
from experiments.sweeps.sweep import Sweep
from rpglib.analysis.accuracy import predictions
from rpglib.analysis.similarity import mean_iou


def measure(sweep: Sweep) -> dict:
    """What a sweep over the number of runs leaves open.

    mean_network {runs: ...}: what the mean of the checkpoints is good for, by seed. within_run {variant: {"generated",
    "original"}}: error-IoU among ten generated networks of the first run's states, and among that run's checkpoints, by
    seed, for variants that have states and several checkpoints of a run.
    """
    zoos: dict[str, dict] = {}
    within: dict[str, dict] = {}
    for name in sweep.variants:
        recipe, cells = sweep.recipe(name), sweep.cells(name)
        runs = str(recipe.collect.runs)
        if runs not in zoos:
            zoos[runs] = mean_network.measure(cells)
        if recipe.model.permutation_states and recipe.collect.checkpoints > 1:
            within[name] = {
                "generated": by_seed([_alike(cell, written(cell, of_run(cell, 0, NETWORKS))) for cell in cells]),
                "original": by_seed([_alike(cell, cell.zoo().subset(members(cell, 0))) for cell in cells]),
            }
    return {"mean_network": zoos, "within_run": within}


def members(cell: Cell, run: int) -> list[int]:
    """The numbers of a run's checkpoints in the cell's zoo."""
    return (cell.zoo().runs == run).nonzero()[:, 0].tolist()


def of_run(cell: Cell, run: int, n: int) -> list[int]:
    """The permutation states of n networks of one run: the run's own, or those of its checkpoints, evenly spread."""
    if cell.recipe.train.permutation == "run":
        return [run] * n
    states = members(cell, run)
    return [states[k * len(states) // n] for k in range(n)]


def written(cell: Cell, states: Sequence[int]) -> list[dict[str, Tensor]]:
    """Networks of the cell's generator, one for each of the permutation states, by its own sampler and seed."""
    recipe = cell.recipe
    return cell.model().generate(
        len(states),
        permutation=states,
        sampler=recipe.sampler,
        steps=recipe.sampling_steps,
        seed=recipe.train.seed,
    )


def _alike(cell: Cell, networks) -> float:
    split = images_of(cell.recipe.images).test
    return mean_iou(predictions(cell.recipe.architecture.build(), networks, split.images) != split.labels)
