"""The base recipe of all ablations, by profile, and the sweeps around it: what each notebook varies, and nothing else.

Fields that must follow a varied one (a permutation state for every checkpoint, say) stand beside it, in the open.
"""

from dataclasses import replace

from experiments.profiles import CNN_DIGITS, PAPER_RESNET18, RESNET18, SMALL_TRAIN, Recipe
from experiments.records import PROFILES
from experiments.sweeps.sweep import Sweep
from rpglib.errors import choice
from rpglib.model.config import RPGConfig
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
        prediction="sample",
    ),
    train=replace(SMALL_TRAIN, steps=600, batch_size=8, diffusion_batch=64, learning_rate=3e-3, weight_decay=0.0),
    normalisation="layer",
    sampling_steps=20,
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
        normalisation="layer",
        model=replace(RESNET18.model, prediction="sample"),
        sampling_steps=20,
    ),
    "paper": replace(PAPER_RESNET18, name="ablation_base"),
}


def base(profile: str) -> Recipe:
    """The recipe that every ablation starts from. Raises `InputError` for an unknown profile."""
    return BASES[choice("profile", profile, PROFILES)]


def _sweep(experiment: str, profile: str, variants: dict, start: Recipe | None = None, **options) -> Sweep:
    seeds = (0,) if profile == "smoke" else (0, 1, 2)
    start = base(profile) if start is None else replace(start, name=experiment)
    return Sweep(experiment, profile, start, variants, seeds, **options)


# ---- 10 to 14 -------------------------------------------------------------------------------------------------------


def permutation_state(profile: str) -> Sweep:
    """Paper, tables 15 / 17: more runs, equally many checkpoints in all, with and without permutation states."""
    total, counts = (4, (1, 2)) if profile == "smoke" else (60, (1, 3, 10, 20))
    start = base(profile)
    start = replace(
        start,
        collect=replace(start.collect, checkpoints=total, finetune_batch_size=16),
        model=replace(start.model, permutation_states=total),
        # Telling basins apart takes longer than learning one.
        train=replace(start.train, steps=start.train.steps * (1 if profile == "smoke" else 4)),
    )
    variants = {}
    trained = start.model.permutation
    other = "learned" if trained == "fixed" else "fixed"
    for runs in counts:
        zoo = {} if runs == 1 else {"collect.runs": runs, "collect.checkpoints": total // runs}
        variants[f"{runs}, {trained}"] = zoo
        variants[f"{runs}, none"] = zoo | {"model.permutation_states": 0}
        if runs in counts[1:3]:
            variants[f"{runs}, {other}"] = zoo | {"model.permutation": other}
    return _sweep("permutation_state", profile, variants, start)


def connectivity(profile: str) -> Sweep:
    """Paper, table 18: one basin; two basins, told apart by one permutation state per run."""
    each = base(profile).collect.checkpoints // 2
    states = {"train.permutation": "run", "model.permutation_states": 2}
    return _sweep(
        "linear_mode_connectivity",
        profile,
        {"one basin": {}, "two basins": {"collect.runs": 2, "collect.checkpoints": each, **states}},
    )


def similarity(profile: str) -> Sweep:
    """Paper, tables 25 (number of checkpoints) and 26 (without diffusion); one checkpoint after every few images."""
    counts = {"smoke": (1, 2)}.get(profile, (1, 10, 50, 200, 400))
    start = base(profile)
    most = max(counts)
    if profile in ("smoke", "cpu"):
        # 400 checkpoints of one epoch on 1,078 images: two images a step, and a rate that suits so few.
        collect = replace(start.collect, checkpoints=most, finetune_batch_size=2, finetune_learning_rate=2e-4)
    else:
        collect = replace(start.collect, checkpoints=most, finetune_batch_size=100)
    start = replace(start, collect=collect, model=replace(start.model, permutation_states=most))
    fewer = {f"{n}": {"collect.checkpoints": n, "model.permutation_states": n} for n in counts if n != most}
    # Regression is asked for the token itself; the skip, which does it, knows no other prediction.
    asked = {} if start.model.prediction == "sample" else {"model.prediction": "sample"}
    alone = asked | {"train.diffusion": False, "model.prototype_skip": True, "model.permutation_states": 0}
    return _sweep("similarity", profile, fewer | {f"{most}": {}, "without diffusion": alone}, start)


def sensitivity(profile: str) -> Sweep:
    """Paper, tables 16 / 24: networks of several sizes; the token grows with the network, as in the presets."""
    if profile in ("smoke", "cpu"):
        # A vision transformer takes longer to become a network that tells digits apart.
        longer = {} if profile == "smoke" else {"collect.epochs": 60}
        larger = {
            "vit_small_digits": {"model.token_size": 256} | longer,
            "cnn_digits_wide": {"model.token_size": 256},
        }
    else:
        larger = {
            "vit_tiny_patch16_224": {"model.token_size": 4096},
            "vit_small_patch16_224": {"model.token_size": 16384},
        }
    return _sweep(
        "sensitivity",
        profile,
        {base(profile).architecture.name: {}}
        | {name: {"architecture.name": name, **changes} for name, changes in larger.items()},
    )


# ---- 13 -------------------------------------------------------------------------------------------------------------


def memorisation(profile: str) -> Sweep:
    """Checkpoints of one run, as the paper collects them, of three, and as many independent networks."""
    start = base(profile)
    each = max(1, start.collect.checkpoints // 3)
    # As in 10: telling basins apart takes longer than learning one.
    longer = {} if profile == "smoke" else {"train.steps": 4 * start.train.steps}
    three = {"collect.runs": 3, "collect.checkpoints": each}
    if start.model.permutation_states != 3 * each:
        three["model.permutation_states"] = 3 * each
    variants = {"one run": {}, "three runs": three | longer}
    if profile != "smoke":
        alone = {"collect.runs": start.collect.checkpoints, "collect.checkpoints": 1}
        variants["independent runs"] = alone | longer
    return _sweep("memorisation", profile, variants)


SWEEPS = {
    "10": permutation_state,
    "11": connectivity,
    "12": similarity,
    "14": sensitivity,
    "13": memorisation,
}
"""By the number of the notebook that runs them; every one takes a profile."""
