"""Public calls with one or two arguments that make no sense: they are taken, or told in one line."""

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from kills import small_zoo
from trying import TINY, Trial, one_line

from experiments import pipeline
from experiments.records import plain, read_record, results_dir, write_record
from rpglib import Architecture, ParameterTokenizer, RPGConfig, TrainConfig, Zoo, train
from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.runtime.files import read_json, write_json
from rpglib.zoo.collect import CollectConfig

JUNK = [
    *(None, True, False, -1, 0, 1, 2, 3, 10**30, -(10**30), 0.5, -0.0, float("nan"), float("inf"), 1e400, 1 + 2j),
    *("", "x", "a\nb", "../x", "\0", "ä" * 300, b"\xff", [], [1], [[1], [1, 2]], (), (0,), {}, {"x": 1}, {1: "x"}),
    *(object(), int, torch.zeros(2), torch.tensor(float("nan")), torch.zeros(0), torch.zeros(2, 2, dtype=torch.int64)),
    *(torch.zeros(3, device="meta"), torch.zeros(2, dtype=torch.complex64), range(3), Path("nowhere/x")),
]


def bad_inputs(count: int, folder: Path, seed: int) -> Trial:
    """Half of the tries give junk to a function, half a file with one value exchanged to a reader."""
    trial, draw, zoo = Trial(), random.Random(seed), small_zoo()
    model, _ = pipeline.fit(TINY, zoo, "cpu", progress=False)
    model.save_pretrained(folder / "generator")
    write_json(folder / "x.json", {"a": [1, 2]})
    Zoo.write(folder / "zoo", list(zoo), architecture=zoo.architecture, runs=[0] * 4, accuracies=[1.0] * 4)
    facts = {"config": TINY, "seeds": [0], "n": 1, "wall_seconds": 1.0, "data_source": "none"}
    write_record("x", "smoke", {"a": 1}, **facts)
    checkpoints = list(zoo)
    of_zoo = {"architecture": zoo.architecture, "runs": [0] * 4, "accuracies": [1.0] * 4, "tasks": None}

    calls: dict[str, tuple[Callable, dict]] = {
        "RPGConfig": (RPGConfig, plain(model.config)),
        "TrainConfig": (TrainConfig, plain(TINY.train)),
        "CollectConfig": (CollectConfig, plain(TINY.collect)),
        "Architecture": (Architecture, plain(TINY.architecture)),
        "fit": (ParameterTokenizer.fit, {"checkpoints": checkpoints, "token_size": 64, "slicing": "layer"}),
        "encode": (model.tokenizer.encode, {"state_dict": checkpoints[0]}),
        "decode": (model.tokenizer.decode, {"tokens": model.tokenizer.encode(checkpoints[0])[0]}),
        "zoo": (Zoo.from_checkpoints, {"checkpoints": checkpoints, **of_zoo}),
        "train": (train, {"model": model, "zoo": zoo, "config": TrainConfig(steps=1, batch_size=2), "progress": False}),
        "generate": (model.generate, {"n": 1, "task": None, "permutation": None, "steps": 1, "part": 64, "seed": 0}),
        "read": (RPG.from_pretrained, {"path": str(folder / "generator"), "device": "cpu"}),
        "open": (Zoo.open, {"path": folder / "zoo"}),
        "record": (write_record, {"experiment": "y", "profile": "smoke", "numbers": {"a": 1}, **facts}),
        "row": (partial(pipeline.row, TINY), {"profile": "smoke", "fresh": False, "seed": 0, "device": "cpu"}),
    }
    readers: dict[str, tuple[Path, Callable]] = {
        "config.json": (folder / "generator" / "config.json", lambda: RPG.from_pretrained(folder / "generator")),
        "manifest.json": (folder / "zoo" / "manifest.json", lambda: list(Zoo.open(folder / "zoo"))),
        "record": (results_dir("smoke") / "x.json", lambda: read_record("x", "smoke")),
        "x.json": (folder / "x.json", lambda: read_json(folder / "x.json")),
    }

    def call(name: str) -> str:
        function, arguments = calls[name]
        chosen = draw.sample(sorted(arguments), min(len(arguments), draw.choice((1, 1, 2))))
        given = {key: draw.choice(JUNK) for key in chosen}
        try:
            function(**arguments | given)
        except InputError as error:
            return one_line(error)
        except Exception as error:
            raise RuntimeError(f"{type(error).__name__}: {str(error)[:100]}, given {str(given)[:100]}") from error
        return "taken"

    def read(name: str) -> str:
        path, reader = readers[name]
        whole = path.read_text(encoding="utf-8")
        try:
            path.write_text(_spoilt(whole, draw), encoding="utf-8")
            reader()
        except InputError as error:
            return one_line(error)
        finally:
            path.write_text(whole, encoding="utf-8")
        return "taken"

    for k in range(count):
        if k % 2:
            name = list(readers)[k // 2 % len(readers)]
            trial.one(f"input {k}, {name}", lambda name=name: read(name))
        else:
            name = list(calls)[k // 2 % len(calls)]
            trial.one(f"input {k}, {name}", lambda name=name: call(name))
    return trial


def _spoilt(text: str, draw: random.Random) -> str:
    """JSON with one value exchanged or left out, or text that is none any more."""
    if draw.random() < 0.3:
        start = draw.randrange(len(text))
        return text[:start] + draw.choice(("", "{", "\0", text[start:] * 2))
    value = json.loads(text)
    at, keys = value, list(value)
    while True:
        key = draw.choice(keys)
        below = at[key]
        if isinstance(below, dict | list) and below and draw.random() < 0.7:
            at, keys = below, list(below) if isinstance(below, dict) else list(range(len(below)))
            continue
        if draw.random() < 0.2:
            del at[key]
        else:
            at[key] = draw.choice(
                [x for x in JUNK if x is None or isinstance(x, bool | int | float | str | list | dict)]
            )
        break
    try:
        return json.dumps(value)
    except (TypeError, ValueError):  # keys of two kinds
        return "[]"
