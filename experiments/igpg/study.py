"""From recipes, sizes and seeds to the record of `25_igpg`."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from safetensors.torch import load_file

from experiments.igpg.jobs import (
    GENERATED,
    NETWORKS_FILE,
    ORIGINALS,
    Codes,
    Collecting,
    PriorVariant,
    Rpg,
    Searching,
    Written,
)
from experiments.igpg.measures import Tuning, epochs_until
from experiments.igpg.several import check_kept
from experiments.pipeline import sources_of
from experiments.profiles import Recipe
from experiments.records import generator_dir, read_record, storing, write_record
from experiments.sweeps.cells import folder_of, run
from rpglib.igpg.config import CodesTraining, IGPGConfig
from rpglib.runtime.files import save_tensors, sha256

EXPERIMENT = "igpg"


@dataclass(frozen=True)
class Study:
    """One generator for all `recipes`, trained once for each of `seeds`; they share the zoos and the codes.

    held_out: the recipe that is not learned. priors: of which the one with the lowest loss after `short` steps is
    trained at its full length; temperatures: those of which each seed takes one by validation images. tuning: epochs
    after which networks that are trained on from a start are measured, by the name of the recipe. rpg_seeds: of the RPG
    of each architecture. device: of these; IGPG is trained on the CPU.
    """

    recipes: tuple[Recipe, ...]
    held_out: Recipe
    config: IGPGConfig
    codes: CodesTraining
    priors: Mapping[str, PriorVariant]
    seeds: Sequence[int]
    short: int
    temperatures: tuple[float, ...]
    tuning: dict[str, tuple[int, ...]]
    profile: str
    rpg_seeds: Sequence[int] = (0,)
    seed: int = 0
    device: str = "auto"

    def record(self, fresh: bool) -> dict:
        """Compute and record everything (`fresh`), or read the record. Returns the record.

        Raises `InputError` where the record was made with other settings.
        """
        if fresh:
            return self._run()
        return read_record(EXPERIMENT, self.profile, self._config(), self._seeds())

    def _config(self) -> dict:
        left_out = ("profile", "seed", "seeds", "rpg_seeds", "device")
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in left_out}

    def _seeds(self) -> dict:
        rpg = [seed + self.seed for seed in self.rpg_seeds]
        return {"zoos": self.seed, "codes": self.codes.seed + self.seed, "priors": self._priors(), "rpg": rpg}

    def _priors(self) -> list[int]:
        return [seed + self.seed for seed in self.seeds]

    def _shared(self) -> dict:
        codes = replace(self.codes, seed=self.codes.seed + self.seed)
        return {
            "recipes": self.recipes,
            "held_out": self.held_out,
            "profile": self.profile,
            "config": self.config,
            "codes": codes,
        }

    def _written(self, prior: PriorVariant) -> list[Written]:
        named = {recipe.name: recipe.collect for recipe in (*self.recipes, self.held_out)}
        tuning = tuple(
            (name, Tuning(tuple(epochs), named[name].learning_rate, named[name].batch_size, named[name].weight_decay))
            for name, epochs in self.tuning.items()
        )
        return [
            Written(
                **self._shared(),
                variant=replace(prior, training=replace(prior.training, seed=seed)),
                temperatures=tuple(self.temperatures),
                tuning=tuning,
            )
            for seed in self._priors()
        ]

    def _run(self) -> dict:
        began = time.perf_counter()
        recipes = (*self.recipes, self.held_out)
        # The last ones take longest: first, so that no core waits for them alone at the end.
        zoos = run([Collecting(recipe, self.profile) for recipe in reversed(recipes)], "zoos")[::-1]
        (codes,) = run([Codes(**self._shared())], "codes")
        found = run([self._searching(prior) for prior in self.priors.values()], "search")
        searched = dict(zip(self.priors, found, strict=True))
        best = min(searched, key=lambda name: searched[name]["loss"])
        jobs = self._written(self.priors[best])
        rpgs = [
            Rpg(recipe, self.profile, seed + self.seed, self.device) for recipe in recipes for seed in self.rpg_seeds
        ]
        found = run([*jobs, *rpgs], EXPERIMENT)
        written, ones = found[: len(jobs)], found[len(jobs) :]
        grouped = [ones[k : k + len(self.rpg_seeds)] for k in range(0, len(ones), len(self.rpg_seeds))]
        numbers = {
            "architectures": {
                recipe.name: {
                    "name": recipe.architecture.name,
                    "images": recipe.images,
                    "parameters": zoo["parameters"],
                    ORIGINALS: zoo[ORIGINALS],
                    "decoded": codes["rows"][recipe.name],
                    "rpg": own,
                    "rows": [
                        (one["held_out"] if recipe is self.held_out else one["rows"][recipe.name]) for one in written
                    ],
                    "tuning": [
                        (one["held_out"].get("tuning") if recipe is self.held_out else one["tuning"].get(recipe.name))
                        for one in written
                    ],
                }
                for recipe, zoo, own in zip(recipes, zoos, grouped, strict=True)
            },
            "codes": {key: codes[key] for key in ("usage", "loss", "parameters", "cpu_seconds")},
            "search": searched,
            "best": {"prior": best, "temperatures": [one["temperature"] for one in written]},
            "tried": [one["temperatures"] for one in written],
            "prior": [{key: one[key] for key in ("loss", "parameters", "cpu_seconds")} for one in written],
        }
        with storing(self.profile, EXPERIMENT):
            kept = generator_dir(self.profile, EXPERIMENT) / NETWORKS_FILE
            save_tensors(kept, load_file(folder_of(jobs[0]) / NETWORKS_FILE))
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

    def _searching(self, prior: PriorVariant) -> Searching:
        short = replace(prior.training, steps=self.short, seed=self._priors()[0])
        return Searching(**self._shared(), variant=replace(prior, training=short))

    def check_live(self, record: dict, tolerance: float = 1.0) -> str:
        """As `check_kept`, of the first architecture."""
        recipe = self.recipes[0]
        mean = record["numbers"]["architectures"][recipe.name]["rows"][0]["groups"][GENERATED]["mean"]
        return check_kept(EXPERIMENT, self.profile, record, recipe, mean, tolerance)


def needed(numbers: dict, name: str, start: str, epochs: Sequence[int]) -> list[int | None]:
    """By seed, after how many epochs networks from that start reach originals less half a point; None: after none."""
    one = numbers["architectures"][name]
    wanted = one[ORIGINALS]["mean"] - 0.5
    return [epochs_until(curve[start], epochs, wanted) for curve in one["tuning"]]
