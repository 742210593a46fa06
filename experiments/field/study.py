"""From zoos, methods and seeds to the record of `24_baselines`."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safetensors.torch import load_file

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
from experiments.field.scale import Fits
from experiments.novelty.jobs import spread
from experiments.pipeline import images_of, seeded
from experiments.profiles import Recipe, TaskRecipe
from experiments.records import generator_dir, read_record, storing, write_record
from experiments.sweeps.cells import folder_of, run
from rpglib.analysis.accuracy import accuracy, predictions
from rpglib.errors import InputError
from rpglib.runtime.bundles import read_bundle, write_bundle

EXPERIMENT = "baselines"
HEAD = "networks.json"
"""Beside the kept networks: their digest, which the record names."""
OWN, EQUAL = "own length", "RPG's time"


@dataclass(frozen=True)
class Study:
    """The zoos by name, methods by name, and what is asked of them beside.

    seeds move all trainings and draws, not the zoos. networks: of each group. autoencoders: names of methods that have
    one. tasks: the zoo of binary tasks, `asked` unseen ones of which the methods named by `told` write networks for,
    once for each of `splits`. scaled: the networks that are tried for memory. Every method is also given the time that
    RPG's training took on the same zoo (`EQUAL`), by as many times its own steps.
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

        numbers: "zoos" {name: {"rows": {length: {method: a row for each seed}}, "cost": {length: {method: ...}},
        "held_out": {method: ...}, "good"}}, "tasks" {method: one for each split}, "scale" {method: {network: ...}}.
        Raises `InputError` where the record was made with other settings.
        """
        if fresh:
            return self._run()
        return read_record(EXPERIMENT, self.profile, self._config(), self._seeds())

    def _config(self) -> dict:
        return {k: v for k, v in vars(self).items() if k not in ("seeds", "splits", "profile", "seed", "device")}

    def _seeds(self) -> dict:
        return {
            "zoos": {name: seeded(recipe, self.seed).collect.seed for name, recipe in self.zoos.items()},
            "cells": [s + self.seed for s in self.seeds],
            "splits": list(self.splits),
        }

    def _each(self, kind: type[Measuring], name: str, **own) -> list[Measuring]:
        """A zoo's jobs of one kind, one for each seed."""
        recipe = seeded(self.zoos[name], self.seed)
        return [kind(recipe, self.profile, s, self.networks, self.device, **own) for s in self.seeds]

    def _run(self) -> dict:
        began = time.perf_counter()
        # First: others want them.
        run([self._each(Ours, name)[0].collecting() for name in self.zoos], "zoos")
        originals = self._found({name: self._each(Measured, name)[:1] for name in self.zoos})
        lengths = {OWN: self._own_lengths()}
        stretches = self._stretches(lengths[OWN])
        lengths[EQUAL] = self._found(
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
        tasks = self._found({label: self._for_tasks(label) for label in (RPG_ROW, MEAN_ROW, *self.told)})
        scale = {
            # One after the other: each may take the whole budget.
            label: run([Fits(self.profile, method, tuple(self.scaled))], "memory")[0]
            for label, method in {RPG_ROW: Method(RPG_ROW), **self.methods}.items()
        }
        numbers = {
            "zoos": {name: self._zoo(name, originals[name], lengths, held) for name in self.zoos},
            "tasks": tasks,
            "scale": scale,
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
                data_source=", ".join({images_of(recipe.images).source: 0 for recipe in self.zoos.values()}),
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

    def _stretches(self, own: dict) -> dict:
        """By zoo and method, how many times its own steps take RPG's time, to two digits."""

        def seconds(name: str, label: str) -> float:
            return spread([one["cpu_seconds"]["fit"] for one in own[name, label]])["mean"]

        return {
            (name, label): float(f"{seconds(name, RPG_ROW) / max(seconds(name, label), 1e-3):.2g}")
            for name in self.zoos
            for label in self.methods
        }

    def _for_tasks(self, label: str) -> list[ForTasks]:
        recipe = seeded(self.tasks, self.seed)
        method = self.methods.get(label, Method(label))
        return [ForTasks(recipe, self.profile, split, method, self.asked) for split in self.splits]

    def _zoo(self, name: str, originals: list[dict], lengths: dict, held: dict) -> dict:
        rows, cost = {length: {} for length in lengths}, {}
        rows[OWN][ORIGINALS] = originals
        for length, found in lengths.items():
            cost[length] = {}
            for (zoo, label), each in found.items():
                if zoo != name:
                    continue
                for kind in each[0]["rows"]:
                    # A method's own groups are called by it; those beside RPG by themselves.
                    called = kind if label == RPG_ROW else f"{label}, {kind}" if kind else label
                    rows[length][called] = [one["rows"][kind] for one in each]
                cost[length][label] = {
                    **{part: spread([one["cpu_seconds"][part] for one in each]) for part in ("fit", "network")},
                    **{key: each[0][key] for key in ("generator_parameters", "generator_bytes", "loss")},
                    "steps": each[0].get("steps", {}),
                }
        return {
            "rows": rows,
            "cost": cost,
            "held_out": {label: each[0]["lost"] for (zoo, label), each in held.items() if zoo == name},
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
        mean = accuracy(predictions(recipe.architecture.build(), networks, test.images), test.labels).mean().item()
        recorded = record["numbers"]["zoos"][next(reversed(self.zoos))]["rows"][OWN][label][0]["accuracy"]["mean"]
        assert abs(mean - recorded) <= tolerance, f"recomputed accuracy {mean:.2f} differs from the record"
        return f"networks of {label} evaluated again; they agree with the record"
