"""Files of weights as people have them: what one holds, mapped from the disk, and which state dict in it is meant.

Nothing in a file is executed: pickles are read by `torch.load` with `weights_only=True` alone.
"""

import functools
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rpglib.errors import InputError, shown

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".pth.tar")
"""By these a file of weights is known where a folder is searched; a file that is named may have any."""
PREFIXES = ("module.", "_orig_mod.")
"""What `DataParallel`, averaged models and `torch.compile` put before every name."""
COUNTER = "n_averaged"
"""What `torch.optim.swa_utils.AveragedModel` keeps beside its network."""
MOST_NESTED = 4
"""Dicts in dicts in which a state dict is looked for."""
SHOWN = 6
"""Choices that a message names."""


def load(path: Path):
    """What a file of weights holds: tensors by name, or dicts of them; mapped from the disk where its format allows.

    Raises `InputError` for what is no such file, is damaged, or could be opened only by running code that it names.
    """
    kind = _kind(path)
    try:
        if kind == "safetensors":
            with safe_open(path, "pt") as file:
                return {name: file.get_tensor(name) for name in sorted(file.keys(), key=natural)}
        # Files of before PyTorch 1.6 cannot be mapped.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickles that torch did not write, which it then refuses
            return torch.load(path, map_location="cpu", weights_only=True, mmap=kind == "zip")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({_line(error)}); copy or save it again") from None
    except Exception as error:  # torch reports a broken file in several unrelated types
        if named := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise InputError(
                f"{path} holds an object of type {named[1]}, whose code would have to be run; where you trust it, open "
                "it yourself and save its state dict alone"
            ) from None
        if kind == "pickle":
            raise InputError(f"{path} is damaged, or no pickle of torch.save; save its state dict by that") from None
        raise InputError(f"{path} is damaged, or holds more than tensors ({_line(error)}); save it again") from None


def _kind(path: Path) -> str:
    try:
        if not path.is_file():
            raise InputError(f"{path} is {'no file' if path.exists() else 'missing'}; give the path of a file")
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    if not head:
        raise InputError(f"{path} is empty; copy or save it again")
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    if head[8:9] == b"{":
        return "safetensors"
    if head.startswith(b"\x80"):
        return "pickle"
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is only the pointer to a file that Git LFS keeps; fetch that with git lfs pull")
    if head.lstrip().startswith((b"<", b"{", b"[")):
        raise InputError(f"{path} is text, no weights: a page of a failed download, perhaps; fetch the file again")
    raise InputError(f"{path} is no file of weights; those of safetensors and of torch.save can be read")


def _zip_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        broken = _broken(path, version(path))
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({_line(error)}); copy or save it again") from None
    if any(name.endswith("/constants.pkl") for name in names):
        raise InputError(
            f"{path} is a TorchScript program, not weights alone; load it with torch.jit.load and save its state_dict()"
        )
    if not any(name.endswith("/data.pkl") for name in names):
        raise InputError(f"{path} is an archive, but not of torch.save; give the weights in it")
    if broken:
        raise InputError(
            f"{path} is damaged ({broken} is not what its checksum says); copy it again, or save it with checksums"
        )
    return "zip"


@functools.lru_cache(4096)
def _broken(path: Path, _: tuple) -> str | None:
    """The first record of an archive that is not as it was written; torch writes checksums, but does not compare them.

    All of a file is read, once for a version of it.
    """
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def version(path: Path) -> tuple:
    """What tells a file from another that takes its place."""
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    return found.st_size, found.st_mtime_ns, found.st_ino


def inside(content, key: str | None, what: str) -> tuple[str, Mapping]:
    """The state dict in what a file holds, and the names of the dicts around it, such as "model" or "model/state_dict".

    `key` says which where there are several. Raises `InputError` that names the choices where that is not clear.
    """
    if not isinstance(content, Mapping):
        raise InputError(
            f"{what} holds {shown(content) if not isinstance(content, Tensor) else 'a tensor'}, no state dict; give "
            "what module.state_dict() returns"
        )
    found = dict(_state_dicts(content))
    if key is not None:
        if key in found:
            return key, found[key]
        raise InputError(f"{what} holds no state dict under {key!r}; {_choices(found, content)}")
    if len(found) > 1:
        raise InputError(f"{what} holds {len(found)} state dicts; {_choices(found, content)}")
    # Where there is none, the checks of a state dict say what stands in its place.
    return next(iter(found.items()), ("", content))


def _state_dicts(content: Mapping, at: tuple[str, ...] = ()) -> Iterable[tuple[str, Mapping]]:
    if {"state", "param_groups"} <= content.keys():  # of an optimizer
        return
    if content and all(isinstance(x, Tensor) for x in content.values()):
        # Scores and counters by name are no network.
        if any(x.ndim for x in content.values()):
            yield "/".join(at), content
        return
    for name, x in content.items():
        if isinstance(name, str) and isinstance(x, Mapping) and len(at) < MOST_NESTED:
            yield from _state_dicts(x, (*at, name))


def _choices(found: Mapping, content: Mapping) -> str:
    if not found:
        return f"it has {', '.join(shown(name) for name in list(content)[:SHOWN]) or 'nothing'}"
    named = [f"key={at!r} ({len(x)} tensors)" for at, x in list(found.items())[:SHOWN]]
    return f"choose by {' or '.join(named)}{', ...' if len(found) > SHOWN else ''}"


def prefix_of(names: Iterable[str]) -> str:
    """What stands before all names, an averaged model's counter aside, and belongs to no network."""
    names = [name for name in names if name != COUNTER]
    found = ""
    while names:
        shared = next((p for p in PREFIXES if all(name[len(found) :].startswith(p) for name in names)), None)
        if shared is None or any(name == found + shared for name in names):
            break
        found += shared
    return found


def natural(text: str) -> list:
    """A key to sort by: numbers in a name count as numbers, so that layer 2 comes before layer 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
