"""Verdicts on the paper's claims and on ours: one function per notebook, from the numbers of its record."""

from experiments.sweeps.verdicts.architecture import recurrent_and_positions, structure, tokenization
from experiments.sweeps.verdicts.convergence import cifar10_convergence
from experiments.sweeps.verdicts.objective import training_objective

VERDICTS = {
    "07": recurrent_and_positions,
    "08": tokenization,
    "09": structure,
    "05": cifar10_convergence,
    "03": training_objective,
}
"""By the number of the notebook that prints them."""
