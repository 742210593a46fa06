"""Kernel ridge regression from bits or conditions to weights; kernel and penalty are chosen on held-out ones."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rpglib.errors import InputError
from rpglib.runtime.arguments import takes, tensor
from rpglib.tasks.conditions import Condition, described, features

PENALTIES = [0.01, 0.03, 0.1, 0.3, 1.0]
GRID = [
    {"kernel": ["rbf"], "gamma": [0.01, 0.03, 0.1], "alpha": PENALTIES},
    {"kernel": ["poly"], "degree": [2, 3, 4], "gamma": [0.1], "coef0": [1.0], "alpha": PENALTIES},
]
FOLDS = 5


@takes(seen=tensor("S+ bits+", "bits"), weights=tensor("S P+", "real"), tasks=tensor("U+ bits", "bits"))
def kernel_ridge(seen: Tensor, weights: Tensor, tasks: Tensor) -> Tensor:
    """Predict weights (U, P) for tasks (U, bits) from the seen tasks (S, bits) and their weights (S, P).

    The bits are -1 and 1, the weights centred. Of the settings in `GRID` the one with the least squared error over
    `FOLDS` folds of the seen tasks is fitted to all of them; a task and its opposite are in one fold, as they are on
    one side of a split.
    """
    seen, tasks = seen.long(), tasks.long()
    # Of a task and its opposite the one whose last bit is 0; by rank, since many bits are too large a number.
    pairs = torch.where(seen[:, -1:] == 1, 1 - seen, seen).flip(1).unique(dim=0, return_inverse=True)[1]
    if len(pairs.unique()) < 2:
        raise InputError("a kernel is chosen on held-out tasks; give at least two that are no opposites")
    return _predicted(2 * seen - 1, weights, 2 * tasks - 1, pairs)


@takes(
    conditions=lambda name, value, sizes: described(name, value),
    seen=tensor("S+ C+", "finite"),
    weights=tensor("S P+", "real"),
    asked=tensor("U+ C", "finite"),
)
def kernel_ridge_for_conditions(
    conditions: Sequence[Condition], seen: Tensor, weights: Tensor, asked: Tensor
) -> Tensor:
    """The same for conditions: weights (U, P) for rows (U, C) from seen rows (S, C) and their weights (S, P).

    The features are those that a generator is told, from -1 to 1; every row is a fold's by itself.
    """
    if len(seen) < 2:
        raise InputError("a kernel is chosen on held-out rows; give at least two")
    told = [2 * features(conditions, rows) - 1 for rows in (seen, asked)]
    return _predicted(told[0], weights, told[1], torch.arange(len(seen)))


def _predicted(inputs: Tensor, weights: Tensor, asked: Tensor, groups: Tensor) -> Tensor:
    """Weights (U, P) for inputs (U, F); what is of one group (S,) is in one fold."""
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.model_selection import GridSearchCV, GroupKFold

    centred = (weights - weights.mean(0)).double()
    # Errors are the same in the at most S directions that the seen networks span, and found in a fraction of the time.
    try:
        squares, axes = torch.linalg.eigh(centred @ centred.T)
    except torch.linalg.LinAlgError:
        raise InputError("weights are so large that their squares have no sum; scale them down") from None
    coordinates = axes * squares.clamp(min=0).sqrt()
    folds = GroupKFold(min(FOLDS, len(groups.unique())))
    search = GridSearchCV(KernelRidge(), GRID, scoring="neg_mean_squared_error", cv=folds, refit=False)
    search.fit(inputs, coordinates, groups=groups)
    chosen = KernelRidge(**search.best_params_).fit(inputs, centred)
    return weights.mean(0) + torch.from_numpy(chosen.predict(asked)).to(weights.dtype)
