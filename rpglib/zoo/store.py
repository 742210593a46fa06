"""A zoo: trained checkpoints of one architecture, kept as safetensors shards with a manifest."""

import secrets
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from rpglib.errors import InputError
from rpglib.runtime.files import read_json, save_tensors, write_json
from rpglib.runtime.state_dicts import Checkpoint, check_state_dict, tied
from rpglib.zoo.architectures import Architecture

MANIFEST = "manifest.json"
FORMAT = "rpglib zoo 2"
SHARD_BYTES = 256 * 2**20
"""A shard is closed when it holds this much; a larger checkpoint has a shard of its own."""


class Zoo:
    """N checkpoints of one architecture; `zoo[i]` is a state dict, read from the memory-mapped shard when asked for.

    runs (N,) int64: which independent run a checkpoint comes from (its permutation state); tasks (N, bits) int64 or
    None: what its run had to tell apart; accuracies (N,) float64: percent on the unaugmented test images;
    architecture: what it is a checkpoint of; images: the data set's name; config: how it was collected (JSON values).
    Make one with `collect`, `Zoo.write`, `Zoo.open` or `Zoo.from_checkpoints`.
    """

    def __init__(
        self, shards: Sequence["_MemoryShard | _FileShard"], facts: Mapping, rows: Sequence[int] | None = None
    ):
        self._shards = shards
        self._facts = facts
        self._rows = torch.arange(len(facts["runs"])) if rows is None else torch.as_tensor(rows, dtype=torch.int64)
        self.architecture: Architecture = Architecture.from_dict(facts["architecture"])
        self.images: str = facts["images"]
        self.config: dict = facts["config"]
        self.runs = torch.tensor(facts["runs"], dtype=torch.int64)[self._rows]
        self.accuracies = torch.tensor(facts["accuracies"], dtype=torch.float64)[self._rows]
        tasks = facts["tasks"]
        self.tasks = None if tasks is None else torch.tensor(tasks, dtype=torch.int64)[self._rows]
        self._ends = torch.tensor([shard.count for shard in shards]).cumsum(0)

    @classmethod
    def write(
        cls,
        path: str | Path,
        checkpoints: Iterable[Checkpoint],
        *,
        architecture: Architecture,
        runs: Sequence[int],
        accuracies: Sequence[float],
        tasks: Sequence[Sequence[int]] | None = None,
        images: str = "digits",
        config: Mapping | None = None,
    ) -> "Zoo":
        """Store checkpoints in the folder `path` and return the zoo that reads them from there.

        `checkpoints` is read one at a time; `runs`, `accuracies` and `tasks` are looked at after the last, so they may
        grow meanwhile. An older zoo in `path` stays whole until the new manifest replaces the old one.
        Raises `InputError` for checkpoints that differ in their tensors or are not finite, for facts that do not match
        their number, where nothing can be written, and where a file that is no zoo's stands in the manifest's place.
        """
        path, check = Path(path), _Check()
        _shard_files(path)  # refuses before the first checkpoint is made, which may take hours
        # A name of its own for every writing: no shard of an older zoo is touched before the manifest changes.
        stamp = secrets.token_hex(4)
        try:
            entries = [
                _write_shard(path / f"{stamp}-{k:05d}.safetensors", tensors)
                for k, tensors in enumerate(_stacked_shards(checkpoints, check))
            ]
            facts = _facts(check, architecture, runs, accuracies, tasks, images, config)
            replaced = _shard_files(path)
            write_json(path / MANIFEST, {"format": FORMAT, **facts, "shards": entries})
        except BaseException:
            _delete(path.glob(f"{stamp}-*.safetensors"))
            raise
        _delete(replaced)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> "Zoo":
        """Open a stored zoo; raises `InputError` where it is absent, incomplete or damaged."""
        path = Path(path)
        manifest = _manifest(path)
        shards = [_FileShard(entry["count"], path / entry["file"]) for entry in manifest["shards"]]
        for shard, entry in zip(shards, manifest["shards"], strict=True):
            shard.check(entry["bytes"])
        return cls(shards, manifest)

    @classmethod
    def from_checkpoints(
        cls,
        checkpoints: Iterable[Checkpoint],
        *,
        architecture: Architecture,
        runs: Sequence[int],
        accuracies: Sequence[float],
        tasks: Sequence[Sequence[int]] | None = None,
        images: str = "digits",
        config: Mapping | None = None,
    ) -> "Zoo":
        """Return a zoo that is kept in memory; the same facts and errors as `Zoo.write`."""
        check = _Check()
        shards = [_MemoryShard(_count(tensors), tensors) for tensors in _stacked_shards(checkpoints, check)]
        facts = _facts(check, architecture, runs, accuracies, tasks, images, config)
        return cls(shards, facts)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return the state dict of one checkpoint; an index out of range raises `IndexError`, which ends iteration."""
        return {name: tensor[0] for name, tensor in self._read(self._rows[index].view(1)).items()}

    def __repr__(self) -> str:
        return (
            f"Zoo({len(self)} checkpoints of {self.architecture.name} on {self.images}, {len(self.runs.unique())} runs)"
        )

    def stacked(self, indices: Sequence[int] | None = None, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return the tensors of all or of the chosen checkpoints side by side: name -> (N, ...), all or those named."""
        return self._read(self._rows if indices is None else self._rows[torch.as_tensor(indices)], names)

    def _read(self, rows: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        # In the network's own order: a file keeps tensors by alphabet, a tokenizer lays them out as they come.
        held = {name: self._facts["tied"].get(name, name) for name in names or self._facts["names"]}
        holders = torch.searchsorted(self._ends, rows, right=True)
        firsts = self._ends - self._ends.diff(prepend=torch.zeros(1, dtype=torch.int64))
        wanted = set(held.values())
        parts = [self._shards[k].read(rows[holders == k] - firsts[k], wanted) for k in holders.unique().tolist()]
        if len(parts) > 1:  # the parts come shard by shard
            back = holders.argsort(stable=True).argsort()
            parts = [{name: torch.cat([part[name] for part in parts])[back] for name in parts[0]}]
        return {name: parts[0][source] for name, source in held.items()}

    def subset(self, indices: Sequence[int] | Tensor) -> "Zoo":
        """Return the zoo of the chosen checkpoints (indices or a boolean mask), on the same storage."""
        return Zoo(self._shards, self._facts, self._rows[torch.as_tensor(indices)])

    def build(self) -> nn.Module:
        """Return an untrained network that the checkpoints fit."""
        return self.architecture.build()


@dataclass(frozen=True)
class _MemoryShard:
    count: int
    tensors: dict[str, Tensor]

    def read(self, rows: Tensor, names: Set[str]) -> dict[str, Tensor]:
        return {name: self.tensors[name][rows] for name in names}


@dataclass(frozen=True)
class _FileShard:
    count: int
    path: Path

    def read(self, rows: Tensor, names: Set[str]) -> dict[str, Tensor]:
        """Return the tensors of some checkpoints of the memory-mapped file: name -> (rows, ...).

        Neighbours are views of the file: nothing is read before it is used.
        """
        first, last = int(rows.min()), int(rows.max())
        whole = rows.equal(torch.arange(first, last + 1))
        try:
            with safe_open(self.path, "pt") as file:
                found = {name: file.get_slice(name)[first : last + 1] for name in names}
        except (SafetensorError, OSError) as error:
            raise InputError(f"{self.path} cannot be read ({error}); copy or collect it again") from None
        return found if whole else {name: tensor[rows - first] for name, tensor in found.items()}

    def check(self, size: int) -> None:
        """Compare the file's size with the manifest's: reading it through would take as long as using it."""
        if not self.path.is_file():
            raise InputError(f"{self.path} is missing; copy the whole zoo or collect it again")
        if (found := self.path.stat().st_size) != size:
            raise InputError(f"{self.path} has {found} bytes instead of {size}, it is truncated; copy it again")


class _Check:
    """Compares every checkpoint with the first and drops the tensors that are another one's storage."""

    def __init__(self):
        self.first: dict[str, tuple] | None = None
        self.tied: dict[str, str] = {}
        self.count = 0

    def __call__(self, checkpoint: Checkpoint) -> dict[str, Tensor]:
        what = f"checkpoint {self.count}"
        self.count += 1
        check_state_dict(checkpoint, what)
        described = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in checkpoint.items()}
        if self.first is None:
            self.first, self.tied = described, tied(checkpoint)
        for name in sorted(described.keys() ^ self.first.keys()):
            fault = "lacks" if name in self.first else "has an extra"
            raise InputError(f"{what} {fault} tensor {name!r}; a zoo holds checkpoints of one architecture")
        for name, found in described.items():
            if found != self.first[name]:
                raise InputError(
                    f"{what}: tensor {name!r} is {_words(found)}, in the first checkpoint {_words(self.first[name])}; "
                    "a zoo holds checkpoints of one architecture"
                )
            if not checkpoint[name].isfinite().all():
                raise InputError(f"{what}: tensor {name!r} holds NaN or infinite values; leave this checkpoint out")
        for name, source in self.tied.items():
            if not checkpoint[name].equal(checkpoint[source]):
                raise InputError(f"{what}: {name!r} and {source!r} are tied in the first checkpoint but differ here")
        # Copied on receipt: a generator of checkpoints may go on training the very tensors that it hands over.
        return {
            name: tensor.detach().to("cpu", copy=True) for name, tensor in checkpoint.items() if name not in self.tied
        }


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


def _manifest(folder: Path) -> dict:
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{folder / MANIFEST} is not the manifest of a zoo; collect the checkpoints again")
    _check_names(folder, manifest)
    return manifest


def _shard_files(folder: Path) -> list[Path]:
    """Return the shards of the zoo in this folder, of any version; none where there is no zoo. Other files stay."""
    if not (folder / MANIFEST).exists():
        return []
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not str(manifest.get("format")).startswith("rpglib zoo "):
        raise InputError(f"{folder / MANIFEST} is not the manifest of a zoo; choose another folder or move that file")
    _check_names(folder, manifest)
    return [folder / entry["file"] for entry in manifest["shards"]]


def _check_names(folder: Path, manifest: Mapping) -> None:
    """Raise `InputError` unless all shards are files of this folder: a zoo that is replaced deletes its shards."""
    for entry in manifest["shards"]:
        name = entry["file"]
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise InputError(
                f"{folder / MANIFEST} names {name!r}, no .safetensors file of its own folder; do not use this zoo"
            )


def _delete(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _write_shard(path: Path, tensors: dict[str, Tensor]) -> dict:
    """Write one shard and return its entry in the manifest."""
    save_tensors(path, tensors)
    return {"file": path.name, "count": _count(tensors), "bytes": path.stat().st_size}


def _facts(check: _Check, architecture: Architecture, runs, accuracies, tasks, images: str, config) -> dict:
    """Return what the manifest says about the checked checkpoints beside where they lie."""
    count = check.count
    if not count:
        raise InputError("a zoo needs at least one checkpoint")
    for what, values in {"runs": runs, "accuracies": accuracies, "tasks": tasks}.items():
        if values is not None and len(values) != count:
            raise InputError(f"{len(values)} {what} for {count} checkpoints; give one for each")
    return {
        "architecture": architecture.to_dict(),
        "images": images,
        "config": dict(config or {}),
        "runs": torch.as_tensor(runs).tolist(),
        "accuracies": torch.as_tensor(accuracies, dtype=torch.float64).tolist(),
        "tasks": None if tasks is None else torch.as_tensor(tasks).tolist(),
        "names": list(check.first),
        "tied": check.tied,
    }
