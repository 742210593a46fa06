"""What `import rpglib` gives: nine names, none of which is loaded before it is asked for."""

import importlib
import subprocess
import sys

import pytest

import rpglib

HEAVY = {"torch", "numpy", "accelerate", "safetensors", "scipy", "sklearn", "timm", "tqdm"}


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_library_loads_nothing_heavy_and_takes_no_time():
    code = f"""
import sys, time
begin = time.perf_counter()
import rpglib
print(sorted({HEAVY} & sys.modules.keys()), time.perf_counter() - begin < 0.3)
"""
    assert python(code) == "[] True"


@pytest.mark.parametrize("name", rpglib.__all__)
def test_every_public_name_is_that_of_its_module(name):
    module = importlib.import_module(rpglib._MODULES[name])
    assert getattr(rpglib, name) is getattr(module, name)
    assert getattr(rpglib, name).__module__ == module.__name__, "where it is defined, not where it is imported"


def test_the_names_are_listed_before_they_are_loaded():
    found = python("import rpglib; print(set(rpglib.__all__) <= set(dir(rpglib)), 'RPG' in vars(rpglib))")
    assert found == "True False"
    assert set(rpglib.__all__) == set(rpglib._MODULES)


def test_a_star_and_a_list_import_the_same():
    found = python("from rpglib import *; from rpglib import train as again; print(train is again, RPG.__name__)")
    assert found == "True RPG"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'rpglib' has no attribute 'Rpg'"):
        _ = rpglib.Rpg
    with pytest.raises(ImportError, match="Rpg"):
        from rpglib import Rpg  # noqa: F401


def test_parts_are_still_found_as_modules():
    from rpglib import tokenizer

    assert tokenizer is importlib.import_module("rpglib.tokenizer")
