"""What every notebook calls first: its parameters are checked, its tables shown whole, its versions printed."""

import pandas as pd

from experiments.records import PROFILES, versions_line
from rpglib.errors import InputError, choice

DEVICES = ("auto", "cpu", "cuda")


def begin(profile: str, fresh: bool, seed: int, device: str) -> None:
    """Check the parameters that all notebooks have, and print versions and commit.

    Whatever set them (the runner, papermill's own command line, a person in JupyterLab), a wrong one raises
    `InputError` here, before any record is touched.
    """
    choice("profile", profile, PROFILES)
    if not isinstance(fresh, bool):
        raise InputError(f"parameter fresh takes True or False, not {fresh!r}")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"parameter seed takes a whole number from 0 on, not {seed!r}")
    if device not in DEVICES and not (isinstance(device, str) and device.startswith("cuda:")):
        raise InputError(f"parameter device takes {', '.join(DEVICES)} or cuda:N, not {device!r}")
    # A table is compared by its text: nothing of it may be left out, or wrapped where the screen happens to end.
    pd.set_option("display.max_columns", None, "display.max_rows", None, "display.max_colwidth", None)
    pd.set_option("display.width", None, "display.expand_frame_repr", False)
    print(versions_line())
