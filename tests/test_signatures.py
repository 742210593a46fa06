"""Whatever a person hands to a public function, it works or raises `InputError` in one line; nothing else comes out.

Each case is a call with valid arguments, of which one at a time is replaced by what people hand over: other types, NaN,
infinities, negative and huge numbers, empty things, text for numbers, tensors of other shapes, types and devices, paths
that do not lead anywhere.
"""

import importlib
import inspect
import os
import pkgutil
import warnings
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rpglib.analysis import accuracy, alignment, connectivity, geometry, memorisation, perturbation, scales, similarity
from rpglib.baselines import (
    autoregressive,
    d2nwg,
    deep_weight_flow,
    hyper_representations,
    hypernetwork,
    kernel_ridge,
    p_diff,
    sane,
    tasks,
)
from rpglib.errors import InputError
from rpglib.igpg import config as igpg_config
from rpglib.igpg import igpg, prefix
from rpglib.igpg import training as igpg_training
from rpglib.model import diffusion, samplers
from rpglib.model import several as model_several
from rpglib.model.config import RPGConfig
from rpglib.model.rpg import RPG
from rpglib.prompts.task import task_from_prompt
from rpglib.tasks import all_tasks, check_task, check_tasks, conditions, name_of, split_tasks
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training import behaviour, loop
from rpglib.training import several as training_several
from rpglib.training.suggestion import suggest
from rpglib.zoo import collect, facts, images
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.description import describe, mean_network
from rpglib.zoo.store import Zoo
from rpglib.zoo.writing import write_networks

OF_A_ZOO = ("files", "layouts", "public", "reading", "sharing")
"""Modules of which `Zoo.read` and `Zoo.push_to_hub` are the face."""

SEARCHED = [
    "rpglib.tokenizer.tokenizer",
    "rpglib.tasks",
    "rpglib.tasks.conditions",
    "rpglib.prompts.task",
    "rpglib.training.loop",
    "rpglib.training.behaviour",
    "rpglib.training.several",
    "rpglib.training.suggestion",
    *(f"rpglib.model.{name}" for name in ("config", "rpg", "samplers", "several", "diffusion")),
    *(f"rpglib.igpg.{name}" for name in ("config", "igpg", "prefix", "training")),
    *(f"rpglib.{part}.{module.name}" for part in ("zoo", "baselines", "analysis")
      for module in pkgutil.iter_modules(importlib.import_module(f"rpglib.{part}").__path__)
      if f"{part}.{module.name}" not in {f"zoo.{name}" for name in OF_A_ZOO}),
]  # fmt: skip

UNSEARCHED = {
    "push_to_hub": "an upload",
    **dict.fromkeys(
        ("rpglib.training.behaviour.Behaviour.conditions", "rpglib.training.behaviour.ClassificationBehaviour.see",
         "rpglib.training.behaviour.TaskBehaviour.conditions", "rpglib.training.behaviour.TaskBehaviour.see"),
        "what a subclass says, checked where it is called",
    ),
    "configuration": "a class",
    "autoencoder_type": "a class",
    "forward": "what `train` and `generate` call with tensors of their own, at every step",
    "rpglib.training.loop.optimizer_of": "what both trainings make of a model and a configuration that they checked",
    "rpglib.training.loop.check_fits": "what both trainings ask of a model and a configuration, checked as arguments",
    "rpglib.model.rpg.RPG.written": "what `train` asks of a behaviour's networks, at every step",
    "rpglib.zoo.images.download_cifar10": "a download",
    "rpglib.tokenizer.tokenizer.ParameterTokenizer": "made by `fit` and `load`",
    "rpglib.igpg.igpg.IGPG": "made by `new_igpg` and `from_pretrained`",
    "rpglib.igpg.prefix.text_features": "what IGPG asks with its own configuration",
    "rpglib.zoo.store.Zoo": "made by `write`, `open` and `from_checkpoints`",
    "rpglib.model.rpg.RPG.with_positions": "for generators without a layout, which the library makes itself",
    **dict.fromkeys(
        (f"rpglib.{name}" for name in
         ("training.loop.TrainResult", "training.suggestion.Suggestion", "analysis.geometry.Components",
          "analysis.alignment.HiddenLayer", "zoo.description.Description", "zoo.description.TensorFacts",
          "igpg.training.Trained", "baselines.deep_weight_flow.DeepWeightFlow", "baselines.p_diff.PDiff",
          "baselines.sane.Sane", "baselines.hyper_representations.HyperRepresentations", "baselines.d2nwg.D2NWG",
          "baselines.hypernetwork.Hypernetwork", "baselines.generator.WeightGenerator")),
        "results",
    ),
    "rpglib.zoo.description.score": "what asks a function of the caller's own",
}  # fmt: skip
"""Public names that nobody hands arguments to."""

INNER = {
    *(
        "rpglib.zoo.images.Files",
        "rpglib.analysis.alignment.Axis",
    ),
    *("rpglib.model.rpg.TokenNoise", "rpglib.model.rpg.with_padding_held"),
    "rpglib.training.behaviour.WithBehaviour",
    "rpglib.runtime.modes.evaluating",
    "rpglib.training.loop.learn",
    "rpglib.igpg.codes.check_codes",
    *(f"rpglib.baselines.deep_weight_flow.{name}" for name in ("FlowNetwork", "fit_flow", "followed")),
    *(f"rpglib.baselines.p_diff.{name}" for name in ("Autoencoder", "LatentDenoiser")),
    *(
        f"rpglib.baselines.generator.{name}"
        for name in (
            "Target",
            "Material",
            "GeneratorConfig",
            "random_stream",
            "noise",
            "drawn",
            "descend",
            "denoising_loss",
            "denoised",
            "labelled",
        )
    ),
    *(
        f"rpglib.baselines.hyper_representations.{name}"
        for name in (
            "Units",
            "UnitConfig",
            "UnitAutoencoder",
            "UnitGenerator",
            "transformer",
            "kernel_density",
            "contrast",
            "best_count",
            "best",
            "permuted_places",
        )
    ),
    "rpglib.baselines.sane.TokenAutoencoder",
    *(
        f"rpglib.baselines.d2nwg.{name}"
        for name in ("ResidualBlock", "VariationalAutoencoder", "UNet", "DatasetEncoder", "class_features")
    ),
    "rpglib.baselines.hypernetwork.checked",
    *(f"rpglib.zoo.architectures.{name}" for name in ("Attention", "Block", "SmallViT", "CentreCrop")),
    *(f"rpglib.zoo.architectures.{name}" for name in ("cnn_digits", "cnn_m", "cnn_s")),
}
"""Parts that other modules make, with all their methods."""


BITS = all_tasks(3)
BATCH = torch.arange(12.0).view(2, 6)
CONDITIONS = (conditions.Condition("angle", -180, 180, "angle"), conditions.Condition("camera", 0, 3, "identity"),
              conditions.Condition("blur", 0, 2))  # fmt: skip
ROWS = torch.tensor([[30.0, 1, 0.5], [0.0, 3, 2.0], [-90.0, 0, 1.0]])


TOGETHER = loop.TrainConfig(steps=1, batch_size=1, diffusion_batch=4)


@cache
def material() -> dict:
    """A small zoo, its data and a generator of it: made once, and not changed by any case."""
    torch.manual_seed(0)
    digits = images.load_images("digits")
    few = images.Split(digits.train.images[:12], digits.train.labels[:12])
    small = images.Images("digits", "digits", few, few, few, digits.class_names)
    architecture = Architecture("cnn_digits", 10, 1, 8)
    config = collect.CollectConfig(epochs=1, batch_size=4, finetune_batch_size=4, checkpoints=3)
    zoo = collect.collect(architecture, small, config, progress=False)
    tokenizer = ParameterTokenizer.fit(zoo, 512)
    sizes = {"token_size": 512, "widths": (16,), "d_state": 4, "headdim": 8, "channels": (1, 2, 1)}
    model = RPG(RPGConfig(**sizes, permutation_states=3, task_bits=3), tokenizer).eval()
    told = RPG(RPGConfig(**sizes, conditions=CONDITIONS, condition_dropout=0.1), tokenizer).eval()
    plain = RPG(RPGConfig(**sizes), tokenizer).eval()
    tokens = torch.stack([tokenizer.encode(x)[0] for x in zoo])
    decoder = autoregressive.AutoregressiveConfig(width=16, layers=1, headdim=8, steps=1)
    together = training_several.new_several([zoo], RPGConfig(**sizes), TOGETHER)
    sizes = {"chunk": 256, "codes": 2, "codebook": 4, "code_hidden": 8, "width": 8, "layers": 1, "headdim": 4}
    several = igpg_training.new_igpg([zoo], {"digits": small}, igpg_config.IGPGConfig(**sizes, context=4)).eval()
    flow = deep_weight_flow.DeepWeightFlowConfig(width=8, time_width=4, components=2, steps=1, sampling_steps=2)
    return {
        "images": small, "architecture": architecture, "collect": config, "zoo": zoo, "tokenizer": tokenizer,
        "several": several, "model": model, "together": together, "plain": plain, "told": told, "tokens": tokens,
        "module": architecture.build(),
        "decoder_config": decoder,
        "decoder": autoregressive.AutoregressiveDecoder(tokenizer.positions, tokenizer.mask, 3, decoder),
        "flow_config": flow, "flow": deep_weight_flow.DeepWeightFlow.fit(zoo, flow, small, progress=False),
        "p_diff": p_diff.PDiff.fit(zoo, p_diff.PDiffConfig(channels=(2, 2), steps=1, diffusion_channels=(2, 2),
            diffusion_steps=1), progress=False),
        "hypernetwork": told_of_tasks(architecture, zoo),
        "state": collect.init_population(architecture, [0, 1]),
    }  # fmt: skip


def told_of_tasks(architecture: Architecture, zoo: Zoo) -> hypernetwork.Hypernetwork:
    """A hypernetwork for tasks of three bits, before any training."""
    model = hypernetwork.Hypernetwork(hypernetwork.HypernetworkConfig(state=2, width=4), architecture, len(zoo), 3)
    model.first = zoo[0]
    return model


def fields(config) -> dict:
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


def built(**given) -> nn.Module:
    return Architecture(**given).build()


def first_of(function, **given):
    """The first thing that a generator yields: it does not begin before."""
    return next(iter(function(**given)))


def written(zoo: Zoo, **given) -> Zoo:
    return Zoo.write("zoo", **({"checkpoints": list(zoo)} | given))


@cache
def cases() -> dict[str, tuple]:
    """Name -> (function, valid arguments); the name is that of the function in its module."""
    it = material()
    zoo, model, tokenizer, tokens, module = (it[k] for k in ("zoo", "model", "tokenizer", "tokens", "module"))
    small, state, decoder = it["images"], it["state"], it["decoder"]
    network, other, weights = zoo[0], zoo[1], torch.stack([tokens.flatten(1)[k % 3, :5] for k in range(6)])
    errors = torch.arange(12).view(3, 4) % 3 == 0
    schedule, fast = diffusion.NoiseSchedule(20), collect.Schedule(1, 1e-3, 4)
    facts_of = {"architecture": it["architecture"], "runs": [0, 0, 0], "accuracies": [1.0, 2.0, None],
                "tasks": [[0, 1], [1, 0], [0, 1]], "images": "digits", "config": {"a": 1},
                "conditions": ROWS.tolist(), "described_by": CONDITIONS}  # fmt: skip
    sampling = {"predict": lambda x, t: x, "x": BATCH, "schedule": schedule, "steps": 2, "prediction": "sample"}
    noise = partial(torch.randn, 2, 6)
    forward = {"x0": BATCH, "noise": BATCH, "t": torch.tensor([0, 19])}
    generation = {"n": 2, "task": [0, 1, 1], "permutation": [0, 2], "sampler": "ddim", "steps": 1, "seed": 0,
                  "inference": "partial", "part": 4, "first": 0, "precision": "fp32", "kernel": "auto",
                  "distributed": False}  # fmt: skip
    mixed = {k: v for k, v in generation.items() if k != "permutation"} | {"mixture": torch.eye(3)[:2]}
    told = {"n": 2, "condition": ROWS[:2], "guidance": 2.0, "eta": 0.5, "temperature": 0.5, "steps": 1}
    options = {"weight": 1.0, "networks": 2, "mixture": 2, "reconstruction": 1.0}
    compared = {"generated": tokens[:2], "originals": tokens, "mask": tokenizer.mask}
    learning = {"module": module, "state": state, "split": small.train, "schedule": fast, "seeds": [0, 1],
                "label_maps": torch.arange(10).repeat(2, 1) % 2, "save_at": [1, 3]}  # fmt: skip
    seen = {"seen": BITS, "weights": weights, "tasks": BITS[:2]}
    several, layout = it["several"], it["several"].layout("cnn_digits")
    several.save_pretrained("written")
    together = it["together"]
    together.save_pretrained("both")
    writing = {"n": 2, "architecture": "cnn_digits", "instruction": "a network for digits", "images": "digits",
               "run": 0, "seed": 0, "temperature": 0.5}  # fmt: skip
    model_path, tokenizer_path, zoo_path = Path("model"), Path("tokenizer.safetensors"), Path("zoo")
    model.save_pretrained(model_path)
    it["flow"].save_pretrained(Path("flow"))
    tokenizer.save(tokenizer_path)
    written(zoo, **facts_of)
    return {
        "rpglib.tokenizer.tokenizer.ParameterTokenizer.fit": (ParameterTokenizer.fit, {"checkpoints": list(zoo),
            "token_size": 512, "slicing": "layer", "normalisation": "layer"}),
        "rpglib.tokenizer.tokenizer.ParameterTokenizer.encode": (tokenizer.encode, {"state_dict": network}),
        "rpglib.tokenizer.tokenizer.ParameterTokenizer.encode_rows": (tokenizer.encode_rows,
            {"state_dict": network, "rows": torch.tensor([0, 2]), "constants": True}),
        "rpglib.tokenizer.tokenizer.ParameterTokenizer.decode": (tokenizer.decode,
            {"tokens": tokens[0], "reuse": False}),
        "rpglib.tokenizer.tokenizer.ParameterTokenizer.decode_together": (tokenizer.decode_together,
            {"tokens": tokens[:2]}),
        "rpglib.tokenizer.tokenizer.ParameterTokenizer.save": (tokenizer.save, {"path": Path("again.safetensors")}),
        "rpglib.tokenizer.tokenizer.ParameterTokenizer.load": (ParameterTokenizer.load, {"path": tokenizer_path}),
        "rpglib.tasks.check_task": (check_task, {"task": [0, 1, 1], "bits": 3}),
        "rpglib.tasks.check_tasks": (check_tasks, {"tasks": BITS, "bits": 3}),
        "rpglib.tasks.all_tasks": (all_tasks, {"bits": 3}),
        "rpglib.tasks.split_tasks": (split_tasks, {"count": 6, "seed": 0, "seen": 0.8}),
        "rpglib.tasks.name_of": (name_of, {"task": [0, 1, 1]}),
        "rpglib.tasks.conditions.Condition": (conditions.Condition, fields(CONDITIONS[0])),
        "rpglib.tasks.conditions.described": (conditions.described, {"name": "conditions", "value": CONDITIONS}),
        "rpglib.tasks.conditions.check_conditions": (conditions.check_conditions, {"conditions": CONDITIONS,
            "given": ROWS, "n": 3, "strict": False}),
        "rpglib.tasks.conditions.features": (conditions.features, {"conditions": CONDITIONS, "rows": ROWS}),
        "rpglib.tasks.conditions.random_conditions": (conditions.random_conditions, {"conditions": CONDITIONS, "n": 2,
            "generator": torch.Generator()}),
        "rpglib.prompts.task.task_from_prompt": (task_from_prompt, {"prompt": "even digits", "images": "digits",
            "backend": "table"}),
        "rpglib.training.loop.TrainConfig": (loop.TrainConfig, fields(loop.TrainConfig())),
        "rpglib.training.loop.TrainConfig.paper": (loop.TrainConfig.paper, fields(loop.TrainConfig())),
        "rpglib.training.loop.train": (trained, {"model": it["plain"], "zoo": zoo, "config": loop.TrainConfig(steps=1),
            "folder": Path("run"), "device": "cpu", "progress": False, "on_step": lambda step, model: None,
            "behaviour": None}),
        "rpglib.training.behaviour.Behaviour": (behaviour.Behaviour, options),
        "rpglib.training.behaviour.ClassificationBehaviour": (behaviour.ClassificationBehaviour, options | {
            "images": small.train, "architecture": it["architecture"], "disagreement": 0.3, "batch_size": 4,
            "joint_errors": 1.0, "noise": 0.1, "augment": lambda images, generator: images}),
        "rpglib.training.behaviour.TaskBehaviour": (behaviour.TaskBehaviour, options | {
            "tasks": all_tasks(10)[:3], "images": small.train, "architecture": it["architecture"], "batch_size": 4,
            "noise": 0.1}),
        "rpglib.training.behaviour.with_gradient": (behaviour.with_gradient, {"module": it["architecture"].build()}),
        "rpglib.training.behaviour.random_mixtures": (behaviour.random_mixtures, {"n": 2, "states": 3, "count": 2,
            "generator": torch.Generator()}),
        "rpglib.training.loop.frozen": (lambda part: loop.frozen(part).__enter__(), {"part": None}),
        "rpglib.training.loop.batches_of": (loop.batches_of, {"model": it["plain"], "zoo": zoo,
            "config": loop.TrainConfig()}),
        "rpglib.training.loop.rate": (loop.rate, {"step": 3, "steps": 10, "warmup": 0.1}),
        "rpglib.igpg.config.IGPGConfig": (igpg_config.IGPGConfig, fields(several.config)),
        "rpglib.igpg.config.IGPGConfig.from_dict": (igpg_config.IGPGConfig.from_dict,
            {"fields": several.config.to_dict()}),
        "rpglib.igpg.config.CodesTraining": (igpg_config.CodesTraining, fields(igpg_config.CodesTraining())),
        "rpglib.igpg.config.PriorTraining": (igpg_config.PriorTraining, fields(igpg_config.PriorTraining())),
        "rpglib.igpg.prefix.instruction": (prefix.instruction, {"architecture": "cnn_digits", "images": "digits",
            "run": 3, "which": 0}),
        "rpglib.igpg.prefix.image_features": (prefix.image_features, {"images": small}),
        "rpglib.igpg.training.new_igpg": (igpg_training.new_igpg, {"zoos": [zoo], "images": {"digits": small},
            "config": several.config, "seed": 0}),
        "rpglib.igpg.training.train_codes": (igpg_training.train_codes, {"model": several, "zoos": [zoo],
            "config": igpg_config.CodesTraining(steps=1, batch_size=2), "progress": False}),
        "rpglib.igpg.training.train_prior": (igpg_training.train_prior, {"model": several, "zoos": [zoo],
            "config": igpg_config.PriorTraining(steps=1, batch_size=2), "progress": False}),
        "rpglib.igpg.igpg.IGPG.layout": (several.layout, {"architecture": "cnn_digits", "images": "digits"}),
        "rpglib.igpg.igpg.IGPG.identity": (several.identity, {"architecture": "cnn_digits", "run": 0}),
        "rpglib.igpg.igpg.IGPG.encode": (several.encode, {"networks": list(zoo), "layout": layout}),
        "rpglib.igpg.igpg.IGPG.decode": (several.decode, {"codes": several.encode(zoo, layout), "layout": layout}),
        "rpglib.igpg.igpg.IGPG.generate": (several.generate, writing),
        "rpglib.igpg.igpg.IGPG.generate_codes": (several.generate_codes, writing | {"anonymous": False}),
        "rpglib.igpg.igpg.IGPG.save_pretrained": (several.save_pretrained, {"path": Path("several")}),
        "rpglib.igpg.igpg.IGPG.from_pretrained": (igpg.IGPG.from_pretrained, {"path": Path("written")}),
        "rpglib.training.several.new_several": (training_several.new_several, {"zoos": [zoo],
            "config": together.config, "train": TOGETHER}),
        "rpglib.training.several.train_several": (training_several.train_several, {"model": together, "zoos": [zoo],
            "config": TOGETHER, "progress": False}),
        "rpglib.model.several.SeveralRPG": (model_several.SeveralRPG, {"config": together.config,
            "layouts": [*together.layouts.values()], "states": [3]}),
        "rpglib.model.several.SeveralRPG.layout": (together.layout, {"architecture": "cnn_digits",
            "images": "digits"}),
        "rpglib.model.several.SeveralRPG.member": (together.member, {"architecture": "cnn_digits",
            "images": "digits"}),
        "rpglib.model.several.SeveralRPG.generate": (together.generate, {"n": 2, "architecture": "cnn_digits",
            "images": "digits"}),
        "rpglib.model.several.SeveralRPG.save_pretrained": (together.save_pretrained, {"path": Path("together")}),
        "rpglib.model.several.SeveralRPG.from_pretrained": (model_several.SeveralRPG.from_pretrained,
            {"path": Path("both")}),
        "rpglib.model.config.RPGConfig": (RPGConfig, fields(RPGConfig(conditions=CONDITIONS))),
        "rpglib.model.config.RPGConfig.from_dict": (RPGConfig.from_dict, {"said": RPGConfig().to_dict(),
            "file": "file"}),
        "rpglib.model.config.RPGConfig.features": (it["told"].config.features, {"rows": ROWS}),
        "rpglib.model.config.RPGConfig.left_out": (it["told"].config.left_out, {"n": 2}),
        "rpglib.model.config.RPGConfig.preset": (RPGConfig.preset, {"name": "tiny"}),
        "rpglib.model.rpg.RPG": (RPG, {"config": it["plain"].config, "tokenizer": tokenizer}),
        "rpglib.model.rpg.RPG.offload": (lambda device: RPG(it["plain"].config, tokenizer).offload(device),
            {"device": "cpu"}),
        "rpglib.model.rpg.RPG.generate_tokens": (partial(first_of, model.generate_tokens), generation),
        "rpglib.model.rpg.RPG.generate": (model.generate, generation),
        "rpglib.model.rpg.RPG.generate_each": (partial(first_of, model.generate_each), mixed),
        "rpglib.model.rpg.RPG.condition_rows": (it["told"].condition_rows, {"condition": ROWS[:2], "n": 2}),
        "rpglib.model.rpg.RPG.generate, told": (it["told"].generate, told),
        "rpglib.model.rpg.RPG.task_rows": (model.task_rows, {"task": [0, 1, 1], "n": 2}),
        "rpglib.model.rpg.RPG.permutation_rows": (model.permutation_rows, {"permutation": [0, 1], "n": 2, "seed": 0,
            "first": 0}),
        "rpglib.model.rpg.RPG.mixture_rows": (model.mixture_rows, {"mixture": torch.eye(3)[:2], "n": 2}),
        "rpglib.model.rpg.RPG.card": (model.card, {"name": "mine", "said": "Of two.", "numbers": "", "licence": "mit"}),
        "rpglib.model.rpg.RPG.save_pretrained": (model.save_pretrained, {"path": Path("saved"),
            "companions": {"originals.safetensors": network}, "card": "# A card"}),
        "rpglib.model.rpg.RPG.from_pretrained": (RPG.from_pretrained, {"path": model_path, "device": "cpu",
            "revision": None}),
        "rpglib.model.rpg.RPG.read": (RPG.read, {"folder": model_path, "device": "cpu", "companions": []}),
        "rpglib.model.samplers.timesteps": (samplers.timesteps, {"T": 20, "steps": 3, "spacing": "trailing"}),
        "rpglib.model.samplers.ddpm": (samplers.ddpm, sampling | {"draw_noise": noise, "spacing": "leading"}),
        "rpglib.model.samplers.ddim": (samplers.ddim, sampling | {"draw_noise": noise, "spacing": "leading",
            "eta": 0.5}),
        "rpglib.model.samplers.dpm_solver": (samplers.dpm_solver, sampling | {"draw_noise": noise,
            "spacing": "leading"}),
        "rpglib.model.diffusion.NoiseSchedule": (diffusion.NoiseSchedule, fields(schedule)),
        "rpglib.model.diffusion.NoiseSchedule.rates": (schedule.rates, {"t": forward["t"], "like": BATCH}),
        "rpglib.model.diffusion.NoiseSchedule.add_noise": (schedule.add_noise, forward),
        "rpglib.model.diffusion.NoiseSchedule.target": (schedule.target, forward | {"prediction": "velocity"}),
        "rpglib.model.diffusion.NoiseSchedule.output_of_zero": (schedule.output_of_zero, {"x_t": BATCH, "t": 3,
            "prediction": "velocity"}),
        "rpglib.model.diffusion.sample_weights": (diffusion.sample_weights, {"prediction": "epsilon",
            "signal_rate": 0.6, "noise_rate": 0.8}),
        "rpglib.model.diffusion.epsilon_weights": (diffusion.epsilon_weights, {"prediction": "sample",
            "signal_rate": 0.6, "noise_rate": 0.8}),
        "rpglib.zoo.architectures.Architecture": (Architecture, fields(it["architecture"])),
        "rpglib.zoo.architectures.Architecture.build": (built, fields(it["architecture"])),
        "rpglib.zoo.architectures.Architecture.from_dict": (Architecture.from_dict,
            {"fields": fields(it["architecture"])}),
        "rpglib.zoo.collect.Schedule": (collect.Schedule, fields(fast)),
        "rpglib.zoo.collect.Schedule.steps": (fast.steps, {"images": 12}),
        "rpglib.zoo.collect.Schedule.rate": (collect.Schedule(1, 0.1, 4, decay=True).rate, {"step": 0, "steps": 3}),
        "rpglib.zoo.collect.CollectConfig": (collect.CollectConfig, fields(it["collect"])),
        "rpglib.zoo.collect.collect": (collect.collect, {"architecture": it["architecture"], "images": small,
            "config": it["collect"], "path": Path("collected"), "label_maps": torch.arange(10).view(1, 10) % 2,
            "start": network, "device": "cpu", "progress": False}),
        "rpglib.zoo.collect.collection_facts": (collect.collection_facts, {"config": it["collect"], "images": small,
            "start": network}),
        "rpglib.zoo.collect.init_population": (collect.init_population, {"architecture": it["architecture"],
            "seeds": [0, 1], "start": network}),
        "rpglib.zoo.collect.train_population": (collect.train_population, learning | {"chunk": 2}),
        "rpglib.zoo.collect.advance": (partial(first_of, collect.advance), learning | {"see": lambda x, step: x,
            "tick": lambda: None}),
        "rpglib.zoo.collect.score": (collect.score, {"module": module, "networks": state, "split": small.test,
            "label_map": torch.arange(10), "device": "cpu"}),
        "rpglib.zoo.collect.batching_gain": (collect.batching_gain, {"architecture": it["architecture"],
            "images": small, "config": it["collect"], "members": 2}),
        "rpglib.zoo.facts.checked": (facts.checked, facts_of),
        "rpglib.zoo.images.Split": (images.Split, fields(small.train)),
        "rpglib.zoo.images.Split.batches": (partial(first_of, small.train.batches), {"size": 5}),
        "rpglib.zoo.images.Stream": (images.Stream, {"count": 3, "shape": (1, 8, 8), "loader": small.train.batches}),
        "rpglib.zoo.images.Stream.batches": (partial(first_of, images.Stream(12, (1, 8, 8),
            small.train.batches).batches), {"size": 5, "seed": 0}),
        "rpglib.zoo.images.labels_of": (images.labels_of, {"part": small.train}),
        "rpglib.zoo.images.take": (images.take, {"part": small.train, "count": 3, "seed": 0}),
        "rpglib.zoo.images.Images": (images.Images, fields(small)),
        "rpglib.zoo.images.load_images": (images.load_images, {"name": "digits", "root": None}),
        **{f"rpglib.zoo.images.{name}": (getattr(images, name), {"root": Path("nowhere"), "model": None, "workers": 0}
            | ({"labels": {"a": 0}} if name == "imagenet" else {}))
            for name in ("imagenet", "coarse_imagenet", "imagenet_1k")},
        "rpglib.zoo.store.Zoo.write": (partial(written, zoo), facts_of | {"checkpoints": list(zoo)}),
        "rpglib.zoo.store.Zoo.open": (Zoo.open, {"path": zoo_path}),
        "rpglib.zoo.description.describe": (describe, {"zoo": zoo, "evaluate": lambda network: 1.0}),
        "rpglib.zoo.description.mean_network": (mean_network, {"zoo": zoo}),
        "rpglib.training.suggestion.suggest": (suggest, {"zoo": zoo, "description": describe(zoo), "steps": 3,
            "states": 3, "seed": 0}),
        "rpglib.training.suggestion.Suggestion.generator": (suggest(zoo).generator, {"zoo": zoo}),
        "rpglib.zoo.store.Zoo.read": (Zoo.read, {"source": [network, other], "table": [{"run": 0}, {"run": 1}],
            "include": "*", "exclude": ["*bias"], "key": None, "architecture": it["architecture"], "images": "digits",
            "revision": None}),
        "rpglib.zoo.store.Zoo.complete": (zoo.complete, {"network": network, "index": 1,
            "own_names": True}),
        "rpglib.zoo.writing.write_networks": (write_networks, {"zoo": zoo, "networks": [network, other],
            "folder": Path("networks"), "indices": [0, 1]}),
        "rpglib.zoo.store.Zoo.from_checkpoints": (Zoo.from_checkpoints, facts_of | {"checkpoints": list(zoo)}),
        "rpglib.zoo.store.Zoo.stacked": (zoo.stacked, {"indices": [0, 2], "names": list(network)[:2]}),
        "rpglib.zoo.store.Zoo.subset": (zoo.subset, {"indices": [0, 2]}),
        "rpglib.baselines.autoregressive.AutoregressiveConfig": (autoregressive.AutoregressiveConfig,
            fields(it["decoder_config"])),
        "rpglib.baselines.autoregressive.AutoregressiveDecoder": (autoregressive.AutoregressiveDecoder,
            {"positions": tokenizer.positions, "mask": tokenizer.mask, "permutation_states": 3,
            "config": it["decoder_config"]}),
        "rpglib.baselines.autoregressive.AutoregressiveDecoder.generate": (decoder.generate, {"n": 2,
            "permutation": torch.tensor([0, 2]), "seed": 0, "temperature": 1.0}),
        "rpglib.baselines.autoregressive.AutoregressiveDecoder.teacher_forced": (decoder.teacher_forced,
            {"given": tokens[:2], "permutation": torch.tensor([0, 2]), "seed": 0, "temperature": 1.0}),
        "rpglib.baselines.autoregressive.fit_autoregressive": (autoregressive.fit_autoregressive, {"zoo": zoo,
            "tokenizer": tokenizer, "config": it["decoder_config"], "progress": False}),
        "rpglib.baselines.autoregressive.nearest_original": (autoregressive.nearest_original, compared),
        "rpglib.baselines.autoregressive.error_along_sequence": (autoregressive.error_along_sequence, compared),
        "rpglib.baselines.deep_weight_flow.DeepWeightFlowConfig": (deep_weight_flow.DeepWeightFlowConfig,
            fields(it["flow_config"])),
        "rpglib.baselines.p_diff.PDiffConfig": (p_diff.PDiffConfig, fields(p_diff.PDiffConfig())),
        "rpglib.baselines.hyper_representations.HyperRepresentationsConfig": (
            hyper_representations.HyperRepresentationsConfig,
            fields(hyper_representations.HyperRepresentationsConfig())),
        "rpglib.baselines.sane.SaneConfig": (sane.SaneConfig, fields(sane.SaneConfig())),
        "rpglib.baselines.d2nwg.D2NWGConfig": (d2nwg.D2NWGConfig, fields(d2nwg.D2NWGConfig())),
        "rpglib.baselines.hypernetwork.HypernetworkConfig": (hypernetwork.HypernetworkConfig,
            fields(hypernetwork.HypernetworkConfig())),
        "rpglib.baselines.generator.WeightGenerator.fit": (deep_weight_flow.DeepWeightFlow.fit, {"zoo": zoo,
            "config": it["flow_config"], "images": small, "seed": 0, "progress": False}),
        "rpglib.baselines.generator.WeightGenerator.generate": (it["flow"].generate, {"n": 2, "task": None, "seed": 0}),
        "rpglib.baselines.generator.WeightGenerator.generate, for a task": (it["hypernetwork"].generate,
            {"n": 2, "task": [0, 1, 1], "seed": 0}),
        "rpglib.baselines.generator.WeightGenerator.reconstructed": (it["p_diff"].reconstructed,
            {"networks": list(zoo)}),
        "rpglib.baselines.generator.WeightGenerator.save_pretrained": (it["flow"].save_pretrained,
            {"path": Path("flow")}),
        "rpglib.baselines.generator.WeightGenerator.from_pretrained": (deep_weight_flow.DeepWeightFlow.from_pretrained,
            {"path": Path("flow")}),
        "rpglib.baselines.kernel_ridge.kernel_ridge": (kernel_ridge.kernel_ridge, seen),
        "rpglib.baselines.kernel_ridge.kernel_ridge_for_conditions": (kernel_ridge.kernel_ridge_for_conditions,
            {"conditions": CONDITIONS, "seen": ROWS, "weights": weights[:3], "asked": ROWS[:2]}),
        "rpglib.baselines.tasks.ridge": (tasks.ridge, seen | {"order": 2, "columns": torch.arange(5) > 2}),
        "rpglib.baselines.tasks.mean_network": (tasks.mean_network, seen),
        "rpglib.baselines.tasks.nearest_task": (tasks.nearest_task, seen),
        "rpglib.baselines.tasks.majority_class": (tasks.majority_class, {"tasks": BITS,
            "counts": torch.tensor([3, 1, 2])}),
        "rpglib.analysis.accuracy.predictions": (accuracy.predictions, {"module": module, "networks": list(zoo),
            "images": small.test.images, "batch_size": 5, "device": "cpu"}),
        "rpglib.analysis.accuracy.answers": (accuracy.answers, {"module": module, "networks": zoo.stacked(),
            "part": small.test, "batch_size": 5, "device": "cpu"}),
        "rpglib.analysis.accuracy.answered": (accuracy.answered, {"module": module, "images": small.test.images}),
        "rpglib.analysis.accuracy.accuracy": (accuracy.accuracy, {"predicted": torch.zeros(2, 12).long(),
            "labels": small.test.labels}),
        "rpglib.analysis.accuracy.summarise": (accuracy.summarise, {"values": [1.0, 2.0]}),
        "rpglib.analysis.accuracy.load": (accuracy.load, {"module": module, "network": network}),
        "rpglib.analysis.alignment.hidden_layers": (alignment.hidden_layers, {"module": module}),
        "rpglib.analysis.alignment.permute": (alignment.permute, {"module": module, "network": network,
            "permutations": [torch.arange(x.units).flip(0) for x in alignment.hidden_layers(module)]}),
        "rpglib.analysis.alignment.align": (alignment.align, {"module": module, "reference": network,
            "network": other, "sweeps": 2}),
        "rpglib.analysis.connectivity.between": (connectivity.between, {"a": network, "b": other, "weight": 0.5}),
        "rpglib.analysis.connectivity.recalibrated": (connectivity.recalibrated, {"module": module,
            "network": network, "images": small.test.images, "batch_size": 5}),
        "rpglib.analysis.connectivity.line": (connectivity.line, {"module": module, "a": network, "b": other,
            "images": small.test.images, "labels": small.test.labels, "points": 2,
            "calibration": small.train.images}),
        "rpglib.analysis.connectivity.barrier": (connectivity.barrier, {"accuracies": torch.tensor([3.0, 1.0, 2.0])}),
        "rpglib.analysis.geometry.Components.project": (geometry.principal_components(weights, 1).project,
            {"points": weights}),
        "rpglib.analysis.geometry.principal_components": (geometry.principal_components, {"points": weights,
            "count": 1}),
        "rpglib.analysis.geometry.own_rank": (geometry.own_rank, {"points": weights, "centres": weights[:3],
            "owners": torch.tensor([0, 1, 2, 0, 1, 2])}),
        "rpglib.analysis.memorisation.nearest_distance": (memorisation.nearest_distance, {"points": weights,
            "references": weights[:2]}),
        "rpglib.analysis.memorisation.new_and_good": (memorisation.new_and_good, {"distances": torch.ones(3),
            "accuracies": torch.ones(3), "distance": 1.0, "accuracy": 90.0}),
        "rpglib.analysis.memorisation.novelty_curve": (memorisation.novelty_curve, {"distances": torch.ones(3),
            "accuracies": torch.ones(3), "unit": 1.0, "accuracy": 90.0, "multiples": (1, 2)}),
        "rpglib.analysis.perturbation.noised": (perturbation.noised, {"network": network, "sigma": 0.1, "seed": 0,
            "relative": True, "number": 0}),
        "rpglib.analysis.perturbation.averaged": (perturbation.averaged, {"weights": weights, "count": 2, "n": 2,
            "seed": 0}),
        "rpglib.analysis.perturbation.gaussian": (perturbation.gaussian, {"weights": weights, "n": 2, "seed": 0}),
        "rpglib.analysis.perturbation.interpolated": (perturbation.interpolated, {"weights": weights, "n": 2,
            "seed": 0}),
        "rpglib.analysis.perturbation.exchanged": (perturbation.exchanged, {"a": network, "b": other,
            "names": list(network)[:2]}),
        "rpglib.analysis.scales.without_scales": (scales.without_scales, {"module": module, "network": network}),
        "rpglib.analysis.similarity.error_iou": (similarity.error_iou, {"errors_a": errors, "errors_b": errors}),
        "rpglib.analysis.similarity.nearest_iou": (similarity.nearest_iou, {"errors": errors, "references": errors}),
        "rpglib.analysis.similarity.diversity": (similarity.diversity, {"generated_errors": errors,
            "original_errors": errors}),
        "rpglib.analysis.similarity.mean_iou": (similarity.mean_iou, {"errors": errors}),
    }  # fmt: skip


def trained(model, **given):
    return loop.train(RPG(model.config, model.tokenizer) if isinstance(model, RPG) else model, **given)


# ---- what people hand over -------------------------------------------------------------------------------------------

NUMBERS = [True, 0, -1, 1, 2, 3.7, -0.5, 10**12, 2**63, -(10**30), 10**400, 1e308, float("nan"), float("inf"), 1j]
NUMBERS += [np.int64(2), np.float32("nan"), np.bool_(True)]
TEXTS = ["", "nonsense", "3", "no", "a\nb", "\0", "file/below", "\udcff", b"bytes", Path("file/below"), Path("nowhere")]
LISTS = [[], (), {}, set(), [1, 2], [0.5], [[1, 2], [3]], [None], ["a"], {"a": 1}, {1: torch.ones(2)}, {"a": None}]
LISTS += [range(3), iter([]), [float("nan")], [10**30], [[]], [True, False], np.ones((2, 2)), np.array(["a"])]
THINGS = [None, object(), int, slice(None), torch.float32, torch.device("meta"), nn.Identity(), nn.Sequential()]
TENSORS = [torch.ones(()), torch.ones(0), torch.ones(3), torch.ones(2, 3), torch.zeros(2, 3, 4), torch.ones(2, 3, 4, 5)]
TENSORS += [torch.arange(3), torch.arange(3) > 1, torch.ones(2, 3, dtype=torch.complex64), -torch.ones(2, 3).long()]
TENSORS += [torch.ones(2, 3, device="meta"), torch.eye(3).to_sparse(), torch.full((2, 3), torch.nan)]
TENSORS += [torch.ones(2, 3).to(torch.float8_e4m3fn), torch.tensor([2**62, -1]), torch.ones(3).to(torch.uint16)]
with warnings.catch_warnings(action="ignore"):  # of a prototype
    TENSORS += [torch.nested.nested_tensor([torch.ones(2)], layout=x) for x in (torch.strided, torch.jagged)]
HANDED = [*NUMBERS, *TEXTS, *LISTS, *THINGS, *TENSORS]


def near(value) -> Iterator:
    """What is almost the valid value: the mistakes that a list of wrong values does not hold."""
    if isinstance(value, Tensor) and value.ndim:
        real = value.detach().float()
        yield from (value.double(), value.half(), value.bfloat16(), value.long(), value.bool(), value.to("meta"))
        yield from (value.tolist(), value.detach().numpy(), value[:0], value[:1], value[:-1], value[None])
        yield from (value.mT if value.ndim > 1 else value[None], torch.cat((value, value)), value[..., :-1])
        yield from (real * torch.nan, real.clone().requires_grad_(), -real, real * 1e38, value.flatten())
        yield from (value.long() + 10**6, value.to_sparse(), value.to(torch.complex64), value[..., :0], value.int())
    elif isinstance(value, Mapping):
        name, one = next(iter(value.items()))
        yield from (list(value), list(value.items()), value.values(), {k: v for k, v in value.items() if k != name})
        yield from ({**value, "more": one}, {**value, name: None}, {**value, name: "text"}, {**value, 7: one})
        if isinstance(one, Tensor):
            yield from ({**value, name: x} for x in near(one))
            yield {k: v.to("meta") for k, v in value.items()}
    elif isinstance(value, list | tuple):
        yield from (value[:1], [*value, None], [*value, "text"], [*value, *value], [value], set(map(str, value)))
        if value:
            yield from ([x, *value[1:]] for x in (*near(value[0]), float("nan"), -1, 10**30, 0.5, True, {}))
        if all(isinstance(x, int | float) for x in value):
            yield from near(torch.tensor(value))
    elif isinstance(value, bool | str):
        yield from (str(value), f" {value}", str(value).upper(), int(value) if isinstance(value, bool) else [value])
    elif isinstance(value, int | float):
        yield from (str(value), float(value), -value, value + 0.5, [value], torch.tensor(value), np.array(value))
    elif hasattr(value, "__dataclass_fields__"):
        yield from (type(value), fields(value), repr(value))
    elif isinstance(value, nn.Module):
        yield from (type(value), value.state_dict(), nn.Sequential(value, value), nn.Linear(64, 10))
    elif isinstance(value, Zoo):
        yield from (list(value), value[0], [], value.stacked(), iter(value))
    elif isinstance(value, Path):
        yield from (str(value), value / "below", str(value).encode(), value.parent)


FUNCTIONS = {"evaluate", "predict", "draw_noise", "on_step", "tick", "see", "loader", "backend", "augment"}
"""Arguments that are functions of the caller's own: what those raise is his."""


def handed(name: str, argument: str) -> list:
    values = [*HANDED, *near(cases()[name][1][argument])]
    return [x for x in values if not (argument in FUNCTIONS and callable(x))]


def outcome(name: str, argument: str, value) -> str:
    """ "works" or "refused"; anything else that the call does is raised."""
    function, valid = cases()[name]
    try:
        function(**(valid | {argument: value}))
    except InputError as error:
        assert str(error).strip() and len(str(error).splitlines()) == 1, f"not one line: {error!r}"
        return "refused"
    return "works"


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """Whatever is written lies here; what is looked up on the hub is not found."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("signatures"))
    Path("file").write_text("no folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.snapshot_download", absent)
        yield
    os.chdir(before)


def absent(*_arguments, **_options):
    raise OSError("no hub here")


def public() -> Iterator[str]:
    """Names of the public functions, classes and methods that take arguments."""
    for where in SEARCHED:
        module = importlib.import_module(where)
        for name, x in vars(module).items():
            full = f"{where}.{name}"
            own = getattr(x, "__module__", None) == where and callable(x) and not getattr(x, "_is_protocol", False)
            if name.startswith("_") or not own or full in INNER:
                continue
            if inspect.signature(x).parameters:
                yield full
            for method in vars(x) if inspect.isclass(x) else ():
                body = getattr(x, method)
                if not method.startswith("_") and callable(body) and {*inspect.signature(body).parameters} - {"self"}:
                    yield f"{full}.{method}"


def test_every_public_function_is_searched():
    left_out = {name for name in public() if name in UNSEARCHED or name.rsplit(".", 1)[1] in UNSEARCHED}
    assert not {*public()} - left_out - {*cases()}


def test_the_valid_arguments_are_valid():
    for name, (function, valid) in cases().items():
        if not name.startswith("rpglib.zoo.images.") or "imagenet" not in name:
            function(**valid)


SLOW = {"rpglib.baselines.kernel_ridge.kernel_ridge_for_conditions": 12}
SLOW |= dict.fromkeys((f"rpglib.baselines.generator.WeightGenerator.{name}" for name in ("fit", "from_pretrained")), 4)
SLOW |= {"rpglib.baselines.kernel_ridge.kernel_ridge": 12, "rpglib.training.loop.train": 8}
SLOW |= dict.fromkeys((f"rpglib.model.rpg.RPG.{name}" for name in ("read", "from_pretrained", "generate")), 3)
SLOW |= {"rpglib.model.rpg.RPG.generate, told": 3}
SLOW |= {"rpglib.zoo.collect.collect": 4, "rpglib.analysis.connectivity.line": 3, "rpglib.zoo.store.Zoo.write": 3}
"""Of what is handed to these, every so many-th is tried."""


@pytest.mark.parametrize("k", range(4))
def test_what_people_hand_over_works_or_is_refused_in_one_line(k):
    names = list(cases())[k::4]
    found = [
        outcome(name, argument, value)
        for name in names
        for argument in cases()[name][1]
        for value in handed(name, argument)[:: SLOW.get(name, 1)]
    ]
    assert 5000 < len(found) and 0.02 < found.count("works") / len(found) < 0.2


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary())
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.int8, torch.uint8, torch.bool)


@st.composite
def tensors(draw) -> Tensor:
    shape = draw(st.lists(st.integers(0, 6), max_size=4))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 9))))
    return (x * 10.0 ** draw(st.integers(-45, 38))).nan_to_num(0.0).to(draw(st.sampled_from(DTYPES)))


ANYTHING = st.recursive(
    st.one_of(SCALARS, tensors()), lambda inner: st.lists(inner) | st.dictionaries(SCALARS, inner), max_leaves=4
)


@settings(max_examples=1000, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_anything_works_or_is_refused_in_one_line(data):
    name = data.draw(st.sampled_from(sorted(cases().keys() - SLOW.keys())))
    argument = data.draw(st.sampled_from(sorted(cases()[name][1])))
    if argument not in FUNCTIONS:
        outcome(name, argument, data.draw(ANYTHING))
