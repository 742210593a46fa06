"""Records keep a number together with its origin, refuse what is no number, and lie where every caller finds them."""

import dataclasses
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import records
from rpglib.errors import InputError


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    return tmp_path


@dataclass(frozen=True)
class Inner:
    path: Path = Path("a/b")


@dataclass(frozen=True)
class Config:
    steps: int = 3
    inner: Inner = field(default_factory=Inner)


def write(numbers, profile="cpu", **changes):
    facts = {"config": Config(), "seeds": [0], "n": 2, "wall_seconds": 1.5, "data_source": "scikit-learn digits"}
    return records.write_record("try", profile, numbers, **{**facts, **changes})


def test_round_trip_of_everything_a_notebook_holds(project):
    numbers = {
        "float32": np.float32(0.5),
        "array": np.arange(3),
        "tensor": torch.tensor([[1.0, 2.0]]),
        "tuple": (1, None, True, "text"),
        "nested": {1: {"a": 2}},
    }
    written = write(numbers, seeds=range(2))
    record = records.read_record("try", "cpu")
    assert record == written
    assert record["numbers"] == {
        "float32": 0.5,
        "array": [0, 1, 2],
        "tensor": [[1.0, 2.0]],
        "tuple": [1, None, True, "text"],
        "nested": {"1": {"a": 2}},
    }
    assert record["config"] == {"steps": 3, "inner": {"path": "a/b"}}
    assert (record["seeds"], record["n"], record["wall_seconds"]) == ([0, 1], 2, 1.5)
    assert (record["experiment"], record["profile"], record["data_source"]) == ("try", "cpu", "scikit-learn digits")
    assert (project / "data" / "results" / "cpu" / "try.json").exists()


def test_provenance_names_code_machine_and_time():
    facts = records.provenance()
    assert set(facts) == {"commit", "dirty", "versions", "hardware", "date"}
    assert facts["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert facts["hardware"]["cores"] >= 1 and facts["hardware"]["memory_gb"] > 0.1 and facts["hardware"]["cpu"]
    assert isinstance(facts["hardware"]["features"], list)
    assert facts["date"].endswith("+00:00")
    json.dumps(facts)


# ---- does a record's configuration agree with today's? --------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    width: int = 8
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Whole:
    name: str
    part: Part = Part()
    parts: tuple[Part, ...] = (Part(),)
    rate: float = 0.1
    limit: int | None = None


RECORDED = json.loads(json.dumps(dataclasses.asdict(Whole("a"))))


def without(recorded: dict, *path: str) -> dict:
    """The record as it was before a field existed."""
    name, *rest = path
    if rest:
        return recorded | {name: without(recorded[name], *rest)}
    return {key: value for key, value in recorded.items() if key != name}


def test_a_configuration_agrees_with_its_own_record():
    """Read back from JSON, where tuples are lists."""
    assert RECORDED["parts"] == [{"width": 8, "sizes": [1, 2]}]
    assert records.agrees(RECORDED, Whole("a"))
    changed = Whole("b", Part(9, (3,)), (Part(4), Part(5)), 0.2, 7)
    assert records.agrees(json.loads(json.dumps(dataclasses.asdict(changed))), changed)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "b"},
        {"part": Part(9)},
        {"part": Part(sizes=(1, 2, 3))},
        {"parts": (Part(9),)},
        {"parts": ()},
        {"rate": 0.2},
        {"limit": 0},
    ],
)
def test_another_value_anywhere_disagrees(changes):
    assert not records.agrees(RECORDED, Whole(**{"name": "a"} | changes))


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        (("limit",), {"limit": 3}),
        (("rate",), {"rate": 0.2}),
        (("part",), {"part": Part(9)}),
        (("part", "width"), {"part": Part(9)}),
        (("part", "sizes"), {"part": Part(sizes=())}),
    ],
)
def test_a_field_younger_than_the_record_must_have_its_default(path, changes):
    older = without(RECORDED, *path)
    assert records.agrees(older, Whole("a"))
    assert not records.agrees(older, Whole("a", **changes))


def test_a_field_without_default_is_never_younger_than_the_record():
    assert not records.agrees(without(RECORDED, "name"), Whole("a"))


@pytest.mark.parametrize(
    "recorded",
    [RECORDED | {"colour": None}, RECORDED | {"part": RECORDED["part"] | {"colour": 1}}, RECORDED | {"part": None}, []],
)
def test_what_is_recorded_but_unknown_disagrees(recorded):
    assert not records.agrees(recorded, Whole("a"))


def test_dicts_and_lists_of_configurations_agree_item_by_item():
    recorded = {"one": RECORDED, "counts": [1, 2]}
    older = {"one": without(RECORDED, "part", "width"), "counts": [1, 2]}
    known = {"one": Whole("a"), "counts": (1, 2)}
    assert records.agrees(recorded, known) and records.agrees(older, known)
    assert records.agrees([RECORDED], (Whole("a"),)) and records.agrees({"1": 2}, {1: 2})
    for other in ({"one": Whole("b")}, {"counts": range(2)}, {"counts": [1]}, {"more": None}):
        assert not records.agrees(recorded, known | other)
    assert not records.agrees(recorded, {"one": Whole("a")}) and not records.agrees([], known)


def test_a_record_of_other_settings_or_another_seed_is_refused(project):
    written = write({"mean": 1})
    assert records.read_record("try", "cpu", written["config"], written["seeds"]) == written
    for settings in ({"config": {"other": 1}}, {"seeds": {"other": 1}}):
        with pytest.raises(InputError, match=r"try was made with other settings or another seed; run with fresh=True"):
            records.read_record("try", "cpu", **settings)


@pytest.mark.parametrize("bad", [float("nan"), np.float32("inf"), torch.tensor([0.0, float("-inf")])])
def test_not_finite_numbers_are_refused_by_place(project, bad):
    write({"mean": 1})
    with pytest.raises(InputError, match=r"record try\.numbers\.table\[0\]\.mean.* is (nan|inf|-inf); .* finite"):
        write({"table": [{"mean": bad}]})
    assert records.read_record("try", "cpu")["numbers"] == {"mean": 1}


def test_unknown_types_are_refused(project):
    with pytest.raises(InputError, match=r"record try\.numbers\.model is a Linear"):
        write({"model": torch.nn.Linear(1, 1)})


def test_absent_record_tells_the_remedy(project):
    with pytest.raises(InputError, match="run its notebook with fresh=True"):
        records.read_record("none", "cpu")


@pytest.mark.parametrize("content", ["[]", "1", '{"numbers": {}}', "null"])
def test_what_is_no_record_is_told(project, content):
    write({"mean": 1})
    (project / "data" / "results" / "cpu" / "try.json").write_text(content)
    with pytest.raises(InputError, match=r"try\.json is no record; .*fresh=True"):
        records.read_record("try", "cpu")


def test_a_record_names_the_generator_that_is_kept_with_it(project):
    assert "generator" not in write({})
    assert write({}, generator="abc") == records.read_record("try", "cpu") and write({}, generator="abc")["generator"]


def test_unknown_profile_is_refused_everywhere(project):
    folders = (records.results_dir, records.figures_dir, lambda profile: records.zoo_dir(profile, "x"))
    for folder in (*folders, lambda profile: records.generator_dir(profile, "x")):
        with pytest.raises(InputError, match="unknown profile 'tiny'; known: smoke, cpu, gpu, paper"):
            folder("tiny")


def test_places(project):
    places = {
        profile: [
            str(path.relative_to(project))
            for path in (
                records.results_dir(profile),
                records.zoo_dir(profile, "vit"),
                records.generator_dir(profile, "vit"),
                records.figures_dir(profile),
            )
        ]
        for profile in ("smoke", "cpu", "gpu")
    }
    assert places == {
        "smoke": [f"data/runs/smoke/{kind}" for kind in ("results", "zoos/vit", "generators/vit", "figures")],
        "cpu": ["data/results/cpu", "data/zoos/cpu/vit", "data/generators/cpu/vit", "figures"],
        "gpu": ["data/results/gpu", "data/zoos/gpu/vit", "data/generators/gpu/vit", "figures/gpu"],
    }


def test_home_is_found_from_below_and_missed_outside(tmp_path, monkeypatch):
    monkeypatch.delenv("RPG_HOME", raising=False)
    (tmp_path / "notebooks" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "notebooks" / "deep")
    with pytest.raises(InputError, match=r"no pyproject\.toml in .*RPG_HOME"):
        records.home()
    (tmp_path / "pyproject.toml").touch()
    assert records.home() == tmp_path.resolve()


@pytest.fixture(autouse=True)
def beginning():
    """As if the process began with the test, and again after it."""
    records._first_commit.cache_clear()
    yield
    records._first_commit.cache_clear()


def test_commit_ignores_what_runs_write_and_sees_changed_code(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    def notebook(source, output):
        text = json.dumps({"cells": [{"source": [source], "outputs": [output]}]})
        (tmp_path / "notebooks" / "a.ipynb").write_text(text)

    code = tmp_path / "experiments" / "records.py"
    for name in ("rpglib/__init__.py", "data/a.json", "figures/a.pdf", "notebooks/b.py", "experiments/records.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1")
    notebook("print(1)", "1")
    monkeypatch.setattr(records, "__file__", str(code))
    monkeypatch.setattr(records.rpglib, "__file__", str(tmp_path / "rpglib" / "__init__.py"))
    assert records._commit() == (None, None)
    git("init", "-q")
    git("add", ".")
    assert records._commit() == (None, True)
    git("commit", "-qm", "first")
    commit, dirty = records._commit()
    assert len(commit) == 40 and dirty is False
    for path in (tmp_path / "data" / "a.json", tmp_path / "figures" / "b.pdf", tmp_path / "RESULTS.md"):
        path.write_text("2")
    notebook("print(1)", "2")
    assert records._commit() == (commit, False)
    assert f"commit {commit[:10]}" in records.versions_line() and "changes" not in records.versions_line()
    notebook("print(2)", "2")
    assert records._commit() == (commit, True), "the cells of a notebook are code"
    (tmp_path / "notebooks" / "a.ipynb").write_text("<<<<<<< HEAD")
    assert records._commit() == (commit, True), "what is broken has changed"
    notebook("print(1)", "2")
    (tmp_path / "notebooks" / "new.ipynb").write_text((tmp_path / "notebooks" / "a.ipynb").read_text())
    assert records._commit() == (commit, True), "nobody has what is not added"
    (tmp_path / "notebooks" / "new.ipynb").unlink()
    assert not records.provenance()["dirty"]
    code.write_text("2")
    assert records._commit() == (commit, True)
    assert "changes" not in records.versions_line() and records.provenance()["dirty"], "of what was loaded before"
    git("commit", "-qam", "second")
    known = records.provenance()
    assert known["commit"] == commit and known["dirty"], "what ran is the commit of the beginning, or between the two"
    records._first_commit.cache_clear()
    assert records.provenance()["commit"] != commit and not records.provenance()["dirty"]


@pytest.fixture
def other(tmp_path, monkeypatch):
    """Another project's repository with one commit; `place(folder)` says that the code lies in a folder of it."""

    def git(*arguments):
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "theirs.py").touch()
    (tmp_path / ".gitignore").write_text(".venv\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "theirs")

    def place(folder: str, library: str | None = None) -> None:
        for name, where in (("experiments/records.py", folder), ("rpglib/__init__.py", library or folder)):
            path = tmp_path / where / name
            path.parent.mkdir(parents=True)
            path.touch()
            monkeypatch.setattr(records if "records" in name else records.rpglib, "__file__", str(path))

    place.git = git
    return place


@pytest.mark.parametrize("folder", [".venv/lib/site-packages", "vendored", "."])
def test_another_project_s_commit_is_none_of_ours(other, folder):
    other(folder)
    assert records._commit() == (None, None) and records.versions_line().endswith("no commit")


def test_not_even_where_it_keeps_our_code_among_its_own(other):
    other("vendored")
    other.git("add", ".")
    other.git("commit", "-qm", "with ours")
    assert records._commit() == (None, None)


def test_code_from_two_places_has_no_commit(other):
    other(".", "elsewhere")
    other.git("add", ".")
    other.git("commit", "-qm", "all")
    assert records._commit() == (None, None)


def test_the_settings_of_a_git_hook_name_no_other_repository(other, tmp_path, monkeypatch):
    other("ours")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "ours", check=True)
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for line in (["add", "."], ["commit", "-qm", "ours"]):
        subprocess.run(["git", *identity, *line], cwd=tmp_path / "ours", check=True)
    ours = records._commit()
    assert len(ours[0]) == 40
    # Theirs has files of the same names.
    for path in (tmp_path / "ours").rglob("*.py"):
        (copy := tmp_path / path.relative_to(tmp_path / "ours")).parent.mkdir()
        copy.touch()
    other.git("add", "experiments", "rpglib")
    other.git("commit", "-qm", "more")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "ours"))
    assert records._commit() == ours


def test_a_tensor_without_values_is_no_number():
    with pytest.raises(InputError, match="numbers is a Tensor; a record holds numbers"):
        records.plain(torch.empty(3, device="meta"), "numbers")
