"""Recipes by profile: which images, which network, how its zoo is collected, and how its generator is trained.

"smoke" tests the code path in seconds, "digits" runs on a CPU in minutes, "cifar10" wants one GPU, "paper" is the
paper's recipe. A notebook asks for a recipe by name; an ablation is `dataclasses.replace` on one of its fields.
"""

from dataclasses import dataclass, replace

from rpglib.errors import InputError, choice
from rpglib.model.rpg import RPGConfig
from rpglib.records import PROFILES
from rpglib.training import TrainConfig
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import CollectConfig


@dataclass(frozen=True)
class Recipe:
    """One row of a results table, from images to generated networks. `normalisation` and `slicing`: the tokenizer's."""

    name: str
    images: str
    architecture: Architecture
    collect: CollectConfig
    model: RPGConfig
    train: TrainConfig
    normalisation: str = "residual"
    slicing: str = "layer"
    sampler: str = "ddim"
    sampling_steps: int = 60


# Our defaults for small networks: half the paper's denoiser width, velocity prediction on residual tokens.
SMALL_MODEL = RPGConfig(
    token_size=64,
    widths=(128, 128),
    headdim=32,
    channels=(1, 16, 32, 64, 32, 16, 1),
    permutation_states=50,
    prediction="velocity",
)
SMALL_TRAIN = TrainConfig(steps=1000, batch_size=4, diffusion_batch=192, learning_rate=1e-3, ema=0.99)

VIT_DIGITS = Recipe(
    "vit_digits",
    "digits",
    Architecture("vit_small_digits", num_classes=10, channels=1, image_size=8),
    CollectConfig(finetune_learning_rate=3e-4),
    SMALL_MODEL,
    SMALL_TRAIN,
)
CNN_DIGITS = replace(VIT_DIGITS, name="cnn_digits", architecture=Architecture("cnn_digits", 10, 1, 8))
CNN_S = Recipe(
    "cnn_s",
    "cifar10",
    Architecture("cnn_s", num_classes=10, channels=3, image_size=32),
    CollectConfig(),
    SMALL_MODEL,
    SMALL_TRAIN,
)
