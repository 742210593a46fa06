"""A cost model: the operations and bytes of a training and of a sampling step, counted, and the seconds that follow.

Counted on tensors without memory, so that any preset and network can be asked about on any machine. An operation takes
the longer of what its arithmetic and what its bytes take at a machine's rates (the roofline of Williams et al. 2009),
and the time of a call. What follows is a prediction.
Shapes: N networks of a batch, L tokens, D token size, B tokens that pass the denoiser.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from experiments.sweeps.memory import step_loss, training_bytes
from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
from rpglib.model.rpg import RPG
from rpglib.training.loop import TrainConfig

KINDS = ("product", "convolution", "convolution_backward", "pass")
"""Of operations: matrix products, convolutions and their gradients, and passes over memory."""
NO_WORK = (torch.ops.aten.empty, torch.ops.aten.empty_like, torch.ops.aten._unsafe_view)
"""Operations that say they return something new, and compute nothing."""
ADAM_PASSES = 7
"""AdamW reads weight, gradient and both averages, and writes all but the gradient; in units of the weights."""
CLIP_PASSES = 3
"""Clipping reads the gradient for its norm, and reads and writes it for the factor."""


@dataclass(frozen=True)
class Rates:
    """What one device does in a second: floating point operations by kind, and bytes of passes over memory.

    call: seconds that an operation of a training step takes beside its work. kernel: of the compiled denoiser, which
    keeps what is between its convolutions in the cache; operations as if it saved none. link: bytes that each of
    several devices sends.
    """

    product: float
    convolution: float
    convolution_backward: float
    bandwidth: float
    call: float = 0.0
    kernel: float | None = None
    link: float | None = None

    def seconds(self, kind: str, operations: int, moved: int) -> float:
        """Of one call."""
        arithmetic = operations / getattr(self, kind) if operations else 0.0
        return max(arithmetic, moved / self.bandwidth) + self.call


@dataclass(frozen=True)
class Work:
    """Calls by what they are: (kind, floating point operations, bytes) -> how many."""

    calls: Counter = field(default_factory=Counter)

    def __add__(self, other: "Work") -> "Work":
        return Work(self.calls + other.calls)

    def operations(self, *kinds: str) -> int:
        """Floating point operations of these kinds, by default of all."""
        return sum(count * call[1] for call, count in self.calls.items() if call[0] in (kinds or KINDS))

    def seconds(self, rates: Rates) -> float:
        """At a machine's rates."""
        return sum(count * rates.seconds(*call) for call, count in self.calls.items())

    def shares(self, rates: Rates) -> dict[str, float]:
        """What part of the seconds each kind of operation takes."""
        found = dict.fromkeys(KINDS, 0.0)
        for call, count in self.calls.items():
            found[call[0]] += count * rates.seconds(*call)
        total = sum(found.values())
        return {kind: seconds / total for kind, seconds in found.items()}


class Counted(TorchDispatchMode):
    """Counts what is computed within: `with Counted() as counted: ...`, then `counted.work`."""

    def __init__(self):
        super().__init__()
        self.work = Work()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        packet = function._overloadpacket
        if packet is torch.ops.aten._local_scalar_dense:
            return True  # a check asks for a value, of which there is none: all is well
        found = function(*args, **(kwargs or {}))
        if _is_view(function):
            return found
        operations = 0
        if packet in flop_registry:
            operations = int(flop_registry[packet](*args, **(kwargs or {}), out_val=found))
        kind = "pass"
        if packet is torch.ops.aten.convolution_backward:
            kind = "convolution_backward"
        elif packet is torch.ops.aten.convolution:
            kind = "convolution"
        elif operations:
            kind = "product"
        moved = sum(_held(x) for x in tree_leaves((args, kwargs, found)) if isinstance(x, Tensor))
        self.work.calls[kind, operations, moved] += 1
        return found


def _is_view(function) -> bool:
    """Whether a call computes nothing: what it returns is a fact, its argument seen another way, or empty memory."""
    if function.namespace != "aten":
        return True
    returned = [x.alias_info for x in function._schema.returns]
    views = bool(returned) and all(alias is not None and not alias.is_write for alias in returned)
    return views or function._overloadpacket in NO_WORK


def _held(x: Tensor) -> int:
    """Bytes of a tensor; of one that is expanded, those that exist."""
    return min(x.numel() * x.element_size(), x.untyped_storage().nbytes())


@contextmanager
def _imagined(config: RPGConfig) -> Iterator[None]:
    """Within it tensors have shapes and no memory."""
    # The schedule's tables are real, and kept: worked out within, they would be imagined for ever.
    config.schedule.rates(torch.zeros(1, dtype=torch.int64), torch.zeros(1, 1))
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def _generator(config: RPGConfig, tokens: int) -> RPG:
    return RPG.with_positions(config, torch.zeros(tokens, config.widths[0]))


def training_step(config: RPGConfig, tokens: int, train: TrainConfig, devices: int = 1) -> Work:
    """The work of each device in one step: loss, gradients, clipping and AdamW; the batch is divided among devices."""
    n = -(-train.batch_size // devices)
    count = min(-(-train.diffusion_batch // devices), n * tokens)
    with _imagined(config):
        model = _generator(config, tokens).train()
        with Counted() as counted, torch.autocast("cpu", torch.bfloat16, train.precision == "bf16"):
            loss = step_loss(model, train, n, count)
        with counted:
            loss.backward()
        weights = weight_bytes(model)
    return counted.work + Work(Counter({("pass", 0, (ADAM_PASSES + CLIP_PASSES) * weights): 1}))


def weight_bytes(model: RPG) -> int:
    """Of all weights that are trained."""
    return sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)


@dataclass(frozen=True)
class Sampling:
    """The work of one network: of its prototypes, once, and of all its tokens in one sampling step."""

    prototypes: Work
    step: Work

    def seconds(self, rates: Rates, steps: int) -> float:
        """At a machine's rates, in so many sampling steps."""
        if rates.kernel is None:
            each = self.step.seconds(rates)
        else:
            each = self.step.operations("convolution") / rates.kernel
        return self.prototypes.seconds(rates) + steps * each


def sampling(config: RPGConfig, tokens: int, part: int = 256) -> Sampling:
    """What it takes to write one network; `part` tokens pass the denoiser together."""
    with _imagined(config), torch.no_grad():
        model = _generator(config, tokens).eval()
        with Counted() as once:
            states = torch.zeros(1, dtype=torch.int64) if config.permutation_states else None
            prototypes = model.recurrent(1, states, torch.zeros(1, config.told) if config.told else None).flatten(0, 1)
            if model.skip is not None:
                model.skip(prototypes)
            condition = model.denoiser.condi_embedder(prototypes)
        step = Work()
        for rows in condition.split(part):
            with Counted() as some:
                model.denoiser.denoise(torch.zeros_like(rows), torch.zeros(1, 1).expand_as(rows), rows)
            step = step + some.work
    return Sampling(once.work, step)


def training_memory(config: RPGConfig, tokens: int, train: TrainConfig, devices: int = 1) -> int:
    """Bytes that each device holds in a step, counted as `training_bytes` counts them; weights are not divided."""
    some = replace(
        train, batch_size=-(-train.batch_size // devices), diffusion_batch=-(-train.diffusion_batch // devices)
    )
    with _imagined(config), Counted():
        return training_bytes(_generator(config, tokens), some)


def training_seconds(config: RPGConfig, tokens: int, train: TrainConfig, rates: Rates, devices: int = 1) -> float:
    """Of one step on so many alike devices, which wait for each other's gradients once they have their own.

    Raises `InputError` for several devices without a link.
    """
    seconds = training_step(config, tokens, train, devices).seconds(rates)
    if devices == 1:
        return seconds
    if rates.link is None:
        raise InputError(f"{devices} devices exchange gradients; say in Rates.link how many bytes each sends a second")
    with _imagined(config):
        weights = weight_bytes(_generator(config, tokens))
    # Each sends its part of every sum, and the sums of its part.
    return seconds + 2 * weights * (devices - 1) / devices / rates.link
