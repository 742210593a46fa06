"""The training step as a plain port of the released code computes it on a CPU: what ours is timed against."""

from collections.abc import Callable, Collection

import torch
from torch import nn

from rpglib.errors import InputError, choice
from rpglib.model.rpg import RPG
from rpglib.runtime.allocator import keep_freed_memory
from rpglib.training.batches import Checkpoints
from rpglib.training.loop import TrainConfig, batches_of, frozen, rate

OPTIMISATIONS = ("memory", "tokens", "optimiser")
"""What `train` does beyond the plain path: freed memory kept, checkpoints tokenised once (and of a large zoo only where
needed), AdamW in one pass."""


def train_plain(
    model: RPG,
    zoo: Checkpoints,
    config: TrainConfig,
    steps: int,
    optimised: Collection[str] = (),
    on_step: Callable[[int, RPG], None] | None = None,
) -> list[float]:
    """Train `model` in place for the first `steps` steps of the recipe and return their losses; fp32, on the CPU.

    The same mathematics, and the same random draws, as `train`. As in the released code, every checkpoint of a batch is
    read and tokenised whole at each step, and AdamW goes over one tensor after the other. The scan is ours, as the
    kernels that the released code calls exist on CUDA only. `optimised` turns some of `OPTIMISATIONS` on; "memory"
    stays on until the process ends. Deviations: the released code reads in 16 processes beside the training, which two
    cores do not have; it clips no gradient, which takes no time to speak of.
    Raises `InputError` for a recipe with averaged weights or another optimiser, and an unknown optimisation.
    """
    for name in optimised:
        choice("optimisation", name, OPTIMISATIONS)
    if config.ema or config.optimizer != "adamw":
        raise InputError("the plain path has neither averaged weights nor 8-bit AdamW; set ema=0, optimizer='adamw'")
    if "memory" in optimised:
        keep_freed_memory()
    with frozen(None if config.diffusion else model.denoiser):
        trained = [p for p in model.parameters() if p.requires_grad]
        how = {"fused": True} if "optimiser" in optimised else {"foreach": False}
        optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay, **how)
        batches = batches_of(model, zoo, config, **({} if "tokens" in optimised else {"whole": True, "keep": False}))
        options = {"weighting": config.weighting, "prototype_loss": config.prototype_loss}
        losses = []
        model.train()
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = config.learning_rate * rate(step, config.steps, config.warmup)
            loss = model(mask=model.tokenizer.mask, **options, **batches(step))
            loss.backward()
            nn.utils.clip_grad_norm_(trained, config.gradient_clip)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            if on_step is not None:
                on_step(step, model)
    model.eval()
    return losses
