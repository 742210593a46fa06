"""Where results live and how a number keeps its origin: records with provenance, and the paths of everything kept."""

import dataclasses
import datetime
import functools
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import rpglib
from rpglib.errors import InputError, choice
from rpglib.runtime.files import read_json, write_json
from rpglib.runtime.locks import locked

PROFILES = ("smoke", "cpu", "gpu", "paper")
DEFAULT_PROFILE = "cpu"
WRITTEN = ("data", "figures", "notebooks/*.ipynb", "README.md", "RESULTS.md", "PAPER.md")
"""What runs write; a change anywhere else makes a record dirty."""
GIT_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE")
FEATURES = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile")
"""Of a processor, what decides how fast products are."""
PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "safetensors", "accelerate", "mamba-ssm")


def home() -> Path:
    """Return the project folder: `RPG_HOME`, or else the nearest folder upwards with a pyproject.toml.

    Notebooks run in notebooks/, command lines in the root: both find the same folder. Raises `InputError` outside.
    """
    if chosen := os.environ.get("RPG_HOME"):
        return Path(chosen).resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").exists():
            return folder
    raise InputError(f"no pyproject.toml in {here} or above; start inside the project or set RPG_HOME to its folder")


def _kept(kind: str, profile: str) -> Path:
    """Return the folder of one kind of data; a smoke run's files are scratch and stay out of the tracked tree."""
    choice("profile", profile, PROFILES)
    data = home() / "data"
    return data / "runs" / "smoke" / kind if profile == "smoke" else data / kind / profile


def results_dir(profile: str) -> Path:
    """Return the folder of the recorded results."""
    return _kept("results", profile)


def zoo_dir(profile: str, name: str) -> Path:
    """Return the folder of a collected zoo (large, ignored by git)."""
    return _kept("zoos", profile) / name


def generator_dir(profile: str, name: str) -> Path:
    """Return the folder of a trained generator (small, committed)."""
    return _kept("generators", profile) / name


def working_dir(profile: str, name: str) -> Path:
    """Return the folder of unfinished work (scratch, ignored by git); it need not exist."""
    return home() / "data" / "runs" / choice("profile", profile, PROFILES) / name


def storing(profile: str, name: str) -> AbstractContextManager:
    """Hold the lock under which what belongs together, such as a record and its generator, is written."""
    return locked(working_dir(profile, f"{name}.lock"))


def figures_dir(profile: str) -> Path:
    """Return the folder of the figures: figures/ for the default profile, a subfolder of it for the larger ones."""
    if choice("profile", profile, PROFILES) == "smoke":
        return _kept("figures", profile)
    return home() / "figures" / ("" if profile == DEFAULT_PROFILE else profile)


def write_record(
    experiment: str,
    profile: str,
    numbers: dict,
    *,
    config,
    seeds,
    n: int,
    wall_seconds: float,
    data_source: str,
    generator: str | None = None,
) -> dict:
    """Write data/results/<profile>/<experiment>.json atomically and return the record as it will be read back.

    `config` is a dataclass or a dict (of dataclasses); arrays and tensors become lists. `n` counts the independent
    items behind the numbers; `data_source` names the data set's copy; `generator` is the digest of the generator that
    is kept with the record. Raises `InputError` where a value is not finite or cannot be written as JSON, naming its
    place; nothing is written then.
    """
    record = {
        "experiment": experiment,
        "profile": profile,
        "n": n,
        "numbers": numbers,
        "config": config,
        "seeds": seeds,
        "data_source": data_source,
        "wall_seconds": wall_seconds,
        **({} if generator is None else {"generator": generator}),
        "provenance": provenance(),
    }
    record = plain(record, f"record {experiment}")
    write_json(results_dir(profile) / f"{experiment}.json", record)
    return record


def read_record(experiment: str, profile: str, config=None, seeds=None) -> dict:
    """Read a record; one that is absent, or none, or of another configuration or other seeds than are given here,
    raises `InputError` with the remedy.
    """
    path = results_dir(profile) / f"{experiment}.json"
    if not path.exists():
        raise InputError(
            f"no record of {experiment!r} in profile {profile!r} ({path}); run its notebook with fresh=True to make it"
        )
    record = read_json(path)
    if not isinstance(record, dict) or not {"config", "seeds", "numbers"} <= record.keys():
        raise InputError(f"{path} is no record; restore it, or run its notebook with fresh=True to make it")
    return of_settings(record, experiment, config, seeds)


def of_settings(record: dict, experiment: str, config=None, seeds=None) -> dict:
    """The record, where it is of this configuration and of these seeds, if given; `InputError` with the remedy."""
    for given, known in ((config, record["config"]), (seeds, record["seeds"])):
        if given is not None and not agrees(known, given):
            raise InputError(
                f"the record of {experiment} was made with other settings or another seed; run with fresh=True"
            )
    return record


def agrees(recorded, config) -> bool:
    """Whether a record's configuration is `config`: dataclasses, dicts and lists of them, and plain values.

    A dataclass's field that the record does not know is younger than it: such a field must have its default value, with
    which the code does what it did before.
    """
    if isinstance(config, Mapping):
        same = isinstance(recorded, dict) and recorded.keys() == {str(name) for name in config}
        return same and all(agrees(recorded[str(name)], value) for name, value in config.items())
    if isinstance(config, list | tuple | range):
        same = isinstance(recorded, list) and len(recorded) == len(config)
        return same and all(map(agrees, recorded, config))
    if not dataclasses.is_dataclass(config):
        return recorded == plain(config, "config")
    if not isinstance(recorded, dict):
        return False
    fields = {field.name: field for field in dataclasses.fields(config)}
    return recorded.keys() <= fields.keys() and all(
        agrees(recorded[name], getattr(config, name)) if name in recorded else getattr(config, name) == field.default
        for name, field in fields.items()
    )


def provenance() -> dict:
    """Return what a reader needs to make a number again: commit, dirty flag, versions, hardware and date (UTC)."""
    commit, dirty = _commit()
    first = _first_commit()
    return {
        "commit": first[0],
        # The code that ran is that of the beginning; it may have been loaded at any time since.
        "dirty": dirty or first[1] or commit != first[0] if commit else dirty,
        "versions": versions(),
        "hardware": hardware(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that shape the numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict:
    """Return CPU model, which of `FEATURES` it has, usable cores, memory (GB = 1e9 bytes), names of the GPUs."""
    import torch

    from rpglib.runtime.hardware import memory

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_model(),
        "features": _features(),
        "cores": cores,
        "memory_gb": round(memory() / 1e9, 1),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def versions_line() -> str:
    """Return versions and commit in one line, for the third cell of a notebook."""
    commit, dirty = _first_commit()
    state = f"commit {commit[:10]}{' with changes' if dirty else ''}" if commit else "no commit"
    return ", ".join(f"{name} {version}" for name, version in versions().items()) + f"; {state}"


def _features() -> list[str]:
    import torch

    # Older versions of PyTorch do not say.
    known = getattr(torch.cpu, "get_capabilities", dict)()
    return [name for name in FEATURES if known.get(name)]


@functools.cache
def _first_commit() -> tuple[str | None, bool | None]:
    """`_commit` as this process first asked for it, which notebooks do in their first cell."""
    return _commit()


def _commit() -> tuple[str | None, bool | None]:
    """Return the commit of the code and whether it was changed since; None where no repository of its own holds it.

    A repository of its own begins where both packages lie and tracks them: code that is installed into another project,
    or copied there, has nothing to do with that one's commits.
    """
    home = Path(__file__).resolve().parents[1]
    # Set in git's hooks, where they name another repository.
    environment = {name: value for name, value in os.environ.items() if name not in GIT_PLACES}

    def git(*arguments: str) -> str | None:
        try:
            # Without locks: a process that is killed leaves none, and nobody's commit has to wait.
            call = ["git", "--no-optional-locks", "-C", str(home), *arguments]
            found = subprocess.run(call, capture_output=True, text=True, errors="replace", check=True, env=environment)
            return found.stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    root = git("rev-parse", "--show-toplevel")
    code = (Path(__file__).resolve(), Path(rpglib.__file__).resolve())
    if root is None or Path(root) != home or any(path.parents[1] != home for path in code):
        return None, None
    if git("ls-files", "--error-unmatch", *map(str, code)) is None:
        return None, None
    excluded = [f":(top,exclude){path}" for path in WRITTEN]
    changes = bool(git("status", "--porcelain", "--", ":/", *excluded))
    # Notebooks hold variants and rules: a run writes their outputs, only a person their cells, and new ones.
    changes = changes or bool(git("ls-files", "--others", "--exclude-standard", "--", ":(top)notebooks/*.ipynb"))
    notebooks = (git("diff", "--name-only", "HEAD", "--", ":(top)notebooks/*.ipynb") or "").splitlines()
    changes = changes or any(
        _cells(git("show", f"HEAD:{path}")) != _cells(_text(Path(root, path))) for path in notebooks
    )
    return git("rev-parse", "--verify", "HEAD"), changes


def _cells(notebook: str | None) -> list | str | None:
    """What a person wrote of a notebook; of one that is broken all that is there."""
    try:
        return None if notebook is None else [cell["source"] for cell in json.loads(notebook)["cells"]]
    except (ValueError, LookupError, TypeError):
        return notebook


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def key(facts) -> str:
    """16 hexadecimal digits that tell recipes, or other facts, apart."""
    return hashlib.sha256(json.dumps(plain(facts), sort_keys=True).encode()).hexdigest()[:16]


def plain(value, place: str = "value"):
    """Turn dataclasses, arrays, tensors, paths and tuples into what JSON knows; `place` names the value in errors.

    Raises `InputError` for what JSON cannot hold, and for numbers that are not finite.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{place} is {value}; a record holds finite numbers only, so find out where this one arose")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name), f"{place}.{field.name}")
            for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {str(key): plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist") and not getattr(value, "is_meta", False):  # a tensor without values
        return plain(value.tolist(), place)
    raise InputError(f"{place} is a {type(value).__name__}; a record holds numbers, text, lists and dicts")
