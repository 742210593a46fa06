"""From zoos, methods and seeds to the record of `24_baselines`."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safetensors.torch import load_file

from experiments.baselines import accuracies_on
from experiments.field.jobs import (
    MEAN_ROW,
    NETWORKS_FILE,
    ORIGINALS,
    RPG_ROW,
    ForTasks,
    HeldOut,
    Measured,
    Measuring,
    Method,
    Ours,
    Written,
)
from experiments.field.scale import RPGS, Fits
from experiments.novelty.jobs import spread
from experiments.pipeline import images_of, seeded, sources_of
from experiments.profiles import Recipe, TaskRecipe
from experiments.records import generator_dir, plain, read_record, storing, write_record
from experiments.sweeps.cells import folder_of, run
from rpglib.errors import InputError
from rpglib.runtime.bundles import read_bundle, write_bundle

EXPERIMENT = "baselines"
HEAD = "networks.json"
"""Beside the kept networks: their digest, which the record names."""
OWN, EQUAL = "own length", "RPG's time"
LONGEST = 100.0
"""How many times its own steps a method is trained at most, to take RPG's time."""


@dataclass(frozen=True)
class Study:
    """The zoos by name, methods by name, and what is asked of them beside.

    seeds move all trainings and draws, not the zoos. networks: of each group. autoencoders: names of methods that have
    one. tasks: the zoo of binary tasks, `asked` unseen ones of which the methods named by `told` write networks for,
    once for each of `splits`. scaled: the networks that are tried for memory. Every method is also given the time that
    RPG's training took on the same networks (`EQUAL`), by as many times its own steps.
    """

    zoos: Mapping[str, Recipe]
    methods: Mapping[str, Method]
    autoencoders: Sequence[str]
    tasks: TaskRecipe
    seeds: Sequence[int]
    splits: Sequence[int]
    networks: int
    asked: int
    scaled: Sequence[str]
    told: Sequence[str]
    profile: str
    seed: int = 0
    device: str = "auto"

    def record(self, fresh: bool) -> dict:
        """Compute and record everything (`fresh`), or read the record. Returns the record.

        numbers: "zoos" {name: {"rows": {length: {method: a row for each seed, None where it could not be fitted}},
        "failed": {"length, method, seed": why}, "cost": {length: {method: ...}}, "held_out": {method: ...}}},
        "tasks" {length: {method: one for each split}}, "scale" {method: {network: ...}}, "processor_seconds" of all
        but the collection of "zoos_at_hand".
        Raises `InputError` where the record was made with other settings.
        """
        if fresh:
            return self._run()
        return read_record(EXPERIMENT, self.profile, self._config(), self._seeds())

    def _config(self) -> dict:
        own = {k: v for k, v in vars(self).items() if k not in ("seeds", "splits", "profile", "seed", "device")}
        # Defaults, too: a method that is changed has another record.
        return own | {"configurations": {name: plain(one.config()) for name, one in self.methods.items()}}

    def _seeds(self) -> dict:
        return {
            "zoos": {name: seeded(recipe, self.seed).collect.seed for name, recipe in self.zoos.items()},
            "cells": [s + self.seed for s in self.seeds],
            "splits": [s + self.seed for s in self.splits],
        }

    def _each(self, kind: type[Measuring], name: str, **own) -> list[Measuring]:
        """A zoo's jobs of one kind, one for each seed."""
        recipe = seeded(self.zoos[name], self.seed)
        return [kind(recipe, self.profile, s + self.seed, self.networks, self.device, **own) for s in self.seeds]

    def _run(self) -> dict:
        began = time.perf_counter()
        # First: others want them.
        collecting = [self._each(Ours, name)[0].collecting() for name in self.zoos]
        collecting.append(self._for_tasks(RPG_ROW)[0].collecting())
        spent = [one.get("cpu_seconds", one.get("processor_seconds")) for one in run(collecting, "zoos")]
        scale = {
            # One after the other: each may take the whole budget.
            label: run([Fits(self.profile, method, tuple(self.scaled))], "memory")[0]
            for label, method in {**{name: Method(name) for name in RPGS}, **self.methods}.items()
        }
        originals = self._found({name: self._each(Measured, name)[:1] for name in self.zoos})
        tasks, short = self._tasks()
        own = self._own_lengths()
        stretches, shorter = self._stretches(own)
        equal = self._found(
            {
                (name, label): self._each(Written, name, method=method, stretch=stretches[name, label])
                for name in self.zoos
                for label, method in self.methods.items()
            }
        )
        held = self._found(
            {
                (name, label): self._each(HeldOut, name, method=self.methods[label])[:1]
                for name in self.zoos
                for label in self.autoencoders
            }
        )
        every = [originals, *tasks.values(), short, own, shorter, equal, held]
        spent += [one["processor_seconds"] for found in every for jobs in found.values() for one in jobs]
        spent += [one["processor_seconds"] for one in scale.values()]
        lengths = {OWN: own, EQUAL: equal}
        numbers = {
            "zoos": {name: self._zoo(name, originals[name][0]["row"], lengths, held) for name in self.zoos},
            "tasks": tasks,
            "scale": {label: one["networks"] for label, one in scale.items()},
            "processor_seconds": sum(x for x in spent if x is not None),
            "zoos_at_hand": spent.count(None),
        }
        with storing(self.profile, EXPERIMENT):
            source = folder_of(self._kept()) / NETWORKS_FILE
            digest = write_bundle(
                generator_dir(self.profile, EXPERIMENT),
                HEAD,
                {"of": self._kept().facts()["method"]},
                lambda folder: shutil.copy(source, folder / NETWORKS_FILE),
            )
            return write_record(
                EXPERIMENT,
                self.profile,
                numbers,
                config=self._config(),
                seeds=self._seeds(),
                n=len(self.seeds),
                wall_seconds=time.perf_counter() - began,
                data_source=sources_of(self.zoos.values()),
                generator=digest,
            )

    def _found(self, jobs: Mapping) -> dict:
        """What lists of jobs found, under the same keys; they run side by side."""
        found = iter(run([job for each in jobs.values() for job in each], EXPERIMENT))
        return {key: [next(found) for _ in each] for key, each in jobs.items()}

    def _own_lengths(self) -> dict:
        jobs = {(name, RPG_ROW): self._each(Ours, name) for name in self.zoos}
        for name in self.zoos:
            jobs |= {(name, label): self._each(Written, name, method=m) for label, m in self.methods.items()}
        return self._found(jobs)

    def _stretches(self, own: dict) -> tuple[dict, dict]:
        """By zoo and method, how many times its own steps take RPG's time; and what was found to know that.

        The first seed's times decide, so that more seeds can be added to what is kept.
        """
        short = self._found(
            {
                (name, label): self._each(Written, name, method=method, stretch=0)[:1]
                for name in self.zoos
                for label, method in self.methods.items()
            }
        )
        return {key: stretch(own[key[0], RPG_ROW][0], own[key][0], short[key][0]) for key in short}, short

    def _tasks(self) -> tuple[dict, dict]:
        """What is found for unseen tasks, by length and method; and what was found to know how long RPG's time is."""
        own = self._found({label: self._for_tasks(label) for label in (RPG_ROW, MEAN_ROW, *self.told)})
        short = self._found({label: self._for_tasks(label, stretch=0)[:1] for label in self.told})
        stretches = {label: stretch(own[RPG_ROW][0], own[label][0], short[label][0]) for label in self.told}
        equal = self._found({label: self._for_tasks(label, stretch=stretches[label]) for label in self.told})
        return {OWN: own, EQUAL: equal}, short

    def _for_tasks(self, label: str, stretch: float = 1.0) -> list[ForTasks]:
        recipe = seeded(self.tasks, self.seed)
        method = self.methods.get(label, Method(label))
        return [ForTasks(recipe, self.profile, split + self.seed, method, self.asked, stretch) for split in self.splits]

    def _zoo(self, name: str, originals: dict, lengths: dict, held: dict) -> dict:
        rows, cost, failed = {length: {} for length in lengths}, {}, {}
        rows[OWN][ORIGINALS] = [originals]
        for length, found in lengths.items():
            cost[length] = {}
            for (zoo, label), each in found.items():
                if zoo != name:
                    continue
                failed |= {f"{length}, {label}, seed {k}": x["failed"] for k, x in enumerate(each) if "failed" in x}
                fitted = [one for one in each if "rows" in one]
                for kind in fitted[0]["rows"] if fitted else ():
                    # A method's own groups are called by it; those beside RPG by themselves.
                    called = kind if label == RPG_ROW else f"{label}, {kind}" if kind else label
                    rows[length][called] = [one["rows"][kind] if "rows" in one else None for one in each]
                if fitted:
                    cost[length][label] = {
                        **{part: spread([one["cpu_seconds"][part] for one in fitted]) for part in ("fit", "network")},
                        **{key: fitted[0][key] for key in ("generator_parameters", "generator_bytes", "loss")},
                        "steps": fitted[0].get("steps", {}),
                    }
        return {
            "rows": rows,
            "failed": failed,
            "cost": cost,
            "held_out": {label: each[0] for (zoo, label), each in held.items() if zoo == name},
        }

    def _kept(self) -> Written:
        """The job whose networks are kept: the last zoo's first method."""
        return self._each(Written, next(reversed(self.zoos)), method=next(iter(self.methods.values())))[0]

    def check_live(self, record: dict, tolerance: float = 0.1) -> str:
        """Evaluate the kept networks again and compare their mean accuracy with the record (in points).

        Returns one sentence; raises `AssertionError` where the record does not hold, and `InputError` where the kept
        networks are another run's.
        """
        folder = generator_dir(self.profile, EXPERIMENT)
        digest, networks = read_bundle(
            folder, HEAD, lambda bundle: (bundle.digest, load_file(bundle.file(NETWORKS_FILE)))
        )
        if digest != record["generator"]:
            raise InputError(f"record and networks of {EXPERIMENT} are of two runs; run with fresh=True")
        recipe, label = self._kept().recipe, next(iter(self.methods))
        test = images_of(recipe.images).test
        found = accuracies_on(recipe.architecture.build(), networks, test).mean().item()
        recorded = record["numbers"]["zoos"][next(reversed(self.zoos))]["rows"][OWN][label][0]["accuracy"]["mean"]
        assert abs(found - recorded) <= tolerance, f"recomputed accuracy {found:.2f} differs from the record"
        return f"networks of {label} evaluated again; they agree with the record"


def stretch(rpg: Mapping, own: Mapping, short: Mapping) -> float:
    """How many times its own steps a method is trained to take RPG's time, to two digits.

    What was found of RPG's training, of the method's at its own length, and at one step, which costs what does not grow
    with steps. 1 for a method that could not be fitted.
    """
    if "failed" in own or "failed" in short:
        return 1.0
    total, once, fixed = (found["cpu_seconds"]["fit"] for found in (rpg, own, short))
    times = (total - fixed) / max(once - fixed, 1e-3)
    return min(LONGEST, max(0.0, float(f"{times:.2g}")))
