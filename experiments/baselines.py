"""What stands beside a generator in every table: networks that need no trained generator, measured as its own are.

Where one of these baselines does as well as the generator, the row shows nothing about the generator.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from experiments.profiles import Recipe
from rpglib.analysis.accuracy import accuracy, predictions, summarise
from rpglib.analysis.alignment import align, hidden_layers
from rpglib.analysis.connectivity import between, recalibrated
from rpglib.analysis.memorisation import nearest_distance
from rpglib.analysis.perturbation import gaussian, noised
from rpglib.analysis.similarity import mean_iou
from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
from rpglib.model.rpg import RPG
from rpglib.runtime.state_dicts import Checkpoint, is_statistic, unflatten
from rpglib.tokenizer import ParameterTokenizer
from rpglib.zoo.images import Images, Split, take
from rpglib.zoo.store import Zoo

CALIBRATION = 1024
"""Training images on which BatchNorm's statistics are measured afresh for networks that were mixed."""

Networks = list[dict[str, Tensor]]


def matching(numbers: Mapping, margin: float = 0.5) -> list[str]:
    """The baselines of a row whose mean accuracy is at most `margin` points below its generated networks'."""
    least = numbers["generated"]["mean"] - margin
    return [name for name, found in numbers["baselines"].items() if found["mean"] >= least]


def ahead(numbers: Mapping, names: Iterable[str]) -> dict[str, np.ndarray]:
    """By baseline, how far each generated network's accuracy lies above one of the baseline's (points).

    A baseline of fewer networks gives each in turn.
    """
    generated = np.array(numbers["generated"]["accuracies"])
    baselines = numbers["baselines"]
    return {name: generated - np.resize(baselines[name]["accuracies"], len(generated)) for name in names}


def before_training(config: RPGConfig, tokenizer: ParameterTokenizer, seed: int) -> RPG:
    """A generator that has learned nothing; its weights follow from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return RPG(config, tokenizer)


def untrained(recipe: Recipe, model: RPG) -> RPG:
    """A generator with the tokenizer and the configuration of `model`, and with weights as they are before training."""
    return before_training(recipe.model, model.tokenizer, recipe.train.seed).to(model.device).eval()


def populations(
    recipe: Recipe, zoo: Zoo, model: RPG, generated: Sequence[Checkpoint], images: Images, seed: int = 0
) -> Iterator[tuple[str, Networks]]:
    """The baselines of a zoo with their names, as many networks each as the recipe generates, the mean network alone.

    Each is made when it is its turn: in memory are the zoo, what was generated, and one baseline.

    untrained generator; mean network; Gaussian (every parameter for itself, BatchNorm's statistics measured afresh);
    midpoint of two checkpoints of one run and of two runs, as they are and, where the architecture can be, aligned,
    with the statistics measured afresh; noise on checkpoints that goes as far from them as the generated networks are,
    in the median.
    """
    module, n = recipe.architecture.build(), recipe.networks
    yield (
        "untrained generator",
        untrained(recipe, model).generate(n, sampler=recipe.sampler, steps=recipe.sampling_steps, seed=seed),
    )
    yield from from_weights(module, zoo, generated, take(images.train, CALIBRATION).images, seed)


def from_weights(
    module: nn.Module, zoo: Zoo, generated: Sequence[Checkpoint], calibration: Tensor, seed: int = 0, name: str = "RPG"
) -> Iterator[tuple[str, Networks]]:
    """The baselines that are made of a zoo's weights alone, as in `populations`; `name` is that of the generator.

    calibration: training images (n, C, S, S) on which BatchNorm's statistics are measured afresh.
    """
    originals, n = [zoo[i] for i in range(len(zoo))], len(generated)
    yield "mean network", [mean_network(originals)]
    weights = points(originals)
    far = nearest_distance(points(generated), weights).median().item() / math.sqrt(weights.shape[1])
    drawn = unflatten(gaussian(weights, n, seed), learned(originals[0]))
    del weights
    gaussians = [{**originals[0], **network} for network in one_by_one(drawn)]
    yield "Gaussian", [recalibrated(module, network, calibration) for network in gaussians]
    del drawn, gaussians
    # Of all runs: a zoo has one after the other.
    spread = [originals[k * len(originals) // n] for k in range(min(n, len(originals)))]
    yield f"noise as far as {name}", [noised(network, far, seed, number=k) for k, network in enumerate(spread)]
    for label, drawn in pairs(zoo.runs, n, torch.Generator().manual_seed(seed), "run").items():
        couples = [(originals[a], originals[b]) for a, b in drawn]
        yield f"midpoint, {label}", [between(a, b, 0.5) for a, b in couples]
        if label == "two runs" and _alignable(module):
            middles = [between(a, arranged(module, a, [b])[0], 0.5) for a, b in couples]
            yield f"midpoint, {label}, aligned", [recalibrated(module, x, calibration) for x in middles]


def measured(
    module: nn.Module, networks: Sequence[Checkpoint], zoo: Zoo, test: Split, device: torch.device | str = "cpu"
) -> dict:
    """Accuracy (percent), error-IoU among the networks (None for one alone), and their distance to the zoo.

    distance: to the nearest checkpoint, over all parameters without BatchNorm's statistics, in units of the zoo's own
    median leave-one-out distance (LOO).
    """
    originals = points(zoo)
    predicted = predictions(module, networks, test.images, device=device)
    accuracies = accuracy(predicted, test.labels)
    return summarise(accuracies) | {
        "accuracies": [round(a, 4) for a in accuracies.tolist()],
        "error_iou": mean_iou(predicted != test.labels) if len(networks) > 1 else None,
        "distance": summarise(nearest_distance(points(networks), originals) / _loo(zoo)),
    }


@lru_cache(maxsize=1)
def _loo(zoo: Zoo) -> Tensor:
    # Every population beside a large zoo is measured in it, and it takes as long as their own distances.
    return nearest_distance(points(zoo)).median()


def accuracies_on(module: nn.Module, networks: Sequence[Checkpoint] | Checkpoint, part: Split) -> Tensor:
    """The accuracy (N,) of networks, a list or side by side, on one part of a data set, in percent."""
    return accuracy(predictions(module, networks, part.images), part.labels)


def side_by_side(networks: Sequence[Checkpoint]) -> dict[str, Tensor]:
    """N networks of one architecture as one state, name -> (N, ...)."""
    return {name: torch.stack([network[name] for network in networks]) for name in networks[0]}


def one_by_one(state: Mapping[str, Tensor]) -> Networks:
    """The networks of a state in which N stand side by side; they share its memory."""
    return [dict(zip(state, tensors, strict=True)) for tensors in zip(*state.values(), strict=True)]


def learned(network: Checkpoint) -> dict[str, Tensor]:
    """The parameters of a network: neither BatchNorm's statistics nor its counter."""
    return {name: x for name, x in network.items() if x.is_floating_point() and not is_statistic(name)}


def points(networks: Iterable[Checkpoint]) -> Tensor:
    """The parameters of N networks as a matrix (N, P); they are taken one at a time, so that a zoo may be on disk."""
    rows: list[Tensor] = []
    names: list[str] = []
    for network in networks:
        parameters = learned(network)
        names = names or list(parameters)
        rows.append(torch.cat([parameters[name].flatten() for name in names]))
    return torch.stack(rows)


def mean_network(networks: Sequence[Checkpoint]) -> dict[str, Tensor]:
    """The mean of every tensor over networks, BatchNorm's statistics too; integers are those of the first."""

    def mean(name: str, x: Tensor) -> Tensor:
        return torch.stack([network[name] for network in networks]).mean(0) if x.is_floating_point() else x

    return {name: mean(name, x) for name, x in networks[0].items()}


def arranged(module: nn.Module, reference: Checkpoint, networks: Sequence[Checkpoint]) -> Networks:
    """The networks aligned with the reference; as they are where the architecture's units cannot be permuted."""
    if not _alignable(module):
        return list(networks)
    # A network with NaN or infinite weights has no order that is nearer than another.
    finite = [all(bool(x.isfinite().all()) for x in network.values()) for network in networks]
    return [align(module, reference, x) if whole else x for x, whole in zip(networks, finite, strict=True)]


def _alignable(module: nn.Module) -> bool:
    try:
        hidden_layers(module)
    except InputError:
        return False
    return True


def pairs(groups: Tensor, n: int, generator: torch.Generator, kind: str) -> dict[str, list[tuple[int, int]]]:
    """At most n random pairs of "one <kind>", of one of the groups (N,), and of "two <kind>s", where there are any."""
    first, second = torch.triu_indices(len(groups), len(groups), offset=1)
    alike, found = groups[first] == groups[second], {}
    for label, chosen in ((f"one {kind}", alike), (f"two {kind}s", ~alike)):
        rows = chosen.nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=generator)[:n]]
        if len(rows):
            found[label] = list(zip(first[rows].tolist(), second[rows].tolist(), strict=True))
    return found
