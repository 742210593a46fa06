"""What a zoo knows of its checkpoints beside their tensors, checked before the first checkpoint is read."""

import math
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
from torch import Tensor

from rpglib.errors import InputError, check_types
from rpglib.runtime.arguments import dense
from rpglib.runtime.state_dicts import plain
from rpglib.tasks.conditions import check_conditions, described
from rpglib.zoo.architectures import Architecture

RUNS = 2**31
"""Runs have numbers below this: each has a learned vector of a generator's."""


def checked(
    architecture: Architecture | None,
    runs,
    accuracies,
    tasks,
    images: str | None,
    config: Mapping | None,
    conditions=None,
    described_by=(),
) -> dict:
    """Return the facts of N checkpoints as JSON values: runs (N,), accuracies (N,) or None, tasks (N, bits) or None.

    Where there are conditions (N, C), in any form of `check_conditions`, these too, and the C that describe them, whose
    ranges they do not leave.
    Raises `InputError` where one is not what a generator can use or a manifest can hold, and where they differ in N.
    """
    if not isinstance(architecture, Architecture | None):
        raise InputError(f"architecture is a {type(architecture).__name__}; give Architecture(name, num_classes, ...)")
    if architecture is not None:
        check_types(architecture)
    if not isinstance(images, str | None):
        raise InputError(f"images is the name of a data set, not a {type(images).__name__}")
    if not isinstance(config, Mapping | None):
        raise InputError(f"config is a dict of names and JSON values, not a {type(config).__name__}")
    runs = _numbers("runs", runs, 1, "iu", RUNS, "a whole number from 0, that of its run")
    if tasks is not None:
        tasks = _numbers("tasks", tasks, 2, "iub", 2, "equally many bits, 0 or 1")
    if accuracies is not None:
        unknown = [i for i, x in enumerate(accuracies) if x is None] if isinstance(accuracies, list | tuple) else []
        known = [0.0 if x is None else x for x in accuracies] if unknown else accuracies
        accuracies = _numbers("accuracies", known, 1, "iuf", None, "a finite number, or None").astype(float).tolist()
        for i in unknown:
            accuracies[i] = None
    if not len(runs):
        raise InputError("a zoo needs at least one checkpoint")
    for what, values in {"accuracies": accuracies, "tasks": tasks}.items():
        if values is not None and len(values) != len(runs):
            raise InputError(f"{len(values)} {what} for {len(runs)} runs; give one for each checkpoint")
    described_by = described("described_by", described_by)
    if (conditions is None) != (not described_by):
        raise InputError("conditions go with described_by, a Condition for each of their columns; give both or neither")
    own = {}
    if described_by:
        rows = check_conditions(described_by, conditions, len(runs), strict=True)
        own = {"conditions": rows.tolist(), "described_by": [asdict(one) for one in described_by]}
    return {
        "architecture": None if architecture is None else _json("architecture", architecture.to_dict()),
        "images": images,
        "config": _json("config", config or {}),
        "runs": runs.tolist(),
        "accuracies": accuracies,
        "tasks": None if tasks is None else tasks.astype(int).tolist(),
        **own,
    }


def _numbers(what: str, values, dims: int, kinds: str, below: int | None, each: str) -> np.ndarray:
    """The values as an array of so many dimensions; `InputError` unless all are of NumPy's kinds and 0 <= x < below."""
    if isinstance(values, Tensor):
        values = plain(dense(what, values))
        values = (values.double() if values.is_floating_point() else values).numpy()
    try:
        found = np.asarray(values)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # of unequal lengths, or not to be had as an array
        found = np.empty((), object)
    if found.shape == (0,) and found.dtype != object:
        return found
    right = found.ndim == dims and found.shape[-1] and found.dtype.kind in kinds and np.isfinite(found).all()
    if not right or (below is not None and not ((found >= 0) & (found < below)).all()):
        raise InputError(f"{what} give every checkpoint {each}; these do not: {str(values)[:60]!r}")
    return found


def _json(where: str, value):
    """The value as a JSON file gives it back; raises `InputError` for what it cannot hold or would change."""
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _json(f"{where}[{key!r}]", x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [_json(f"{where}[{i}]", x) for i, x in enumerate(value)]
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return value
    raise InputError(
        f"{where} is {str(value)[:60]!r} ({type(value).__name__}), which JSON cannot hold; give numbers and text"
    )
