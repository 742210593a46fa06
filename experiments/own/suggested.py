"""What suggested settings reach on each zoo of this project, beside the recipe that was tuned for it.

    python -m experiments.own.suggested --profile cpu

A gain is how much more accurate generated networks are than those of the untrained generator, in points; the tuned
recipes' gains are those of their records. Zoos that are done are kept, so that an interrupted run goes on.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.baselines import untrained
from experiments.pipeline import fit, generate, images_of, obtain_zoo, sources_of
from experiments.profiles import Recipe, TaskRecipe, beside_one_run, cifar10_rows, main_results, unseen_tasks
from experiments.records import DEFAULT_PROFILE, PROFILES, plain, read_record, results_dir, write_record
from experiments.sources import code_of
from experiments.sweeps.cells import run
from experiments.tasks.measures import answers
from experiments.tasks.task_zoo import task_zoo
from rpglib.analysis.accuracy import accuracy, predictions
from rpglib.runtime.hardware import pick
from rpglib.tasks import split_tasks
from rpglib.training.suggestion import suggest
from rpglib.zoo.store import Zoo

CODE = code_of(__file__)
NAME = "suggested_settings"
ENOUGH = 0.5
"""Points below the tuned recipe's networks, at most."""


def of_rule(recipe: Recipe, zoo: Zoo) -> Recipe:
    """The recipe with what is suggested for its zoo in the place of what was tuned."""
    found = suggest(zoo, seed=recipe.train.seed)
    return replace(
        recipe,
        model=found.model,
        train=found.train,
        normalisation=found.normalisation,
        sampling_steps=found.model.sampling_steps,
    )


@dataclass(frozen=True)
class Trial:
    """A job: train a generator as suggested for the recipe's zoo, and measure what it gains."""

    recipe: Recipe
    profile: str
    device: str = "auto"

    def facts(self) -> dict:
        return plain({"suggested_for": self.recipe, "images": images_of(self.recipe.images).source, "own_code": CODE})

    def compute(self, folder: Path) -> dict:
        """Accuracies (percent) with and without training, the steps taken and the seconds of training."""
        images, device = images_of(self.recipe.images), pick(self.device)
        tasks = isinstance(self.recipe, TaskRecipe)
        if tasks:
            everything = task_zoo(self.recipe, self.profile, images, device)
            seen, unseen = split_tasks(len(everything.bits), self.recipe.splits[0], self.recipe.seen)
            zoo, asked = everything.checkpoints(seen), everything.bits[unseen]
        else:
            zoo = obtain_zoo(self.recipe, self.profile, images, device)
        recipe = of_rule(self.recipe, zoo)
        model, training = fit(recipe, zoo, device, folder / "training", progress=False)
        found = {"steps": recipe.train.steps, "seconds": training.seconds}
        for name, one in (("generated", model.to(device)), ("untrained", untrained(recipe, model.to(device)))):
            if tasks:
                own = answers(recipe, one, asked, images.test, 1, recipe.train.seed).accuracies
            else:
                networks = generate(recipe, one, recipe.networks, recipe.train.seed)
                said = predictions(recipe.architecture.build(), networks, images.test.images, device=device)
                own = accuracy(said, images.test.labels)
            found[name] = own.double().mean().item()
        return found


def tuned(recipe: Recipe, profile: str) -> dict:
    """What the tuned recipe reached, by its record; on tasks in the first split, as a trial does."""
    numbers = read_record(recipe.name, profile, recipe)["numbers"]
    numbers = numbers["splits"][0] if isinstance(recipe, TaskRecipe) else numbers
    untrained_ones = numbers["baselines"]["untrained generator"]["mean"]
    return {"steps": recipe.train.steps, "generated": numbers["generated"]["mean"], "untrained": untrained_ones}


def measure(profile: str, device: str = "auto") -> dict:
    """Measure all zoos of small networks and write the record: of each what both reached, and the share (percent).

    Raises `InputError` where a tuned recipe has no record in this profile.
    """
    began = time.perf_counter()
    rows = (r for r in (*main_results(profile), *cifar10_rows(profile)) if not r.pretrained)
    recipes = [*beside_one_run(rows), unseen_tasks(profile)]
    by_tuned = [tuned(recipe, profile) for recipe in recipes]
    zoos = {}
    trials = run([Trial(recipe, profile, device) for recipe in recipes], label="zoos")
    for recipe, own, found in zip(recipes, by_tuned, trials, strict=True):
        gains = [x["generated"] - x["untrained"] for x in (found, own)]
        zoos[recipe.name] = {"suggested": found, "tuned": own, "share": 100 * gains[0] / gains[1]}
    return write_record(
        NAME,
        profile,
        {"zoos": zoos},
        config={"recipes": recipes},
        seeds={"train": [recipe.train.seed for recipe in recipes]},
        n=len(recipes),
        wall_seconds=time.perf_counter() - began,
        data_source=sources_of(recipes),
    )


def short_of_tuned(zoo: Mapping) -> float:
    """How many points the networks of what was suggested lie below those of what was tuned."""
    return zoo["tuned"]["generated"] - zoo["suggested"]["generated"]


def recorded() -> dict:
    """The numbers of the record, which is the default profile's whatever a notebook's is; none where that is absent."""
    known = (results_dir(DEFAULT_PROFILE) / f"{NAME}.json").is_file()
    return read_record(NAME, DEFAULT_PROFILE)["numbers"] if known else {"zoos": {}}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.own.suggested", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=PROFILES, default=DEFAULT_PROFILE)
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args()
    # By its name, so that the processes beside this one, where it is no program, find the same class of jobs.
    from experiments.own import suggested

    zoos = suggested.measure(chosen.profile, chosen.device)["numbers"]["zoos"]
    for name, x in zoos.items():
        print(
            f"{name:20} suggested {x['suggested']['generated']:.2f} %, tuned {x['tuned']['generated']:.2f} %: "
            f"{x['share']:.1f} % of the gain, {'enough' if short_of_tuned(x) <= ENOUGH else 'not enough'}"
        )


if __name__ == "__main__":
    main()
