"""What every notebook calls first says in one line what is wrong with its parameters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from papermill.cli import _resolve_type

import experiments.notebook
from experiments.notebook import begin
from rpglib.errors import InputError

ROOT = Path(__file__).parents[2]
GOOD = {"profile": "cpu", "fresh": False, "seed": 0, "device": "auto"}


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    """How often the process was told to keep freed memory: these tests leave that of their own process alone."""
    calls = []
    monkeypatch.setattr(experiments.notebook, "keep_freed_memory", lambda: calls.append(1))
    return calls


def test_good_parameters_print_the_versions(capsys, kept):
    begin(**GOOD)
    assert capsys.readouterr().out.startswith("python 3.") and kept == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"profile": "digits"}, "unknown profile 'digits'; known: smoke, cpu, gpu, paper"),
        ({"profile": None}, "unknown profile None; known: smoke, cpu, gpu, paper"),
        ({"profile": ["cpu"]}, "unknown profile ['cpu']; known: smoke, cpu, gpu, paper"),
        ({"fresh": "yes"}, "parameter fresh takes True or False, not 'yes'"),
        ({"fresh": 1}, "parameter fresh takes True or False, not 1"),
        ({"fresh": "a\nb" * 99}, "parameter fresh takes True or False, not '" + ("a\\nb" * 99)[:96] + "..."),
        ({"seed": -1}, "parameter seed takes a whole number from 0 on, not -1"),
        ({"seed": 0.5}, "parameter seed takes a whole number from 0 on, not 0.5"),
        ({"seed": True}, "parameter seed takes a whole number from 0 on, not True"),
        ({"seed": "0"}, "parameter seed takes a whole number from 0 on, not '0'"),
        ({"seed": 2**63}, "parameter seed takes a whole number from 0 on, not 9223372036854775808"),
        ({"device": "tpu"}, "parameter device takes auto, cpu, cuda or cuda:N, not 'tpu'"),
        ({"device": "cuda:"}, "parameter device takes auto, cpu, cuda or cuda:N, not 'cuda:'"),
        ({"device": "cuda:first"}, "parameter device takes auto, cpu, cuda or cuda:N, not 'cuda:first'"),
        ({"device": 0}, "parameter device takes auto, cpu, cuda or cuda:N, not 0"),
    ],
)
def test_a_wrong_one_is_told(change, message, capsys, kept):
    with pytest.raises(InputError) as error:
        begin(**GOOD | change)
    assert str(error.value) == message
    assert not capsys.readouterr().out and not kept


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_gpu_that_is_absent_is_told_at_once(device):
    with pytest.raises(InputError, match=f"device '{device}' cannot be used here"):
        begin(**GOOD | {"device": device})


@pytest.mark.parametrize("text", ["false", "true", "no", "yes", "0", "1", "None", "", "off", "False ", "0.0"])
def test_what_papermill_takes_for_no_flag_is_none(text):
    with pytest.raises(InputError, match="fresh takes True or False"):
        begin(**GOOD | {"fresh": _resolve_type(text)})


def test_papermill_s_own_command_line_replaces_no_record(tmp_path):
    notebook = ROOT / "notebooks" / "00_quickstart.ipynb"
    command = [sys.executable, "-m", "papermill", notebook, tmp_path / "out.ipynb", "-p", "fresh", "false"]
    environment = {**os.environ, "RPG_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    options = ["-p", "profile", "smoke", "--no-progress-bar"]
    result = subprocess.run([*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode != 0 and "parameter fresh takes True or False, not 'false'" in result.stderr
    assert not (tmp_path / "home").exists()
