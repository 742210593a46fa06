"""The 1-D convolutional diffusion model that writes a token, conditioned on its prototype.

Source: RPG paper, v1, section A.3 and table 12; v2, section B.2 and table 16.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from rpglib.model.recompute import call

FREQUENCIES = 128


class TimeEmbedding(nn.Module):
    """Diffusion step -> D values: cosines and sines of t x 10000^(-i/128), Linear, SiLU, Linear."""

    def __init__(self, size: int):
        super().__init__()
        exponent = torch.arange(FREQUENCIES) / FREQUENCIES
        self.register_buffer("freqs", torch.exp(-math.log(10000) * exponent), persistent=False)
        self.mlp = nn.Sequential(nn.Linear(2 * FREQUENCIES, size), nn.SiLU(), nn.Linear(size, size))

    def forward(self, t: Tensor) -> Tensor:
        angle = t[:, None].float() * self.freqs
        return self.mlp(torch.cat((angle.cos(), angle.sin()), -1))


class Denoiser(nn.Module):
    """Noisy token (B, D), diffusion step (B,), prototype (B, H) -> prediction (B, D), B tokens.

    `channels` runs from 1 over the encoder's and the decoder's widths back to 1. A block computes
    conv((x + c) * t): the projected prototype c and the time embedding t act on every channel alike. The outputs of the
    encoder blocks but the last two are added, in reverse order, to the inputs of the decoder blocks.
    """

    def __init__(self, token_size: int, prototype_width: int, channels: tuple[int, ...], kernel_size: int = 7):
        super().__init__()
        self.time_embedder = TimeEmbedding(token_size)
        self.condi_embedder = nn.Linear(prototype_width, token_size)
        pairs = list(pairwise(channels))
        split = len(pairs) // 2 + 1

        def block(i: int) -> nn.Sequential:
            conv = nn.Conv1d(*pairs[i], kernel_size, padding=kernel_size // 2)
            last = i == len(pairs) - 1
            return (
                nn.Sequential(conv)
                if last
                else nn.Sequential(conv, nn.Sequential(nn.BatchNorm1d(pairs[i][1]), nn.ELU()))
            )

        self.encoder_list = nn.ModuleList(block(i) for i in range(split))
        self.decoder_list = nn.ModuleList(block(i) for i in range(split, len(pairs)))

    @property
    def last(self) -> nn.Conv1d:
        """The layer whose output is the denoiser's."""
        return [*self.encoder_list, *self.decoder_list][-1][0]

    @property
    def at_zero(self) -> bool:
        """Whether it puts out zero whatever it is given, as beside a prototype's skip before training."""
        return not any(bool(p.any()) for p in self.last.parameters())

    def forward(self, noisy: Tensor, t: Tensor, prototype: Tensor, recompute: bool = False) -> Tensor:
        return self.denoise(noisy, self.time_embedder(t), self.condi_embedder(prototype), recompute)

    def denoise(self, noisy: Tensor, time: Tensor, condition: Tensor, recompute: bool = False) -> Tensor:
        """`forward` with both embeddings (B, D) given: samplers compute each of them once, not at every step.

        recompute: keep no more than each block's input for the way back.
        """
        time, condition = time[:, None], condition[:, None]
        x, outputs = noisy[:, None], []
        for block in self.encoder_list:
            x = call(block, (x + condition) * time, recompute=recompute)
            outputs.append(x)
        for i, block in enumerate(self.decoder_list):
            x = call(block, (x + outputs[-3 - i] + condition) * time, recompute=recompute)
        return x[:, 0]
