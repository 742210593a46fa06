"""One run of the notebook on one's own networks: its parameters, where its results are kept, and what is computed."""

import dataclasses
import glob
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments import pipeline
from experiments.own import measures, tables
from experiments.own.evaluation import Evaluation, evaluation
from experiments.profiles import CNN_DIGITS, SMOKE_COLLECT, Recipe
from experiments.records import generator_dir, home, key, plain, read_record, storing, working_dir, write_record
from experiments.report import figures, pages
from rpglib.analysis.accuracy import predictions
from rpglib.errors import InputError, shown, whole_number
from rpglib.model.rpg import RPG
from rpglib.runtime.files import read_json, save_tensors, write_json
from rpglib.training.loop import TrainResult
from rpglib.training.suggestion import Suggestion
from rpglib.zoo.collect import CollectConfig
from rpglib.zoo.description import Description
from rpglib.zoo.files import version
from rpglib.zoo.layouts import MANIFEST, find, is_zoo
from rpglib.zoo.store import Zoo
from rpglib.zoo.writing import write_networks

NAME = "your_networks"
SAYS = """
Scores are what the evaluation says, the higher the better; distances are those to the nearest checkpoint, in units of
the checkpoints' own median leave-one-out distance (LOO). What needs no trained generator stands beside it.
"""
MOST_SHOWN = 200
"""Checkpoints whose distances are kept; of more, evenly spaced ones."""


READING = ("table", "key", "include", "exclude")
"""Parameters that `Zoo.read` takes."""


@dataclass(frozen=True)
class Study:
    """The notebook's parameters, checked.

    Without `checkpoints` it is of twenty small networks for digits, each trained from its own start, which are written
    to files and read like anybody's: their results are a record of the project. Of other checkpoints everything is kept
    in the folder `out`, by default one in data/runs; what is there is read, and what was interrupted goes on.
    Raises `InputError` for parameters that cannot be used.
    """

    checkpoints: str
    evaluate: str
    steps: int
    states: int
    n: int
    out: str
    profile: str
    fresh: bool
    seed: int
    device: str
    table: str = ""
    key: str = ""
    include: str = ""
    exclude: str = ""

    def __post_init__(self):
        for name in ("checkpoints", "evaluate", "out", *READING):
            if not isinstance(getattr(self, name), str):
                raise InputError(f"parameter {name} takes text, not {shown(getattr(self, name))}")
        whole_number("parameter steps", self.steps, 0)
        whole_number("parameter states", self.states, -1)
        whole_number("parameter n", self.n, 2, 1000)
        for name in ("evaluate", *READING):
            if self.demonstration and getattr(self, name):
                raise InputError(f"parameter {name} is for checkpoints of your own; name those, too")
        _ = self.evaluation  # refuses what cannot be imported before anything is computed

    @property
    def demonstration(self) -> bool:
        return not self.checkpoints

    @property
    def source(self) -> str:
        """Where the checkpoints are: a path from here, or from the project's folder, or what is no path."""
        if not self.checkpoints:
            return str(self.folder / "checkpoints")
        there = str(home() / self.checkpoints)
        if not os.path.exists(self.checkpoints) and (os.path.exists(there) or glob.glob(there, recursive=True)):
            return there
        return self.checkpoints

    @property
    def reading(self) -> dict:
        """What `Zoo.read` is told beside the source."""
        given = {name: getattr(self, name) for name in READING if getattr(self, name)}
        return given | {name: given[name].split(",") for name in ("include", "exclude") if name in given}

    @property
    def folder(self) -> Path:
        """Where unfinished work, networks and generators are."""
        if self.out:
            return Path(self.out) if os.path.isabs(self.out) else home() / self.out
        return working_dir(self.profile, NAME if self.demonstration else f"{NAME}_{key(self.checkpoints)[:8]}")

    @property
    def generator_folder(self) -> Path:
        return generator_dir(self.profile, NAME) if self.demonstration else self.folder / "generator"

    @cached_property
    def evaluation(self) -> Evaluation | None:
        return Evaluation("digits", self._digits) if self.demonstration else evaluation(self.evaluate)

    def _digits(self, network: dict[str, Tensor]) -> Tensor:
        """Which of the digits' test images a network gets right."""
        test = pipeline.images_of("digits").test
        return predictions(self.recipe.architecture.build(), [network], test.images)[0] == test.labels

    @property
    def recipe(self) -> Recipe:
        """How the demonstration's networks are collected: one checkpoint of each run."""
        small = self.profile == "smoke"
        collect = SMOKE_COLLECT if small else CollectConfig(epochs=15, finetune_learning_rate=3e-4)
        runs = dataclasses.replace(collect, runs=4 if small else 20, checkpoints=1)
        return pipeline.seeded(dataclasses.replace(CNN_DIGITS, name=NAME, collect=runs), self.seed)

    def prepare(self) -> None:
        """Train the demonstration's networks and write each into a file; nothing where checkpoints are given."""
        if not self.demonstration:
            return
        zoo = pipeline.obtain_zoo(self.recipe, self.profile, pipeline.images_of("digits"))
        _remove(Path(self.source).glob("run_*.safetensors"))
        for i in range(len(zoo)):
            save_tensors(Path(self.source) / f"run_{i}.safetensors", zoo[i])

    # ---- what is kept ------------------------------------------------------------------------------------------------

    @property
    def config(self) -> dict:
        """What a kept result must be of."""
        own = {name: getattr(self, name) for name in ("checkpoints", "evaluate", "steps", "states", "n", "seed")}
        if self.demonstration:
            return own | {"collect": plain(self.recipe.collect)}
        if is_zoo(Path(self.source)):  # whose manifest has the checksums of all else
            files = [[MANIFEST, [version(Path(self.source) / MANIFEST)]]]
        else:
            files = [[x.label, [version(path) for path in x.files]] for x in find(self.source)]
        code = "" if self.evaluation is None else self.evaluation.code
        own |= {"files": key(plain(files)), "training_steps": self.training_steps, "evaluation": key(code)}
        return own | {"reading": self.reading}

    def result(self, compute: Callable[[], dict]) -> dict:
        """The numbers: those that are kept, or what `compute` finds, which is then kept.

        The demonstration's are a record, which only `fresh` computes. Raises `InputError` where it is absent, or of
        other parameters.
        """
        if self.demonstration and not self.fresh:
            return read_record(NAME, self.profile, self.config)["numbers"]
        kept = self.folder / "numbers.json"
        if not self.demonstration and not self.fresh and kept.exists():
            found = read_json(kept)
            if isinstance(found, dict) and found.get("config") == plain(self.config):
                return found["numbers"]
        if self.fresh:
            _remove((self.folder / "training").glob("training*.pt"))
        self.prepare()
        numbers = plain(compute(), "the result")
        if not self.demonstration:
            write_json(kept, {"config": plain(self.config), "numbers": numbers})
            return numbers
        with storing(self.profile, NAME):
            return write_record(
                NAME,
                self.profile,
                numbers,
                config=self.config,
                seeds={"collect": self.recipe.collect.seed, "train": self.seed, "generate": self.seed},
                n=self.n,
                wall_seconds=numbers["seconds"],
                data_source=pipeline.images_of("digits").source,
            )["numbers"]

    def save(self, figure: Figure, name: str) -> None:
        """Save a figure: the example's among the project's, others beside their numbers."""
        if self.demonstration:
            figures.save(figure, f"23_{name}", self.profile)
        else:
            figure.savefig(self.folder / f"{name}.png")

    # ---- what is computed --------------------------------------------------------------------------------------------

    @property
    def training_steps(self) -> int:
        """The steps that were asked for; 0, as fits the zoo, where none were. A smoke run tests the path."""
        return self.steps or (5 if self.profile == "smoke" else 0)

    def generate(self, model: RPG, zoo: Zoo, steps: int, n: int | None = None) -> list[dict[str, Tensor]]:
        """Networks for the states, the tasks or the conditions of the checkpoints in turn."""
        n = self.n if n is None else n
        states = model.config.permutation_states
        options = {"permutation": [k % states for k in range(n)]} if states else {}
        if model.config.task_bits:
            options["task"] = zoo.tasks[[k % len(zoo) for k in range(n)]]
        if model.config.conditions:
            options["condition"] = zoo.conditions[[k % len(zoo) for k in range(n)]]
        return model.generate(n, steps=steps, seed=self.seed, **options)

    def measured(
        self, zoo: Zoo, description: Description, suggestion: Suggestion, model: RPG, training: TrainResult
    ) -> dict:
        """Generate, measure and write networks, and save the generator; what the tables and figures show."""
        model.cpu()
        if self.demonstration:  # whose generator is kept with the project: half the bytes, before anything is measured
            model.half()
        steps = suggestion.model.sampling_steps
        generated = self.generate(model, zoo, steps)
        new = self.generate(suggestion.generator(zoo), zoo, steps)
        rest = self.rest_of(model, zoo, self.n)
        found = measures.groups(zoo, description, generated, new, self.seed)
        several = {
            name: measures.measured(zoo, description, networks, self.evaluation, rest[: len(networks)])
            for name, networks in found.items()
        }
        own = measures.evaluated(zoo)
        originals = measures.measured(zoo, description, [zoo[i] for i in own], self.evaluation, own, originals=True)
        write_networks(zoo, generated, self.folder / "networks", rest)
        numbers = {
            "description": told(description, zoo),
            "suggestion": {
                "reasons": suggestion.reasons,
                "steps": suggestion.train.steps,
                "sampling_steps": steps,
                "states": model.config.permutation_states,
            },
            "tokens": model.tokenizer.num_tokens,
            "token_size": model.tokenizer.token_size,
            "generator_parameters": sum(p.numel() for p in model.parameters()),
            "loss": pipeline.thinned(training.losses),
            "seconds": training.seconds,
            "groups": {measures.CHECKPOINTS: originals} | several,
            "layers": measures.layers(zoo, generated),
        }
        model.save_pretrained(self.generator_folder, card=self.card(model, numbers))
        return numbers

    def card(self, model: RPG, numbers: dict, name: str = NAME) -> str:
        """The generator's model card, with the table of the notebook."""
        found = tables.groups(numbers)
        measured = pages.table(("networks", *found.columns), [(group, *row) for group, row in found.iterrows()])
        said = numbers["description"]["read"] or "a zoo of this library"
        return model.card(name, f"Learned from: {said}.", f"{measured}\n{SAYS}".rstrip())

    def rest_of(self, model: RPG, zoo: Zoo, n: int) -> list[int]:
        """Of which checkpoint each generated network takes what the zoo left out: of its state's or its task's."""
        states = model.config.permutation_states or len(zoo)
        return [k % states % len(zoo) for k in range(n)]

    def check_live(self, numbers: dict, count: int = 2, tolerance: float = 0.6) -> str:
        """Read the generator that was kept, generate the first networks again, and evaluate them where that can be.

        tolerance: in percent of the gap between checkpoints and untrained networks. Raises `AssertionError` where a
        score differs from what was found by more.
        """
        model = RPG.from_pretrained(self.generator_folder)
        steps = numbers["suggestion"]["sampling_steps"]
        zoo = None if self.demonstration else Zoo.read(self.source, **self.reading)
        networks = self.generate(model, zoo, steps, count)
        recorded = numbers["groups"][measures.GENERATED]["scores"]
        if recorded is None:
            return f"{count} networks generated again from what was saved"
        rest = self.rest_of(model, zoo, count) if zoo is not None else []
        whole = [zoo.complete(x, i, own_names=False) for x, i in zip(networks, rest, strict=True)] if rest else networks
        ends = [fmean(numbers["groups"][name]["scores"]) for name in (measures.CHECKPOINTS, measures.UNTRAINED)]
        allowed = tolerance / 100 * abs(ends[0] - ends[1]) + 1e-6 * abs(ends[0])
        for k, network in enumerate(whole):
            found = self.evaluation(network)
            assert abs(found - recorded[k]) <= allowed, f"network {k} scores {found:.4g}, not {recorded[k]:.4g}"
        return f"{count} networks generated and evaluated again; they agree with what was found"

    def pushed(self, hub: str, numbers: dict) -> str:
        """Push the generator to the hub where a name is given and a token at hand; what was done, in one sentence."""
        if not hub:
            return f"kept in {_shown(self.folder)}; nothing was pushed: parameter hub names no repository"
        if not os.environ.get("HF_TOKEN"):
            raise InputError("parameter hub needs a token of the hub in HF_TOKEN; set it, or leave hub empty")
        model = RPG.from_pretrained(self.generator_folder)
        return f"pushed to {model.push_to_hub(hub, card=self.card(model, numbers, hub))}"


def _remove(files: Iterable[Path]) -> None:
    # One by one: the folder may be the user's, and hold other things.
    for path in files:
        path.unlink()


def _shown(folder: Path) -> str:
    return str(folder.relative_to(home())) if folder.is_relative_to(home()) else str(folder)


def told(description: Description, zoo: Zoo) -> dict:
    """A description as a record keeps it: numbers that are not defined are None."""

    def number(x: float, digits: int = 6) -> float | None:
        return None if x != x else float(f"{x:.{digits}g}")

    rows = torch.linspace(0, len(zoo) - 1, min(len(zoo), MOST_SHOWN)).round().long()
    tensors = [
        {
            "name": x.name,
            "shape": list(x.shape),
            "dtype": str(x.dtype).removeprefix("torch."),
            "kind": x.kind,
            "size": x.size,
            **{name: number(getattr(x, name)) for name in ("varies", "deviation", "spread")},
        }
        for x in description.tensors
    ]
    scores = description.scores
    files = None if zoo.sources is None else [x["file"] for x in zoo.sources]
    return {
        "read": description.read,
        "checkpoints": len(zoo),
        "files": files if files is None else [files[i] for i in rows.tolist()],
        "values": description.values,
        "compared": number(description.share),
        "spread": number(description.spread),
        "nearest": number(description.nearest.median().item()) if len(zoo) > 1 else None,
        "basins": description.basins.tolist(),
        "duplicates": [list(x) for x in description.duplicates],
        "outliers": list(description.outliers),
        "scores": None if scores is None else {str(i): round(x, 4) for i, x in scores.items()},
        "distances": [[number(x, 4) for x in row] for row in description.distances[rows][:, rows].tolist()],
        "correlations": [[number(x, 4) for x in row] for row in description.correlations[rows][:, rows].tolist()],
        "tensors": tensors,
    }
