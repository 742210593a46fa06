"""Ends of processes, full disks, damage and nonsense, many times over: `make test-reliability`.

Each kind is tried as often as it is asked to be, at random places that follow from `--seed`; what did not hold is told
in a line each, and the counts at the end. Everything happens in a folder of its own, which is removed.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import accelerate  # noqa: F401  (here once, not in every process that is started)
import damage
import inputs
import kills
import torch
from trying import Trial

KINDS: dict[str, tuple[str, int, Callable[[int, Path, int], Trial]]] = {
    "trainings": ("trainings killed, resumed to the same weights", 60, kills.trainings),
    "sweeps": ("sweeps killed, gone on with to the same numbers, no worker left", 20, kills.sweeps),
    "saves": ("saves killed, the old or the new generator whole", 20, kills.saves),
    "pairs": ("pairs of rows at once in one home, of one seed or two", 10, kills.pairs),
    "disks": ("full disks, told in one line and nothing lost", 20, damage.full_disks),
    "bits": ("flipped bits, noticed or of no effect", 500, damage.flipped_bits),
    "inputs": ("bad inputs, taken or told in one line", 1000, inputs.bad_inputs),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/reliability", description=__doc__.splitlines()[0])
    for name, (label, count, _) in KINDS.items():
        parser.add_argument(f"--{name}", type=int, default=count, metavar="N", help=f"{label} (default {count})")
    parser.add_argument("--seed", type=int, default=0, help="another one tries other places (default 0)")
    chosen = vars(parser.parse_args())
    seed, wrong, began = chosen.pop("seed"), 0, time.perf_counter()
    # Processes are forked here, which threads would not survive.
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    folder = Path(tempfile.mkdtemp(prefix="reliability-"))
    os.chdir(folder)
    try:
        for name, count in chosen.items():
            label, _, attempt = KINDS[name]
            start = time.perf_counter()
            (folder / name).mkdir()
            os.environ["RPG_HOME"] = str(folder / name)
            trial = attempt(count, folder / name, seed)
            wrong += len(trial.faults)
            held = trial.tries - len(trial.faults)
            seconds = time.perf_counter() - start
            line = f"{label:<66} {held:>5} of {trial.tries:>5} held {seconds:>6.0f} s  {trial.facts()}".rstrip()
            print(line, *(f"  {fault}" for fault in trial.faults[:20]), sep="\n", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{wrong} did not hold; {time.perf_counter() - began:.0f} s")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
