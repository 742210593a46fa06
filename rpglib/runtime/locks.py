"""Work that only one process may do at a time, and folders that only one process works in."""

import datetime
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from rpglib.errors import InputError

DAY = 86_400.0
NOTICE = 5.0
"""Seconds of waiting after which a line says for whom."""


@contextmanager
def locked(path: str | Path, seconds: float = DAY) -> Iterator[None]:
    """Hold the lock file `path` (its folder is made), waiting while another process does.

    A lock ends with its process, however that ends, so one that is held is held by something that runs. Raises
    `InputError` that names the holder after so many seconds, and where the file cannot be written.
    """
    with _file(path) as lock:
        if not _taken(lock, min(NOTICE, seconds)):
            print(f"waiting for {_holder(lock)}", file=sys.stderr)
            if not _taken(lock, seconds - min(NOTICE, seconds)):
                raise InputError(f"{_holder(lock)} for {seconds:g} s; wait until it has finished, or end it")
        yield


@contextmanager
def working_folder(path: str | Path) -> Iterator[Path]:
    """Yield a folder for this process alone to keep unfinished work in, removed when the block ends without an error.

    It is `path`, with what a process that was killed left there, or, while others work there, `path`.2, `path`.3, ...
    """
    for k in count(1):
        folder = Path(path) if k == 1 else Path(f"{path}.{k}")
        with _file(f"{folder}.lock") as lock:
            if _taken(lock, 0):
                yield folder
                shutil.rmtree(folder, ignore_errors=True)
                return


@contextmanager
def _file(path: str | Path):
    """A lock that nobody holds yet; released at the end, with its file."""
    # Slow to import, and most programs lock nothing.
    from filelock import FileLock

    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; choose another folder") from None
    lock = FileLock(path)
    try:
        yield lock
    finally:
        if lock.is_locked:
            # Before it is let go: whoever waits for this very file sees that it has no name and opens a new one.
            with suppress(OSError):
                path.unlink(missing_ok=True)
            lock.release()


def _taken(lock, seconds: float) -> bool:
    from filelock import Timeout

    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return False
    except OSError as error:
        raise InputError(f"cannot write {lock.lock_file}: {error.strerror or error}; choose another folder") from None
    since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    with suppress(OSError):  # a note for people, which a full disk need not hold
        Path(lock.lock_file).write_text(f"process {os.getpid()} on {platform.node()} since {since}", encoding="utf-8")
    return True


def _holder(lock) -> str:
    try:
        # In one line, whatever stands there: where a file system knows no locks, filelock keeps its own notes.
        held_by = " ".join(Path(lock.lock_file).read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError):
        held_by = ""
    return f"{lock.lock_file}, held by {held_by or 'another process'}"
