"""Files of one folder that belong together: replaced at once, and read only together.

The folder's head, a JSON file, names the other files with their SHA-256 and holds a digest of all it says. New files
first wait in a hidden folder. When the head that names them is renamed into place, they are what the folder holds; then
they move to their own places. A reader looks in both, and takes only a file that is the one which the head names.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError

from rpglib.errors import InputError
from rpglib.runtime.files import flush_folder, parse_json, part_of, read_bytes, sha256, tidy, write_json
from rpglib.runtime.locks import locked

FILES, DIGEST = "files", "digest"
WAITING = ".waiting-"
PATIENCE = 3600.0
"""Seconds to wait for another process that writes into the same folder."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Bundle:
    """What a head says: `fields`, and the digest of it all, None where the head is older than these digests."""

    folder: Path
    head: str
    fields: dict
    digest: str | None
    files: dict[str, str]

    @property
    def waiting(self) -> Path:
        """Where files are that have not moved to their places."""
        return self.folder / f"{WAITING}{self.digest[:16]}"

    @property
    def settling(self) -> bool:
        """Whether some files have yet to move to their places."""
        return self.digest is not None and self.waiting.is_dir()

    def file(self, name: str) -> Path:
        """Where a file of the bundle lies; `InputError` unless it is the one that was written with the head."""
        if self.digest is None:
            return self.folder / name
        if name not in self.files:
            raise InputError(f"{self.folder / self.head} names no {name}; it is of another save")
        for path in (self.waiting / name, self.folder / name):
            try:
                if sha256(path) == self.files[name]:
                    return path
            except FileNotFoundError:
                continue
            except OSError as error:
                raise InputError(f"cannot read {path}: {error.strerror or error}") from None
        raise InputError(
            f"{self.folder / name} is absent, damaged or of another save than {self.head}; copy or save all of it again"
        )


@contextmanager
def intact(bundle: Bundle, what: str = "generator") -> Iterator[None]:
    """Inside, what a bundle lacks, or holds and should not, ends in one `InputError`."""
    try:
        if bundle.digest is None:
            raise KeyError(DIGEST)
        yield
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OSError, SafetensorError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        place = bundle.folder / bundle.head
        raise InputError(f"{place} holds no whole {what} ({reason}); copy or save it again") from None


def write_bundle(folder: str | Path, head: str, fields: dict, write: Callable[[Path], None]) -> str:
    """Replace the bundle in `folder` by `fields` and the files that `write` puts into the folder it is given.

    Returns the digest. Until all is on the disk the old bundle is there; a process that is killed leaves one or the
    other. Several processes may write at once: the last one's bundle stays. Raises `InputError` where that cannot be
    written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock", PATIENCE):
            return _replace(folder, head, fields, write)
    except OSError as error:
        raise InputError(
            f"cannot write {folder}: {error.strerror or error}; free space or choose another folder "
            "(what was there before is unchanged)"
        ) from error


def _replace(folder: Path, head: str, fields: dict, write: Callable[[Path], None]) -> str:
    tidy(folder)
    old = {}
    with suppress(InputError):  # there is none yet, or a damaged one
        before = _opened(folder, head, read_bytes(folder / head))
        _settle(before)
        old = before.files
    part = part_of(folder / "new")
    try:
        part.mkdir()
        try:
            write(part)
        except InputError as error:  # of a file by the name that it will have
            raise InputError(str(error).replace(f"{part}/", f"{folder}/")) from error
        # Each of them is on the disk already.
        files = {path.name: sha256(path) for path in sorted(part.iterdir())}
        new = Bundle(folder, head, fields, _digest(fields, files), files)
        # What a save of the very same left when it was killed.
        shutil.rmtree(new.waiting, ignore_errors=True)
        os.replace(part, new.waiting)
        flush_folder(folder)
        write_json(folder / head, {**fields, FILES: files, DIGEST: new.digest})
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _settle(new)
    for left in folder.glob(f"{WAITING}*"):
        shutil.rmtree(left, ignore_errors=True)
    for name in old.keys() - files.keys():
        with suppress(OSError):
            # A head may come from others: what lies elsewhere, or was written since, is none of the old files.
            if Path(name).name == name and sha256(folder / name) == old[name]:
                (folder / name).unlink()
    return new.digest


def _settle(bundle: Bundle) -> None:
    """Move what still waits to where it belongs."""
    if bundle.settling:
        for path in bundle.waiting.iterdir():
            os.replace(path, bundle.folder / path.name)
        flush_folder(bundle.folder)
        bundle.waiting.rmdir()


def read_bundle(folder: Path, head: str, read: Callable[[Bundle], Found]) -> Found:
    """What `read` makes of the bundle in `folder`; it is called again where another process replaced that meanwhile.

    Raises `InputError` for a head that is absent, damaged or changed since it was written.
    """
    failed, times = None, 0
    while True:
        version, most = _version(folder / head), 2
        try:
            bundle = _opened(folder, head, read_bytes(folder / head))
            if bundle.settling:
                most = len(bundle.files) + 2
            found = read(bundle)
        except (InputError, OSError):
            # Again with the same head, too: between finding a file and opening it, it may have moved, each file once.
            times = times + 1 if version == failed else 1
            if times >= most and version == _version(folder / head):
                raise
            failed = version
        else:
            if _version(folder / head) == version:
                return found


def _version(path: Path) -> tuple | None:
    """What tells a file from every other that had or will have its name, also from one of the same content."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _opened(folder: Path, head: str, content: bytes) -> Bundle:
    said = parse_json(content, folder / head)
    if not isinstance(said, dict):
        raise InputError(f"{folder / head} holds no names and values; copy or save it again")
    fields = {name: value for name, value in said.items() if name not in (FILES, DIGEST)}
    files, digest = said.get(FILES), said.get(DIGEST)
    if files is None and digest is None:
        return Bundle(folder, head, fields, None, {})
    if not isinstance(files, dict) or digest != _digest(fields, files):
        raise InputError(f"{folder / head} was changed after it was written, or is damaged; copy or save it again")
    return Bundle(folder, head, fields, digest, files)


def _digest(fields: dict, files: dict) -> str:
    return hashlib.sha256(json.dumps([fields, files], sort_keys=True).encode()).hexdigest()
