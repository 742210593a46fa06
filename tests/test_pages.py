"""What a reader finds: the README's own code and commands work, links lead to files, figures come from records."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.report import summary
from experiments.report.pages import marks
from experiments.run import parameters, read

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / name
    for name in ("README.md", "RESULTS.md", "PAPER.md", "CONTRIBUTING.md", "CHANGELOG.md")
    if (ROOT / name).exists()
]
CARDS = sorted((ROOT / "data/generators").glob("*/*/README.md"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MADE_LATER = ("data/runs", "data/zoos", "data/datasets")  # what runs write, and data sets, are not in the tree

SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.S)
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "CHANGELOG.md")
COMMANDS = re.findall(r"```bash\n(.*?)```", TEXT, re.S) + re.findall(r"`([^`\n]+)`", TEXT)
TARGETS = sorted({target for command in COMMANDS for target in re.findall(r"^make ([a-z][\w-]*)", command, re.M)})
MODULES = sorted({module for command in COMMANDS for module in re.findall(r"python -m ([\w.]+)", command)})
RUNS = sorted({run for command in COMMANDS for run in re.findall(r"experiments\.run (\S+\.ipynb[^#\n]*\b)", command)})


def test_the_readme_is_short():
    lines = README.splitlines()
    assert len(lines) <= 130
    assert [line for line in lines if len(line) > 200] == []


def test_figures_by_hand_are_none():
    """Decimals, shares and counts with a comma stand in regions that are written from records, and nowhere else."""
    text = re.sub(r"```.*?```", "", README, flags=re.S)
    for name in summary.regions():
        begin, end = map(re.escape, marks(name))
        text = re.sub(f"{begin}.*?{end}", "", text, flags=re.S)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    assert re.findall(r"\d+[.,]\d+|\d+ ?%", text) == ["3.11"]  # Python's version


@pytest.fixture
def project(tmp_path):
    """A folder that looks like the project to a snippet, and in which it may write."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "generators").symlink_to(ROOT / "data" / "generators")
    return tmp_path


def execute(code, folder):
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command, env = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


CHECKS = (
    "assert sum(v.numel() for v in network.values() if v.is_floating_point()) == 3586\n"
    "assert all(v.isfinite().all() for v in network.values())",
    "assert len(networks) == 3 and networks[0].keys() == mine[0].keys()",
)


def test_the_readme_has_a_check_for_every_snippet():
    assert len(SNIPPETS) == len(CHECKS)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_snippets_of_the_readme_run(number, project):
    result = execute(f"{SNIPPETS[number]}\n{CHECKS[number]}", project)
    assert result.returncode == 0, result.stderr


def test_the_snippet_of_a_card_runs(project):
    text = (ROOT / "data/generators/cpu/ablation_base/README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    result = execute(code + "\nassert len(networks) == 3", project)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_the_target(target):
    result = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("module", MODULES)
def test_the_module_of_a_command_exists(module):
    assert importlib.util.find_spec(module)


@pytest.mark.parametrize("run", RUNS)
def test_a_run_has_the_parameters_that_it_is_given(run):
    known = parameters(read(ROOT / run.split()[0]))
    for name, value in re.findall(r"-p (\S+) (\S+)", run):
        known[name].parse(value)


def test_there_are_commands():
    assert {"quickstart", "test", "lab", "reproduce"} <= set(TARGETS)
    assert MODULES and RUNS


def prose(path):
    """The Markdown of a page or of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    return "\n".join("".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "markdown")


@pytest.mark.parametrize("path", [*PAGES, *CARDS, *NOTEBOOKS], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path):
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose(path))]
    inside = {link for link in links if link and not link.startswith(("http://", "https://"))}
    assert sorted(link for link in inside if not (path.parent / link).exists()) == []


@pytest.mark.parametrize("path", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda path: path.name)
def test_paths_in_code_are_files(path):
    folders = "rpglib|experiments|notebooks|data|figures|tests|profiles"
    named = set(re.findall(rf"`((?:{folders})/[\w./-]+)`", prose(path)))
    assert sorted(p for p in named if not p.startswith(MADE_LATER) and not (ROOT / p).exists()) == []
