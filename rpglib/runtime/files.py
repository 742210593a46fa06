"""Files that are either whole or absent: every write goes to a neighbour first and is renamed into place."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from rpglib.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary neighbour of `path` and rename it to `path` when the block ends without an error.

    After an error (a full disk, an interrupt) the old content of `path` is untouched and the neighbour is gone.
    Raises `InputError` where the operating system refuses the write, naming the file and the reason.
    """
    path = Path(path)
    # The suffix stays the same: some writers choose the format by it.
    part = path.with_name(f".{path.stem}.part-{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder "
            "(what was there before is unchanged)"
        ) from error
    finally:
        # A failure to tidy up must not hide the failure that is being reported.
        with suppress(OSError):
            part.unlink(missing_ok=True)


def save_tensors(path: str | Path, tensors: "dict[str, Tensor]", metadata: dict[str, str] | None = None) -> None:
    """Write tensors as a safetensors file, whole or not at all; `InputError` where the disk refuses."""
    # Loads PyTorch, which takes seconds that a program without tensors need not wait.
    from safetensors.torch import save_file

    with atomic(path) as part:
        try:
            save_file({name: x.detach().cpu().contiguous() for name, x in tensors.items()}, part, metadata=metadata)
        except SafetensorError as error:
            # safetensors reports a full disk in a type of its own.
            raise OSError(str(error)) from error


def write_json(path: str | Path, value) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with atomic(path) as part:
        part.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path):
    """Read a JSON file; an absent or broken one raises `InputError` with the file's name."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON ({error}); restore it or write it again") from None
