"""Cells: one recipe with one seed, computed once and kept, so that notebooks share them and broken runs go on.

What a cell found lies in data/runs/<profile>/cells under a name that follows from the recipe and from the code that
computes it. On two cores two cells are computed side by side.
"""

import functools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from joblib import Parallel, delayed, parallel_config
from torch import Tensor
from tqdm.auto import tqdm

from experiments.pipeline import NETWORKS, compare, fit, generate, images_of, obtain_zoo, pick, thinned, zoo_path
from experiments.profiles import Recipe
from experiments.records import key, plain, versions, working_dir
from experiments.sources import files_of
from experiments.sweeps.memory import training_bytes
from rpglib.analysis.accuracy import predictions
from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.runtime.allocator import keep_freed_memory
from rpglib.runtime.files import read_json, write_json
from rpglib.runtime.locks import locked
from rpglib.runtime.processes import end_with
from rpglib.runtime.sources import LIBRARY, sources_digest
from rpglib.zoo.store import Zoo

NUMBERS = "numbers.json"
CODE, VERSIONS = sources_digest(LIBRARY, *files_of(__file__)), versions()
"""Of all of the library, and of what computes a cell, as it was imported: what is edited later is another's."""


class Job(Protocol):
    """Something to compute once: `facts` tell it from every other job; `compute` may keep files in its folder.

    Code of the library, versions and the kind of device are told apart for all jobs (`folder_of`).
    """

    profile: str
    device: str

    def facts(self) -> dict: ...
    def compute(self, folder: Path) -> dict: ...


@dataclass(frozen=True)
class Cell:
    """One recipe, its seeds included: collect, train, generate, compare.

    evaluations: the training steps after which the generator is evaluated, too.
    """

    recipe: Recipe
    profile: str
    evaluations: tuple[int, ...] = ()
    device: str = "auto"

    def facts(self) -> dict:
        own = {"recipe": replace(self.recipe, name=""), "images": images_of(self.recipe.images).source}
        return plain({**own, "evaluations": self.evaluations, "networks": NETWORKS})

    @property
    def zoo_recipe(self) -> Recipe:
        """The recipe under the name that its zoo is kept by: all cells with the same networks share one."""
        recipe = self.recipe
        made = [recipe.architecture, recipe.images, recipe.collect, recipe.pretrained]
        return replace(recipe, name=f"study_{key(made)}")

    def zoo(self) -> Zoo:
        """Its checkpoints, collected where they are not at hand."""
        return obtain_zoo(self.zoo_recipe, self.profile, images_of(self.recipe.images), pick(self.device))

    def model(self) -> RPG:
        """Its generator, once computed."""
        return RPG.from_pretrained(folder_of(self), pick(self.device))

    def numbers(self) -> dict:
        """What was found, once computed."""
        return read_json(folder_of(self) / NUMBERS)

    def compute(self, folder: Path) -> dict:
        recipe, device = self.recipe, pick(self.device)
        zoo = self.zoo()
        answers = _answers(zoo_path(self.zoo_recipe, self.profile, images_of(recipe.images)), recipe.images, device)
        found: dict = {"evaluations": []}
        evaluating = 0.0
        began = time.perf_counter()

        def evaluation(step: int, model: RPG) -> None:
            nonlocal evaluating
            if step + 1 in self.evaluations:
                now = time.perf_counter()
                measured = self._measured(model, zoo, answers)
                found["evaluations"].append({"step": step + 1, "seconds": now - began - evaluating, **measured})
                evaluating += time.perf_counter() - now

        model, training = fit(recipe, zoo, device, progress=False, on_step=evaluation if self.evaluations else None)
        model.to(device)
        trained = time.perf_counter()
        found |= self._measured(model, zoo, answers)
        model.save_pretrained(folder)
        return found | {
            "parameters": model.tokenizer.num_parameters,
            "tokens": model.tokenizer.num_tokens,
            "padding": 1 - model.tokenizer.mask.double().mean().item(),
            "generator_parameters": sum(p.numel() for p in model.parameters()),
            "training_bytes": training_bytes(model, recipe.train, device),
            "loss": thinned(training.losses),
            "seconds": {"train": trained - began, "evaluate": evaluating, "generate": time.perf_counter() - trained},
        }

    def _measured(self, model: RPG, zoo: Zoo, answers: Tensor) -> dict:
        recipe = self.recipe
        networks = generate(recipe, model, seed=recipe.train.seed)
        return compare(recipe, networks, zoo, images_of(recipe.images).test, model.device, answers)


@functools.lru_cache(maxsize=1)
def _answers(zoo: Path, images: str, device: torch.device) -> Tensor:
    """What a zoo's networks say of the test images: the same at every evaluation, and in all cells with that zoo."""
    networks = Zoo.open(zoo)
    return predictions(networks.build(), networks, images_of(images).test.images, device=device)


def run(jobs: Sequence[Job], label: str = "cells") -> list[dict]:
    """The numbers of all jobs, in their order; those that were computed before are read.

    Those of a GPU run first, one after the other; those of a CPU side by side, as many as there are cores, each on one.
    """
    folders = [folder_of(job) for job in jobs]
    missing = {folder: job for folder, job in zip(folders, jobs, strict=True) if not (folder / NUMBERS).exists()}
    cells = [job for job in missing.values() if isinstance(job, Cell)]
    # First: a cell that waits for another one's zoo would keep a core from cells that have theirs.
    _all({cell.zoo_recipe.name: cell for cell in cells}, _collect, "zoos")
    _all(missing, _compute, label)
    return [read_json(folder / NUMBERS) for folder in folders]


def _all(jobs: Mapping[str | Path, Job], work, label: str) -> None:
    for _ in tqdm(_spread(jobs, work), total=len(jobs), desc=label, disable=not jobs):
        pass


def _spread(jobs: Mapping[str | Path, Job], work) -> Iterator[None]:
    at_once = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    together = {place: job for place, job in jobs.items() if job.profile != "smoke" and _device(job) == "cpu"}
    if at_once == 1 or len(together) < 2:
        together = {}
    yield from (work(place, job) for place, job in jobs.items() if place not in together)
    if not together:
        return
    ending = {"initializer": end_with, "initargs": (os.getpid(),)}
    with parallel_config(backend="loky", n_jobs=at_once, inner_max_num_threads=1, **ending):
        yield from Parallel(return_as="generator_unordered")(delayed(work)(*call) for call in together.items())


def _collect(_: str, cell: Cell) -> None:
    keep_freed_memory()
    cell.zoo()


def _compute(folder: Path, job: Job) -> None:
    # By the code that this process has: one that was started later may have other code than the one that asks.
    if folder_of(job).name != folder.name:
        raise InputError("the code was changed while its jobs were computed; run this again")
    keep_freed_memory()
    # Another sweep may want the same cell at the same time.
    with locked(f"{folder}.lock"):
        if not (folder / NUMBERS).exists():
            # Last and atomically: a cell counts as computed once its numbers are there.
            write_json(folder / NUMBERS, plain(job.compute(folder)))


def folder_of(job: Job) -> Path:
    """Where a job keeps its numbers and files."""
    facts = {"kind": type(job).__name__, **job.facts(), "code": CODE, "versions": VERSIONS, "device": _device(job)}
    return working_dir(job.profile, "cells") / key(facts)


def _device(job: Job) -> str:
    return pick(job.device).type
