"""From zoos, variants and seeds to the record of `21_new_networks`."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from experiments.novelty.jobs import Baselines, Flow, Generated, Job, Longer, generated, over_seeds, spread
from experiments.novelty.measures import MULTIPLES, accuracies
from experiments.novelty.mixing import MIXTURES
from experiments.pipeline import images_of, seeded, sources_of
from experiments.profiles import Recipe
from experiments.records import generator_dir, read_record, storing, write_record
from experiments.sweeps.cells import folder_of, run
from experiments.sweeps.sweep import vary
from rpglib.errors import InputError
from rpglib.model.rpg import RPG

EXPERIMENT = "new_networks"
ORIGINALS, LONGER = "originals", "one network, trained longer"


@dataclass(frozen=True)
class Variant:
    """A generator: the settings of its behaviour (None: without one), and what changes in the recipe."""

    behaviour: Mapping | None
    changes: Mapping = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A zoo, and what is made of it: generators by name, and beside them all that needs none.

    seeds move the trainings of generators and all that is drawn, not the zoo, which all of them share. networks: of
    each group; flows: settings of DeepWeightFlow by method; epochs: of the one network that is trained longer, 0 for
    none.
    """

    recipe: Recipe
    variants: Mapping[str, Variant]
    seeds: Sequence[int]
    networks: int
    flows: Mapping[str, Mapping] = field(default_factory=dict)
    epochs: int = 0

    def jobs(self, profile: str, seed: int, device: str) -> dict[str, list[Job]]:
        """The jobs of every row, one per seed; `seed` moves the zoo, too."""

        def each(kind: type, recipe: Recipe, **own) -> list[Job]:
            return [kind(seeded(recipe, seed), profile, s + seed, self.networks, device, **own) for s in self.seeds]

        found = {
            name: each(Generated, vary(self.recipe, dict(one.changes)), behaviour=one.behaviour)
            for name, one in self.variants.items()
        }
        found[ORIGINALS] = each(Baselines, self.recipe)
        found |= {name: each(Flow, self.recipe, method=name, settings=own) for name, own in self.flows.items()}
        if self.epochs:
            together = each(Longer, self.recipe, epochs=self.epochs, together=len(self.seeds))
            found[LONGER] = [replace(job, place=k) for k, job in enumerate(together)]
        return found


@dataclass(frozen=True)
class Study:
    """The parts of the experiment by name; the first variant's first generator of the first part is kept."""

    parts: Mapping[str, Part]
    profile: str
    seed: int = 0
    device: str = "auto"

    def record(self, fresh: bool) -> dict:
        """Compute and record everything (`fresh`), or read the record. Returns the record.

        numbers: of each part "rows" {method: one row per seed, `measures.row`}, a generator's methods as
        "variant: mixture", "zoo", "cost" {variant: ...}, "multiples".
        Raises `InputError` where the record was made with other settings.
        """
        if fresh:
            return self._run()
        return read_record(EXPERIMENT, self.profile, self._config(), self._seeds())

    def _config(self) -> dict:
        return {name: {k: v for k, v in vars(part).items() if k != "seeds"} for name, part in self.parts.items()}

    def _seeds(self) -> dict:
        first = next(iter(self.parts.values()))
        cells = {name: [s + self.seed for s in part.seeds] for name, part in self.parts.items()}
        return {"zoo": seeded(first.recipe, self.seed).collect.seed, "cells": cells}

    def _jobs(self) -> dict[str, dict[str, list[Job]]]:
        return {name: part.jobs(self.profile, self.seed, self.device) for name, part in self.parts.items()}

    def _run(self) -> dict:
        began, jobs = time.perf_counter(), self._jobs()
        # First: others want them. The longest one before all.
        longer = [rows[LONGER][0].collecting() for rows in jobs.values() if LONGER in rows]
        zoos = run([*longer, *(rows[ORIGINALS][0].collecting() for rows in jobs.values())], "zoos")[len(longer) :]
        collected = {name: zoo["cpu_seconds"] for name, zoo in zip(jobs, zoos, strict=True)}
        found = iter(run([job for rows in jobs.values() for row in rows.values() for job in row], EXPERIMENT))
        numbers = {
            name: _numbers(
                self.parts[name].variants,
                {method: [next(found) for _ in row] for method, row in rows.items()},
                collected[name],
            )
            for name, rows in jobs.items()
        }
        first = next(iter(self.parts.values()))
        with storing(self.profile, EXPERIMENT):
            model = RPG.from_pretrained(folder_of(self._kept()))
            return write_record(
                EXPERIMENT,
                self.profile,
                numbers,
                config=self._config(),
                seeds=self._seeds(),
                n=len(first.seeds),
                wall_seconds=time.perf_counter() - began,
                data_source=sources_of(part.recipe for part in self.parts.values()),
                generator=model.save_pretrained(generator_dir(self.profile, EXPERIMENT)),
            )

    def _kept(self) -> Generated:
        return next(iter(next(iter(self._jobs().values())).values()))[0]

    def check_live(self, record: dict, tolerance: float = 0.3) -> str:
        """Generate the kept generator's midpoints again and compare their mean accuracy with the record (in points).

        Returns one sentence; raises `AssertionError` where the record does not hold, and `InputError` where the kept
        generator is another run's.
        """
        model, _, digest = RPG.read(generator_dir(self.profile, EXPERIMENT))
        if digest != record["generator"]:
            raise InputError(f"record and generator of {EXPERIMENT} are of two runs; run with fresh=True")
        (name, part), kind, job = next(iter(self.parts.items())), MIXTURES[0], self._kept()
        networks = generated(job.recipe, model, kind, part.networks, job.seed)
        module, test = part.recipe.architecture.build(), images_of(part.recipe.images).test
        mean = accuracies(module, networks, test).mean().item()
        recorded = record["numbers"][name]["rows"][f"{next(iter(part.variants))}: {kind}"][0]["accuracy"]["mean"]
        assert abs(mean - recorded) <= tolerance, f"recomputed accuracy {mean:.2f} differs from the record"
        return f"{len(networks)} {kind} states generated and evaluated again; they agree with the record"


def _numbers(variants: Iterable[str], found: dict[str, list[dict]], collected: float) -> dict:
    """A part's numbers, from what its jobs found; collected: seconds of the zoo's collection."""
    originals = found[ORIGINALS][0]
    rows = {}
    for name, row in found.items():
        prefix = f"{name}: " if name in variants else ""
        rows |= {f"{prefix}{kind}": each for kind, each in over_seeds(row).items()}
    # They do not depend on the seed.
    rows[ORIGINALS] = rows[ORIGINALS][:1]
    return {
        "rows": rows,
        "multiples": list(MULTIPLES),
        "zoo": {
            "networks": rows[ORIGINALS][0]["n"],
            "good": originals["good"],
            "units": originals["units"],
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
