"""Trains with a behaviour; `tests/rpglib/training/test_behaviour.py` starts it in two processes."""

import dataclasses
import sys

import torch
from accelerate import PartialState
from accelerate.utils import gather
from launch_training import MODEL, TRAIN
from torch.nn.utils import parameters_to_vector

from rpglib.model.rpg import RPG
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.behaviour import ClassificationBehaviour
from rpglib.training.loop import train
from rpglib.zoo.images import load_images
from rpglib.zoo.store import Zoo

if __name__ == "__main__":
    zoo = Zoo.open(sys.argv[1])
    torch.manual_seed(0)
    config = dataclasses.replace(MODEL, prediction="sample", prototype_skip=True)
    model = RPG(config, ParameterTokenizer.fit(zoo, 64))
    asked = ClassificationBehaviour(load_images("digits").train, zoo.architecture, batch_size=16, networks=3)
    recipe = dataclasses.replace(TRAIN, steps=4, prototype_loss=1.0, diffusion=sys.argv[2] == "True")
    losses = train(model, zoo, recipe, progress=False, behaviour=asked).losses
    state = PartialState()
    assert state.num_processes == 2, "this script is to be started with two processes"
    weights = gather(parameters_to_vector(model.parameters()).detach()[None].to(state.device))
    assert weights[0].equal(weights[1]), "the processes end in different weights"
    first, second = gather(torch.tensor([losses[0]], device=state.device)).tolist()
    assert first != second, "the processes ask about the same"
    state.destroy_process_group()
