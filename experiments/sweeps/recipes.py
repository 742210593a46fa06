"""The base recipe of all ablations, by profile; each notebook writes out what it varies."""

from dataclasses import replace

from experiments.profiles import PAPER_RESNET18, QUICKSTART, RESNET18, SMOKE_COLLECT, Recipe
from experiments.records import PROFILES
from rpglib.errors import choice

# The quickstart's recipe: ten runs, because from one run the mean network is as good as any generator, and the paper's
# tokens (normalised by layer), because residual ones hold that mean network before anything is learned.
DIGITS = replace(QUICKSTART, name="ablation_base", generators=1)
BASES = {
    "smoke": replace(
        DIGITS,
        collect=SMOKE_COLLECT,
        model=replace(DIGITS.model, widths=(32,), d_state=8, channels=(1, 4, 1), permutation_states=4),
        train=replace(DIGITS.train, steps=3, batch_size=2, diffusion_batch=16),
        sampling_steps=2,
    ),
    "cpu": DIGITS,
    "gpu": replace(
        RESNET18, name="ablation_base", collect=replace(RESNET18.collect, epochs=15, runs=10, checkpoints=5)
    ),
    "paper": replace(PAPER_RESNET18, name="ablation_base"),
}


def base(profile: str) -> Recipe:
    """The recipe that every ablation starts from. Raises `InputError` for an unknown profile."""
    return BASES[choice("profile", profile, PROFILES)]
