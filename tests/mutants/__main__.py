"""Does a test notice? `make test-mutants` makes single edits of the library's code and runs the tests that pass there.

First all tests run once and note which lines each of them reaches. Then, for every edit of a sample, a process of its
own imports the edited module and runs the tests that reach the line, quick ones first, until one fails. What survives
is listed. EQUIVALENT names edits that change nothing anyone could see, with the reason; they are not counted.
"""

import argparse
import ast
import contextlib
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import coverage
import pytest
import torch
from edits import Edit, edited, edits

ROOT = Path(__file__).parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
# Not the modules that only other processes, a GPU, a compiler or a data set at hand could test.
CORE = {
    "": ("tasks", "errors"),
    "tokenizer": ("layout", "statistics", "tokenizer"),
    "model": ("config", "denoiser", "diffusion", "folded", "mamba2", "positions", "recurrent", "rpg", "samplers"),
    "training": ("averages", "batches", "behaviour", "loop"),
    "zoo": ("architectures", "collect", "facts", "images", "store"),
    "analysis": (
        "accuracy",
        "alignment",
        "connectivity",
        "geometry",
        "memorisation",
        "perturbation",
        "scales",
        "similarity",
    ),
    "baselines": ("kernel_ridge", "tasks"),
    "runtime": ("bundles", "files", "locks", "state_dicts"),
}
TESTS = "tests/rpglib"
# What tests import and no edit is about: once, not in every process.
PRELOADED = ("accelerate", "hypothesis", "numpy", "safetensors", "scipy", "sklearn", "timm", "torchvision")
INTERFACE = f"{TESTS}/test_interface.py"
"""Which defaults and constants there are: they are set at the import, where no test reaches their lines."""
SECONDS = 30.0
"""Of tests for one edit, by what they took before; as much again in vain counts as noticed."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=12, help="edits of each module, drawn at random (default 12)")
    parser.add_argument("--modules", nargs="*", default=[], help="only modules whose name holds one of these")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")
    parser.add_argument("--cores", type=int, default=2)
    chosen, began = parser.parse_args(), time.perf_counter()
    os.chdir(ROOT)
    torch.set_num_threads(1)
    for name in PRELOADED:
        importlib.import_module(name)
    modules = {name: path for name, path in _modules().items() if not chosen.modules or _held(name, chosen.modules)}
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        reached, seconds = _reached(Path(scratch), chosen.cores)
    print(f"{len(seconds)} tests pass in {sum(seconds.values()):.0f} s", flush=True)
    same = {line.partition("  #")[0].strip() for line in EQUIVALENT.read_text(encoding="utf-8").splitlines()}
    draw, sample = random.Random(chosen.seed), []
    for name, path in modules.items():
        known = [edit for edit in edits(name, path) if _known(edit, path) not in same]
        sample += sorted(draw.sample(known, min(chosen.count, len(known))), key=lambda edit: edit.line)
    tests = [_tests(edit, modules[edit.module], reached, seconds) for edit in sample]
    attempts = [partial(_try, edit, modules[edit.module], own) for edit, own in zip(sample, tests, strict=True)]
    found = {name: [] for name in modules}
    for k, code in _side_by_side(attempts, chosen.cores):
        edit = sample[k]
        found[edit.module].append(code != 0)
        if code == 0:
            print(f"survived: {_known(edit, modules[edit.module])}  ({edit.line}, {len(tests[k])} tests)", flush=True)
    return _summary(found, time.perf_counter() - began)


def _summary(found: dict[str, list[bool]], seconds: float) -> int:
    for name, results in found.items():
        low = "  below 80 %" if sum(results) < 0.8 * len(results) else ""
        print(f"{name:<40} {sum(results):>3} of {len(results):>3} noticed{low}")
    noticed, edits_made = (sum(map(count, found.values())) for count in (sum, len))
    print(f"{noticed} of {edits_made} noticed ({100 * noticed / max(edits_made, 1):.1f} %), {seconds / 60:.1f} minutes")
    return int(noticed < 0.9 * edits_made or any(sum(r) < 0.8 * len(r) for r in found.values()))


def _modules() -> dict[str, Path]:
    names = [".".join(filter(None, ("rpglib", part, name))) for part, own in CORE.items() for name in own]
    return {name: ROOT / f"{name.replace('.', '/')}.py" for name in names}


def _held(name: str, parts: list[str]) -> bool:
    return any(part in name for part in parts)


def _known(edit: Edit, path: Path) -> str:
    """An edit by words that stay when lines move: its module, the line's text, the change."""
    return f"{edit.module} | {path.read_text(encoding='utf-8').splitlines()[edit.line - 1].strip()} | {edit.what}"


# ---- which tests reach which lines ----------------------------------------------------------------------------------


def _reached(scratch: Path, cores: int) -> tuple[dict[tuple[str, int], set[str]], dict[str, float]]:
    """(file, line) -> tests that reach it, and the seconds of every test that passes."""
    files = sorted(str(p.relative_to(ROOT)) for p in (ROOT / TESTS).rglob("test_*.py"))
    shares = [files[k::cores] for k in range(cores)]
    if any(
        code for _, code in _side_by_side([partial(_cover, shares[k], scratch / f"{k}") for k in range(cores)], cores)
    ):
        sys.exit("the tests do not pass on the code as it is; mend that first")
    reached, seconds = defaultdict(set), {}
    for k in range(cores):
        data = coverage.CoverageData(str(scratch / f"{k}.coverage"))
        data.read()
        seconds |= json.loads((scratch / f"{k}.json").read_text())
        for file in data.measured_files():
            for line, tests in data.contexts_by_lineno(file).items():
                reached[file, line] |= {test for test in tests if test}
    return reached, seconds


def _cover(files: list[str], place: Path) -> int:
    measured = coverage.Coverage(data_file=f"{place}.coverage", source=[str(ROOT / "rpglib")], config_file=False)
    seconds: dict[str, float] = {}

    class Plugin:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_protocol(self, item):
            measured.switch_context(item.nodeid)
            return (yield)

        def pytest_runtest_logreport(self, report):
            if report.when == "call" and report.passed:
                seconds[report.nodeid] = report.duration

    measured.start()
    code = pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", *files], plugins=[Plugin()])
    measured.stop()
    measured.save()
    Path(f"{place}.json").write_text(json.dumps(seconds))
    return int(code)


def _tests(edit: Edit, path: Path, reached: dict, seconds: dict[str, float]) -> list[str]:
    """The tests that reach the edit's line or, where it runs at the import alone, the module; quick ones first."""
    tests = reached.get((str(path), edit.line), set()) & seconds.keys()
    if not tests:
        tests = {test for (file, _), found in reached.items() if file == str(path) for test in found} & seconds.keys()
        tests |= {test for test in seconds if test.startswith(INTERFACE)}
    chosen, left = [], SECONDS
    for test in sorted(tests, key=seconds.__getitem__):
        left -= seconds[test] + 0.01
        if left < 0 and chosen:
            break
        chosen.append(test)
    return chosen


# ---- one edit -------------------------------------------------------------------------------------------------------


class _Edited(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a changed syntax tree."""

    def __init__(self, name: str, path: Path, tree: ast.Module):
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, fullname, path=None, target=None):
        if fullname == self.name:
            return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def exec_module(self, module):
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)

    def create_module(self, spec):
        return None


def _try(edit: Edit, path: Path, tests: list[str]) -> int:
    """pytest's exit code with the edit made: not 0 where a test fails, or the module cannot be imported."""
    signal.alarm(round(2 * SECONDS + 30))
    sys.meta_path.insert(0, _Edited(edit.module, path, edited(edit, path)))
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests])) if tests else 0


def _side_by_side(works: Sequence[Callable[[], int]], cores: int) -> Iterator[tuple[int, int]]:
    """The number and the exit code of every piece of work, each done in a process of its own, as they end."""
    running: dict[int, int] = {}
    for k in range(len(works) + cores):
        if len(running) == cores or (running and k >= len(works)):
            process, status = os.wait()
            yield running.pop(process), os.waitstatus_to_exitcode(status)
        if k < len(works):
            running[_started(works[k])] = k


def _started(work: Callable[[], int]) -> int:
    """The number of a new process that does the work, says nothing, and ends with its code."""
    if process := os.fork():
        return process
    code = 3
    with contextlib.suppress(BaseException):
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        code = work()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
