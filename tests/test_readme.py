"""The README's figures are those of the records."""

from pathlib import Path

import pytest

from rpglib.errors import InputError
from rpglib.readme import renewed

README = Path(__file__).parents[1] / "README.md"


def test_results_are_the_records():
    text = README.read_text(encoding="utf-8")
    assert renewed(text) == text, "run python -m rpglib.readme"


def test_a_readme_without_marks_is_told():
    with pytest.raises(InputError, match="lacks the marks"):
        renewed("# nothing")
