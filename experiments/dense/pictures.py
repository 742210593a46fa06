"""What two networks see in the first test scenes, as a record keeps it: a character for every pixel."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from experiments.dense.detection import FOUND, Detector
from experiments.dense.kinds import Kind, Scenes
from rpglib.runtime.state_dicts import Checkpoint

SHOWN = 3
"""Scenes."""
SIGNS = "0123456789a"
"""Of the labels: 0 is the ground, then digit + 1."""


def shown(kind: Kind, model: nn.Module, asked: Scenes, networks: Sequence[Checkpoint]) -> list[list[dict]]:
    """Of each network, what it sees in each of the first scenes: {"labels": text, "boxes": [[x0, y0, x1, y1, label]]}.

    A detector's labels are those of its masks, surer ones on top. model: one of the kind, which takes their weights.
    """
    found = []
    for network in networks:
        model.load_state_dict(network)
        answers = kind.answered(model, asked.images[:SHOWN])
        found.append([_painted(x) if isinstance(kind, Detector) else {"labels": text(x), "boxes": []} for x in answers])
    return found


def _painted(seen: dict[str, Tensor]) -> dict:
    labels, boxes = torch.zeros(seen["masks"].shape[1:], dtype=torch.int64), []
    for k in seen["scores"].argsort().tolist():
        if seen["scores"][k] >= FOUND:
            labels[seen["masks"][k]] = seen["labels"][k]
            boxes.append([round(x, 1) for x in seen["boxes"][k].tolist()] + [int(seen["labels"][k])])
    return {"labels": text(labels), "boxes": boxes}


def text(labels: Tensor) -> str:
    """Labels (H, W) as a character each, row after row."""
    return "".join(SIGNS[label] for label in labels.flatten().tolist())


def labels(text: str, size: int) -> Tensor:
    """Labels (size, size) int64 of such a text."""
    return torch.tensor([SIGNS.index(sign) for sign in text]).view(-1, size)
