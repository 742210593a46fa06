"""Where the classifier heads of generated networks lie among those of all tasks: the measures of `16_pca`."""

import time

import torch
from torch import Tensor

from experiments.records import read_record, write_record
from experiments.tasks.baselines import Writer
from experiments.tasks.unseen import Unseen
from rpglib.analysis.geometry import Components, own_rank, principal_components

EXPERIMENT = "pca"


def components(heads: dict[str, Tensor]) -> Components:
    """The two principal components of all original heads; `heads` as in `Unseen`."""
    return principal_components(heads["originals"].flatten(0, 1))


def measure(heads: dict[str, Tensor]) -> dict:
    """How close generated heads lie to their own task's originals, in the full space of the head's weights.

    A task's centre is the mean of its originals. rank: the place of the own task among all tasks by distance, 1 where
    it is the nearest; (T + 1) / 2 would be chance. Beside it stand the same of originals of the unseen tasks, each left
    out of its own centre, and the mean distances to the own and to the nearest other centre.
    """
    originals, unseen, generated = heads["originals"].double(), heads["unseen"], heads["generated"]
    centres = originals.mean(1)
    result = {
        "tasks": len(centres),
        "unseen_tasks": len(unseen),
        "networks_per_task": generated.shape[1],
        "explained": components(heads).explained.tolist(),
        "generated": closeness(heads, generated),
    }
    left_out = []
    for k in range(originals.shape[1]):
        others = centres.clone()
        others[unseen] = originals[unseen][:, torch.arange(originals.shape[1]) != k].mean(1)
        left_out.append(_closeness(originals[unseen, k], unseen, others))
    return result | {"originals": _summary(*map(torch.cat, zip(*left_out, strict=True)))}


def closeness(heads: dict[str, Tensor], written: Tensor) -> dict:
    """What `measure` says of generated heads, of any heads written (U, n, h) for the U unseen tasks."""
    centres, owners = heads["originals"].double().mean(1), heads["unseen"].repeat_interleave(written.shape[1])
    return _summary(*_closeness(written.double().flatten(0, 1), owners, centres))


def regressed(heads: dict[str, Tensor], write: Writer) -> Tensor:
    """Heads (U, 1, h) for the unseen tasks by a regression `write` on the centres of the seen ones."""
    bits, unseen, centres = heads["bits"], heads["unseen"], heads["originals"].double().mean(1)
    seen = torch.ones(len(bits), dtype=torch.bool).index_fill(0, unseen, False)
    return write(bits[seen], centres[seen], bits[unseen])[:, None]


def _closeness(points: Tensor, owners: Tensor, centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each point the rank of its own centre, the distance to that, and the distance to the nearest other one."""
    distances = torch.cdist(points, centres)
    own = distances.gather(1, owners[:, None])[:, 0]
    return own_rank(points, owners, centres), own, distances.scatter(1, owners[:, None], torch.inf).amin(1)


def _summary(ranks: Tensor, own: Tensor, other: Tensor) -> dict:
    return {
        "n": len(ranks),
        "mean_rank": ranks.double().mean().item(),
        "median_rank": ranks.double().quantile(0.5).item(),
        "worst_rank": ranks.max().item(),
        "share_first": (ranks == 1).double().mean().item(),
        "distance_to_own": own.mean().item(),
        "distance_to_nearest_other": other.mean().item(),
    }


def head_space(result: Unseen, profile: str, fresh: bool) -> dict:
    """Measure and record (`fresh`), or read the record; `InputError` where that is of another result."""
    if not fresh:
        return read_record(EXPERIMENT, profile, result.recipe, result.record["seeds"])
    began = time.perf_counter()
    numbers = measure(result.heads)
    return write_record(
        EXPERIMENT,
        profile,
        numbers,
        config=result.recipe,
        seeds=result.record["seeds"],
        n=numbers["unseen_tasks"],
        wall_seconds=time.perf_counter() - began,
        data_source=result.record["data_source"],
    )
