"""From variants and seeds to the record of `21_new_networks`."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.novelty.jobs import Baselines, Generated, Longer, generated, over_seeds, spread
from experiments.novelty.measures import MULTIPLES, accuracies
from experiments.novelty.mixing import MIXTURES
from experiments.pipeline import images_of, obtain_zoo, pick, seeded
from experiments.profiles import Recipe
from experiments.records import agrees, generator_dir, plain, read_record, storing, write_record
from experiments.sweeps.cells import folder_of, run
from rpglib.errors import InputError
from rpglib.model.rpg import RPG

EXPERIMENT = "new_networks"
ORIGINALS, LONGER = "originals", "one network, trained longer"


@dataclass(frozen=True)
class Study:
    """A zoo, and generators on it: variants by name with the settings of their behaviour (None: without one).

    seeds move the trainings of generators and all that is drawn, not the zoo, which all of them share; `seed` moves
    both. networks: of each group; epochs: of the one network that is trained longer. The first variant's first
    generator is kept.
    """

    recipe: Recipe
    profile: str
    variants: Mapping[str, Mapping | None]
    seeds: Sequence[int]
    networks: int
    epochs: int
    seed: int = 0
    device: str = "auto"

    @property
    def moved(self) -> Recipe:
        return seeded(self.recipe, self.seed)

    def _job(self, kind: type, s: int, **own):
        return kind(self.moved, self.profile, s, self.networks, self.device, **own)

    def _kept(self) -> Generated:
        return self._job(Generated, self.seeds[0], behaviour=next(iter(self.variants.values())))

    def record(self, fresh: bool) -> dict:
        """Compute and record everything (`fresh`), or read the record. Returns the record.

        numbers: "rows" {method: one row per seed, `measures.row`}, a generator's methods as "variant: mixture", "zoo",
        "cost" {variant: ...}. Raises `InputError` where the record was made with other settings.
        """
        if fresh:
            return self._run()
        record = read_record(EXPERIMENT, self.profile)
        config = record["config"]
        same = agrees(config.get("recipe"), self.moved) and config | {"recipe": None} == plain(self._config(None))
        if not same or record["seeds"] != plain(self._seeds()):
            raise InputError(f"the record of {EXPERIMENT} was made with other settings; run with fresh=True")
        return record

    def _config(self, recipe: Recipe | None) -> dict:
        return {"recipe": recipe, "variants": self.variants, "networks": self.networks, "epochs": self.epochs}

    def _seeds(self) -> dict:
        return {"zoo": self.moved.collect.seed, "cells": [s + self.seed for s in self.seeds]}

    def _run(self) -> dict:
        began, images = time.perf_counter(), images_of(self.recipe.images)
        # First and once: all jobs want it.
        collecting = time.process_time()
        zoo = obtain_zoo(self.moved, self.profile, images, pick(self.device))
        collected = time.process_time() - collecting
        jobs = {
            name: [self._job(Generated, s, behaviour=settings) for s in self.seeds]
            for name, settings in self.variants.items()
        }
        jobs[ORIGINALS] = [self._job(Baselines, s) for s in self.seeds]
        jobs[LONGER] = [self._job(Longer, s, epochs=self.epochs) for s in self.seeds]
        found = iter(run([job for row in jobs.values() for job in row], EXPERIMENT))
        found = {name: [next(found) for _ in row] for name, row in jobs.items()}
        rows = over_seeds(found[ORIGINALS])
        # They do not depend on the seed.
        rows[ORIGINALS] = rows[ORIGINALS][:1]
        for name in self.variants:
            rows |= {f"{name}: {kind}": row for kind, row in over_seeds(found[name]).items()}
        rows[LONGER] = over_seeds(found[LONGER])["one"]
        numbers = {
            "rows": rows,
            "multiples": list(MULTIPLES),
            "zoo": {
                "networks": len(zoo),
                "good": found[ORIGINALS][0]["good"],
                "units": found[ORIGINALS][0]["units"],
                "cpu_seconds": collected,
            },
            "cost": {
                name: {
                    **{part: spread([one["cpu_seconds"][part] for one in row]) for part in row[0]["cpu_seconds"]},
                    **{key: row[0][key] for key in ("generator_parameters", "loss") if key in row[0]},
                }
                for name, row in found.items()
                if "cpu_seconds" in row[0]
            },
        }
        with storing(self.profile, EXPERIMENT):
            model = RPG.from_pretrained(folder_of(self._kept()))
            return write_record(
                EXPERIMENT,
                self.profile,
                numbers,
                config=self._config(self.moved),
                seeds=self._seeds(),
                n=len(self.seeds),
                wall_seconds=time.perf_counter() - began,
                data_source=images.source,
                generator=model.save_pretrained(generator_dir(self.profile, EXPERIMENT)),
            )

    def check_live(self, record: dict, tolerance: float = 0.3) -> str:
        """Generate the kept generator's midpoints again and compare their mean accuracy with the record (in points).

        Returns one sentence; raises `AssertionError` where the record does not hold, and `InputError` where the kept
        generator is another run's.
        """
        model, _, digest = RPG.read(generator_dir(self.profile, EXPERIMENT))
        if digest != record["generator"]:
            raise InputError(f"record and generator of {EXPERIMENT} are of two runs; run with fresh=True")
        kind, job = MIXTURES[0], self._kept()
        networks = generated(self.moved, model, kind, self.networks, job.seed)
        module, test = self.recipe.architecture.build(), images_of(self.recipe.images).test
        mean = accuracies(module, networks, test).mean().item()
        recorded = record["numbers"]["rows"][f"{next(iter(self.variants))}: {kind}"][0]["accuracy"]["mean"]
        assert abs(mean - recorded) <= tolerance, f"recomputed accuracy {mean:.2f} differs from the record"
        return f"{len(networks)} {kind} states generated and evaluated again; they agree with the record"
