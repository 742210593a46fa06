"""What generated networks for tasks are compared with: what learns from the same networks, and what needs none."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from experiments.profiles import TaskRecipe
from experiments.tasks.measures import correct, percent
from experiments.tasks.task_zoo import HEAD, TaskZoo, exchanged, for_all_classes
from rpglib.analysis.accuracy import answers
from rpglib.baselines.kernel_ridge import kernel_ridge
from rpglib.baselines.tasks import majority_class, mean_network, nearest_task, ridge
from rpglib.runtime.state_dicts import unflatten
from rpglib.zoo.images import Images, Split, labels_of

Writer = Callable[[Tensor, Tensor, Tensor], Tensor]

LOOKUP = "lookup"


def writers(head: Tensor) -> dict[str, Writer]:
    """The baselines that write weights: each takes seen bits, seen weights, bits; `head` (P,) bool marks the head."""

    def swapped(seen: Tensor, weights: Tensor, bits: Tensor) -> Tensor:
        weights = weights.clone()
        weights[:, head] = exchanged(weights[:, head])
        return nearest_task(1 - seen, weights, bits)

    return {
        "mean network": mean_network,
        "nearest seen task": nearest_task,
        "swapped heads": swapped,
        "mean backbone + ridge head": partial(ridge, order=2, columns=head),
        "ridge on bits": ridge,
        "ridge on bits and pairs": partial(ridge, order=2),
        "kernel ridge": kernel_ridge,
    }


def measure_baselines(
    recipe: TaskRecipe, tasks: TaskZoo, seen: Tensor, unseen: Tensor, images: Images, device
) -> dict[str, Tensor]:
    """The accuracies (U,) in percent on the unseen tasks of every baseline without a generator, by its name."""
    bits, test = tasks.bits[unseen], images.test
    # A stream for training does not give all its images; of what is held back of them, every class has its share.
    counted = images.train if isinstance(images.train, Split) else images.validation
    constant = majority_class(bits, labels_of(counted).bincount(minlength=images.num_classes))
    found = {"majority class": percent(constant[:, None] == bits[:, labels_of(test)])}
    for name, write in writers(tasks.columns(HEAD)).items():
        written = unflatten(write(tasks.bits[seen], tasks.weights[seen], bits), tasks.start)
        found[name] = percent(correct(recipe, written, bits, test, device))
    return found | lookup(recipe, tasks, bits, images, device)


def lookup(recipe: TaskRecipe, tasks: TaskZoo, bits: Tensor, images: Images, device) -> dict[str, Tensor]:
    """The accuracies (U,) of the network whose backbone all tasks start from, the bit of the class it names looked up.

    No training for tasks is needed. Without an entry where that network does not know the classes of the images.
    """
    if recipe.pretrained:
        return {}
    module = for_all_classes(recipe.architecture, images).build()
    named, labels = answers(module, [tasks.trained], images.test, device=device)
    return {LOOKUP: percent(bits[:, named[0]] == bits[:, labels])}
