"""A newcomer's five networks go through the notebook by its runner, with two parameters set."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import torch

from rpglib import RPG

ROOT = Path(__file__).parents[3]
NEWCOMER = """
import torch
from torch import nn


def data():
    x = torch.randn(600, 8, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] * x[:, 1] > 0).long()


def network():
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))


def trained(seed):
    torch.manual_seed(seed)
    (x, y), own = data(), network()
    optimizer = torch.optim.Adam(own.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(own(x[:400]), y[:400]).backward()
        optimizer.step()
    return own.state_dict()


def accuracy(state):
    (x, y), own = data(), network()
    own.load_state_dict(state)
    return 100 * (own(x[400:]).argmax(1) == y[400:]).float().mean()
"""


def test_two_parameters_from_checkpoints_to_networks(tmp_path, monkeypatch):
    (tmp_path / "newcomer.py").write_text(NEWCOMER)
    monkeypatch.syspath_prepend(tmp_path)
    import newcomer

    for seed in range(5):
        torch.save(newcomer.trained(seed), tmp_path / f"net{seed}.pt")
    command = [sys.executable, "-m", "experiments.run", ROOT / "notebooks/23_your_networks.ipynb"]
    own = ["-p", "checkpoints", str(tmp_path / "*.pt"), "-p", "evaluate", "newcomer:accuracy"]
    paths = os.pathsep.join((str(tmp_path), str(ROOT)))
    result = subprocess.run(
        [*command, *own, "--output", tmp_path / "report.ipynb"],
        env={**os.environ, "RPG_HOME": str(tmp_path / "home"), "PYTHONPATH": paths},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    report = nbformat.read(tmp_path / "report.ipynb", as_version=4)
    said = "".join(o.get("text", "") for cell in report.cells for o in cell.get("outputs", ()))
    assert "Its networks work." in said
    (generator,) = (tmp_path / "home").rglob("config.json")
    networks = sorted((tmp_path / "home").rglob("networks/*.safetensors"))
    assert len(networks) == 10
    (one,) = RPG.from_pretrained(generator.parent).generate(1, steps=4)
    newcomer.network().load_state_dict(one)
