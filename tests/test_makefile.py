"""`make quickstart` works wherever the project lies."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["plain", "a b", 'it\'s $HOME "quoted" & more', "ä (1)"])
def test_a_project_in_any_folder(tmp_path, name):
    project = tmp_path / name
    (project / ".venv/bin").mkdir(parents=True)
    (project / "data/runs/quickstart/figures").mkdir(parents=True)
    (project / "data/runs/quickstart/figures/00_quickstart.png").touch()
    for file in ("pyproject.toml", "constraints.txt"):
        (project / file).touch()
    shutil.copy(ROOT / "Makefile", project)
    python = project / ".venv/bin/python"
    python.write_text('#!/bin/sh\nprintf "%s" "$RPG_HOME" > home\n')
    python.chmod(0o755)
    (project / ".venv/.prepared").touch()
    subprocess.run(["make", "quickstart"], cwd=project, check=True, capture_output=True, env={**os.environ, "PWD": "/"})
    assert (project / "home").read_text() == str(project / "data/runs/quickstart")
    assert (project / "figures/00_quickstart.png").exists()
