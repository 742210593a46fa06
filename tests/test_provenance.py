"""Where numbers come from: a record names a clean commit of this history, and its summaries are those of its lists."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
RECORDS = sorted((ROOT / "data/results").glob("*/*.json"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MEASURES = {"mean": np.mean, "std": lambda x: np.std(x, ddof=1), "min": np.min, "max": np.max, "median": np.median}


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def history():
    """Skip where this is no clone, or one without its history."""
    try:
        found = git("rev-parse", "--is-shallow-repository")
    except OSError:
        pytest.skip("git is not installed")
    if found.returncode != 0:
        pytest.skip("not a git repository: there is no history to compare with")
    if found.stdout.strip() != "false":
        pytest.skip("a shallow clone: its history is not here")


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_names_a_clean_commit_of_this_history(path, history):
    found = json.loads(path.read_text())["provenance"]
    assert found["dirty"] is False, "recorded with changes that no commit holds; record it again"
    known = git("merge-base", "--is-ancestor", found["commit"], "HEAD").returncode == 0
    assert known, f"{found['commit']} is not in this history; record it again"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_committed_notebook_ran_on_changed_code(path):
    outputs = json.dumps([cell.get("outputs") for cell in json.loads(path.read_text())["cells"]])
    assert "with changes" not in outputs, "commit the code, then execute the notebook again"


def summaries(value, place):
    """Yield the place and the summary of everything that stands beside its raw list."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        if "accuracies" in value and "mean" in value:
            yield place, value
        for key, part in value.items():
            yield from summaries(part, f"{place}.{key}")


FOUND = [found for path in RECORDS for found in summaries(json.loads(path.read_text())["numbers"], path.stem)]


def rounding(values):
    """Half a unit of the last decimal that a list was kept with."""
    decimals = max(len(str(value).partition(".")[2]) for value in values)
    return 0.5 * 10.0 ** -max(decimals, 2) + 1e-9


def test_there_are_summaries():
    assert len(FOUND) > 300, "an empty list would pass the next test"


def test_summaries_are_those_of_their_lists():
    wrong = []
    for place, summary in FOUND:
        raw, tolerance = np.array(summary["accuracies"], dtype=float), rounding(summary["accuracies"])
        names = [name for name in MEASURES if name in summary and (name != "std" or len(raw) > 1)]
        if summary["n"] != len(raw):
            wrong.append(f"{place}: n")
        wrong += [f"{place}: {name}" for name in names if abs(MEASURES[name](raw) - summary[name]) > tolerance]
    assert wrong == []
