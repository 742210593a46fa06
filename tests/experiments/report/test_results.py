"""RESULTS.md and the figures in the README are those of the records and of the notebooks' verdicts."""

import re
from pathlib import Path

import pytest

from experiments.report import pages, results, summary
from experiments.report.verdicts import judged
from rpglib.errors import InputError

ROOT = Path(__file__).parents[3]
RENEW = "run python -m experiments.report"


def text(page):
    return (ROOT / page).read_text(encoding="utf-8")


def test_results_are_current():
    assert text("RESULTS.md") == results.page(), RENEW


def test_figures_in_the_readme_are_current():
    assert pages.renewed(text("README.md"), summary.regions()) == text("README.md"), RENEW


def test_every_verdict_of_every_notebook_is_in_the_results():
    shown = text("RESULTS.md")
    for found in judged().values():
        assert str(found.path) in shown
        for verdict in found.verdicts:
            assert f"| {verdict.claim} |".replace("\\|", "|") in shown.replace("\\|", "|")


def test_the_readme_shows_at_most_ten_rows_each_with_a_verdict():
    rows = summary.results().splitlines()[2:]
    assert 1 <= len(rows) <= 10
    assert all(
        re.search(r"\| (not )?reproduced \||\| inconclusive \||\| (holds|does not hold) \|", row) for row in rows
    )


def test_a_page_without_marks_is_told():
    with pytest.raises(InputError, match="lacks the marks"):
        pages.renewed("# nothing", {"results": "a table"})


def test_a_region_alone_is_replaced():
    begin, end = pages.marks("a")
    assert pages.renewed(f"x\n{begin}\nold\n{end}\ny", {"a": "new"}) == f"x\n{begin}\nnew\n{end}\ny"


def test_a_notebook_that_is_not_there_is_told():
    with pytest.raises(InputError, match="0 notebooks have the number 99"):
        pages.notebook("99")
