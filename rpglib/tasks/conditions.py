"""What a network is for as numbers: bits, numbers in a range, angles, identities; and how a generator is told of them.

Ours; the paper's conditions are selections of classes (`rpglib.tasks`).

Shapes: N networks, C conditions, F features.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rpglib.errors import InputError, check_types, choice, shown, warn
from rpglib.runtime.arguments import dense, each, flag, of, takes, tensor, whole

KINDS = ("number", "angle", "bit", "identity")
OCTAVES, HARMONICS = 3, 3
"""Frequencies of the Fourier features of a number, each twice the one before, and multiples of an angle."""
MOST_CONDITIONS, MOST_IDENTITIES, MOST_ROWS = 1024, 2**16, 2**20
SLACK = 1e-6
"""Of a range's length: by so much a number may lie outside, as 0.1 does once it was rounded to fp32."""


@dataclass(frozen=True)
class Condition:
    """One number that a network is written for.

    kind: "number" from low to high; "angle", which comes round, high being low again; "bit", 0 or 1; "identity", one of
    the whole numbers from low to high, such as that of a camera. The range is what a generator is trained on. A number
    outside of it is answered, with a warning, unless `hard`, when it is refused; bits and identities always are, and an
    angle is never outside.
    Raises `InputError` for an unknown kind and for a range that is none.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    kind: str = "number"
    hard: bool = False

    def __post_init__(self):
        check_types(self)
        choice("kind of condition", self.kind, KINDS)
        if not self.name:
            raise InputError("a condition needs a name; give Condition('angle', ...)")
        if not self.low < self.high or not math.isfinite(self.high - self.low):
            raise InputError(f"condition {self.name}: low must be below high, not {self.low} to {self.high}")
        if self.kind == "bit" and (self.low, self.high) != (0, 1):
            raise InputError(f"condition {self.name}: a bit is 0 or 1; leave low and high as they are")
        if self.kind == "angle" and self.hard:
            raise InputError(f"condition {self.name}: an angle comes round and has no hard range; leave hard=False")
        if self.kind == "identity":
            if self.low != round(self.low) or self.high != round(self.high) or self.count > MOST_IDENTITIES:
                raise InputError(
                    f"condition {self.name}: identities are up to {MOST_IDENTITIES:,} whole numbers, not {self.low} to "
                    f"{self.high}"
                )

    @property
    def count(self) -> int:
        """How many whole numbers lie in the range."""
        return round(self.high - self.low) + 1

    @property
    def inside(self) -> float:
        """A number within the range, for an example; a round one where there is one."""
        if self.kind in ("bit", "identity"):
            return int(self.low)
        number = self.low + 0.625 * (self.high - self.low)
        rounded = float(f"{number:.3g}")
        return rounded if self.low <= rounded <= self.high else number

    @property
    def features(self) -> int:
        """How many features tell of it."""
        return {"number": 1 + 2 * OCTAVES, "angle": 2 * HARMONICS, "bit": 1, "identity": self.count}[self.kind]


def described(name: str, value) -> tuple[Condition, ...]:
    """The conditions that `value` lists, as they are or as JSON has them.

    Raises `InputError` for what describes none, and where two have one name.
    """
    found = []
    for one in each(name, value, "conditions"):
        try:
            found.append(Condition(**one) if isinstance(one, Mapping) else of(Condition)(f"{name}, for each,", one, {}))
        except TypeError as error:  # fields that are missing or unknown
            raise InputError(f"{name} takes conditions, not {shown(one)} ({error})") from None
        if len(found) > MOST_CONDITIONS:
            raise InputError(f"{name} takes {MOST_CONDITIONS:,} conditions at most")
    names = [condition.name for condition in found]
    if twice := sorted({x for x in names if names.count(x) > 1}):
        raise InputError(f"{name}: two conditions have the name {twice[0]!r}; give each its own")
    return tuple(found)


def _described(name: str, value, sizes) -> tuple[Condition, ...]:
    return described(name, value)


@takes(conditions=_described, n=whole(1, MOST_ROWS), strict=flag)
def check_conditions(
    conditions: Sequence[Condition],
    given: Mapping[str, float] | Sequence | Tensor,
    n: int = 1,
    strict: bool = False,
) -> Tensor:
    """Return rows (n, C) float64 of `given`: one row (C,) for all or a row for each, in the order of `conditions`.

    Rows may come by name, too: a dict of numbers or of columns, a list of dicts, or a table of pandas. Raises
    `InputError` for rows of another number or length, for unknown and missing names, for what is no finite number, and
    for what a condition refuses. A number outside of its range is warned of; strict: refused.
    """
    names = [condition.name for condition in conditions]
    words = f"a condition is {len(names)} numbers ({', '.join(names)}) or a dict of them, or {n} such rows"
    rows = given
    if isinstance(rows, list | tuple) and rows and all(isinstance(row, Mapping) for row in rows):
        rows = [_in_order(row, names) for row in rows]
    try:
        if isinstance(given, Mapping) or hasattr(given, "columns"):
            columns = _in_order({name: given[name] for name in given}, names)
            rows = np.stack(np.broadcast_arrays(*(np.asarray(column) for column in columns)), -1)
        rows = torch.as_tensor(rows if isinstance(rows, Tensor) else np.asarray(rows))
        rows = dense("condition", rows).detach().cpu().double()
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError, OverflowError):  # text, rows of different lengths, objects
        raise InputError(f"{words}; not {shown(given)}") from None
    if rows.shape not in ((len(names),), (1, len(names)), (n, len(names))):
        raise InputError(f"{words}; not of the shape {tuple(rows.shape)}")
    rows = rows.expand(n, len(names))
    for condition, values in zip(conditions, rows.unbind(1), strict=True):
        _check(condition, values, strict)
    return rows


def _in_order(row: Mapping, names: Sequence[str]) -> list:
    for name in row:
        choice("condition", name, names)
    for name in names:
        if name not in row:
            raise InputError(f"the condition {name!r} is missing; give all of {', '.join(names)}")
    return [row[name] for name in names]


def _check(condition: Condition, values: Tensor, strict: bool) -> None:
    """Raise `InputError` for values (N,) that the condition refuses; warn of those outside of its range."""

    def first(wrong: Tensor) -> str:
        return f"condition {condition.name}: {values[wrong][0].item():g}"

    low, high = condition.low, condition.high
    if (wrong := ~values.isfinite()).any():
        raise InputError(f"{first(wrong)} is no finite number; give one from {low:g} to {high:g}")
    if condition.kind == "angle":
        return
    slack = SLACK * (high - low)
    outside = (values < low - slack) | (values > high + slack)
    if condition.kind in ("bit", "identity"):
        if (wrong := outside | (values != values.round())).any():
            raise InputError(f"{first(wrong)} is no whole number from {low:g} to {high:g}")
    elif outside.any():
        if condition.hard or strict:
            raise InputError(f"{first(outside)} is outside of {low:g} to {high:g}")
        warn(f"{first(outside)} is outside of {low:g} to {high:g}, the range that was trained")


@takes(conditions=_described, rows=tensor("N C", "finite"))
def features(conditions: Sequence[Condition], rows: Tensor) -> Tensor:
    """What a generator is told of rows (N, C): features (N, F) float32, all of them from 0 to 1, as bits are.

    A bit is one feature; an identity as many as there are, of which its own is 1, so that the linear map behind them is
    a learned table. A number is its place in the range, and sine and cosine of half a turn over the range and of twice
    as much, and so on; an angle is sine and cosine of its multiples, the same again after one turn. Numbers further
    outside than the range is long are told as those just as far.
    """
    if rows.shape[1] != len(conditions):
        raise InputError(f"rows of {len(conditions)} conditions have as many columns, not {rows.shape[1]}")
    parts = [torch.empty(len(rows), 0)]
    for condition, x in zip(conditions, rows.double().unbind(1), strict=True):
        share = (x - condition.low) / (condition.high - condition.low)
        if condition.kind == "bit":
            part = x[:, None]
        elif condition.kind == "identity":
            number = (x - condition.low).round().long()
            if not bool(((number >= 0) & (number < condition.count)).all()):
                raise InputError(f"condition {condition.name}: identities lie in {condition.low:g}..{condition.high:g}")
            part = F.one_hot(number, condition.count)
        elif condition.kind == "angle":
            part = _waves(2 * math.pi * (share % 1), [k + 1 for k in range(HARMONICS)])
        else:
            share = share.clamp(-1, 2)
            part = torch.cat((share[:, None], _waves(math.pi * (share - 0.5), [2**k for k in range(OCTAVES)])), 1)
        parts.append(part.float())
    return torch.cat(parts, 1)


def _waves(phase: Tensor, multiples: Sequence[int]) -> Tensor:
    """Sine and cosine of multiples of phases (N,), moved to 0..1: (N, two for each multiple)."""
    turned = phase[:, None] * torch.tensor(multiples)
    return (1 + torch.cat((turned.sin(), turned.cos()), 1)) / 2


@takes(conditions=_described, n=whole(0, MOST_ROWS), generator=of(torch.Generator))
def random_conditions(conditions: Sequence[Condition], n: int, generator: torch.Generator) -> Tensor:
    """Rows (n, C) float64, every value drawn by itself, all of a condition's range equally likely."""
    drawn = torch.rand(n, len(conditions), generator=generator, dtype=torch.float64)
    for k, condition in enumerate(conditions):
        whole = condition.kind in ("bit", "identity")
        length = condition.count if whole else condition.high - condition.low
        drawn[:, k] = condition.low + (length * drawn[:, k]).floor() if whole else condition.low + length * drawn[:, k]
    return drawn
