"""The prior of IGPG: a causal transformer that writes the codes of chunk after chunk (arXiv 2504.02012; GPT-2 there).

Shapes: N networks, L chunks, C codes of a chunk, M entries, H width, R identities (training runs of all zoos). A
sequence is a prefix of `PREFIX` vectors (instruction, data set, architecture, identity) and then one vector per chunk:
the codes of the chunk before it and its own place. A chunk sees the prefix, itself and `context - 1` chunks before it.
Deviations: the codes of one chunk are drawn independently of each other, given all before it; the network's identity is
a token of the prefix, which the prior itself chooses where it is not asked for, and reaches every chunk through gates
of its place, before the blocks and after them; codes are read and predicted by the entries that they stand for, not as
names without a meaning.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpglib.igpg.config import IGPGConfig
from rpglib.igpg.prefix import IMAGE_FEATURES

PREFIX = 4
"""Vectors before the first chunk: instruction, data set, architecture, identity."""


@dataclass
class Cache:
    """Keys and values (N, heads, up to PREFIX + context, headdim) of what was written, layer by layer."""

    layers: list[tuple[Tensor, Tensor]] = field(default_factory=list)


class Block(nn.Module):
    """A pre-norm transformer block whose attention is causal and, behind the prefix, a window of `context` chunks."""

    def __init__(self, width: int, headdim: int, context: int):
        super().__init__()
        self.headdim, self.context = headdim, context
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, cache: Cache | None = None, layer: int = 0) -> Tensor:
        """Transform (N, l, H); with a cache, l more vectors after those that it holds, one of them a chunk at most."""
        q, k, v = (
            part.unflatten(-1, (-1, self.headdim)).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        if cache is None:
            seen = F.scaled_dot_product_attention(q, k, v, **self._window(x.shape[1]))
        elif layer == len(cache.layers):  # the prefix
            cache.layers.append((k, v))
            seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            before = cache.layers[layer]
            k, v = (self._kept(torch.cat(pair, 2)) for pair in zip(before, (k, v), strict=True))
            cache.layers[layer] = (k, v)
            seen = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))

    def _window(self, length: int) -> dict:
        if length <= PREFIX + self.context:
            return {"is_causal": True}
        place = torch.arange(length)
        near = place[:, None] - place < self.context
        return {"attn_mask": (place <= place[:, None]) & (near | (place < PREFIX))}

    def _kept(self, x: Tensor) -> Tensor:
        """The prefix and the last `context` chunks."""
        if x.shape[2] <= PREFIX + self.context:
            return x
        return torch.cat((x[:, :, :PREFIX], x[:, :, -self.context :]), 2)


class Prior(nn.Module):
    """Logits of the codes of every chunk, given the codes before it, and of a network's identity.

    place_features: F of `Layout.places`; identities: R. Identity R stands for none.
    """

    def __init__(self, config: IGPGConfig, place_features: int, identities: int):
        super().__init__()
        width, flat = config.width, config.codes * config.code_width
        self.config, self.identities = config, identities
        # Those of the trained codes: `train_prior` brings them.
        self.register_buffer("entries", torch.zeros(config.codes, config.codebook, config.code_width))
        self.before = nn.Linear(flat, width)
        self.start = nn.Parameter(0.02 * torch.randn(width))
        self.place = nn.Sequential(nn.Linear(place_features, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.text = nn.Linear(config.text_features, width)
        self.images = nn.Linear(IMAGE_FEATURES, width)
        self.architecture = nn.Linear(width, width)
        self.identity = nn.Embedding(identities + 1, width)
        self.gate = nn.Linear(width, width)
        # After the blocks once more, from an embedding of its own: what a place is in this very network.
        self.recalled, self.recall = nn.Embedding(identities + 1, width), nn.Linear(width, width)
        nn.init.normal_(self.recall.weight, std=0.02)
        nn.init.zeros_(self.recall.bias)
        self.blocks = nn.ModuleList(Block(width, config.headdim, config.context) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.choose = nn.Linear(width, identities)
        self.encoding = nn.Linear(width, flat)
        self.sharpness = nn.Parameter(torch.zeros(config.codes, 1))
        self.codes = nn.Linear(width, config.codes * config.codebook)
        nn.init.zeros_(self.codes.weight)
        nn.init.zeros_(self.codes.bias)

    def forward(self, codes: Tensor, places: Tensor, text: Tensor, images: Tensor, identity: Tensor):
        """Logits (N, L, C, M) of every chunk's codes (N, L, C), and (N, R) of the identity (N,) of the networks.

        places (L, F); text (N, text_features); images (IMAGE_FEATURES,). The last chunk's codes are not read.
        """
        place = self.place(places)
        start = self.start.expand(len(codes), 1, -1)
        before = torch.cat((start, self._embedded(codes[:, :-1])), 1)
        named = self.identity(identity)[:, None]
        x = torch.cat((self._asked(place, text, images), named, before + place + self.gate(place) * named), 1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        recalled = self.recall(place) * self.recalled(identity)[:, None]
        return self._logits(x[:, PREFIX:] + recalled), self.choose(x[:, PREFIX - 2])

    @torch.no_grad()
    def generate(
        self,
        places: Tensor,
        text: Tensor,
        images: Tensor,
        identity: Tensor | None,
        temperature: float,
        generators: list[torch.Generator],
        among: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Write N networks: their codes (N, L, C) and identities (N,), chosen by the prior where `identity` is None.

        Network i draws from generator i alone. temperature: 0 takes the likeliest codes; identities are drawn at 1
        whatever it is, or all networks would be alike. among: the identities (K,) of which it chooses.
        """
        place, cache = self.place(places), Cache()
        gate, recall = self.gate(place), self.recall(place)
        asked = self._asked(place, text, images)
        if identity is None:
            x = asked
            for block in self.blocks:
                x = block(x)
            shares = self.choose(self.norm(x[:, -1]))[:, among].softmax(-1)
            drawn = [row.multinomial(1, generator=g) for row, g in zip(shares, generators, strict=True)]
            identity = among[torch.cat(drawn)]
        named, recalled = self.identity(identity), self.recalled(identity)
        prefix = torch.cat((asked, named[:, None]), 1)
        for layer, block in enumerate(self.blocks):
            prefix = block(prefix, cache, layer)
        codes = torch.zeros(len(text), len(place), self.config.codes, dtype=torch.int64)
        for k in range(len(place)):
            before = self._embedded(codes[:, k - 1 : k]) if k else self.start.expand(len(text), 1, -1)
            x = before + place[k] + gate[k] * named[:, None]
            for layer, block in enumerate(self.blocks):
                x = block(x, cache, layer)
            x = self.norm(x) + (recall[k] * recalled)[:, None]
            codes[:, k] = _drawn(self._logits(x)[:, 0], temperature, generators)
        return codes, identity

    def _asked(self, place: Tensor, text: Tensor, images: Tensor) -> Tensor:
        """The prefix without the identity: (N, PREFIX - 1, H)."""
        told = self.text(text), self.images(images).expand(len(text), -1)
        return torch.stack((*told, self.architecture(place.mean(0)).expand(len(text), -1)), 1)

    def _embedded(self, codes: Tensor) -> Tensor:
        """What the codes (N, l, C) of each chunk are read as: (N, l, H)."""
        return self.before(self.entries[torch.arange(self.config.codes), codes].flatten(2))

    def _logits(self, x: Tensor) -> Tensor:
        """The logits (N, l, C, M): the nearer an entry lies to a predicted encoding, the likelier, and what x adds."""
        encoding = self.encoding(x).unflatten(-1, (self.config.codes, self.config.code_width))
        near = 2 * torch.einsum("nlce,cme->nlcm", encoding, self.entries) - self.entries.square().sum(-1)
        added = self.codes(x).unflatten(-1, (self.config.codes, self.config.codebook))
        return near * self.sharpness.exp() + added


COLDEST = 1e-30
"""Below, float32 logits would be infinite in units of the temperature; the likeliest code is as good as certain."""


def _drawn(logits: Tensor, temperature: float, generators: list[torch.Generator]) -> Tensor:
    """Codes (N, C) from logits (N, C, M), each network's from its own generator."""
    if temperature < COLDEST:
        return logits.argmax(-1)
    shares = (logits / temperature).softmax(-1)
    return torch.stack([x.multinomial(1, generator=g)[:, 0] for x, g in zip(shares, generators, strict=True)])
