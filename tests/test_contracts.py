"""`make lint` holds what may import what: it breaks on each fault that it is there for."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ABOVE = "def later():\n    from rpglib.zoo.architectures import SMALL\n\n    return SMALL\n"

FAULTS = {
    "the library imports experiments": (
        {"rpglib/zoo/new.py": "from experiments.records import PROFILES as PROFILES\n"},
        "rpglib.zoo.new -> experiments.records",
    ),
    "a part imports one above it, in a function": (
        {"rpglib/analysis/new.py": ABOVE},
        "rpglib.analysis is not allowed to import rpglib.zoo",
    ),
    "two modules of a part import each other": (
        {
            "rpglib/zoo/new.py": "from rpglib.zoo import newer as newer\n",
            "rpglib/zoo/newer.py": "from rpglib.zoo import new as new\n",
        },
        "No cycles are allowed in rpglib.zoo.",
    ),
    "a new part has no place in the order": ({"rpglib/new.py": ""}, "- rpglib.new"),
    "a 13th entry": ({f"rpglib/{number}.txt": "" for number in range(13)}, "rpglib/ holds more than 12 entries"),
}


def lint(folder: Path) -> tuple[int, str]:
    command = ["make", "lint", f"BIN={Path(sys.executable).parent}", "STAMP="]  # in the environment of these tests
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return result.returncode, result.stdout + result.stderr


@pytest.fixture
def project(tmp_path):
    for name in ("rpglib", "experiments"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_the_library_as_it_is_keeps_all_contracts(project):
    status, said = lint(project)
    assert status == 0 and "0 broken" in said, said


@pytest.mark.parametrize("fault", FAULTS)
def test_lint_breaks_where(project, fault):
    files, message = FAULTS[fault]
    for name, text in files.items():
        (project / name).write_text(text, encoding="utf-8")
    status, said = lint(project)
    assert status != 0 and message in said, said
