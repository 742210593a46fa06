"""Ultralytics' modules, imported where they are used, without downloads and without messages to anyone.

Ultralytics is under the AGPL-3.0: it is asked for its architecture, its loss and its measure, and nothing of it is in
this repository or in the default installation.
"""

import importlib
import os
from types import ModuleType

from experiments.extras import DETECTORS
from experiments.records import working_dir

QUIET = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}


def module(name: str) -> ModuleType:
    """Import ultralytics.`name`; raises `InputError` where a package of the extra is absent.

    What ultralytics writes about itself goes into the project's folder for unfinished work, not into the user's home:
    into that of "cpu" whatever the profile, as its settings are none of a profile.
    """
    settings = working_dir("cpu", "ultralytics")
    settings.mkdir(parents=True, exist_ok=True)
    os.environ |= QUIET | {"YOLO_CONFIG_DIR": str(settings)}
    # Where torchvision was imported, ultralytics takes its suppression of boxes, ten times as fast as its own.
    importlib.import_module("torchvision")
    DETECTORS.package("cv2")
    utils = DETECTORS.package("ultralytics.utils")
    if utils.SETTINGS["sync"]:
        utils.SETTINGS.update(sync=False)
    return importlib.import_module(f"ultralytics.{name}")
