"""Sweeps: variants of one recipe, each with several seeds, and the record of what they found."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from experiments.baselines import accuracies_on
from experiments.pipeline import generate, images_of, seeded
from experiments.profiles import Recipe
from experiments.records import generator_dir, read_record, storing, write_record
from experiments.sweeps.cells import Cell, folder_of, run
from rpglib.errors import InputError
from rpglib.model.rpg import CONFIG, RPG

# ---- variants -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sweep:
    """A base recipe and its variants: name -> {field: value}, fields of nested configurations with dots.

    Every variant has a cell per seed, with networks, generator and samples of its own; `seed` moves them all on.
    evaluations: after which training steps the generator is evaluated on the way, besides the end; not in trainings of
    another length than the base's, whose learning rate is elsewhere then, nor where weights are averaged, because the
    average is there at the end only.
    """

    experiment: str
    profile: str
    base: Recipe
    variants: Mapping[str, Mapping[str, Any]]
    seeds: Sequence[int]
    evaluations: tuple[int, ...] = ()
    seed: int = 0
    device: str = "auto"

    def recipe(self, variant: str) -> Recipe:
        """The recipe of one variant."""
        return vary(self.base, self.variants[variant])

    def cells(self, variant: str) -> list[Cell]:
        """The cells of one variant, one per seed."""
        return [self.cell(self.recipe(variant), s) for s in self.seeds]

    def cell(self, recipe: Recipe, s: int) -> Cell:
        """The cell of one recipe and one of the sweep's seeds."""
        moved = seeded(recipe, s + self.seed)
        alike = recipe.train.steps == self.base.train.steps and not recipe.train.ema
        return Cell(moved, self.profile, self.evaluations if alike else (), self.device)

    def record(self, fresh: bool, more: Callable[["Sweep"], dict] | None = None) -> dict:
        """Run all cells and record them (`fresh`), or read the record. Returns the record.

        numbers: "variants" {name: {"changes", "steps", "cells"}} and what `more(sweep)` adds, which is called after all
        cells are there. Raises `InputError` where the record was made with other variants or another seed.
        """
        return self._run(more) if fresh else self._read()

    def _read(self) -> dict:
        recipes, seeds = {name: self.recipe(name) for name in self.variants}, [s + self.seed for s in self.seeds]
        record = read_record(self.experiment, self.profile, recipes, {"cells": seeds})
        for name, row in record["numbers"]["variants"].items():
            taken = [evaluation["step"] for evaluation in row["cells"][0]["evaluations"]]
            if taken != [*self.cells(name)[0].evaluations]:
                raise InputError(
                    f"the record of {self.experiment} has evaluations after other steps; run with fresh=True"
                )
        return record

    def _run(self, more: Callable[["Sweep"], dict] | None) -> dict:
        began = time.perf_counter()
        cells = {name: self.cells(name) for name in self.variants}
        found = iter(run([cell for row in cells.values() for cell in row], self.experiment))
        variants = {
            name: {
                "changes": dict(self.variants[name]),
                "steps": self.recipe(name).train.steps,
                "cells": [_brief(next(found)) for _ in row],
            }
            for name, row in cells.items()
        }
        more_numbers = more(self) if more else {}
        cell, folder = self._kept()
        with storing(self.profile, self.base.name):
            return write_record(
                self.experiment,
                self.profile,
                {"variants": variants, **more_numbers},
                config={name: self.recipe(name) for name in self.variants},
                seeds={"cells": [s + self.seed for s in self.seeds]},
                n=len(self.seeds),
                wall_seconds=time.perf_counter() - began,
                data_source=images_of(self.base.images).source,
                generator=cell.model().save_pretrained(folder),
            )

    def check_live(self, record: dict, n: int = 2, tolerance: float = 0.6) -> str:
        """Generate the first `n` networks of the base again and compare their accuracies with the record (in points).

        Other processors round differently, which may change the answer on an image or two. Returns one sentence;
        raises `AssertionError` where the record does not hold, `InputError` where its generator is not there any more.
        """
        cell, _ = self._kept()
        split = images_of(cell.recipe.images).test
        networks = generate(cell.recipe, self._generator(record), n, cell.recipe.train.seed)
        found = accuracies_on(cell.recipe.architecture.build(), networks, split)
        unchanged = next(row for row in record["numbers"]["variants"].values() if not row["changes"])
        recorded = torch.tensor(unchanged["cells"][0]["generated"]["accuracies"][:n], dtype=found.dtype)
        largest = float((found - recorded).abs().max())
        assert largest <= tolerance, f"{self.experiment}: recomputed accuracies differ from the record by {largest:.2f}"
        return f"{n} networks of the base generated and evaluated again; they agree with the record"

    def _generator(self, record: dict) -> RPG:
        """The base's generator of this very record: the kept one, or the cell's where another run has replaced it."""
        cell, kept = self._kept()
        wanted = record.get("generator")
        for folder in (kept, folder_of(cell)):
            if folder == kept or (folder / CONFIG).exists():
                model, _, digest = RPG.read(folder)
                if wanted in (None, digest):
                    return model
        raise InputError(
            f"the record of {self.experiment} and the generator in {kept} are of two runs; run with fresh=True"
        )

    def _kept(self) -> tuple[Cell, Path]:
        """The unchanged base with its first seed, and where its generator is kept; equal bases share a place."""
        return self.cell(self.base, self.seeds[0]), generator_dir(self.profile, self.base.name)


def vary(recipe: Any, changes: Mapping[str, Any]) -> Any:
    """Return a frozen dataclass with other values in some fields; `model.token_size` reaches into a nested one.

    Raises `InputError` for a field that is not there, and for a value that the base has already: a variant that does
    not vary would be a second base under another name.
    """
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        if first not in {field.name for field in dataclasses.fields(recipe)}:
            raise InputError(f"{type(recipe).__name__} has no field {first!r}; known: {', '.join(vars(recipe))}")
        old = getattr(recipe, first)
        if not rest and old == value:
            raise InputError(f"{name} is {value!r} in the base already; drop it from the variant")
        recipe = replace(recipe, **{first: vary(old, {rest: value}) if rest else value})
    return recipe


def _brief(numbers: dict) -> dict:
    """A cell's numbers without the long lists: of its originals the summary, of its loss the last tenth's mean."""
    losses = numbers["loss"]["losses"]
    last = losses[-max(1, len(losses) // 10) :]
    return _without(numbers, "original") | {
        "loss": sum(last) / len(last),
        "evaluations": [_without(evaluation, "original") for evaluation in numbers["evaluations"]],
    }


def _without(numbers: dict, group: str) -> dict:
    kept = {key: value for key, value in numbers[group].items() if key != "accuracies"}
    return numbers | {group: kept}
