"""Networks as files that the library which the checkpoints came from can load."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from rpglib.errors import InputError
from rpglib.runtime.arguments import each, of, takes, wholes
from rpglib.runtime.arguments import path as a_path
from rpglib.runtime.files import atomic, save_tensors
from rpglib.runtime.state_dicts import Checkpoint, apart
from rpglib.zoo.layouts import settings_of
from rpglib.zoo.store import Zoo

WRITER = {"written_by": "rpglib"}
"""In the header of every file that is written here, by which it is known when it is replaced."""


@takes(zoo=of(Zoo), folder=a_path, indices=wholes(0))
def write_networks(
    zoo: Zoo, networks: Sequence[Checkpoint], folder: str | Path, indices: Sequence[int] | None = None
) -> list[Path]:
    """Write networks as the zoo's files were: by their own names and in their own types, as safetensors.

    Returns the path of each: a file, or a folder with the settings that lay beside the weights, such as config.json,
    where the checkpoints were folders of transformers, timm or PEFT. indices: of which checkpoint each network takes
    what the zoo left out (`Zoo.complete`), by default of the first. Networks that were written here before are
    replaced, no other file. Raises `InputError` where a network is not of this zoo, where something else has a place
    that is needed, before anything is written, and where nothing can be written.
    """
    networks, folder = list(each("networks", networks, "state dicts")), Path(folder)
    indices = [0] * len(networks) if indices is None else indices
    if len(indices) != len(networks):
        raise InputError(f"{len(indices)} indices for {len(networks)} networks; give one for each")
    whole = [zoo.complete(network, index) for network, index in zip(networks, indices, strict=True)]
    digits = max(2, len(str(len(whole) - 1)))
    name, beside = zoo.settings or ("", None)
    paths = [folder / f"{k:0{digits}d}{'' if name else '.safetensors'}" for k in range(len(whole))]
    for path in paths:
        _check_free(path, name, zoo)
    for path, network in zip(paths, whole, strict=True):
        # The weights first: by them a folder is known that was being written when the process was killed.
        save_tensors(path / name, apart(network), {"format": "pt"} | WRITER)
        for file in settings_of(beside) if name else ():
            with atomic(path / file.name) as part:
                shutil.copyfile(file, part)
    return paths


def _check_free(path: Path, name: str, zoo: Zoo) -> None:
    """Raise `InputError` where a file or a folder `path` is one that was not written here, or that the zoo reads."""
    weights = path / name
    if not os.path.lexists(weights) and not (path.is_dir() and any(path.iterdir())):
        return
    try:
        with safe_open(weights, "pt") as file:
            ours = WRITER.items() <= (file.metadata() or {}).items()
    except (SafetensorError, OSError):
        ours = False
    if not ours or weights.resolve() in zoo.files:
        raise InputError(f"{path} is there, and no network that was written here before; choose another folder")
