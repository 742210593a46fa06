"""Generates networks with the generator in a folder; `tests/test_rpg.py` starts it under `accelerate launch`."""

import sys

from accelerate import PartialState
from safetensors.torch import save_file

from rpglib.model.rpg import RPG

if __name__ == "__main__":
    folder, out = sys.argv[1:]
    state = PartialState(cpu=True)
    assert state.num_processes == 2, "this script is to be started with two processes"
    networks = RPG.from_pretrained(folder).generate(3, steps=3, part=10, distributed=True)
    tensors = {f"{k} {name}": x.contiguous() for k, network in enumerate(networks) for name, x in network.items()}
    save_file(tensors, f"{out}/{state.process_index}.safetensors")
    state.wait_for_everyone()
    state.destroy_process_group()
