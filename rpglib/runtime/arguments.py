"""What a public function takes, said beside its name and checked before it computes."""

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from os import PathLike

import numpy as np
import torch
from torch import Tensor, nn

from rpglib.errors import LARGEST, InputError, shown, whole_number
from rpglib.runtime.state_dicts import check_state_dict

Kind = Callable[[str, object, dict[str, int]], object]
"""(an argument's name, its value, the sizes of the tensors before it by letter) -> the value; raises `InputError`."""

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
WHOLES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
VALUES = {
    "number": ("numbers", (*FLOATS, *WHOLES)),
    "finite": ("finite numbers", (*FLOATS, *WHOLES)),
    "float": ("floating-point numbers", FLOATS),
    "real": ("finite floating-point numbers", FLOATS),
    "whole": ("whole numbers", WHOLES),
    "bool": ("truth values", (torch.bool,)),
    "bits": ("bits, 0 or 1", (*FLOATS, *WHOLES, torch.bool)),
    "any": ("numbers or truth values", (*FLOATS, *WHOLES, torch.bool)),
}
"""What a tensor may hold: in words, and the types of it."""


def takes(**kinds: Kind) -> Callable[[Callable], Callable]:
    """Check these arguments, in this order, whenever the function is called; what is None by default may be None."""

    def decorate(function: Callable) -> Callable:
        parameters = inspect.signature(function).parameters
        optional = {name for name in kinds if parameters[name].default is None}
        # Worked out once: samplers call such functions at every step.
        places = {name: k for k, (name, p) in enumerate(parameters.items()) if p.kind is not p.KEYWORD_ONLY}

        @functools.wraps(function)
        def checked(*args, **named):
            args, sizes = list(args), {}
            for name, kind in kinds.items():
                given, key = (args, places[name]) if places.get(name, len(args)) < len(args) else (named, name)
                if (given is args or name in named) and not (given[key] is None and name in optional):
                    given[key] = kind(name, given[key], sizes)
            return function(*args, **named)

        return checked

    return decorate


def tensor(shape: str = "...", values: str = "number", detached: bool = True) -> Kind:
    """A dense tensor that holds such `VALUES`, without its gradient's history unless `detached` is false.

    shape: a letter per axis, such as "N P"; equal letters are equal sizes, in all arguments of a call, a number is that
    size, "N+" at least one, and "..." any further axes, equal, too, where some are named before.
    """
    words, types = VALUES[values]
    axes, rest = shape.removesuffix("...").split(), shape.endswith("...")

    def fits(x: Tensor, sizes: dict[str, int]) -> bool:
        if x.ndim < len(axes) or (x.ndim > len(axes) and not rest):
            return False
        for axis, size in zip(axes, x.shape, strict=False):
            letter = axis.removesuffix("+")
            wanted = int(letter) if letter.isdigit() else sizes.setdefault(letter, size)
            if size != wanted or (axis.endswith("+") and not size):
                return False
        return not (axes and rest) or sizes.setdefault("...", x.shape[len(axes) :]) == x.shape[len(axes) :]

    def kind(name: str, x, sizes: dict[str, int]):
        if not isinstance(x, Tensor):
            raise InputError(f"{name} takes a tensor{_axes(shape)} of {words}, not {shown(x)}")
        foreign = x.is_meta or x.is_nested or x.layout != torch.strided or x.dtype not in types
        before = dict(sizes)
        if foreign or not fits(x, sizes):
            own = f"({', '.join(map(str, x.shape))}) {str(x.dtype).removeprefix('torch.')}" if not x.is_nested else ""
            place = f" on {x.device}" if x.is_meta else "" if x.layout == torch.strided else f", {x.layout}"
            told = ", ".join(f"{letter} = {size}" for letter, size in before.items() if letter in shape)
            raise InputError(f"{name} takes a tensor{_axes(shape, told)} of {words}, not {own}{place}")
        if values in ("finite", "real") and not x.isfinite().all():
            raise InputError(f"{name} takes finite numbers; these hold NaN or infinity")
        if values == "bits" and not ((x == 0) | (x == 1)).all():
            raise InputError(f"{name} takes bits, 0 or 1, not {shown(x.tolist())}")
        return x.detach() if detached else x

    return kind


def whole(least: int = -LARGEST, most: int = LARGEST) -> Kind:
    return lambda name, value, sizes: whole_number(name, value, least, most)


def number(least: float = -1.7e308, most: float = 1.7e308) -> Kind:
    """A finite number from `least` to `most`."""

    def kind(name: str, value, sizes):
        try:
            as_float = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
        except OverflowError:
            as_float = math.inf
        if not least <= as_float <= most:
            limits = "" if (least, most) == (-1.7e308, 1.7e308) else f" from {least:g}"
            limits += f" to {most:g}" if limits and most < 1.7e308 else " on" if limits else ""
            raise InputError(f"{name} takes a finite number{limits}, not {shown(value)}")
        return value if isinstance(value, int) and abs(value) <= LARGEST else as_float

    return kind


def wholes(least: int = -LARGEST, most: int = LARGEST) -> Kind:
    """A list of whole numbers, which it becomes; a tensor or array will do."""

    def kind(name: str, value, sizes) -> list[int]:
        found = dense(name, value).tolist() if isinstance(value, Tensor | np.ndarray) else value
        return [whole_number(f"{name}, for each,", x, least, most) for x in each(name, found, "whole numbers")]

    return kind


def each(name: str, value, what: str) -> Iterator:
    """The items of a list, or of what else can be gone through and is no single thing; `what` they are."""
    try:
        # A zoo, too, is gone through by index, a tensor by row.
        if isinstance(value, str | bytes | Mapping | nn.Module | type):
            raise TypeError
        return iter(value)
    except (TypeError, RuntimeError):
        raise InputError(f"{name} takes a list of {what}, not {shown(value)}") from None


def dense(name: str, value):
    """The value, unless it is a tensor that holds no values of its own, or other ones than real numbers."""
    return tensor(values="any", detached=False)(name, value, {}) if isinstance(value, Tensor) else value


def of(*types: type) -> Kind:
    """An instance of one of these types."""

    def kind(name: str, value, sizes):
        if not isinstance(value, types):
            raise InputError(f"{name} takes {' or '.join(_name(x) for x in types)}, not {shown(value)}")
        return value

    return kind


flag, module = of(bool), of(nn.Module)


def function(name: str, value, sizes):
    if not callable(value):
        raise InputError(f"{name} takes a function, not {shown(value)}")
    return value


def path(name: str, value, sizes):
    if not isinstance(value, str | PathLike) or "\0" in str(value) or value == "":
        raise InputError(f"{name} takes a path, as text or a Path, not {shown(value)}")
    return value


def network(name: str, value, sizes):
    """A state dict."""
    check_state_dict(value, name)
    return value


def _axes(shape: str, known: str = "") -> str:
    axes = ", ".join(axis.removesuffix("+") for axis in shape.split())
    return "" if shape == "..." else f" ({axes}{'; ' if known else ''}{known})"


def _name(kind: type) -> str:
    name = kind.__name__
    return {"bool": "True or False", "str": "text"}.get(name, f"{'an' if name[0] in 'AEIO' else 'a'} {name}")
