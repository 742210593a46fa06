"""Settings that fit a zoo, each with its reason: a rule from the sizes at which this project's own zoos were tuned."""

import math
from dataclasses import dataclass, field

import torch

from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
from rpglib.model.rpg import RPG
from rpglib.runtime.arguments import of, takes, whole
from rpglib.runtime.hardware import memory
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.loop import TrainConfig
from rpglib.zoo.description import Description, describe
from rpglib.zoo.store import Zoo

SMALLEST, LARGEST = 128, 16384
"""Token sizes: of our small networks, and of the paper's preset "large"."""
NARROW = 512
"""From this token size on, the generator has the paper's shape: as wide as its tokens."""
FEW_STEPS, FEW_LARGE, MOST_STEPS, STEPS_EACH = 600, 2000, 3000, 60
"""Training steps: so many for each checkpoint, within limits; the second is the least of wide generators."""
MOST_STATES = 1024
"""Permutation states; of more checkpoints each run has one, if there are several."""
BYTES_EACH = 16
"""Of memory that training takes for every weight of the generator: weight, gradient and AdamW's two averages, fp32."""


@dataclass(frozen=True)
class Suggestion:
    """Settings for a zoo and, in words, why each: `tokenizer` and `generator` make what they describe."""

    normalisation: str
    model: RPGConfig
    train: TrainConfig
    reasons: dict[str, str] = field(default_factory=dict)

    @takes(zoo=of(Zoo))
    def generator(self, zoo: Zoo) -> RPG:
        """A generator for the zoo, before its training; its first weights follow from the training's seed."""
        tokenizer = ParameterTokenizer.fit(zoo, self.model.token_size, normalisation=self.normalisation)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.train.seed)
            return RPG(self.model, tokenizer)


@takes(zoo=of(Zoo), description=of(Description), steps=whole(0), states=whole(-1), seed=whole(0))
def suggest(
    zoo: Zoo, description: Description | None = None, *, steps: int = 0, states: int = -1, seed: int = 0
) -> Suggestion:
    """Settings for a generator of this zoo's networks.

    description: what `describe` says of the zoo, where that is at hand. steps: training steps, states: permutation
    states, if they are not to be chosen (0 steps and -1 states: they are). seed: of the training.
    The token size follows from the number of values, the width from the token size, steps and states from the number of
    checkpoints; how far apart they are decides what is said of the result. All but the last sizes are those at which
    our own small zoos were tuned; beyond them the paper's presets give the shape.
    Raises `InputError` where nothing in the zoo varies.
    """
    found = describe(zoo) if description is None else description
    n, values = len(zoo), found.values
    if found.checkpoints != n:
        raise InputError(f"the description is of {found.checkpoints} checkpoints, the zoo has {n}; describe this zoo")
    if not values:
        raise InputError("no floating-point tensor of this zoo varies; give checkpoints that differ")
    reasons = {}
    told = {"conditions": zoo.described_by} if zoo.described_by else {}
    told |= {"task_bits": zoo.tasks.shape[1]} if zoo.tasks is not None else {}
    token = _token_size(values) if not told else max(2 * SMALLEST, _token_size(values))
    shape = _shape(token, told)
    generator = _generator_size(shape)
    while BYTES_EACH * generator > memory() / 2 and token > SMALLEST:
        token //= 2
        shape, reasons["memory"] = _shape(token, told), "smaller tokens than else: training must fit into memory"
        generator = _generator_size(shape)
    reasons["token_size"] = (
        f"{values:,} values: tokens of about their square root, a power of two from {SMALLEST} to {LARGEST}, leave "
        f"about {math.ceil(values / token):,} tokens or more (every tensor begins a new one)"
    )
    small = token <= NARROW
    reasons["widths"] = (
        f"{shape['widths']}: as tuned on networks of 3,000 to 11,000 values"
        if token <= 2 * SMALLEST
        else f"{shape['widths']}: as wide as the tokens, as the paper's sizes are"
    )
    runs = len(zoo.runs.unique())
    by = "run" if (n > MOST_STATES and 1 < runs < n and not told) or 0 < states == runs < n else "checkpoint"
    if 0 < states < (runs if by == "run" else n):
        raise InputError(
            f"{states} permutation states are too few; {n} tell all checkpoints apart, {runs} the runs, 0 none"
        )
    if states < 0:
        states = 0 if told else runs if by == "run" else n
        reasons["permutation_states"] = (
            "none: tasks or conditions tell checkpoints apart"
            if told
            else f"{states:,}, one for each {by}: what a generator cannot tell apart it averages"
        )
    else:
        reasons["permutation_states"] = f"{states:,}, as asked for"
    if not steps:
        few = FEW_STEPS if small else FEW_LARGE
        steps = min(MOST_STEPS, max(few, STEPS_EACH * n))
        reasons["steps"] = f"{steps:,}: {STEPS_EACH} for each of {n:,} checkpoints, from {few:,} to {MOST_STEPS:,}"
    else:
        reasons["steps"] = f"{steps:,}, as asked for"
    normalisation = "residual" if told else "layer"
    reasons["normalisation"] = (
        "residual: they change what is common to all networks only a little" if told else "by layer, as the paper does"
    )
    reasons["sampling_steps"] = "4 of DDIM: the prototype already says what a token is"
    reasons["expect"] = _expect(found)
    rate = 3e-3 if small else 3e-3 * 1.5 * SMALLEST / shape["widths"][0]
    reasons["learning_rate"] = f"{rate:.1g}: 0.003 at a width of {3 * SMALLEST // 2}, less in proportion for wider ones"
    return Suggestion(
        normalisation,
        RPGConfig(**shape, permutation_states=states, sampling_steps=4),
        TrainConfig(
            steps=steps,
            batch_size=16 if told else 8 if small else 4,
            diffusion_batch=64 if small else 256,
            learning_rate=rate,
            weight_decay=0.0,
            precision="fp32" if small else "auto",
            permutation=by,
            seed=seed,
            save_every=min(500, steps),
        ),
        reasons,
    )


def _token_size(values: int) -> int:
    return min(LARGEST, max(SMALLEST, 2 ** math.ceil(math.log2(math.sqrt(values)))))


def _shape(token: int, told: dict) -> dict:
    """The model's settings at this token size; told: of what tells its networks apart, tasks or conditions."""
    if told:
        own = {"widths": (token,), "expand": 1, "task_width": 256, **told}
    else:
        width = 3 * token // 2 if token < 2 * SMALLEST else token
        own = {"widths": (width, width)}
    small = token <= NARROW
    channels = (1, 8, 16, 8, 1) if small else RPGConfig.channels
    return own | {"token_size": token, "channels": channels, "headdim": 32 if small else 64,
                  "d_state": 32 if small else 128}  # fmt: skip


def _generator_size(shape: dict) -> int:
    """Weights of such a generator, states and positions aside."""
    with torch.device("meta"):
        model = RPG.with_positions(RPGConfig(**shape), torch.empty(1, shape["widths"][0]))
    return sum(p.numel() for p in model.parameters())


def _expect(found: Description) -> str:
    basins = len(found.basins.unique())
    if found.checkpoints == 1:
        return "one checkpoint: a generator can but write it again"
    if basins == 1:
        return (
            "all checkpoints are of one basin: their mean network may work as well as any generated one, so that a "
            "generator shows little here"
        )
    return (
        f"{basins} basins: the mean network mixes them, so that a generator has to tell them apart; whether it writes "
        "anything beyond them is for the distances to say"
    )
