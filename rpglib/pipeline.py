"""From a recipe to numbers: obtain a zoo, obtain a generator, compare generated networks with the originals."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rpglib.analysis.accuracy import accuracy, predictions, summarise
from rpglib.analysis.similarity import diversity
from rpglib.model.rpg import RPG
from rpglib.profiles import Recipe
from rpglib.records import generator_dir, zoo_dir
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training import TrainResult, train
from rpglib.zoo.collect import collect
from rpglib.zoo.images import Images, Split, load_images
from rpglib.zoo.store import Zoo


@dataclass(frozen=True)
class Run:
    """What one recipe gave: its images, zoo and generator, the training's course, and the seconds of each stage."""

    images: Images
    zoo: Zoo
    model: RPG
    training: TrainResult
    seconds: dict[str, float]


def run(recipe: Recipe, profile: str, seed: int = 0, device: str = "auto", progress: bool = True) -> Run:
    """Collect the zoo, train the generator and save both where the profile keeps them."""
    recipe = seeded(recipe, seed)
    images = load_images(recipe.images)
    start = time.perf_counter()
    zoo = collect(
        recipe.architecture,
        images,
        recipe.collect,
        zoo_dir(profile, recipe.name),
        device=pick(device),
        progress=progress,
    )
    collected = time.perf_counter()
    model, training = fit(recipe, zoo, progress=progress)
    model.save_pretrained(generator_dir(profile, recipe.name))
    seconds = {"collect": collected - start, "train": time.perf_counter() - collected}
    return Run(images, zoo, model, training, seconds)


def fit(recipe: Recipe, zoo: Zoo, progress: bool = True) -> tuple[RPG, TrainResult]:
    """Fit a tokenizer to the zoo and train a new generator on it; its first weights follow from the recipe's seed."""
    tokenizer = ParameterTokenizer.fit(zoo, recipe.model.token_size, recipe.slicing, recipe.normalisation)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.train.seed)
        model = RPG(recipe.model, tokenizer)
    return model, train(model, zoo, recipe.train, progress=progress)


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with its collection and its training moved on by `seed`; seed 0 changes nothing."""
    return replace(
        recipe,
        collect=replace(recipe.collect, seed=recipe.collect.seed + seed),
        train=replace(recipe.train, seed=recipe.train.seed + seed),
    )


def generate(recipe: Recipe, model: RPG, n: int = 10, seed: int = 0) -> list[dict[str, Tensor]]:
    """Generate `n` networks with the recipe's sampler."""
    return model.generate(n, sampler=recipe.sampler, steps=recipe.sampling_steps, seed=seed)


def compare(recipe: Recipe, networks: Sequence[dict[str, Tensor]], zoo: Zoo, split: Split) -> dict:
    """Accuracy (percent, every network and summary) of originals and of generated networks, and both diversities."""
    module = recipe.architecture.build()
    errors, result = {}, {}
    for name, group in (("original", zoo.stacked()), ("generated", networks)):
        predicted = predictions(module, group, split.images)
        errors[name] = predicted != split.labels
        accuracies = accuracy(predicted, split.labels)
        result[name] = summarise(accuracies) | {"accuracies": [round(a, 4) for a in accuracies.tolist()]}
    return result | {"diversity": diversity(errors["generated"], errors["original"])}


def pick(device: str) -> torch.device:
    """The device by name; "auto" is the first GPU, or else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)
