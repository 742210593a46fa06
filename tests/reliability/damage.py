"""Disks that fill up, and bits that flip."""

import os
import random
import resource
import signal
from dataclasses import replace
from pathlib import Path

import torch
from kills import small_zoo
from trying import TINY, Trial, child, ended, no_parts, one_line

from experiments import pipeline
from experiments.records import write_record
from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.runtime.files import save_tensors
from rpglib.runtime.state_dicts import digest
from rpglib.training import loop
from rpglib.training.loop import TrainResult
from rpglib.zoo.store import Zoo

FACTS = {"architecture": TINY.architecture, "runs": [0, 0, 1, 1], "accuracies": [50.0, 51.0, 52.0, 53.0]}


def full_disks(count: int, folder: Path, seed: int) -> Trial:
    """The system refuses every file beyond a random size: one line, and what was there before is there."""
    trial, draw, zoo = Trial(), random.Random(seed), small_zoo()
    recipe = replace(TINY, train=replace(TINY.train, steps=2, save_every=1))
    model, _ = pipeline.fit(recipe, zoo, "cpu", progress=False)
    tensors = {"x": torch.zeros(40_000)}
    numbers = {"x": [0.5] * 30_000}
    facts = {"config": {}, "seeds": [0], "n": 1, "wall_seconds": 1.0, "data_source": "none"}
    writers = {
        "generator": lambda place: model.save_pretrained(place),
        "tensors": lambda place: save_tensors(place / "x.safetensors", tensors),
        "training": lambda place: pipeline.fit(recipe, zoo, "cpu", place, progress=False),
        "zoo": lambda place: Zoo.write(place, list(zoo), **FACTS),
        "record": lambda place: write_record("x", "smoke", numbers, **facts),
    }

    def content(place: Path) -> dict:
        return {str(path): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}

    def check(name: str, place: Path) -> str:
        place.mkdir()
        os.environ["RPG_HOME"] = str(place)
        if name != "training":  # which would find that it has finished
            writers[name](place)
        before, size = content(place), draw.randrange(200, 12_000)

        def limited() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            try:
                writers[name](place)
            except InputError as error:
                one_line(error)
                assert "cannot write" in str(error), error
                os._exit(0)
            os._exit(3)

        assert ended(child(limited)) == 0, f"{name}: not told in one line"
        assert content(place) == before, f"{name}: something changed"
        no_parts(place)
        return name

    for k in range(count):
        name = list(writers)[k % len(writers)]
        trial.one(f"full disk {k}, {name}", lambda k=k, name=name: check(name, folder / str(k)))
    return trial


def flipped_bits(count: int, folder: Path, seed: int) -> Trial:
    """One bit of a generator's files, of a training's state or of a zoo's shards is turned round."""
    trial, draw, zoo = Trial(), random.Random(seed), small_zoo()
    recipe = replace(TINY, train=replace(TINY.train, steps=2, save_every=1))
    model, training_result = pipeline.fit(recipe, zoo, "cpu", folder / "training", progress=False)
    model.save_pretrained(folder / "generator", {"x.safetensors": zoo[0]})
    Zoo.write(folder / "zoo", list(zoo), **FACTS)
    trained, identity = digest(model.state_dict()), loop._identity(model, zoo, recipe.train, training_result.precision)

    def generator() -> bool:
        found, companions, _ = RPG.read(folder / "generator", companions=["x.safetensors"])
        return digest(found.state_dict()) == trained and digest(companions["x.safetensors"]) == digest(zoo[0])

    def training() -> bool:
        loop._resume(folder / "training" / "training.pt", {"model": model}, TrainResult(), identity)
        return digest(model.state_dict()) == trained

    def collected() -> bool:
        found = Zoo.open(folder / "zoo")
        return len(found) == 4 and all(digest(found[k]) == digest(zoo[k]) for k in range(4))

    places = [(path, generator) for path in sorted((folder / "generator").iterdir())]
    places += [(folder / "training" / "training.pt", training)]
    places += [(path, collected) for path in sorted((folder / "zoo").glob("*.safetensors"))]

    def check(path: Path, same) -> str:
        whole = path.read_bytes()
        content = bytearray(whole)
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        try:
            path.write_bytes(content)
            assert same(), "other values, and nobody noticed"
            return "of no effect"
        except InputError as error:
            one_line(error)
            return "noticed"
        finally:
            path.write_bytes(whole)

    for k in range(count):
        path, same = places[k % len(places)]
        trial.one(f"bit {k} of {path.name}", lambda path=path, same=same: check(path, same))
    return trial
