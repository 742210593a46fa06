"""Processes that are killed, and processes side by side."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from trying import TINY, Trial, child, ended, killed_after, killed_once, no_parts, seconds_of

from experiments import pipeline
from experiments.records import generator_dir, results_dir
from experiments.sweeps import cells
from experiments.sweeps.cells import Cell
from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.runtime.state_dicts import digest
from rpglib.zoo.store import Zoo


def small_zoo() -> Zoo:
    torch.manual_seed(0)
    networks = [TINY.architecture.build().state_dict() for _ in range(4)]
    return Zoo.from_checkpoints(
        networks, architecture=TINY.architecture, runs=[0, 0, 1, 1], accuracies=[50.0, 51.0, 52.0, 53.0]
    )


def trainings(count: int, folder: Path, seed: int) -> Trial:
    """Killed one to three times each, anywhere, then left to finish: the weights are those of an unbroken training."""
    trial, draw, zoo = Trial(), random.Random(seed), small_zoo()
    recipe = replace(TINY, train=replace(TINY.train, steps=40, save_every=3))

    def fit(place: Path) -> None:
        model, _ = pipeline.fit(recipe, zoo, "cpu", place, progress=False)
        (place / "digest").write_text(digest(model.state_dict()))

    for name in ("first", "second"):  # the first also loads what no later one has to
        (folder / name).mkdir()
        whole = seconds_of(lambda name=name: fit(folder / name))
    wanted = (folder / "first" / "digest").read_text()

    def check(place: Path) -> str:
        place.mkdir()
        killed_once(place, draw.uniform(0, whole), lambda: fit(place))
        kills = 1 + sum(killed_after(draw.uniform(0, whole), lambda: fit(place)) for _ in range(draw.randint(0, 2)))
        assert ended(child(lambda: fit(place))) == 0, "the last training did not end well"
        assert (place / "digest").read_text() == wanted, "resumed to other weights"
        no_parts(place)
        return f"killed {kills} times"

    return trial.each("training", folder, count, check)


def sweeps(count: int, folder: Path, seed: int) -> Trial:
    """Killed and gone on with in one process; every fifth with workers, which must end with it."""
    trial, draw = Trial(), random.Random(seed)
    jobs = [Cell(replace(TINY, train=replace(TINY.train, seed=s)), "smoke", device="cpu") for s in range(3)]

    def run(home: Path) -> None:
        os.environ["RPG_HOME"] = str(home)
        found = [numbers["generated"]["accuracies"] for numbers in cells.run(jobs)]
        (home / "found.json").write_text(json.dumps(found))

    for name in ("first", "second"):
        (folder / name).mkdir()
        whole = seconds_of(lambda name=name: run(folder / name))
    wanted = (folder / "first" / "found.json").read_text()

    def check(home: Path) -> str:
        home.mkdir()
        killed_once(home, draw.uniform(0, whole), lambda: run(home))
        kills = 1 + killed_after(draw.uniform(0, whole), lambda: run(home))
        assert ended(child(lambda: run(home))) == 0, "the last sweep did not end well"
        assert (home / "found.json").read_text() == wanted, "other numbers"
        no_parts(home)
        assert not list(home.rglob("*.lock")), "locks are left"
        return f"killed {kills} times"

    for k in range(count):
        if k % 5 == 4:
            trial.one(f"workers {k}", lambda k=k: _workers(folder / str(k), draw.uniform(0, 3)))
        else:
            trial.one(f"sweep {k}", lambda k=k: check(folder / str(k)))
    return trial


WORKERS = """
import os, sys, time
from pathlib import Path
class Job:
    profile, device = "cpu", "cpu"
def work(place, job, folder=Path(sys.argv[1])):
    (folder / str(os.getpid())).touch()
    until = time.time() + 120
    while time.time() < until:
        sum(range(10**6))
if __name__ == "__main__":
    from experiments.sweeps import cells
    os.sched_getaffinity = lambda process: {0, 1}
    list(cells._spread({"one": Job(), "other": Job()}, work))
"""


def _workers(folder: Path, seconds: float) -> str:
    (folder / "workers").mkdir(parents=True)
    (folder / "program.py").write_text(WORKERS)
    path = str(Path(__file__).parents[2])
    sweep = subprocess.Popen(
        [sys.executable, "program.py", "workers"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        stderr=subprocess.DEVNULL,  # loky tells of what a killed process did not tidy up, and does it
    )
    while len(found := [int(path.name) for path in (folder / "workers").iterdir()]) < 2 and sweep.poll() is None:
        time.sleep(0.1)
    time.sleep(seconds)
    sweep.kill()
    sweep.wait()
    patience = time.time() + 20
    while (left := [process for process in found if Path(f"/proc/{process}").exists()]) and time.time() < patience:
        time.sleep(0.2)
    for process in left:
        os.kill(process, signal.SIGKILL)
    assert len(found) == 2 and not left, f"of {len(found)} workers {len(left)} are left"
    return "with workers"


def saves(count: int, folder: Path, seed: int) -> Trial:
    """Two generators saved by turns over each other, killed anywhere: one of the two is there, whole."""
    trial, draw, zoo = Trial(), random.Random(seed), small_zoo()
    recipe = replace(TINY, train=replace(TINY.train, steps=1))
    models = []
    for k in range(2):
        model, _ = pipeline.fit(pipeline.seeded(recipe, k), zoo, "cpu", progress=False)
        models.append(model)
    wanted = {
        model.save_pretrained(folder / f"model{k}", {"x.safetensors": zoo[k]}): k for k, model in enumerate(models)
    }

    def by_turns(place: Path) -> None:
        for k in range(1000):
            models[k % 2].save_pretrained(place, {"x.safetensors": zoo[k % 2]})

    def check(place: Path) -> str:
        models[0].save_pretrained(place, {"x.safetensors": zoo[0]})
        assert killed_after(draw.uniform(0, 0.3), lambda: by_turns(place))
        model, companions, said = RPG.read(place, companions=["x.safetensors"])
        k = wanted[said]
        assert digest(model.state_dict()) == digest(models[k].state_dict()), "other weights"
        assert digest(companions["x.safetensors"]) == digest(zoo[k]), "another companion"
        models[1].save_pretrained(place)
        no_parts(place)
        assert len(list(place.iterdir())) == 4, f"left over: {sorted(path.name for path in place.iterdir())}"
        return f"model {k}"

    return trial.each("save", folder, count, check)


def pairs(count: int, folder: Path, seed: int) -> Trial:
    """Two rows at once, and a reader: both succeed, and what is read and what stays belongs together."""
    trial, draw = Trial(), random.Random(seed)
    recipe = replace(TINY, train=replace(TINY.train, steps=4))

    def row(home: Path, s: int, delay: float) -> None:
        os.environ["RPG_HOME"] = str(home)
        time.sleep(delay)
        for _ in range(2):
            assert pipeline.row(recipe, "smoke", True, s, "cpu").record["seeds"]["train"] == s
            try:
                assert pipeline.row(recipe, "smoke", False, s, "cpu").record["seeds"]["train"] == s
            except InputError as error:
                assert "another seed" in str(error), error

    def check(home: Path, seeds: tuple[int, int]) -> str:
        home.mkdir()
        children = [child(lambda s=s: row(home, s, draw.uniform(0, 0.5))) for s in seeds]
        assert [ended(process) for process in children] == [0, 0], "one of them failed"
        os.environ["RPG_HOME"] = str(home)
        record = json.loads((results_dir("smoke") / f"{recipe.name}.json").read_text())
        head = json.loads((generator_dir("smoke", recipe.name) / "config.json").read_text())
        assert record["generator"] == head["digest"], "record and generator of two runs"
        no_parts(home)
        assert not list(home.rglob("*.lock")) and not list(home.rglob("training_*")), "unfinished work is left"
        return "of one seed" if len(set(seeds)) == 1 else "of two seeds"

    for k in range(count):
        trial.one(f"pair {k}", lambda k=k: check(folder / str(k), (0, k % 2)))
    return trial
