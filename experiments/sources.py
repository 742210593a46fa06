"""Of which code an experiment's numbers are: what a module imports, found in its source and not listed by hand."""

import ast
from functools import cache
from pathlib import Path

from rpglib.runtime.sources import sources_digest

ROOT = Path(__file__).parents[1]
FACTS = ("profiles.py", "settings.py", "records.py")
"""Recipes and sizes are facts of the jobs that use them, one by one, and where a record lies is in no number."""


def code_of(module: str | Path) -> str:
    """A fingerprint of a module's source (`__file__`) and of all of `experiments` that it imports, directly or not.

    To be taken when it is imported: what is edited later is another's.
    """
    return sources_digest(*files_of(module))


def files_of(module: str | Path) -> list[Path]:
    """The files that `code_of` is of. The library is not among them: its code is told apart for all jobs."""
    todo, found = [Path(module)], set()
    while todo:
        path = todo.pop()
        if path not in found and path.name not in FACTS and path.is_file():
            found.add(path)
            todo += [(ROOT / name.replace(".", "/")).with_suffix(".py") for name in _imported(path)]
    return sorted(found)


@cache
def _imported(path: Path) -> list[str]:
    """The names under `experiments` that a file imports, of modules or of what is in them."""
    names = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
        elif isinstance(node, ast.Import):
            names += [name.name for name in node.names]
    return [name for name in names if name.startswith("experiments.")]
