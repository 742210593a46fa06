"""The paper's large networks (v1, table 1), by name through timm: recipes, rows, and what a row costs.

Every network runs in a process of its own: its peak memory is its own then, and nothing of it stays for the next.
"""

import os
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import torch

from experiments.cost.workers import worker
from experiments.pipeline import images_for, row, seeded
from experiments.profiles import Recipe, paper_recipe
from experiments.records import PROFILES, of_settings, read_record
from rpglib.errors import InputError, choice
from rpglib.model.config import RPGConfig
from rpglib.runtime.allocator import keep_freed_memory
from rpglib.runtime.resident import HIGHEST, resident
from rpglib.training.loop import TrainConfig
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import CollectConfig

ALL = "all"

# The generator's size (v2, B.2) and the accuracies, in percent, of original and generated networks (v1, table 1: the
# mean of ten), by timm's name. MobileNetV3 and Swin-T are not in that table; they test other kinds of tensors.
NETWORKS: dict[str, tuple[str, tuple[float, float] | None]] = {
    "convnext_atto": ("base", (75.2, 74.4)),
    "mobilenetv3_large_100": ("base", None),
    "vit_tiny_patch16_224": ("base", (74.9, 75.3)),
    "resnet18": ("base", (70.0, 69.5)),
    "vit_small_patch16_224": ("base", (81.4, 80.5)),
    "resnet50": ("base", (79.8, 79.5)),
    "swin_tiny_patch4_window7_224": ("base", None),
    "vit_base_patch16_224": ("large", (84.4, 84.4)),
    "convnext_large": ("large", (85.8, 85.5)),
}

# One epoch from timm's weights, 50 checkpoints (v1, section 3.1; v2, C.6). The paper names neither rate nor batch: ours
# stand where the released code has no script.
COLLECT = CollectConfig(epochs=0, finetune_learning_rate=1e-5, finetune_batch_size=64, checkpoints=50)
# What the released code takes instead. ConvNeXt-L saves after one full epoch; ours falls along a cosine there.
RELEASED = {
    "vit_tiny_patch16_224": replace(COLLECT, finetune_batch_size=50),
    "resnet18": replace(COLLECT, finetune_batch_size=500),
    "vit_base_patch16_224": replace(COLLECT, finetune_learning_rate=3e-6, finetune_batch_size=100),
    "convnext_large": replace(
        COLLECT,
        epochs=1,
        learning_rate=3e-5,
        batch_size=256,
        finetune_learning_rate=3e-5,
        finetune_batch_size=256,
    ),
}

# Each part of the path at its smallest, on a handful of images; tokens and networks have their real number and size.
SMOKE_MODEL = RPGConfig(
    token_size=2048,
    widths=(64, 64),
    d_state=16,
    headdim=32,
    channels=(1, 2, 1),
    permutation_states=2,
    permutation="fixed",
    prediction="epsilon",
    prototype_skip=False,
)
SMOKE_TRAIN = TrainConfig.paper(steps=2, batch_size=1, diffusion_batch=64)


def _paper(name: str) -> Recipe:
    preset, accuracies = NETWORKS[name]
    recipe = Recipe(
        f"imagenet_{name}",
        "imagenet",
        Architecture(name, num_classes=1000, channels=3, image_size=224),
        RELEASED.get(name, COLLECT),
        RPGConfig.preset(preset),
        TrainConfig.paper(),
        paper=accuracies,
        pretrained=True,
    )
    return paper_recipe(recipe, preset)


def _smoke(recipe: Recipe) -> Recipe:
    return replace(
        recipe,
        images="synthetic",
        collect=replace(recipe.collect, epochs=0, finetune_batch_size=2, checkpoints=2),
        model=SMOKE_MODEL,
        train=SMOKE_TRAIN,
        sampling_steps=2,
        networks=2,
        paper=None,
        pretrained=False,
    )


def recipes(profile: str, network: str = ALL) -> dict[str, Recipe]:
    """The recipes of the chosen networks by timm's name: "all" of the profile, or names with commas between.

    "smoke" has all nine networks, the others the paper's seven. Raises `InputError` for an unknown profile or network.
    """
    smoke = choice("profile", profile, PROFILES) == "smoke"
    known = [name for name, (_, accuracies) in NETWORKS.items() if smoke or accuracies]
    asked = network.split(",") if isinstance(network, str) else [network]
    names = known if network == ALL else [choice("network", str(name).strip(), known) for name in asked]
    return {name: _smoke(_paper(name)) if smoke else _paper(name) for name in names}


def rows(
    chosen: Mapping[str, Recipe], profile: str, fresh: bool, seed: int = 0, device: str = "auto"
) -> dict[str, dict]:
    """The numbers of each row: computed and recorded (`fresh`), or read from its record.

    A row without record is left out, and a line says so; so are all in the profiles "cpu" and "gpu", which have
    no ImageNet. Fresh rows also hold `process_seconds` (with the start of the process) and `peak_gb` (1e9 bytes, its
    highest resident memory). Raises `InputError` where a fresh row has no images or weights, with what to put where.
    """
    if profile not in ("smoke", "paper"):
        print(f"not measured: profile {profile!r} has no ImageNet; -p profile paper -p fresh true measures these rows")
        return {}
    if fresh:
        # All rows read the same images: better told now than by the first process.
        images_for(next(iter(chosen.values())))
        return {name: _alone(recipe, profile, seed, device) for name, recipe in chosen.items()}
    found = {}
    for name, recipe in chosen.items():
        try:
            record = read_record(recipe.name, profile)
        except InputError as error:
            print(f"{name}: not measured ({error})")
            continue
        found[name] = of_settings(record, recipe.name, seeded(recipe, seed))["numbers"]
    return found


def measured(network: str = ALL) -> dict[str, dict]:
    """`costs` of smoke rows that are computed now, on the CPU; zoo, generator and record are not kept."""
    found = {}
    for name, recipe in recipes("smoke", network).items():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = _alone(recipe, "smoke", 0, "cpu", folder)
    return costs(found)


def costs(fresh: Mapping[str, dict]) -> dict[str, dict]:
    """Of fresh rows what they cost: sizes, seconds of each part and of the process, peak memory, networks evaluated."""
    kept = ("parameters", "tokens", "generator_parameters", "seconds", "process_seconds", "peak_gb")
    return {
        name: {key: numbers[key] for key in kept} | {"evaluated": numbers["generated"]["n"]}
        for name, numbers in fresh.items()
    }


def check_sizes(found: Mapping[str, dict]) -> str:
    """Build every network again, without weights, and count its values and tokens; compare with what was recorded.

    Returns one sentence; raises `AssertionError` where they differ.
    """
    for name, numbers in found.items():
        (recipe,) = recipes("smoke", name).values()
        with torch.device("meta"):
            tensors = recipe.architecture.build().state_dict().values()
        sizes = [x.numel() for x in tensors if x.is_floating_point() and x.numel() > 1]
        counted = sum(sizes), sum(-(-size // recipe.model.token_size) for size in sizes)
        assert counted == (numbers["parameters"], numbers["tokens"]), f"{name}: counted {counted} values and tokens"
    return f"networks built again: {len(found)}; their numbers of values and of tokens agree with the record"


def _alone(recipe: Recipe, profile: str, seed: int, device: str, folder: str | None = None) -> dict:
    """Compute a row in a process of its own; `folder` is its project folder instead of this process's."""
    began = time.perf_counter()
    with worker() as pool:
        try:
            numbers = pool.submit(_compute, recipe, profile, seed, device, folder).result()
        except BrokenProcessPool:
            raise InputError(
                f"the process of {recipe.name} died, most likely for want of memory; free some or choose a smaller "
                "network"
            ) from None
    return numbers | {"process_seconds": time.perf_counter() - began}


def _compute(recipe: Recipe, profile: str, seed: int, device: str, folder: str | None) -> dict:
    if folder is not None:
        os.environ["RPG_HOME"] = folder
    keep_freed_memory()
    return row(recipe, profile, True, seed, device).numbers | {"peak_gb": resident(HIGHEST) / 1e9}
