"""Files that are whole or absent: every write goes to a neighbour first, is flushed, and is renamed into place."""

import functools
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from rpglib.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

PART = re.compile(r"\.part-(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}")
"""What marks a file or folder that a process of ours is still writing: where that process runs, and its number."""
ABANDONED = 86_400
"""Seconds after which a part is left over, though its process is not known to have ended: it runs elsewhere."""


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary neighbour of `path` and rename it to `path` when the block ends without an error.

    It is on the disk before it takes the name. After an error (a full disk, an interrupt) the old content of `path` is
    untouched and the neighbour is gone; what a killed process left is removed by the next write into the folder. A link
    stays: what it points to is replaced. Raises `InputError` where the operating system refuses the write, naming the
    file and the reason, and where a device or a folder stands in its place.
    """
    # Found before anything is written: a rename would replace the link by a file.
    path = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
    part = None
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"cannot write {path}: it is a folder or a device; choose another name")
        part = part_of(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        tidy(path.parent)
        yield part
        flush(part)
        os.replace(part, path)
        flush_folder(path.parent)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder "
            "(what was there before is unchanged)"
        ) from error
    finally:
        # A failure to tidy up must not hide the failure that is being reported.
        with suppress(OSError):
            if part is not None:
                part.unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    """A name beside `path` for this process to write to, never given twice; its suffix is that of `path`."""
    # Some writers choose the format by the suffix.
    return path.with_name(f".{path.stem}.part-{_machine()}-{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")


def tidy(folder: Path) -> None:
    """Remove the parts in `folder` whose process is gone; what other programs left stays."""
    for entry in os.scandir(folder):
        if (found := PART.search(entry.name)) and _abandoned(entry, found["machine"], int(found["process"])):
            with suppress(OSError):
                shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)


def _abandoned(entry: os.DirEntry, machine: str, process: int) -> bool:
    if machine != _machine():
        with suppress(OSError):
            return time.time() - entry.stat(follow_symlinks=False).st_mtime > ABANDONED
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's, or no process number at all
        return False
    return False


@functools.cache
def _machine() -> str:
    """Eight digits for the machine and the container on it: elsewhere, the same process number is another process."""
    try:
        container = os.readlink("/proc/self/ns/pid")
    except OSError:
        container = ""
    return hashlib.sha256(f"{platform.node()} {container}".encode()).hexdigest()[:8]


def flush(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can be asked for that."""
    with suppress(OSError):
        flush(folder)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_writable(path: str | Path) -> None:
    """Raise `InputError` unless a file could be written at `path`, whose folder is made; what is there stays."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=Path(path).parent):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder"
        ) from error


def save_tensors(path: str | Path, tensors: "dict[str, Tensor]", metadata: dict[str, str] | None = None) -> None:
    """Write tensors as a safetensors file, whole or not at all; `InputError` where the disk refuses."""
    # Loads PyTorch, which takes seconds that a program without tensors need not wait.
    from safetensors.torch import save_file

    with atomic(path) as part:
        # safetensors would let nobody else read the file, whatever the user's umask.
        part.touch()
        mode = part.stat().st_mode
        try:
            save_file({name: x.detach().cpu().contiguous() for name, x in tensors.items()}, part, metadata=metadata)
        except SafetensorError as error:
            # safetensors reports a full disk in a type of its own.
            raise OSError(str(error)) from error
        part.chmod(mode)


def write_json(path: str | Path, value) -> None:
    """Write `value` as indented JSON with lists of numbers on one line, whole or not at all."""
    text = json.dumps(value, indent=1, allow_nan=False)
    # Between a bracket and the next neither string nor object: within strings, line ends are escaped.
    text = re.sub(r"\[\n([^\[\]{}\"]*)\n *\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    with atomic(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path):
    """Read a JSON file; an absent or broken one raises `InputError` with the file's name."""
    return parse_json(read_bytes(path), path)


def read_bytes(path: str | Path) -> bytes:
    """Read a file; one that is absent or cannot be read raises `InputError` with its name."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; give the path of a file") from None


def parse_json(content: bytes, path: str | Path):
    """The value of JSON that was read from `path`; `InputError` with that name where it is none."""
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError) as error:  # no JSON, no text, or one bracket in another
        raise InputError(f"{path} is not valid JSON ({error}); restore it or write it again") from None
