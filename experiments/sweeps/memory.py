"""What training a generator needs in memory, counted from its tensors instead of read from a device."""

import torch
from torch import Tensor

from rpglib.model.rpg import RPG
from rpglib.training.loop import TrainConfig


def training_bytes(model: RPG, config: TrainConfig, device: torch.device | str = "cpu") -> int:
    """Bytes of one training step: weights, gradients, AdamW's two averages, and what autograd keeps for the way back.

    Counted, not sampled: the same on every machine, and free of what an allocator holds in reserve. Tensors that share
    memory count once; weights that autograd keeps are not counted again. Temporary buffers inside an operation are not
    seen, so a device needs somewhat more (deviation from v1's table 5, which reports what the device uses).
    """
    n = config.batch_size
    count = min(config.diffusion_batch, n * len(model.recurrent.position))
    kept: dict[int, int] = {}
    # By the storages themselves: those of tensors without memory have no address.
    owned = {x.untyped_storage()._cdata for x in (*model.parameters(), *model.buffers())}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage._cdata not in owned:
            kept[storage._cdata] = storage.nbytes()
        return x

    training = model.training
    model.train()
    statistics = {name: x.clone() for name, x in model.named_buffers()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        # Bound until the count is over: freed memory would be handed out, and counted, twice.
        loss = step_loss(model, config, n, count, device)
    activations = sum(kept.values())
    del loss
    # A forward pass in training mode moves BatchNorm's averages; the model stays as it was.
    for name, x in model.named_buffers():
        x.copy_(statistics[name])
    model.train(training)
    weights = sum(x.numel() * x.element_size() for x in model.parameters())
    trained = sum(x.numel() * x.element_size() for x in model.parameters() if x.requires_grad)
    return weights + 3 * trained + activations


def step_loss(model: RPG, config: TrainConfig, n: int, count: int, device: torch.device | str = "cpu") -> Tensor:
    """The loss of `n` networks, all zeros, of whose tokens `count` pass the denoiser."""
    states, told = model.config.permutation_states, model.config.told
    length, size = len(model.recurrent.position), model.config.token_size
    with torch.device(device):
        return model(
            torch.zeros(n, length, size),
            torch.ones(length, size, dtype=torch.bool),
            torch.zeros(n, dtype=torch.int64) if states else None,
            torch.zeros(n, told) if told else None,
            t=torch.zeros(count, dtype=torch.int64),
            noise=torch.zeros(count, size),
            chosen=torch.zeros(count, dtype=torch.int64),
            weighting=config.weighting,
            prototype_loss=config.prototype_loss,
            recompute=config.gradient_checkpointing,
        )
