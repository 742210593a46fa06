"""Where checkpoints lie: files, folders of libraries, public zoos, repositories of the hub, and what is in memory.

What is ambiguous is an `InputError` that names the choices: nothing is guessed.
"""

import glob
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from rpglib.errors import InputError, shown
from rpglib.runtime.bundles import DIGEST, FILES
from rpglib.runtime.files import read_json
from rpglib.zoo.files import SHOWN, SUFFIXES, natural

MODEL_FILES = (
    *("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"),
    *("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json"),
    *("diffusion_pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
)
"""The weights beside a config.json; of several the libraries that write them load the first."""
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
BESIDE = re.compile(
    r"(model|pytorch_model|diffusion_pytorch_model|open_clip_(pytorch_)?model|adapter_model)[.-]"
    r"|(optimizer|scheduler|scaler|rng_state|training_args|random_states)\b|rng_state_"
)
"""What else libraries keep beside the weights of one network: other forms of them, shards, and a training's state."""
HUB_NAME = re.compile(r"(datasets/)?[A-Za-z0-9][\w.-]*/[\w.-]+")
WANTED = (["*.json", "*.csv", "*.parquet", "*.safetensors"], [f"*{suffix}" for suffix in SUFFIXES])
"""What is fetched of a repository: safe files, and others where there are none of those."""
MOST_NESTED = 8
"""Folders in folders that are searched."""
MANIFEST, FORMAT = "manifest.json", "rpglib zoo 2"
"""Of a stored zoo: the file that says what its shards are, and what that begins with."""


@dataclass(frozen=True)
class Found:
    """One checkpoint where it was found.

    label: how messages and tables name it; kind: of what it is, in words; files: where its tensors lie, and which of
    them each file is to hold, None for all; content: what it is in memory, instead; folder: whose settings belong to
    it; run, accuracy (percent): what the layout tells; weights: what its weights are called as one safetensors file,
    where it is a folder with settings of its own.
    """

    label: str
    kind: str
    files: Mapping[Path, tuple[str, ...] | None] = field(default_factory=dict)
    content: Mapping | None = None
    folder: Path | None = None
    run: str | None = None
    accuracy: float | None = None
    weights: str | None = None


def local(source, revision: str | None = None):
    """The source, with a Path in the place of text: a hub repository's is that of its files, fetched or cached.

    A pattern stays text. Raises `InputError` where there is neither a file nor a folder nor a repository of that name.
    """
    if not isinstance(source, str | os.PathLike):
        return source
    text = os.fspath(source)
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError(f"a source of checkpoints is a path, a pattern or a hub name, not {shown(source)}")
    try:
        if os.path.lexists(text):
            return Path(text)
    except OSError as error:
        raise InputError(f"cannot read {shown(text)}: {error.strerror or error}") from None
    if glob.has_magic(text):
        return text
    if isinstance(source, str) and HUB_NAME.fullmatch(text):
        return _fetched(text, revision)
    raise InputError(f"{shown(text)} does not exist; give a file, a folder, a pattern or a hub name 'owner/name'")


def _fetched(name: str, revision: str | None) -> Path:
    # Loaded only for a name on the hub.
    from huggingface_hub import snapshot_download

    kinds = ("dataset",) if name.startswith("datasets/") else ("model", "dataset")
    name, reason = name.removeprefix("datasets/"), ""
    for kind in kinds:
        folder = None
        for wanted in WANTED:
            try:
                options = {"repo_type": kind, "revision": revision, "allow_patterns": wanted}
                folder = Path(snapshot_download(name, **options))
            except (OSError, ValueError) as error:
                reason = reason or (str(error).splitlines() or [type(error).__name__])[0]
                break
            if folder is not None and any(file.name.endswith(SUFFIXES) for file in folder.rglob("*")):
                break
        if folder is not None:
            return folder
    raise InputError(f"{shown(name)} is neither a file or folder here nor to be had from the hub ({reason})")


def find(source, revision: str | None = None) -> list[Found]:
    """The checkpoints of a source, in order; raises `InputError` where there are none and where that is not clear."""
    given, source = source, local(source, revision)
    if isinstance(source, nn.Module):
        return [Found("the module", "a module", content=source.state_dict())]
    if isinstance(source, Mapping):
        return [Found("the state dict", "a state dict", content=source)]
    if isinstance(source, Path):
        found = list(_searched(source, source if source.is_dir() else source.parent))
        if not found:
            raise InputError(f"{source} holds no weights ({', '.join(SUFFIXES)}); give the folder that does")
        # A repository's folder is named by its version.
        one = len(found) == 1 and found[0].label == source.name
        return [replace(found[0], label=Path(given).name if Path(given).exists() else given)] if one else found
    if isinstance(source, str):
        return _matching(source)
    if isinstance(source, bytes | Tensor | np.ndarray | type) or not isinstance(source, Iterable):
        raise InputError(f"checkpoints are read from a path, a hub name, state dicts or modules, not {shown(source)}")
    found = [each for i, item in enumerate(source) for each in _listed(item, i, revision)]
    if not found:
        raise InputError("the list of checkpoints is empty; give one at least")
    return found


def _listed(item, i: int, revision: str | None) -> Iterator[Found]:
    if isinstance(item, list | tuple):
        raise InputError(f"number {i} of the list is a list itself; give one list of checkpoints")
    for each in find(item, revision):
        if each.content is not None:
            yield replace(each, label=f"number {i} of the list")
        else:
            # As they were given: files of one name may come from several folders.
            given = os.fspath(item)
            yield each if each.label == given or glob.has_magic(given) else replace(each, label=_joined(given, each))


def _joined(given: str, found: Found) -> str:
    return given if found.label == Path(given).name else f"{given}/{found.label}"


def _matching(pattern: str) -> list[Found]:
    paths = [Path(path) for path in sorted(glob.glob(pattern, recursive=True), key=natural)]
    fixed = Path(*(part for part in _until_magic(Path(pattern).parts)))
    # "**" matches folders and what lies in them.
    found = list({tuple(x.files): x for path in paths for x in _searched(path, fixed)}.values())
    if not found:
        raise InputError(f"no file of weights matches {pattern!r}; look at the folder's names")
    return found


def _until_magic(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _searched(path: Path, root: Path) -> Iterator[Found]:
    try:
        if path.is_dir():
            yield from _folder(path, root, 0)
        elif path.name.endswith(".index.json"):
            yield _sharded(path, _label(path, root), "safetensors in shards")
        else:
            yield Found(_label(path, root), _words(path), {path: None}, folder=path.parent)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None


def is_zoo(folder: Path) -> bool:
    """Whether a zoo was stored in this folder, whole or not."""
    try:
        return str(read_json(folder / MANIFEST).get("format")).startswith("rpglib zoo ")
    except (InputError, AttributeError):
        return False


def _folder(folder: Path, root: Path, depth: int) -> Iterator[Found]:
    # Its shards hold many networks each, and would be taken for one.
    if is_zoo(folder):
        raise InputError(f"{folder} is a stored zoo; read it alone, by its own path")
    entries = sorted((e for e in folder.iterdir() if not e.name.startswith(".")), key=lambda e: natural(e.name))
    names = {e.name for e in entries if e.is_file()}
    if "adapter_config.json" in names:
        found = _one_of(folder, names, ADAPTER_FILES, root, "a PEFT adapter")
        _check_alone(folder, entries, found, root)
        yield found
        return
    if "config.json" in names and names & {*MODEL_FILES}:
        if is_generator(folder):
            raise InputError(f"{folder} holds a generator, no networks; RPG.from_pretrained reads it")
        found = _one_of(folder, names, MODEL_FILES, root, "a model folder")
        _check_alone(folder, entries, found, root)
        yield found
        return
    if "params.json" in names and any(e.name.startswith("checkpoint_") for e in entries):
        yield from _model_of_a_zoo(folder, entries, root)
        return
    indices = [name for name in sorted(names) if name.endswith(".index.json")]
    if len(indices) > 1:
        raise InputError(f"{folder} holds {_or(indices)}; give the path of one of them")
    weights = [e for e in entries if e.name in names and e.name.endswith(SUFFIXES)]
    below = [found for e in entries if e.is_dir() and depth < MOST_NESTED for found in _folder(e, root, depth + 1)]
    if weights and below:
        raise InputError(
            f"{folder} holds weights itself and in folders ({weights[0].name}, {below[0].label}); give a pattern such "
            f"as {folder}/*{weights[0].suffix}"
        )
    if indices:
        yield _sharded(folder / indices[0], _label(folder, root), "safetensors in shards")
        return
    if len(kinds := sorted({"*.safetensors" if e.suffix == ".safetensors" else f"*{e.suffix}" for e in weights})) > 1:
        raise InputError(
            f"{folder} holds files of several kinds; give a pattern: {_or(f'{folder}/{k}' for k in kinds)}"
        )
    yield from (Found(_label(e, root), _words(e), {e: None}, folder=folder) for e in weights)
    yield from below


def is_generator(folder: Path) -> bool:
    """Whether a generator was saved in this folder."""
    said = read_json(folder / "config.json")
    return isinstance(said, dict) and {FILES, DIGEST} <= said.keys()


def _check_alone(folder: Path, entries: list[Path], found: Found, root: Path) -> None:
    """Raise `InputError` where a folder of one network holds checkpoints beside it, or in folders below."""
    other = [e for e in entries if e.is_file() and e.name.endswith(SUFFIXES) and not BESIDE.match(e.name)]
    below = [e for e in entries if e.is_dir() and any(True for _ in _folder(e, root, MOST_NESTED))]
    if other or below:
        beside = (other or below)[0]
        raise InputError(
            f"{folder} is {found.kind} and holds other weights ({beside.name}); give a pattern of those that are "
            f"meant, or {folder / next(iter(found.files)).name}"
        )


def _one_of(folder: Path, names: set[str], known: tuple[str, ...], root: Path, kind: str) -> Found:
    chosen = next((name for name in known if name in names), None)
    if chosen is None:
        raise InputError(f"{folder} is {kind} without its weights ({_or(known)}); copy the whole folder")
    weights = f"{chosen.split('.')[0].replace('pytorch_model', 'model')}.safetensors"
    if chosen.startswith(("diffusion", "open_clip")):
        weights = f"{chosen.split('.')[0]}.safetensors"
    if chosen.endswith(".index.json"):
        return replace(_sharded(folder / chosen, _label(folder, root), f"{kind} in shards"), weights=weights)
    return Found(_label(folder, root), kind, {folder / chosen: None}, folder=folder, weights=weights)


def settings_of(folder: Path) -> list[Path]:
    """The small files of text that lie beside weights and say what they are of, such as config.json."""
    found = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".txt", ".model") and path.is_file())
    return [path for path in found if not path.name.endswith(".index.json")]


def _sharded(index: Path, label: str, kind: str) -> Found:
    """The checkpoint whose tensors an index divides among files of its folder."""
    said = read_json(index)
    where = said.get("weight_map") if isinstance(said, dict) else None
    if not isinstance(where, dict) or not where:
        raise InputError(f"{index} has no weight_map; copy it again, or give the files themselves")
    files: dict[Path, list[str]] = {}
    for name, file in where.items():
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(SUFFIXES) or "\0" in file:
            raise InputError(f"{index} names {shown(file)}, no file of weights in its own folder; do not use it")
        files.setdefault(index.parent / file, []).append(name)
    for file in files:
        if not file.is_file():
            raise InputError(f"{file} is missing, which {index.name} names; copy the whole folder")
    return Found(label, kind, {file: tuple(names) for file, names in files.items()}, folder=index.parent)


def _model_of_a_zoo(folder: Path, entries: list[Path], root: Path) -> Iterator[Found]:
    """The checkpoints of one run as ray.tune keeps them in the public model zoos (Schuerholt et al. 2022)."""
    accuracies = {}
    if (folder / "result.json").is_file():
        for line in (folder / "result.json").read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                said = json.loads(line)
                accuracies[int(said["training_iteration"])] = 100 * float(said["test_acc"])
            except (ValueError, KeyError, TypeError):  # a line that was cut off, or of another kind
                continue
    for entry in entries:
        number = re.fullmatch(r"checkpoint_(\d+)", entry.name)
        if number and (file := entry / "checkpoints").is_file():
            accuracy = accuracies.get(int(number[1]))
            label, run = _label(file, root), _label(folder, root)
            yield Found(label, "a checkpoint of ModelZoos", {file: None}, None, folder, run, accuracy)


def _label(path: Path, root: Path) -> str:
    try:
        inner = path.relative_to(root).as_posix()
    except ValueError:
        inner = path.as_posix()
    return path.name if inner == "." else inner


def _words(path: Path) -> str:
    suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if path.name.endswith(s)), path.suffix)
    return f"a {suffix} file" if suffix else "a file"


def _or(choices: Iterable[str]) -> str:
    choices = list(choices)
    return " or ".join(choices[:SHOWN]) + (", ..." if len(choices) > SHOWN else "")
