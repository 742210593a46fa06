"""PAPER.md is current and names every table and figure of both versions once."""

from collections import Counter
from pathlib import Path

import pytest

from experiments.claims import Verdict
from experiments.report import paper
from experiments.report.verdicts import Judged, judged

PAGE = Path(__file__).parents[3] / "PAPER.md"
KNOWN = {
    "v1": [*(f"table {n}" for n in range(1, 17)), *(f"figure {n}" for n in range(1, 11))],
    # Of v2 the appendix is known, with the tables and figures that it cites.
    "v2": [
        *(f"table {n}" for n in (5, 6, 9, *range(14, 28))),
        *(f"figure {n}" for n in (1, 2, 3, 4, 5, 6, 7, "8a", "8b")),
    ],
}


def test_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == paper.page(), "run python -m experiments.report"


@pytest.mark.parametrize("version", KNOWN)
def test_every_table_and_figure_is_listed_once(version):
    listed = Counter(name for item in paper.ITEMS if (name := getattr(item, version)) not in ("", "?"))
    assert listed == Counter(KNOWN[version])


@pytest.mark.parametrize("item", paper.ITEMS, ids=lambda item: (item.names or (item.content,))[0])
def test_every_item_has_a_status(item):
    known = judged()
    if not item.status and not all(number in known for number in item.notebooks):
        pytest.skip("its notebook has no verdicts yet")
    assert not paper.status(item, known).startswith("no verdict")


def notebook(*words):
    verdicts = tuple(Verdict("c", "v1, table 4b: 75 %", "o", word) for word in words)
    return {"07": Judged(Path("notebooks/07_a.ipynb"), "A", verdicts, ())}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("reproduced",), "reproduced"),
        (("inconclusive", "inconclusive"), "inconclusive"),
        (("reproduced", "not reproduced", "reproduced"), "2 reproduced, 1 not reproduced"),
        ((), "no verdict"),
    ],
)
def test_a_status_counts_the_verdicts_that_cite_the_item(words, expected):
    assert paper.status(paper.Item("table 4", "?", "x"), notebook(*words)) == expected
    assert paper.status(paper.Item("table 5", "?", "x"), notebook(*words)) == "no verdict"


def test_what_was_not_attempted_stays_so_whatever_cites_it():
    item = paper.Item("table 4", "?", "x", status="not attempted: why", note="more")
    assert paper.status(item, notebook("reproduced")) == "not attempted: why; more"
