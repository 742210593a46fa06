"""Trains a small generator on a stored zoo; `tests/test_training.py` starts it under `accelerate launch`."""

import dataclasses
import json
import os
import sys
from contextlib import suppress

import torch
from accelerate import DistributedType, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast
from torch.nn.utils import parameters_to_vector

from rpglib.model.config import RPGConfig
from rpglib.model.rpg import RPG
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.loop import TrainConfig, train
from rpglib.zoo.store import Zoo

MODEL = RPGConfig(
    token_size=64,
    widths=(32, 32),
    d_state=8,
    headdim=16,
    channels=(1, 8, 16, 8, 1),
    permutation_states=6,
    prediction="velocity",
    prototype_skip=False,
)
TRAIN = TrainConfig.paper(steps=60, batch_size=4, diffusion_batch=64, learning_rate=2e-3, save_every=20)


def trained(zoo: Zoo, seed: int = 0, folder: str | None = None, stop: int | None = None, **changes) -> RPG:
    """The generator after its training, or before the step `stop + 1`, where an interrupted one leaves it."""

    def interrupt(step, model):
        if step == stop:
            raise KeyboardInterrupt

    torch.manual_seed(seed)
    model = RPG(MODEL, ParameterTokenizer.fit(zoo, 64, normalisation="residual"))
    config = dataclasses.replace(TRAIN, seed=seed, **changes)
    with suppress(KeyboardInterrupt):
        train(model, zoo, config, folder, progress=False, on_step=interrupt if stop is not None else None)
    return model


def shard_on_cpus() -> None:
    """Accelerate shards over accelerators only; PyTorch's FSDP 2, which it calls, does over CPU processes as well."""
    plain = AcceleratorState.__init__

    def with_cpus(self, *arguments, **options):
        plain(self, *arguments, **options)
        if self.distributed_type == DistributedType.MULTI_CPU and options.get("fsdp_plugin") is not None:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, options["fsdp_plugin"]

    AcceleratorState.__init__ = with_cpus


def check_sharded(zoo: Zoo, model: RPG, folder: str, **changes) -> None:
    """A sharded training ends as one that is not, whole on every process, also when it was interrupted."""
    trained(zoo, folder=folder, stop=3, **changes)
    resumed = trained(zoo, folder=folder, **changes)
    os.environ["ACCELERATE_USE_FSDP"] = "false"
    AcceleratorState._reset_state()  # it keeps how the first training was distributed
    unsharded = trained(zoo, **changes)
    one, same, other = (parameters_to_vector(x.parameters()) for x in (model, resumed, unsharded))
    assert one.equal(same), f"resumed to other weights, {(one - same).norm()} away"
    # AdamW makes full steps of gradients that are nothing but rounding, so single weights may differ.
    assert (one - other).norm() < 1e-3 * one.norm(), f"the unsharded weights are {(one - other).norm()} away"


def check_same_everywhere(model: RPG) -> None:
    """Every process has the same generator, BatchNorm's statistics included, or they could not generate together."""
    for name, x in model.state_dict().items():
        of_first = broadcast(x.clone())
        assert x.equal(of_first), f"process {PartialState().process_index} has another {name}"


if __name__ == "__main__":
    zoo_folder, out, changes = sys.argv[1:]
    zoo, changes = Zoo.open(zoo_folder), json.loads(changes)
    sharded = os.environ.get("ACCELERATE_USE_FSDP") == "true"
    if sharded:
        shard_on_cpus()
    model = trained(zoo, **changes)
    if sharded:
        check_sharded(zoo, model, f"{out}_state", **changes)
    state = PartialState()
    assert state.num_processes == 2, "this script is to be started with two processes"
    check_same_everywhere(model)
    if state.is_main_process:
        model.save_pretrained(out)
    state.wait_for_everyone()
    state.destroy_process_group()
