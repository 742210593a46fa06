"""What a zoo holds: its tensors, what varies, how far apart its checkpoints are, and what stands out.

Shapes: N checkpoints, K compared values of each.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from rpglib.errors import InputError, shown
from rpglib.runtime.arguments import function, of, takes
from rpglib.runtime.state_dicts import COUNTER, Checkpoint, is_statistic, plain, tied
from rpglib.zoo.store import Zoo

COMPARED = 2**27
"""Values of all checkpoints together that are compared at most; of larger zoos evenly spaced ones of every tensor."""
LEAST = 64
"""Values of a tensor that are compared at least."""
ALIKE = 0.5
"""Correlation of weights from which two checkpoints are of one basin."""
OUTLYING, BEYOND = 3.5, 1.5
"""A checkpoint stands out from this modified z-score (Iglewicz and Hoaglin 1993) on, if it is also so many times as far
from the others as is usual."""
EVALUATED = 10
"""Checkpoints that are evaluated beside the mean network, at most."""


@dataclass(frozen=True)
class TensorFacts:
    """One tensor of every checkpoint.

    kind: "parameter", "statistic" (BatchNorm's), "counter" (BatchNorm's), "constant" (equal in all), "whole numbers",
    or "tied to ..."; varies: share of its values that differ between checkpoints; deviation: the standard deviation
    within a checkpoint, their mean; spread: the root mean square of what is left when every value's mean over the
    checkpoints is taken off, beside that deviation: near 0 the checkpoints are nearly equal, near 1 they share nothing.
    The last two are NaN where there is no deviation.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    kind: str
    varies: float
    deviation: float
    spread: float

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Description:
    """What `describe` found of N checkpoints.

    read: how they were read, one line, if by `Zoo.read`; tensors: in their order; share: of the parameters' values, how
    many were compared; distances (N, N): Euclidean, over all parameters but BatchNorm's statistics; correlations
    (N, N): of the parameters, every tensor centred and in units of its own deviation; basins (N,) int64: checkpoints
    that a chain of correlations above `ALIKE` connects; duplicates: numbers of equal checkpoints; outliers: numbers of
    those that are far from all others; scores: what `evaluate` says of some checkpoints, by number, and of their mean
    network, "mean"; None where nothing evaluates.
    """

    read: str | None
    tensors: tuple[TensorFacts, ...]
    share: float
    distances: Tensor
    correlations: Tensor
    basins: Tensor
    duplicates: tuple[tuple[int, ...], ...]
    outliers: tuple[int, ...]
    scores: dict[int | str, float] | None

    @property
    def checkpoints(self) -> int:
        return len(self.basins)

    @property
    def values(self) -> int:
        """Values of the tensors that vary, so far as they can be generated: those of floating-point tensors."""
        return sum(x.size for x in self.tensors if x.kind in ("parameter", "statistic"))

    @property
    def nearest(self) -> Tensor:
        """How far each checkpoint is from the nearest other one (N,); empty for one alone."""
        n = self.checkpoints
        if n < 2:
            return torch.empty(0)
        return self.distances.masked_fill(torch.eye(n, dtype=torch.bool), torch.inf).amin(1)

    @property
    def spread(self) -> float:
        """The mean spread of the parameters, each counted by its values; NaN where none varies."""
        known = [x for x in self.tensors if x.kind == "parameter" and not math.isnan(x.spread)]
        total = sum(x.size for x in known)
        return sum(x.size * x.spread for x in known) / total if total else math.nan


@takes(zoo=of(Zoo), evaluate=function)
@torch.no_grad()
def describe(zoo: Zoo, evaluate: Callable[[dict[str, Tensor]], float] | None = None) -> Description:
    """Look at every checkpoint of a zoo, one at a time.

    evaluate: state dict -> number, such as an accuracy; it is asked about a few checkpoints and their mean network,
    each complete, with what the zoo left out.
    Raises `InputError` where the checkpoints cannot be read, and for what is no number.
    """
    first, n = zoo[0], len(zoo)
    aliases = tied(first)
    floats = [name for name, x in first.items() if x.is_floating_point() and x.numel() and name not in aliases]
    learned = [name for name in floats if not is_statistic(name)]
    columns = _columns({name: first[name].numel() for name in learned}, n)
    compared = {name: torch.empty(n, len(where)) for name, where in columns.items()}
    sums = {name: _Sums(plain(x).flatten()) for name, x in first.items() if name not in aliases}
    digests: dict[bytes, list[int]] = {}
    for i in range(n):
        found, checkpoint = hashlib.sha256(), zoo[i]
        for name, of_all in sums.items():
            x = plain(checkpoint[name]).flatten()
            of_all.see(x)
            found.update(x.view(torch.uint8).numpy().tobytes())
            if name in columns:
                compared[name][i] = x.float() if len(columns[name]) == len(x) else x[columns[name]].float()
        digests.setdefault(found.digest(), []).append(i)
    facts = tuple(_facts(name, x, sums[aliases.get(name, name)], aliases.get(name)) for name, x in first.items())
    distances = _distances(compared, {name: first[name].numel() for name in learned})
    correlations = _correlations(compared)
    joined = np.asarray(correlations > ALIKE)
    return Description(
        zoo.config.get("read"),
        facts,
        sum(map(len, columns.values())) / max(1, sum(first[name].numel() for name in learned)),
        distances,
        correlations,
        torch.from_numpy(connected_components(joined, directed=False)[1].astype(np.int64)),
        tuple(tuple(rows) for rows in digests.values() if len(rows) > 1),
        _outliers(distances),
        None if evaluate is None else _scores(zoo, evaluate),
    )


@takes(zoo=of(Zoo))
@torch.no_grad()
def mean_network(zoo: Zoo) -> dict[str, Tensor]:
    """The mean of every floating-point tensor over the checkpoints, in its own type; all else is the first's."""
    found, aliases = dict(zoo[0]), tied(zoo[0])
    sums = {name: torch.zeros(x.shape, dtype=torch.float64) for name, x in found.items() if x.is_floating_point()}
    for i in range(len(zoo)):
        checkpoint = zoo[i]
        for name, total in sums.items():
            total += plain(checkpoint[name]).double()
    found = {name: (sums[name] / len(zoo)).to(x.dtype) if name in sums else x for name, x in found.items()}
    return found | {name: found[source] for name, source in aliases.items()}


class _Sums:
    """What one pass tells of a tensor: which values vary, its deviation, and the variance over checkpoints."""

    def __init__(self, first: Tensor):
        self.first, self.n = first, 0
        self.varies = torch.zeros(len(first), dtype=torch.bool)
        self.deviation = 0.0
        self.mean = self.squares = torch.zeros(len(first), dtype=torch.float64)

    def see(self, x: Tensor) -> None:
        self.n += 1
        # As bytes: not every type of 8 bits knows how to be compared.
        self.varies |= (x.view(torch.uint8) != self.first.view(torch.uint8)).view(len(x), x.itemsize).any(1)
        if x.is_floating_point():
            values = x.double()
            values = values.where(values.isfinite(), 0.0)
            self.deviation += float(values.std()) if len(x) > 1 else 0.0
            change = values - self.mean
            self.mean = self.mean + change / self.n
            self.squares = self.squares + change * (values - self.mean)

    @property
    def spread(self) -> float:
        left = math.sqrt(float((self.squares / max(1, self.n - 1)).mean())) if len(self.first) else 0.0
        return left / (self.deviation / self.n) if self.deviation else math.nan


def _facts(name: str, x: Tensor, sums: _Sums, source: str | None) -> TensorFacts:
    varies = float(sums.varies.float().mean()) if x.numel() else 0.0
    if source is not None:
        kind = f"tied to {source}"
    elif name.endswith(COUNTER):
        kind = "counter"
    elif not varies and sums.n > 1:
        kind = "constant"
    elif not x.is_floating_point():
        kind = "whole numbers"
    else:
        kind = "statistic" if is_statistic(name) else "parameter"
    deviation = sums.deviation / sums.n if x.is_floating_point() and x.numel() > 1 else math.nan
    spread = sums.spread if x.is_floating_point() else math.nan
    return TensorFacts(name, tuple(x.shape), x.dtype, kind, varies, deviation, spread)


def _columns(sizes: Mapping[str, int], n: int) -> dict[str, Tensor]:
    """Which values of each tensor are compared: all of them, or evenly spaced ones."""
    share = min(1.0, COMPARED / max(1, n * sum(sizes.values())))
    counts = {name: size if share == 1 else min(size, max(LEAST, int(share * size))) for name, size in sizes.items()}
    return {
        name: torch.arange(size)
        if counts[name] == size
        else torch.linspace(0, size - 1, counts[name], dtype=torch.float64).long()
        for name, size in sizes.items()
    }


def _distances(compared: Mapping[str, Tensor], sizes: Mapping[str, int]) -> Tensor:
    """Euclidean distances (N, N); those of a part of a tensor's values count for all of them."""
    squares = sum(torch.cdist(x.double(), x.double(), compute_mode=EXACT).square() * (sizes[name] / x.shape[1])
                  for name, x in compared.items())  # fmt: skip
    return squares.sqrt() if isinstance(squares, Tensor) else torch.zeros(1, 1)


EXACT = "donot_use_mm_for_euclid_dist"
"""Near checkpoints differ by less than a product's rounding."""


def _correlations(compared: Mapping[str, Tensor]) -> Tensor:
    parts = []
    for x in compared.values():
        centred = x.double() - x.double().mean(1, keepdim=True)
        scale = float(centred.square().mean().sqrt())
        # What every checkpoint has alike, such as a frozen backbone, says nothing of where they differ.
        if scale and len(x) > 1 and not bool((x == x[0]).all()):
            parts.append((centred / scale).float())
    n = len(next(iter(compared.values()))) if compared else 1
    if not parts:
        return torch.ones(n, n)
    x = torch.nn.functional.normalize(torch.cat(parts, 1).double(), dim=1)
    return (x @ x.T).clamp(-1, 1)


def _outliers(distances: Tensor) -> tuple[int, ...]:
    n = len(distances)
    if n < 4:
        return ()
    others = distances.masked_fill(torch.eye(n, dtype=torch.bool), torch.nan).nanmedian(1).values
    middle = others.median()
    usual = (others - middle).abs().median()
    far = 0.6745 * (others - middle) > OUTLYING * usual
    return tuple((far & (others > BEYOND * middle)).nonzero()[:, 0].tolist())


def _scores(zoo: Zoo, evaluate: Callable[[dict[str, Tensor]], float]) -> dict[int | str, float]:
    chosen = np.unique(np.linspace(0, len(zoo) - 1, EVALUATED).astype(int)).tolist()
    found = {i: score(evaluate, zoo.complete(zoo[i], i, own_names=False), f"checkpoint {i}") for i in chosen}
    mean = zoo.complete(mean_network(zoo), own_names=False)
    return found | {"mean": score(evaluate, mean, "the mean network")}


def score(evaluate: Callable[[dict[str, Tensor]], float], network: Checkpoint, what: str) -> float:
    """What `evaluate` says of a network; raises `InputError` unless it is a finite number."""
    found = evaluate({name: x.clone() for name, x in network.items()})
    if isinstance(found, Tensor) and found.numel() == 1 and not found.is_complex():
        found = found.item()
    if not isinstance(found, Real) or not math.isfinite(found):
        raise InputError(f"evaluate says {shown(found)} of {what}; it takes a state dict and returns a finite number")
    return float(found)
