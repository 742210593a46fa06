"""What a few lines write for a task that no network was trained for: constants, means, copies, ridge regression."""

import torch
from torch import Tensor

from rpglib.runtime.arguments import takes, tensor, whole

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Of ridge regression, of which leave-one-out error chooses."""


@takes(tasks=tensor("U bits", "bits"), counts=tensor("bits"))
def majority_class(tasks: Tensor, counts: Tensor) -> Tensor:
    """Return the answer (U,) 0 or 1 that is right most often on training images, of which class k has counts[k]."""
    return (2 * (tasks.double() @ counts.double()) > torch.as_tensor(counts).sum()).long()


@takes(seen=tensor("S+ bits", "bits"), weights=tensor("S P", "float"), tasks=tensor("U asked", "bits"))
def mean_network(seen: Tensor, weights: Tensor, tasks: Tensor) -> Tensor:
    """Give every one of the tasks (U, bits) the mean of the weights (S, P)."""
    return weights.mean(0).expand(len(tasks), -1)


@takes(seen=tensor("S+ bits", "bits"), weights=tensor("S P"), tasks=tensor("U bits", "bits"))
def nearest_task(seen: Tensor, weights: Tensor, tasks: Tensor) -> Tensor:
    """Copy to each of the tasks (U, bits) the weights (P,) of the nearest seen task (S, bits), of several the first."""
    return weights[torch.cdist(tasks.float(), seen.float(), p=1).argmin(1)]


@takes(
    seen=tensor("S+ bits+", "bits"),
    weights=tensor("S P+", "real"),
    tasks=tensor("U+ bits", "bits"),
    order=whole(1, 10),
    columns=tensor("P", "bool"),
)
def ridge(seen: Tensor, weights: Tensor, tasks: Tensor, order: int = 1, columns: Tensor | None = None) -> Tensor:
    """Predict weights (U, P) for tasks (U, bits) from the seen tasks (S, bits) and their weights (S, P).

    The features are all products of at most `order` different bits, as -1 and 1; the penalty is chosen by leave-one-out
    error on the seen tasks. columns (P,) bool: what is predicted; all other weights get their mean over the seen tasks
    (of the head alone, this is the baseline of a generator that conditions the head alone).
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures

    seen, tasks = seen.long(), tasks.long()
    products = PolynomialFeatures(order, interaction_only=True, include_bias=False)
    model = make_pipeline(products, RidgeCV(PENALTIES))
    wide = weights if weights.itemsize > 2 else weights.float()  # NumPy has no bfloat16
    chosen = wide if columns is None else wide[:, columns]
    predicted = torch.from_numpy(model.fit(2 * seen - 1, chosen).predict(2 * tasks - 1)).to(weights.dtype)
    predicted = predicted.view(len(tasks), -1)  # scikit-learn drops the dimension of a single weight
    if columns is None:
        return predicted
    result = weights.mean(0).repeat(len(tasks), 1)
    result[:, columns] = predicted
    return result
