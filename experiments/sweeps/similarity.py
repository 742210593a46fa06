"""12: how similar generated networks are to originals, what diffusion adds, and what exchanging parts does to networks.

Paper, v1, figures 2 and 9 (the latter is v2's figure 3), and v2, tables 25 and 26.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from experiments.baselines import accuracies_on, points
from experiments.pipeline import NETWORKS, generate, images_of
from experiments.sweeps import mean_network
from experiments.sweeps.cells import Cell
from experiments.sweeps.findings import by_seed
from experiments.sweeps.states import members, written
from experiments.sweeps.sweep import Sweep
from rpglib.analysis.accuracy import predictions
from rpglib.analysis.memorisation import nearest_distance
from rpglib.analysis.perturbation import exchanged, noised
from rpglib.analysis.similarity import error_iou, mean_iou, nearest_iou
from rpglib.zoo.images import Split

SHOWN = 50
"""Networks of each kind in the scatter of accuracy against similarity."""
SIGMAS = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Noise on originals, as shares of each tensor's standard deviation."""
TEN_RUNS = "ten runs"
SAMPLERS = ("", ", one step", ", without diffusion")
"""What follows a zoo's name: the base's sampler, its first step alone, regression on the prototype."""


def measure(sweep: Sweep) -> dict:
    """What a sweep over the number of checkpoints, and over the sampler, leaves open.

    scatter {kind: {"similarity", "accuracy"}}: the highest error-IoU with an original (for an original, with another
    one) and the accuracy in percent, of the paper's 50 checkpoints (or what is nearest), of the first seed's networks.
    tradeoff {zoo: ...}: the same, as means of every seed's networks, of that zoo and of ten runs. diffusion {variant:
    ...}: what the sampler adds, on both zoos (`_diffusion`). mean_network {variant: ...}: what is as good
    without a generator. exchange {kind: {"share", "accuracy"}}: accuracy after exchanging the first tensors, up to that
    share of the weights, between two networks.
    """
    test = images_of(sweep.base.images).test
    counts = [name for name in sweep.variants if name.isdigit()]
    fifty = min(counts, key=lambda name: abs(int(name) - 50))
    zoos = fifty, TEN_RUNS
    compared = {f"{zoo}{how}": sweep.cells(f"{zoo}{how}") for zoo in zoos for how in SAMPLERS}
    scatters = {zoo: [_scatter(cell, test) for cell in compared[zoo]] for zoo in zoos}
    return {
        "scatter": scatters[fifty][0],
        "tradeoff": {
            zoo: {
                kind: {key: by_seed([float(np.mean(found[kind][key])) for found in seeds]) for key in points}
                for kind, points in seeds[0].items()
            }
            for zoo, seeds in scatters.items()
        },
        "diffusion": {name: _diffusion(cells, test) for name, cells in compared.items()},
        "mean_network": {name: mean_network.measure(sweep.cells(name)) for name in (*counts, TEN_RUNS)},
        "exchange": _exchange(compared[fifty], compared[TEN_RUNS], test),
        "checkpoints": int(fifty),
    }


def lead_over_noise(numbers: dict, zoo: str) -> list[float]:
    """By seed, the accuracy of generated networks less that of noise at the same similarity, in points.

    Noise is interpolated between its sizes, and constant beyond the least and the greatest.
    """
    kinds = {
        kind: {key: found["values"] for key, found in row.items()} for kind, row in numbers["tradeoff"][zoo].items()
    }
    generated = kinds["generated"]
    noise = [row for kind, row in kinds.items() if kind.startswith("noise")]
    found = []
    for k, (alike, right) in enumerate(zip(generated["similarity"], generated["accuracy"], strict=True)):
        known = sorted((row["similarity"][k], row["accuracy"][k]) for row in noise)
        found.append(float(right - np.interp(alike, *zip(*known, strict=True))))
    return found


def after_exchange(numbers: dict, kind: str, share: float) -> np.ndarray:
    """The accuracy by seed after exchanging the first layers, up to the share of the weights that is nearest."""
    found = numbers["exchange"][kind]
    return np.array(found["values"])[:, int(np.abs(np.array(found["share"]) - share).argmin())]


def _errors(cell: Cell, networks, split: Split) -> Tensor:
    return predictions(cell.recipe.architecture.build(), networks, split.images) != split.labels


def _scatter(cell: Cell, split: Split) -> dict:
    zoo, seed = cell.zoo(), cell.recipe.train.seed
    networks = {"generated": generate(cell.recipe, cell.model(), SHOWN, seed)}
    for sigma in SIGMAS:
        networks[f"noise {sigma}"] = [
            noised(zoo[k % len(zoo)], sigma, seed, relative=True, number=k) for k in range(min(SHOWN, 2 * len(zoo)))
        ]
    originals = _errors(cell, zoo, split)
    found = {"original": (originals, nearest_iou(originals))}
    for kind, group in networks.items():
        errors = _errors(cell, group, split)
        found[kind] = errors, nearest_iou(errors, originals)
    return {
        kind: {"similarity": _rounded(alike), "accuracy": _rounded(100 * (1 - errors.double().mean(1)))}
        for kind, (errors, alike) in found.items()
    }


def _diffusion(cells: Sequence[Cell], split: Split) -> dict:
    """What ten generated networks are like, and what is left of their spread within one permutation state, by seed.

    ensemble: error-IoU with the class that most originals choose; distance: to the nearest original, the median;
    one_state: error-IoU among ten networks of the first checkpoint's state; apart: the distance of these to each
    other's nearest, the median. Distances are in LOO units.
    """
    found: dict[str, list[float]] = {"ensemble": [], "distance": [], "one_state": [], "apart": []}
    for cell in cells:
        zoo = cell.zoo()
        originals = points(zoo)
        unit = nearest_distance(originals).median()
        networks = generate(cell.recipe, cell.model(), NETWORKS, cell.recipe.train.seed)
        alike = written(cell, [0] * NETWORKS)
        vote = predictions(cell.recipe.architecture.build(), zoo, split.images).mode(0).values
        found["ensemble"].append(error_iou(_errors(cell, networks, split), (vote != split.labels)[None]).mean().item())
        found["distance"].append((nearest_distance(points(networks), originals).median() / unit).item())
        found["one_state"].append(mean_iou(_errors(cell, alike, split)))
        found["apart"].append((nearest_distance(points(alike)).median() / unit).item())
    return {key: by_seed(values) for key, values in found.items()}


def _exchange(cells: Sequence[Cell], several: Sequence[Cell], split: Split) -> dict:
    """Paper, v1, figure 2, with the share of exchanged weights on the axis; values: a curve per seed.

    `several`: cells whose zoos have several runs.
    """
    kinds: dict[str, list[Tensor]] = {}
    for cell, other in zip(cells, several, strict=True):
        zoo, runs, module = cell.zoo(), other.zoo(), cell.recipe.architecture.build()
        generated = generate(cell.recipe, cell.model(), 2, cell.recipe.train.seed)
        pairs = {
            "two checkpoints of one run": (zoo[0], zoo[len(zoo) - 1]),
            "two independent runs": (runs[0], runs[members(other, 1)[0]]),
            "two generated networks": tuple(generated),
        }
        for kind, (a, b) in pairs.items():
            mixed = [network for names in _first_layers(a) for network in exchanged(a, b, names)]
            found = accuracies_on(module, mixed, split)
            kinds.setdefault(kind, []).append(found.view(-1, 2).mean(1))
    names = _first_layers(zoo[0])
    total = sum(x.numel() for x in zoo[0].values())
    share = [sum(zoo[0][name].numel() for name in chosen) / total for chosen in names]
    return {
        kind: {"share": share, "accuracy": torch.stack(found).mean(0).tolist()}
        | {"std": torch.stack(found).std(0, correction=min(1, len(found) - 1)).tolist()}
        | {"values": torch.stack(found).tolist()}
        for kind, found in kinds.items()
    }


def _first_layers(network: Mapping[str, Tensor]) -> list[list[str]]:
    """The tensors of the first 0, 1, 2, ... modules; a module's tensors, BatchNorm's statistics too, stay together."""
    modules: dict[str, list[str]] = {}
    for name in network:
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    result, chosen = [[]], []
    for names in modules.values():
        chosen = chosen + names
        result.append(chosen)
    return result


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]
