"""Training an IGPG generator: first its codes, then its prior.

Shapes: N networks, L chunks, K values of a chunk, C codes of a chunk.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import trange

from rpglib.errors import InputError
from rpglib.igpg.codes import masked_error, usage
from rpglib.igpg.config import CodesTraining, IGPGConfig, PriorTraining
from rpglib.igpg.igpg import IGPG
from rpglib.igpg.prefix import WORDINGS, image_features, instruction, text_features
from rpglib.igpg.prior import Prior
from rpglib.runtime.arguments import flag, of, takes, whole
from rpglib.runtime.hardware import fp32
from rpglib.tokenizer.several import Layout, matched, zoos_of
from rpglib.training.loop import TrainConfig, rate
from rpglib.zoo.images import Images
from rpglib.zoo.store import Zoo

WARM_UP = 0.02
"""Of the steps."""
COOLEST = 1e-4
"""Temperature of "gumbel" at the end of training; it begins at 1 and falls by a cosine, as the paper's."""
CHOOSING = 0.1
"""Weight of the loss of identities beside that of codes."""
FIRST, SWEEPS = 4096, 30
"""Chunks among which the first entries are found, and sweeps of Lloyd's algorithm."""
REVIVED = 0.8
"""Of the steps; in those after it no entry is replaced."""


@dataclass
class Trained:
    """The loss of every step, the seconds of this process that it took, and, of codes, their use at the end."""

    losses: list[float]
    processor_seconds: float
    usage: dict[str, float] | None = None


@takes(zoos=zoos_of, images=of(Mapping), config=of(IGPGConfig), seed=whole(0))
def new_igpg(zoos: Sequence[Zoo], images: Mapping[str, Images], config: IGPGConfig, seed: int = 0) -> IGPG:
    """An untrained generator for the architectures of these zoos, one zoo each; its first weights follow from the seed.

    images: the data sets of the zoos, by name. Raises `InputError` for a zoo that does not know its architecture or
    data set, and for a data set that is not given.
    """
    layouts, identities, datasets = [], [], {}
    for zoo in zoos:
        layout = Layout.fit(zoo, config.chunk)
        if layout.images not in images:
            raise InputError(f"the data set {layout.images!r} of a zoo is not given; add it to images")
        layouts.append(layout)
        identities += [(layout.name, run) for run in zoo.runs.unique().tolist()]
        datasets[layout.images] = image_features(of(Images)(f"images[{layout.images!r}]", images[layout.images], {}))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return IGPG(config, layouts, identities, datasets)


@takes(model=of(IGPG), zoos=zoos_of, config=of(CodesTraining), progress=flag)
@fp32()
def train_codes(model: IGPG, zoos: Sequence[Zoo], config: CodesTraining, progress: bool = True) -> Trained:
    """Train the VQ-VAE of a generator on the chunks of its zoos: every architecture alike, padding counts nowhere.

    The result depends on model, zoos and `config` alone. Raises `InputError` where the zoos are not the generator's,
    and when the loss is no longer finite.
    """
    parts = [
        (layout.tokens(zoo), layout.tokenizer.mask, _shares(layout)) for layout, zoo in matched(model.layouts, zoos)
    ]
    codes, generator = model.codes.train(), torch.Generator().manual_seed(config.seed)
    share = math.ceil(config.batch_size / len(parts))
    used = torch.zeros(codes.codebook.shape[:2])
    _begin(model, _chunk_batch(parts, math.ceil(FIRST / len(parts)), generator)[0], generator)
    began, losses = time.process_time(), []
    for step, descend in _steps(codes, config.steps, config.learning_rate, 0.0, "train codes", progress):
        chunks, mask = _chunk_batch(parts, share, generator)
        if step and step % config.revive == 0 and step < REVIVED * config.steps:
            _revive(model, codes.encodings(chunks), used, generator)
            used.zero_()
        temperature = COOLEST + (1 - COOLEST) * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        found = codes(chunks, temperature, generator)
        used.scatter_add_(1, found.codes.T, torch.ones(found.codes.T.shape))
        loss = masked_error(found.chunks, chunks, mask)
        if found.shares is None:
            drawn = (found.encodings - found.entries.detach()).square().mean()
            loss = loss + (found.encodings.detach() - found.entries).square().mean() + config.commitment * drawn
        else:
            even = (found.shares * (found.shares.clamp(min=1e-12) * model.config.codebook).log()).sum(1).mean()
            loss = loss + config.uniform * even
        losses.append(descend(loss))
    seconds = time.process_time() - began
    codes.eval()
    found = [model.encode(zoo, layout).flatten(0, 1) for layout, zoo in matched(model.layouts, zoos)]
    return Trained(losses, seconds, usage(torch.cat(found), model.config.codebook))


def _shares(layout: Layout) -> Tensor:
    """How often each chunk (L,) is drawn: half of the time a chunk, half of the time a tensor and then one of its own.

    Biases and norms are a chunk each and decide more than their number says: noise of a tenth of the variance on all
    tensors costs a small vision transformer twice to three times as many answers as on its matrices alone.
    """
    counts = torch.tensor([segment.stride // layout.tokenizer.token_size for segment in layout.tokenizer.segments])
    by_tensor = (1 / (len(counts) * counts.double())).repeat_interleave(counts)
    return (by_tensor + 1 / len(layout)) / 2


def _chunk_batch(
    parts: list[tuple[Tensor, Tensor, Tensor]], each: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random chunks (B, K), as many of every architecture, and which of their values are real (B, K)."""
    chunks, masks = [], []
    for all_chunks, mask, shares in parts:
        rows = torch.randint(len(all_chunks), (each,), generator=generator)
        places = shares.multinomial(each, replacement=True, generator=generator)
        chunks.append(all_chunks[rows, places])
        masks.append(mask[places])
    return torch.cat(chunks), torch.cat(masks)


@torch.no_grad()
def _begin(model: IGPG, chunks: Tensor, generator: torch.Generator) -> None:
    """Make the entries the centres that Lloyd's algorithm finds among the encodings of chunks (B, K)."""
    codes = model.codes
    encodings = codes.encodings(chunks)
    unused = torch.zeros(codes.codebook.shape[:2])
    _revive(model, encodings, unused, generator)
    for _ in range(SWEEPS):
        members = F.one_hot(codes.encode(chunks), model.config.codebook).to(encodings)
        counts = members.sum(0)
        means = torch.einsum("bcm,bce->cme", members, encodings) / counts.clamp(min=1)[..., None]
        codes.codebook.copy_(torch.where((counts > 0)[..., None], means, codes.codebook))


@torch.no_grad()
def _revive(model: IGPG, encodings: Tensor, used: Tensor, generator: torch.Generator) -> None:
    """Make the entries that `used` (C, M) does not count encodings of random chunks, of these (B, C, E)."""
    rows = torch.randint(len(encodings), used.shape, generator=generator)
    fresh = encodings[rows, torch.arange(len(used))[:, None]]
    model.codes.codebook.copy_(torch.where((used == 0)[..., None], fresh, model.codes.codebook))


@takes(model=of(IGPG), zoos=zoos_of, config=of(PriorTraining), progress=flag)
@fp32()
def train_prior(model: IGPG, zoos: Sequence[Zoo], config: PriorTraining, progress: bool = True) -> Trained:
    """Train the prior of a generator whose codes are trained, by teacher forcing; the codes stay as they are.

    What it reads is true but for a share `config.corrupt` of chunks, whose codes are random (the paper's are all true).

    The loss is the cross-entropy of codes (nats per code) and, with `CHOOSING`, that of the identity that the prefix
    lets expect. The result depends on model, zoos and `config` alone. Raises `InputError` as `train_codes`.
    """
    sets = [_Written.of(model, zoo, layout) for layout, zoo in matched(model.layouts, zoos)]
    model.prior.entries.copy_(model.codes.codebook.detach())
    prior, generator = model.prior.train(), torch.Generator().manual_seed(config.seed)
    # By length: a loss is a mean over chunks, and those of a long network are to weigh as much as any other.
    whole = sum(one.codes.shape[1] for one in sets)
    shares = [one.codes.shape[1] / whole for one in sets]
    began, losses = time.process_time(), []
    for _, descend in _steps(prior, config.steps, config.learning_rate, config.weight_decay, "train prior", progress):
        found = [_prior_loss(prior, one, config, generator) for one in sets]
        losses.append(descend(sum(share * loss for share, loss in zip(shares, found, strict=True))))
    seconds = time.process_time() - began
    prior.eval()
    return Trained(losses, seconds)


def _prior_loss(prior: Prior, one: "_Written", config: PriorTraining, generator: torch.Generator) -> Tensor:
    """The loss of random networks of one zoo: of their codes and, with `CHOOSING`, of the identity."""
    rows = torch.randint(len(one.codes), (config.batch_size,), generator=generator)
    wording = torch.randint(len(WORDINGS), (config.batch_size,), generator=generator)
    silent, forgotten = torch.rand(2, config.batch_size, generator=generator) < config.forget
    run = torch.where(silent, len(one.texts) - 1, one.runs[rows])
    codes, identity = one.codes[rows], one.identities[rows]
    told = torch.where(forgotten, prior.identities, identity)
    corrupted = torch.rand(*codes.shape[:2], 1, generator=generator) < config.corrupt
    other = torch.randint(prior.config.codebook, codes.shape, generator=generator)
    logits, chosen = prior(torch.where(corrupted, other, codes), one.places, one.texts[run, wording], one.images, told)
    return F.cross_entropy(logits.flatten(0, 2), codes.flatten()) + CHOOSING * F.cross_entropy(chosen, identity)


@dataclass(frozen=True)
class _Written:
    """A zoo as its prior learns it: codes (N, L, C), places (L, F), runs and identities (N,), and what it is asked by.

    texts (runs + 1, wordings, text_features): the last row does not say the run.
    """

    codes: Tensor
    places: Tensor
    runs: Tensor
    identities: Tensor
    texts: Tensor
    images: Tensor

    @classmethod
    def of(cls, model: IGPG, zoo: Zoo, layout: Layout) -> "_Written":
        known, runs = zoo.runs.unique(return_inverse=True)
        numbers = torch.tensor([model.identity(layout.name, run) for run in known.tolist()])
        config = model.config
        asked = [
            instruction(layout.name, layout.images, run, which)
            for run in (*known.tolist(), None)
            for which in range(len(WORDINGS))
        ]
        texts = text_features(asked, config.text, config.text_features).view(len(known) + 1, len(WORDINGS), -1)
        codes = model.encode(zoo, layout)
        return cls(codes, layout.places(model.kinds), runs, numbers[runs], texts, model.datasets[layout.images])


def _steps(module: nn.Module, steps: int, learning_rate: float, decay: float, label: str, progress: bool) -> Iterator:
    """Each step's number, and what takes a loss, descends and returns its value."""
    settings = {"lr": learning_rate, "weight_decay": decay, "betas": (0.9, 0.98), "fused": True}
    optimizer = torch.optim.AdamW(module.parameters(), **settings)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps, WARM_UP))
    bar = trange(steps, desc=label, disable=not progress, mininterval=1.0)

    for step in bar:

        def descend(loss: Tensor, step: int = step) -> float:
            value = float(loss.detach())
            if not math.isfinite(value):
                raise InputError(f"the loss is not finite at step {step}; lower learning_rate")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), TrainConfig.gradient_clip)
            optimizer.step()
            scheduler.step()
            if step % 20 == 0:
                bar.set_postfix(loss=f"{value:.4f}")
            return value

        yield step, descend
