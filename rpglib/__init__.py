"""Networks that write networks: a reproduction of recurrent diffusion for parameter generation (RPG).

    from rpglib import RPG, Condition, Zoo, describe, suggest, train, write_networks

Nothing is imported before it is asked for, so `import rpglib` alone costs milliseconds, not PyTorch's seconds.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rpglib.model.config import RPGConfig
    from rpglib.model.rpg import RPG
    from rpglib.tasks.conditions import Condition
    from rpglib.tokenizer import ParameterTokenizer
    from rpglib.training.behaviour import Behaviour, ClassificationBehaviour
    from rpglib.training.loop import TrainConfig, train
    from rpglib.training.suggestion import suggest
    from rpglib.zoo.architectures import Architecture
    from rpglib.zoo.description import describe
    from rpglib.zoo.store import Zoo
    from rpglib.zoo.writing import write_networks

__all__ = [
    "RPG",
    "Architecture",
    "Behaviour",
    "ClassificationBehaviour",
    "Condition",
    "ParameterTokenizer",
    "RPGConfig",
    "TrainConfig",
    "Zoo",
    "describe",
    "suggest",
    "train",
    "write_networks",
]

_MODULES = {
    "Architecture": "rpglib.zoo.architectures",
    "Behaviour": "rpglib.training.behaviour",
    "ClassificationBehaviour": "rpglib.training.behaviour",
    "Condition": "rpglib.tasks.conditions",
    "ParameterTokenizer": "rpglib.tokenizer.tokenizer",
    "RPG": "rpglib.model.rpg",
    "RPGConfig": "rpglib.model.config",
    "TrainConfig": "rpglib.training.loop",
    "Zoo": "rpglib.zoo.store",
    "describe": "rpglib.zoo.description",
    "suggest": "rpglib.training.suggestion",
    "train": "rpglib.training.loop",
    "write_networks": "rpglib.zoo.writing",
}


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value  # found at once the next time
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
