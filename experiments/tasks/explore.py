"""One generated network at a glance: what it answers on the test images, and which originals its head is like.

`experiments.tasks.explore_figure` draws what `evaluate` finds, `experiments.tasks.panel` puts buttons around both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from experiments.pipeline import generate, images_of
from experiments.tasks.task_zoo import HEAD
from experiments.tasks.unseen import Unseen
from rpglib.analysis.accuracy import predictions
from rpglib.tasks import check_task
from rpglib.zoo.images import Images

EXAMPLES = {"digits": "odd digits", "cifar10": "animals"}
"""A prompt that each data set understands."""

NEIGHBOURS = 3
LONGEST_NAME = 26


@dataclass(frozen=True)
class Evaluation:
    """What one generated network does, and what its head is like.

    task (bits,) int64, for which it was written with `seed`; seen: whether its generator learned from that task, as
    from `seen_tasks` of `tasks`; answers (n,) int64 on the n test images, 1 where it says selected; wanted (n,) int64.
    head (h,): its classifier's weights; neighbours (K, bits), neighbour_heads (K, h), distances (K,): the tasks with
    the originals nearest to that head, nearest first; own_rank: where the task's own originals stand among all tasks,
    1 for nearest, None where it has none.
    """

    images: Images
    task: Tensor
    seed: int
    seen: bool
    seen_tasks: int
    tasks: int
    answers: Tensor
    wanted: Tensor
    head: Tensor
    neighbours: Tensor
    neighbour_heads: Tensor
    distances: Tensor
    own_rank: int | None

    @property
    def right(self) -> Tensor:
        """(n,) bool."""
        return self.answers == self.wanted

    @property
    def accuracy(self) -> float:
        """Percent."""
        return 100 * self.right.double().mean().item()

    @property
    def confusion(self) -> Tensor:
        """Counts (2, 2) int64 of images: what they are in rows, what the network says in columns, selected first.

        An image without an answer, as of a network with a NaN, counts as wrong.
        """
        (wrong_out, right_out), (wrong_in, right_in) = (
            self.right[self.wanted == bit].long().bincount(minlength=2).tolist() for bit in (0, 1)
        )
        return torch.tensor([[right_in, wrong_in], [wrong_out, right_out]])

    @property
    def status(self) -> str:
        """Whether the generator knows the task, in words."""
        kind, count = ("seen", "one") if self.seen else ("unseen", "none")
        return f"{kind} task, {count} of the {self.seen_tasks:,} that the generator learned from"

    @property
    def own_place(self) -> str:
        """Where the task's own originals stand among the neighbours, in words."""
        if self.own_rank is None:
            return "the task has no originals"
        return f"the task's own are no. {self.own_rank:,} of {self.tasks:,}"

    def name(self, task: Tensor | None = None) -> str:
        """The selected classes of a task, by default the network's: their names, or the bits where these are long."""
        bits = (self.task if task is None else task).tolist()
        words = " ".join(name for name, bit in zip(self.images.class_names, bits, strict=True) if bit)
        return words if len(words) <= LONGEST_NAME else "".join(map(str, bits))


def evaluate(source: Unseen, task: Sequence[int] | Tensor, seed: int = 0) -> Evaluation:
    """Write one network for `task` (bits,) with the experiment's generator, and evaluate it.

    The distance to a task's originals is Euclidean, between the weights of the heads; of its checkpoints the nearest
    counts. Raises `InputError` for a task that is no row of bits with some but not all classes.
    """
    bits, originals = source.heads["bits"], source.heads["originals"]
    task = check_task(task, bits.shape[1])
    images = images_of(source.recipe.images)
    (network,) = generate(source.recipe, source.model, 1, seed, task)
    module = source.recipe.architecture.build()
    (answers,) = predictions(module, [network], images.test.images, device=source.model.device)
    head = torch.cat([network[name].flatten() for name in HEAD])
    distances, checkpoints = (originals.double() - head.double()).norm(dim=2).min(1)
    order = distances.argsort(stable=True)[:NEIGHBOURS]
    own = (bits == task).all(1)
    return Evaluation(
        images=images,
        task=task,
        seed=seed,
        seen=bool((own & source.seen).any()),
        seen_tasks=int(source.seen.sum()),
        tasks=len(bits),
        answers=answers,
        wanted=task[images.test.labels],
        head=head,
        neighbours=bits[order],
        neighbour_heads=originals[order, checkpoints[order]],
        distances=distances[order],
        own_rank=int((distances < distances[own]).sum()) + 1 if own.any() else None,
    )


def confusion_table(found: Evaluation) -> pd.DataFrame:
    """The counts of `Evaluation.confusion` with their names."""
    return pd.DataFrame(
        found.confusion.numpy(), index=["selected", "not selected"], columns=["says selected", "says not"]
    )
