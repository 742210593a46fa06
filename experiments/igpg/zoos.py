"""The zoos that one generator learns together, each of another architecture, and the depth that is held out."""

from dataclasses import replace

from experiments.profiles import CNN_DIGITS, CNN_S, SMOKE_COLLECT, SMOKE_MODEL, VIT_DIGITS, Recipe
from experiments.records import PROFILES
from rpglib.errors import choice

DEPTHS = (1, 2, 4)
"""Blocks of the vision transformers that are learned."""
HELD_OUT = 3
"""Blocks of the one that is not."""


def vit(depth: int) -> Recipe:
    """The vision transformer on digits with so many blocks."""
    name = "vit_small_digits" if depth == 2 else f"vit_small_digits_{depth}"
    return replace(VIT_DIGITS, name=name, architecture=replace(VIT_DIGITS.architecture, name=name))


WIDE = replace(
    CNN_DIGITS,
    name="cnn_digits_wide",
    architecture=replace(CNN_DIGITS.architecture, name="cnn_digits_wide"),
    train=replace(CNN_DIGITS.train, steps=1800),
)


def learned(profile: str, seed: int = 0) -> tuple[Recipe, ...]:
    """The recipes whose zoos a generator learns, each with a seed of its own; their RPG is that of its own row."""
    if choice("profile", profile, PROFILES) == "smoke":
        recipes = (CNN_DIGITS, vit(1))
    else:
        recipes = (CNN_DIGITS, WIDE, *(vit(depth) for depth in DEPTHS), CNN_S)
    return tuple(_own(recipe, k, profile, seed) for k, recipe in enumerate(recipes))


def held_out(profile: str, seed: int = 0) -> Recipe:
    """The recipe of the depth that no generator learns: its originals are there to compare with."""
    return _own(vit(2 if profile == "smoke" else HELD_OUT), 99, profile, seed)


def _own(recipe: Recipe, number: int, profile: str, seed: int) -> Recipe:
    collect, model, train = recipe.collect, recipe.model, recipe.train
    if profile == "smoke":
        collect, model, train = SMOKE_COLLECT, SMOKE_MODEL, replace(train, steps=2)
    return replace(
        recipe,
        name=f"igpg_{recipe.name}",
        # Runs of two architectures are to have nothing in common, not even the order of images.
        collect=replace(collect, seed=100 * number + seed),
        model=model,
        train=train,
        generators=1,
        paper=None,
    )
