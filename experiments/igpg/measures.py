"""What is measured of IGPG: errors along the sequence, retrieval of training networks, and fine-tuning from a start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.baselines import Networks, accuracies_on, points, side_by_side
from rpglib.analysis.accuracy import summarise
from rpglib.igpg.igpg import IGPG
from rpglib.igpg.prefix import WORDINGS, instruction, text_features
from rpglib.tokenizer.several import Layout
from rpglib.zoo.collect import Schedule, train_population
from rpglib.zoo.images import Images
from rpglib.zoo.store import Zoo

STRETCHES = 10
"""Into how many equal parts a sequence is cut for its errors."""


@torch.no_grad()
def along_sequence(model: IGPG, layout: Layout, zoo: Zoo, written: Tensor) -> dict[str, list[float]]:
    """Errors of the prior in `STRETCHES` equal parts of the sequence, as means over networks.

    teacher forcing: cross-entropy (nats per code) of the zoo's networks, each chunk after the true ones before it, with
    the network's identity ("known") and without ("unknown"). wrong: the share of codes of networks `written` (N, L, C)
    that are not those of the nearest training network, the nearest by the first stretch's codes ("by its beginning")
    and by all ("as a whole"): a network that changes its model on the way is near none as a whole.
    """
    codes, places = model.encode(zoo, layout), layout.places(model.kinds)
    own = torch.tensor([model.identity(layout.name, run) for run in zoo.runs.tolist()])
    sentence = instruction(layout.name, layout.images)
    text = text_features([sentence], model.config.text, model.config.text_features)
    found = {}
    for label, identity in (("known", own), ("unknown", torch.full_like(own, len(model.identities)))):
        losses = []
        for rows in torch.arange(len(codes)).split(10):
            logits, _ = model.prior(
                codes[rows], places, text.expand(len(rows), -1), model.datasets[layout.images], identity[rows]
            )
            losses.append(F.cross_entropy(logits.flatten(0, 2), codes[rows].flatten(), reduction="none"))
        found[f"teacher forcing, {label}"] = _stretches(torch.cat(losses).view(codes.shape).mean((0, 2)))
    differs = (written[:, None] != codes).double().mean(-1)  # (n, N, L)
    begin = max(1, differs.shape[2] // STRETCHES)
    for label, nearest in (
        ("by its beginning", differs[..., :begin].mean(-1).argmin(1)),
        ("as a whole", differs.mean(-1).argmin(1)),
    ):
        found[f"wrong, {label}"] = _stretches(differs[torch.arange(len(differs)), nearest].mean(0))
    return found


def _stretches(values: Tensor) -> list[float]:
    return [part.mean().item() for part in values.double().tensor_split(STRETCHES)]


def retrieval(model: IGPG, layout: Layout, zoo: Zoo, seed: int = 0) -> dict[str, float]:
    """How often the nearest training network is one of the run that was asked for (percent), and what chance gives.

    Asked by identity; by an instruction that names the run in a wording that was learned; and by one in another
    wording. Codes are the likeliest; nearest by the parameters of the written network.
    """
    known = zoo.runs.unique().tolist()
    references = points(zoo)
    right: dict[str, list[bool]] = {"identity": [], "instruction": [], "unseen wording": []}
    for run in known:
        words = {
            label: instruction(layout.name, layout.images, run, which)
            for label, which in (("instruction", 0), ("unseen wording", len(WORDINGS)))
        }
        asked = {"identity": {"run": run}} | {label: {"instruction": text} for label, text in words.items()}
        for label, how in asked.items():
            network = model.generate(1, layout.name, seed=seed, temperature=0.0, **how)
            nearest = torch.cdist(points(network), references).argmin().item()
            right[label].append(zoo.runs[nearest].item() == run)
    found = {label: 100 * sum(hits) / len(hits) for label, hits in right.items()}
    return found | {"chance": 100 / len(known)}


@dataclass(frozen=True)
class Tuning:
    """How networks are trained on from a start: as the zoo was, at a constant rate; measured after these epochs."""

    epochs: tuple[int, ...]
    learning_rate: float
    batch_size: int
    weight_decay: float


def tuned(
    module: nn.Module, starts: Mapping[str, Networks], images: Images, how: Tuning, seed: int = 0
) -> dict[str, list[dict]]:
    """Test accuracy (percent) by start after each of `how.epochs`, the first of which is 0."""
    later, found = how.epochs[1:], {}
    schedule = Schedule(later[-1], how.learning_rate, how.batch_size, how.weight_decay)
    steps = schedule.steps(len(images.train)) // later[-1]
    for name, networks in starts.items():
        state = side_by_side(networks)
        seeds = [1000 * seed + k for k in range(len(networks))]
        states = train_population(
            module, state, images.train, schedule, seeds, save_at=[steps * epoch for epoch in later]
        )
        curve = [networks, *([_member(states, k, n) for n in range(len(networks))] for k in range(len(later)))]
        found[name] = [summarise(accuracies_on(module, one, images.test)) for one in curve]
    return found


def _member(states: Mapping[str, Tensor], k: int, n: int) -> dict[str, Tensor]:
    return {name: x[k, n] for name, x in states.items()}


def epochs_until(curve: Sequence[dict], epochs: Sequence[int], wanted: float) -> int | None:
    """The first of these epochs after which the mean accuracy is `wanted` (percent), None where none is."""
    return next((epoch for epoch, one in zip(epochs, curve, strict=True) if one["mean"] >= wanted), None)


def a_block_less(network: Mapping[str, Tensor], left_out: int) -> dict[str, Tensor]:
    """A transformer without one of its blocks; those behind it move up."""
    found = {}
    for name, x in network.items():
        parts = name.split(".")
        if parts[0] == "blocks":
            number = int(parts[1])
            if number == left_out:
                continue
            parts[1] = str(number - (number > left_out))
        found[".".join(parts)] = x
    return found
