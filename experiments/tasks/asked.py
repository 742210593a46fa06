"""Generators that are asked about tasks: what networks are for as a part of the loss, for `15_unseen_tasks`.

At every step some networks are written for random tasks and classify training images as the tasks' bits ask. Unless a
variant says otherwise these are seen tasks alone, and of their networks no more is learned than how weights are centred
and scaled.
"""

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from experiments.hypernetwork import fit_hypernetwork
from experiments.pipeline import fit, images_of, seeded, thinned
from experiments.profiles import TaskRecipe
from experiments.records import plain, read_record, write_record
from experiments.sources import code_of
from experiments.sweeps.cells import run
from experiments.tasks import task_zoo
from experiments.tasks.measures import answers, correct, of_tasks, percent
from experiments.tasks.task_zoo import some_pairs
from experiments.tasks.unseen import facts_of_record
from rpglib.analysis.accuracy import summarise
from rpglib.runtime.hardware import pick
from rpglib.tasks import split_tasks
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.behaviour import TaskBehaviour
from rpglib.training.loop import TrainResult
from rpglib.zoo.images import Split, take

CODE = code_of(__file__)
RECORD = "unseen_tasks_asked"
NETWORKS, IMAGES, WEIGHT = 16, 64, 16.0
"""Networks that a step asks about, images of each, and the weight of what they answer."""
HELD = 2048
"""Images that are held in memory where they are too many to be all held: they are drawn from at every step."""


@dataclass(frozen=True)
class Variant:
    """How a generator is trained: asked about seen or about all tasks.

    reconstruction: weight of the loss by the weights of seen tasks' networks, 0 to learn nothing from these;
    recurrence: as in `RPGConfig`; plain: a plain hypernetwork in the generator's place.
    """

    reconstruction: float = 0.0
    all_tasks: bool = False
    recurrence: str = "mamba2"
    plain: bool = False


ASKED, WITH_NETWORKS = "RPG, asked about seen tasks", "RPG, asked, from networks, too"
WITHOUT_RECURRENCE, HYPERNETWORK = "RPG without recurrence, asked", "plain hypernetwork, asked"
VARIANTS = {
    ASKED: Variant(),
    WITH_NETWORKS: Variant(reconstruction=1.0),
    WITHOUT_RECURRENCE: Variant(recurrence="none"),
    HYPERNETWORK: Variant(plain=True),
    "RPG, asked about all tasks": Variant(all_tasks=True),
}
WIDTH = 256
"""Of the plain hypernetwork's hidden layers, as in `22_networks_on_demand`."""


@dataclass(frozen=True)
class Asked:
    """A job: one variant's generator of one random split; count: only so many of the seen tasks are known."""

    recipe: TaskRecipe
    profile: str
    split: int
    variant: Variant
    count: int | None = None
    device: str = "auto"

    def facts(self) -> dict:
        # Other splits and lengths of the curve are other jobs.
        own = {"recipe": replace(self.recipe, splits=(), curve=()), "split": self.split, "count": self.count}
        own |= {"images": images_of(self.recipe.images).source, "task_code": CODE}
        return plain({**own, "variant": self.variant, "asked": [NETWORKS, IMAGES, WEIGHT]})

    def compute(self, folder: Path) -> dict:
        images, variant, training = images_of(self.recipe.images), self.variant, folder / "training"
        device = pick(self.device)
        tasks = task_zoo.task_zoo(self.recipe, self.profile, images, device)
        # The seeds of `unseen.Part`.
        train = replace(self.recipe.train, seed=self.recipe.train.seed + self.split, diffusion=False)
        shape = replace(self.recipe.model, recurrence=variant.recurrence, prototype_gate=True)
        recipe = replace(self.recipe, train=train, model=shape)
        seen, unseen = split_tasks(len(tasks.bits), self.split, recipe.seen)
        if self.count is not None:
            seen = some_pairs(seen, len(tasks.bits), self.count, self.split)
        behaviour = TaskBehaviour(
            tasks.bits if variant.all_tasks else tasks.bits[seen],
            images.train if isinstance(images.train, Split) else take(images.train, HELD),
            recipe.architecture,
            networks=NETWORKS,
            batch_size=IMAGES,
            weight=WEIGHT,
            reconstruction=variant.reconstruction,
        )
        began, zoo, bits = time.process_time(), tasks.checkpoints(seen), tasks.bits[unseen]
        if variant.plain:
            size = recipe.model.token_size
            tokenizer = ParameterTokenizer.fit(zoo, size, recipe.slicing, recipe.normalisation)
            model, losses = fit_hypernetwork(tokenizer, _told, bits.shape[1], WIDTH, behaviour, train)
            trained, found = time.process_time() - began, TrainResult(losses)
            with torch.no_grad():
                networks = model(bits)
            measured = [percent(correct(recipe, networks, bits, part)) for part in (images.test, images.validation)]
        else:
            model, found = fit(recipe, zoo, device, training, progress=False, behaviour=behaviour)
            trained = time.process_time() - began
            shutil.rmtree(training)
            model.to(device)
            measured = [
                answers(recipe, model, bits, part, 1, train.seed).accuracies[:, 0]
                for part in (images.test, images.validation)
            ]
        test, validation = measured
        return {
            "split": self.split,
            "seen_tasks": len(seen),
            "unseen_tasks": len(unseen),
            "accuracy": of_tasks(test),
            "validation": summarise(validation),
            "generator_parameters": sum(p.numel() for p in model.parameters()),
            "loss": thinned(found.losses),
            "cpu_seconds": trained,
        }


def _told(bits: Tensor) -> Tensor:
    return 2.0 * bits - 1


def asked(recipe: TaskRecipe, profile: str, fresh: bool, seed: int = 0, device: str = "auto") -> dict:
    """Compute and record all variants on the splits of `unseen.unseen_tasks` (`fresh`), or read the record's numbers.

    numbers: "variants" {name: one result per split}, "curve" {number of seen tasks: {name: one of the first split}} of
    the first and of the plain hypernetwork. Raises `InputError` where the record was made with other settings.
    """
    recipe = seeded(recipe, seed)
    asked_for = {"networks": NETWORKS, "images": IMAGES, "weight": WEIGHT, "width": WIDTH}
    config = {"recipe": recipe, "variants": VARIANTS, "asked": asked_for}
    if not fresh:
        return read_record(RECORD, profile, config)["numbers"]
    began, images = time.perf_counter(), images_of(recipe.images)
    # First and once: the jobs are computed side by side, and all of them want the zoo.
    task_zoo.task_zoo(recipe, profile, images, pick(device))
    jobs = {
        name: [Asked(recipe, profile, split, variant, device=device) for split in recipe.splits]
        for name, variant in VARIANTS.items()
    }
    lines = (ASKED, HYPERNETWORK)
    curve = [replace(jobs[name][0], count=count) for count in recipe.curve for name in lines]
    found = iter(run([*(job for row in jobs.values() for job in row), *curve], RECORD))
    variants = {name: [next(found) for _ in row] for name, row in jobs.items()}
    numbers = {
        "variants": variants,
        "curve": {str(count): {name: next(found) for name in lines} for count in recipe.curve},
    }
    return write_record(RECORD, profile, numbers, **facts_of_record(recipe, began) | {"config": config})["numbers"]
