"""The runner: parameters are checked before anything starts, results are whole, normalised and fit to commit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from experiments.run import main, normalise, parameters, run
from rpglib.errors import InputError

CELL = 'profile: str = "cpu"  # one of the profiles\nseed: int = 0\nrate: float = 1\nfresh: bool = False\nn = -3'


def notebook(source="print(profile, seed, rate, fresh, n)", cell=CELL):
    return nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Title", id="title"),
            nbformat.v4.new_code_cell(cell, id="parameters", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(source, id="work"),
        ]
    )


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with notebooks/, entered."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RPG_HOME", raising=False)
    return tmp_path


def write(project, *arguments, **options):
    path = project / "notebooks" / "07_try.ipynb"
    nbformat.write(notebook(*arguments, **options), path)
    return path


def printed(path):
    return nbformat.read(path, as_version=4).cells[-1].outputs[0].text


def test_parameters_are_read_without_running():
    found = parameters(notebook())
    assert {name: (p.type, p.default, p.annotated) for name, p in found.items()} == {
        "profile": ("str", "cpu", True),
        "seed": ("int", 0, True),
        "rate": ("float", 1.0, True),
        "fresh": ("bool", False, True),
        "n": ("int", -3, False),
    }


@pytest.mark.parametrize(
    "cell",
    [
        *("a: int = 1.5", "a: int = b", "a: list = [1]", "a, b = 1, 2", "import os", "a: int", "a: bool = 0"),
        *("a = None", "a: float = 1e999", "a = {[]: 1}", "a: float = True", "a = 1j", "a: 'int' = 1", "a.b: int = 1"),
        *("f'{1}'", "def a():\n    pass", "a = " + "-" * 500 + "1", "a: int = 1 if b else 2", "a = b''"),
    ],
)
def test_only_literals_of_the_annotated_type(cell):
    with pytest.raises(InputError, match="in the parameters cell is not 'name: type = literal'") as caught:
        parameters(notebook(cell=cell))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "cell",
    [
        *("%matplotlib inline\nseed: int = 0", "seed: int = 0\n!ls", "%%time\nseed: int = 0", "seed?", "seed: int = "),
        *("seed: int = 0)", "  seed = 0", "a = 'open", "a = \x00", "a = " + "(" * 300 + ")" * 300, "a = " + "9" * 5000),
    ],
)
def test_a_parameters_cell_that_is_no_python(cell):
    with pytest.raises(InputError, match="in the parameters cell is no Python; keep magics") as caught:
        parameters(notebook(cell=cell))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_parameters_are_one_cell_of_code_and_set_once():
    with pytest.raises(InputError, match="sets seed twice"):
        parameters(notebook(cell="seed: int = 0\nseed: int = 1"))
    work = notebook()
    work.cells[1].cell_type = "markdown"
    with pytest.raises(InputError, match="has 1 markdown cell tagged 'parameters'; tag exactly one cell of code"):
        parameters(work)


@pytest.mark.parametrize(
    "given, message",
    [
        (("sed", "1"), "unknown parameter of 07_try.ipynb 'sed'; known: profile, seed, rate, fresh, n"),
        (("seed", "1.5"), "parameter seed takes a whole number, not '1.5'"),
        (("rate", "nan"), "parameter rate takes a finite number, not 'nan'"),
        (("fresh", "yes"), "parameter fresh takes true or false, not 'yes'"),
        (("fresh", "0"), "parameter fresh takes true or false, not '0'"),
        (("seed", "-1"), "parameter seed takes a whole number from 0 on, not -1"),
        (("seed", "9" * 30), f"parameter seed takes a whole number from 0 on, not {'9' * 30}"),
        (("seed", "9" * 5000), f"parameter seed takes a whole number, not '{'9' * 96}..."),
        (("rate", "1e999"), "parameter rate takes a finite number, not '1e999'"),
        (("profile", "huge"), "unknown profile 'huge'; known: smoke, cpu, gpu, paper"),
    ],
)
def test_wrong_parameters_end_in_one_line_before_the_start(project, capsys, given, message):
    path = write(project, source="open('ran', 'w')")
    assert main([str(path), "-p", *given]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (project / "notebooks" / "ran").exists()
    assert not (project / "data").exists()


def test_a_parameter_that_is_given_twice(project, capsys):
    path = write(project)
    assert main([str(path), "-p", "seed", "1", "-p", "n", "2", "-p", "seed", "3"]) == 2
    assert capsys.readouterr().err == "error: parameter seed is given twice; give it once\n"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ('profile: str = "digits"', "unknown profile 'digits'"),
        ('profile: str = "../../elsewhere"', "unknown profile"),
        ('fresh: str = "no"', "parameter fresh takes True or False, not 'no'"),
        ("seed: float = 0.0", "parameter seed takes a whole number from 0 on, not 0.0"),
        ('device: str = "tpu"', "parameter device takes auto, cpu, cuda or cuda:N, not 'tpu'"),
    ],
)
def test_defaults_are_checked_as_given_values_are(project, capsys, cell, message):
    assert main([str(write(project, "open('ran', 'w')", cell))]) == 2
    assert message in capsys.readouterr().err and not (project / "notebooks" / "ran").exists()


def broken_notebooks():
    """Name -> what writes it at a path."""
    good = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("seed: int = 0", id="a")])

    def changed(**changes):
        return json.dumps({**good, **changes}).encode()

    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "", "outputs": [], "execution_count": None}
    texts = {
        "empty": b"",
        "a list": b"[]",
        "a number": b"3",
        "nothing": b"null",
        "text": b'"notebook"',
        "no notebook": b"{}",
        "an older format": changed(nbformat=3),
        "a younger format": changed(nbformat=5),
        "a format in words": changed(nbformat="4"),
        "no cells": json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}}).encode(),
        "cells that are none": changed(cells=[1, None]),
        "a cell without source": changed(cells=[{k: v for k, v in cell.items() if k != "source"}]),
        "tags as text": changed(cells=[{**cell, "metadata": {"tags": "parameters"}}]),
        "tags of nothing": changed(cells=[{**cell, "metadata": {"tags": [None]}}]),
        "source as a number": changed(cells=[{**cell, "source": 3}]),
        "not text": bytes(range(128, 256)),
        "cut": changed()[:-20],
        "deep": b"[" * 100_000,
    }
    kinds = {name: lambda path, text=text: path.write_bytes(text) for name, text in texts.items()}
    kinds["a folder"] = Path.mkdir
    kinds["a pipe"] = os.mkfifo
    kinds["a link to itself"] = lambda path: path.symlink_to(path)
    return kinds


@pytest.mark.parametrize("kind", broken_notebooks())
def test_what_is_no_notebook_is_one_line(project, capsys, kind):
    path = project / "notebooks" / "broken.ipynb"
    broken_notebooks()[kind](path)
    assert main([str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "broken.ipynb" in line and len(line) < 300 + len(str(project))


@pytest.mark.parametrize(
    "output",
    [
        *("taken", ".", "", "notebooks/07_try.ipynb", "file/below.ipynb", "pipe", "link", "/proc/x/y.ipynb"),
        *("x" * 245 + ".ipynb", "x" * 300 + ".ipynb"),
    ],
)
def test_an_output_that_cannot_be_written_is_told_before_the_run(project, capsys, output):
    path = write(project, "open('ran', 'w')")
    before = path.read_bytes()
    (project / "taken").mkdir()
    (project / "file").touch()
    os.mkfifo(project / "pipe")
    (project / "link").symlink_to(project / "file")
    assert main([str(path), "--output", output]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and len(line) < 400
    assert not (project / "notebooks" / "ran").exists() and path.read_bytes() == before
    assert (project / "file").read_bytes() == b"" and (project / "link").is_symlink()


def test_a_place_for_failures_that_cannot_be_written_is_told_before_the_run(project, capsys):
    path = write(project, "open('ran', 'w')")
    (project / "out.failed.ipynb").mkdir()
    (project / "data/runs/cpu/07_try.failed.ipynb").mkdir(parents=True)
    for arguments in (["--output", "out.ipynb"], ["--in-place"]):
        assert main([str(path), *arguments]) == 2
        assert ".failed.ipynb: it is there and no file" in capsys.readouterr().err
    assert not (project / "notebooks" / "ran").exists()


def test_a_result_that_cannot_be_written_after_all_is_kept_elsewhere(project, capsys):
    path = write(project, "import shutil\nshutil.rmtree('../out')\nopen('../out', 'w').close()\nprint('hours')")
    assert main([str(path), "--output", str(project / "out" / "a.ipynb")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    rescued = Path(line.partition("the result is in ")[2])
    assert printed(rescued) == "hours\n"
    rescued.unlink()
    rescued.parent.rmdir()


def test_paths_with_braces_and_spaces(project):
    folder = project / "{a} b"
    folder.mkdir()
    write(project).rename(folder / "n {x}.ipynb")
    assert run(folder / "n {x}.ipynb", {}, folder / "out {y}.ipynb") == folder / "out {y}.ipynb"
    assert printed(folder / "out {y}.ipynb").startswith("cpu 0 1 False")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_keeps_what_ran_and_is_one_line(project, sent):
    path = write(project, "print('hours of results', flush=True)\nopen('here', 'w')\nimport time\ntime.sleep(60)")
    command = [sys.executable, "-m", "experiments.run", str(path), "--output", "out.ipynb"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=project, env=environment, text=True, **pipes) as runner:
        begun = time.monotonic()
        while not (project / "notebooks" / "here").exists() and time.monotonic() - begun < 100:
            time.sleep(0.1)
        runner.send_signal(sent)
        _, said = runner.communicate(timeout=100)
    assert runner.returncode == 128 + sent
    assert said == "error: 07_try.ipynb: interrupted; what ran until then is in out.failed.ipynb\n"
    assert "hours of results" in (project / "out.failed.ipynb").read_text()
    assert not (project / "out.ipynb").exists()


def test_absent_and_broken_notebooks(project, capsys):
    assert main(["notebooks/none.ipynb"]) == 2
    (project / "notebooks" / "broken.ipynb").write_text("{")
    assert main(["notebooks/broken.ipynb"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "none.ipynb does not exist" in first and "broken.ipynb is not a notebook" in second


def test_given_values_reach_the_notebook_with_their_types(project, capsys):
    path = write(project)
    before = path.read_bytes()
    values = {"profile": "smoke", "seed": "7", "rate": "2", "fresh": "True", "n": "-1"}
    assert main([str(path), *(word for pair in values.items() for word in ("-p", *pair))]) == 0
    output = project / "data" / "runs" / "smoke" / "07_try.ipynb"
    assert capsys.readouterr().out == f"{output}\n"
    assert printed(output) == "smoke 7 2.0 True -1\n"
    assert path.read_bytes() == before


@pytest.mark.parametrize(("given", "profile"), [({}, "smoke"), ({"profile": "gpu"}, "gpu")])
def test_a_result_goes_where_those_of_its_profile_are_which_may_be_the_notebook_s_own(
    project, monkeypatch, given, profile
):
    monkeypatch.setattr("experiments.run._execute", lambda *_: None)
    path = write(project, cell='profile: str = "smoke"')
    assert run(path, given) == project / "data" / "runs" / profile / path.name


def test_failing_notebook_keeps_what_ran_and_the_old_result(project, capsys):
    path = write(project, source="print('so far')\nraise ValueError('two\\nlines')")
    output = project / "result.ipynb"
    output.write_text("old")
    assert main([str(path), "--output", str(output)]) == 1
    assert capsys.readouterr().err == "error: 07_try.ipynb: cell [2]: ValueError: two lines\n"
    assert output.read_text() == "old"
    assert "so far" in (project / "result.failed.ipynb").read_text()


def test_in_place_is_repeatable_and_leaves_no_trace_of_the_machine(project):
    path = write(project, source="import os\nprint(profile, 'in', os.getcwd() + '/x')")
    assert main([str(path), "--in-place"]) == 0
    first = path.read_bytes()
    assert printed(path) == "cpu in notebooks/x\n"
    cells = nbformat.read(path, as_version=4).cells
    assert [cell.id for cell in cells] == ["title", "parameters", "work"]
    assert [cell.get("execution_count") for cell in cells] == [None, 1, 2]
    assert main([str(path), "--in-place"]) == 0
    assert path.read_bytes() == first


def test_in_place_refuses_parameters_and_survives_a_failure(project, capsys):
    path = write(project, source="1 / 0")
    before = path.read_bytes()
    assert main([str(path), "--in-place", "-p", "seed", "1"]) == 2
    assert main([str(path), "--in-place"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_normalise_keeps_tags_and_similar_names(project):
    work = notebook()
    work.metadata["papermill"] = {"duration": 3}
    work.cells[2].metadata = {"tags": [], "execution": {"iopub.status.busy": "now"}, "papermill": {}}
    text = f"{project}/a.py {project} {project}-old"
    work.cells[2].outputs = [nbformat.v4.new_output("stream", text=text)]
    result = normalise(work, project / "notebooks")
    assert set(result.metadata) == {"kernelspec", "language_info"}
    assert result.cells[1].metadata == {"tags": ["parameters"]} and result.cells[2].metadata == {}
    assert result.cells[2].outputs[0].text == f"a.py . {project}-old"


def test_pictures_stay_as_they_are(project):
    work, picture = notebook(), {"image/svg+xml": f"<!-- {project}/a -->", "text/plain": f"{project}/a"}
    work.cells[2].outputs = [nbformat.v4.new_output("display_data", data=picture)]
    (output,) = normalise(work, project / "notebooks").cells[2].outputs
    assert output.data == {**picture, "text/plain": "a"}


PLACES = "/users/me/a https://b"


@pytest.mark.parametrize(("user", "kept"), [("/users/me", "~/a https://b"), ("/", PLACES), (None, PLACES)])
def test_the_home_folder_is_no_part_of_a_result(project, monkeypatch, user, kept):
    monkeypatch.setenv("HOME", user) if user else monkeypatch.delenv("HOME")
    if not user:
        monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    work = notebook()
    work.cells[2].outputs = [nbformat.v4.new_output("stream", text=PLACES)]
    assert normalise(work, project / "notebooks").cells[2].outputs[0].text == kept


def test_of_a_widget_its_text_is_kept(project):
    path = write(project, source="import ipywidgets\nipywidgets.IntSlider(3)")
    assert main([str(path), "--in-place"]) == 0
    (output,) = nbformat.read(path, as_version=4).cells[-1].outputs
    assert output.data == {"text/plain": "IntSlider(value=3)"}
