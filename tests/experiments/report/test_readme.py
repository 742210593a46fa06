"""The README's figures are those of the records."""

from pathlib import Path

import pytest

from experiments.report.readme import renewed
from rpglib.errors import InputError

README = Path(__file__).parents[3] / "README.md"


def test_results_are_the_records():
    text = README.read_text(encoding="utf-8")
    assert renewed(text) == text, "run python -m experiments.report.readme"


def test_a_readme_without_marks_is_told():
    with pytest.raises(InputError, match="lacks the marks"):
        renewed("# nothing")
