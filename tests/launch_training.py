"""Trains a small generator on a stored zoo; `tests/test_training.py` starts it under `accelerate launch`."""

import dataclasses
import json
import sys

import torch
from accelerate import PartialState

from rpglib.model.rpg import RPG, RPGConfig
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training import TrainConfig, train
from rpglib.zoo.store import Zoo

MODEL = RPGConfig(
    token_size=64,
    widths=(32, 32),
    d_state=8,
    headdim=16,
    channels=(1, 8, 16, 8, 1),
    permutation_states=6,
    prediction="velocity",
)
TRAIN = TrainConfig(steps=60, batch_size=4, diffusion_batch=64, learning_rate=2e-3, save_every=20)


def trained(zoo: Zoo, seed: int = 0, **changes) -> RPG:
    torch.manual_seed(seed)
    model = RPG(MODEL, ParameterTokenizer.fit(zoo, 64, normalisation="residual"))
    train(model, zoo, dataclasses.replace(TRAIN, seed=seed, **changes), progress=False)
    return model


if __name__ == "__main__":
    zoo_folder, out, changes = sys.argv[1:]
    model = trained(Zoo.open(zoo_folder), **json.loads(changes))
    state = PartialState()
    assert state.num_processes == 2, "this script is to be started with two processes"
    if state.is_main_process:
        model.save_pretrained(out)
    state.wait_for_everyone()
    state.destroy_process_group()
