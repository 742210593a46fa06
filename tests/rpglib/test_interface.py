"""What a user can call, with which defaults: fixtures/interface.txt lists it, and changes only where that is meant.

`python tests/rpglib/test_interface.py` writes the list anew.
"""

import dataclasses
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import rpglib

KEPT = Path(__file__).parents[1] / "fixtures" / "interface.txt"


def interface() -> list[str]:
    """A line for each public function, method, field and constant of the library."""
    lines = []
    for found in pkgutil.walk_packages(rpglib.__path__, "rpglib."):
        module = importlib.import_module(found.name)
        for name, value in sorted(vars(module).items()):
            if name.startswith("_") or name == "TYPE_CHECKING":
                continue
            place = f"{found.name}.{name}"
            if (
                name.isupper()
                and isinstance(value, int | float | str | tuple | list | dict)
                and len(repr(value)) < 3000
            ):
                lines.append(f"{place} = {_plain(value)}")
            elif getattr(value, "__module__", None) == found.name and callable(value):
                lines += [f"{place}{_signature(value)}", *_members(place, value)]
    return lines


def _members(place: str, value) -> list[str]:
    if not inspect.isclass(value):
        return []
    fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
    given = [f"{place}.{x.name} = {_plain(x.default)}" for x in fields if x.default is not dataclasses.MISSING]
    methods = (getattr(x, "__func__", x) for name, x in sorted(vars(value).items()) if not name.startswith("_"))
    return given + [f"{place}.{x.__name__}{_signature(x)}" for x in methods if inspect.isfunction(x)]


def _signature(value) -> str:
    """Names and defaults; annotations are for readers."""
    if getattr(value, "_is_protocol", False):  # never called
        return ""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):  # such as a type alias
        return ""
    given = [p.replace(annotation=p.empty) for p in found.parameters.values()]
    return _plain(found.replace(parameters=given, return_annotation=found.empty))


def _plain(value) -> str:
    """As text, without the places in memory that functions have."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def test_the_interface_is_as_it_was():
    kept, found = KEPT.read_text(encoding="utf-8").splitlines(), interface()
    gone, new = (sorted(set(a) - set(b)) for a, b in ((kept, found), (found, kept)))
    assert not gone and not new, "users would notice; if this is meant, run python tests/rpglib/test_interface.py"


if __name__ == "__main__":
    KEPT.write_text("\n".join(interface()) + "\n", encoding="utf-8")
