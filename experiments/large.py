"""What profile `paper` does with zoos that are not ours to collect: its generators, and when it is tried at all."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from experiments.baselines import before_training
from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
from rpglib.runtime.state_dicts import Checkpoint
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.loop import TrainConfig, train
from rpglib.zoo.store import Zoo
from rpglib.zoo.writing import write_networks


@dataclass(frozen=True)
class Generator:
    """A generator, its training, and how it samples."""

    model: RPGConfig
    train: TrainConfig
    sampler: str = "ddim"
    steps: int = 60

    def written(self, zoo: Zoo, n: int, folder: Path, device: str) -> list[Checkpoint]:
        """Learn from the zoo, in `folder`/training, and write `n` networks, into `folder`/generated as well."""
        tokenizer = ParameterTokenizer.fit(zoo, self.model.token_size)
        writer = before_training(self.model, tokenizer, self.train.seed)
        train(writer, zoo, self.train, folder / "training", device, progress=False)
        generated = writer.generate(n, sampler=self.sampler, steps=self.steps)
        write_networks(zoo, generated, folder / "generated")
        return generated


def tried(profile: str, fresh: bool, elsewhere: str, compute: Callable[[], dict]) -> dict | str:
    """What is computed afresh in profiles smoke (stand-ins) and paper; `elsewhere`, a sentence, in all other cases.

    What paper lacks is a sentence, too; smoke lacks nothing, so that there it is raised.
    """
    if not fresh or profile not in ("smoke", "paper"):
        return elsewhere
    try:
        return compute()
    except InputError as error:
        if profile == "smoke":
            raise
        return f"not measured: {error}"
