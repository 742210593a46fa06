"""The base recipe of all ablations, by profile, and the sweeps around it: what each notebook varies, and nothing else.

Fields that must follow a varied one (a permutation state for every checkpoint, say) stand beside it, in the open.
"""

from dataclasses import replace

from experiments.profiles import CIFAR10_RESNET18, CNN_DIGITS, CNN_M, PAPER_RESNET18, RESNET18, SMALL_TRAIN, Recipe
from experiments.records import PROFILES
from experiments.sweeps.sweep import Sweep
from rpglib.errors import choice
from rpglib.model.rpg import RPGConfig
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


# ---- 07 to 09 -------------------------------------------------------------------------------------------------------


def tokenization(profile: str) -> Sweep:
    """Paper, figure 4 (how a network is cut) and table 6 (how long a token is)."""
    sizes = {"smoke": (64,), "cpu": (16, 32, 64, 256, 512)}.get(profile, (1024, 2048, 4096, 16384))
    return _sweep(
        "tokenization",
        profile,
        {
            "base": {},
            "flatten": {"slicing": "flatten"},
            "channel": {"slicing": "channel"},
            **{f"{size} values": {"model.token_size": size} for size in sizes},
        },
    )


def structure(profile: str) -> Sweep:
    """Paper, table 5."""
    return _sweep(
        "structure",
        profile,
        {"base": {}, "LSTM": {"model.recurrence": "lstm"}, "Transformer": {"model.recurrence": "transformer"}},
    )


# ---- 16 -------------------------------------------------------------------------------------------------------------


def cifar10_convergence(profile: str) -> Sweep:
    """What a generator's convergence depends on, around a row of `profiles.cifar10_rows` and on its zoo."""
    if profile == "smoke":
        start, steps, evaluations, zoo = base(profile), 4, (2,), None
    elif profile == "cpu":
        # Fewer steps than the row's, and fewer of sampling: the question is who gets there first.
        start, steps, evaluations, zoo = replace(CNN_M, sampling_steps=20), 200, (10, 30, 100), CNN_M.name
    else:
        start = PAPER_RESNET18 if profile == "paper" else CIFAR10_RESNET18
        steps, zoo = start.train.steps, start.name
        evaluations = tuple(steps // k for k in (16, 8, 4, 2))
    train = replace(start.train, steps=steps)
    changes = {
        name: {"model.prediction": name} for name in ("epsilon", "sample", "velocity") if name != start.model.prediction
    }
    changes["three times the rate"] = {"train.learning_rate": 3 * train.learning_rate}
    changes["half the steps"] = {"train.steps": steps // 2}
    changes["averaged weights"] = {"train.ema": 0.99}
    changes["half the tokens"] = {"train.diffusion_batch": train.diffusion_batch // 2}
    changes["twice the tokens"] = {"train.diffusion_batch": 2 * train.diffusion_batch}
    return _sweep(
        "cifar10_convergence",
        profile,
        {"base": {}} | changes,
        replace(start, train=train),
        evaluations=evaluations,
        zoo=zoo,
    )


# ---- 17, 18 ---------------------------------------------------------------------------------------------------------


def training_objective(profile: str) -> Sweep:
    """What the denoiser is asked for, and what it sees: three predictions on three normalisations."""
    start = base(profile)
    steps, evaluations = (4, (2,)) if profile == "smoke" else (2 * start.train.steps, ())
    if not evaluations:
        evaluations = tuple(steps // k for k in (16, 8, 4, 2))
    start = replace(start, train=replace(start.train, steps=steps))
    variants = {}
    for prediction in ("epsilon", "sample", "velocity"):
        for normalisation in ("layer", "residual") if profile == "smoke" else ("layer", "element", "residual"):
            changes = {"model.prediction": prediction, "normalisation": normalisation}
            same = {"model.prediction": start.model.prediction, "normalisation": start.normalisation}
            variants[f"{prediction}, {normalisation}"] = {k: v for k, v in changes.items() if v != same[k]}
    return _sweep("training_objective", profile, variants, start, evaluations=evaluations)


SWEEPS = {
    "08": tokenization,
    "09": structure,
    "05": cifar10_convergence,
    "03": training_objective,
}
"""By the number of the notebook that runs them; every one takes a profile."""
