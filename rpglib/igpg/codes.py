"""The VQ-VAE of IGPG: chunks of weights to codes and back (arXiv 2504.02012; released code `sorobedio/igpg`).

Shapes: B chunks, K values, C codes of a chunk, M entries, E width of an entry. Deviations: encoder and decoder are
fully connected, where the release has convolutions over chunks of thousands of values; every code of a chunk has a
codebook of its own, by default of entries of one number, and they begin as a product quantiser; the loss is the
paper's masked squared error, not the release's absolute one without a mask.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpglib.errors import InputError
from rpglib.igpg.config import IGPGConfig
from rpglib.runtime.arguments import of, takes, tensor, whole


@dataclass(frozen=True)
class Quantised:
    """Chunks that passed the quantiser: reconstruction (B, K), chosen entries (B, C), encodings and entries (B, C, E).

    shares (C, M): how much each entry is used, with a gradient in "gumbel"; None in "nearest".
    """

    chunks: Tensor
    codes: Tensor
    encodings: Tensor
    entries: Tensor
    shares: Tensor | None


class Codes(nn.Module):
    """Encoder, codebooks and decoder; before training the codebooks are small noise."""

    @takes(config=of(IGPGConfig))
    def __init__(self, config: IGPGConfig):
        super().__init__()
        hidden, flat = config.code_hidden, config.codes * config.code_width
        self.config = config
        self.encoder, self.decoder = Map(config.chunk, hidden, flat), Map(flat, hidden, config.chunk)
        with torch.no_grad():
            self.decoder.linear.weight.copy_(self.encoder.linear.weight.T)
        self.codebook = nn.Parameter(0.1 * torch.randn(config.codes, config.codebook, config.code_width))

    @takes(chunks=tensor("B K", "float"))
    @torch.no_grad()
    def encode(self, chunks: Tensor) -> Tensor:
        """The codes (B, C) int64 of chunks (B, K): for each the entry nearest to the encoding."""
        return self._scores(self.encodings(chunks)).argmax(-1)

    @takes(codes=tensor("B C", "whole"))
    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """The chunks (B, K) of codes (B, C); raises `InputError` where these are not of its codebooks."""
        check_codes(codes, self.config.codebook)
        return self.decoder(self._entries(codes).flatten(1))

    def forward(self, chunks: Tensor, temperature: float, generator: torch.Generator) -> Quantised:
        """Pass chunks (B, K) through the quantiser as in training; `temperature` and `generator` are for "gumbel"."""
        encodings = self.encodings(chunks)
        scores, shares = self._scores(encodings), None
        if self.config.quantiser == "gumbel":
            uniform = torch.rand(scores.shape, generator=generator).clamp(1e-9, 1 - 1e-7)
            soft = ((scores - (-uniform.log()).log()) / temperature).softmax(-1)
            codes = soft.argmax(-1)
            chosen = F.one_hot(codes, self.config.codebook) - soft.detach() + soft  # hard, with the soft one's gradient
            entries = torch.einsum("bcm,cme->bce", chosen, self.codebook)
            passed, shares = entries, scores.softmax(-1).mean(0)
        else:
            codes = scores.detach().argmax(-1)
            entries = self._entries(codes)
            passed = encodings + (entries - encodings).detach()
        return Quantised(self.decoder(passed.flatten(1)), codes, encodings, entries, shares)

    def encodings(self, chunks: Tensor) -> Tensor:
        """What the encoder makes of chunks (B, K), before it is quantised: (B, C, E)."""
        return self.encoder(chunks).unflatten(1, (self.config.codes, self.config.code_width))

    def _scores(self, encodings: Tensor) -> Tensor:
        """Minus the squared distance of encodings (B, C, E) from every entry: (B, C, M), but for what is alike."""
        return 2 * torch.einsum("bce,cme->bcm", encodings, self.codebook) - self.codebook.square().sum(-1)

    def _entries(self, codes: Tensor) -> Tensor:
        return self.codebook[torch.arange(self.config.codes), codes]


class Map(nn.Module):
    """A linear map and what two hidden layers add to it, at first nothing.

    The linear map begins as a rotation, or the nearest thing to it, so that training begins with a product quantiser
    of rotated values and only has to improve on that.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        nn.init.orthogonal_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        last = nn.Linear(hidden, outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.added = nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), last)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.added(x)


def masked_error(found: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """The mean squared error over real values; what `mask` (B, K) says is padding counts nowhere."""
    return ((found - wanted).square() * mask).sum() / mask.sum()


def check_codes(codes: Tensor, codebook: int) -> None:
    """Raise `InputError` where a code is no entry of a codebook of this size."""
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < codebook:
        raise InputError(f"codes are numbers from 0 to {codebook - 1}, not {int(codes.min())} to {int(codes.max())}")


@takes(codes=tensor("N+ ...", "whole"), codebook=whole(2))
def usage(codes: Tensor, codebook: int) -> dict[str, float]:
    """How much of the codebooks codes (..., C) use: mean perplexity over codebooks, and the share of dead entries.

    Perplexity: exp of the entropy of use in nats; M where all entries are used alike, 1 where one is. Raises
    `InputError` for codes beyond the codebook.
    """
    check_codes(codes, codebook)
    counts = torch.stack([x.flatten().bincount(minlength=codebook) for x in codes.unbind(-1)]).double()
    shares = counts / counts.sum(1, keepdim=True)
    entropy = -(shares * shares.clamp(min=1e-300).log()).sum(1)
    return {"perplexity": entropy.exp().mean().item(), "dead": (counts == 0).double().mean().item()}
