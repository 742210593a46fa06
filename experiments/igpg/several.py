"""RPG for several architectures on the zoos of IGPG: its job, and its record `several_architectures`."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import load_file

from experiments.baselines import CALIBRATION, Networks, accuracies_on, from_weights, side_by_side
from experiments.igpg.jobs import NETWORKS_FILE, row, zoo_of
from experiments.pipeline import NETWORKS, images_of, pick, sources_of, thinned
from experiments.profiles import Recipe
from experiments.records import generator_dir, plain, read_record, storing, write_record
from experiments.sources import code_of
from experiments.sweeps.cells import folder_of, run
from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
from rpglib.model.several import SeveralRPG
from rpglib.runtime.files import save_tensors, sha256
from rpglib.training.loop import TrainConfig
from rpglib.training.several import new_several, train_several
from rpglib.zoo.images import take
from rpglib.zoo.store import Zoo

EXPERIMENT = "several_architectures"
SEVERAL, UNTRAINED = "RPG for several", "untrained RPG for several"
CODE = code_of(__file__)


@dataclass(frozen=True)
class Variant:
    """What one RPG for several architectures is made of, and how it is trained."""

    config: RPGConfig
    train: TrainConfig


@dataclass(frozen=True)
class Together:
    """One RPG for all `recipes`, trained with the seed of its variant, and what it writes.

    held_out: the recipe of an architecture that is not learned; sampling_steps: of "ddim".
    """

    recipes: tuple[Recipe, ...]
    held_out: Recipe
    profile: str
    variant: Variant
    sampling_steps: int
    device: str = "cpu"

    def facts(self) -> dict:
        own = {name: value for name, value in vars(self).items() if name not in ("profile", "device")}
        own["recipes"] = [replace(recipe, name="") for recipe in self.recipes]
        own["held_out"] = replace(self.held_out, name="")
        return plain({**own, "images": [images_of(x.images).source for x in self.recipes], "several_code": CODE})

    def compute(self, folder: Path) -> dict:
        zoos, model = self._new()
        asked = (*self.recipes, self.held_out)
        untrained = {recipe.name: self._written(model, recipe) for recipe in asked}
        training = train_several(model, zoos, self.variant.train, progress=False)
        rows, written = {}, {}
        for recipe in asked:
            began = time.process_time()
            networks = written[recipe.name] = self._written(model, recipe)
            seconds = (time.process_time() - began) / NETWORKS
            rows[recipe.name] = {"groups": self._groups(recipe, networks, untrained[recipe.name]), "seconds": seconds}
        first = written[self.recipes[0].name]
        save_tensors(folder / NETWORKS_FILE, side_by_side(first))
        return {
            "rows": rows,
            "loss": thinned(training.losses),
            "parameters": sum(p.numel() for p in model.parameters()),
            "cpu_seconds": training.processor_seconds,
        }

    def _new(self) -> tuple[list[Zoo], SeveralRPG]:
        zoos = [zoo_of(recipe, self.profile) for recipe in self.recipes]
        return zoos, new_several(zoos, self.variant.config, self.variant.train).to(pick(self.device))

    def _written(self, model: SeveralRPG, recipe: Recipe) -> Networks:
        options = {"images": recipe.images, "steps": self.sampling_steps, "seed": self.variant.train.seed}
        return model.generate(NETWORKS, recipe.architecture, **options)

    def _groups(self, recipe: Recipe, networks: Networks, untrained: Networks) -> dict:
        """What is written beside what needs no generator; of the held-out architecture no zoo served for that."""
        zoo, images = zoo_of(recipe, self.profile), images_of(recipe.images)
        module, groups = zoo.build(), {SEVERAL: networks, UNTRAINED: untrained}
        if recipe is not self.held_out:
            calibration = take(images.train, CALIBRATION).images
            groups |= dict(from_weights(module, zoo, networks, calibration, self.variant.train.seed, SEVERAL))
        return {label: row(module, group, zoo, images.test) for label, group in groups.items()}


@dataclass(frozen=True)
class Searching(Together):
    """A short training of a variant: its loss, and the accuracy of what it writes on validation images (percent)."""

    def compute(self, folder: Path) -> dict:
        zoos, model = self._new()
        training = train_several(model, zoos, self.variant.train, progress=False)
        tail = training.losses[-max(1, len(training.losses) // 10) :]
        found = {"loss": sum(tail) / len(tail), "cpu_seconds": training.processor_seconds, "validation": {}}
        for recipe in self.recipes:
            part = images_of(recipe.images).validation
            right = accuracies_on(recipe.architecture.build(), self._written(model, recipe), part)
            found["validation"][recipe.name] = right.mean().item()
        return found


@dataclass(frozen=True)
class Study:
    """One RPG for all `recipes`, trained once for each of `seeds` on the same zoos.

    variants: of which the one with the lowest loss after `short` steps is trained at its full length.
    """

    recipes: tuple[Recipe, ...]
    held_out: Recipe
    variants: Mapping[str, Variant]
    short: int
    sampling_steps: int
    seeds: Sequence[int]
    profile: str
    seed: int = 0
    device: str = "cpu"

    def record(self, fresh: bool) -> dict:
        """Compute and record everything (`fresh`), or read the record. Returns the record.

        Raises `InputError` where the record was made with other settings.
        """
        if fresh:
            return self._run()
        return read_record(EXPERIMENT, self.profile, self._config(), self._seeds())

    def _config(self) -> dict:
        left_out = ("profile", "seed", "seeds", "device")
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in left_out}

    def _seeds(self) -> dict:
        return {"zoos": self.seed, "rpg": [seed + self.seed for seed in self.seeds]}

    def _job(self, kind: type[Together], variant: Variant, **changes) -> Together:
        variant = replace(variant, train=replace(variant.train, **changes))
        return kind(self.recipes, self.held_out, self.profile, variant, self.sampling_steps, self.device)

    def _run(self) -> dict:
        began, seeds = time.perf_counter(), self._seeds()["rpg"]
        short = [self._job(Searching, x, steps=self.short, seed=seeds[0]) for x in self.variants.values()]
        searched = dict(zip(self.variants, run(short, "search"), strict=True))
        best = min(searched, key=lambda name: searched[name]["loss"])
        todo = [self._job(Together, self.variants[best], seed=seed) for seed in seeds]
        found = run(todo, EXPERIMENT)
        numbers = {
            "architectures": {
                recipe.name: {
                    "name": recipe.architecture.name,
                    "rows": [one["rows"][recipe.name] for one in found],
                }
                for recipe in (*self.recipes, self.held_out)
            },
            "searched": searched,
            "best": best,
            "training": [{key: one[key] for key in ("loss", "parameters", "cpu_seconds")} for one in found],
        }
        with storing(self.profile, EXPERIMENT):
            kept = generator_dir(self.profile, EXPERIMENT) / NETWORKS_FILE
            save_tensors(kept, load_file(folder_of(todo[0]) / NETWORKS_FILE))
            return write_record(
                EXPERIMENT,
                self.profile,
                numbers,
                config=self._config(),
                seeds=self._seeds(),
                n=len(self.seeds),
                wall_seconds=time.perf_counter() - began,
                data_source=sources_of(self.recipes),
                generator=sha256(kept),
            )

    def check_live(self, record: dict, tolerance: float = 1.0) -> str:
        """As `check_kept`, of the first architecture."""
        recipe = self.recipes[0]
        mean = record["numbers"]["architectures"][recipe.name]["rows"][0]["groups"][SEVERAL]["mean"]
        return check_kept(EXPERIMENT, self.profile, record, recipe, mean, tolerance)


def check_kept(
    experiment: str, profile: str, record: Mapping, recipe: Recipe, mean: float, tolerance: float = 1.0
) -> str:
    """Evaluate the networks that are kept with a record again: their mean accuracy is the record's `mean`.

    tolerance: in points. Returns one sentence; raises `AssertionError` where the record does not hold, and
    `InputError` where the networks are another run's, or absent.
    """
    kept = generator_dir(profile, experiment) / NETWORKS_FILE
    if not kept.exists() or sha256(kept) != record["generator"]:
        raise InputError(f"{kept} is not the record's; restore it, or run with fresh=True")
    networks, test = load_file(kept), images_of(recipe.images).test
    right = accuracies_on(recipe.architecture.build(), networks, test)
    found = right.mean().item()
    assert abs(found - mean) <= tolerance, f"recomputed accuracy {found:.2f} differs from the record"
    return f"{len(right)} networks of {recipe.architecture.name} evaluated again; they agree with the record"
