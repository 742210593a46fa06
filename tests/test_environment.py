"""One set of pins: constraints.txt, environment.yml and pyproject.toml name the same packages and versions."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text().splitlines()
PINS = dict(line.split("==") for line in CONSTRAINTS)
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
CONDA_PIP = next(item["pip"] for item in CONDA if isinstance(item, dict))


def required():
    """Return what pyproject.toml asks for, tests included, the GPU's extra excluded."""
    lines = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def test_constraints_are_exact_pins_without_addresses():
    assert len(PINS) == len(CONSTRAINTS) > 100
    assert [line for line in CONSTRAINTS if not re.fullmatch(r"[a-z0-9-]+==[A-Za-z0-9.]+", line)] == []
    assert sorted(CONSTRAINTS) == CONSTRAINTS


@pytest.mark.parametrize("name", required())
def test_every_requirement_is_pinned_within_its_range(name):
    assert required()[name].specifier.contains(PINS[name])


def test_conda_has_the_same_pins_for_the_same_packages():
    pins = dict(line.split("==") for line in CONDA_PIP if not line.startswith("--"))
    assert pins == {name: PINS[name] for name in required()}
    assert {line for line in CONDA_PIP if line.startswith("--")} == {"--constraint constraints.txt", "--editable ."}


def test_conda_python_is_supported():
    (python,) = (item for item in CONDA if isinstance(item, str) and item.startswith("python="))
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python.partition("=")[2])


def test_gpu_extra_is_named_and_optional():
    extra = {canonicalize_name(Requirement(line).name) for line in PROJECT["optional-dependencies"]["gpu"]}
    assert extra == {"mamba-ssm", "causal-conv1d", "bitsandbytes"}
    assert not extra & PINS.keys()


def test_makefile_installs_under_the_constraints():
    makefile = (ROOT / "Makefile").read_text()
    stamp = next(line for line in makefile.splitlines() if line.startswith("$(STAMP):"))
    assert {"pyproject.toml", "constraints.txt"} <= set(stamp.split())
    installs = [line for line in makefile.splitlines() if "pip install" in line]
    assert len(installs) == 2 and all("--constraint constraints.txt" in line for line in installs)


# What a notebook that reads its records, and the command that runs it, must not wait for.
SLOW = {"accelerate", "huggingface_hub", "sklearn", "timm", "torch._dynamo", "torchvision", "transformers"}


@pytest.mark.parametrize(
    ("start", "slow"),
    [
        ("import experiments.run", {"torch", "papermill"}),
        ("import experiments.pipeline, experiments.profiles; experiments.pipeline.images_of('digits')", SLOW),
    ],
    ids=["command", "notebook"],
)
def test_slow_imports_wait_until_they_are_needed(start, slow):
    report = f"import sys; {start}; print(*sorted({slow} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
