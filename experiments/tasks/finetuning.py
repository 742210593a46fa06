"""What a generated network is worth as a start: training from it, from the pretrained start, and from nothing."""

import torch
from torch import Tensor, nn

from experiments.baselines import one_by_one
from experiments.pipeline import generate
from experiments.profiles import TaskRecipe
from experiments.tasks.task_zoo import TaskZoo
from rpglib.analysis.accuracy import summarise
from rpglib.model.rpg import RPG
from rpglib.runtime.randomness import stream
from rpglib.zoo.collect import Schedule, State, init_population, score, train_population
from rpglib.zoo.images import Images, Split, Stream, take

BATCH_SIZE = 20


def measure_finetuning(
    recipe: TaskRecipe, tasks: TaskZoo, unseen: Tensor, model: RPG, images: Images, seed: int = 0
) -> dict:
    """Test accuracy (percent, over tasks) after some epochs on few and on all training images, by start (v2, table 21).

    Takes `recipe.finetuned` of the unseen tasks at random. Each start trains with the one of `recipe.finetune_rates`
    that serves it best, by the accuracy on validation images after the last epoch.
    """
    chosen = unseen[torch.randperm(len(unseen), generator=torch.Generator().manual_seed(seed))[: recipe.finetuned]]
    bits = tasks.bits[chosen]
    parts = {f"{len(part)} images": part for part in (take(images.train, recipe.few, seed), images.train)}
    starts = _starts(recipe, tasks, bits, model, seed)
    return {
        "tasks": len(bits),
        "epochs": list(recipe.finetune_epochs),
        "accuracy": {
            part: {name: _best(recipe, start, bits, split, images) for name, start in starts.items()}
            for part, split in parts.items()
        },
    }


def _starts(recipe: TaskRecipe, tasks: TaskZoo, bits: Tensor, model: RPG, seed: int) -> dict[str, State]:
    """The networks of all tasks side by side, by the name of their start."""
    generated = [generate(recipe, model, 1, seed, task, first=row)[0] for row, task in enumerate(bits)]
    seeds = [stream(seed, "start", row) for row in range(len(bits))]
    return {
        "generated": {name: torch.stack([network[name] for network in generated]) for name in tasks.start},
        "pretrained": init_population(recipe.architecture, seeds, tasks.start),
        "random": init_population(recipe.architecture, seeds),
    }


def _best(recipe: TaskRecipe, start: State, bits: Tensor, split: Split | Stream, images: Images) -> dict:
    """The curve of the learning rate that is best on the validation images."""
    module, seeds = recipe.architecture.build(), list(range(len(bits)))
    later, curves = recipe.finetune_epochs[1:], []
    for rate in recipe.finetune_rates:
        training = Schedule(later[-1], rate, min(BATCH_SIZE, len(split)))
        steps = training.steps(len(split)) // later[-1]
        states = train_population(
            module, start, split, training, seeds, bits, save_at=[steps * epoch for epoch in later]
        )
        curve = [start, *one_by_one(states)]
        curves.append((_accuracies(module, curve[-1], bits, images.validation).mean(), rate, curve))
    _, rate, curve = max(curves, key=lambda found: found[0])
    return {
        "learning_rate": rate,
        "by_epoch": [summarise(_accuracies(module, state, bits, images.test)) for state in curve],
    }


def _accuracies(module: nn.Module, networks: State, bits: Tensor, split: Split | Stream) -> Tensor:
    """Percent (N,) of N networks, each on the task of its own row."""
    return torch.tensor(
        [
            score(module, {name: x[row : row + 1] for name, x in networks.items()}, split, task)[0]
            for row, task in enumerate(bits)
        ],
        dtype=torch.float64,
    )
