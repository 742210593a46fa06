"""Ridge regression from bits, or from products of up to `order` bits, to weights."""

import torch
from torch import Tensor

from rpglib.runtime.arguments import takes, tensor, whole

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)


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
