"""The one exception that says "your input is at fault, and this is the remedy"."""

import dataclasses
import math


class InputError(ValueError):
    """A bad input, told in one line that names the thing and the remedy.

    Command lines print the message alone and exit with 2; in a notebook it ends the traceback.
    """


def check_types(config) -> None:
    """Raise `InputError` where a field of a configuration (a dataclass) is not of its annotated type.

    Whole numbers serve where any number does; True and False are no numbers, and a float is no count, even if whole.
    """
    for field in dataclasses.fields(config):
        value, kind = getattr(config, field.name), str(getattr(field.type, "__name__", field.type))
        if kind in ("int", "float"):
            known = isinstance(value, int) if kind == "int" else isinstance(value, int | float)
            fits = known and not isinstance(value, bool) and math.isfinite(value)
        elif kind in ("bool", "str"):
            fits = isinstance(value, {"bool": bool, "str": str}[kind])
        else:
            continue
        if not fits:
            words = {"int": "a whole number", "float": "a finite number", "bool": "True or False", "str": "text"}
            raise InputError(f"{type(config).__name__}.{field.name} takes {words[kind]}, not {value!r}")


def choice(kind: str, value: str, known) -> str:
    """Return `value` when it is one of `known`; raise `InputError` that lists the known ones otherwise."""
    if not isinstance(value, str) or value not in known:
        raise InputError(f"unknown {kind} {str(value)[:60]!r}; known: {', '.join(map(str, known))}")
    return value
