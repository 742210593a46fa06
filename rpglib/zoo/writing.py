"""Networks as files that the library which the checkpoints came from can load."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from rpglib.errors import InputError
from rpglib.runtime.arguments import each, of, takes, wholes
from rpglib.runtime.arguments import path as a_path
from rpglib.runtime.files import atomic, save_tensors
from rpglib.runtime.state_dicts import Checkpoint, apart
from rpglib.zoo.layouts import settings_of
from rpglib.zoo.store import Zoo


@takes(zoo=of(Zoo), folder=a_path, indices=wholes(0))
def write_networks(
    zoo: Zoo, networks: Sequence[Checkpoint], folder: str | Path, indices: Sequence[int] | None = None
) -> list[Path]:
    """Write networks as the zoo's files were: by their own names and in their own types, as safetensors.

    Returns the path of each: a file, or a folder with the settings that lay beside the weights, such as config.json,
    where the checkpoints were folders of transformers, timm or PEFT. indices: of which checkpoint each network takes
    what the zoo left out (`Zoo.complete`), by default of the first. Raises `InputError` where a network is not of this
    zoo, and where nothing can be written.
    """
    networks, folder = list(each("networks", networks, "state dicts")), Path(folder)
    indices = [0] * len(networks) if indices is None else indices
    if len(indices) != len(networks):
        raise InputError(f"{len(indices)} indices for {len(networks)} networks; give one for each")
    whole = [zoo.complete(network, index) for network, index in zip(networks, indices, strict=True)]
    settings, digits, paths = zoo.settings, max(2, len(str(len(whole) - 1))), []
    for k, network in enumerate(whole):
        path = folder / (f"{k:0{digits}d}" if settings else f"{k:0{digits}d}.safetensors")
        if settings is None:
            save_tensors(path, apart(network), {"format": "pt"})
        else:
            name, beside = settings
            for file in settings_of(beside):
                with atomic(path / file.name) as part:
                    shutil.copyfile(file, part)
            save_tensors(path / name, apart(network), {"format": "pt"})
        paths.append(path)
    return paths
