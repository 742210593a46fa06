"""Verdicts are read back from the tables that notebooks display, and what they cite is found."""

import json

import pytest

from experiments.claims import Claims
from experiments.report.verdicts import citations, judged, parsed
from rpglib.errors import InputError


def verdicts():
    claims = Claims()
    claims.add("a | b differ", [1.0, 1.1, 1.2], above=0, paper="v1, table 4a: 75.3 %")
    claims.fact("ours holds", True, "counted: 3")
    return claims.verdicts()


def home(folder, **notebooks):
    """A project of notebooks, name -> cells."""
    (folder / "notebooks").mkdir()
    for name, cells in notebooks.items():
        (folder / "notebooks" / f"{name}.ipynb").write_text(json.dumps({"cells": cells}))
    return folder


def cells(tag="verdicts"):
    display = {"data": {"text/markdown": verdicts()._repr_markdown_().splitlines(keepends=True)}}
    return [
        {"cell_type": "markdown", "metadata": {}, "source": ["# A question\n", "[r](../data/results/cpu/r.json)"]},
        {"cell_type": "code", "metadata": {"tags": [tag]}, "source": [], "outputs": [display]},
    ]


def test_a_table_gives_back_its_verdicts():
    assert parsed(verdicts()._repr_markdown_()) == list(verdicts())


def test_notebooks_with_verdicts_are_found_by_number(tmp_path, monkeypatch):
    monkeypatch.setenv("RPG_HOME", str(home(tmp_path, **{"07_a": cells(), "08_b": cells("other"), "notes": cells()})))
    assert list(judged()) == ["07"]
    found = judged()["07"]
    assert (found.link, found.title, found.records) == ("[07_a](notebooks/07_a.ipynb)", "A question", ("r",))
    assert found.verdict("ours holds").word == "holds"
    assert found.verdict("table 4a").claim == "a | b differ"


@pytest.mark.parametrize("part", ["nothing such", ""], ids=["none", "both"])
def test_a_claim_that_is_not_one_is_told(tmp_path, monkeypatch, part):
    monkeypatch.setenv("RPG_HOME", str(home(tmp_path, **{"07_a": cells()})))
    with pytest.raises(InputError, match=r"claims of 07_a\.ipynb hold"):
        judged()["07"].verdict(part)


@pytest.mark.parametrize(
    ("paper", "cited"),
    [
        ("v1, table 4a: fails", {("v1", "table", "4"), ("v1", "table", "4a")}),
        ("v1, tables 9, 10 and 14: 5", {("v1", "table", "9"), ("v1", "table", "10"), ("v1", "table", "14")}),
        ("v1, figure 7; v2, table 5: 3", {("v1", "figure", "7"), ("v2", "table", "5")}),
        ("v1, table 15 (v2, table 17): 88.1", {("v1", "table", "15"), ("v2", "table", "17")}),
        ("v2, section C.9: noise", set()),
        ("table 4: no version", set()),
        ("", set()),
    ],
)
def test_citations(paper, cited):
    assert citations(paper) == cited
