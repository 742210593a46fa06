"""YOLOv8n: its architecture, its loss and its measure from ultralytics, and a training loop of a few lines.

Ultralytics' own trainer wants data sets on disk and settings of some eighty names; what is left of it here is AdamW,
its clipped gradient, and a rate that rises and falls.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from experiments.detectors import yolo
from experiments.detectors.scenes import Scenes
from rpglib.errors import InputError, check_types, whole_number

GAINS = {"box": 7.5, "cls": 0.5, "dfl": 1.5}
"""What ultralytics weighs the parts of its loss with."""
CLIP = 10.0
THRESHOLDS = torch.linspace(0.5, 0.95, 10)
"""Of overlap, over which mAP50-95 is the mean."""
TOGETHER = 64
"""Images that a detector sees at a time when it is measured."""

State = dict[str, Tensor]


@dataclass(frozen=True)
class Phase:
    """One training: epochs, scenes of a batch, and the rate, which rises in `warmup` steps and falls linearly to 0.

    new: how many times that rate the last layers of the class scores have, which begin anew where all else was trained.
    """

    epochs: int
    learning_rate: float
    batch: int = 32
    warmup: int = 0
    new: float = 1.0
    weight_decay: float = 5e-4

    def __post_init__(self):
        check_types(self)
        for name, least in (("epochs", 1), ("batch", 1), ("warmup", 0)):
            whole_number(f"Phase.{name}", getattr(self, name), least)


def build(classes: int, size: int) -> nn.Module:
    """YOLOv8n for images of `size` pixels, with new weights from torch's current random state.

    Class scores begin as ultralytics has them for images of 640 pixels, but for this size: of few places few are taken.
    """
    model = yolo.module("nn.tasks").DetectionModel("yolov8n.yaml", nc=classes, verbose=False)
    model.args = SimpleNamespace(**GAINS)
    for stride, scores in zip(model.stride.tolist(), _scores(model), strict=True):
        nn.init.constant_(scores.bias, np.log(5 / classes / (size / stride) ** 2))
    return model


def _scores(model: nn.Module) -> list[nn.Conv2d]:
    """The last layer of each scale's class scores."""
    return [branch[-1] for branch in model.model[-1].cv3]


def new(classes: int, size: int, seed: int) -> State:
    """The state of a detector before its training."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return state_of(build(classes, size))


def without_classes(model: nn.Module, trained: State, fresh: State) -> State:
    """A trained detector whose class scores begin anew: weights of zero, and the biases of `fresh`."""
    model.load_state_dict(fresh)
    for scores in _scores(model):
        nn.init.zeros_(scores.weight)
    kept = {id(x) for scores in _scores(model) for x in scores.parameters()}
    anew = {name: x.detach().to("cpu", copy=True) for name, x in model.named_parameters() if id(x) in kept}
    return {name: anew.get(name, x) for name, x in trained.items()}


def state_of(model: nn.Module) -> State:
    return {name: x.detach().to("cpu", copy=True) for name, x in model.state_dict().items()}


def train(
    model: nn.Module,
    start: State,
    seen: Scenes,
    selection: Tensor,
    phase: Phase,
    seed: int,
    save_at: Iterable[int],
) -> list[State]:
    """Train from `start` to detect the selection (bits); return the states after the epochs `save_at`, in their order.

    The model's device computes; states are the CPU's. Scenes come in the order of `seed`. Raises `InputError` where the
    loss is not finite.
    """
    model.load_state_dict(start)
    model.train()
    device = next(model.parameters()).device
    criterion, saves, kept, step = model.init_criterion(), set(save_at), [], 0
    last = {id(x) for scores in _scores(model) for x in scores.parameters()}
    groups = [[x for x in model.parameters() if (id(x) in last) == new] for new in (False, True)]
    optimizer = torch.optim.AdamW([{"params": group} for group in groups], weight_decay=phase.weight_decay)
    draw = torch.Generator().manual_seed(seed)
    steps = phase.epochs * (len(seen) // phase.batch)
    for epoch in range(phase.epochs):
        order = torch.randperm(len(seen), generator=draw)
        for rows in order[: len(seen) // phase.batch * phase.batch].view(-1, phase.batch).tolist():
            rising = min(1.0, (step + 1) / (phase.warmup + 1))
            for group, times in zip(optimizer.param_groups, (1.0, phase.new), strict=True):
                group["lr"] = times * phase.learning_rate * rising * (1 - step / steps)
            optimizer.zero_grad()
            loss = criterion(model(seen.batch(rows).to(device)), _targets(seen, rows, selection))[0].sum()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            step += 1
        if not loss.isfinite():
            raise InputError(f"training diverged in epoch {epoch + 1}; lower learning_rate {phase.learning_rate}")
        if epoch + 1 in saves:
            kept.append(state_of(model))
    return kept


def _targets(seen: Scenes, rows: Sequence[int], selection: Tensor) -> dict[str, Tensor]:
    """The boxes and classes of a batch as ultralytics' loss takes them: centres and sides as shares of the image."""
    found = [seen.objects(row, selection) for row in rows]
    boxes = torch.cat([boxes for boxes, _ in found])
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    return {
        "batch_idx": torch.repeat_interleave(torch.tensor([len(boxes) for boxes, _ in found])),
        "cls": torch.cat([classes for _, classes in found]),
        "bboxes": torch.cat((middles, sides), 1) / seen.size,
    }


@torch.no_grad()
def detect(model: nn.Module, state: State, seen: Scenes) -> list[Tensor]:
    """The detections (k, 6) of every scene: x0, y0, x1, y1 in pixels, confidence, class; by ultralytics' validation.

    A state that is not finite detects nothing.
    """
    if not all(x.isfinite().all() for x in state.values()):
        return [torch.zeros(0, 6) for _ in range(len(seen))]
    suppress = yolo.module("utils.nms").non_max_suppression
    model.load_state_dict(state)
    model.eval()
    found, device = [], next(model.parameters()).device
    for rows in torch.arange(len(seen)).split(TOGETHER):
        written = model(seen.batch(rows.tolist()).to(device))
        # No limit of time: what is found may not depend on what else the machine does.
        kept = suppress(written, 0.001, 0.7, multi_label=True, max_det=100, max_time_img=3600.0, nc=model.model[-1].nc)
        found += [own.cpu() for own in kept]
    return found


def mean_ap(detections: Sequence[Tensor], seen: Scenes, selection: Tensor, one_class: bool = False) -> float:
    """mAP50-95 (percent) for the selection (bits), as ultralytics computes it: the mean over the selected classes.

    Detections of other classes count for nothing there. one_class: all classes as one, so that every detection of what
    was not selected is a false alarm.
    """
    metrics = yolo.module("utils.metrics")
    correct, confidence, named, asked = [], [], [], []
    for row, own in enumerate(detections):
        (boxes, classes), guessed = seen.objects(row, selection), own[:, 5].long()
        if one_class:
            classes, guessed = torch.zeros_like(classes), torch.zeros_like(guessed)
        correct.append(_matcher()(guessed, classes, metrics.box_iou(boxes, own[:, :4])).numpy())
        confidence.append(own[:, 4].numpy())
        named.append(guessed.numpy())
        asked.append(classes.numpy())
    found = metrics.ap_per_class(*(np.concatenate(x) for x in (correct, confidence, named, asked)))
    return 100 * float(found[5].mean())


@cache
def _matcher():
    """Ultralytics' own way to say which detections are right, which is a method of its validator."""
    return yolo.module("engine.validator").BaseValidator.match_predictions.__get__(SimpleNamespace(iouv=THRESHOLDS))
