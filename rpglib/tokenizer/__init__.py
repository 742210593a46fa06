"""State dict <-> tokens: normalisation by layer, slicing into tokens of one size, padding mask, positions."""

from rpglib.tokenizer.layout import SLICINGS
from rpglib.tokenizer.statistics import NORMALISATIONS
from rpglib.tokenizer.tokenizer import ParameterTokenizer

__all__ = ["NORMALISATIONS", "SLICINGS", "ParameterTokenizer"]
