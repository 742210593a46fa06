"""The jobs of `21_new_networks`: a generator with its mixtures, the baselines of a zoo, another method's generator, and
one long training.

Each is computed once and kept (`experiments.sweeps.cells`), so that a broken run goes on and two run side by side.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from experiments.baselines import CALIBRATION, Networks, arranged, learned, one_by_one, points
from experiments.novelty import measures
from experiments.novelty.measures import Ruler, row
from experiments.novelty.mixing import MIXTURES, averages, mixtures
from experiments.pipeline import fit, images_of, obtain_zoo, pick, retrained, thinned, zoo_path
from experiments.profiles import Recipe
from experiments.records import plain
from experiments.sources import code_of
from experiments.sweeps.cells import run
from rpglib.analysis.accuracy import summarise
from rpglib.analysis.connectivity import recalibrated
from rpglib.analysis.perturbation import noised
from rpglib.baselines.deep_weight_flow import DeepWeightFlow, DeepWeightFlowConfig
from rpglib.model.rpg import RPG
from rpglib.runtime.files import read_json, write_json
from rpglib.runtime.state_dicts import unflatten
from rpglib.training.behaviour import ClassificationBehaviour
from rpglib.zoo.images import take
from rpglib.zoo.store import Zoo

NOISE = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""How far noise goes from originals, in LOO."""
CODE = code_of(__file__)
NOISY = 0.2
"""How far noise goes from generated midpoints, in LOO: it costs them some accuracy, and makes their errors differ."""
MIDPOINTS = MIXTURES[0]
NOISY_MIDPOINTS = f"{MIDPOINTS}, noise of {NOISY:g} LOO"
AVERAGED = 16
FLOWS = {"DeepWeightFlow": {"steps": 25_000}, "DeepWeightFlow, no PCA": {"steps": 6000, "components": None}}
"""Settings of `Flow` by method."""


@dataclass(frozen=True)
class Job:
    """What the jobs share: the recipe, whose zoo is one for all seeds, and a seed that moves everything else.

    networks: as many of each group.
    """

    recipe: Recipe
    profile: str
    seed: int
    networks: int
    device: str = "auto"

    def facts(self) -> dict:
        own = {key: value for key, value in vars(self).items() if key not in ("profile", "device", "recipe")}
        own |= {"images": images_of(self.recipe.images).source, "novelty_code": CODE}
        return plain({**own, "recipe": replace(self.recipe, name="")})

    def zoo(self) -> Zoo:
        """The originals, collected where they are not at hand."""
        return obtain_zoo(self.recipe, self.profile, images_of(self.recipe.images), pick(self.device))

    def collecting(self) -> "Collecting":
        """The job that collects its zoo."""
        return Collecting(self.recipe, self.profile, seed=0, networks=0, device=self.device)

    def good(self, ruler: Ruler) -> float:
        """The lowest test accuracy (percent) of an original."""
        test = images_of(self.recipe.images).test
        return measures.accuracies(ruler.module, ruler.originals, test).min().item()


@dataclass(frozen=True)
class Collecting(Job):
    """The training of the originals; its seconds are kept beside the zoo, which outlives changes of other code.

    They are None for a zoo that was at hand without them.
    """

    def compute(self, folder: Path) -> dict:
        path = zoo_path(self.recipe, self.profile, images_of(self.recipe.images))
        kept, there = Path(f"{path}.json"), path.exists()
        began = time.process_time()
        self.zoo()
        if not kept.exists():
            write_json(kept, {"cpu_seconds": None if there else time.process_time() - began})
        return read_json(kept)


@dataclass(frozen=True)
class Generated(Job):
    """A generator, trained with a behaviour of these settings (None: without one), and its mixtures of states."""

    behaviour: Mapping | None = None

    def compute(self, folder: Path) -> dict:
        images, device = images_of(self.recipe.images), pick(self.device)
        zoo = self.zoo()
        recipe = retrained(self.recipe, self.seed)
        asked = None
        if self.behaviour is not None:
            asked = ClassificationBehaviour(images.train, recipe.architecture, **self.behaviour)
        model, training = fit(recipe, zoo, device, folder / "training", progress=False, behaviour=asked)
        (folder / "training" / "training.pt").unlink()
        model.save_pretrained(folder)
        ruler, rows = Ruler.of(zoo), {}
        good, began = self.good(ruler), time.process_time()
        written = {kind: generated(recipe, model.to(device), kind, self.networks, self.seed) for kind in MIXTURES}
        seconds = (time.process_time() - began) / (len(MIXTURES) * self.networks)
        written[NOISY_MIDPOINTS] = noisy(ruler, written[MIDPOINTS], NOISY, self.networks, self.seed)
        rows = {kind: row(ruler, networks, images.test, good) for kind, networks in written.items()}
        return {
            "rows": rows,
            "generator_parameters": sum(p.numel() for p in model.parameters()),
            "loss": thinned(training.losses),
            "cpu_seconds": {
                "train": training.processor_seconds,
                "step": training.processor_seconds / recipe.train.steps,
                "network": seconds,
            },
        }


def generated(recipe: Recipe, model: RPG, kind: str, n: int, seed: int) -> Networks:
    """Networks of one kind of mixture of the generator's states."""
    weights = mixtures(kind, n, recipe.model.permutation_states, seed)
    return model.generate(n, mixture=weights, sampler=recipe.sampler, steps=recipe.sampling_steps, seed=seed)


def noisy(ruler: Ruler, networks: Networks, multiple: float, n: int, seed: int) -> Networks:
    """n networks, one after the other, each with Gaussian noise on its parameters that goes `multiple` LOO far."""
    sigma = multiple * ruler.units["plain"] / points(networks[:1]).shape[1] ** 0.5
    return [noised(networks[k % len(networks)], sigma, seed, number=k) for k in range(n)]


@dataclass(frozen=True)
class Baselines(Job):
    """The originals, and what can be made of their weights without training: noise, mixtures and averages."""

    def compute(self, folder: Path) -> dict:
        images, zoo = images_of(self.recipe.images), self.zoo()
        ruler = Ruler.of(zoo)
        module, originals, n = ruler.module, ruler.originals, self.networks
        calibration = take(images.train, CALIBRATION).images
        found = {}
        for multiple in NOISE:
            found[f"noise of {multiple:g} LOO"] = noisy(ruler, originals, multiple, n, self.seed)
        weights = {kind: mixtures(kind, n, len(originals), self.seed) for kind in MIXTURES if kind != "one each"}
        weights[f"averages of {AVERAGED}"] = averages(n, len(originals), AVERAGED, self.seed)
        for suffix, networks in (("", originals), (", aligned", arranged(module, originals[0], originals))):
            for kind, rows in weights.items():
                mixed = unflatten(rows @ points(networks), learned(originals[0]))
                found[kind + suffix] = [{**originals[0], **network} for network in one_by_one(mixed)]
        good = self.good(ruler)
        found = {name: [recalibrated(module, x, calibration) for x in group] for name, group in found.items()}
        return {
            "rows": {"originals": row(ruler, originals, images.test, originals=True)}
            | {name: row(ruler, group, images.test, good) for name, group in found.items()},
            "good": good,
            "units": ruler.units,
        }


@dataclass(frozen=True)
class Flow(Job):
    """DeepWeightFlow on the same zoo; `settings` are those of its configuration that are not the release's.

    Scaled down: as many training steps (`FLOWS`) as a core does in about a minute on 60 networks of `cnn_digits`,
    25,000 with and 6,000 without PCA, where the release has 30,000; and of these networks at most 59 components, where
    the release has 99 of 100 networks. All other settings are the release's.
    """

    method: str = "DeepWeightFlow"
    settings: Mapping = field(default_factory=dict)

    def compute(self, folder: Path) -> dict:
        images, zoo = images_of(self.recipe.images), self.zoo()
        config = DeepWeightFlowConfig(**self.settings)
        began = time.process_time()
        flow = DeepWeightFlow.fit(zoo, config, images, seed=self.seed, progress=False)
        fitted = time.process_time()
        networks = flow.generate(self.networks, seed=self.seed)
        written = time.process_time()
        ruler = Ruler.of(zoo)
        return {
            "rows": {self.method: row(ruler, networks, images.test, self.good(ruler))},
            "generator_parameters": sum(p.numel() for p in flow.parameters()),
            "loss": thinned(flow.losses["flow"]),
            "cpu_seconds": {
                "train": fitted - began,
                "step": (fitted - began) / config.steps,
                "network": (written - fitted) / self.networks,
            },
        }


@dataclass(frozen=True)
class Longer(Job):
    """One more network, trained from scratch for `epochs`.

    It is number `place` of so many that are trained `together`, as the zoo's networks are; its seconds are its share.
    """

    epochs: int = 1
    place: int = 0
    together: int = 1

    def collecting(self) -> Collecting:
        own = self.recipe.collect
        # The seed of no run of the zoo.
        config = replace(own, runs=self.together, checkpoints=1, epochs=self.epochs, seed=own.seed + 1000)
        recipe = replace(self.recipe, name=f"{self.recipe.name}_longer", collect=config)
        return replace(super().collecting(), recipe=recipe)

    def compute(self, folder: Path) -> dict:
        ruler, collecting = Ruler.of(self.zoo()), self.collecting()
        one, seconds = collecting.zoo()[self.place], run([collecting])[0]["cpu_seconds"]
        test = images_of(self.recipe.images).test
        found = {"rows": {"one network, trained longer": row(ruler, [one], test, self.good(ruler))}}
        return found if seconds is None else found | {"cpu_seconds": {"train": seconds / self.together}}


def over_seeds(found: list[dict]) -> dict[str, list[dict]]:
    """The rows of several seeds' jobs, by name."""
    return {name: [one["rows"][name] for one in found] for name in found[0]["rows"]}


def spread(values: list[float]) -> dict:
    """Summary over seeds."""
    return summarise(torch.tensor(values, dtype=torch.float64))
