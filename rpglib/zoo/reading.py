"""Checkpoints as people have them, made ready for a zoo: wrappers and prefixes taken off, parts chosen, facts joined.

A checkpoint in files stays there: its tensors are read, under the zoo's names, whenever they are asked for.
"""

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from torch import Tensor

from rpglib.errors import InputError, shown
from rpglib.runtime.arguments import each
from rpglib.runtime.arguments import path as a_path
from rpglib.runtime.files import read_bytes, read_json
from rpglib.tasks.conditions import Condition
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.files import COUNTER, SHOWN, inside, load, prefix_of, version
from rpglib.zoo.layouts import Found
from rpglib.zoo.public import known, shapes

FILE, ACCURACY, RUN, TASK = MEANING = "file", "accuracy", "run", "task"
"""Columns of a table that mean something here; all others are kept as they are."""


@dataclass(frozen=True)
class Place:
    """Where one tensor lies: in which file (None: in memory), and what it is called there."""

    path: Path | None
    name: str


@dataclass(frozen=True)
class Places:
    """Where a checkpoint's tensors lie, by the zoo's names: what a zoo takes of it, and what it leaves (`rest`).

    wrapper: the names of the dicts around its state dict; versions: of its files, as they were when it was read.
    """

    names: Mapping[str, Place]
    rest: Mapping[str, Place]
    wrapper: str
    versions: Mapping[Path, tuple]

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Some of the tensors, from the files as they are now; `InputError` where one has changed since."""
        places, held = {**self.names, **self.rest}, {}
        wanted = {name: places[name] for name in names}
        for path in {place.path for place in wanted.values()}:
            if version(path) != self.versions[path]:
                raise InputError(f"{path} has changed since it was read; read the zoo again")
            held[path] = inside(load(path), self.wrapper or None, str(path))[1]
        return {name: held[place.path][place.name] for name, place in wanted.items()}


@dataclass(frozen=True)
class Selected:
    """One checkpoint of a source, opened.

    tensors, rest: those that a zoo takes and those that it leaves, mapped from the files; an entry of another kind is
    among the first where it was chosen. beside: what else stood beside the state dict; prefix: what was taken off all
    names; architecture: the one that was given or is recognised.
    """

    found: Found
    places: Places
    tensors: Mapping[str, Tensor]
    rest: Mapping[str, Tensor]
    beside: tuple[str, ...]
    prefix: str
    architecture: Architecture | None

    @property
    def note(self) -> tuple:
        """What `report` says of it."""
        own = "named as in this library" if self.renamed else ""
        under = f"state dict under {self.places.wrapper!r}" if self.places.wrapper else ""
        if under and self.beside:
            under += f", beside {', '.join(self.beside[:SHOWN])}{', ...' if len(self.beside) > SHOWN else ''}"
        return self.found.kind, under, f"prefix {self.prefix!r} taken off" if self.prefix else "", own

    @property
    def renamed(self) -> bool:
        return any(self.prefix + name != place.name for name, place in self.places.names.items())


def selected(
    found: Found, key: str | None, include: Sequence[str], exclude: Sequence[str], architecture: Architecture | None
) -> Selected:
    """Open one checkpoint; raises `InputError` where it is no state dict, and where it is not clear which one."""
    tensors, places, wrapper, beside = {}, {}, "", ()
    versions = {path: version(path) for path in found.files}
    for path, wanted in {**found.files, **({None: None} if found.content is not None else {})}.items():
        content = found.content if path is None else load(path)
        wrapper, state = inside(content, key, found.label if path is None else str(path))
        if wrapper and isinstance(content, Mapping):
            beside = tuple(str(name) for name in content if name != wrapper.split("/")[0])
        if wanted is not None:
            if missing := [name for name in wanted if name not in state]:
                raise InputError(f"{path} lacks {missing[0]!r}, which the index says it holds; copy it again")
            state = {name: state[name] for name in wanted}
        tensors |= state
        places |= dict.fromkeys(state, path)
    if any(not isinstance(name, str) for name in tensors):
        name = next(name for name in tensors if not isinstance(name, str))
        raise InputError(f"{found.label} has a key {shown(name)} that is no name; give a dict of names and tensors")
    prefix = prefix_of(tensors)
    counters = [COUNTER] if prefix and COUNTER in tensors else []
    inner = {name.removeprefix(prefix): Place(path, name) for name, path in places.items() if name not in counters}
    own = {name: tensors[place.name] for name, place in inner.items()}
    if all(isinstance(x, Tensor) for x in own.values()) and (public := known(own)):
        recognised, names = public
        inner = {ours: inner[there] for there, ours in names.items()}
    else:
        recognised = _of_timm(found, own)
    chosen = _chosen(found, inner, include, exclude)
    if architecture is not None:
        _check_shapes(architecture, {name: tensors[place.name] for name, place in chosen.items()}, found)
    architecture = architecture or recognised
    rest = {n: place for n, place in inner.items() if n not in chosen and isinstance(tensors[place.name], Tensor)}
    rest |= {name: Place(places[name], name) for name in counters}
    names = {name: chosen[name] for name in _order(architecture, chosen)}
    return Selected(
        found,
        Places(names, rest, wrapper, versions),
        *({name: tensors[place.name] for name, place in part.items()} for part in (names, rest)),
        beside,
        prefix,
        architecture,
    )


def patterns(what: str, given) -> tuple[str, ...]:
    """Names or patterns of tensors, one or a list of them."""
    if given is None:
        return ()
    found = tuple(each(what, [given] if isinstance(given, str) else given, "names or patterns of tensors"))
    for x in found:
        if not isinstance(x, str) or not x:
            raise InputError(f"{what} takes names or patterns of tensors, such as 'head.*', not {shown(x)}")
    return found


def _chosen(found: Found, names: Mapping[str, Place], include: Sequence[str], exclude: Sequence[str]) -> dict:
    def matches(name: str, patterns: Sequence[str]) -> bool:
        return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)

    for pattern in (*include, *exclude):
        if not any(matches(name, [pattern]) for name in names):
            some = ", ".join(list(names)[:SHOWN])
            raise InputError(
                f"{found.label} has no tensor {pattern!r}; it has {some}{', ...' if len(names) > 6 else ''}"
            )
    kept = {n: x for n, x in names.items() if (not include or matches(n, include)) and not matches(n, exclude)}
    if not kept and names:
        raise InputError(f"include and exclude leave no tensor of {found.label}; choose at least one")
    return kept


def _order(architecture: Architecture | None, names: Mapping[str, Place]) -> list[str]:
    """The names in the network's own order where that is known: a safetensors file keeps them by alphabet."""
    if architecture is not None:
        own = [name for name in shapes(architecture) if name in names]
        if len(own) == len(names):
            return own
    return list(names)


def _check_shapes(architecture: Architecture, tensors: Mapping[str, Tensor], found: Found) -> None:
    own = shapes(architecture)
    for name, x in tensors.items():
        if isinstance(x, Tensor) and own.get(name) != tuple(x.shape):
            wanted = f"{own[name]} in" if name in own else "no tensor of"
            raise InputError(
                f"{found.label}: {name!r} is {tuple(x.shape)}, and {wanted} {architecture.name} as it was given; give "
                "the architecture that was trained, or none"
            )


def _of_timm(found: Found, tensors: Mapping) -> Architecture | None:
    """The architecture that a timm folder's config.json names, where the weights are those of it."""
    if found.folder is None or not (found.folder / "config.json").is_file():
        return None
    said = read_json(found.folder / "config.json")
    pretrained = said.get("pretrained_cfg") if isinstance(said, dict) else None
    name, size = (
        (said.get("architecture"), pretrained.get("input_size")) if isinstance(pretrained, dict) else (None,) * 2
    )
    if not isinstance(name, str) or not isinstance(size, list) or not all(isinstance(x, int) for x in size):
        return None
    try:
        architecture = Architecture(name, said.get("num_classes", 1000), size[0], size[-1])
        fits = shapes(architecture) == {name: tuple(getattr(x, "shape", ())) for name, x in tensors.items()}
    except (InputError, IndexError, RuntimeError):
        return None
    return architecture if fits else None


def report(notes: Sequence[tuple], first: Selected) -> str:
    """What was read and what was taken off, in one line, from the notes of all checkpoints and the first of them."""
    kinds, *others = (Counter(filter(None, column)) for column in zip(*notes, strict=True))
    parts = [f"{n} x {kind}" for kind, n in kinds.items()]
    parts += [text if n == len(notes) else f"{text} ({n})" for column in others for text, n in column.items()]
    if first.architecture is not None:
        parts.append(f"network {first.architecture.name}")
    parts.append(f"{len(first.tensors)} tensors of {sum(x.numel() for x in first.tensors.values()):,} values")
    if first.rest:
        parts.append(f"{len(first.rest)} tensors left out")
    return "; ".join(parts)


# ---- tables ----------------------------------------------------------------------------------------------------------


def table_of(given) -> list[dict] | None:
    """The rows of a table: a CSV or JSON file, a list of dicts, or a pandas table; raises `InputError` for all else."""
    if given is None:
        return None
    if isinstance(given, str | os.PathLike):
        path = Path(a_path("table", given, {}))
        given = _csv(path) if path.suffix.lower() == ".csv" else read_json(path)
        if isinstance(given, dict) and all(isinstance(row, dict) for row in given.values()):
            given = [{FILE: name, **row} for name, row in given.items()]
    if hasattr(given, "columns"):
        given = given.to_dict("records")
    rows = list(each("table", given, "rows, each a dict with the names of columns"))
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
            raise InputError(f"row {i} of the table is {shown(row)}; give a dict with the names of columns")
        try:
            json.dumps(row, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise InputError(f"row {i} of the table is {shown(row)}; give numbers and text") from None
    return [dict(row) for row in rows]


def _csv(path: Path) -> list[dict]:
    try:
        text = read_bytes(path).decode("utf-8-sig")
        rows = list(csv.DictReader(text.splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no CSV table ({error}); write it again") from None
    for row in rows:
        if None in row or None in row.values():
            raise InputError(f"{path}: a row has other columns than the first line names; write it again")
    return rows


@dataclass(frozen=True)
class Facts:
    """What is known of N checkpoints: runs (N,), accuracies (N,) or None each, tasks (N, bits) or None."""

    runs: list[int]
    accuracies: list[float | None]
    tasks: list[list[int]] | None
    sources: list[dict]


def joined(found: Sequence[Found], rows: Sequence[dict] | None) -> Facts:
    """Join checkpoints and a table by the name of the file; raises `InputError` where a row fits none, or several.

    A table without file names fits checkpoints in memory, row by row. Where nothing tells of runs, each checkpoint
    counts as a run of its own.
    """
    known_rows = _matched(found, rows) if rows is not None else [{} for _ in found]
    accuracies = [
        _accuracy(row.get(ACCURACY), x.label) if _given(row, ACCURACY) else x.accuracy
        for row, x in zip(known_rows, found, strict=True)
    ]
    labels = [row[RUN] if _given(row, RUN) else x.run for row, x in zip(known_rows, found, strict=True)]
    if absent := [x.label for x, label in zip(found, labels, strict=True) if label is None]:
        if len(absent) < len(found):
            raise InputError(f"the run of {absent[0]} is not told, that of others is; name all of them or none")
        labels = list(range(len(found)))
    tasks = [_task(row[TASK], x.label) if _given(row, TASK) else None for row, x in zip(known_rows, found, strict=True)]
    if lacking := [x.label for x, task in zip(found, tasks, strict=True) if task is None]:
        if len(lacking) < len(found):
            raise InputError(f"the task of {lacking[0]} is not told, that of others is; name all of them or none")
    sources = [
        {FILE: x.label, **{name: value for name, value in row.items() if name not in MEANING}}
        for row, x in zip(known_rows, found, strict=True)
    ]
    return Facts(_numbered(labels), accuracies, None if lacking else tasks, sources)


def conditions_of(sources: Sequence[Mapping], described_by: Sequence[Condition]) -> list[list[float]] | None:
    """The columns that conditions are named after, in their order (N, C); None where nothing is described.

    Raises `InputError` for a checkpoint without one of them, and for what is no number.
    """
    rows = []
    if taken := [one.name for one in described_by if one.name in MEANING]:
        raise InputError(f"the table's column {taken[0]!r} is no condition but has a meaning of its own; rename it")
    for source in sources if described_by else ():
        rows.append([])
        for condition in described_by:
            value = source.get(condition.name)
            if value in (None, ""):
                raise InputError(
                    f"the table tells no {condition.name!r} of {source[FILE]}; give it a column of that name, and a "
                    "number in each row"
                )
            try:
                rows[-1].append(float(value))
            except (TypeError, ValueError):
                raise InputError(f"{condition.name} of {source[FILE]} is {shown(value)}; give a number") from None
    return rows or None


def _given(row: Mapping, column: str) -> bool:
    return row.get(column) not in (None, "")


def _matched(found: Sequence[Found], rows: Sequence[dict]) -> list[dict]:
    named = [FILE in row for row in rows]
    if not any(named):
        if all(x.content is not None for x in found) and len(rows) == len(found):
            return list(rows)
        raise InputError(
            f"the table has {len(rows)} rows without the column {FILE!r}, for {len(found)} checkpoints; name the file "
            "of each row"
        )
    ways = [{}, {}, {}]
    for i, x in enumerate(found):
        path = Path(x.label)
        for way, name in zip(ways, (x.label, path.name, path.stem), strict=True):
            way.setdefault(name, []).append(i)
    matched: dict[int, dict] = {}
    for row in rows:
        name = str(row.get(FILE))
        fitting = next((way[name] for way in ways if name in way), [])
        if len(fitting) != 1:
            fault = "no checkpoint" if not fitting else f"{len(fitting)} checkpoints ({found[fitting[0]].label}, ...)"
            raise InputError(f"the table's {shown(name)} is {fault}; name files as {found[0].label}")
        if fitting[0] in matched:
            raise InputError(f"the table has two rows for {found[fitting[0]].label}; keep one")
        matched[fitting[0]] = row
    return [matched.get(i, {}) for i in range(len(found))]


def _accuracy(value, label: str) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        found = float(value)
        if not -1e300 < found < 1e300:
            raise ValueError
    except (TypeError, ValueError):
        raise InputError(f"the accuracy of {label} is {shown(value)}; give a number, or nothing") from None
    return found


def _task(value, label: str) -> list[int]:
    bits = list(value.replace(" ", "").replace(",", "")) if isinstance(value, str) else value
    if not isinstance(bits, list) or not bits or any(str(bit) not in ("0", "1") for bit in bits):
        raise InputError(f"the task of {label} is {shown(value)}; give its bits, such as '0 1 1'")
    return [int(bit) for bit in bits]


def _numbered(labels: Sequence) -> list[int]:
    """Runs as numbers: as they are where all are whole numbers from 0, by first appearance otherwise.

    Where two names are one number ("1" and "01"), they are names.
    """
    texts = [str(label) for label in labels]
    if all(text.isascii() and text.isdecimal() and len(text) < 10 for text in texts):
        numbers = [int(text) for text in texts]
        if len({*numbers}) == len({*texts}):
            return numbers
    order = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return [order[text] for text in texts]
