"""Reads generator checkpoints of the released code (NUS-HPC-AI-Lab/Recurrent-Parameter-Generation)."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
from rpglib.model.rpg import RPG
from rpglib.runtime.state_dicts import check_state_dict
from rpglib.tokenizer import ParameterTokenizer

# The released files hold the denoiser three times, as the net and as its trainer's and its sampler's model.
DENOISER = "criteria.net."


def read_official(path: str | Path, tokenizer: ParameterTokenizer | None = None) -> RPG:
    """Return the generator of a released checkpoint (a torch file, read with `weights_only=True`, or safetensors).

    Those files hold no tokenizer: without one the result yields prototypes and tokens, not state dicts.
    Raises `InputError` where file or keys are not the released code's.
    """
    official = _read(path)
    if not isinstance(official, dict):
        raise InputError(f"{path} holds a {type(official).__name__}, not the state dict of a generator")
    check_state_dict(official, str(path))
    for name, x in official.items():
        # A view of few values under many indices would become as large as it claims to be.
        if x.nbytes > x.untyped_storage().nbytes():
            raise InputError(f"{path} claims more values of {name!r} than it holds; is it damaged?")
    try:
        config, position, state = _convert(official)
    except KeyError as error:
        raise InputError(f"{path} lacks the key {error}; is it a generator checkpoint of the released code?") from None
    except (IndexError, ValueError, ZeroDivisionError, RuntimeError) as error:  # tensors of other shapes
        raise InputError(f"{path} is no generator of the released code ({error})") from None
    with torch.random.fork_rng(devices=[]):  # what it begins with is written over
        model = RPG.with_positions(config, position, tokenizer)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is no generator of the released code ({reason[:200]})") from None
    return model.eval()


def _read(path: str | Path) -> dict[str, Tensor]:
    try:
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, SafetensorError, UnpicklingError, RuntimeError) as error:
        reason = (str(error) or "empty file").splitlines()[0]
        raise InputError(f"cannot read {path} as a checkpoint ({reason})") from None


def _convert(official: dict[str, Tensor]) -> tuple[RPGConfig, Tensor, dict[str, Tensor]]:
    """The configuration, read off the shapes, the position embedding (L, H) and the state dict under our names.

    The unconditional model's `to_condition` is always fed zero, so its bias is part of the position embedding.
    """
    state = {}
    for key, x in official.items():
        if key.startswith("model.mamba_forward."):
            state["recurrent.layers." + key.removeprefix("model.mamba_forward.")] = x
        elif key.startswith(DENOISER) and not key.endswith("freqs"):
            state["denoiser." + key.removeprefix(DENOISER)] = x
    position = official["model.pe"][0]
    if "to_condition.bias" in official:
        position = position + official["to_condition.bias"]
    state["recurrent.position"] = position

    task = {}
    if "get_condition.0.weight" not in official:
        state["recurrent.permutation.weight"] = official["to_permutation_state.weight"]
        task["permutation_states"] = len(official["to_permutation_state.weight"])
    else:
        # The released task models carry permutation states in their files but never use them.
        task["task_width"], task["task_bits"] = official["get_condition.0.weight"].shape
        task["conditioning"] = "sequence" if "to_condition_conv.0.weight" in official else "head"
        names = {"get_condition.": "embed.", "to_condition_linear.": "embed.2.", "to_condition_conv.": "spread."}
        for old, new in names.items():
            state |= {
                "recurrent.task." + new + k.removeprefix(old): x for k, x in official.items() if k.startswith(old)
            }
        if task["conditioning"] == "head":
            state["recurrent.task.gate"] = official["to_condition_gate"][0]

    count = len({key.split(".")[2] for key in state if key.startswith("recurrent.layers.")})
    layer = {k: official[f"model.mamba_forward.0.{k}"] for k in ("in_proj.weight", "D", "conv1d.weight", "norm.weight")}
    inner, width = layer["norm.weight"].numel(), layer["in_proj.weight"].shape[1]
    convolutions = [
        state[f"denoiser.{side}_list.{i}.0.weight"]
        for side in ("encoder", "decoder")
        for i in range(len({k.split(".")[2] for k in state if k.startswith(f"denoiser.{side}_list.")}))
    ]
    config = RPGConfig(
        token_size=official[DENOISER + "condi_embedder.weight"].shape[0],
        widths=tuple(official[f"model.mamba_forward.{k}.in_proj.weight"].shape[1] for k in range(count)),
        d_state=(layer["conv1d.weight"].shape[0] - inner) // 2,
        d_conv=layer["conv1d.weight"].shape[-1],
        expand=inner // width,
        headdim=inner // layer["D"].numel(),
        channels=(1, *(x.shape[0] for x in convolutions)),
        kernel_size=convolutions[0].shape[-1],
        prediction="epsilon",
        prototype_skip=False,
        **task,
    )
    return config, position, state
