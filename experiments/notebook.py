"""What every notebook calls first: its parameters are checked, its tables shown whole, its versions printed."""

import re

from experiments.records import PROFILES, versions_line
from rpglib.errors import InputError, choice, shown, whole_number
from rpglib.runtime.allocator import keep_freed_memory

DEVICES = "auto, cpu, cuda or cuda:N"


def check_parameter(name: str, value):
    """Return a notebook's parameter; `InputError` where it is one that all notebooks have and its value is wrong.

    Notebooks and runner check by these rules alike.
    """
    match name:
        case "profile":
            choice("profile", value, PROFILES)
        case "fresh" if not isinstance(value, bool):
            raise InputError(f"parameter fresh takes True or False, not {shown(value)}")
        case "seed":
            whole_number("parameter seed", value, 0)
        case "device" if not (isinstance(value, str) and re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", value)):
            raise InputError(f"parameter device takes {DEVICES}, not {shown(value)}")
    return value


def begin(profile: str, fresh: bool, seed: int, device: str) -> None:
    """Check the parameters that all notebooks have, let the process keep freed memory, print versions and commit.

    Whatever set them (the runner, papermill's own command line, a person in JupyterLab), a wrong one raises
    `InputError` here, before any record is touched; so does a GPU that is not at hand.
    """
    for name, value in {"profile": profile, "fresh": fresh, "seed": seed, "device": device}.items():
        check_parameter(name, value)
    if device.startswith("cuda"):
        # Loads PyTorch, which a notebook that only reads its record need not wait for.
        from rpglib.runtime.hardware import pick

        pick(device)
    # The runner checks by these rules, too, and draws no tables.
    import pandas as pd

    keep_freed_memory()
    # A table is compared by its text: nothing of it may be left out, or wrapped where the screen happens to end.
    pd.set_option("display.max_columns", None, "display.max_rows", None, "display.max_colwidth", None)
    pd.set_option("display.width", None, "display.expand_frame_repr", False)
    print(versions_line())
