"""The jobs of `25_igpg`: zoos, codes, a short search, a prior for each seed, and one RPG for each architecture.

Each is computed once and kept (`experiments.sweeps.cells`), so that a broken run goes on and two run side by side.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from experiments.baselines import (
    CALIBRATION,
    Networks,
    accuracies_on,
    from_weights,
    measured,
    one_by_one,
    points,
    side_by_side,
)
from experiments.igpg.measures import Tuning, a_block_less, along_sequence, retrieval, tuned
from experiments.pipeline import NETWORKS, fit, generate, images_of, obtain_zoo, pick, retrained, thinned
from experiments.profiles import Recipe
from experiments.records import key, plain
from experiments.sources import code_of
from experiments.sweeps.cells import folder_of
from rpglib.analysis.accuracy import summarise
from rpglib.analysis.memorisation import nearest_distance
from rpglib.igpg.config import CodesTraining, IGPGConfig, PriorTraining
from rpglib.igpg.igpg import IGPG
from rpglib.igpg.prior import Prior
from rpglib.igpg.training import new_igpg, train_codes, train_prior
from rpglib.runtime.files import save_tensors
from rpglib.runtime.state_dicts import Checkpoint
from rpglib.tokenizer.several import Layout
from rpglib.zoo.collect import init_population
from rpglib.zoo.images import Split, take
from rpglib.zoo.store import Zoo

CODE = code_of(__file__)
NETWORKS_FILE = "networks.safetensors"
"""What a prior wrote of the first architecture, side by side; the prior is too large to be kept with a record."""
LOOKED_AT = 1000
"""Validation images on which the temperature is chosen."""
ORIGINALS, GENERATED, ANONYMOUS, UNTRAINED = "originals", "IGPG", "IGPG, no identity", "untrained prior"
BLOCK_LESS, SCRATCH = "one block of four left out", "random weights"


def row(module: nn.Module, networks: Sequence[Checkpoint], zoo: Zoo, test: Split) -> dict:
    """What is recorded of a group of networks: accuracy (percent), error-IoU and distance (LOO), to four decimals."""
    found = measured(module, networks, zoo, test)
    distance = {"median": round(found["distance"]["median"], 4)}
    alike = found["error_iou"]
    own = {name: round(found[name], 4) for name in ("mean", "std", "min", "max")}
    return own | {"error_iou": None if alike is None else round(alike, 4), "distance": distance}


def zoo_of(recipe: Recipe, profile: str) -> Zoo:
    """The originals of a recipe, collected where they are not at hand."""
    return obtain_zoo(recipe, profile, images_of(recipe.images), "cpu")


@dataclass(frozen=True)
class Collecting:
    """The training of a recipe's originals, and what is measured of them."""

    recipe: Recipe
    profile: str
    device: str = "cpu"

    def facts(self) -> dict:
        made = [self.recipe.architecture, self.recipe.images, self.recipe.collect, self.recipe.pretrained]
        return {"made": key(made), "images": images_of(self.recipe.images).source, "igpg_code": CODE}

    def compute(self, folder: Path) -> dict:
        zoo = zoo_of(self.recipe, self.profile)
        apart = nearest_distance(points(zoo))  # of each from the others, in the unit of all distances
        own = {"distance": summarise(apart / apart.median())}
        return {
            ORIGINALS: row(zoo.build(), [*zoo], zoo, images_of(self.recipe.images).test) | own,
            "parameters": sum(p.numel() for p in zoo.build().parameters()),
        }


@dataclass(frozen=True)
class Rpg:
    """One RPG for one architecture, with the recipe of its own row; `seed` moves its training."""

    recipe: Recipe
    profile: str
    seed: int = 0
    device: str = "cpu"

    def facts(self) -> dict:
        source = images_of(self.recipe.images).source
        return plain({"recipe": replace(self.recipe, name=""), "seed": self.seed, "images": source, "igpg_code": CODE})

    def compute(self, folder: Path) -> dict:
        zoo, images = zoo_of(self.recipe, self.profile), images_of(self.recipe.images)
        recipe = retrained(self.recipe, self.seed)
        model, training = fit(recipe, zoo, pick(self.device), progress=False)
        began = time.process_time()
        networks = generate(recipe, model, seed=recipe.train.seed)
        seconds = (time.process_time() - began) / len(networks)
        return {
            "row": row(zoo.build(), networks, zoo, images.test),
            "generator_parameters": sum(p.numel() for p in model.parameters()),
            "cpu_seconds": {"train": training.processor_seconds, "network": seconds},
        }


@dataclass(frozen=True)
class Igpg:
    """What the jobs of IGPG share: the recipes that are learned, the one that is not, sizes, and how codes train."""

    recipes: tuple[Recipe, ...]
    held_out: Recipe
    profile: str
    config: IGPGConfig
    codes: CodesTraining
    device: str = "cpu"

    def facts(self) -> dict:
        own = {key: value for key, value in vars(self).items() if key not in ("profile", "device")}
        own["recipes"] = [replace(recipe, name="") for recipe in self.recipes]
        own["held_out"] = replace(self.held_out, name="")
        sources = [images_of(recipe.images).source for recipe in self.recipes]
        return plain({**own, "images": sources, "igpg_code": CODE})

    def zoos(self) -> list[Zoo]:
        return [zoo_of(recipe, self.profile) for recipe in self.recipes]

    def coded(self) -> "Codes":
        """The job that trains the codes."""
        return Codes(*(getattr(self, name) for name in Igpg.__dataclass_fields__))

    def with_codes(self) -> IGPG:
        """The generator with its trained codes, and the prior as it was before training."""
        return IGPG.from_pretrained(folder_of(self.coded()))

    def unknown(self, model: IGPG) -> Layout:
        """The layout of the depth that is held out."""
        return model.layout(self.held_out.architecture, self.held_out.images)


@dataclass(frozen=True)
class Codes(Igpg):
    """The VQ-VAE of all zoos, which all seeds share."""

    def compute(self, folder: Path) -> dict:
        zoos = self.zoos()
        images = {recipe.images: images_of(recipe.images) for recipe in self.recipes}
        model = new_igpg(zoos, images, self.config, self.codes.seed)
        trained = train_codes(model, zoos, self.codes, progress=False)
        model.save_pretrained(folder)
        rows = {}
        pairs = [*zip(self.recipes, model.layouts.values(), zoos, strict=True)]
        # Networks that the codes were not trained on, by statistics of other depths.
        pairs.append((self.held_out, self.unknown(model), zoo_of(self.held_out, self.profile)))
        for recipe, layout, zoo in pairs:
            decoded = model.decode(model.encode(zoo, layout), layout)
            rows[recipe.name] = row(zoo.build(), decoded, zoo, images_of(recipe.images).test) | {"chunks": len(layout)}
        return {
            "rows": rows,
            "usage": trained.usage,
            "loss": thinned(trained.losses),
            "parameters": sum(p.numel() for p in model.codes.parameters()),
            "cpu_seconds": trained.processor_seconds,
        }


@dataclass(frozen=True)
class PriorVariant:
    """The size of a prior, and how it is trained."""

    width: int
    layers: int
    training: PriorTraining


def fresh_prior(model: IGPG, variant: PriorVariant) -> None:
    """Give a generator a prior of another size, with new weights."""
    model.config = replace(model.config, width=variant.width, layers=variant.layers)
    with torch.random.fork_rng():
        torch.manual_seed(variant.training.seed)
        places = next(iter(model.layouts.values())).places(model.kinds).shape[1]
        model.prior = Prior(model.config, places, len(model.identities)).eval()
    model.prior.entries.copy_(model.codes.codebook.detach())


def on_validation(model: IGPG, recipes: Sequence[Recipe], temperatures: Sequence[float], seed: int) -> dict[str, float]:
    """The mean accuracy (percent) over architectures on validation images, by temperature."""
    found = {}
    for temperature in temperatures:
        means = []
        for recipe in recipes:
            part = take(images_of(recipe.images).validation, LOOKED_AT)
            networks = model.generate(NETWORKS, recipe.architecture.name, seed=seed, temperature=temperature)
            means.append(accuracies_on(recipe.architecture.build(), networks, part).mean().item())
        found[f"{temperature:g}"] = sum(means) / len(means)
    return found


@dataclass(frozen=True)
class Searching(Igpg):
    """A short training of a prior, judged by its loss: no network works so early."""

    variant: PriorVariant | None = None

    def compute(self, folder: Path) -> dict:
        model, zoos = self.with_codes(), self.zoos()
        fresh_prior(model, self.variant)
        trained = train_prior(model, zoos, self.variant.training, progress=False)
        tail = trained.losses[-max(1, len(trained.losses) // 10) :]
        return {
            "steps": len(trained.losses),
            "cpu_seconds": trained.processor_seconds,
            "loss": sum(tail) / len(tail),
        }


@dataclass(frozen=True)
class Written(Igpg):
    """A prior, trained with its seed, and all that is measured of what it writes.

    temperatures: of which validation images choose one; tuning: how networks are trained on, by the recipe's name.
    """

    variant: PriorVariant | None = None
    temperatures: tuple[float, ...] = (0.3,)
    tuning: tuple[tuple[str, Tuning], ...] = ()

    def compute(self, folder: Path) -> dict:
        training, seed = self.variant.training, self.variant.training.seed
        model, zoos = self.with_codes(), self.zoos()
        fresh_prior(model, self.variant)
        untrained = {r.name: model.generate(NETWORKS, r.architecture.name, seed=seed) for r in self.recipes}
        trained = train_prior(model, zoos, training, progress=False)
        tried = on_validation(model, self.recipes, self.temperatures, seed)
        temperature = float(max(tried, key=tried.get))
        found = {
            recipe.name: self._row(model, recipe, zoo, seed, temperature, untrained[recipe.name])
            for recipe, zoo in zip(self.recipes, zoos, strict=True)
        }
        written = {name: one.pop("networks") for name, one in found.items()}
        first = written[self.recipes[0].name]
        save_tensors(folder / NETWORKS_FILE, side_by_side(first))
        return {
            "rows": found,
            "held_out": self._held_out(model, zoos, seed, temperature),
            "tuning": self._tuned(written, seed),
            "temperatures": tried,
            "temperature": temperature,
            "loss": thinned(trained.losses),
            "parameters": sum(p.numel() for p in model.prior.parameters()),
            "cpu_seconds": {"train": trained.processor_seconds, "step": trained.processor_seconds / training.steps},
        }

    def _row(self, model: IGPG, recipe: Recipe, zoo: Zoo, seed: int, temperature: float, untrained: Networks) -> dict:
        module, images, name = zoo.build(), images_of(recipe.images), recipe.architecture.name
        began = time.process_time()
        codes, _, layout = model.generate_codes(NETWORKS, name, seed=seed, temperature=temperature)
        networks = model.decode(codes, layout)
        seconds = (time.process_time() - began) / NETWORKS
        anonymous, *_ = model.generate_codes(NETWORKS, name, anonymous=True, seed=seed, temperature=temperature)
        calibration = take(images.train, CALIBRATION).images
        groups = {GENERATED: networks, ANONYMOUS: model.decode(anonymous, layout), UNTRAINED: untrained}
        groups |= dict(from_weights(module, zoo, networks, calibration, seed, GENERATED))
        return {
            "groups": {label: row(module, group, zoo, images.test) for label, group in groups.items()},
            "sequence": along_sequence(model, layout, zoo, anonymous),
            "retrieval": retrieval(model, layout, zoo, seed),
            "seconds": seconds,
            "networks": networks,
        }

    def _held_out(self, model: IGPG, zoos: list[Zoo], seed: int, temperature: float) -> dict:
        """Networks of the depth that was not learned, beside a learned deeper network without one of its blocks."""
        recipe, zoo = self.held_out, zoo_of(self.held_out, self.profile)
        images = images_of(recipe.images)
        module, test = zoo.build(), images.test
        groups = {GENERATED: model.generate(NETWORKS, recipe.architecture, seed=seed, temperature=temperature)}
        codes, *_, layout = model.generate_codes(
            NETWORKS, recipe.architecture, anonymous=True, seed=seed, temperature=temperature
        )
        groups[ANONYMOUS] = model.decode(codes, layout)
        groups |= {BLOCK_LESS: less} if (less := shortened(zoos, zoo, images.validation)) else {}
        rows = {label: row(module, group, zoo, test) for label, group in groups.items()}
        how = dict(self.tuning).get(recipe.name)
        if how is None:
            return {"groups": rows}
        starts = {label: group[: NETWORKS // 2] for label, group in groups.items()}
        starts[SCRATCH] = scratch(recipe, seed)
        return {"groups": rows, "tuning": tuned(module, starts, images, how, seed)}

    def _tuned(self, written: dict[str, Networks], seed: int) -> dict:
        found = {}
        for recipe in self.recipes:
            if (how := dict(self.tuning).get(recipe.name)) is not None:
                starts = {GENERATED: written[recipe.name][: NETWORKS // 2], SCRATCH: scratch(recipe, seed)}
                module = recipe.architecture.build()
                found[recipe.name] = tuned(module, starts, images_of(recipe.images), how, seed)
        return found


def scratch(recipe: Recipe, seed: int) -> Networks:
    """Untrained networks, as many as are trained on from generated ones."""
    return one_by_one(init_population(recipe.architecture, [10_000 + 100 * seed + k for k in range(NETWORKS // 2)]))


def shortened(zoos: Sequence[Zoo], like: Zoo, validation: Split) -> Networks:
    """Originals of four blocks without one, one network of each run; none where no zoo has four blocks.

    Left out is the block without which they are most accurate on validation images.
    """
    wanted = {name: x.shape for name, x in like[0].items()}
    module = like.build()
    for zoo in zoos:
        first = [(zoo.runs == run).nonzero()[0].item() for run in zoo.runs.unique().tolist()]
        whole = [zoo[i] for i in first[:NETWORKS]]
        if not any("blocks.3." in name for name in whole[0]):
            continue
        found = [[a_block_less(network, block) for network in whole] for block in range(4)]
        if {name: x.shape for name, x in found[0][0].items()} == wanted:
            right = [accuracies_on(module, x, validation).mean() for x in found]
            return found[int(torch.stack(right).argmax())]
    return []
