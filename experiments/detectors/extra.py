"""The packages of the extra `detectors`, imported where they are used: without them one line says what to do.

Ultralytics is under the AGPL-3.0: it is asked for its architecture, its loss and its measure, and nothing of it is in
this repository or in the default installation.
"""

import importlib
import importlib.util
import os
from types import ModuleType

from experiments.records import working_dir
from rpglib.errors import InputError

PACKAGES = ("ultralytics", "cv2")
QUIET = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
"""No download of weights or packages, and no message to anyone."""


def module(name: str) -> ModuleType:
    """Import ultralytics.`name`; raises `InputError` where one of `PACKAGES` is absent.

    What ultralytics writes about itself goes into the project's folder for unfinished work, not into the user's home.
    """
    if missing := absent():
        raise InputError(f"detectors need the package {missing[0]}; install the extra: pip install -e '.[detectors]'")
    settings = working_dir("cpu", "ultralytics")
    settings.mkdir(parents=True, exist_ok=True)
    os.environ |= QUIET | {"YOLO_CONFIG_DIR": str(settings)}
    # Where torchvision was imported, ultralytics takes its suppression of boxes, ten times as fast as its own.
    importlib.import_module("torchvision")
    utils = importlib.import_module("ultralytics.utils")
    if utils.SETTINGS["sync"]:
        utils.SETTINGS.update(sync=False)
    return importlib.import_module(f"ultralytics.{name}")


def absent() -> list[str]:
    """Those of `PACKAGES` that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]
