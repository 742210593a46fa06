"""The library without the project: a wheel that holds nothing else trains and generates in any folder."""

import os
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import importlib.util, sys
from pathlib import Path

import rpglib
from rpglib import RPG, Architecture, ParameterTokenizer, RPGConfig, TrainConfig, Zoo, train
from rpglib.errors import InputError
from rpglib.zoo.images import load_images

assert Path(rpglib.__file__).is_relative_to(sys.argv[1]) and importlib.util.find_spec("experiments") is None

architecture = Architecture("cnn_digits", 10, channels=1, image_size=8)
checkpoints = [architecture.build().state_dict() for _ in range(4)]
zoo = Zoo.write("zoo", checkpoints, architecture=architecture, runs=[0] * 4, accuracies=[10.0] * 4)
tokenizer = ParameterTokenizer.fit(zoo, token_size=64)
config = RPGConfig(token_size=64, widths=(64,), d_state=8, channels=(1, 4, 8, 4, 1), permutation_states=4)
model = RPG(config, tokenizer)
train(model, zoo, TrainConfig(steps=2, batch_size=2), "training", device="cpu", progress=False)
model.save_pretrained("generator")
networks = RPG.from_pretrained("generator").generate(2, steps=2)
for network in networks:
    zoo.build().load_state_dict(network)

assert len(load_images("digits").test) == 360
try:
    load_images("cifar10")
except InputError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: setuptools leaves a folder behind, and would take over what lies in an older one."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("rpglib", "experiments"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    result = subprocess.run([*command, "--wheel-dir", folder, source], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return next(folder.glob("rpglib-*.whl"))


def test_the_wheel_holds_the_library_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "rpglib",
        f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info",
    }
    held = {name for name in names if name.startswith("rpglib/")}
    source = {str(path.relative_to(ROOT)) for path in (ROOT / "rpglib").rglob("*.*") if path.suffix != ".pyc"}
    assert held == source and {".py", ".cpp", ".json"} == {Path(name).suffix for name in held}


def test_it_trains_saves_and_generates_where_there_is_no_project(wheel, tmp_path):
    installed, here = tmp_path / "installed", tmp_path / "here"
    here.mkdir()
    zipfile.ZipFile(wheel).extractall(installed)
    # Without `site` no .pth file is read: the project's folder, which an editable install names in one, is not found.
    path = os.pathsep.join(map(str, (installed, *site.getsitepackages())))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RPG_", "PYTHON"))}
    result = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM, installed],
        cwd=here,
        env={**kept, "PYTHONPATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    assert line.startswith("CIFAR-10 is not in data/datasets: ") and "RPG_DATA" in line
    assert sorted(path.name for path in here.iterdir()) == ["generator", "training", "zoo"]
