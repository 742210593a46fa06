"""The recurrent model: position, permutation state and task in, one prototype per token out.

Source: RPG paper v1, section 2.3, equation 4.

Shapes: N networks, L tokens, H width (of the first layer in, of the last layer out), P permutation states.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpglib.model.config import RPGConfig
from rpglib.model.mamba2 import Carried, Mamba2, fused_kernels
from rpglib.model.recompute import call

# The released code gates the task to this many tokens at the end of the sequence.
HEAD_TOKENS = 8

ALIKE = 60
"""Of more gated states each has a larger part, or one among hundreds of bits would hardly tell two of them apart."""


class RecurrentModel(nn.Module):
    """Sums the embeddings of position, permutation state and task, and runs the recurrent layers over the tokens.

    As in the released code the layers follow each other without residual connection or normalisation. (The text of the
    paper, v1, section 2.3, puts an MLP behind Mamba; neither its table 12 nor the released files have one.)
    `position` (L, H) is a parameter where the configuration's is "learned", else a buffer. "gated" permutation states
    reach every token through a gate of that token, as a task does by `TaskToAll`.
    """

    def __init__(self, position: Tensor, config: RPGConfig):
        super().__init__()
        if config.position == "learned":
            self.position = nn.Parameter(position.clone())
        else:
            self.register_buffer("position", position.clone())
        states, told, length, width = config.permutation_states, config.told, len(position), config.widths[0]
        self.permutation = None
        if states and config.permutation == "gated":
            self.permutation = TaskToAll(states, config.task_width, length, width)
        elif states:
            self.permutation = nn.Embedding(states, width).requires_grad_(config.permutation == "learned")
        task = {"all": TaskToAll, "head": TaskToHead, "sequence": TaskToSequence}[config.conditioning]
        self.task = task(told, config.task_width, length, width) if told else None
        self.layers = nn.ModuleList(_layer(config, *sizes) for sizes in pairwise((*config.widths, config.widths[-1])))
        self.gate = nn.Parameter(torch.randn(length, config.widths[-1])) if config.prototype_gate else None

    def forward(
        self, n: int, permutation: Tensor | None = None, task: Tensor | None = None, recompute: bool = False
    ) -> Tensor:
        """Prototypes (N, L, H) of `n` networks; `permutation` (N,) int64 or weights (N, P), `task` (N, bits) of 0, 1.

        Or `task` (N, F) holds the features of conditions, from 0 to 1, instead of bits.

        recompute: keep no more than each layer's input for the way back.
        """
        calls = [partial(call, layer, recompute=recompute) for layer in self.layers]
        return self._prototypes(n, permutation, task, slice(None), calls)

    def pieces(self, most: int) -> list[slice]:
        """The tokens in pieces of at most `most`, one after the other; all in one where a layer needs them together."""
        length, fused = len(self.position), fused_kernels(self.position.device) is not None
        together = any(
            isinstance(layer, CausalAttentionLayer) or (fused and isinstance(layer, Mamba2)) for layer in self.layers
        )
        return [slice(k, k + most) for k in range(0, length, most)] if not together else [slice(0, length)]

    def piece(self, n: int, permutation: Tensor | None, task: Tensor | None, rows: slice, carried: list) -> Tensor:
        """`forward` of the tokens `rows`, for `pieces` in their order; `carried` is a list, empty before the first."""
        if not carried:
            carried.extend(Carried() for _ in self.layers)
        calls = [
            partial(layer, carried=memory) if isinstance(layer, Mamba2 | LSTMLayer) else layer
            for layer, memory in zip(self.layers, carried, strict=True)
        ]
        return self._prototypes(n, permutation, task, rows, calls)

    def _states(self, permutation: Tensor) -> Tensor:
        """The embeddings (N, 1 or L, H) of states (N,), or mixtures of them by weights (N, P)."""
        states, mixed = self.permutation, permutation.is_floating_point()
        if isinstance(states, TaskToAll):
            weights = permutation if mixed else F.one_hot(permutation, states.bits).to(self.position.dtype)
            return states(max(1, states.bits / ALIKE) * weights)
        return (permutation @ states.weight if mixed else states(permutation))[:, None]

    def _prototypes(self, n: int, permutation, task, rows: slice, calls: list[Callable]) -> Tensor:
        parts = [self.position[None, rows]]
        if self.permutation is not None:
            states = self._states(permutation)
            parts.append(states[:, rows] if states.shape[1] > 1 else states)
        first, *others = calls
        if self.task is None and isinstance(self.layers[0], Mamba2):
            x = first(*parts)
        else:
            if self.task is not None:
                parts.append(self.task(task.to(self.position.dtype))[:, rows])
            x = first(sum(parts))
        for layer in others:
            x = layer(x)
        if self.gate is not None:
            x = x * self.gate[rows]
        # With neither state nor task all networks have the same prototypes, computed once.
        return x.expand(n, -1, -1)


def _layer(config: RPGConfig, width: int, out: int) -> nn.Module:
    """One recurrent layer; of "none" a token-wise MLP of the same expansion: no information passes between tokens.

    (Paper v1, table 4a, takes the state transition alone out of the layer.)
    """
    hidden = config.expand * width
    if config.recurrence == "mamba2":
        return Mamba2(width, config.d_state, config.d_conv, config.expand, config.headdim, out_width=out)
    if config.recurrence == "lstm":
        return LSTMLayer(width, hidden, out)
    if config.recurrence == "transformer":
        return CausalAttentionLayer(width, hidden, out, config.headdim)
    return nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, out))


class TaskToAll(nn.Module):
    """Ours: the task reaches every token, through a learned gate of that token. (N, bits) -> (N, L, H).

    What a bit does to a weight depends on the weight; with one embedding added to all tokens alike the layers after it
    would have to find out. The embedding is normalised, so that the task counts as much as the position from the start.
    """

    def __init__(self, bits: int, width: int, length: int, out: int):
        super().__init__()
        self.bits = bits
        self.embed = nn.Sequential(
            nn.Linear(bits, width), nn.SiLU(), nn.Linear(width, out), nn.LayerNorm(out, elementwise_affine=False)
        )
        self.gate = nn.Parameter(torch.randn(length, out))

    def forward(self, task: Tensor) -> Tensor:
        return self.embed(2 * task - 1)[:, None] * self.gate


class TaskToHead(nn.Module):
    """The first of the released code's two ways: added to the last eight tokens only. (N, bits) -> (N, L, H)."""

    def __init__(self, bits: int, width: int, length: int, out: int):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(bits, width), nn.SiLU(), nn.Linear(width, out))
        gate = torch.zeros(length, 1)
        gate[-HEAD_TOKENS:] = 1
        self.register_buffer("gate", gate)

    def forward(self, task: Tensor) -> Tensor:
        return self.embed(task)[:, None] * self.gate


class TaskToSequence(nn.Module):
    """The second of the released code's two ways: spread over all tokens by convolutions. (N, bits) -> (N, L, H)."""

    def __init__(self, bits: int, width: int, length: int, out: int):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(bits, width), nn.LayerNorm(width), nn.Linear(width, out))
        self.spread = nn.Sequential(
            nn.Conv1d(1, length, 9, padding=4), nn.GroupNorm(1, length), nn.Conv1d(length, length, 9, padding=4)
        )

    def forward(self, task: Tensor) -> Tensor:
        return self.spread(self.embed(task)[:, None])


class LSTMLayer(nn.Module):
    """One LSTM layer and a projection (paper v1, table 5; v2, table 6)."""

    def __init__(self, width: int, hidden: int, out: int):
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, batch_first=True)
        self.project = nn.Linear(hidden, out)

    def forward(self, x: Tensor, carried: Carried | None = None) -> Tensor:
        x, state = self.lstm(x, carried.state if carried is not None else None)
        if carried is not None:
            carried.state = state
        return self.project(x)


class CausalAttentionLayer(nn.Module):
    """One pre-norm Transformer layer with causal attention and a projection.

    Source: RPG paper, v1, table 5 and section B.8; v2, table 6 and section C.9.
    """

    def __init__(self, width: int, hidden: int, out: int, headdim: int):
        super().__init__()
        self.heads = max(1, width // headdim)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.attended = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.project = nn.Linear(width, out)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3 * self.heads, -1)).transpose(1, 2).chunk(3, 1)
        x = x + self.attended(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return self.project(x + self.mlp(self.norm2(x)))
