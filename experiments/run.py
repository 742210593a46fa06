"""Run one notebook with checked parameters: `python -m experiments.run NOTEBOOK [-p NAME VALUE]... [--output PATH]`.

papermill alone only warns about a parameter that the notebook does not have; here every name and value is checked
before anything starts. `--in-place` executes a notebook with its own defaults so that the result can be committed.
"""

import argparse
import ast
import math
import os
import re
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path

from experiments.records import DEFAULT_PROFILE, PROFILES, home
from rpglib.errors import InputError, choice
from rpglib.runtime.files import atomic


@dataclass(frozen=True)
class Parameter:
    """One assignment of a notebook's parameters cell: `name: type = default`."""

    name: str
    type: str
    default: str | int | float | bool
    annotated: bool

    def parse(self, text: str) -> str | int | float | bool:
        """Return the value that `text` from a command line stands for; `InputError` where it is none of this type."""
        try:
            value = PARSERS[self.type](text)
        except ValueError:
            raise InputError(f"parameter {self.name} takes {KINDS[self.type]}, not {text!r}") from None
        return choice("profile", value, PROFILES) if self.name == "profile" else value


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(text)
    return value


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


PARSERS = {"str": str, "int": int, "float": _finite, "bool": _flag}
KINDS = {"str": "text", "int": "a whole number", "float": "a finite number", "bool": "true or false"}


def read(path: str | Path):
    """Read a notebook (format 4); an absent or broken one raises `InputError`."""
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise InputError(f"notebook {path} does not exist") from None
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a notebook: {str(error).splitlines()[0]}") from None


def parameters(notebook, name: str = "the notebook") -> dict[str, Parameter]:
    """Return the parameters of a notebook by name, in order.

    Raises `InputError` unless exactly one cell is tagged `parameters` and it holds nothing but assignments of
    literals (text, numbers, true / false): a value derived there would go stale when its source is overridden.
    """
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise InputError(f"{name} has {len(cells)} cells tagged 'parameters'; tag exactly one")
    found = [_parameter(statement, name) for statement in ast.parse(cells[0].source).body]
    return {parameter.name: parameter for parameter in found}


def _parameter(statement: ast.stmt, notebook: str) -> Parameter:
    line = ast.unparse(statement).splitlines()[0]
    wrong = InputError(
        f"{notebook}: {line!r} in the parameters cell is not 'name: type = literal' with type {', '.join(PARSERS)}"
    )
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id=annotation), value=ast.expr() as value):
            pass
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            annotation = None
        case _:
            raise wrong
    try:
        default = ast.literal_eval(value)
    except ValueError:
        raise wrong from None
    kind = type(default).__name__
    if annotation == "float" and kind == "int":
        kind, default = "float", float(default)
    if kind not in PARSERS or annotation not in (None, kind):
        raise wrong
    return Parameter(name, kind, default, annotation is not None)


def run(notebook: str | Path, given: dict[str, str], output: str | Path | None = None) -> Path:
    """Execute `notebook` with the `given` parameters and return the path of the executed copy.

    The copy is whole or absent, by default at data/runs/<profile>/<name>. Raises `InputError` for a parameter that the
    notebook does not have or a value of another type, `NotebookFailed` where a cell fails; what ran until then is kept
    as <output>.failed.ipynb.
    """
    notebook = Path(notebook)
    known = parameters(read(notebook), notebook.name)
    values = {
        choice(f"parameter of {notebook.name}", name, known): known[name].parse(text) for name, text in given.items()
    }
    profile = values.get("profile", known["profile"].default if "profile" in known else DEFAULT_PROFILE)
    output = Path(output) if output else home() / "data" / "runs" / profile / notebook.name
    _execute(notebook, values, output)
    return output


def run_in_place(notebook: str | Path) -> Path:
    """Execute `notebook` with its own defaults and replace it by the result, fit to be committed.

    A failing notebook raises `NotebookFailed` and leaves the file as it was.
    """
    notebook = Path(notebook)
    parameters(read(notebook), notebook.name)
    _execute(notebook, {}, notebook)
    return notebook


class NotebookFailed(RuntimeError):
    """A cell of the notebook raised; the message is its last error line."""


def _execute(notebook: Path, values: dict, output: Path) -> None:
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError

    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / notebook.name
        try:
            executed = papermill.execute_notebook(
                notebook,
                draft,
                parameters=values,
                kernel_name="python3",
                language="python",
                cwd=notebook.resolve().parent,
                progress_bar=sys.stderr.isatty(),
            )
        except (papermill.PapermillExecutionError, DeadKernelError) as error:
            if output != notebook and draft.exists():
                with atomic(output.with_suffix(".failed.ipynb")) as part:
                    part.write_bytes(draft.read_bytes())
            raise NotebookFailed(f"{notebook.name}: {_one_line(error)}") from error
    with atomic(output) as part:
        nbformat.write(normalise(executed, notebook.resolve().parent), part)


def _one_line(error: Exception) -> str:
    """Return a failed cell's number and error, without its traceback."""
    text = str(error)
    if hasattr(error, "evalue"):
        text = f"cell [{error.exec_count}]: {error.ename}: {error.evalue}"
    return textwrap.shorten(text, 500)


def normalise(notebook, folder: Path):
    """Return an executed notebook without what differs from run to run: times, machine paths, papermill's metadata.

    `folder` is where it ran; paths of the project around it become relative, and those of the user's home `~/...`.
    Cell ids, execution counts, tags and outputs stay; of a widget its text stays, as its kernel is gone.
    """
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    root = next((above for above in (folder, *folder.parents) if (above / "pyproject.toml").exists()), folder)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.outputs = [_without_paths(output, root) for output in cell.outputs]
            for output in cell.outputs:
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    return notebook


def _without_paths(value, root: Path):
    """Replace the project's and the home folder's path in every text of an output, leaving pictures alone."""
    if isinstance(value, dict):
        kept = {key: item if key.startswith("image/") else _without_paths(item, root) for key, item in value.items()}
        return type(value)(kept)
    if isinstance(value, list):
        return [_without_paths(item, root) for item in value]
    if not isinstance(value, str):
        return value
    value = re.sub(re.escape(str(root)) + r"(/|(?![\w.-]))", lambda match: "" if match[1] else ".", value)
    return value.replace(f"{Path.home()}/", "~/")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, 1 where a cell failed, or 2 where the input is at fault."""
    parser = argparse.ArgumentParser(prog="python -m experiments.run", description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--output", type=Path, help="default: data/runs/<profile>/<name of the notebook>")
    target.add_argument("--in-place", action="store_true", help="run with the defaults and replace the notebook")
    options = parser.parse_args(arguments)
    # Progress bars would be kept as text that differs from run to run.
    os.environ.setdefault("TQDM_DISABLE", "1")
    # jsonschema, which papermill imports, would compile a grammar of web addresses for a check that no notebook needs.
    sys.modules.setdefault("rfc3987_syntax", None)
    try:
        if options.in_place and options.parameter:
            raise InputError("--in-place takes no -p: committed outputs are those of the notebook's own defaults")
        if options.in_place:
            output = run_in_place(options.notebook)
        else:
            output = run(options.notebook, dict(options.parameter), options.output)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NotebookFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
