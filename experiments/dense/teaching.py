"""How networks are trained: one run from its own random start, then checkpoints of a last part at a low rate."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from experiments.dense.kinds import Kind, Source

Start = Callable[[nn.Module], None]


@dataclass(frozen=True)
class Teaching:
    """A training: `epochs` by AdamW with one cycle of rates up to `learning_rate`, then a part at `last_rate`.

    tail: steps at the last rate, of which, evenly spaced, `checkpoints` are kept, as the paper keeps its 50.
    """

    epochs: int = 4
    batch: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    last_rate: float = 1e-4
    tail: int = 200
    checkpoints: int = 10


def teach(
    kind: Kind, taught: Source, config: Teaching, seed: int, device: str = "cpu", start: Start | None = None
) -> tuple[list[dict[str, Tensor]], dict]:
    """Train one network; `seed` draws its start and the order of scenes.

    start: changes a new network before its training. Returns the checkpoints, and losses and seconds of a core.
    """
    began, draw = time.process_time(), torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind.build()
        if start is not None:
            start(model)
        model.to(device)
        optimizer = torch.optim.AdamW(model.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        steps = config.epochs * max(1, len(taught) // config.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, steps, pct_start=0.1)
        kept, losses, order = [], [], torch.empty(0, dtype=torch.int64)
        model.train()
        for step in range(steps + config.tail):
            if len(order) < min(config.batch, len(taught)):
                order = torch.randperm(len(taught), generator=draw)
            rows, order = order[: config.batch], order[config.batch :]
            if step == steps:
                for group in optimizer.param_groups:
                    group["lr"] = config.last_rate
            loss = kind.loss(model, taught[rows])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if step < steps:
                schedule.step()
            losses.append(loss.item())
            done = step - steps + 1
            if done > 0 and done * config.checkpoints // config.tail > (done - 1) * config.checkpoints // config.tail:
                kept.append({name: x.detach().cpu().clone() for name, x in model.state_dict().items()})
    return kept, {"losses": losses, "cpu_seconds": time.process_time() - began}
