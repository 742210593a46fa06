"""The decoder that the paper argues against (v2, section C.9): a causal Transformer that writes token after token.

Shapes: N networks, L tokens, D token size, H width. The paper says no more of its model than that it is a decoder-only
Transformer. Ours predicts the mean of each token from those before it; the spread around the mean is one number per
place, measured on the training checkpoints. Permutation states are those of the generator, one per checkpoint.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm.auto import trange

from rpglib.errors import InputError, check_types, shown, whole_number
from rpglib.model.config import MOST_SIZE
from rpglib.model.positions import position_embedding
from rpglib.model.recurrent import CausalAttentionLayer
from rpglib.runtime.arguments import flag, number, of, takes, tensor, whole, wholes
from rpglib.runtime.hardware import fp32
from rpglib.runtime.randomness import stream
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.batches import Checkpoints, checkpoints
from rpglib.training.loop import TrainConfig, rate


@dataclass(frozen=True)
class AutoregressiveConfig:
    """Size and training of the decoder; warm-up, weight decay and clipping are the defaults of `TrainConfig`."""

    width: int = 128
    layers: int = 2
    headdim: int = 32
    steps: int = 500
    batch_size: int = 8
    learning_rate: float = 5e-3
    seed: int = 0

    def __post_init__(self):
        check_types(self)
        for name in ("width", "layers", "headdim", "batch_size"):
            whole_number(f"AutoregressiveConfig.{name}", getattr(self, name), 1, MOST_SIZE)
        whole_number("AutoregressiveConfig.steps", self.steps, 1)
        whole_number("AutoregressiveConfig.seed", self.seed, 0)
        if self.learning_rate <= 0:
            raise InputError("AutoregressiveConfig.learning_rate must be above 0, or nothing would learn")
        if self.width % self.headdim:
            raise InputError(f"headdim {self.headdim} does not divide the width {self.width}; choose one that does")


class AutoregressiveDecoder(nn.Module):
    """Predicts the mean of every token of a network from the tokens before it, its place and the permutation state.

    positions (L, 2) and mask (L, D) are the tokenizer's. `residual` (L,) is the root mean squared error of the
    predictions per place, zero before training.
    """

    @takes(
        positions=tensor("L 2", "whole"),
        mask=tensor("L D", "bool"),
        permutation_states=whole(1, MOST_SIZE),
        config=of(AutoregressiveConfig),
    )
    def __init__(self, positions: Tensor, mask: Tensor, permutation_states: int, config: AutoregressiveConfig):
        super().__init__()
        width, size = config.width, mask.shape[1]
        self.register_buffer("position", position_embedding(positions, width, "2d"))
        self.register_buffer("mask", mask.clone())
        self.register_buffer("residual", torch.zeros(len(mask)))
        self.embed = nn.Linear(size, width)
        self.start = nn.Parameter(torch.randn(width))
        self.permutation = nn.Embedding(permutation_states, width)
        self.layers = nn.Sequential(
            *(CausalAttentionLayer(width, 2 * width, width, config.headdim) for _ in range(config.layers))
        )
        self.project = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, size))

    def forward(self, tokens: Tensor, permutation: Tensor) -> Tensor:
        """The mean of each of the first l tokens (N, l, D) given those before it; the last one is not read."""
        n, length, _ = tokens.shape
        before = torch.cat((self.start.expand(n, 1, -1), self.embed(tokens[:, :-1])), 1)
        return self.project(self.layers(before + self.position[:length] + self.permutation(permutation)[:, None]))

    @takes(n=whole(most=MOST_SIZE), seed=whole(), temperature=number())
    @torch.no_grad()
    def generate(
        self, n: int, permutation: Tensor | None = None, seed: int = 0, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Write `n` networks token after token: tokens (n, L, D), zero where padded, and their permutation states (n,).

        Network i draws from a random stream of its own, that of the seed and of i: its noise and, unless `permutation`
        (n,) says it, its permutation state. temperature: how many `residual` the noise has; 0 writes the means.
        """
        noise, permutation = self._drawn(n, permutation, seed, temperature)
        tokens = torch.zeros_like(noise)
        for place in range(len(self.mask)):
            mean = self(tokens[:, : place + 1], permutation)[:, place]
            tokens[:, place] = (mean + noise[:, place]) * self.mask[place]
        return tokens, permutation

    @takes(given=tensor("N+ L D", "float"), seed=whole(), temperature=number())
    @torch.no_grad()
    def teacher_forced(self, given: Tensor, permutation: Tensor, seed: int = 0, temperature: float = 1.0) -> Tensor:
        """As `generate`, with the same noise, but each token follows the tokens before it in `given` (N, L, D)."""
        if given.shape[1:] != self.mask.shape:
            raise InputError(f"given tokens are (N, {', '.join(map(str, self.mask.shape))}), not {tuple(given.shape)}")
        noise, permutation = self._drawn(len(given), permutation, seed, temperature)
        return (self(given.float(), permutation) + noise) * self.mask

    def _drawn(self, n: int, permutation: Tensor | None, seed: int, temperature: float) -> tuple[Tensor, Tensor]:
        if n < 1 or temperature < 0:
            raise InputError(f"n must be at least 1 and temperature at least 0, not n={n}, temperature={temperature}")
        states = self.permutation.num_embeddings
        generators = [torch.Generator().manual_seed(stream(seed, "network", i)) for i in range(n)]
        # Noise first: it must not depend on whether the state is drawn too.
        noise = torch.stack([torch.randn(self.mask.shape, generator=g) for g in generators])
        if permutation is None:
            permutation = torch.cat([torch.randint(states, (1,), generator=g) for g in generators])
        numbers = wholes(0, states - 1)("permutation", permutation, {})
        if len(numbers) != n:
            raise InputError(f"permutation takes {n} numbers from 0 to {states - 1}, not {shown(numbers)}")
        return temperature * self.residual[:, None] * noise, torch.tensor(numbers)


@takes(zoo=checkpoints, tokenizer=of(ParameterTokenizer), config=of(AutoregressiveConfig), progress=flag)
@fp32()
def fit_autoregressive(
    zoo: Checkpoints, tokenizer: ParameterTokenizer, config: AutoregressiveConfig, progress: bool = True
) -> tuple[AutoregressiveDecoder, list[float]]:
    """Train a decoder on the CPU by teacher forcing; returns it and the loss of every step.

    The loss is the mean squared error over real values. Checkpoint i of the zoo has permutation state i. The result
    depends on `config.seed` alone. Raises `InputError` when the loss is no longer finite.
    """
    tokens = torch.stack([tokenizer.encode(zoo[i])[0] for i in range(len(zoo))])
    states, mask, losses = torch.arange(len(zoo)), tokenizer.mask, []
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        decoder = AutoregressiveDecoder(tokenizer.positions, mask, len(zoo), config)
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=config.learning_rate, weight_decay=TrainConfig.weight_decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, config.steps, TrainConfig.warmup))
    bar = trange(config.steps, desc="train autoregressive decoder", disable=not progress, mininterval=1.0)
    for step in bar:
        rows = torch.randperm(len(zoo), generator=generator)[: config.batch_size]
        loss = (decoder(tokens[rows], states[rows]) - tokens[rows])[:, mask].square().mean()
        if not math.isfinite(float(loss.detach())):
            raise InputError(f"the loss is not finite at step {step}; lower learning_rate")
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), TrainConfig.gradient_clip)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        if step % 20 == 0:
            bar.set_postfix(loss=f"{sum(losses[-20:]) / len(losses[-20:]):.5f}")
    with torch.no_grad():
        # In parts: a large zoo does not fit through the decoder at once.
        means = [decoder(tokens[rows], states[rows]) for rows in states.split(config.batch_size)]
        decoder.residual.copy_(_along_sequence(torch.cat(means), tokens, mask))
    return decoder.eval(), losses


@takes(generated=tensor("n L D", "float"), originals=tensor("N+ L D", "float"), mask=tensor("L D", "bool"))
def nearest_original(generated: Tensor, originals: Tensor, mask: Tensor) -> Tensor:
    """For each generated network (n, L, D) the index (n,) of the nearest original (N, L, D) over its real values."""
    # Not by matrix products: the originals of one run differ by little, and the difference of squares cancels.
    exact = "donot_use_mm_for_euclid_dist"
    wide = torch.promote_types(torch.promote_types(generated.dtype, originals.dtype), torch.float32)
    return torch.cdist(generated[:, mask].to(wide), originals[:, mask].to(wide), compute_mode=exact).argmin(1)


@takes(generated=tensor("n L D", "float"), originals=tensor("N+ L D", "float"), mask=tensor("L D", "bool"))
def error_along_sequence(generated: Tensor, originals: Tensor, mask: Tensor) -> Tensor:
    """Root mean squared distance (L,) per real value of generated tokens (n, L, D) from the nearest original's.

    Nearest, of the originals (N, L, D), is meant for the network as a whole; mask (L, D) says which values are real.
    """
    return _along_sequence(generated, originals[nearest_original(generated, originals, mask)], mask)


def _along_sequence(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Root mean squared difference (L,) of the real values of a and b, both (N, L, D)."""
    a, b = (x.double() if x.dtype == torch.float64 else x.float() for x in (a, b))
    return (((a - b).square() * mask).sum((0, 2)) / (len(a) * mask.sum(1))).sqrt()
