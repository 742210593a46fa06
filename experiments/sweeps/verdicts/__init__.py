"""Verdicts on the paper's claims and on ours: one function per notebook, from the numbers of its record."""

from experiments.sweeps.verdicts.architecture import recurrent_and_positions, structure, tokenization
from experiments.sweeps.verdicts.basins import linear_mode_connectivity, permutation_state
from experiments.sweeps.verdicts.convergence import cifar10_convergence
from experiments.sweeps.verdicts.likeness import sensitivity, similarity
from experiments.sweeps.verdicts.novelty import memorisation
from experiments.sweeps.verdicts.objective import training_objective

VERDICTS = {
    "07": recurrent_and_positions,
    "08": tokenization,
    "09": structure,
    "10": permutation_state,
    "11": linear_mode_connectivity,
    "12": similarity,
    "14": sensitivity,
    "05": cifar10_convergence,
    "13": memorisation,
    "03": training_objective,
}
"""By the number of the notebook that prints them."""
