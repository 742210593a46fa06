"""The base recipe of all ablations, by profile; each notebook writes out what it varies."""

from dataclasses import replace

from experiments.profiles import CNN_DIGITS, PAPER_RESNET18, RESNET18, Recipe
from experiments.records import PROFILES
from rpglib.errors import choice
from rpglib.model.config import RPGConfig
from rpglib.training.loop import TrainConfig
from rpglib.zoo.collect import CollectConfig

# The paper's tokens (normalised by layer) and states (one per checkpoint), because a generator that sees residuals
# knows the mean network before it has learned anything. Sample prediction, because epsilon needs many times these
# steps: 03_training_objective measures both choices.
DIGITS = replace(
    CNN_DIGITS,
    name="ablation_base",
    collect=CollectConfig(epochs=5, finetune_learning_rate=1e-3),
    model=RPGConfig(
        token_size=128,
        widths=(64, 64),
        headdim=32,
        channels=(1, 8, 16, 8, 1),
        permutation_states=50,
        prototype_skip=False,
    ),
    train=TrainConfig.paper(steps=600, batch_size=8, diffusion_batch=64, learning_rate=3e-3, weight_decay=0.0),
    normalisation="layer",
    sampling_steps=20,
    generators=1,
)
BASES = {
    "smoke": replace(
        DIGITS,
        collect=replace(DIGITS.collect, epochs=1, checkpoints=4),
        model=replace(DIGITS.model, widths=(32,), d_state=8, channels=(1, 4, 1), permutation_states=4),
        train=replace(DIGITS.train, steps=3, batch_size=2, diffusion_batch=16),
        sampling_steps=2,
    ),
    "cpu": DIGITS,
    "gpu": replace(
        RESNET18,
        name="ablation_base",
        model=replace(RESNET18.model, prototype_skip=False),
        train=replace(RESNET18.train, weighting="value", prototype_loss=0.0),
        sampling_steps=20,
    ),
    "paper": replace(PAPER_RESNET18, name="ablation_base"),
}


def base(profile: str) -> Recipe:
    """The recipe that every ablation starts from. Raises `InputError` for an unknown profile."""
    return BASES[choice("profile", profile, PROFILES)]
