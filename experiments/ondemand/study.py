"""From variants and seeds to the record of `22_networks_on_demand`."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from safetensors.torch import load_file

from experiments.ondemand.family import CIRCUMSTANCES, KINDS
from experiments.ondemand.jobs import (
    NETWORKS,
    Collected,
    FineTuned,
    FromZoo,
    Generalist,
    Generated,
    Job,
    Plainly,
    Plan,
    Specialists,
    generated,
)
from experiments.ondemand.networks import accuracies
from experiments.pipeline import images_of
from experiments.records import generator_dir, read_record, storing, write_record
from experiments.sweeps.cells import folder_of, run
from experiments.sweeps.findings import by_seed
from rpglib.errors import InputError
from rpglib.model.rpg import RPG

EXPERIMENT = "networks_on_demand"
SPECIALISTS, GENERALIST, HYPERNETWORK = "specialists, trained there", "generalist", "plain hypernetwork"
COMPANION = "generalist.safetensors"


@dataclass(frozen=True)
class Study:
    """A plan, generators by name with their settings (`jobs.Generated`), and generalists with theirs; and its name.

    Without generators, generalists alone are measured, and what is fine-tuned from them. sizes: of the zoo, at which
    the variants of `curve` and all that is made from the zoo's networks are measured, too; the last is all of it. seeds
    move trainings and what is drawn, not zoo, specialists and rows, which all of them share; `seed` moves both. keeps:
    whether the first variant's first generator is kept, with its seed's generalist.
    """

    plan: Plan
    profile: str
    variants: Mapping[str, Mapping]
    curve: Sequence[str]
    sizes: Sequence[int]
    generalists: Mapping[str, Mapping]
    seeds: Sequence[int]
    seed: int = 0
    device: str = "auto"
    name: str = EXPERIMENT
    keeps: bool = True

    def _job(self, kind: type, s: int = 0, **own) -> Job:
        return kind(self.plan, self.profile, self.seed, s + self.seed, self.device, **own)

    def _kept(self) -> Generated:
        return self._job(Generated, self.seeds[0], **next(iter(self.variants.values())))

    def record(self, fresh: bool) -> dict:
        """Compute and record everything (`fresh`), or read the record. Returns the record.

        numbers: "rows" (U, 3) and their "kinds"; "accuracy" {method: for each seed (U,), in percent, None where it was
        not measured}; "weights" of a network; "cost" {method: {"train", "network"}, seconds of one core over seeds,
        and "parameters"}; "loss"; "zoo", where there are generators. A method at another size of the zoo is
        "method @ size". Raises `InputError` where the record was made with other settings.
        """
        if fresh:
            return self._run()
        return read_record(self.name, self.profile, self._config(), self._seeds())

    def _config(self) -> dict:
        return {
            "plan": self.plan,
            "variants": self.variants,
            "curve": list(self.curve),
            "sizes": list(self.sizes),
            "generalists": self.generalists,
        }

    def _seeds(self) -> dict:
        return {"zoo": self.seed, "cells": [s + self.seed for s in self.seeds]}

    def jobs(self) -> dict[str, list[Job]]:
        """By method the jobs of all seeds; those that write several methods are under the name of their first."""
        every = self.seeds
        how = {"compared": self.plan.compared is not None}
        found = {
            name: [self._job(Generalist, s, **how, **own) for s in every] for name, own in self.generalists.items()
        }
        if self.variants:
            first = next(iter(self.variants.values()))
            alike = {name: first[name] for name in ("size", "steps") if name in first}
            found[HYPERNETWORK] = [self._job(Plainly, s, **alike) for s in every]
        found |= {name: [self._job(Generated, s, **own) for s in every] for name, own in self.variants.items()}
        for size in self.sizes:
            found[f"@ {size}"] = [self._job(FromZoo, s, size=size) for s in every]
            for name in self.curve:
                own = self.variants[name] | {"size": size}
                found[f"{name} @ {size}"] = [self._job(Generated, s, **own) for s in every]
        for name in self.plan.finetuning:
            found[name] = [self._job(FineTuned, s, name=name) for s in every]
        return found

    def _run(self) -> dict:
        began = time.perf_counter()
        # In this order: everything else learns from the zoo, or starts from a generalist.
        beside = {"zoo": self._collected()} if self.variants else {}
        trained = {SPECIALISTS: [self._specialists()]} if self.variants else {}
        jobs = self.jobs()
        generalists = [job for name in self.generalists for job in jobs[name]]
        run(generalists, "generalists")
        found = iter(run([job for row in jobs.values() for job in row], self.name))
        found = {name: [next(found) for _ in row] for name, row in jobs.items()}
        for size in self.sizes:
            made = found.pop(f"@ {size}")
            found |= {f"{name} @ {size}": [one[name] for one in made] for name in made[0]}
        found |= trained
        places = self._job(FineTuned).places()
        for name in self.plan.finetuning:
            for one in found[name]:
                few = dict(zip(places, one["accuracy"], strict=True))
                one["accuracy"] = [few.get(k) for k in range(len(self.plan.kinds()))]
        numbers = {
            "rows": self.plan.rows(self.seed),
            "kinds": self.plan.kinds(),
            "accuracy": {name: [one["accuracy"] for one in row] for name, row in found.items()},
            "weights": {name: row[0]["weights"] for name, row in found.items()},
            "cost": {
                name: {part: by_seed([one["cpu_seconds"][part] for one in row]) for part in row[0]["cpu_seconds"]}
                | {key: row[0][key] for key in ("parameters",) if key in row[0]}
                for name, row in found.items()
            },
            "loss": {name: row[0]["loss"] for name, row in found.items() if "loss" in row[0]},
            **beside,
        }
        with storing(self.profile, self.name):
            return write_record(
                self.name,
                self.profile,
                numbers,
                config=self._config(),
                seeds=self._seeds(),
                n=len(self.seeds),
                wall_seconds=time.perf_counter() - began,
                data_source=images_of(self.plan.images).source,
                generator=self._keep() if self.keeps else None,
            )

    def _parts(self, kind: type, count: int, label: str) -> list[dict]:
        """So many networks, trained in as many jobs as it takes."""
        return run([self._job(kind, part=k) for k in range(-(-count // self.plan.together))], label)

    def _collected(self) -> dict:
        """Collect the zoo, which starts from a generalist; returns its size, and the seconds of both."""
        (start,) = run([self._job(Generalist)], "a generalist")
        zoo = self._parts(Collected, self.plan.networks, "the zoo")
        found = {key: sum(part[key] for part in zoo) for key in ("networks", "cpu_seconds")}
        return found | {"start_cpu_seconds": start["cpu_seconds"]["train"]}

    def _specialists(self) -> dict:
        """Train the specialists of all rows; returns what they are, as one job would."""
        trained = self._parts(Specialists, sum(self.plan.asked.values()), "specialists")
        accuracy = [value for part in trained for value in part["accuracy"]]
        seconds = sum(part["cpu_seconds"]["network"] * len(part["accuracy"]) for part in trained)
        return {
            "accuracy": accuracy,
            "weights": trained[0]["weights"],
            "cpu_seconds": {"network": seconds / len(accuracy)},
        }

    def _keep(self) -> str:
        """Write the kept generator and its generalist; returns their digest."""
        model = RPG.from_pretrained(folder_of(self._kept()))
        beside = load_file(folder_of(self.jobs()[GENERALIST][0]) / NETWORKS)
        companion = {COMPANION: {name: x[0] for name, x in beside.items()}}
        return model.save_pretrained(generator_dir(self.profile, self.name), companion)

    def check_live(self, record: dict, count: int = 8, tolerance: float = 0.3) -> str:
        """Generate networks for the first rows of each kind again and compare their mean accuracy with the record.

        tolerance: in points. Returns one sentence; raises `AssertionError` where the record does not hold, and
        `InputError` where the kept generator is another run's.
        """
        model, _, digest = RPG.read(generator_dir(self.profile, self.name))
        if digest != record["generator"]:
            raise InputError(f"record and generator of {self.name} are of two runs; run with fresh=True")
        kinds, job = record["numbers"]["kinds"], self._kept()
        chosen = [k for kind in KINDS for k in [i for i, x in enumerate(kinds) if x == kind][:count]]
        rows = torch.tensor(record["numbers"]["rows"])[chosen]
        networks = generated(self.plan, model, rows, job.diffusion, job.seed)
        module, test = self.plan.architecture.build(), images_of(self.plan.images).test
        mean = accuracies(module, networks, rows, test, self.seed).mean().item()
        known = record["numbers"]["accuracy"][next(iter(self.variants))][0]
        recorded = sum(known[k] for k in chosen) / len(chosen)
        assert abs(mean - recorded) <= tolerance, f"recomputed accuracy {mean:.2f} differs from the record"
        names = ", ".join(condition.name for condition in CIRCUMSTANCES)
        return f"{len(rows)} networks for their {names} generated and evaluated again; they agree with the record"
