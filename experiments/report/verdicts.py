"""The verdicts that the committed notebooks hold: the Markdown tables of their cells tagged `verdicts`."""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from experiments.claims import Verdict
from experiments.records import home
from rpglib.errors import InputError

TAG = "verdicts"
CITATION = re.compile(
    r"\bv(?P<version>[12])\b"
    r"|\b(?P<kind>table|figure)(?: (?P<one>\d+[a-z]?)\b|s (?P<several>\d+[a-z]?(?:(?:,| and) \d+[a-z]?)*))"
)


@dataclass(frozen=True)
class Judged:
    """A notebook with its verdicts and the names of the records that it links to."""

    path: Path
    title: str
    verdicts: tuple[Verdict, ...]
    records: tuple[str, ...]

    @property
    def number(self) -> str:
        return self.path.stem.partition("_")[0]

    @property
    def link(self) -> str:
        """A link from the project's root."""
        return f"[{self.path.stem}]({self.path})"

    def verdict(self, part: str) -> Verdict:
        """The one verdict whose claim, or what the paper says of it, holds `part`; `InputError` unless it is one."""
        found = [v for v in self.verdicts if part in v.claim or part in v.paper]
        if len(found) != 1:
            raise InputError(f"{len(found)} claims of {self.path.name} hold {part!r}; name one by its words")
        return found[0]


def judged() -> dict[str, Judged]:
    """The numbered notebooks that have verdicts, by number; one without (a tutorial, say) is not among them."""
    return {found.number: found for path in _paths() if (found := _read(path, path.stat().st_mtime_ns)).verdicts}


def _paths() -> list[Path]:
    return sorted((home() / "notebooks").glob("[0-9]*.ipynb"))


@lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> Judged:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    prose = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    outputs = (o for cell in cells if TAG in cell["metadata"].get("tags", ()) for o in cell.get("outputs", ()))
    tables = ("".join(o["data"]["text/markdown"]) for o in outputs if "text/markdown" in o.get("data", {}))
    return Judged(
        path.relative_to(home()),
        prose.partition("\n")[0].lstrip("# "),
        tuple(verdict for markdown in tables for verdict in parsed(markdown)),
        tuple(dict.fromkeys(re.findall(r"\.\./data/results/\w+/(\w+)\.json", prose))),
    )


def parsed(markdown: str) -> list[Verdict]:
    """The verdicts of a table as `experiments.claims.Verdicts` writes it."""
    rows = (re.split(r"(?<!\\)\|", line)[1:-1] for line in markdown.splitlines()[2:])
    cells = ([cell.strip().replace(r"\|", "|") for cell in row] for row in rows)
    return [Verdict(claim, "" if paper == "-" else paper, ours, word) for claim, paper, ours, word in cells]


def citations(paper: str) -> set[tuple[str, str, str]]:
    """What a verdict cites: {("v1", "table", "4"), ...}; a part (4a) is there with its whole (4).

    A table or figure belongs to the version that was named last before it.
    """
    found, version = set(), ""
    for match in CITATION.finditer(paper):
        if match["version"]:
            version = f"v{match['version']}"
        elif version:
            for number, part in re.findall(r"(\d+)([a-z]?)", match["one"] or match["several"]):
                found |= {(version, match["kind"], number), (version, match["kind"], number + part)}
    return found
