"""From a recipe to a record: obtain a zoo, train a generator, compare generated networks with the originals."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from experiments.baselines import accuracies_on, before_training, measured, populations, untrained
from experiments.profiles import NETWORKS, Recipe
from experiments.records import agrees, generator_dir, key, read_record, storing, working_dir, write_record, zoo_dir
from rpglib.analysis.accuracy import accuracy, answers, predictions, summarise
from rpglib.analysis.similarity import diversity, error_iou
from rpglib.errors import InputError, whole_number
from rpglib.model.rpg import RPG
from rpglib.runtime.hardware import pick
from rpglib.runtime.locks import locked, working_folder
from rpglib.runtime.sources import LIBRARY, sources_digest
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.loop import TrainResult, train
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import CollectConfig, batching_gain, collect, collection_facts
from rpglib.zoo.images import Images, Split, Stream, data_root, imagenet_1k, load_images
from rpglib.zoo.store import Zoo

# Decoding CIFAR-10 takes a quarter of a minute, and several functions of one notebook ask for it.
images_of = lru_cache(maxsize=2)(load_images)


def sources_of(recipes: Iterable[Recipe]) -> str:
    """Where the recipes' images come from, each source once."""
    return ", ".join(dict.fromkeys(images_of(recipe.images).source for recipe in recipes))


ORIGINAL = "original.safetensors"
ZOO_CODE = sources_digest(*(LIBRARY / part for part in ("zoo", "analysis/accuracy.py", "runtime")))
"""Of what trains the zoos' networks, as it was imported."""
LOSS_POINTS = 400
ATTEMPTS = 6
"""How often record and generator are read, while another process may be storing them."""


@dataclass(frozen=True)
class Row:
    """One row of a results table: recipe and record and, where they are kept, its generator and a checkpoint."""

    recipe: Recipe
    record: dict
    model: RPG | None = None
    original: dict[str, Tensor] | None = None

    @property
    def numbers(self) -> dict:
        return self.record["numbers"]


def row(
    recipe: Recipe, profile: str, fresh: bool, seed: int = 0, device: str = "auto", keep_generator: bool = True
) -> Row:
    """Compute a row and record it (`fresh`), or read its record and, where that is kept, its generator.

    Raises `InputError` where there is no record, and where the images are not at hand for a fresh one.
    """
    recipe = seeded(recipe, seed)
    if fresh:
        return _compute(recipe, profile, seed, pick(device), keep_generator)
    if keep_generator:
        return Row(recipe, *recorded(recipe, profile, ORIGINAL, pick(device)))
    return Row(recipe, read_record(recipe.name, profile, recipe))


def recorded(recipe: Recipe, profile: str, companion: str, device: torch.device) -> tuple[dict, RPG, dict[str, Tensor]]:
    """Read a recipe's record, its generator, and the tensors of the file `companion` that is kept beside that.

    Raises `InputError` where one of them is missing, damaged, or made with another recipe or seed, and where they are
    of two runs.
    """
    folder = generator_dir(profile, recipe.name)
    for attempt in range(ATTEMPTS):
        record = read_record(recipe.name, profile, recipe)
        try:
            model, companions, digest = RPG.read(folder, device, (companion,))
        except InputError as error:
            raise InputError(f"{error}, or run with fresh=True") from None
        if record.get("generator") == digest:
            return record, model, companions[companion]
        # Another process may just be storing a new run of the same.
        time.sleep(0.1 * attempt)
    raise InputError(f"the record of {recipe.name} and what is in {folder} are of two runs; run with fresh=True")


def _compute(recipe: Recipe, profile: str, seed: int, device: torch.device, keep_generator: bool) -> Row:
    # An interrupted training goes on, but not another seed's or one that runs beside this.
    with working_folder(unfinished(recipe, profile)) as folder:
        return _computed(recipe, profile, seed, device, keep_generator, folder)


def unfinished(recipe: Recipe, profile: str) -> Path:
    """Where a row keeps its training until it is recorded."""
    return working_dir(profile, f"training_{recipe.name}_{key(recipe)}")


def _computed(recipe: Recipe, profile: str, seed: int, device: torch.device, keep_generator: bool, folder: Path) -> Row:
    start = time.perf_counter()
    images = images_for(recipe)
    zoo = obtain_zoo(recipe, profile, images, device)
    collected = time.perf_counter()
    model, training = fit(recipe, zoo, device, folder)
    trained = time.perf_counter()
    generating: list[float] = []
    networks = _timed(
        model.to(device).generate_each(recipe.networks, sampler=recipe.sampler, steps=recipe.sampling_steps, seed=seed),
        generating,
    )
    if in_memory := isinstance(images.test, Split):
        networks = list(networks)
    numbers = compare(recipe, networks, zoo, images.test, device)
    end = time.perf_counter()
    if in_memory:
        groups = chain([("generated", networks)], populations(recipe, zoo, model, networks, images, seed))
        found = _measured(groups, recipe, zoo, images, device)
        generated = found.pop("generated")
        numbers["generated"]["distance"] = generated["distance"]
        numbers["baselines"] = found
    compared = time.perf_counter()
    if in_memory and recipe.generators > 1:
        first = {"generated": generated, "untrained generator": found["untrained generator"]}
        numbers["by_seed"] = [first] + [_another(recipe, k, zoo, images, device) for k in range(1, recipe.generators)]
    numbers["parameters"] = model.tokenizer.num_parameters
    numbers["generator_parameters"] = sum(p.numel() for p in model.parameters())
    numbers["tokens"] = model.tokenizer.num_tokens
    numbers["precision"] = training.precision
    numbers["loss"] = thinned(training.losses)
    numbers["seconds"] = {
        "collect": collected - start,
        "train": training.seconds,  # earlier parts of an interrupted one included
        "generate": sum(generating),
        "evaluate": end - trained - sum(generating),
        "baselines": compared - end,
    }
    with storing(profile, recipe.name):
        digest = None
        if keep_generator:
            digest = model.save_pretrained(generator_dir(profile, recipe.name), {ORIGINAL: zoo[0]})
        record = write_record(
            recipe.name,
            profile,
            numbers,
            config=recipe,
            seeds={"collect": recipe.collect.seed, "train": recipe.train.seed, "generate": seed},
            n=recipe.networks,
            wall_seconds=time.perf_counter() - start,
            data_source=images.source,
            generator=digest,
        )
    return Row(recipe, record, model, zoo[0])


def _another(recipe: Recipe, k: int, zoo: Zoo, images: Images, device: torch.device) -> dict:
    """Train the row's generator number `k` on the same zoo; what it writes, and wrote untrained, measured."""
    recipe = retrained(recipe, k)
    model, _ = fit(recipe, zoo, device)
    networks = generate(recipe, model.to(device), recipe.networks, recipe.train.seed)
    new = generate(recipe, untrained(recipe, model), recipe.networks, recipe.train.seed)
    return _measured([("generated", networks), ("untrained generator", new)], recipe, zoo, images, device)


def _measured(
    groups: Iterable[tuple[str, Sequence]], recipe: Recipe, zoo: Zoo, images: Images, device: torch.device
) -> dict:
    module = recipe.architecture.build()
    return {name: measured(module, group, zoo, images.test, device) for name, group in groups}


def images_for(recipe: Recipe) -> Images:
    """The images of a recipe; those of ImageNet are prepared as timm does for the recipe's network.

    Raises `InputError` where they are absent, with what to put where.
    """
    if recipe.images != "imagenet":
        return images_of(recipe.images)
    with torch.device("meta"):  # wanted are the settings that timm keeps with a network, not its weights
        return imagenet_1k(data_root() / "imagenet", recipe.architecture.build())


def _timed(items: Iterable, seconds: list[float]) -> Iterator:
    """Pass the items on, and note what making each of them took."""
    items = iter(items)
    while True:
        began = time.perf_counter()
        try:
            item = next(items)
        except StopIteration:
            return
        seconds.append(time.perf_counter() - began)
        yield item


def obtain_zoo(
    recipe: Recipe,
    profile: str,
    images: Images,
    device: torch.device | str = "cpu",
    *,
    label_maps: Tensor | None = None,
    start: dict[str, Tensor] | None = None,
) -> Zoo:
    """Open the recipe's zoo where the very same configuration was collected before; collect it otherwise.

    A stored zoo with damaged shards or of an older format is collected again. Several processes may ask at once: one
    collects, the others wait for it. Other arguments as in `collect`; a recipe that says so starts from timm's
    published weights where no other start is given.
    """
    start = published(recipe) if start is None else start
    path = zoo_path(recipe, profile, images, label_maps=label_maps, start=start)
    with locked(f"{path}.lock"):
        with suppress(InputError):
            zoo = Zoo.open(path)
            # Reading compares the shards with their checksums: damage is better met here than in the training.
            _ = zoo[0], zoo[len(zoo) - 1]
            return zoo
        # What a killed collection left: shards without a manifest.
        shutil.rmtree(path, ignore_errors=True)
        options = {"label_maps": label_maps, "start": start, "device": device}
        return collect(recipe.architecture, images, recipe.collect, path, **options)


def zoo_path(
    recipe: Recipe,
    profile: str,
    images: Images,
    *,
    label_maps: Tensor | None = None,
    start: dict[str, Tensor] | None = None,
) -> Path:
    """Where the zoo of this very collection is kept: another seed, start, task, data set or code has another place.

    So nothing that one process reads is replaced by another. Arguments as in `obtain_zoo`.
    """
    start = published(recipe) if start is None else start
    facts = {
        "collect": collection_facts(recipe.collect, images, start),
        "architecture": recipe.architecture,
        "images": images.name,
        "tasks": label_maps,
        "code": ZOO_CODE,
    }
    return zoo_dir(profile, f"{recipe.name}_{key(facts)}")


def published(recipe: Recipe) -> dict[str, Tensor] | None:
    """timm's published weights with a new head, drawn by the recipe's seed; None where training starts from scratch.

    Raises `InputError` where timm cannot get them.
    """
    if not recipe.pretrained:
        return None
    with torch.random.fork_rng():
        torch.manual_seed(recipe.collect.seed)
        return recipe.architecture.pretrained().state_dict()


def available(recipes: Sequence[Recipe], fresh: bool) -> tuple[Recipe, ...]:
    """The recipes that can be computed here: a fresh run leaves out, and says so, those without images or weights."""
    kept = []
    for recipe in recipes:
        try:
            if fresh:
                images_for(recipe)
                published(recipe)
        except InputError as error:
            print(f"{recipe.name}: not measured ({error})")
        else:
            kept.append(recipe)
    return tuple(kept)


def zoo_report(recipes: Sequence[Recipe], profile: str, fresh: bool, seed: int = 0, device: str = "auto") -> dict:
    """Collect (`fresh`) the recipes' zoos and record their accuracy and alikeness, or read that record.

    The record also holds the gain of training a population together, and the accuracies of one short collection that
    `check_collection` repeats. Raises `InputError` where it is of other recipes or of another seed.
    """
    if not fresh:
        record = read_record("collect_checkpoints", profile)
        given, known = ({r.name: seeded(r, seed) for r in recipes}, {r["name"]: r for r in record["config"]["recipes"]})
        # Those whose images were not at hand are not in it; what generators are made of is nothing to zoos.
        if not known.keys() <= given.keys() or not all(
            agrees(one[part], getattr(given[name], part))
            for name, one in known.items()
            for part in ("images", "architecture", "collect", "pretrained")
        ):
            raise InputError(
                "the record of collect_checkpoints was made with other recipes or another seed; run with fresh=True"
            )
        return record
    start = time.perf_counter()
    zoos, sources, chosen = {}, set(), pick(device)
    recipes = [seeded(recipe, seed) for recipe in available(recipes, fresh)]
    if not recipes:
        raise InputError(f"no images of profile {profile!r} are at hand; the lines above say what to put where")
    for recipe in recipes:
        images = images_of(recipe.images)
        sources.add(images.source)
        began = time.perf_counter()
        zoo = obtain_zoo(recipe, profile, images, chosen)
        seconds = time.perf_counter() - began
        wrong = predictions(zoo.build(), zoo, images.test.images, device=chosen) != images.test.labels
        zoos[recipe.name] = summarise(zoo.accuracies) | {
            "accuracies": [round(a, 4) for a in zoo.accuracies.tolist()],
            "parameters": sum(p.numel() for p in zoo.build().parameters()),
            "checkpoints": len(zoo),
            "runs": len(zoo.runs.unique()),
            "among_originals": diversity(wrong, wrong)["among_originals"],
            "error_iou": _by_run(error_iou(wrong, wrong), zoo.runs),
            "seconds": seconds,
            "source": images.source,
        }
    digits = images_of("digits")
    architecture = Architecture("vit_small_digits", digits.num_classes, digits.channels, digits.size)
    short = replace(recipes[0].collect, epochs=1)
    members = 4 if profile == "smoke" else 32
    return write_record(
        "collect_checkpoints",
        profile,
        {
            "zoos": zoos,
            "batching": batching_gain(architecture, digits, short, members),
            "short": short_collection(short),
        },
        config={"recipes": list(recipes), "short": short},
        seeds={"collect": short.seed},
        n=len(zoos),
        wall_seconds=time.perf_counter() - start,
        data_source="; ".join(sorted(sources)),
    )


def _by_run(alike: Tensor, runs: Tensor) -> dict[str, float]:
    """Mean of a square table over pairs of different checkpoints of one run, and of two, as far as there are any."""
    same, others = runs[:, None] == runs, ~torch.eye(len(runs), dtype=torch.bool)
    pairs = {"within a run": same & others, "between runs": ~same}
    return {label: alike[chosen].mean().item() for label, chosen in pairs.items() if chosen.any()}


def short_collection(config: CollectConfig) -> list[float]:
    """Test accuracies (percent) of a small CNN's checkpoints, collected on digits as `config` says."""
    images = images_of("digits")
    architecture = Architecture("cnn_digits", images.num_classes, images.channels, images.size)
    return collect(architecture, images, config, progress=False).accuracies.tolist()


def check_collection(record: dict, tolerance: float = 2.0) -> str:
    """Repeat the short collection of a record; `tolerance` (points of mean accuracy) allows for rounding."""
    found = short_collection(CollectConfig(**record["config"]["short"]))
    difference = abs(sum(found) - sum(record["numbers"]["short"])) / len(found)
    assert difference <= tolerance, f"a repeated collection differs from the record by {difference:.2f} points"
    return f"{len(found)} checkpoints collected again; their mean accuracy agrees with the record"


def fit(
    recipe: Recipe, zoo: Zoo, device: torch.device | str | None = None, folder: Path | None = None, **options
) -> tuple[RPG, TrainResult]:
    """Fit a tokenizer to the zoo and train a new generator on it; its first weights follow from the recipe's seed.

    With `folder` an interrupted training goes on from what it left there; other options as in `train`.
    """
    model = new_generator(recipe, zoo)
    return model, train(model, zoo, recipe.train, folder, device, **options)


class _Paused(Exception):
    """A training stops where its state was just saved."""


def fit_until(
    recipe: Recipe,
    zoo: Zoo,
    folder: Path,
    stop: Callable[[int], bool],
    device: torch.device | str | None = None,
    **options,
) -> None:
    """Train on from what `folder` holds, to the end or to the first saved state where `stop(steps done)` says so."""

    def pause(step: int, _: RPG) -> None:
        if (step + 1) % recipe.train.save_every == 0 and stop(step + 1):
            raise _Paused

    with suppress(_Paused):
        fit(recipe, zoo, device, folder, on_step=pause, **options)


def new_generator(recipe: Recipe, zoo: Zoo) -> RPG:
    """The recipe's generator before its training, with a tokenizer fitted to the zoo."""
    tokenizer = ParameterTokenizer.fit(zoo, recipe.model.token_size, recipe.slicing, recipe.normalisation)
    sampled = replace(recipe.model, sampler=recipe.sampler, sampling_steps=recipe.sampling_steps)
    return before_training(sampled, tokenizer, recipe.train.seed)


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with the seeds of its collection and its training moved on by `seed`; `InputError` for no seed."""
    whole_number("seed", seed, 0)
    return replace(retrained(recipe, seed), collect=replace(recipe.collect, seed=recipe.collect.seed + seed))


def retrained(recipe: Recipe, k: int) -> Recipe:
    """The recipe with the seed of its training moved on by `k`: another generator of the same zoo."""
    return replace(recipe, train=replace(recipe.train, seed=recipe.train.seed + k))


def generate(
    recipe: Recipe,
    model: RPG,
    n: int = NETWORKS,
    seed: int = 0,
    task: Sequence[int] | Tensor | None = None,
    first: int = 0,
) -> list[dict[str, Tensor]]:
    """Generate `n` networks with the recipe's sampler, for one task where the generator was trained with tasks.

    first: the number of the first network, as in `RPG.generate`.
    """
    return model.generate(n, task, sampler=recipe.sampler, steps=recipe.sampling_steps, seed=seed, first=first)


def compare(
    recipe: Recipe,
    networks: Iterable[dict[str, Tensor]],
    zoo: Zoo,
    split: Split | Stream,
    device: torch.device | str = "cpu",
    known: Tensor | None = None,
) -> dict:
    """Accuracy (percent; every network, and their summary) of originals and generated networks, and their diversity.

    Networks are taken one at a time: an iterator may generate each when it is its turn. known: what the originals say
    of every image, (N, n) as from `predictions`, where that was asked before.
    """
    module, errors, result = recipe.architecture.build(), {}, {}
    for name, group in (("original", zoo), ("generated", networks)):
        if name == "original" and known is not None:
            predicted, labels = known, split.labels
        else:
            predicted, labels = answers(module, group, split, device=device)
        errors[name] = predicted != labels
        accuracies = accuracy(predicted, labels)
        result[name] = summarise(accuracies) | {"accuracies": [round(a, 4) for a in accuracies.tolist()]}
    return result | {"diversity": diversity(errors["generated"], errors["original"])}


def check_live(result: Row, n: int = 2, tolerance: float = 0.6) -> str:
    """Generate the first `n` networks again, evaluate them, and compare with the record (tolerance in points).

    Other processors round differently, which may change the answer on an image or two. Returns one sentence; raises
    `AssertionError` where the record does not hold, `InputError` where the images are absent.
    """
    split = images_of(result.recipe.images).test
    networks = generate(result.recipe, result.model, n, result.record["seeds"]["generate"])
    found = accuracies_on(result.recipe.architecture.build(), networks, split)
    recorded = torch.tensor(result.numbers["generated"]["accuracies"][:n], dtype=found.dtype)
    largest = float((found - recorded).abs().max())
    assert largest <= tolerance, f"{result.recipe.name}: recomputed accuracies differ from the record by {largest:.2f}"
    return f"{result.recipe.name}: {n} networks generated and evaluated again; they agree with the record"


def thinned(losses: Sequence[float]) -> dict[str, list]:
    """The loss curve in at most `LOSS_POINTS` means of equal stretches: what a record keeps of it."""
    stretches = torch.tensor(losses, dtype=torch.float64).tensor_split(min(LOSS_POINTS, len(losses)))
    ends = torch.tensor([len(s) for s in stretches]).cumsum(0)
    return {"steps": ends.tolist(), "losses": [round(float(s.mean()), 6) for s in stretches]}
