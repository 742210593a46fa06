"""How networks of tasks are measured: which images they answer as their task asks, and the summary over tasks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.pipeline import generate
from experiments.profiles import TaskRecipe
from experiments.tasks.task_zoo import HEAD
from rpglib.analysis.accuracy import predictions, summarise
from rpglib.analysis.similarity import diversity
from rpglib.model.rpg import RPG
from rpglib.tasks import name_of
from rpglib.zoo.images import Split, Stream

EVALUATED_TOGETHER = 4096
"""Images that a network sees at a time where they are read from disk; small data sets come in one piece."""


def correct(
    recipe: TaskRecipe, networks, bits: Tensor, split: Split | Stream, device: torch.device | str = "cpu"
) -> Tensor:
    """Return (N, n) bool: which images N networks (state dicts, or side by side) answer as bits (N, bits) ask."""
    module = recipe.architecture.build()
    return torch.cat(
        [predictions(module, networks, x, device=device) == bits[:, y] for x, y in split.batches(EVALUATED_TOGETHER)], 1
    )


def percent(right: Tensor) -> Tensor:
    """Accuracy in percent (...) float64 of right answers (..., n)."""
    return 100 * right.double().mean(-1)


def of_tasks(accuracies: Tensor) -> dict:
    """The summary over tasks of one accuracy (percent) for each, and the accuracies themselves."""
    return summarise(accuracies) | {"accuracies": [round(a, 3) for a in accuracies.tolist()]}


@dataclass(frozen=True)
class Answers:
    """What n generated networks for each of U tasks do: right (U, n, images) bool, and their heads (U, n, h)."""

    right: Tensor
    heads: Tensor

    @property
    def accuracies(self) -> Tensor:
        """Percent (U, n)."""
        return percent(self.right)


def answers(
    recipe: TaskRecipe,
    model: RPG,
    bits: Tensor,
    split: Split | Stream,
    n: int,
    seed: int = 0,
    labels: Tensor | None = None,
) -> Answers:
    """Generate `n` networks for each of the tasks (U, bits) and evaluate them, task by task: large ones fit no memory.

    labels (U, bits): the tasks by which they are judged, by default those that they were generated for.
    """
    labels = bits if labels is None else labels
    right, heads = [], []
    for row, (task, judged) in enumerate(zip(bits, labels, strict=True)):
        networks = generate(recipe, model, n, seed, task, first=n * row)
        right.append(correct(recipe, networks, judged.expand(n, -1), split, model.device))
        heads.append(torch.stack([torch.cat([network[name].flatten() for name in HEAD]) for network in networks]))
    return Answers(torch.stack(right), torch.stack(heads))


def mean_diversity(generated: Tensor, originals: Tensor) -> dict[str, float]:
    """`diversity` of each task's networks, errors (U, n, images) and (U, C, images), averaged over the tasks."""
    by_task = [diversity(a, b) for a, b in zip(generated, originals, strict=True)]
    return {name: sum(found[name] for found in by_task) / len(by_task) for name in by_task[0]}


def flips(generated: Tensor, originals: Tensor, tasks: Tensor, labels: Tensor) -> dict:
    """How networks for unseen tasks and for the same with every bit flipped, also unseen, fit together (v1, table 10).

    generated (U, n, images) and originals (U, C, images) bool: right answers; tasks (U, bits): pairs of opposites in
    counting order, row i and row U - 1 - i; labels (images,). opposite: percent of images for which a task's network
    says the one and its opposite's the other, generated and original. pair: the first pair, by the name of its bits
    the accuracy (percent) on the images of each class.
    """
    # Two opposite tasks ask for opposite answers: they are given where both networks are right, and where both are not.
    opposite = {
        name: (right == right.flip(0)).double().mean().item() * 100
        for name, right in (("generated", generated), ("original", originals))
    }
    pair = {
        name_of(tasks[row]): [percent(generated[row, 0, labels == k]).item() for k in range(tasks.shape[1])]
        for row in (0, -1)
    }
    return {"pairs": len(tasks) // 2, "opposite": opposite, "pair": pair}
