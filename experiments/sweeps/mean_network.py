"""03: what the mean of a zoo's networks reaches, which two of the normalisations hold before anything is learned."""

from experiments.baselines import mean_network
from experiments.pipeline import images_of
from experiments.sweeps.sweep import Sweep
from rpglib.analysis.accuracy import accuracy, predictions


def measure(sweep: Sweep) -> dict:
    """Accuracy in percent of the mean of the base's checkpoints: "mean_network" [one per seed]."""
    zoos = [sweep.cell(sweep.base, s).zoo() for s in sweep.seeds]
    means = [mean_network([zoo[k] for k in range(len(zoo))]) for zoo in zoos]
    test = images_of(sweep.base.images).test
    said = predictions(sweep.base.architecture.build(), means, test.images)
    return {"mean_network": accuracy(said, test.labels).tolist()}
