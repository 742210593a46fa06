"""Generators that are asked about tasks: what networks are for as a part of the loss, for `15_unseen_tasks`.

At every step some networks are written for random tasks and classify training images as the tasks' bits ask. Unless a
variant says otherwise these are seen tasks alone, as the checkpoints are.
"""

import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.pipeline import fit, images_of, seeded, thinned
from experiments.profiles import TaskRecipe
from experiments.records import plain, read_record, write_record
from experiments.sweeps.cells import run
from experiments.sweeps.sweep import source_digest
from experiments.tasks import measures, task_zoo
from experiments.tasks.measures import answers, of_tasks
from experiments.tasks.unseen import facts_of_record, some_pairs
from rpglib.analysis.accuracy import summarise
from rpglib.runtime.hardware import pick
from rpglib.tasks import split_tasks
from rpglib.training.behaviour import TaskBehaviour
from rpglib.zoo.images import Split, take

CODE = source_digest(sys.modules[__name__], task_zoo, measures)
RECORD = "unseen_tasks_asked"
NETWORKS, IMAGES, WEIGHT = 16, 64, 16.0
"""Networks that a step asks about, images of each, and the weight of what they answer."""
HELD = 2048
"""Images that are held in memory where they are too many to be all held: they are drawn from at every step."""


@dataclass(frozen=True)
class Variant:
    """How a generator is trained: on networks of the seen tasks (reconstruction), asked about these or about all tasks.

    recurrence: as in `RPGConfig`.
    """

    reconstruction: float = 1.0
    all_tasks: bool = False
    recurrence: str = "mamba2"


ASKED = "RPG, asked about seen tasks"
HYPERNETWORK = "hypernetwork, asked, no networks seen"
VARIANTS = {
    ASKED: Variant(),
    HYPERNETWORK: Variant(reconstruction=0.0, recurrence="none"),
    "RPG, asked about all tasks": Variant(all_tasks=True),
}


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
        recipe = replace(self.recipe, train=train, model=replace(self.recipe.model, recurrence=variant.recurrence))
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
        began = time.process_time()
        model, found = fit(recipe, tasks.checkpoints(seen), device, training, progress=False, behaviour=behaviour)
        trained = time.process_time() - began
        model.to(device)
        test, validation = (
            answers(recipe, model, tasks.bits[unseen], part, 1, train.seed).accuracies[:, 0]
            for part in (images.test, images.validation)
        )
        shutil.rmtree(training)
        return {
            "split": self.split,
            "seen_tasks": len(seen),
            "unseen_tasks": len(unseen),
            "accuracy": of_tasks(test),
            "validation": summarise(validation),
            "generator_parameters": sum(p.numel() for p in model.parameters()),
            "loss": thinned(found),
            "cpu_seconds": trained,
        }


def asked(recipe: TaskRecipe, profile: str, fresh: bool, seed: int = 0, device: str = "auto") -> dict:
    """Compute and record all variants on the splits of `unseen.unseen_tasks` (`fresh`), or read the record's numbers.

    numbers: "variants" {name: one result per split}, "curve" {number of seen tasks: a result of the first split}.
    Raises `InputError` where the record was made with other settings.
    """
    recipe = seeded(recipe, seed)
    if not fresh:
        return read_record(RECORD, profile, recipe)["numbers"]
    began, images = time.perf_counter(), images_of(recipe.images)
    # First and once: the jobs are computed side by side, and all of them want the zoo.
    task_zoo.task_zoo(recipe, profile, images, pick(device))
    jobs = {
        name: [Asked(recipe, profile, split, variant, device=device) for split in recipe.splits]
        for name, variant in VARIANTS.items()
    }
    curve = [replace(jobs[ASKED][0], count=count) for count in recipe.curve]
    found = iter(run([*(job for row in jobs.values() for job in row), *curve], RECORD))
    variants = {name: [next(found) for _ in row] for name, row in jobs.items()}
    numbers = {"variants": variants, "curve": {str(count): next(found) for count in recipe.curve}}
    return write_record(RECORD, profile, numbers, **facts_of_record(recipe, began))["numbers"]
