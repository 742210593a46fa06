"""How large a network a method can learn to write within so much memory.

A method's own weights, their gradients and the two moments of its optimizer must fit at least: four numbers for each
weight, counted without allocating any where a method's sizes follow from the network's alone. Where that fits, one step
of training on two networks is made in a process of its own, and the most memory that it held at once is measured, the
two networks included; it is ended where it holds much more than the budget, or takes too long, and ends itself where
the system refuses what it asks for.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch

from experiments.field.jobs import GENERATORS, STEPS, Method, Timed
from experiments.imagenet.networks import SMOKE_MODEL, SMOKE_TRAIN
from experiments.profiles import SMALL_MODEL
from experiments.records import plain
from experiments.sources import code_of
from rpglib.baselines.d2nwg import D2NWG
from rpglib.baselines.hyper_representations import UnitGenerator
from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
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
RPGS = {
    "RPG, as in these tables": SMALL_MODEL,
    "RPG, 16 times as long tokens": SMOKE_MODEL,
    "RPG, preset small": RPGConfig.preset("small"),
}
"""Sizes of RPG, whose memory follows from its own size and the number of tokens."""
BEYOND = 1.25
"""How many times the budget a process may hold before it is ended."""
LIMIT = 300.0
"""Seconds that a step may take, with all that comes before it."""
HELD, REFUSED = "held", "refused"
"""What the process of a step says before the number of bytes."""
IMAGES = 10
"""That methods are given: what they keep of images is no part of what is measured here."""
CODE = code_of(__file__)


def architecture(name: str) -> Architecture:
    if name in SMALL:
        return Architecture(name, 10, 3, 32)
    # Networks of such names see 224 pixels; others take any size.
    return Architecture(name, 1000, 3, 224)


@dataclass(frozen=True)
class Fits(Timed):
    """Which of `networks` a method can learn within `budget` bytes."""

    profile: str
    method: Method
    networks: tuple[str, ...] = NETWORKS
    budget: float = BUDGET
    device: ClassVar[str] = "cpu"

    def facts(self) -> dict:
        own = {"method": self.method, "rpg": RPGS.get(self.method.generator)}
        return plain({**own, "networks": self.networks, "budget": self.budget, "scale_code": CODE})

    def found(self, folder: Path) -> dict:
        """By network: its parameters; held_bytes, None where that is not known; and why it is not.

        more_than: bytes that a step needs at least; too_slow: whether it was ended for that.
        """
        found = {}
        for name in self.networks:
            parameters, least = needed(self.method, name)
            one = {"held_bytes": None, "more_than": least, "too_slow": False}
            if least <= min(self.budget, memory()):
                one = self._measured(name)
            fits = one["held_bytes"] is not None and one["held_bytes"] <= self.budget
            found[name] = {"parameters": parameters, "fits": fits, **one}
        return {"networks": found}

    def _measured(self, name: str) -> dict:
        said = json.dumps(plain({"method": self.method, "network": name}))
        command = [sys.executable, "-m", "experiments.field.scale", said]
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            # One that needs much more than the budget is not let to fill the memory that others need.
            while process.poll() is None:
                large, slow = _resident(process.pid) > BEYOND * self.budget, time.perf_counter() - began > LIMIT
                if large or slow:
                    process.kill()
                    return {
                        "held_bytes": None,
                        "more_than": BEYOND * self.budget if large else 0,
                        "too_slow": not large,
                    }
                time.sleep(0.05)
            said = process.stdout.read()
        found = said.split()[-2:]
        if process.returncode or (found[0] == REFUSED and int(found[1]) <= self.budget):
            raise InputError(
                f"one step of {self.method.generator} on {name} failed; free memory, or run {' '.join(command)} to see "
                "why"
            )
        if found[0] == REFUSED:
            return {"held_bytes": None, "more_than": int(found[1]), "too_slow": False}
        return {"held_bytes": int(found[1]), "more_than": 0, "too_slow": False}


def needed(method: Method, name: str) -> tuple[int, int]:
    """The parameters of a network, and the least bytes that training the method on it needs; 0 where not counted."""
    told = architecture(name)
    kind = GENERATORS.get(method.generator)
    with torch.device("meta"):
        if kind is None or issubclass(kind, UnitGenerator):
            # Sizes that follow from how tensors are cut.
            return sum(p.numel() for p in told.build().parameters()), 0
        generator = kind(_one_step(method), told, 2)
    weights = sum(p.nbytes for p in generator.parameters())
    return generator.target.size, NUMBERS * weights + sum(x.nbytes for x in generator.buffers())


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
    if method.generator in RPGS:
        config = replace(RPGS[method.generator], permutation_states=len(zoo))
        model = RPG(config, ParameterTokenizer.fit(zoo, config.token_size))
        with tempfile.TemporaryDirectory() as folder:
            # Both networks in one step, and numbers of four bytes, as the other methods have them.
            settings = replace(SMOKE_TRAIN, steps=1, batch_size=len(zoo), precision="fp32")
            train(model, zoo, settings, folder, device="cpu", progress=False)
        return resident(HIGHEST)
    # Only D2NWG learns from every class.
    count = told.num_classes if method.generator == D2NWG.method else IMAGES
    one = torch.randn(1, 3, told.image_size, told.image_size)
    few = Split(one.expand(count, -1, -1, -1), torch.arange(count))
    images = Images("noise", "noise", few, few, few, tuple(map(str, range(told.num_classes))))
    GENERATORS[method.generator].fit(zoo, _one_step(method), images, progress=False)
    return resident(HIGHEST)


def refused(error: Exception) -> int:
    """The bytes that the system refused, by the message of an error or of its cause; 0 where that is not why."""
    said = re.search(r"allocate ([0-9]+) bytes", f"{error} {error.__context__}")
    return int(said[1]) if said else 0


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    own = given["method"]
    try:
        print(HELD, _step(Method(own["generator"], own["settings"]), given["network"]))
    except (RuntimeError, InputError) as error:
        if not (asked := refused(error)):
            raise
        print(REFUSED, asked)
