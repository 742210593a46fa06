"""How alike networks behave: the overlap of their errors, and the diversity of a population by that measure.

Definition of Zeng et al. (arXiv 2506.07998, "weight_memorization"): similarity(a, b) = |Ea & Eb| / |Ea | Eb| with E the
set of test images that a network gets wrong. 1 means the same errors, 0 no error in common.
"""

import torch
from torch import Tensor

from rpglib.errors import InputError, shown
from rpglib.runtime.arguments import dense, takes, tensor


def error_iou(errors_a: Tensor, errors_b: Tensor) -> Tensor:
    """Return the IoU of the errors of A and of B networks on the same n images: (A, B) float64 in 0..1.

    Takes errors (A, n) and (B, n) bool, True where wrong. Two networks without any error behave identically and get 1
    (deviation: the published code divides by |Ea | Eb| + 1e-8, which gives them 0).
    Raises `InputError` for tensors that are not bool or hold different numbers of images.
    """
    for errors in (errors_a, errors_b):
        if not isinstance(dense("errors", errors), Tensor):
            raise InputError(f"errors must be a (networks, images) bool tensor, not {shown(errors)}")
        if errors.dtype != torch.bool or errors.ndim != 2:
            raise InputError(
                f"errors must be a (networks, images) bool tensor, as from `predicted != labels`, "
                f"not {tuple(errors.shape)} {errors.dtype}"
            )
    if errors_a.shape[1] != errors_b.shape[1]:
        raise InputError(
            f"errors on {errors_a.shape[1]} and on {errors_b.shape[1]} images cannot be compared; use the same images"
        )
    both = errors_a.double() @ errors_b.double().T
    either = errors_a.sum(1)[:, None] + errors_b.sum(1) - both
    return torch.where(either > 0, both / either, 1.0)


@takes(errors=tensor("A n", "bool"), references=tensor("B n", "bool"))
def nearest_iou(errors: Tensor, references: Tensor | None = None) -> Tensor:
    """Return each network's highest error-IoU with any reference: (A,) float64 in 0..1, from bool (A, n) and (B, n).

    Without references, with any other network of `errors` (leave one out). Raises `InputError` as `error_iou`, and
    where there is nothing to compare with.
    """
    if references is None and len(errors) > 1:
        return error_iou(errors, errors).fill_diagonal_(-torch.inf).amax(1)
    if references is None or not len(references):
        raise InputError("a nearest network needs another one to compare with; give more networks")
    return error_iou(errors, references).amax(1)


@takes(generated_errors=tensor("A n", "bool"), original_errors=tensor("B n", "bool"))
def diversity(generated_errors: Tensor, original_errors: Tensor) -> dict[str, float | None]:
    """Return mean error-IoUs (0..1, lower is more diverse) of generated (A, n) and original (B, n) networks, bool.

    among_generated, among_originals: all pairs of two different networks; to_nearest_original: each generated network
    with the original most like it, the RPG paper's "similarity" (v1, section B.4); nearest_original_among_originals:
    the same for originals, each one left out in turn, which is what to_nearest_original must be read against. Copies of
    originals score 1 there. A single original has nothing beside it: what is measured among originals is None then.
    Raises `InputError` for less than two generated networks or no original, and as `error_iou`.
    """
    if len(generated_errors) < 2:
        raise InputError(f"diversity needs at least two generated networks, not {len(generated_errors)}")
    several = len(original_errors) > 1
    return {
        "among_generated": mean_iou(generated_errors),
        "to_nearest_original": nearest_iou(generated_errors, original_errors).mean().item(),
        "among_originals": mean_iou(original_errors) if several else None,
        "nearest_original_among_originals": nearest_iou(original_errors).mean().item() if several else None,
    }


@takes(errors=tensor("A n", "bool"))
def mean_iou(errors: Tensor) -> float:
    """Return the mean error-IoU (0..1) of all pairs of two different networks, from bool (A, n), A at least 2."""
    # Taken over the pairs themselves: subtracting the diagonal from a total would leave rounding behind.
    first, second = torch.triu_indices(len(errors), len(errors), offset=1)
    return error_iou(errors, errors)[first, second].mean().item()
