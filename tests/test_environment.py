"""One set of pins: constraints.txt, environment.yml and pyproject.toml name the same packages and versions."""

import ast
import importlib.metadata
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
EXTRAS = ("adapters", "dense", "detectors")
"""Beside the environment."""


def required():
    """Return what pyproject.toml asks for, notebooks and tests included, the GPU's extra excluded."""
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *extras["demo"], *extras["experiments"], *extras["test"]]
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


def test_the_fused_path_is_tested_with_the_versions_that_conda_names():
    pins = re.search(r"^FUSED := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1).split()
    named = re.search(r"pip install --no-build-isolation (.*)$", (ROOT / "environment.yml").read_text(), re.MULTILINE)
    assert set(pins[:2]) == {word for word in named.group(1).split() if "==" in word}


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_is_tested_with_exact_versions_beside_the_environment(extra):
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    pins = re.search(r"^EXTRAS := (.*)$", makefile, re.MULTILINE).group(1).split()
    beside = dict(pin.split("==") for pin in pins)
    assert asked_for(PROJECT["optional-dependencies"][extra]) <= beside.keys() | PINS.keys()
    # What the environment has must not be there in another version.
    assert {name: x for name, x in beside.items() if PINS.get(name, x) != x} == {}


def asked_for(*lists):
    return {canonicalize_name(Requirement(line).name) for lines in lists for line in lines}


def imported_by(package):
    """Return the distributions from which the modules of `package` import, wherever the import stands."""
    modules = set()
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules.add(node.module.partition(".")[0])
    modules -= {*sys.stdlib_module_names, "rpglib", "experiments"}
    known = importlib.metadata.packages_distributions()
    # What is not installed here (the GPU's extra) goes by its module's name.
    return {canonicalize_name(known.get(name, [name])[0]) for name in modules}


def test_the_library_requires_what_it_imports_and_nothing_else():
    extras = PROJECT["optional-dependencies"]
    # Asks for it in one line where it is absent: a chat model on one's own machine is no part of the method.
    optional = asked_for(extras["gpu"], ["transformers"])
    assert imported_by("rpglib") - optional == asked_for(PROJECT["dependencies"])


def test_the_experiments_require_what_they_import():
    extras = PROJECT["optional-dependencies"]
    wanted = imported_by("experiments") - {"jupyter-client", "nbformat", "nbclient"}  # parts of papermill
    # Some packages are beside the environment; without them the notebooks that need them say so in one line.
    assert wanted <= asked_for(PROJECT["dependencies"], extras["experiments"], *(extras[x] for x in EXTRAS))
    assert not asked_for(extras["experiments"]) & asked_for(PROJECT["dependencies"])


def test_makefile_installs_under_the_constraints():
    makefile = (ROOT / "Makefile").read_text()
    stamp = next(line for line in makefile.splitlines() if line.startswith("$(STAMP):"))
    assert {"pyproject.toml", "constraints.txt"} <= set(stamp.split())
    installs = [line for line in makefile.splitlines() if "pip install" in line]
    assert len(installs) == 5 and all("--constraint constraints.txt" in line for line in installs)


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


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"] and citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]
