"""Adapters as PEFT's folders: written, and read as one zoo only where all are of one base, rank and set of layers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from experiments.adapters.adapters import put
from experiments.extras import ADAPTERS
from rpglib.errors import InputError
from rpglib.runtime.files import read_json
from rpglib.zoo.store import Zoo

SAID = {
    "base_model_name_or_path": "base",
    "peft_type": "type",
    "r": "rank",
    "lora_alpha": "alpha",
    "target_modules": "target modules",
}
"""Of an adapter_config.json, what all adapters of a zoo share, and what messages call it."""


def write(model, adapters: Sequence[Mapping[str, Tensor]], folders: Sequence[Path]) -> None:
    """Write adapters of a model of PEFT as PEFT does, each into a folder of its own."""
    for adapter, folder in zip(adapters, folders, strict=True):
        put(model, adapter)
        model.save_pretrained(folder)


def read_zoo(folders: Sequence[Path], runs: Sequence[int], tasks: Sequence[Sequence[int]] | None = None) -> Zoo:
    """A zoo of adapters in PEFT's folders, of so numbered runs; tasks: the bits of each.

    Raises `InputError` where one is of another base, rank or set of layers than the first, and where LoRA stands
    beside DoRA.
    """
    check(folders)
    rows = [{"file": str(folder), "run": run} for folder, run in zip(folders, runs, strict=True)]
    if tasks is not None:
        rows = [row | {"task": list(map(int, task))} for row, task in zip(rows, tasks, strict=True)]
    return Zoo.read([str(folder) for folder in folders], table=rows)


def check(folders: Sequence[Path]) -> None:
    """Raise `InputError` unless all adapters have the settings of the first."""
    first, named = None, ""
    for folder in folders:
        said = read_json(Path(folder) / "adapter_config.json")
        if not isinstance(said, dict):
            raise InputError(f"{folder}/adapter_config.json is no adapter's settings; copy the folder again")
        if first is None:
            first, named = said, str(folder)
            continue
        if bool(said.get("use_dora")) != bool(first.get("use_dora")):
            kinds = ["DoRA" if x.get("use_dora") else "LoRA" for x in (said, first)]
            raise InputError(f"{folder} is {kinds[0]}, {named} {kinds[1]}; make a zoo of one kind")
        for key, words in SAID.items():
            theirs, ours = (_comparable(x.get(key)) for x in (said, first))
            if theirs != ours:
                raise InputError(f"{folder} has {words} {theirs}, {named} {ours}; make a zoo of adapters that agree")


def _comparable(value):
    return ", ".join(sorted(map(str, value))) if isinstance(value, list | tuple | set) else value


def load(base, folder: str | Path):
    """The base model with the adapter of a folder; raises `InputError` where that is of another base.

    The base's own weights stay as they are; shapes tell where the two do not belong together.
    """
    peft = ADAPTERS.package("peft")
    if not (Path(folder) / "adapter_config.json").is_file():
        raise InputError(f"no adapter in {folder}; give a folder with adapter_config.json and its weights")
    try:
        return peft.PeftModel.from_pretrained(base, folder).eval()
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"the adapter in {folder} is of another base model ({reason[:200]})") from None
