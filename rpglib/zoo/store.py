"""A zoo: trained checkpoints of one architecture, kept as safetensors shards with a manifest."""

import hashlib
import math
import operator
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, Sized
from dataclasses import dataclass
from itertools import islice
from numbers import Real
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from rpglib.errors import InputError, shown
from rpglib.runtime.arguments import dense, each, flag, network, takes, whole
from rpglib.runtime.files import read_json, save_tensors, write_json
from rpglib.runtime.hub import check_name, push
from rpglib.runtime.state_dicts import Checkpoint, check_state_dict, check_views, plain, same, tied
from rpglib.tasks.conditions import Condition, described
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.facts import checked
from rpglib.zoo.files import COUNTER
from rpglib.zoo.layouts import FORMAT, MANIFEST, find, is_zoo, local
from rpglib.zoo.reading import Places, conditions_of, joined, patterns, report, selected, table_of
from rpglib.zoo.sharing import write_card, write_manifest

SHARD_BYTES = 256 * 2**20
"""A shard is closed when it holds this much; a larger checkpoint has a shard of its own."""


class Zoo:
    """N checkpoints of one architecture; `zoo[i]` is a state dict, read from the memory-mapped shard when asked for.

    runs (N,) int64, from 0: which independent run a checkpoint comes from (its permutation state); tasks (N, bits)
    int64 of 0 and 1, or None: what its run had to tell apart; conditions (N, C) float64, or None: what it is for, as
    the `described_by` say, a `Condition` for each column; accuracies (N,) float64: percent on the unaugmented test
    images, NaN where not known; architecture: what it is a checkpoint of, None where that is not known; images: the
    data set's name, or None; config: how it was collected (JSON values). Shards are compared with their checksums when
    they are first read. sources: where each checkpoint was read, and what its table said of it; None where none was.
    Make one with `collect`, `Zoo.read`, `Zoo.write`, `Zoo.open` or `Zoo.from_checkpoints`.
    """

    def __init__(
        self,
        shards: Sequence["_MemoryShard | _FileShard | _PlacesShard"],
        facts: Mapping,
        rows: Sequence[int] | None = None,
    ):
        self._shards = shards
        self._facts = facts
        self._rows = torch.arange(len(facts["runs"])) if rows is None else torch.as_tensor(rows, dtype=torch.int64)
        said = facts["architecture"]
        self.architecture = None if said is None else Architecture.from_dict(said)
        self.images: str | None = facts["images"]
        self.config: dict = facts["config"]
        self.runs = torch.tensor(facts["runs"], dtype=torch.int64)[self._rows]
        known = [math.nan if x is None else x for x in facts["accuracies"]]
        self.accuracies = torch.tensor(known, dtype=torch.float64)[self._rows]
        tasks = facts["tasks"]
        self.tasks = None if tasks is None else torch.tensor(tasks, dtype=torch.int64)[self._rows]
        rows = facts.get("conditions")
        self.conditions = None if rows is None else torch.tensor(rows, dtype=torch.float64)[self._rows]
        self.described_by = described("described_by", facts.get("described_by", ()))
        # What the weights of a checkpoint are called in its folder, and where settings lie beside them.
        self.settings: tuple[str, Path] | None = facts.get("settings")
        sources = facts.get("sources")
        self.sources = None if sources is None else [sources[i] for i in self._rows.tolist()]
        self._ends = torch.tensor([shard.count for shard in shards]).cumsum(0)

    @classmethod
    def read(
        cls,
        source,
        *,
        table=None,
        include: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        key: str | None = None,
        architecture: Architecture | None = None,
        images: str | None = None,
        described_by: Sequence[Condition] = (),
        revision: str | None = None,
    ) -> "Zoo":
        """Read checkpoints as people have them; files stay where they are and are read there when asked for.

        source: a file, a folder or a pattern of files (safetensors, also in shards with an index; what torch.save
        wrote, read without running anything of it), folders of transformers, timm and PEFT, runs of ModelZoos, a hub
        name ("owner/name", or "datasets/owner/name"; `revision` as there), a state dict or a module; or a list of such.
        A zoo that `write` stored is opened as it is. The state dict in a larger dict (a training's state, Lightning's)
        is found where there is one; `key` says which of several. The prefixes of `DataParallel` and `torch.compile` are
        taken off; networks of the public zoos get the names of ours. `config["read"]` says in one line what was done.

        table: what is known of the files: a CSV or JSON file, or rows as dicts, with the columns file, and accuracy
        (percent), run, task (bits), as far as there are any; others are kept in `sources`. Without runs, each
        checkpoint counts as a run of its own. include, exclude: names or patterns of the tensors that the zoo is of;
        `complete` gives the others back. described_by: the conditions of the checkpoints, columns of the table by
        their names. architecture: what the checkpoints fit, where `build` is wanted; timm's
        folders tell it themselves.
        Raises `InputError` where a source is absent, damaged, or could be meant in several ways, which it names; where
        checkpoints differ in their tensors; for NaN; and for a table that does not fit.
        """
        source = local(source, revision)
        options = {"table": table, "include": include, "exclude": exclude, "key": key, "architecture": architecture}
        if isinstance(source, Path) and source.is_dir() and is_zoo(source):
            options |= {"images": images, "described_by": described_by or None}
            if given := [name for name, value in options.items() if value is not None]:
                raise InputError(f"{source} is a zoo that knows its own facts; read it without {given[0]}")
            return cls.open(source)
        include, exclude, rows = patterns("include", include), patterns("exclude", exclude), table_of(table)
        if not isinstance(key, str | None):
            raise InputError(f"key names the dict that holds the state dict, not {shown(key)}")
        if not isinstance(architecture, Architecture | None):
            raise InputError(f"architecture is a {type(architecture).__name__}; give Architecture(name, ...) or None")
        found = find(source, revision)
        known, described_by = joined(found, rows), described("described_by", described_by)
        conditions = conditions_of(known.sources, described_by)
        # All that can be said of them without their tensors, which may be hours of reading.
        facts = checked(None, known.runs, known.accuracies, known.tasks, images, None, conditions, described_by)
        check, shards, notes, first = _Check(), [], [], None
        for x in found:
            opened = selected(x, key, include, exclude, architecture)
            first, notes = first or opened, [*notes, opened.note]
            for name in sorted(opened.rest.keys() ^ first.rest.keys()):
                raise InputError(f"{x.label} and {first.found.label} differ in the tensor {name!r} that is left out")
            kept = check(opened.tensors, x.label, copied=x.content is not None)
            if x.content is None:
                shards.append(_PlacesShard(opened.places))
            else:
                rest = {name: plain(tensor).clone() for name, tensor in opened.rest.items()}
                shards.append(_MemoryShard(1, _stack([kept | rest])))
        told = None if first.architecture is None else first.architecture.to_dict()
        facts |= {"architecture": told, "config": {"read": report(notes, first)}}
        own = {name: place.name for name, place in {**first.places.names, **first.places.rest}.items()}
        lies = {"sources": known.sources, "own": own}
        if first.found.weights is not None:
            lies["settings"] = (first.found.weights, first.found.folder)
        return cls(shards, facts | check.facts(facts, []) | lies)

    @classmethod
    def write(
        cls,
        path: str | Path,
        checkpoints: Iterable[Checkpoint | tuple[Checkpoint, float]],
        *,
        architecture: Architecture | None = None,
        runs: Sequence[int],
        accuracies: Sequence[float] | None,
        tasks: Sequence[Sequence[int]] | None = None,
        images: str | None = None,
        config: Mapping | None = None,
        conditions: Sequence[Sequence[float]] | None = None,
        described_by: Sequence[Condition] = (),
    ) -> "Zoo":
        """Store checkpoints in the folder `path` and return the zoo that reads them from there.

        `checkpoints` is read one at a time, after everything else was checked. With accuracies=None none is known, but
        those that come as pairs of a checkpoint and its accuracy. An older zoo in `path` stays whole until the new
        manifest replaces the old one.
        Raises `InputError` for facts that no generator can use, checkpoints that differ in their tensors, that hold NaN
        or, where others do not, infinity; where nothing can be written, and where a file that is no zoo's stands in the
        manifest's place. Where more or fewer checkpoints come than there are facts, what came stays in the folder.
        """
        folder, check = _folder(path), _Check()
        facts = checked(architecture, runs, accuracies, tasks, images, config, conditions, described_by)
        count, measured = len(facts["runs"]), []
        given = _each(checkpoints, count, None if accuracies is not None else measured)
        _shard_files(folder)  # refuses before the first checkpoint is made, which may take hours
        # A name of its own for every writing: no shard of an older zoo is touched before the manifest changes.
        stamp = secrets.token_hex(4)
        try:
            entries = [
                _write_shard(folder / f"{stamp}-{k:05d}.safetensors", tensors)
                for k, tensors in enumerate(_stacked_shards(islice(given, count), check))
            ]
            fault = _miscounted(given, count, check.count)
            if fault is None:
                manifest = {"format": FORMAT, **facts, **check.facts(facts, measured), "shards": entries}
                _open(folder, manifest)  # a zoo that cannot be read replaces none
                replaced = _shard_files(folder)
                write_json(folder / MANIFEST, manifest)
        except BaseException:
            _delete(folder.glob(f"{stamp}-*.safetensors"))
            raise
        if fault is not None:
            raise InputError(fault + (f" (those that came are in {folder / stamp}-*.safetensors)" if entries else ""))
        _delete(replaced)
        return cls.open(folder)

    @classmethod
    def open(cls, path: str | Path) -> "Zoo":
        """Open a stored zoo; raises `InputError` where it is absent, incomplete or damaged."""
        folder = _folder(path)
        return _open(folder, _manifest(folder))

    @classmethod
    def from_checkpoints(
        cls,
        checkpoints: Iterable[Checkpoint | tuple[Checkpoint, float]],
        *,
        architecture: Architecture | None = None,
        runs: Sequence[int],
        accuracies: Sequence[float] | None,
        tasks: Sequence[Sequence[int]] | None = None,
        images: str | None = None,
        config: Mapping | None = None,
        conditions: Sequence[Sequence[float]] | None = None,
        described_by: Sequence[Condition] = (),
    ) -> "Zoo":
        """Return a zoo that is kept in memory; the same facts and errors as `Zoo.write`."""
        check, measured = _Check(), []
        facts = checked(architecture, runs, accuracies, tasks, images, config, conditions, described_by)
        count = len(facts["runs"])
        given = _each(checkpoints, count, None if accuracies is not None else measured)
        shards = [_MemoryShard(_count(x), x) for x in _stacked_shards(islice(given, count), check)]
        if fault := _miscounted(given, count, check.count):
            raise InputError(fault)
        return cls(shards, facts | check.facts(facts, measured))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int | slice) -> "dict[str, Tensor] | Zoo":
        """Return the state dict of one checkpoint, or the zoo of a slice.

        An index out of range raises `IndexError`, which ends iteration.
        """
        if isinstance(index, slice):
            return self.subset(range(*index.indices(len(self))))
        try:
            number = operator.index(index)
        except TypeError:
            raise InputError(
                f"a checkpoint has a whole number, not a {type(index).__name__}; see subset and stacked"
            ) from None
        if not -len(self) <= number < len(self):
            raise IndexError(f"checkpoint {number} of {len(self)}")
        return {name: tensor[0] for name, tensor in self._read(self._rows[number].view(1)).items()}

    def __repr__(self) -> str:
        of = f" of {self.architecture.name}" if self.architecture is not None else ""
        on = f" on {self.images}" if self.images is not None else ""
        return f"Zoo({len(self)} checkpoints{of}{on}, {len(self.runs.unique())} runs)"

    def stacked(self, indices: Sequence[int] | None = None, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return the tensors of all or of the chosen checkpoints side by side: name -> (N, ...), all or those named."""
        known = self._facts["names"]
        if names is not None:
            if isinstance(names, str) or not isinstance(names, Iterable):
                raise InputError(f"names takes a list of names of tensors, not {shown(names)}")
            names = list(each("names", names, "names of tensors"))
        for name in names or ():
            if not isinstance(name, str) or name not in known:
                raise InputError(f"these checkpoints have no tensor {str(name)[:60]!r}; see zoo[0].keys()")
        return self._read(self._rows if indices is None else self._chosen(indices), names)

    def _read(self, rows: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        # In the network's own order: a file keeps tensors by alphabet, a tokenizer lays them out as they come.
        held = {
            name: self._facts["tied"].get(name, name) for name in (self._facts["names"] if names is None else names)
        }
        holders = torch.searchsorted(self._ends, rows, right=True)
        firsts = self._ends - self._ends.diff(prepend=torch.zeros(1, dtype=torch.int64))
        wanted = set(held.values())
        parts = [self._shards[k].read(rows[holders == k] - firsts[k], wanted) for k in holders.unique().tolist()]
        if len(parts) > 1:  # the parts come shard by shard
            back = holders.argsort(stable=True).argsort()
            parts = [{name: torch.cat([part[name] for part in parts])[back] for name in parts[0]}]
        return {name: parts[0][source] for name, source in held.items()}

    @property
    def files(self) -> set[Path]:
        """The files of others that its checkpoints are read from; none where they were copied."""
        lying = [shard.places for shard in self._shards if isinstance(shard, _PlacesShard)]
        return {path.resolve() for places in lying for path in places.versions}

    def subset(self, indices: Sequence[int] | Tensor) -> "Zoo":
        """Return the zoo of the chosen checkpoints (indices or a boolean mask), on the same storage."""
        return Zoo(self._shards, self._facts, self._chosen(indices))

    def _chosen(self, indices: Sequence[int] | Tensor) -> Tensor:
        try:
            indices = dense("checkpoints", torch.as_tensor(indices))
            # PyTorch takes these for a mask.
            rows = self._rows[indices.long() if indices.dtype == torch.uint8 else indices]
        except InputError:
            raise
        except (IndexError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"checkpoints are chosen by numbers from 0 to {len(self) - 1} or a mask ({reason})"
            ) from None
        if rows.ndim != 1 or not len(rows):
            raise InputError(f"choose at least one of {len(self)} checkpoints, by a list of numbers or a mask")
        return rows

    @takes(private=flag)
    def push_to_hub(
        self, repo_id: str, *, private: bool = False, licence: str = "other", token: str | None = None
    ) -> str:
        """Push the zoo to the hub, as a data set that `Zoo.read("datasets/owner/name")` opens; returns the address.

        Its shards are written anew: what was read where it lies is copied. Beside them stand a manifest in parquet and
        a card with that licence. Raises `InputError` with the hub's reason where that is refused.
        """
        check_name(repo_id)
        known = [None if math.isnan(x) else x for x in self.accuracies.tolist()]
        tasks = None if self.tasks is None else self.tasks.tolist()
        with tempfile.TemporaryDirectory(prefix="rpglib-") as folder:
            facts = {"architecture": self.architecture, "images": self.images, "config": self.config}
            facts |= {"conditions": self.conditions, "described_by": self.described_by}
            stored = Zoo.write(folder, self, runs=self.runs, accuracies=known, tasks=tasks, **facts)
            rows = [
                {"checkpoint": i, "run": run, "accuracy": known[i]}
                | ({} if tasks is None else {"task": " ".join(map(str, tasks[i]))})
                | ({} if self.sources is None else self.sources[i])
                for i, run in enumerate(self.runs.tolist())
            ]
            write_manifest(Path(folder), rows)
            of = f" of {self.architecture.name}" if self.architecture is not None else ""
            values = sum(x.numel() for x in stored[0].values())
            numbers = {"count": len(self), "of": of, "values": values, "runs": len(self.runs.unique())}
            write_card(Path(folder), repo_id, licence, **numbers)
            return push(Path(folder), repo_id, "dataset", private, token, "A zoo of rpglib")

    def build(self) -> nn.Module:
        """Return an untrained network that the checkpoints fit; `InputError` where their architecture is not known."""
        if self.architecture is None:
            raise InputError(
                "this zoo does not know its architecture; build the network yourself, or read the zoo with "
                "architecture=Architecture(name, ...), of this library or of timm"
            )
        return self.architecture.build()

    @takes(network=network, index=whole(0), own_names=flag)
    def complete(self, network: Checkpoint, index: int = 0, own_names: bool = True) -> dict[str, Tensor]:
        """The network as the files had it: by their own names, with what the zoo left out of checkpoint `index`.

        So a generated part becomes a whole network again. own_names=False keeps the zoo's names, without what was taken
        off, an averaged model's counter too. Raises `InputError` where its tensors are not the zoo's.
        """
        if index >= len(self):
            raise InputError(f"there is no checkpoint {index} of {len(self)}")
        if network.keys() != {*self._facts["names"]}:
            name = sorted(network.keys() ^ {*self._facts["names"]})[0]
            raise InputError(f"the network and this zoo differ in the tensor {name!r}; give what was generated from it")
        for name, wanted in self[0].items():
            found = [_words((tuple(x.shape), x.dtype)) for x in (network[name], wanted)]
            if found[0] != found[1]:
                raise InputError(f"the network's tensor {name!r} is {found[0]}, the zoo's is {found[1]}; convert it")
        own = self._facts.get("own", {})
        left = [name for name in own if name not in network and (own_names or name != COUNTER)]
        rest = self._read(self._rows[index].view(1), left) if left else {}
        found = {**network, **{name: x[0] for name, x in rest.items()}}
        return {own.get(name, name): x for name, x in found.items()} if own_names else found


@dataclass(frozen=True)
class _MemoryShard:
    count: int
    tensors: dict[str, Tensor]

    def read(self, rows: Tensor, names: Set[str]) -> dict[str, Tensor]:
        return {name: self.tensors[name][rows] for name in names}


@dataclass(frozen=True)
class _PlacesShard:
    """A checkpoint in files of others."""

    places: Places
    count: int = 1

    def read(self, rows: Tensor, names: Set[str]) -> dict[str, Tensor]:
        found = self.places.read(names)
        return {name: plain(x)[None] if len(rows) == 1 else plain(x)[None][rows] for name, x in found.items()}


@dataclass
class _FileShard:
    count: int
    path: Path
    checksum: str | None
    """Of the file's bytes, SHA-256; None once it is known to be right, and of zoos that were written without."""

    def read(self, rows: Tensor, names: Set[str]) -> dict[str, Tensor]:
        """Return the tensors of some checkpoints of the memory-mapped file: name -> (rows, ...).

        Neighbours are views of the file: nothing is read before it is used, but for the checksum, once.
        """
        first, last = int(rows.min()), int(rows.max())
        whole = rows.equal(torch.arange(first, last + 1))
        try:
            if self.checksum is not None:
                if _checksum(self.path) != self.checksum:
                    raise InputError(f"{self.path} is not as it was written; copy it again or collect the zoo again")
                self.checksum = None
            with safe_open(self.path, "pt") as file:
                found = {name: file.get_slice(name)[first : last + 1] for name in names}
        except (SafetensorError, OSError) as error:
            raise InputError(f"{self.path} cannot be read ({error}); copy or collect it again") from None
        return found if whole else {name: tensor[rows - first] for name, tensor in found.items()}

    def check(self, size: int, names: Set[str]) -> tuple:
        """Compare size and header with the manifest: reading all of the file would take as long as using it.

        Returns what shards of one zoo have in common: the types and shapes of a checkpoint's tensors.
        """
        if not self.path.is_file():
            raise InputError(f"{self.path} is missing; copy the whole zoo or collect it again")
        if (found := self.path.stat().st_size) != size:
            raise InputError(f"{self.path} has {found} bytes instead of {size}, it is truncated; copy it again")
        try:
            with safe_open(self.path, "pt") as file:
                held = {name: file.get_slice(name) for name in file.keys()}
                described = {name: (x.get_dtype(), x.get_shape()) for name, x in held.items()}
        except (SafetensorError, OSError) as error:
            raise InputError(f"{self.path} cannot be read ({error}); copy or collect it again") from None
        if described.keys() != names or any(shape[:1] != [self.count] for _, shape in described.values()):
            raise InputError(f"{self.path} holds other tensors than its manifest says; copy or collect the zoo again")
        return tuple((name, dtype, *shape[1:]) for name, (dtype, shape) in sorted(described.items()))


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Check:
    """Compares every checkpoint with the first and drops the tensors that are another one's storage."""

    def __init__(self):
        self.first: dict[str, tuple] | None = None
        self.tied: dict[str, str] = {}
        self.infinities: dict[str, Tensor] = {}
        self.count = 0

    def facts(self, facts: Mapping, measured: Sequence[float]) -> dict:
        """What only the checkpoints tell: their tensors, and their accuracies where they came with them."""
        accuracies = list(measured) if facts["accuracies"] is None else facts["accuracies"]
        return {"accuracies": accuracies, "names": list(self.first), "tied": self.tied}

    def __call__(self, checkpoint: Checkpoint, what: str | None = None, copied: bool = True) -> dict[str, Tensor]:
        """The tensors that are stored; copies, unless they lie in files that nobody trains."""
        what = what or f"checkpoint {self.count}"
        self.count += 1
        check_state_dict(checkpoint, what)
        described = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in checkpoint.items()}
        if self.first is None:
            check_views(checkpoint, aliases := tied(checkpoint), what)
            self.first, self.tied = described, aliases
        for name in sorted(described.keys() ^ self.first.keys()):
            fault = "lacks" if name in self.first else "has an extra"
            raise InputError(f"{what} {fault} tensor {name!r}; a zoo holds checkpoints of one architecture")
        for name, found in described.items():
            if found != self.first[name]:
                raise InputError(
                    f"{what}: tensor {name!r} is {_words(found)}, in the first checkpoint {_words(self.first[name])}; "
                    "a zoo holds checkpoints of one architecture"
                )
        # Copied on receipt: a generator of checkpoints may go on training the very tensors that it hands over.
        copies = {name: plain(x).clone() if copied else plain(x) for name, x in checkpoint.items()}
        for name, x in copies.items():
            self._check_values(name, x, what)
        for name, source in self.tied.items():
            if not same(copies[name], copies[source]):
                raise InputError(
                    f"{what}: {name!r} and {source!r} are tied in the first checkpoint but differ here; are they two "
                    "tensors, clone one there"
                )
        return {name: x for name, x in copies.items() if name not in self.tied}

    def _check_values(self, name: str, x: Tensor, what: str) -> None:
        """Raise `InputError` for NaN, and for infinity that is not in all checkpoints alike, as in a mask."""
        if not x.is_floating_point():
            return
        x = x.float() if x.itemsize == 1 else x
        finite = bool(x.isfinite().all())
        if finite and name not in self.infinities:
            return
        infinities = x.where(x.isinf(), 0.0)
        if self.count == 1:
            self.infinities[name] = infinities
        if x.isnan().any() or name not in self.infinities or not infinities.equal(self.infinities[name]):
            raise InputError(
                f"{what}: tensor {name!r} holds NaN, or infinity not as the first checkpoint; leave this checkpoint out"
            )


def _words(description: tuple) -> str:
    shape, dtype = description
    return f"{list(shape)} {str(dtype).removeprefix('torch.')}"


def _stacked_shards(checkpoints: Iterable[Checkpoint], check: _Check):
    """Yield the tensors of successive shards: name -> (count, ...)."""
    members, size = [], 0
    for checkpoint in checkpoints:
        members.append(check(checkpoint))
        size += sum(tensor.nbytes for tensor in members[-1].values())
        if size >= SHARD_BYTES:
            yield _stack(members)
            members, size = [], 0
    if members:
        yield _stack(members)


def _stack(members: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([member[name] for member in members]) for name in members[0]}


def _count(tensors: dict[str, Tensor]) -> int:
    return len(next(iter(tensors.values())))


def _folder(path: str | Path) -> Path:
    if not isinstance(path, str | PathLike) or "\0" in str(path) or path == "":
        raise InputError(f"a zoo is kept in a folder; give its path, not {shown(path)}")
    return Path(path)


def _manifest(folder: Path) -> dict:
    manifest = _json(folder)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{folder / MANIFEST} is not the manifest of a zoo; collect the checkpoints again")
    return manifest


def _json(folder: Path):
    try:
        return read_json(folder / MANIFEST)
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{folder / MANIFEST} cannot be read ({error}); copy it again or move it away") from None


def _open(folder: Path, manifest: Mapping) -> Zoo:
    """The zoo of a manifest whose shards lie in this folder; raises `InputError` where one does not fit the other."""
    facts, entries = _recorded(folder, manifest), _entries(folder, manifest)
    held = set(facts["names"]) - set(facts["tied"])
    if not all(type(entry.get(field)) is int and entry[field] > 0 for entry in entries for field in ("count", "bytes")):
        raise InputError(f"{folder / MANIFEST} does not say how large its shards are; copy or collect the zoo again")
    shards = [_FileShard(entry["count"], folder / entry["file"], entry.get("sha256")) for entry in entries]
    alike = {shard.check(entry["bytes"], held) for shard, entry in zip(shards, entries, strict=True)}
    if len(alike) > 1:
        raise InputError(f"the shards in {folder} are not of one architecture; copy or collect the zoo again")
    if sum(shard.count for shard in shards) != len(facts["runs"]):
        raise InputError(
            f"{folder / MANIFEST} counts other checkpoints than its shards hold; copy or collect them again"
        )
    return Zoo(shards, facts)


def _recorded(folder: Path, manifest: Mapping) -> dict:
    """The facts of a manifest; raises `InputError` where one is absent or not what `Zoo.write` stores."""
    fields = ("architecture", "runs", "accuracies", "tasks", "images", "config", "names", "tied")
    if missing := [field for field in fields if field not in manifest]:
        raise InputError(f"{folder / MANIFEST} lacks {missing[0]!r}; copy or collect the zoo again")
    names, tied = manifest["names"], manifest["tied"]
    try:
        said = manifest["architecture"]
        if not isinstance(said, dict | None) or manifest["accuracies"] is None:
            raise InputError("its architecture or its accuracies are none")
        given = {field: manifest[field] for field in ("runs", "accuracies", "tasks", "images", "config")}
        given |= {field: manifest[field] for field in ("conditions", "described_by") if field in manifest}
        facts = checked(None if said is None else Architecture.from_dict(said), **given)
        texts = isinstance(names, list) and isinstance(tied, dict) and all(isinstance(name, str) for name in names)
        if not texts or len(set(names)) < len(names) or not {*tied, *map(str, tied.values())} <= set(names):
            raise InputError("its names are not those of tensors")
        if set(tied) & set(tied.values()) or set(tied) == set(names):
            raise InputError("its tied tensors are tied to nothing")
    except InputError as error:
        raise InputError(f"{folder / MANIFEST} is damaged: {error}; copy or collect the zoo again") from None
    return facts | {"names": names, "tied": tied}


def _shard_files(folder: Path) -> list[Path]:
    """Return the shards of the zoo in this folder, of any version; none where there is no zoo. Other files stay."""
    try:
        if not (folder / MANIFEST).exists():
            return []
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}); choose another folder") from None
    manifest = _json(folder)
    if not isinstance(manifest, dict) or not str(manifest.get("format")).startswith("rpglib zoo "):
        raise InputError(f"{folder / MANIFEST} is not the manifest of a zoo; choose another folder or move that file")
    return [folder / entry["file"] for entry in _entries(folder, manifest)]


def _entries(folder: Path, manifest: Mapping) -> list[dict]:
    """The shards that a manifest names; raises `InputError` unless all are files of this folder.

    A zoo that is replaced deletes its shards.
    """
    entries = manifest.get("shards")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{folder / MANIFEST} has no list of shards; copy the zoo again or move that file away")
    for entry in entries:
        name = entry.get("file")
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors") or "\0" in name:
            raise InputError(
                f"{folder / MANIFEST} names {name!r}, no .safetensors file of its own folder; do not use this zoo"
            )
    return entries


def _delete(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _write_shard(path: Path, tensors: dict[str, Tensor]) -> dict:
    """Write one shard and return its entry in the manifest."""
    save_tensors(path, tensors)
    return {"file": path.name, "count": _count(tensors), "bytes": path.stat().st_size, "sha256": _checksum(path)}


def _each(checkpoints: Iterable, count: int, measured: list | None) -> Iterator[Checkpoint]:
    """The checkpoints one by one, accuracies that come with them into `measured`; refuses what is no list."""
    if isinstance(checkpoints, Mapping):
        raise InputError("a zoo is made of a list of state dicts, not of one; give [state_dict]")
    single = isinstance(checkpoints, str | PathLike | nn.Module | Tensor | np.ndarray | np.generic | type)
    # A zoo, too, is iterated by index.
    if single or not (isinstance(checkpoints, Iterable) or hasattr(checkpoints, "__getitem__")):
        raise InputError(f"a zoo is made of a list of state dicts, not of a {type(checkpoints).__name__}")
    if isinstance(checkpoints, Sized) and len(checkpoints) != count:
        raise InputError(f"{count} runs for {len(checkpoints)} checkpoints; give one for each")
    return iter(checkpoints) if measured is None else _unpaired(checkpoints, measured)


def _unpaired(given: Iterable, measured: list[float | None]) -> Iterator[Checkpoint]:
    for i, one in enumerate(given):
        checkpoint, accuracy = one if isinstance(one, tuple) and len(one) == 2 else (one, None)
        if accuracy is not None and (not isinstance(accuracy, Real) or not math.isfinite(accuracy)):
            raise InputError(f"the accuracy of checkpoint {i} is {str(accuracy)[:60]!r}; give a finite number, or None")
        measured.append(None if accuracy is None else float(accuracy))
        yield checkpoint


def _miscounted(given: Iterator, count: int, came: int) -> str | None:
    """What to say where other than `count` checkpoints came; all but one too many have been taken in."""
    if came == count and next(given, given) is not given:
        return f"{count} runs for more checkpoints; give one for each"
    return None if came == count else f"{count} runs for {came} checkpoints; give one for each"
