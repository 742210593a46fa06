"""The one exception that says "your input is at fault, and this is the remedy", and the checks that raise it."""

import dataclasses
import math
import sys
import warnings
from numbers import Integral, Real

LARGEST = 2**63 - 1
"""Whole numbers may be as large: random generators, tensors and files hold no larger one."""


class InputError(ValueError):
    """A bad input, told in one line that names the thing and the remedy.

    Command lines print the message alone and exit with 2; in a notebook it ends the traceback.
    """

    def __init__(self, message: str):
        # What a message names, such as a path, may have line breaks of its own.
        super().__init__(" ".join(str(message).splitlines()))


def warn(message: str) -> None:
    """Warn at the line of the caller's own that led here, past this library, PyTorch and decorators."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in ("rpglib", "torch", "contextlib"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def shown(value) -> str:
    """Any value as a message shows it: in one line, and short."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # of a tensor without values, of a number with more digits than Python prints
        text = f"one of type {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."


def check_types(config) -> None:
    """Raise `InputError` where a field of a configuration (a dataclass) is not of its annotated type.

    Whole numbers serve where any number does, and NumPy's where Python's do, which they become; True and False are no
    numbers, and a float is no count, even if whole.
    """
    for field in dataclasses.fields(config):
        value, kind = getattr(config, field.name), str(getattr(field.type, "__name__", field.type))
        if kind == "int":
            fits = _whole(value)
        elif kind == "float":
            fits = isinstance(value, Real) and not isinstance(value, bool) and _finite(value)
        elif kind in ("bool", "str"):
            fits = isinstance(value, {"bool": bool, "str": str}[kind])
        else:
            continue
        if not fits:
            words = {"int": "a whole number", "float": "a finite number", "bool": "True or False", "str": "text"}
            raise InputError(f"{type(config).__name__}.{field.name} takes {words[kind]}, not {shown(value)}")
        own = {"int": int, "float": float, "bool": bool, "str": str}[kind]
        # NumPy's float64 and text are subclasses of Python's, and what a training saves must hold none of them.
        if type(value) not in ((int, float) if kind == "float" else (own,)):
            object.__setattr__(config, field.name, own(value))


def whole_number(name: str, value, least: int = -LARGEST, most: int = LARGEST) -> int:
    """Return `value` as an int where it is a whole number from `least` to `most`; raise `InputError` otherwise."""
    if not _whole(value) or not least <= value <= most:
        limit = "" if least == -LARGEST else f" from {least} {'on' if most == LARGEST else f'to {most:,}'}"
        raise InputError(f"{name} takes a whole number{limit}, not {shown(value)}")
    return int(value)


def choice(kind: str, value: str, known) -> str:
    """Return `value` when it is one of `known`; raise `InputError` that lists the known ones otherwise."""
    if not isinstance(value, str) or value not in known:
        raise InputError(f"unknown {kind} {shown(value)}; known: {', '.join(map(str, known))}")
    return value


def _whole(value) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and abs(int(value)) <= LARGEST


def _finite(value: Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number larger than any float
        return False
