"""Every notebook keeps its contract: a static lint of the committed file, and a run in profile `smoke`.

nbval alone passes cells that were never executed, wrong pictures and wrong order; the lint closes these holes.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from experiments.extras import OF_NOTEBOOKS
from experiments.run import parameters, run
from rpglib.errors import InputError

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ABSOLUTE = re.compile(r"(?<![\w.:/~-])/(home|root|Users|tmp|mnt|usr|opt|var)/|[A-Z]:\\\\|" + re.escape(str(ROOT)))
# All nine networks take minutes; tests/test_large_networks.py takes them one by one.
SMOKE_PARAMETERS = {"06_imagenet": ("-p", "network", "convnext_atto")}
# The one notebook that holds the method itself, models included, and is short enough to be read in one go.
FROM_SCRATCH = "01_rpg_from_scratch"
FROM_SCRATCH_LINES = 300
# Their packages are beside the environment (make test-extras).
NEED_EXTRAS = {name: extra.absent() for name, extra in OF_NOTEBOOKS.items()}
SMOKE_LIMIT = 300  # seconds, against hanging only: a smoke run should take 15


def faults(path: Path) -> list[str]:
    """Return what breaks the notebook contract in the file, one line each."""
    notebook = nbformat.read(path, as_version=4)
    cells = notebook.cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    tags = [cell.metadata.get("tags", []) for cell in code]
    outputs = [output for cell in code for output in cell.outputs]
    text = "\n".join(cell.source for cell in cells) + "\n" + "\n".join(map(_text, outputs))
    ignored = ["nbval-ignore-output" in tag for tag in tags]
    checks = {
        "the first cell is not markdown": cells[0].cell_type != "markdown",
        "execution counts are not 1..N": [cell.execution_count for cell in code] != list(range(1, len(code) + 1)),
        "no output is compared": not any(
            _compared(output) for cell, skip in zip(code, ignored, strict=True) if not skip for output in cell.outputs
        ),
        "more than 2 cells are ignored": sum(ignored) > 2,
        "nbval-skip is used": any("nbval-skip" in tag for tag in tags),
        "NBVAL_ comments are used instead of tags": "NBVAL_" in text,
        "an absolute path is printed or written": bool(ABSOLUTE.search(text)),
        "a class is defined; it belongs into the package": path.stem != FROM_SCRATCH
        and any(re.search(r"^\s*class \w", cell.source, re.M) for cell in code),
        "an error is among the outputs": any(output.output_type == "error" for output in outputs),
        "warnings or progress bars are among the outputs": any(output.get("name") == "stderr" for output in outputs),
        "the file has 500 kB or more": path.stat().st_size >= 500_000,
        "metadata of a run is left; python -m experiments.run --in-place removes it": any(
            {"papermill", "execution", "widgets"} & part.metadata.keys() for part in (notebook, *cells)
        ),
    }
    if path.stem == FROM_SCRATCH:
        before = _before_last_section(cells)
        checks |= {
            f"more than {FROM_SCRATCH_LINES} lines of code stand before the last section": sum(
                bool(line.strip()) for line in before.splitlines()
            )
            > FROM_SCRATCH_LINES,
            "rpglib is imported before the last section": bool(re.search(r"^\s*(from|import) rpglib\b", before, re.M)),
        }
    return [fault for fault, found in checks.items() if found] + _parameter_faults(notebook) + _begin_faults(code)


def _before_last_section(cells) -> str:
    """The code above the last cell that is headed "## ..."."""
    sections = [k for k, cell in enumerate(cells) if cell.cell_type == "markdown" and cell.source.startswith("## ")]
    return "\n".join(cell.source for cell in cells[: sections[-1]] if cell.cell_type == "code")


def _compared(output) -> bool:
    """Say whether nbval compares this output: text on stdout, or a result's plain text that is not a mere figure."""
    if output.output_type == "stream":
        return output.name == "stdout"
    return "text/plain" in output.get("data", {}) and not any(kind.startswith("image/") for kind in output.data)


def _text(output) -> str:
    if output.output_type == "stream":
        return output.text
    return "\n".join(str(value) for kind, value in output.get("data", {}).items() if not kind.startswith("image/"))


def _parameter_faults(notebook) -> list[str]:
    try:
        found = parameters(notebook)
    except InputError as error:
        return [str(error)]
    missing = {"profile", "fresh", "seed", "device"} - found.keys()
    loose = [name for name, parameter in found.items() if not parameter.annotated]
    faults = [f"parameters {sorted(missing)} are missing"] if missing else []
    return faults + ([f"parameters {loose} have no annotation"] if loose else [])


def _begin_faults(code) -> list[str]:
    """Whatever runs it, a notebook checks its parameters before anything else."""
    tagged = [k for k, cell in enumerate(code) if "parameters" in cell.metadata.get("tags", [])][:1]
    checked = tagged == [0] and len(code) > 1 and code[1].source == BEGIN
    return [] if checked else ["the parameters are not checked by the cell that follows theirs, the first one of code"]


BEGIN = "from experiments import notebook\n\nnotebook.begin(profile, fresh, seed, device)"


def test_there_are_notebooks():
    assert NOTEBOOKS, "an empty folder would pass every other test here"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_contract(path):
    assert faults(path) == []


@pytest.fixture(scope="module")
def scratch_home(tmp_path_factory):
    """One empty project folder for all smoke runs: nothing recorded helps them, nothing tracked is touched."""
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_smoke(path, scratch_home):
    if absent := NEED_EXTRAS.get(path.stem):
        pytest.skip(f"without {', '.join(absent)}: make test-extras")
    output = scratch_home / path.name
    command = [sys.executable, "-m", "experiments.run", path, "-p", "profile", "smoke", "-p", "fresh", "true"]
    result = subprocess.run(
        [*command, *SMOKE_PARAMETERS.get(path.stem, ()), "--output", output],
        env={**os.environ, "RPG_HOME": str(scratch_home)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SMOKE_LIMIT,
    )
    assert result.returncode == 0, result.stderr
    assert output.exists()


# The lint itself, on a small notebook that is good, and on one variant per fault.

PARAMETERS = 'profile: str = "cpu"\nfresh: bool = False\nseed: int = 0\ndevice: str = "auto"'


def small_notebook():
    """Return an unexecuted notebook that follows the contract."""
    return nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# A claim", id="a"),
            nbformat.v4.new_code_cell(PARAMETERS, id="b", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(BEGIN, id="c", metadata={"tags": ["nbval-ignore-output"]}),
            nbformat.v4.new_code_cell("print(seed + 1)", id="d"),
        ]
    )


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    nbformat.write(small_notebook(), folder / "good.ipynb")
    return run(folder / "good.ipynb", {}, folder / "executed.ipynb")


def test_good_notebook_has_no_faults(executed):
    assert faults(executed) == []


def _print(notebook, text):
    notebook.cells[3].outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]


def _figure_only(notebook):
    data = {"image/png": "aGVsbG8=", "text/plain": "<Figure>"}
    notebook.cells[3].outputs = [nbformat.v4.new_output("display_data", data=data)]


def _ignore_two_more(notebook):
    for index in range(2):
        cell = nbformat.v4.new_code_cell("1", metadata={"tags": ["nbval-ignore-output"]}, execution_count=4 + index)
        notebook.cells.append(cell)


SPOILERS = {
    "first cell": lambda nb: nb.cells.pop(0),
    "execution counts": lambda nb: nb.cells[3].update(execution_count=5),
    "never ran": lambda nb: nb.cells[3].update(execution_count=None),
    "nothing compared": _figure_only,
    "three ignored": _ignore_two_more,
    "skipped": lambda nb: nb.cells[3].metadata.update(tags=["nbval-skip"]),
    "comment": lambda nb: nb.cells[3].update(source="# NBVAL_IGNORE_OUTPUT\nprint(1)"),
    "absolute path": lambda nb: _print(nb, f"saved to {ROOT}/figures/a.png"),
    "path of a home": lambda nb: _print(nb, "saved to /home/someone/a.png"),
    "class": lambda nb: nb.cells[3].update(source="class Net:\n    pass"),
    "error": lambda nb: nb.cells[3].outputs.append(
        nbformat.v4.new_output("error", ename="ValueError", evalue="x", traceback=[])
    ),
    "warning": lambda nb: nb.cells[3].outputs.append(nbformat.v4.new_output("stream", name="stderr", text="Warning")),
    "large": lambda nb: _print(nb, "x" * 500_000),
    "papermill": lambda nb: nb.metadata.update(papermill={}),
    "times": lambda nb: nb.cells[1].metadata.update(execution={"iopub.execute_input": "now"}),
    "two parameter cells": lambda nb: nb.cells[3].metadata.update(tags=["parameters"]),
    "derived parameter": lambda nb: nb.cells[1].update(source=PARAMETERS + "\nhalf: int = seed"),
    "no annotation": lambda nb: nb.cells[1].update(source=PARAMETERS + "\nn = 3"),
    "parameters unchecked": lambda nb: nb.cells[2].update(source=BEGIN.replace("fresh", "False")),
    "parameter missing": lambda nb: nb.cells[1].update(source='profile: str = "cpu"'),
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS.keys())
def test_each_fault_is_found(executed, tmp_path, spoil):
    notebook = nbformat.read(executed, as_version=4)
    spoil(notebook)
    path = tmp_path / "bad.ipynb"
    nbformat.write(notebook, path)
    assert len(faults(path)) == 1


MODEL = "import torch\n\n\nclass Net(torch.nn.Module):\n    pass"


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [
        (MODEL, "import rpglib", []),
        (MODEL, "a = 1\n" * (FROM_SCRATCH_LINES + 1), []),
        ("a = 1\n\n" * (FROM_SCRATCH_LINES - 6), "", []),
        ("a = 1\n\n" * (FROM_SCRATCH_LINES - 5), "", ["more than 300 lines of code stand before the last section"]),
        ("if True:\n    from rpglib.tasks import all_tasks", "", ["rpglib is imported before the last section"]),
        ("import rpglib", "", ["rpglib is imported before the last section"]),
    ],
)
def test_the_notebook_from_scratch_is_short_and_needs_no_library(executed, tmp_path, first, last, found):
    """It alone may define classes; its first six lines, parameters and their check, count among its lines."""
    notebook = nbformat.read(executed, as_version=4)
    notebook.cells[3].source = first
    heading = nbformat.v4.new_markdown_cell("## The same with rpglib", id="e")
    notebook.cells += [heading, nbformat.v4.new_code_cell(last, id="f", execution_count=4)]
    path = tmp_path / f"{FROM_SCRATCH}.ipynb"
    nbformat.write(notebook, path)
    assert faults(path) == found


def test_nbval_compares_numbers_and_knows_our_rules(executed, tmp_path):
    """The committed output 1 passes, the wrong output 2 fails, and both sanitising rules are loaded."""
    for name in ("conftest.py", "sanitize.cfg"):
        (tmp_path / name).write_text((ROOT / "notebooks" / name).read_text())
    notebook = nbformat.read(executed, as_version=4)
    notebook.cells[3].source = "print(1); print('took 3.2 s at', hex(id(print)))"
    _print(notebook, "1\ntook 7 s at 0x7f0000000000\n")
    nbformat.write(notebook, tmp_path / "right.ipynb")
    _print(notebook, "2\ntook 7 s at 0x7f0000000000\n")
    nbformat.write(notebook, tmp_path / "wrong.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, "--nbval-sanitize-with", "sanitize.cfg", "right.ipynb", "wrong.ipynb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SMOKE_LIMIT,
    )
    assert "1 failed, 5 passed" in result.stdout, result.stdout
    assert "wrong.ipynb" in result.stdout.split("short test summary")[1]
