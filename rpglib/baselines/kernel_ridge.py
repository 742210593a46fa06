"""Kernel ridge regression from bits to weights; kernel and penalty are chosen on seen tasks that are held out."""

import torch
from torch import Tensor

from rpglib.errors import InputError
from rpglib.runtime.arguments import takes, tensor

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
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.model_selection import GridSearchCV, GroupKFold

    seen, tasks = seen.long(), tasks.long()
    centred = (weights - weights.mean(0)).double()
    # Errors are the same in the at most S directions that the seen networks span, and found in a fraction of the time.
    try:
        squares, axes = torch.linalg.eigh(centred @ centred.T)
    except torch.linalg.LinAlgError:
        raise InputError("weights are so large that their squares have no sum; scale them down") from None
    coordinates = axes * squares.clamp(min=0).sqrt()
    numbers = seen @ 2 ** torch.arange(seen.shape[1])
    pairs = torch.minimum(numbers, 2 ** seen.shape[1] - 1 - numbers)
    if (several := len(pairs.unique())) < 2:
        raise InputError("a kernel is chosen on held-out tasks; give at least two that are no opposites")
    folds = GroupKFold(min(FOLDS, several))
    search = GridSearchCV(KernelRidge(), GRID, scoring="neg_mean_squared_error", cv=folds, refit=False)
    search.fit(2 * seen - 1, coordinates, groups=pairs)
    chosen = KernelRidge(**search.best_params_).fit(2 * seen - 1, centred)
    return weights.mean(0) + torch.from_numpy(chosen.predict(2 * tasks - 1)).to(weights.dtype)
