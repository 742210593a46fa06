"""Run one notebook with checked parameters: `python -m experiments.run NOTEBOOK [-p NAME VALUE]... [--output PATH]`.

papermill alone only warns about a parameter that the notebook does not have; here every name and value is checked
before anything starts. `--in-place` executes a notebook with its own defaults so that the result can be committed.
"""

import argparse
import ast
import json
import logging
import math
import os
import re
import shutil
import signal
import sys
import tempfile
import textwrap
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from experiments.notebook import check_parameter
from experiments.pictures import compact
from experiments.records import DEFAULT_PROFILE, home
from rpglib.errors import InputError, choice, shown
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
            raise InputError(f"parameter {self.name} takes {KINDS[self.type]}, not {shown(text)}") from None
        return check_parameter(self.name, value)


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
    """Read a notebook (format 4); an absent or broken one, or what is no file, raises `InputError`."""
    import nbformat

    path = Path(path)
    try:
        if not path.exists():
            raise InputError(f"notebook {_named(path)} does not exist")
        if not path.is_file():
            raise InputError(f"{_named(path)} is no file; name a notebook")
        text = path.read_text(encoding="utf-8")
        found = json.loads(text)
        if not isinstance(found, dict) or found.get("nbformat") != 4:
            raise InputError(f"{path} is not a notebook of format 4; save it again in JupyterLab")
        with warnings.catch_warnings():
            # About what old notebooks lack, which does no harm.
            warnings.simplefilter("ignore")
            nbformat.validate(found)
            return nbformat.reads(text, as_version=4)
    except InputError:
        raise
    except Exception as error:  # nbformat tells of what it cannot read in many unrelated types
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
        raise InputError(f"{_named(path)} is not a notebook: {shown(reason)}") from None


def _named(path: Path) -> str:
    """A path as a message shows it, whatever characters are in it."""
    return str(path) if str(path).isprintable() and len(str(path)) <= 400 else shown(str(path))


def parameters(notebook, name: str = "the notebook") -> dict[str, Parameter]:
    """Return the parameters of a notebook by name, in order.

    Raises `InputError` unless exactly one cell is tagged `parameters` and it holds nothing but assignments of
    literals (text, numbers, true / false): a value derived there would go stale when its source is overridden.
    """
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1 or cells[0].cell_type != "code":
        kinds = "cells" if len(cells) != 1 else f"{cells[0].cell_type} cell"
        raise InputError(f"{name} has {len(cells)} {kinds} tagged 'parameters'; tag exactly one cell of code")
    try:
        statements = ast.parse(cells[0].source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # how Python refuses text that is no code
        line = shown((getattr(error, "text", None) or cells[0].source).strip())
        raise InputError(
            f"{name}: {line} in the parameters cell is no Python; keep magics and commands in a cell of their own"
        ) from None
    found: dict[str, Parameter] = {}
    for statement in statements:
        parameter = _parameter(statement, name)
        if parameter.name in found:
            raise InputError(f"{name}: the parameters cell sets {parameter.name} twice; keep one")
        found[parameter.name] = parameter
    return found


def _parameter(statement: ast.stmt, notebook: str) -> Parameter:
    try:
        line = ast.unparse(statement)
    except RecursionError:
        line = "an expression"
    wrong = InputError(
        f"{notebook}: {shown(line)} in the parameters cell is not 'name: type = literal' with type {', '.join(PARSERS)}"
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
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise wrong from None
    kind = type(default).__name__
    if annotation == "float" and kind == "int":
        kind, default = "float", float(default)
    if kind not in PARSERS or annotation not in (None, kind) or (kind == "float" and not math.isfinite(default)):
        raise wrong
    return Parameter(name, kind, default, annotation is not None)


def run(notebook: str | Path, given: dict[str, str], output: str | Path | None = None) -> Path:
    """Execute `notebook` with the `given` parameters and return the path of the executed copy.

    The copy is whole or absent, by default at data/runs/<profile>/<name>. Raises `InputError` for a parameter that the
    notebook does not have, a wrong value, and an output that cannot be written, before the run; `NotebookFailed` where
    a cell fails and `Interrupted` where the run is ended: what ran until then is kept as <output>.failed.ipynb.
    """
    notebook = Path(notebook)
    source, values, profile = _prepared(notebook, given)
    output = _result(profile, notebook) if output is None else Path(output)
    _check_output(output, notebook)
    _execute(source, notebook, values, output, output.with_suffix(FAILED))
    return output


def run_in_place(notebook: str | Path) -> Path:
    """Execute `notebook` with its own defaults and replace it by the result, fit to be committed.

    Where it fails or is interrupted, as in `run`, the file stays as it was; what ran is kept where `run` keeps it.
    """
    notebook = Path(notebook)
    source, _, profile = _prepared(notebook, {})
    try:
        kept = _result(profile, notebook)
    except InputError:  # outside of the project
        kept = notebook
    _execute(source, notebook, {}, notebook, kept.with_suffix(FAILED))
    return notebook


FAILED = ".failed.ipynb"


def _result(profile: str, notebook: Path) -> Path:
    """Where a result is kept unless another place is named; `InputError` outside of the project."""
    return home() / "data" / "runs" / profile / notebook.name


def _prepared(notebook: Path, given: dict[str, str]) -> tuple:
    """The notebook, the values that are given, of their types, and the profile that it runs in."""
    source = read(notebook)
    known = parameters(source, notebook.name)
    for name, parameter in known.items():
        check_parameter(name, parameter.default)
    values = {
        choice(f"parameter of {notebook.name}", name, known): known[name].parse(text) for name, text in given.items()
    }
    return source, values, values.get("profile", known["profile"].default if "profile" in known else DEFAULT_PROFILE)


class NotebookFailed(RuntimeError):
    """A cell of the notebook raised; the message is its last error line."""


class Interrupted(KeyboardInterrupt):
    """The run was ended from outside; `number` is that of the signal."""

    def __init__(self, message: str, number: int = signal.SIGINT):
        super().__init__(message)
        self.number = number


def _execute(source, notebook: Path, values: dict, output: Path, failed: Path) -> None:
    """Run the notebook `source`, that of the file `notebook`, and write `output`, or what ran into `failed`."""
    import nbformat
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError

    for path in (output, failed):
        _check_output(path)
    # What they tell of a kernel that died, and of a cell whose result nobody fetched, is told here in one line.
    for name in ("papermill", "asyncio"):
        logging.getLogger(name).disabled = True
    with _scratch() as folder:
        # papermill takes paths for patterns of its own; those of this folder hold none.
        before, draft, log = folder / "notebook.ipynb", folder / "draft.ipynb", folder / "kernel.log"
        nbformat.write(source, before)

        def keep() -> str:
            if not draft.exists():
                return "nothing ran"
            with atomic(failed) as part:
                shutil.copyfile(draft, part)
            return f"what ran until then is in {failed}"

        try:
            executed = papermill.execute_notebook(
                before,
                draft,
                parameters=values,
                kernel_name="python3",
                language="python",
                cwd=notebook.resolve().parent,
                progress_bar=sys.stderr.isatty(),
                kernel_manager_class=_kernels(log),
            )
        except KeyboardInterrupt as error:
            number = getattr(error, "number", signal.SIGINT)
            raise Interrupted(f"{notebook.name}: interrupted; {keep()}", number) from None
        # RuntimeError: a kernel that does not start.
        except (papermill.PapermillException, DeadKernelError, NoSuchKernel, RuntimeError, OSError) as error:
            keep()
            said = log.read_text(errors="replace").splitlines() if isinstance(error, DeadKernelError) else []
            last = [line for line in said if not line.startswith("[IPKernelApp]")][-1:]
            raise NotebookFailed(f"{notebook.name}: {_one_line(error, *last)}") from error
        result = normalise(executed, notebook.resolve().parent)
        try:
            with atomic(output) as part:
                nbformat.write(result, part)
        except InputError as error:
            rescued = Path(tempfile.mkdtemp(prefix="rpglib-"), output.name)
            nbformat.write(result, rescued)
            raise InputError(f"{error}; the result is in {rescued}") from None


def _check_output(path: Path, notebook: Path | None = None) -> None:
    """Raise `InputError` where nothing can be written at `path`: better told before a run than after it.

    The notebook that runs, where it is given, is no place for its result.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"cannot write {path}: it is there and no file; choose another name")
        if notebook is not None and path.exists() and path.samefile(notebook):
            raise InputError(f"{path} is the notebook itself; name another output, or run it with --in-place")
        if path.is_symlink():
            raise InputError(f"cannot write {path}: it is a link; name the file itself")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.stem}.part-", suffix=path.suffix):
            pass
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot write {shown(str(path))}: {reason}; choose another folder or name") from None


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder that is gone afterwards; `InputError` where there can be none."""
    try:
        folder = tempfile.mkdtemp(prefix="rpglib-")
    except OSError as error:
        raise InputError(f"no temporary folder ({error.strerror or error}); name one in TMPDIR") from None
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Make an interruption of the signals by which schedulers and closed terminals end a program."""

    def stop(number, _frame):
        raise Interrupted(f"ended by {signal.Signals(number).name}", number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            # Whoever set a handler, or wants it ignored as `nohup` does, means it.
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _kernels(log: Path) -> type:
    """What starts kernels whose own messages go into a file: of an interruption they tell at length."""
    from jupyter_client.manager import AsyncKernelManager

    class Kernels(AsyncKernelManager):
        async def start_kernel(self, **options):
            with log.open("ab") as stderr:
                await super().start_kernel(**options, stderr=stderr)

    return Kernels


def _one_line(error: Exception, *more: str) -> str:
    """Return a failed cell's number and error, without its traceback."""
    text = " ".join((str(error) or type(error).__name__, *more))
    if hasattr(error, "evalue"):
        text = f"cell [{error.exec_count}]: {error.ename}: {error.evalue}"
    return textwrap.shorten(text, 500)


def normalise(notebook, folder: Path):
    """Return an executed notebook without what differs from run to run: times, machine paths, papermill's metadata.

    `folder` is where it ran; paths of the project around it become relative, and those of the user's home `~/...`.
    Cell ids, execution counts, tags and outputs stay, pictures in 256 colours; of a widget its text stays, as its
    kernel is gone.
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
                data = output.get("data", {})
                data.pop("application/vnd.jupyter.widget-view+json", None)
                if "image/png" in data:
                    data["image/png"] = compact(data["image/png"])
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
    # Unknown it stays "~"; "/", the home of users without one, is part of every path.
    user = os.path.expanduser("~").rstrip("/")
    return value.replace(f"{user}/", "~/") if user else value


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, 1 where a cell failed, 2 for input at fault, 128 + n after the signal n."""
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
    given = dict(options.parameter)
    try:
        if options.in_place and given:
            raise InputError("--in-place takes no -p: committed outputs are those of the notebook's own defaults")
        if len(given) < len(options.parameter):
            (name, _), *_ = (Counter(name for name, _ in options.parameter) - Counter(list(given))).items()
            raise InputError(f"parameter {name} is given twice; give it once")
        with _stoppable():
            output = (
                run_in_place(options.notebook) if options.in_place else run(options.notebook, given, options.output)
            )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NotebookFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f"error: {str(error) or 'interrupted'}", file=sys.stderr)
        return 128 + getattr(error, "number", signal.SIGINT)
    print(output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
