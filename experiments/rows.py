"""The rows of a profile, one after the other: `python -m experiments.rows --profile gpu`, which is `make gpu`.

They are those of the notebooks 00, 04 and 05, and in profile `gpu` what is measured of a GPU's time (`cost.benchmark`).
A row that has its record is passed over; to compute it again, delete that. Whenever this is stopped, the same command
goes on: a zoo is collected once, and a training goes on from its last saved state. With `--minutes` it begins nothing
more after so many. In profile `gpu` the longest part between two such places, a ResNet-18's generator, took seven
minutes of an H200 that it shared: `--minutes 2` ends within ten.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch

from experiments.cost import benchmark
from experiments.pipeline import available, fit_until, images_for, obtain_zoo, row, unfinished
from experiments.profiles import Recipe, beside_one_run, cifar10_rows, main_results, quickstart
from experiments.records import PROFILES, results_dir
from rpglib.errors import InputError
from rpglib.runtime.hardware import pick
from rpglib.runtime.locks import working_folder


def rows(profile: str) -> list[Recipe]:
    """The rows of a profile, each once. Raises `InputError` for an unknown profile."""
    recipes = (quickstart(profile), *beside_one_run((*main_results(profile), *cifar10_rows(profile))))
    return list({recipe.name: recipe for recipe in recipes}.values())


def record(profile: str, minutes: float = math.inf, device: str = "auto") -> tuple[list[str], list[str]]:
    """Record the rows that have no record, and begin nothing more after so many minutes; the names of those left.

    Those are followed by the names of rows that lack images or published weights, of which a line is printed. Raises
    `InputError` where a profile for a GPU would be computed on a CPU that nobody asked for.
    """
    if device == "auto" and profile in ("gpu", "paper") and pick(device).type == "cpu":
        raise InputError(f"profile {profile!r} wants a GPU, and there is none; profile 'smoke' tries all on a CPU")
    ends = time.monotonic() + 60 * minutes
    wanted = [recipe for recipe in rows(profile) if not _recorded(recipe, profile)]
    missing = available(wanted, True)
    costs = costs_of(profile) if pick(device).type == "cuda" else []
    left = [*(recipe.name for recipe in missing), *costs]
    lacking = [recipe.name for recipe in wanted if recipe.name not in left]
    for recipe in missing:
        if not advance(recipe, profile, lambda: time.monotonic() >= ends, pick(device)):
            return left, lacking
        left.remove(recipe.name)
        print(f"{recipe.name}: recorded", flush=True)
    for cost in costs:
        if time.monotonic() >= ends:
            break
        benchmark.record(cost)
        left.remove(cost)
        print(f"cost of {cost}: recorded", flush=True)
    return left, lacking


def costs_of(profile: str) -> list[str]:
    """What `benchmark.COSTS` names for a profile and has no record of."""
    named = [name for name, (*_, where) in benchmark.COSTS.items() if where == profile]
    return [name for name in named if not (results_dir(profile) / f"{name}_cost.json").exists()]


def advance(recipe: Recipe, profile: str, over: Callable[[], bool], device: torch.device) -> bool:
    """Work on a row until it is recorded, or until `over()` between two parts; whether it is recorded."""
    if over():
        return False
    zoo = obtain_zoo(recipe, profile, images_for(recipe), device)
    if over():
        return False
    with suppress(_Kept), working_folder(unfinished(recipe, profile)) as folder:
        fit_until(recipe, zoo, folder, lambda _: over(), device)
        raise _Kept
    if over():
        return False
    # As the notebooks do: a row of one run lies beside that of several, and only the latter's generator is kept.
    row(recipe, profile, True, device=device.type, keep_generator=recipe.collect.runs > 1)
    return True


class _Kept(Exception):
    """A working folder stays where its block ends with an error: the row itself reads the training's end there."""


def _recorded(recipe: Recipe, profile: str) -> bool:
    with suppress(InputError):
        return bool(row(recipe, profile, False, keep_generator=False).record)
    return False


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.rows", description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="gpu")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin nothing more after so many")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    options = parser.parse_args(arguments)
    try:
        left, lacking = record(options.profile, options.minutes, options.device)
    except InputError as error:
        sys.exit(f"error: {error}")
    if lacking:
        print(f"cannot be measured here: {', '.join(lacking)}")
    if left:
        print(f"left: {', '.join(left)}; the same command goes on")
    elif not lacking:
        print(f"profile {options.profile}: all recorded")


if __name__ == "__main__":
    main()
