"""State dict <-> tokens: per-layer normalisation, slicing into tokens of one size, padding mask, positions.

Shapes: L tokens, D token size. A *layer* is one tensor of the state dict.
Source: RPG paper v1, section 2.2, equations 1 and 2.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence, Sized
from functools import cached_property
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rpglib.errors import InputError, choice
from rpglib.runtime.arguments import dense, flag, takes
from rpglib.runtime.arguments import path as a_path
from rpglib.runtime.files import save_tensors
from rpglib.runtime.state_dicts import COUNTER, Checkpoint, check_state_dict, is_variance, plain, same, tied
from rpglib.tokenizer.layout import LOG_OFFSET, SLICINGS, Layer, lay_out
from rpglib.tokenizer.statistics import (
    CARRIED,
    CONTRAST,
    LEAST,
    NORMALISATIONS,
    TOKENS,
    Survey,
    beyond,
    negative,
    not_finite,
    statistics,
)

LARGEST_SIZE = 2**24
_UNREADABLE = (
    OSError,
    SafetensorError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)
"""What reading ends in where an edited, damaged or foreign specification lacks something, or holds something else."""


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
    single values (pruned weights) are put back by `decode`. Whole numbers and truth values are never tokenised, so they
    may not vary; BatchNorm's counters may, as no answer depends on them, and `decode` returns the first checkpoint's.
    Tied tensors are tokenised once and tied again in what `decode` returns.

    All else comes back to rounding of its type beside the tensor's largest value, or is refused. Ours, too: tensors of
    one element are normalised over the zoo; layers that float32 arithmetic does not bear (values near its limits,
    checkpoints or variances many times each other, float64) are computed in float64, from zero instead of the mean or
    through a log with a smaller offset where that is what they need.
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
        if not isinstance(token_size, int) or isinstance(token_size, bool) or not 1 <= token_size <= LARGEST_SIZE:
            raise InputError(
                f"token_size must be a positive whole number up to {LARGEST_SIZE}, not {str(token_size)[:60]!r}"
            )
        self.layers, self.names = tuple(layers), tuple(names)
        self.shift, self.scale, self.log_reference = list(shift), list(scale), list(log_reference)
        self.constants, self.aliases, self.fixed = dict(constants), dict(aliases), dict(fixed or {})
        self.token_size = token_size
        self.slicing = choice("slicing", slicing, SLICINGS)
        self.normalisation = choice("normalisation", normalisation, NORMALISATIONS)
        self.segments, self.num_tokens = lay_out(self.layers, token_size, slicing)

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
        in the released code. Raises `InputError` for an empty zoo, where names, shapes, types or values do not fit, and
        for what would not come back: whole numbers or float64 that vary, NaN, and infinity where it is not in all.
        """
        choice("normalisation", normalisation, NORMALISATIONS)
        if isinstance(checkpoints, Mapping):
            raise InputError("a tokenizer is fitted on a list of state dicts, not on one; give [state_dict]")
        if (
            not isinstance(checkpoints, Sized)
            or not hasattr(checkpoints, "__getitem__")
            or isinstance(checkpoints, str | Tensor)
        ):
            kind = type(checkpoints).__name__
            raise InputError(f"a tokenizer is fitted on a list of state dicts or on a zoo, not on a {kind}")
        if len(checkpoints) == 0:
            raise InputError("cannot fit a tokenizer on no checkpoints; collect at least one")
        first = checkpoints[0]
        check_state_dict(first, "checkpoint 0")
        aliases = tied(first)
        layers = [
            Layer(name, tuple(x.shape), x.dtype, log=is_variance(name))
            for name, x in first.items()
            if x.is_floating_point() and x.numel() and name not in aliases
        ]
        surveys = {layer.name: Survey(layer, plain(first[layer.name]).flatten()) for layer in layers}
        constants = {name: plain(x).clone() for name, x in first.items() if name not in surveys and name not in aliases}
        blank = cls(layers, [], [], [], constants, aliases, list(first), token_size, slicing, normalisation)
        for i in range(len(checkpoints)):
            checkpoint = blank._checked(checkpoints[i], f"checkpoint {i}")
            for name in blank._differing(checkpoint):
                kind = str(constants[name].dtype).removeprefix("torch.")
                raise InputError(
                    f"checkpoint {i}: {name!r} differs from checkpoint 0's, and {kind} is not generated; convert it to "
                    f"a float type, or leave it out (Zoo.read(..., exclude={name!r}))"
                )
            for name, survey in surveys.items():
                survey.see(plain(checkpoint[name]).flatten(), i)

        # Of one checkpoint, or of equal ones, nothing is known to vary or not: all that can be is tokenised.
        alike = not any(survey.varies.any() for survey in surveys.values())
        kept = []
        for survey in surveys.values():
            if (survey.layer.size > 1 and not survey.infinite) if alike else survey.varies.any():
                kept.append(survey)
            else:
                constants[survey.layer.name] = survey.first.view(survey.layer.shape).clone()
        if not kept:
            raise InputError(
                "the checkpoints hold no floating-point tensor with more than one element, or one that varies"
            )
        for survey in kept:
            survey.settle(len(checkpoints))
        shift, scale = statistics(checkpoints, kept, normalisation)
        still = [survey for survey in kept if not alike and not survey.varies.all()]
        fixed = {survey.layer.name: (~survey.varies, survey.first[~survey.varies]) for survey in still}
        return cls(
            [survey.layer for survey in kept],
            shift,
            scale,
            [survey.reference for survey in kept],
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

        The mask is one tensor shared by all calls: do not write to it.
        Raises `InputError` for a missing, extra, reshaped or non-finite tensor or one of another type, and for what
        `decode` would not return: another value where none varied in the zoo, values too small or large beside its own.
        """
        state_dict = self._checked(state_dict, "the state dict")
        self._check_constants(state_dict)
        # torch.empty and zeros only in the padding: a full zero fill would cost another pass over the tokens.
        flat = torch.empty(self.num_tokens * self.token_size, dtype=torch.float32)
        flat.view(self.num_tokens, self.token_size)[self.token_lengths < self.token_size] = 0.0
        for k, (layer, segment) in enumerate(zip(self.layers, self.segments, strict=True)):
            x = self._values(state_dict[layer.name].flatten(), k)
            if self._exact(k):
                tokens = ((x - self.shift[k]) / self.scale[k]).float()
                if layer.dtype not in CARRIED and not (tokens.double() * self.scale[k]).equal(x):
                    raise InputError(f"the state dict: {beyond(layer)}")
                for target, values in segment.pieces(flat, tokens):
                    target.copy_(values)
                continue
            inverse = 1 / self.scale[k]
            for (target, values), (_, shift), (_, factor) in zip(
                segment.pieces(flat, x), segment.pieces(flat, self.shift[k]), segment.pieces(flat, inverse), strict=True
            ):
                torch.sub(values, shift, out=target).mul_(factor)
        return flat.view(self.num_tokens, self.token_size), self.mask

    @takes(constants=flag)
    @torch.no_grad()
    def encode_rows(self, state_dict: Checkpoint, rows: Tensor, constants: bool = True) -> Tensor:
        """The tokens `rows` (R,) int64 of `encode`, as (R, D): of what is generated no other value is read.

        A state dict that is mapped from a file is thereby read in these places only. constants: whether what is not
        generated is compared with the zoo's, too; once for each state dict is enough. Raises `InputError` as `encode`,
        as far as these values tell.
        """
        state_dict = self._checked(state_dict, "the state dict")
        if constants:
            self._check_constants(state_dict)
        whole = isinstance(dense("rows", rows), Tensor) and rows.ndim == 1 and rows.dtype == torch.int64
        if not whole or (len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < self.num_tokens):
            raise InputError(f"rows are whole numbers (int64) from 0 to {self.num_tokens - 1}, those of tokens")
        tokens = torch.zeros(len(rows), self.token_size, dtype=torch.float32)
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
                values = self._values(state_dict[layer.name].reshape(-1)[source:stop], k, slice(source, stop))
                target = token[start - begin : start - begin + stop - source]
                if self._exact(k):
                    target.copy_((values - shift) / scale)
                    if layer.dtype not in CARRIED and not (target.double() * scale).equal(values):
                        raise InputError(f"the state dict: {beyond(layer)}")
                else:
                    torch.sub(values, shift, out=target).mul_(1 / scale)
        return tokens

    @takes(reuse=flag)
    @torch.no_grad()
    def decode(self, tokens: Tensor, reuse: bool = False) -> dict[str, Tensor]:
        """Turn tokens (L, D) into a state dict in the zoo's order, shapes and types; the padding is ignored.

        With `reuse` the tokens' own memory becomes the state dict's wherever a layer lies in one piece ("layer" and
        "flatten" slicing): a large network then needs no second copy, and the tokens are lost.
        Raises `InputError` where the shape is not (L, D).
        """
        if not isinstance(dense("tokens", tokens), Tensor) or not tokens.is_floating_point():
            raise InputError("tokens are a tensor of floating-point numbers; give what encode or a generator returns")
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
                x = torch.empty(layer.size, dtype=torch.float32, device=flat.device)
            shift, scale = self.shift[k].to(flat.device), self.scale[k].to(flat.device)
            if self._exact(k):
                for source, target in segment.pieces(flat, x):
                    target.copy_(source)
                x = shift + x.double() * scale
                if layer.log:
                    x.exp_().sub_(layer.offset)
                    # The zoo holds nothing between zero and twice this.
                    x.masked_fill_(x < layer.offset / 2, 0.0).mul_(self.log_reference[k])
            else:
                for (source, target), (_, offset), (_, factor) in zip(
                    segment.pieces(flat, x), segment.pieces(flat, shift), segment.pieces(flat, scale), strict=True
                ):
                    torch.addcmul(offset, source, factor, out=target)
                if layer.log:
                    # A generated variance must stay positive, or the network divides by the root of a negative number.
                    x.exp_().sub_(LOG_OFFSET).clamp_(min=1e-6).mul_(self.log_reference[k])
            if x.dtype != layer.dtype:
                # What rounding, or a generator, takes beyond the type's largest number stays finite.
                kind, own = torch.finfo(layer.dtype), torch.finfo(x.dtype)
                x = x.clamp_(max(kind.min, own.min), min(kind.max, own.max))
            if layer.name in self.fixed:
                which, values = self.fixed[layer.name]
                x[which.to(x.device)] = values.to(x)
            x = x.to(layer.dtype)
            state_dict[layer.name] = x.view(layer.shape)
        for name, source in self.aliases.items():
            state_dict[name] = state_dict[source]
        return state_dict

    def decode_together(self, tokens: Tensor) -> dict[str, Tensor]:
        """Turn the tokens (N, L, D) of N networks into name -> (N, ...): `decode` to rounding, with its gradient.

        What is not generated is the same in all of them, and has no gradient. Raises `InputError` as `decode`.
        """
        if not isinstance(dense("tokens", tokens), Tensor) or not tokens.is_floating_point():
            raise InputError("tokens are a tensor of floating-point numbers; give what encode or a generator returns")
        if tokens.ndim != 3 or tuple(tokens.shape[1:]) != (self.num_tokens, self.token_size):
            raise InputError(
                f"expected tokens of shape (N, {self.num_tokens}, {self.token_size}), not {tuple(tokens.shape)}; "
                "decode with the tokenizer that the generator was trained with"
            )
        n, flat = len(tokens), tokens.float().flatten(1)
        networks = dict.fromkeys(self.names)
        networks.update({name: x.to(flat.device).expand(n, *x.shape) for name, x in self.constants.items()})
        for k, (layer, segment) in enumerate(zip(self.layers, self.segments, strict=True)):
            shift, scale = self.shift[k].to(flat.device), self.scale[k].to(flat.device)
            x = shift + segment.values(flat).to(shift.dtype) * scale
            if layer.log:
                x = x.exp() - layer.offset
                # As in `decode`: the zoo holds nothing between zero and twice this, and a variance must stay positive.
                x = x.masked_fill(x < layer.offset / 2, 0.0) if self._exact(k) else x.clamp(min=1e-6)
                x = x * self.log_reference[k]
            if x.dtype != layer.dtype:
                kind, own = torch.finfo(layer.dtype), torch.finfo(x.dtype)
                x = x.clamp(max(kind.min, own.min), min(kind.max, own.max))
            if layer.name in self.fixed:
                which, values = (part.to(x.device) for part in self.fixed[layer.name])
                x = x.masked_scatter(which, values.to(x.dtype).repeat(n))
            networks[layer.name] = x.to(layer.dtype).view(n, *layer.shape)
        for name, source in self.aliases.items():
            networks[name] = networks[source]
        return networks

    def _exact(self, k: int) -> bool:
        """Whether this layer is computed in float64."""
        return self.shift[k].dtype == torch.float64

    def _values(self, x: Tensor, k: int, part: slice | None = None) -> Tensor:
        """The flat layer x, or this part of it, before it is shifted; raises `InputError` where it would not come back.

        Whether a layer is too small beside the zoo's can only be told of the whole.
        """
        layer, x = self.layers[k], plain(x).to(self.shift[k].dtype)
        if self._exact(k) and layer.name in self.fixed:
            # Infinity that never varies: `decode` puts it back.
            x = x.masked_fill(self.fixed[layer.name][0][part or slice(None)] & x.isinf(), 0.0)
        least, most = self._bounds[k]
        # The sum of squares bounds the largest value on both sides, in one pass; infinity and NaN are beyond any bound.
        if not layer.log and (least if part is None else 0.0) ** 2 * len(x) <= float(x.dot(x)) <= most**2:
            return x
        low, high = float(x.amin()), float(x.amax())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InputError(not_finite(layer.name, "the state dict"))
        if layer.log:
            if low < 0:
                raise InputError(negative(layer.name, "the state dict"))
            small = low < least and not (self._exact(k) and x[x < least].eq(0).all())
        else:
            small = part is None and 0 < max(-low, high) < least
        if small or max(-low, high) > most:
            raise InputError(
                f"the state dict: {layer.name!r} holds values too {'small' if small else 'large'} to come back beside "
                "those of the zoo; fit a tokenizer on a zoo that holds this network, too"
            )
        return torch.log(x / self.log_reference[k] + layer.offset) if layer.log else x

    @cached_property
    def _bounds(self) -> list[tuple[float, float]]:
        """How small the least variance or the largest value of each layer may be, and how large any."""
        found = []
        for k, layer in enumerate(self.layers):
            if layer.log:
                found.append(((layer.offset / 2 if self._exact(k) else LEAST) * self.log_reference[k], math.inf))
                continue
            shift, (low, high) = float(self.shift[k].abs().amax()), self.scale[k].double().aminmax()
            found.append((max(shift / CONTRAST, TOKENS[0] * float(high)), TOKENS[1] * float(low) - shift))
        return found

    def _checked(self, state_dict: Checkpoint, what: str) -> Checkpoint:
        """Return `state_dict` when names, shapes and types fit; tied names may be absent, as in safetensors files."""
        check_state_dict(state_dict, what)
        expected = {layer.name: (layer.shape, layer.dtype) for layer in self.layers}
        expected |= {name: (tuple(x.shape), x.dtype) for name, x in self.constants.items()}
        if missing := [name for name in expected if name not in state_dict]:
            raise InputError(
                f"{what} lacks the tensor {missing[0]!r} ({len(missing)} missing); is it this architecture?"
            )
        if extra := [name for name in state_dict if name not in expected and name not in self.aliases]:
            raise InputError(f"{what} has an extra tensor {extra[0]!r} ({len(extra)} extra); is it this architecture?")
        for name, (shape, dtype) in expected.items():
            x = state_dict[name]
            if tuple(x.shape) != shape:
                raise InputError(f"{what}: {name!r} has shape {tuple(x.shape)}, expected {shape}")
            if x.dtype != dtype:
                raise InputError(f"{what}: {name!r} is of {x.dtype}, expected {dtype}; convert it with .to({dtype})")
        for name, source in self.aliases.items():
            if name in state_dict and not same(state_dict[name], state_dict[source]):
                raise InputError(
                    f"{what}: {name!r} and {source!r} are tied in the first checkpoint but differ here; are they two "
                    "tensors, clone one there"
                )
        return state_dict

    def _differing(self, state_dict: Checkpoint) -> Iterator[str]:
        """The names of tensors with another value than the zoo's where none varied, BatchNorm's counters aside."""
        for name, x in self.constants.items():
            counts = name.endswith(COUNTER) and not x.is_floating_point()
            if not counts and not same(plain(state_dict[name]), x):
                yield name
        for name, (which, values) in self.fixed.items():
            if not same(plain(state_dict[name]).flatten()[which], values):
                yield name

    def _check_constants(self, state_dict: Checkpoint) -> None:
        for name in self._differing(state_dict):
            x = plain(state_dict[name])
            if x.is_floating_point() and x.float().isnan().any():
                raise InputError(not_finite(name, "the state dict"))
            raise InputError(
                f"the state dict: {name!r} differs where no checkpoint of the zoo did; fit a tokenizer on a zoo "
                "that holds this network, too"
            )

    # ---- layout -------------------------------------------------------------------------------------------------

    @property
    def num_parameters(self) -> int:
        """How many values are tokenised: BatchNorm's running statistics too, but no integers and no constant layers."""
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

    @takes(path=a_path)
    def save(self, path: str | Path) -> None:
        """Write the whole specification as one safetensors file, whole or not at all."""
        spec = {
            "token_size": self.token_size,
            "slicing": self.slicing,
            "normalisation": self.normalisation,
            "layers": [
                {"name": a.name, "shape": a.shape, "dtype": str(a.dtype).removeprefix("torch."), "log": a.log}
                | ({} if a.offset == LOG_OFFSET else {"offset": a.offset})
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
        """Read a tokenizer that `save` wrote. Raises `InputError` for an absent, truncated or foreign file."""
        if not isinstance(path, str | PathLike):
            raise InputError(f"a tokenizer is read from a file; give its path, not a {type(path).__name__}")
        try:
            with safe_open(path, "pt") as file:
                spec = json.loads(file.metadata()["spec"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            return cls._from_file(spec, tensors)
        except _UNREADABLE as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{path} is not a readable tokenizer file ({reason}); copy or save it again") from None

    @classmethod
    def _from_file(cls, spec: Mapping, tensors: Mapping[str, Tensor]) -> "ParameterTokenizer":
        layers = [
            Layer(a["name"], torch.Size(a["shape"]), getattr(torch, a["dtype"]), a["log"], a.get("offset", LOG_OFFSET))
            for a in spec["layers"]
        ]
        made = cls(
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
        made._check_itself()
        return made

    def _check_itself(self) -> None:
        """Raise `InputError` where the parts of a specification do not fit together."""
        own = [layer.name for layer in self.layers] + list(self.constants)
        faults = [
            sorted([*own, *self.aliases]) != sorted(self.names) or not set(self.aliases.values()) <= set(own),
            len(self.log_reference) != len(self.layers),
            *(x.dtype not in (torch.float32, torch.float64) for x in (*self.shift, *self.scale)),
            *(
                x.shape not in ((1,), (layer.size,))
                for statistic in (self.shift, self.scale)
                for layer, x in zip(self.layers, statistic, strict=True)
            ),
            *(not layer.dtype.is_floating_point or layer.size < 1 for layer in self.layers),
            *(not isinstance(layer.offset, float) or not 0 < layer.offset <= LOG_OFFSET for layer in self.layers),
        ]
        for layer in self.layers:
            if layer.name in self.fixed:
                which, values = self.fixed[layer.name]
                right = which.dtype == torch.bool and which.shape == (layer.size,) and values.dtype == layer.dtype
                faults.append(not right or values.shape != (int(which.sum()),))
        if any(faults):
            raise InputError("its parts do not fit together")
