"""What says how good a network is: a function of the caller's own, or a timm model and a folder of images."""

import importlib
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from experiments.records import home
from rpglib.analysis.accuracy import answered, load
from rpglib.errors import InputError, shown
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.description import score

BATCH = 64
"""Images that are read and answered together."""


@dataclass(frozen=True)
class Evaluation:
    """name: as it was asked for; ask: state dict -> a number, or the truth values of its answers, right or wrong."""

    name: str
    ask: Callable[[dict[str, Tensor]], object]

    @property
    def code(self) -> str:
        """The source of what is asked, so that an edited function is asked anew; empty where there is none."""
        try:
            return inspect.getsource(self.ask)
        except (OSError, TypeError):
            return ""

    def __call__(self, network: dict[str, Tensor]) -> float:
        """A number, the higher the better: of truth values, how many are true, in percent."""
        return self.asked(network)[0]

    def asked(self, network: dict[str, Tensor], what: str = "the network") -> tuple[float, Tensor | None]:
        """The number, and which answers are wrong where they are told one by one."""
        errors = []

        def number(own: dict[str, Tensor]):
            found = self.ask(own)
            if isinstance(found, Tensor) and found.dtype == torch.bool and found.ndim == 1 and len(found):
                errors.append(~found.cpu())
                return 100 * found.double().mean()
            return found

        return score(number, network, what), errors[0] if errors else None


def evaluation(text: str) -> Evaluation | None:
    """The evaluation that a notebook's parameter names; None for an empty one.

    "package.module:function", or "timm:model:folder" with a folder of images for each class, in the order of the
    classes. Raises `InputError` for what is neither, and where the function, the model or the images are absent.
    """
    if not text:
        return None
    if text.startswith("timm:"):
        return Evaluation(text, _of_timm(text))
    module, colon, name = text.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module.split("."), name]):
        raise InputError(
            f"evaluate takes 'package.module:function', 'timm:model:folder of images', or nothing, not {shown(text)}"
        )
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"evaluate={shown(text)} cannot be imported ({error}); its folder must be in PYTHONPATH"
        ) from None
    if not callable(function):
        raise InputError(f"evaluate={shown(text)} is a {type(function).__name__}, no function")
    return Evaluation(text, function)


def _of_timm(text: str) -> Callable[[dict[str, Tensor]], Tensor]:
    import timm
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    _, name, folder = [*text.split(":", 2), "", ""][:3]
    path = Path(folder) if os.path.exists(folder) else home() / folder
    if not timm.is_model(name) or not folder:
        raise InputError(f"evaluate={shown(text)} names no model of timm and folder, as in 'timm:resnet18:data/images'")
    try:
        classes = ImageFolder(path).classes
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} is no folder of images with a folder for each class ({error})") from None
    module = Architecture(name, len(classes)).build().eval()
    settings = timm.data.resolve_model_data_config(module)
    images = ImageFolder(path, timm.data.create_transform(**settings, is_training=False))

    def ask(network: dict[str, Tensor]) -> Tensor:
        load(module, network)
        with torch.inference_mode():
            right = [answered(module, batch).argmax(1) == labels for batch, labels in DataLoader(images, BATCH)]
        return torch.cat(right)

    return ask
