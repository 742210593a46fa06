"""The mean of a zoo's checkpoints, which needs no generator: where it works, accuracy says nothing of one."""

from collections.abc import Sequence

from experiments import baselines
from experiments.pipeline import images_of
from experiments.sweeps.cells import Cell
from experiments.sweeps.findings import by_seed
from rpglib.analysis.accuracy import predictions
from rpglib.analysis.similarity import nearest_iou


def measure(cells: Sequence[Cell]) -> dict:
    """Of the mean of every cell's checkpoints, by seed: "accuracy" (percent), "similarity" (error-IoU).

    The similarity is that with the nearest original, as of generated networks.
    """
    right, alike = [], []
    for cell in cells:
        zoo, split = cell.zoo(), images_of(cell.recipe.images).test
        networks, module = [zoo[k] for k in range(len(zoo))], cell.recipe.architecture.build()
        originals = predictions(module, networks, split.images) != split.labels
        errors = predictions(module, [baselines.mean_network(networks)], split.images) != split.labels
        right.append(100 * (1 - errors.double().mean().item()))
        alike.append(nearest_iou(errors, originals).item())
    return {"accuracy": by_seed(right), "similarity": by_seed(alike)}
