"""The one exception that says "your input is at fault, and this is the remedy"."""


class InputError(ValueError):
    """A bad input, told in one line that names the thing and the remedy.

    Command lines print the message alone and exit with 2; in a notebook it ends the traceback.
    """


def choice(kind: str, value: str, known) -> str:
    """Return `value` when it is one of `known`; raise `InputError` that lists the known ones otherwise."""
    if value not in known:
        raise InputError(f"unknown {kind} {value!r}; known: {', '.join(map(str, known))}")
    return value
