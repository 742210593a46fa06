"""What the generated pages share: Markdown tables, where a number comes from, regions of a page that are written."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from experiments.records import DEFAULT_PROFILE, home, read_record, results_dir
from rpglib.errors import InputError
from rpglib.runtime.files import atomic

RECORDED = (DEFAULT_PROFILE, "gpu")
"""The profiles whose records the pages show; one of an earlier profile goes before one of the same name."""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in (columns, *rows)]
    return "\n".join([lines[0], "|---" * len(columns) + "|", *lines[1:]])


def paragraph(text: str) -> str:
    """The text in lines of at most 195 characters; links and commands stay whole."""
    return textwrap.fill(" ".join(text.split()), 195, break_long_words=False, break_on_hyphens=False)


def records() -> dict[str, dict]:
    """All records by name."""
    names = sorted({path.stem for profile in RECORDED for path in results_dir(profile).glob("*.json")})
    return {name: record(name) for name in names}


def record(name: str) -> dict:
    """One record; `InputError` where there is none."""
    return read_record(name, _profile(name))


def numbers(name: str) -> dict:
    """The numbers of one record."""
    return record(name)["numbers"]


def _profile(name: str) -> str:
    """The first profile that has a record of this name."""
    return next((p for p in RECORDED if (results_dir(p) / f"{name}.json").exists()), DEFAULT_PROFILE)


def hardware(record: dict) -> str:
    """What a record was measured on, in words."""
    found = record["provenance"]["hardware"]
    return f"{found['cores']} cores of an {found['cpu']}, {', '.join(found['gpus']) or 'no GPU'}"


def commit(record: dict) -> str:
    """The commit of a record, short, and whether the code was changed since."""
    found = record["provenance"]
    return f"`{(found['commit'] or 'none')[:10]}`{' with changes' if found['dirty'] else ''}"


def origin(*names: str) -> str:
    """One line below a table: the records it comes from, each with n, hardware and commit."""
    found = {name: record(name) for name in names}
    parts = (f"{link(name)} (n = {r['n']}; {hardware(r)}; commit {commit(r)})" for name, r in found.items())
    return f"Record{'s' if len(names) > 1 else ''}: {'; '.join(parts)}."


def link(name: str) -> str:
    """A link from the project's root to a record."""
    return f"[{name}](data/results/{_profile(name)}/{name}.json)"


def spread(found: Mapping[str, float]) -> str:
    """Mean ± standard deviation of a summary, in its unit."""
    return f"{found['mean']:.2f} ± {found['std']:.2f}"


def renewed(text: str, regions: Mapping[str, str]) -> str:
    """The text with what stands between the marks of each region replaced; `InputError` where marks are absent."""
    for name, content in regions.items():
        begin, end = marks(name)
        if begin not in text or end not in text:
            raise InputError(f"the page lacks the marks {begin} and {end}; put them where the region shall stand")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{content}\n{end}{rest.partition(end)[2]}"
    return text


def marks(name: str) -> tuple[str, str]:
    """The two comments between which a region stands."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def write(page: str, text: str) -> None:
    """Write a page of the project, whole or not at all."""
    with atomic(home() / page) as part:
        part.write_text(text, encoding="utf-8")


def notebook(number: str) -> Path:
    """The notebook of a number such as "07", relative to the project; `InputError` where there is none."""
    found = sorted((home() / "notebooks").glob(f"{number}_*.ipynb"))
    if len(found) != 1:
        raise InputError(f"{len(found)} notebooks have the number {number}; give one that exists")
    return found[0].relative_to(home())
