"""The runner: parameters are checked before anything starts, results are whole, normalised and fit to commit."""

import nbformat
import pytest

from experiments.run import main, normalise, parameters
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
    ["a: int = 1.5", "a: int = b", "a: list = [1]", "a, b = 1, 2", "import os", "a: int", "a: bool = 0", "a = None"],
)
def test_only_literals_of_the_annotated_type(cell):
    with pytest.raises(InputError, match="in the parameters cell is not 'name: type = literal'"):
        parameters(notebook(cell=cell))


@pytest.mark.parametrize(
    "given, message",
    [
        (("sed", "1"), "unknown parameter of 07_try.ipynb 'sed'; known: profile, seed, rate, fresh, n"),
        (("seed", "1.5"), "parameter seed takes a whole number, not '1.5'"),
        (("rate", "nan"), "parameter rate takes a finite number, not 'nan'"),
        (("fresh", "yes"), "parameter fresh takes true or false, not 'yes'"),
        (("profile", "huge"), "unknown profile 'huge'; known: smoke, cpu, gpu, paper"),
    ],
)
def test_wrong_parameters_end_in_one_line_before_the_start(project, capsys, given, message):
    path = write(project, source="open('ran', 'w')")
    assert main([str(path), "-p", *given]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (project / "notebooks" / "ran").exists()
    assert not (project / "data").exists()


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


def test_of_a_widget_its_text_is_kept(project):
    path = write(project, source="import ipywidgets\nipywidgets.IntSlider(3)")
    assert main([str(path), "--in-place"]) == 0
    (output,) = nbformat.read(path, as_version=4).cells[-1].outputs
    assert output.data == {"text/plain": "IntSlider(value=3)"}
