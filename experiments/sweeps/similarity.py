"""12: how similar generated networks are to originals, and what exchanging parts of two networks does to them.

Paper, v1, figures 2 and 9 (the latter is v2's figure 3), and v2, tables 25 and 26.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from experiments.pipeline import NETWORKS, generate, images_of
from experiments.sweeps.cells import Cell
from experiments.sweeps.findings import by_seed, seed_values
from experiments.sweeps.sweep import Sweep
from rpglib.analysis.accuracy import accuracy, predictions
from rpglib.analysis.perturbation import exchanged, noised
from rpglib.analysis.similarity import error_iou, nearest_iou
from rpglib.zoo.images import Split

SHOWN = 50
"""Networks of each kind in the scatter of accuracy against similarity."""
SIGMAS = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Noise on originals, as shares of each tensor's standard deviation."""


def measure(sweep: Sweep, basins: Sequence[Cell]) -> dict:
    """What a sweep over the number of checkpoints leaves open.

    scatter {kind: {"similarity", "accuracy"}}: the highest error-IoU with an original (for an original, with another
    one) and the accuracy in percent, of the paper's 50 checkpoints (or what is nearest), of the first seed's networks;
    tradeoff: the same, as means of every seed's networks. ensemble {variant: ...}:
    error-IoU with the majority vote of the originals. exchange {kind: {"share", "accuracy"}}: accuracy after exchanging
    the first tensors, up to that share of the weights, between two networks, of which `basins` has cells of two runs.
    """
    test = images_of(sweep.base.images).test
    counts = [name for name in sweep.variants if name.isdigit()]
    fifty = min(counts, key=lambda name: abs(int(name) - 50))
    most = max(counts, key=int)
    cells = {name: sweep.cells(name) for name in {fifty: 0, most: 0, "without diffusion": 0}}
    scatters = [_scatter(cell, test) for cell in cells[fifty]]
    return {
        "scatter": scatters[0],
        "tradeoff": {
            kind: {key: by_seed([float(np.mean(found[kind][key])) for found in scatters]) for key in points}
            for kind, points in scatters[0].items()
        },
        "ensemble": {name: _ensemble(row, test) for name, row in cells.items()},
        "exchange": _exchange(cells[fifty], basins, test),
        "checkpoints": int(fifty),
    }


def tradeoff(numbers: dict) -> dict:
    """Of every kind of networks the similarity and the accuracy by seed; of the first seed, where no more is kept."""
    return numbers.get("tradeoff") or {
        kind: {key: by_seed([float(np.mean(values))]) for key, values in points.items()}
        for kind, points in numbers["scatter"].items()
    }


def lead_over_noise(numbers: dict) -> list[float]:
    """By seed, the accuracy of generated networks less that of noise at the same similarity, in points.

    Noise is interpolated between its sizes, and constant beyond the least and the greatest.
    """
    kinds = {kind: {key: seed_values(v) for key, v in row.items()} for kind, row in tradeoff(numbers).items()}
    generated = kinds["generated"]
    noise = [row for kind, row in kinds.items() if kind.startswith("noise")]
    found = []
    for k, (alike, right) in enumerate(zip(generated["similarity"], generated["accuracy"], strict=True)):
        known = sorted((row["similarity"][k], row["accuracy"][k]) for row in noise)
        found.append(float(right - np.interp(alike, *zip(*known, strict=True))))
    return found


def after_exchange(numbers: dict, kind: str, share: float) -> dict:
    """The accuracy by seed after exchanging the first layers, up to the share of the weights that is nearest."""
    found = numbers["exchange"][kind]
    place = int(np.abs(np.array(found["share"]) - share).argmin())
    if "values" in found:
        return by_seed([curve[place] for curve in found["values"]])
    n = numbers["ensemble"]["without diffusion"]["similarity"]["n"]
    return {"n": n, "mean": found["accuracy"][place], "std": found["std"][place]}


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


def _ensemble(cells: Sequence[Cell], split: Split) -> dict:
    """Error-IoU of generated networks with the class that most originals choose, by seed."""
    alike, right = [], []
    for cell in cells:
        module = cell.recipe.architecture.build()
        vote = predictions(module, cell.zoo(), split.images).mode(0).values
        networks = generate(cell.recipe, cell.model(), NETWORKS, cell.recipe.train.seed)
        wrong = (vote != split.labels)[None]
        alike.append(error_iou(_errors(cell, networks, split), wrong).mean().item())
        right.append(100 * (1 - wrong.double().mean().item()))
    return {"similarity": by_seed(alike), "ensemble_accuracy": by_seed(right)}


def _exchange(cells: Sequence[Cell], basins: Sequence[Cell], split: Split) -> dict:
    """Paper, v1, figure 2, with the share of exchanged weights on the axis; values: a curve per seed."""
    kinds: dict[str, list[Tensor]] = {}
    for cell, other in zip(cells, basins, strict=True):
        zoo, two, module = cell.zoo(), other.zoo(), cell.recipe.architecture.build()
        generated = generate(cell.recipe, cell.model(), 2, cell.recipe.train.seed)
        second_run = int((two.runs == 1).nonzero()[0])
        pairs = {
            "two checkpoints of one run": (zoo[0], zoo[len(zoo) - 1]),
            "two independent runs": (two[0], two[second_run]),
            "two generated networks": tuple(generated),
        }
        for kind, (a, b) in pairs.items():
            mixed = [network for names in _first_layers(a) for network in exchanged(a, b, names)]
            found = accuracy(predictions(module, mixed, split.images), split.labels)
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
