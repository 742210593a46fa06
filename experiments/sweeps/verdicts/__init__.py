"""Verdicts on the paper's claims and on ours: one function per notebook, from the numbers of its record."""

from experiments.sweeps.verdicts.basins import linear_mode_connectivity, permutation_state
from experiments.sweeps.verdicts.likeness import sensitivity, similarity
from experiments.sweeps.verdicts.novelty import memorisation

VERDICTS = {
    "10": permutation_state,
    "11": linear_mode_connectivity,
    "12": similarity,
    "14": sensitivity,
    "13": memorisation,
}
"""By the number of the notebook that prints them."""
