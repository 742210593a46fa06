"""How large a network a method can learn to write within so much memory.

A method's own weights, their gradients and the two moments of its optimizer must fit at least: four numbers for each
weight, counted without allocating any. Where that fits, one step of training on two networks is made in a process of
its own, and the most memory that it held at once is measured, the two networks included.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from experiments.field import jobs
from experiments.field.jobs import GENERATORS, RPG_ROW, STEPS, Method
from experiments.imagenet.networks import SMOKE_MODEL, SMOKE_TRAIN
from experiments.records import plain
from experiments.sweeps.sweep import source_digest
from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.runtime.hardware import memory
from rpglib.runtime.resident import HIGHEST, resident
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.loop import train
from rpglib.zoo.architectures import SMALL, Architecture
from rpglib.zoo.images import Images, Split
from rpglib.zoo.store import Zoo

BUDGET = 8e9
"""Bytes."""
NETWORKS = (
    "cnn_s",
    "cnn_m",
    "mobilenetv3_small_050",
    "vit_tiny_patch16_224",
    "resnet18",
    "vit_small_patch16_224",
    "resnet50",
    "vit_base_patch16_224",
    "convnext_large",
)
"""By size: 2,864 to 198 million parameters."""
NUMBERS = 4
"""Of each weight in training by Adam: itself, its gradient, and two moments."""
CODE = source_digest(sys.modules[__name__], jobs)


def architecture(name: str) -> Architecture:
    if name in SMALL:
        return Architecture(name, 10, 3, 32)
    # Networks of such names see 224 pixels; others take any size.
    return Architecture(name, 1000, 3, 224)


@dataclass(frozen=True)
class Fits:
    """Which of `networks` a method can learn within `budget` bytes."""

    profile: str
    method: Method
    networks: tuple[str, ...] = NETWORKS
    budget: float = BUDGET

    def facts(self) -> dict:
        return plain({"method": self.method, "networks": self.networks, "budget": self.budget, "scale_code": CODE})

    def compute(self, folder: Path) -> dict:
        """By network, to the first that does not fit: parameters, least bytes, and those held, None where not tried."""
        found = {}
        for name in self.networks:
            parameters, least = needed(self.method, name)
            held = None
            if least <= min(self.budget, memory()):
                held = self._measured(name)
            fits = held is not None and held <= self.budget
            found[name] = {"parameters": parameters, "least_bytes": least, "held_bytes": held, "fits": fits}
            if not fits:
                break
        return found

    def _measured(self, name: str) -> int:
        said = json.dumps(plain({"method": self.method, "network": name}))
        command = [sys.executable, "-m", "experiments.field.scale", said]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            # One that needs much more than the budget is not let to fill the memory that others need.
            while process.poll() is None:
                if (held := _resident(process.pid)) > 1.25 * self.budget:
                    process.kill()
                    return held
                time.sleep(0.05)
            said = process.stdout.read()
        if process.returncode:
            raise InputError(
                f"one step of {self.method.generator} on {name} failed; run {' '.join(command)} to see why"
            )
        return int(said.split()[-1])


def needed(method: Method, name: str) -> tuple[int, int]:
    """The parameters of a network, and the least bytes that training the method on it needs."""
    told = architecture(name)
    if method.generator == RPG_ROW:
        with torch.device("meta"):
            # Its size hardly follows the network's.
            return sum(p.numel() for p in told.build().parameters()), 0
    with torch.device("meta"):
        generator = GENERATORS[method.generator](_one_step(method), told, 2)
    weights = sum(p.numel() for p in generator.parameters())
    return generator.target.size, 4 * (NUMBERS * weights + sum(x.numel() for x in generator.buffers()))


def _one_step(method: Method):
    config = method.config()
    changes = {name: 1 for name in STEPS if hasattr(config, name)}
    # What does not scale with the network, and what its architecture may refuse.
    simple = {"aligned": False, "permutations": 1, "candidates": 1}
    changes |= {name: value for name, value in simple.items() if hasattr(config, name)}
    return replace(config, **changes)


def _resident(process: int) -> int:
    """Bytes that a process holds at the moment; 0 once it is gone, and where the system does not say."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _step(method: Method, name: str) -> int:
    """Train one step on two untrained networks; the most bytes that this process held."""
    told = architecture(name)
    torch.manual_seed(0)
    zoo = Zoo.from_checkpoints(
        (told.build().state_dict() for _ in range(2)), architecture=told, runs=[0, 1], accuracies=None
    )
    if method.generator == RPG_ROW:
        model = RPG(SMOKE_MODEL, ParameterTokenizer.fit(zoo, SMOKE_MODEL.token_size))
        with tempfile.TemporaryDirectory() as folder:
            train(model, zoo, replace(SMOKE_TRAIN, steps=1), folder, device="cpu", progress=False)
        return resident(HIGHEST)
    few = Split(torch.randn(told.num_classes, 3, told.image_size, told.image_size), torch.arange(told.num_classes))
    if told.num_classes > 10:
        # The images of a thousand classes are no part of what a method holds: one blank one stands for each.
        few = Split(few.images[:1].expand(told.num_classes, -1, -1, -1), few.labels)
    images = Images("noise", "noise", few, few, few, tuple(map(str, range(told.num_classes))))
    GENERATORS[method.generator].fit(zoo, _one_step(method), images, progress=False)
    return resident(HIGHEST)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    own = given["method"]
    print(_step(Method(own["generator"], own["settings"]), given["network"]))
