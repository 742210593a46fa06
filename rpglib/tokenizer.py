"""State dict <-> tokens: per-layer normalisation, slicing into tokens of one size, padding mask, positions.

Shapes: L tokens, D token size. A *layer* is one tensor of the state dict.
Source: RPG paper v1, section 2.2, equations 1 and 2.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rpglib.errors import InputError, choice
from rpglib.runtime.files import save_tensors
from rpglib.runtime.state_dicts import Checkpoint, check_state_dict, tied

SLICINGS = ("layer", "flatten", "channel")
NORMALISATIONS = ("layer", "residual", "element")

# BatchNorm variances are positive and skewed, so they are normalised as log(v / reference + LOG_OFFSET) with the
# reference 0.95 of their mean: the constants of the released code.
LOG_OFFSET = 0.05
LOG_REFERENCE = 0.95


@dataclass(frozen=True)
class Layer:
    """One tokenised tensor: its name, shape and type, and whether it is normalised through a log."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    log: bool

    @property
    def size(self) -> int:
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Segment:
    """Where a layer lies in the flattened tokens: runs of `run` values, `stride` apart, the last one shorter."""

    offset: int
    size: int
    run: int
    stride: int

    @property
    def whole(self) -> bool:
        """Whether the layer lies in one piece."""
        return self.run == self.size

    def pieces(self, flat: Tensor, values: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Pairs of equally shaped views (into the flattened tokens, into the flattened layer); values may be (1,)."""
        if self.whole:
            return [(flat[self.offset : self.offset + self.size], values)]
        full, rest = divmod(self.size, self.run)

        def cut(start: int, shape: tuple[int, ...]) -> Tensor:
            return values if values.numel() == 1 else values[start : start + torch.Size(shape).numel()].view(shape)

        pairs = []
        if full:
            block = flat.as_strided((full, self.run), (self.stride, 1), flat.storage_offset() + self.offset)
            pairs.append((block, cut(0, (full, self.run))))
        if rest:
            start = self.offset + full * self.stride
            pairs.append((flat[start : start + rest], cut(full * self.run, (rest,))))
        return pairs


class ParameterTokenizer:
    """Cuts checkpoints of one architecture into tokens of `token_size` values and puts tokens together again.

    `slicing`: "layer" (the paper's default: every layer starts a new token), "flatten" (p-diff: all layers in one run)
    or "channel" (SANE: tokens hold as many whole output channels as fit, a longer one spans several tokens). The paper
    compares the three in figure 4 of v1.

    `normalisation`: "layer" (the paper: one mean and one standard deviation per layer), "element" (one pair per single
    value, over the zoo) or "residual" (each value centred over the zoo, then one standard deviation of what is left
    per layer). The last two are ours: they show the generator the differences between checkpoints, which are small
    beside a layer's deviation when the checkpoints come from one run.

    What does not vary over a zoo of two or more checkpoints comes back exactly, whatever the normalisation, where noise
    in the size of rounding would otherwise be taken for a spread: whole layers (a frozen backbone) are not tokenised,
    single values (pruned weights) are put back by `decode`.

    Integer tensors, and tensors of one element, are not tokenised: `decode` returns the first checkpoint's integers and
    the zoo's mean of the others. Tied tensors are tokenised once and tied again in what `decode` returns.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        shift: Sequence[Tensor],
        scale: Sequence[Tensor],
        log_reference: Sequence[float],
        constants: Checkpoint,
        aliases: Mapping[str, str],
        names: Sequence[str],
        token_size: int,
        slicing: str = "layer",
        normalisation: str = "layer",
        fixed: Mapping[str, tuple[Tensor, Tensor]] | None = None,
    ):
        """fixed: layer -> (which of its values never vary, bool (size,); those values)."""
        if not isinstance(token_size, int) or token_size < 1:
            raise InputError(f"token_size must be a positive whole number, not {token_size!r}")
        self.layers, self.names = tuple(layers), tuple(names)
        self.shift, self.scale, self.log_reference = list(shift), list(scale), list(log_reference)
        self.constants, self.aliases, self.fixed = dict(constants), dict(aliases), dict(fixed or {})
        self.token_size = token_size
        self.slicing = choice("slicing", slicing, SLICINGS)
        self.normalisation = choice("normalisation", normalisation, NORMALISATIONS)
        self.segments, self.num_tokens = _lay_out(self.layers, token_size, slicing)

    def __repr__(self) -> str:
        return (
            f"ParameterTokenizer({len(self.layers)} layers, {self.num_parameters:,} values -> "
            f"{self.num_tokens} tokens of {self.token_size}, slicing={self.slicing!r}, "
            f"normalisation={self.normalisation!r})"
        )

    # ---- fitting ------------------------------------------------------------------------------------------------

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        checkpoints: Sequence[Checkpoint],
        token_size: int = 8192,
        slicing: str = "layer",
        normalisation: str = "layer",
    ) -> "ParameterTokenizer":
        """Measure the statistics of a zoo (any sequence of state dicts, read one at a time).

        "layer" statistics are the mean over checkpoints of each checkpoint's mean and unbiased standard deviation, as
        in the released code. Raises `InputError` for an empty zoo, and where names, shapes or values do not fit.
        """
        choice("normalisation", normalisation, NORMALISATIONS)
        if len(checkpoints) == 0:
            raise InputError("cannot fit a tokenizer on no checkpoints; collect at least one")
        if isinstance(checkpoints, Mapping):
            raise InputError("a tokenizer is fitted on a list of state dicts, not on one; give [state_dict]")
        first = checkpoints[0]
        check_state_dict(first, "checkpoint 0")
        aliases = tied(first)
        layers = [
            Layer(name, tuple(x.shape), x.dtype, log=name.endswith("running_var"))
            for name, x in first.items()
            if x.is_floating_point() and x.numel() > 1 and name not in aliases
        ]
        if not layers:
            raise InputError("the checkpoints hold no floating-point tensor with more than one element")
        known = {layer.name for layer in layers}
        constants = {
            name: x.detach().cpu().clone() for name, x in first.items() if name not in known and name not in aliases
        }
        blank = cls(layers, [], [], [], constants, aliases, list(first), token_size, slicing, normalisation)

        references = torch.zeros(len(layers), dtype=torch.float64)
        mean, std = torch.zeros_like(references), torch.zeros_like(references)
        sums = {name: torch.zeros_like(x, dtype=torch.float64) for name, x in constants.items()}
        reference = {layer.name: first[layer.name].detach().cpu().flatten() for layer in layers}
        varies = {layer.name: torch.zeros(layer.size, dtype=torch.bool) for layer in layers}
        broken: dict[str, int] = {}
        for i in range(len(checkpoints)):
            checkpoint = blank._checked(checkpoints[i], f"checkpoint {i}")
            for name in sums:
                sums[name] += checkpoint[name].cpu()
            for k, layer in enumerate(layers):
                x = checkpoint[layer.name].detach().flatten().cpu()
                if i and not varies[layer.name].all():
                    varies[layer.name] |= x != reference[layer.name]
                x = x.float()
                if layer.log:
                    scale = LOG_REFERENCE * float(x.mean()) or 1.0
                    x = torch.log(x / scale + LOG_OFFSET)
                    references[k] += scale
                deviation, average = torch.std_mean(x)
                if not torch.isfinite(deviation):
                    broken.setdefault(layer.name, i)
                mean[k] += average
                std[k] += deviation
        n = len(checkpoints)
        # Of one checkpoint, or of equal ones, nothing is known to vary or not: all of it is tokenised.
        alike = not any(which.any() for which in varies.values())
        kept = [k for k, layer in enumerate(layers) if alike or varies[layer.name].any()]
        for k in set(range(len(layers))) - set(kept):
            constants[layers[k].name] = first[layers[k].name].detach().cpu().clone()
        layers = [layers[k] for k in kept]
        for layer in layers:
            if layer.name in broken:
                raise InputError(_not_finite(layer.name, f"checkpoint {broken[layer.name]}"))
        references, mean, std = (x[kept] / n for x in (references, mean, std))
        still = {layer.name: ~varies[layer.name] for layer in layers if not alike and not varies[layer.name].all()}
        fixed = {name: (which, reference[name][which].clone()) for name, which in still.items()}
        for name, total in sums.items():
            if constants[name].is_floating_point():
                constants[name] = (total / n).to(constants[name].dtype)

        if normalisation == "layer":
            shift = [m.float().reshape(1) for m in mean]
            scale = [_usable(s, m).float().reshape(1) for s, m in zip(std, mean, strict=True)]
        else:
            shift, scale = _element_statistics(checkpoints, layers, references, per_element=normalisation == "element")
        return cls(
            layers,
            shift,
            scale,
            references.tolist(),
            constants,
            aliases,
            list(first),
            token_size,
            slicing,
            normalisation,
            fixed,
        )

    # ---- encoding and decoding ----------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, state_dict: Checkpoint) -> tuple[Tensor, Tensor]:
        """Turn a state dict into tokens (L, D) float32, zero where padded, and their mask (L, D), true for real values.

        The mask is one tensor shared by all calls: do not write to it. Half-precision tensors are accepted.
        Raises `InputError` for a missing, extra, reshaped or non-finite tensor, and where a value that never varied in
        the zoo is another one here, since `decode` would return that of the zoo.
        """
        state_dict = self._checked(state_dict, "the state dict")
        self._check_constant(state_dict)
        # torch.empty and zeros only in the padding: a full zero fill would cost another pass over the tokens.
        flat = torch.empty(self.num_tokens * self.token_size)
        flat.view(self.num_tokens, self.token_size)[self.token_lengths < self.token_size] = 0.0
        for k, (layer, segment) in enumerate(zip(self.layers, self.segments, strict=True)):
            x = self._transformed(state_dict[layer.name], k)
            total = 0.0
            inverse = 1 / self.scale[k]
            for (target, values), (_, shift), (_, factor) in zip(
                segment.pieces(flat, x), segment.pieces(flat, self.shift[k]), segment.pieces(flat, inverse), strict=True
            ):
                torch.sub(values, shift, out=target)
                total += float(target.mul_(factor).sum())
            if total != total or abs(total) == float("inf"):
                raise InputError(_not_finite(layer.name, "the state dict"))
        return flat.view(self.num_tokens, self.token_size), self.mask

    @torch.no_grad()
    def encode_rows(self, state_dict: Checkpoint, rows: Tensor) -> Tensor:
        """The tokens `rows` (R,) int64 of `encode`, as (R, D): no other value of the state dict is read.

        A state dict that is mapped from a file is thereby read in these places only. Raises `InputError` as `encode`.
        """
        state_dict = self._checked(state_dict, "the state dict")
        tokens = torch.zeros(len(rows), self.token_size)
        starts = torch.tensor([segment.offset for segment in self.segments])
        for token, row in zip(tokens, rows.tolist(), strict=True):
            begin, end = row * self.token_size, (row + 1) * self.token_size
            first = max(int(torch.searchsorted(starts, begin, right=True)) - 1, 0)
            for k in range(first, int(torch.searchsorted(starts, end))):
                segment, layer = self.segments[k], self.layers[k]
                # The token's first value that this layer may hold, and where it lies in the layer's runs.
                start = max(begin, segment.offset)
                piece, inside = divmod(start - segment.offset, segment.stride)
                source = piece * segment.run + inside
                stop = min(source + end - start, (piece + 1) * segment.run, segment.size)
                if source >= stop:
                    continue
                shift, scale = (x if len(x) == 1 else x[source:stop] for x in (self.shift[k], self.scale[k]))
                values = self._transformed(state_dict[layer.name].reshape(-1)[source:stop], k)
                target = token[start - begin : start - begin + stop - source]
                torch.sub(values, shift, out=target).mul_(1 / scale)
                if not target.isfinite().all():
                    raise InputError(_not_finite(layer.name, "the state dict"))
        return tokens

    @torch.no_grad()
    def decode(self, tokens: Tensor, reuse: bool = False) -> dict[str, Tensor]:
        """Turn tokens (L, D) into a state dict in the zoo's order, shapes and types; the padding is ignored.

        With `reuse` the tokens' own memory becomes the state dict's wherever a layer lies in one piece ("layer" and
        "flatten" slicing): a large network then needs no second copy, and the tokens are lost.
        Raises `InputError` where the shape is not (L, D).
        """
        if tuple(tokens.shape) != (self.num_tokens, self.token_size):
            raise InputError(
                f"expected tokens of shape {(self.num_tokens, self.token_size)}, not {tuple(tokens.shape)}; "
                "decode with the tokenizer that the generator was trained with"
            )
        flat = tokens.detach().float().contiguous().view(-1)
        state_dict = dict.fromkeys(self.names)
        state_dict.update({name: x.to(tokens.device, copy=True) for name, x in self.constants.items()})
        for k, (layer, segment) in enumerate(zip(self.layers, self.segments, strict=True)):
            if reuse and segment.whole:
                x = flat[segment.offset : segment.offset + segment.size]
            else:
                x = torch.empty(layer.size, device=flat.device)
            shift, scale = self.shift[k].to(flat.device), self.scale[k].to(flat.device)
            for (source, target), (_, offset), (_, factor) in zip(
                segment.pieces(flat, x), segment.pieces(flat, shift), segment.pieces(flat, scale), strict=True
            ):
                torch.addcmul(offset, source, factor, out=target)
            if layer.log:
                # A generated variance must stay positive, or the network divides by the root of a negative number.
                x.exp_().sub_(LOG_OFFSET).clamp_(min=1e-6).mul_(self.log_reference[k])
            x = x.to(layer.dtype)
            if layer.name in self.fixed:
                which, values = self.fixed[layer.name]
                x[which.to(x.device)] = values.to(x.device)
            state_dict[layer.name] = x.view(layer.shape)
        for name, source in self.aliases.items():
            state_dict[name] = state_dict[source]
        return state_dict

    def _transformed(self, x: Tensor, k: int) -> Tensor:
        x = x.detach().float().flatten().cpu()
        return torch.log(x / self.log_reference[k] + LOG_OFFSET) if self.layers[k].log else x

    def _checked(self, state_dict: Checkpoint, what: str) -> Checkpoint:
        """Return `state_dict` when its names and shapes fit; tied names may be absent, as in safetensors files."""
        check_state_dict(state_dict, what)
        expected = {layer.name: layer.shape for layer in self.layers}
        expected |= {name: tuple(x.shape) for name, x in self.constants.items()}
        if missing := [name for name in expected if name not in state_dict]:
            raise InputError(
                f"{what} lacks the tensor {missing[0]!r} ({len(missing)} missing); is it this architecture?"
            )
        if extra := [name for name in state_dict if name not in expected and name not in self.aliases]:
            raise InputError(f"{what} has an extra tensor {extra[0]!r} ({len(extra)} extra); is it this architecture?")
        for name, shape in expected.items():
            if tuple(state_dict[name].shape) != shape:
                raise InputError(f"{what}: {name!r} has shape {tuple(state_dict[name].shape)}, expected {shape}")
        for name, constant in self.constants.items():
            # A whole layer that never varies may hold what it likes, such as a mask's -inf.
            if constant.numel() == 1 and not torch.isfinite(state_dict[name]).all():
                raise InputError(_not_finite(name, what))
        for name, source in self.aliases.items():
            if name in state_dict and not torch.equal(state_dict[name], state_dict[source]):
                raise InputError(f"{what}: {name!r} and {source!r} are tied in this architecture but differ here")
        return state_dict

    def _check_constant(self, state_dict: Checkpoint) -> None:
        layers = {name: x for name, x in self.constants.items() if x.is_floating_point() and x.numel() > 1}
        same = [torch.equal(state_dict[name].cpu(), x) for name, x in layers.items()]
        same += [
            torch.equal(state_dict[name].detach().cpu().flatten()[which], values)
            for name, (which, values) in self.fixed.items()
        ]
        for name, equal in zip([*layers, *self.fixed], same, strict=True):
            if not equal:
                raise InputError(
                    f"the state dict: {name!r} differs where no checkpoint of the zoo did; fit a tokenizer on a zoo "
                    "that holds this network, too"
                )

    # ---- layout -------------------------------------------------------------------------------------------------

    @property
    def num_parameters(self) -> int:
        """How many values are tokenised: BatchNorm's running statistics too, but no integers and no tensor of one."""
        return sum(layer.size for layer in self.layers)

    @cached_property
    def mask(self) -> Tensor:
        """(L, D) bool: true for real values, false for padding."""
        return torch.arange(self.token_size) < self.token_lengths[:, None]

    @cached_property
    def token_lengths(self) -> Tensor:
        """(L,) int64: how many real values each token holds; they come first, the padding after them."""
        ends = torch.zeros(self.num_tokens, dtype=torch.int64)
        for segment in self.segments:
            # A run of values covers whole tokens and then a part of one.
            starts = range(
                segment.offset, segment.offset + -(-segment.size // segment.run) * segment.stride, segment.stride
            )
            left = segment.size
            for start in starts:
                run = min(segment.run, left)
                left -= run
                row = start // self.token_size
                last, end = divmod(start + run, self.token_size)
                ends[row:last] = self.token_size
                if end:
                    ends[last] = max(int(ends[last]), end)
        return ends

    @cached_property
    def positions(self) -> Tensor:
        """(L, 2) int64: for each token the index of its layer and its place within the layer.

        With "flatten" a token may hold several layers: its layer is 0 and its place counts through (one dimension).
        """
        if self.slicing == "flatten":
            return torch.stack((torch.zeros(self.num_tokens, dtype=torch.int64), torch.arange(self.num_tokens)), 1)
        starts = [segment.offset // self.token_size for segment in self.segments] + [self.num_tokens]
        counts = torch.tensor(starts).diff()
        layer = torch.repeat_interleave(torch.arange(len(self.layers)), counts)
        return torch.stack((layer, torch.arange(self.num_tokens) - torch.tensor(starts)[layer]), 1)

    # ---- files --------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the whole specification as one safetensors file, whole or not at all."""
        spec = {
            "token_size": self.token_size,
            "slicing": self.slicing,
            "normalisation": self.normalisation,
            "layers": [
                {"name": a.name, "shape": a.shape, "dtype": str(a.dtype).removeprefix("torch."), "log": a.log}
                for a in self.layers
            ],
            "aliases": self.aliases,
            "names": self.names,
        }
        tensors = {f"shift.{a.name}": x for a, x in zip(self.layers, self.shift, strict=True)}
        tensors |= {f"scale.{a.name}": x for a, x in zip(self.layers, self.scale, strict=True)}
        tensors |= {f"constant.{name}": x for name, x in self.constants.items()}
        tensors |= {f"fixed.{name}": values for name, (_, values) in self.fixed.items()}
        tensors |= {f"where.{name}": which for name, (which, _) in self.fixed.items()}
        tensors["log_reference"] = torch.tensor(self.log_reference, dtype=torch.float64)
        save_tensors(path, tensors, {"spec": json.dumps(spec)})

    @classmethod
    def load(cls, path: str | Path) -> "ParameterTokenizer":
        """Read a tokenizer that `save` wrote. Raises `InputError` for an absent or truncated file."""
        try:
            with safe_open(path, "pt") as file:
                spec = json.loads(file.metadata()["spec"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except (OSError, SafetensorError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a readable tokenizer file ({error}); copy or save it again") from None
        layers = [Layer(a["name"], tuple(a["shape"]), getattr(torch, a["dtype"]), a["log"]) for a in spec["layers"]]
        return cls(
            layers,
            [tensors[f"shift.{a.name}"] for a in layers],
            [tensors[f"scale.{a.name}"] for a in layers],
            tensors["log_reference"].tolist(),
            {name.removeprefix("constant."): x for name, x in tensors.items() if name.startswith("constant.")},
            spec["aliases"],
            spec["names"],
            spec["token_size"],
            spec["slicing"],
            spec["normalisation"],
            {
                a.name: (tensors[f"where.{a.name}"], tensors[f"fixed.{a.name}"])
                for a in layers
                if f"fixed.{a.name}" in tensors
            },
        )


def _lay_out(layers: Sequence[Layer], token_size: int, slicing: str) -> tuple[list[Segment], int]:
    """Place each layer in the flattened tokens; returns the segments and the number of tokens L."""
    segments, offset = [], 0
    for layer in layers:
        channel = layer.size // layer.shape[0]
        if slicing == "channel" and channel <= token_size:
            run = token_size // channel * channel
        elif slicing == "channel":
            run = channel
        else:
            run = layer.size
        stride = -(-run // token_size) * token_size
        segments.append(Segment(offset, layer.size, run, stride))
        offset += layer.size if slicing == "flatten" else -(-layer.size // run) * stride
    return segments, -(-offset // token_size)


def _element_statistics(
    checkpoints: Sequence[Checkpoint], layers: Sequence[Layer], references: Tensor, per_element: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Mean of every value over the zoo, and the deviation from it: by value, or pooled over the layer."""
    mean = [torch.zeros(layer.size) for layer in layers]
    squares = [torch.zeros(layer.size) for layer in layers]
    n = len(checkpoints)
    for i in range(n):
        checkpoint = checkpoints[i]
        for k, layer in enumerate(layers):
            x = checkpoint[layer.name].detach().float().flatten().cpu()
            if layer.log:
                x = torch.log(x / references[k] + LOG_OFFSET).float()
            # Welford's update: exact to rounding where a sum of squares would cancel.
            delta = x - mean[k]
            mean[k] += delta / (i + 1)
            squares[k].addcmul_(delta, x - mean[k])
    variance = [s / max(n - 1, 1) for s in squares]
    if not per_element:
        variance = [v.double().mean().float().reshape(1) for v in variance]
    return mean, [_usable(v.sqrt(), m) for v, m in zip(variance, mean, strict=True)]


def _usable(deviation: Tensor, mean: Tensor) -> Tensor:
    """The deviation, or 1 where it is no more than rounding, which dividing by it would blow up."""
    return torch.where(deviation <= 1e-7 * mean.abs().amax(), torch.ones_like(deviation), deviation)


def _not_finite(name: str, what: str) -> str:
    return f"{what}: {name!r} holds NaN or infinity; leave this checkpoint out"
