"""Tokenizers of networks whose weights do not matter: what is measured depends on their shapes alone."""

import torch

from rpglib.tokenizer import ParameterTokenizer
from rpglib.tokenizer.layout import Layer
from rpglib.zoo.architectures import Architecture


def tokenizer_of(architecture: Architecture, token_size: int) -> ParameterTokenizer:
    """Of the shapes of an architecture, whose weights are not drawn."""
    with torch.device("meta"):
        shapes = architecture.build().state_dict()
    state = {name: torch.ones(x.shape, dtype=x.dtype) for name, x in shapes.items()}
    return ParameterTokenizer.fit([state, {name: x + 1 for name, x in state.items()}], token_size)


def one_layer(size: int, token_size: int) -> ParameterTokenizer:
    """Of a network that is one layer of `size` values."""
    layer = Layer("weight", (size,), torch.float32, log=False)
    return ParameterTokenizer([layer], [torch.zeros(1)], [torch.ones(1)], [0.0], {}, {}, [layer.name], token_size)
