"""RPG: the tokenizer, the recurrent model and the denoiser joined; state dicts come out of `RPG.generate`.

Shapes: N networks, L tokens, D token size, H width, P permutation states, T diffusion steps.
"""

import copy
import inspect
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache, partial
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from rpglib.errors import InputError, choice, shown, whole_number
from rpglib.model.card import card as model_card
from rpglib.model.card import is_card
from rpglib.model.config import RPGConfig
from rpglib.model.denoiser import Denoiser
from rpglib.model.folded import folded
from rpglib.model.native.kernel import NativeDenoiser, in_threads
from rpglib.model.positions import position_embedding
from rpglib.model.recurrent import RecurrentModel
from rpglib.model.samplers import SAMPLERS, timesteps
from rpglib.runtime.arguments import dense, each, flag, network, number, of, takes, whole
from rpglib.runtime.bundles import Bundle, read_bundle, write_bundle
from rpglib.runtime.distributed import each as each_part
from rpglib.runtime.distributed import shared
from rpglib.runtime.files import atomic, save_tensors, sha256
from rpglib.runtime.hardware import fp32, memory, pick, uses_bf16
from rpglib.runtime.hub import check_name, push
from rpglib.runtime.modes import evaluating
from rpglib.runtime.randomness import stream
from rpglib.runtime.state_dicts import apart
from rpglib.runtime.threads import one_core_threads
from rpglib.tasks import check_tasks
from rpglib.tasks.conditions import check_conditions
from rpglib.tokenizer import ParameterTokenizer

INFERENCES = ("sequential", "partial", "full")

PIECE = 256
"""Prototypes of so many tokens at least are computed in one go: with fewer the recurrent model's matrices idle."""

MOST_NETWORKS = 2**20
"""In one call; more are made with `first`."""
MOST_SCALE = 1000.0
"""Of guidance and of noise."""
DRAWN_TOGETHER = 2**18
"""So many values of noise, a few milliseconds of one core, are worth several threads."""

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.safetensors"
CARD = "README.md"


class RPG(nn.Module):
    """A generator of network weights, for checkpoints of the one architecture that `tokenizer` was fitted on.

    Raises `InputError` where the tokenizer's token size differs from the configuration's, or the width cannot carry it,
    and where the weights do not fit into memory.
    """

    @takes(config=of(RPGConfig), tokenizer=of(ParameterTokenizer))
    def __init__(self, config: RPGConfig, tokenizer: ParameterTokenizer):
        super().__init__()
        _check_size(config, tokenizer)
        # Where another device is the default, its memory is not this one.
        if torch.get_default_device().type == "cpu":
            if 4 * sum(map(math.prod, _shapes(config, tokenizer.num_tokens).values())) > memory():
                raise InputError(TOO_LARGE)
        kind = "2d" if config.position == "learned" else config.position
        self._build(config, position_embedding(tokenizer.positions, config.widths[0], kind), tokenizer)

    @classmethod
    def with_positions(cls, config: RPGConfig, position: Tensor, tokenizer: ParameterTokenizer | None = None) -> "RPG":
        """A generator whose tokens have these position embeddings (L, H), whatever the tokenizer's layout.

        Without a tokenizer it yields prototypes and tokens, not state dicts. Raises `InputError` for a tokenizer of
        other tokens.
        """
        if tokenizer is not None:
            _check_size(config, tokenizer)
            if tokenizer.num_tokens != len(position):
                raise InputError(
                    f"the tokenizer cuts {tokenizer.num_tokens} tokens, the generator writes {len(position)}; give the "
                    "tokenizer that it was trained with"
                )
        model = cls.__new__(cls)
        nn.Module.__init__(model)
        model._build(config, position, tokenizer)
        return model

    def _build(self, config: RPGConfig, position: Tensor, tokenizer: ParameterTokenizer | None) -> None:
        self.config, self.tokenizer = config, tokenizer
        try:
            with fp32():
                self._build_parts(config, position)
        except (RuntimeError, MemoryError) as error:
            # How PyTorch reports sizes that no memory holds, and those whose product no number does.
            if not any(word in str(error) for word in ("alloc", "overflow", "memory")):
                raise
            raise InputError(TOO_LARGE) from None

    def _build_parts(self, config: RPGConfig, position: Tensor) -> None:
        self.recurrent = RecurrentModel(position, config)
        self.denoiser = Denoiser(config.token_size, config.widths[-1], config.channels, config.kernel_size)
        self.skip = nn.Linear(config.widths[-1], config.token_size) if config.prototype_skip else None
        if self.skip is not None:
            # The denoiser corrects the skip, so it starts by changing nothing.
            nn.init.zeros_(self.denoiser.last.weight)
            nn.init.zeros_(self.denoiser.last.bias)

    @property
    def device(self) -> torch.device:
        return self.recurrent.position.device

    def offload(self, device: str | torch.device) -> "RPG":
        """Generate on `device` from now on, the recurrent layers' weights staying in the computer's memory.

        A layer's weights are on the device only while it computes prototypes: with the preset "large" 2.6 billion
        parameters less are there while tokens are written. They are copied once for every network, or once for every
        `PIECE` tokens where the fused kernels are absent. A generator that was offloaded only generates: it can neither
        be trained nor saved nor moved. Returns the generator itself.
        """
        # Only needed here, and slow to import.
        from accelerate import cpu_offload

        device = pick(device)
        self.float()
        layers, self.recurrent.layers = self.recurrent.layers, nn.ModuleList()
        self.to(device)
        self.recurrent.layers = layers
        for layer in layers:
            # As a whole: Mamba-2 reads the weights of its parts without calling these.
            cpu_offload(layer, device, preload_module_classes=[type(layer).__name__])
        return self

    # ---- training -----------------------------------------------------------------------------------------------

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor,
        permutation: Tensor | None = None,
        task: Tensor | None = None,
        *,
        t: Tensor,
        noise: Tensor,
        chosen: Tensor | None = None,
        weighting: str = "value",
        prototype_loss: float = 0.0,
        diffusion: bool = True,
        recompute: bool = False,
    ) -> Tensor:
        """The diffusion loss (paper v1, equation 5): mean squared error over the real values of some or all tokens.

        tokens (N, L, D), mask (L, D), permutation (N,) int64, task (N, told) as `RPGConfig.features` says it, chosen
        (B,) int64: which of the N x L tokens pass the denoiser, all by default. Where no others are wanted, tokens (B,
        D) may be only those. t (B,) int64 and noise (B, D), standard normal: at which diffusion step, and noised by
        what. weighting: "value" counts every value alike, "token" every token. prototype_loss: weight of the error,
        over all tokens (N, L, D), of what the prototype's linear skip alone says of the clean token. diffusion: False
        leaves a denoiser out that is at zero. recompute: what recurrent layers and denoiser blocks compute inside is
        not kept for the way back but computed again.
        """
        length = len(mask)
        n = next((len(x) for x in (permutation, task) if x is not None), tokens.shape[0] if tokens.ndim == 3 else 1)
        prototypes = self.recurrent(n, permutation, task, recompute).flatten(0, 1)
        clean, weights = tokens.flatten(0, -2), _weights(mask, weighting)
        loss, said = 0.0, None
        if prototype_loss:
            said = self.skip(prototypes)
            loss = prototype_loss * _mean((said.float().view_as(tokens) - tokens).square(), weights)
        if chosen is not None:
            weights = weights[chosen % length]
            # Without state and task one network's prototypes are everyone's.
            chosen = chosen % len(prototypes)
            clean, prototypes = clean[chosen] if tokens.ndim == 3 else clean, prototypes[chosen]
            said = said[chosen] if said is not None else None
        else:
            weights = weights.repeat(n, 1)
        schedule = self.config.schedule
        noisy = schedule.add_noise(clean, noise, t)
        output = self.denoiser(noisy, t, prototypes, recompute) if diffusion else torch.zeros_like(noisy)
        if self.skip is not None:
            output = output + (self.skip(prototypes) if said is None else said)
        target = schedule.target(clean, noise, t, self.config.prediction)
        return loss + _mean((output.float() - target).square(), weights)

    def written(
        self,
        permutation: Tensor | None = None,
        noise: Tensor | None = None,
        t: Tensor | None = None,
        task: Tensor | None = None,
        recompute: bool = False,
    ) -> Tensor:
        """Tokens (N, L, D) fp32 of networks of states (N,) or of weights over them (N, P), with their gradient.

        task (N, told): what they are for, as `RPGConfig.features` says it. recompute: as in `forward`.
        What the prototype's skip says of them; given t (N x L,) int64 and noise (N x L, D), what the denoiser makes of
        that at the diffusion steps t, noised so: its one-step estimate.
        """
        n = next((len(x) for x in (permutation, task) if x is not None), 1)
        prototypes = self.recurrent(n, permutation, task, recompute).flatten(0, 1)
        said = self.skip(prototypes).float()
        if noise is not None:
            # What lies beyond the real values is zero under its noise, as it is in `forward` and in sampling.
            clean = said * self.tokenizer.mask.to(said.device).repeat(len(said) // len(self.tokenizer.mask), 1)
            noisy = self.config.schedule.add_noise(clean, noise, t)
            said = said + self.denoiser(noisy, t, prototypes, recompute).float()
        return said.view(n, -1, self.config.token_size)

    # ---- generation ---------------------------------------------------------------------------------------------

    @takes(
        distributed=flag, guidance=number(-MOST_SCALE, MOST_SCALE), eta=number(0, 1), temperature=number(0, MOST_SCALE)
    )
    @torch.no_grad()
    def generate_tokens(
        self,
        n: int = 1,
        task: Sequence[int] | Tensor | None = None,
        *,
        condition: Mapping[str, float] | Sequence | Tensor | None = None,
        guidance: float = 1.0,
        permutation: Sequence[int] | None = None,
        mixture: Sequence[Sequence[float]] | Tensor | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        eta: float = 0.0,
        temperature: float = 1.0,
        inference: str = "partial",
        part: int = 256,
        seed: int = 0,
        first: int = 0,
        precision: str = "fp32",
        kernel: str = "auto",
        distributed: bool = False,
    ):
        """Yield the tokens (L, D) of `n` networks, one after the other; arguments as in `generate`."""
        sampler = choice("sampler", self.config.sampler if sampler is None else sampler, SAMPLERS)
        steps = min(self.config.sampling_steps, self.config.diffusion_steps) if steps is None else steps
        choice("inference mode", inference, INFERENCES)
        n, part = whole_number("n", n, 1, MOST_NETWORKS), whole_number("part", part, 1)
        seed, first = whole_number("seed", seed), whole_number("first", first, 0)
        model = self._in_fp32()
        if eta and sampler != "ddim":
            raise InputError(f"eta is of the sampler 'ddim', not of {sampler!r}; leave it at 0")
        told = self._told(task, condition, n)
        if guided := guidance != 1:
            if not self.config.condition_dropout:
                raise InputError("guidance needs a generator that was trained with RPGConfig.condition_dropout")
            left_out = self.config.left_out(n)
        if mixture is None:
            permutation = self.permutation_rows(permutation, n, seed, first)
        elif permutation is None:
            permutation = self.mixture_rows(mixture, n)
        else:
            raise InputError("a network is of one permutation state or of a mixture; give permutation= or mixture=")
        alike = _first_alike(n, permutation, told)
        length, size = len(model.recurrent.position), self.config.token_size
        part = {"sequential": 1, "partial": part, "full": n * length}[inference]
        options = {"steps": steps} | ({"eta": eta} if sampler == "ddim" else {})
        writer = _TokenWriter(model, sampler, options, precision, kernel, guidance, temperature)
        if distributed:
            share = partial(shared, size=size, device=self.device)
        else:
            share = in_threads if isinstance(writer.denoise, NativeDenoiser) else each_part

        with evaluating(model):
            before = None
            for networks in torch.arange(n).split(max(1, part // length)):
                # Networks of one state and one task have the same prototypes.
                asked, which = alike[networks].unique(return_inverse=True)
                given = [x[asked] if x is not None else None for x in (permutation, told)]
                if guided:  # the same networks once more, not told what they are for
                    again = (given[0], left_out[asked])
                    given = [x if x is None else torch.cat((x, y)) for x, y in zip(given, again, strict=True)]
                given = [x.to(self.device) if x is not None else None for x in given]
                tokens, carried = torch.empty(len(networks) * length, size, dtype=torch.float32), []
                # Several pieces only where there is one network: its rows are then those of the tokens.
                pieces = model.recurrent.pieces(max(part, PIECE) if len(networks) == 1 else length)
                for piece in pieces:
                    if len(pieces) > 1 or before is None or not torch.equal(asked, before):
                        with writer.autocast():
                            prototypes = model.recurrent.piece(len(asked) * (1 + guided), *given, piece, carried)
                    rows = torch.arange(len(networks) * prototypes.shape[1]) + piece.start
                    owners, places = rows // length, rows % length
                    sources = which[owners] * length + places - piece.start
                    write = partial(writer, prototypes.flatten(0, 1), sources, seed, first + networks[owners], places)
                    parts = torch.arange(len(rows)).split(part)
                    for chosen, written in share(parts, write):
                        tokens[rows[chosen]] = written.cpu()
                before = asked
                yield from tokens.view(len(networks), length, size)

    def _in_fp32(self) -> "RPG":
        """Itself, or a copy where its weights are of another type: networks are computed in fp32, or from there."""
        if all(x.dtype == torch.float32 for x in self.state_dict().values() if x.is_floating_point()):
            return self
        return copy.deepcopy(self).float()

    def generate(self, n: int = 1, task: Sequence[int] | Tensor | None = None, **options) -> list[dict[str, Tensor]]:
        """Generate `n` networks as state dicts on the CPU.

        task: bits (bits,) for all networks or (N, bits) for each, where the generator was trained with tasks.
        condition: likewise, where it was trained with `RPGConfig.conditions`: numbers (C,) or (N, C), or by name: a
        dict of numbers or of columns, a list of dicts, or a table of pandas. One outside of the trained range is
        answered with a warning, or refused where the range is hard. Either may be left out with a generator of
        `condition_dropout`, and guidance then says how far to go from what it writes without to what it writes with it:
        1 is the latter, more exaggerates (Ho and Salimans 2022).
        permutation: the permutation state of each network, (N,); drawn at random by default. mixture: instead, weights
        over the states for each network, (N, P), none below zero and one in sum: its embedding is the states' weighted
        mean. Ours, not the paper's; such networks work where training asked for them (`train`, `behaviour`).
        sampler: "ddim" (deterministic given its noise), "ddpm" or "dpm++"; steps: how many of the T diffusion steps;
        both are by default the generator's own (`RPGConfig.sampler`, `RPGConfig.sampling_steps`). The paper samples by
        "ddim" in 60 steps with its size large, by "ddpm" in 1,000 with all others (v1, table 12; v2, table 16). eta:
        fresh noise at the steps of "ddim", from 0 to 1, which is as much as "ddpm" has; temperature: scale of all
        noise, 1 as trained; less is nearer to the mean, more spreads. inference: how many tokens pass the denoiser
        together: "sequential" one, "partial" `part` (256 is the paper's: v1, section B.3; v2, section C.4), "full" all.
        seed, first: network i draws everything from a random stream of its own, that of the seed and of the number
        first + i, so all modes give the same networks to rounding, as does generating them one by one with `first` = 0,
        1, ...; two seeds have nothing in common. precision: "fp32", "bf16", or "auto": bf16 where the device computes
        it in hardware. kernel: as in `folded`. distributed: every process of an `accelerate launch` makes this call
        with the same arguments; each writes its share of the tokens, and all of them return all networks.
        Raises `InputError` for a bad task, condition, permutation, mixture, sampler, mode or number, and without a
        tokenizer.
        """
        return list(self.generate_each(n, task, **options))

    def generate_each(
        self, n: int = 1, task: Sequence[int] | Tensor | None = None, **options
    ) -> Iterator[dict[str, Tensor]]:
        """Yield the networks of `generate` one after the other: large ones need not be in memory together."""
        if self.tokenizer is None:
            raise InputError("this generator has no tokenizer; pass one to read_official to get state dicts")
        for tokens in self.generate_tokens(n, task, **options):
            # Small networks come several in one block of memory, which no single one of them must keep alive.
            yield self.tokenizer.decode(tokens, reuse=tokens.untyped_storage().nbytes() == tokens.nbytes)

    # What a notebook shows of them.
    generate.__signature__ = generate_each.__signature__ = inspect.signature(generate_tokens)

    def _told(self, task, condition, n: int) -> Tensor | None:
        """What the recurrent model is told (n, told) of a task or of a condition."""
        config = self.config
        if config.condition_dropout and task is None and condition is None:
            return config.left_out(n)
        task, rows = self.task_rows(task, n), self.condition_rows(condition, n)
        return None if task is None and rows is None else config.features(rows if task is None else task)

    @takes(n=whole(1, MOST_NETWORKS))
    def condition_rows(self, condition, n: int) -> Tensor | None:
        conditions = self.config.conditions
        if condition is None:
            if conditions:
                names = ", ".join(condition.name for condition in conditions)
                raise InputError(f"this generator needs a condition; pass condition= with {names}, or a dict of them")
            return None
        if not conditions:
            raise InputError("this generator was trained without conditions; call it without condition=")
        return check_conditions(conditions, condition, n)

    @takes(n=whole(1, MOST_NETWORKS))
    def task_rows(self, task, n: int) -> Tensor | None:
        bits = self.config.task_bits
        if task is None:
            if bits:
                raise InputError(f"this generator needs a task of {bits} bits; pass task=[...]")
            return None
        if not bits:
            told = "pass it as condition=" if self.config.conditions else "call it without task="
            raise InputError(f"this generator was trained without tasks; {told}")
        try:
            task = dense("task", torch.as_tensor(task))
        except InputError:
            raise
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise InputError(f"a task is {bits} bits, or rows of them, all of one length ({error})") from None
        if task.shape not in ((bits,), (n, bits)):
            raise InputError(f"a task has {bits} bits, or {n} rows of them; got the shape {tuple(task.shape)}")
        return check_tasks(task.cpu().reshape(-1, bits), bits).float().expand(n, bits)

    @takes(n=whole(1, MOST_NETWORKS), seed=whole(), first=whole(0))
    def permutation_rows(self, permutation, n: int, seed: int, first: int = 0) -> Tensor | None:
        states = self.config.permutation_states
        if not states:
            if permutation is not None:
                raise InputError("this generator was trained without permutation states; call it without permutation=")
            return None
        if permutation is None:
            drawn = (_random(stream(seed, "permutation", first + i), 0).integers(states) for i in range(n))
            return torch.tensor([int(state) for state in drawn])
        try:
            given = dense("permutation", torch.as_tensor(permutation))
            whole = given.shape == (n,) and given.dtype != torch.bool and given.min() >= 0 and given.max() < states
        except (TypeError, ValueError, RuntimeError):  # text, rows of different lengths, complex numbers
            whole = False
        if not whole or given.is_floating_point():
            raise InputError(f"permutation takes {n} numbers from 0 to {states - 1}, not {shown(permutation)}")
        return given.long().cpu()

    @takes(n=whole(1, MOST_NETWORKS))
    def mixture_rows(self, mixture, n: int) -> Tensor:
        states = self.config.permutation_states
        if not states:
            raise InputError("this generator was trained without permutation states; call it without mixture=")
        try:
            given = dense("mixture", torch.as_tensor(mixture)).float().cpu()
        except (TypeError, ValueError, RuntimeError):  # text, rows of different lengths, complex numbers
            given = torch.empty(0)
        if given.shape != (n, states):
            raise InputError(f"mixture takes {n} rows of {states} weights, one per state, not {shown(mixture)}")
        if not bool((given >= 0).all()) or not bool(((given.sum(1) - 1).abs() < 1e-4).all()):
            raise InputError(
                "the weights of a mixture are not below zero and sum to one in every row; divide by the sum"
            )
        return given

    # ---- files --------------------------------------------------------------------------------------------------

    @takes(companions=of(Mapping), card=of(str))
    def save_pretrained(
        self,
        path: str | Path,
        companions: Mapping[str, Mapping[str, Tensor]] | None = None,
        card: str | None = None,
    ) -> str:
        """Write config.json, model.safetensors and tokenizer.safetensors into the folder `path`, all of them or none.

        companions: tensors by name that belong to this very generator, such as the checkpoints that it was measured
        with, kept beside it under the names of safetensors files. config.json holds the SHA-256 of every file and a
        digest of it all, which is returned: two saves of the same have the same. An older generator in `path` stays
        readable until all is on the disk, and a save that fails or is killed leaves one of the two. card: the text of a
        model card, README.md, which stands beside them and is no part of the digest.
        """
        if self.tokenizer is None:
            raise InputError("this generator has no tokenizer, so what it writes could not be decoded; set one first")
        folder = _path(path)
        for name, tensors in (companions or {}).items():
            if (
                not isinstance(name, str)
                or Path(name).name != name
                or not name.endswith(".safetensors")
                or name in (WEIGHTS, TOKENIZER)
            ):
                raise InputError(f"a companion has the name of a safetensors file of its own, not {name!r}")
            network(f"companion {name!r}", tensors, {})

        def write(place: Path) -> None:
            self.tokenizer.save(place / TOKENIZER)
            save_tensors(place / WEIGHTS, self.state_dict(), {"format": "pt"})
            for name, tensors in (companions or {}).items():
                save_tensors(place / name, apart(tensors))

        try:
            text = None if card is None else card.encode()
        except UnicodeEncodeError:
            raise InputError("the card holds half a character, which no file can; write its text anew") from None
        digest = write_bundle(folder, CONFIG, self.config.to_dict(), write)
        if text is not None:
            with atomic(folder / CARD) as part:
                part.write_bytes(text)
        elif is_card(folder / CARD):  # of the generator that this one replaces
            (folder / CARD).unlink()
        return digest

    @takes(card=of(str), private=flag)
    def push_to_hub(
        self, repo_id: str, *, card: str | None = None, private: bool = False, token: str | None = None
    ) -> str:
        """Push the generator to the hub, whence `from_pretrained("owner/name")` reads it; returns the address.

        card: the text of its model card; by default one that says what it writes and that nothing was measured. Raises
        `InputError` with the hub's reason where that is refused.
        """
        check_name(repo_id)
        with tempfile.TemporaryDirectory(prefix="rpglib-") as folder:
            self.save_pretrained(folder, card=self.card(repo_id) if card is None else card)
            return push(Path(folder), repo_id, "model", private, token, "A generator of rpglib")

    @takes(name=of(str), said=of(str), numbers=of(str), licence=of(str))
    def card(self, name: str, said: str = "", numbers: str = "", licence: str = "mit") -> str:
        """The text of a model card: what the generator is, how it is read and asked, and what was measured.

        name: its folder, or its place on the hub; said: sentences of the caller's; numbers: Markdown. Raises
        `InputError` for a generator without a tokenizer.
        """
        tokenizer, config = self.tokenizer, self.config
        if tokenizer is None:
            raise InputError("this generator has no tokenizer, so it writes no networks; set one first")
        given = asked = ""
        if config.task_bits:
            given, asked = (
                f" for a task of {config.task_bits} bits",
                f", task={[k % 2 for k in range(config.task_bits)]}",
            )
        elif config.conditions:
            given = f" for conditions ({', '.join(condition.name for condition in config.conditions)})"
            asked = f", condition={ {condition.name: condition.inside for condition in config.conditions} }"
        states = f", {config.permutation_states} permutation states" if config.permutation_states else ""
        facts = (
            f"A generator of network weights (recurrent diffusion, RPG): {tokenizer.num_parameters:,} values in "
            f"{len(tokenizer.names)} tensors{given}, written as {tokenizer.num_tokens:,} tokens of "
            f"{tokenizer.token_size:,} values. {sum(p.numel() for p in self.parameters()):,} parameters{states}."
        )
        return model_card(name, f"{facts} {said}".rstrip(), numbers, licence, asked)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, device: str | torch.device = "cpu", revision: str | None = None
    ) -> "RPG":
        """Read a generator from a folder, or from the Hugging Face hub where `path` is no folder but "owner/name".

        Raises `InputError` for absent, damaged or mismatched files, and for a device that is not at hand.
        """
        folder = _path(path)
        if not folder.is_dir():
            if folder.is_file():
                raise InputError(f"{path} is a file; give the folder that save_pretrained wrote")
            if str(path).count("/") != 1 or str(path).startswith((".", "/")):
                raise InputError(f"{path} is no folder with a generator; train one, or give a hub name 'owner/name'")
            # Only a name on the hub needs this library, whose import takes as long as reading a small generator.
            from huggingface_hub import snapshot_download

            try:
                files = [WEIGHTS, CONFIG, TOKENIZER]
                folder = Path(snapshot_download(str(path), revision=revision, allow_patterns=files))
            except (OSError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise InputError(f"{path} is neither a folder here nor to be had from the hub ({reason})") from None
        return cls.read(folder, device)[0]

    @classmethod
    def read(
        cls, folder: Path, device: str | torch.device = "cpu", companions: Sequence[str] = ()
    ) -> tuple["RPG", dict[str, dict[str, Tensor]], str | None]:
        """A generator from a folder, the tensors of some of its companions, and the digest that all of them carry.

        The digest is None for a generator that was saved before there were digests; its weights are then taken as they
        are. Raises `InputError` as `from_pretrained`.
        """
        device = pick(device)
        companions = [str(name) for name in each("companions", companions, "names")]

        def read(bundle: Bundle):
            model = cls._opened(bundle)
            return model.to(device).eval(), {name: _tensors(bundle.file(name)) for name in companions}, bundle.digest

        return read_bundle(_path(folder), CONFIG, read)

    @classmethod
    def _opened(cls, bundle: Bundle) -> "RPG":
        folder, fields = bundle.folder, bundle.fields
        config = RPGConfig.from_dict(fields, folder / CONFIG)
        weights, kept = bundle.file(WEIGHTS), bundle.file(TOKENIZER)
        tokenizer = ParameterTokenizer.load(kept)
        _check_sizes(weights, config, tokenizer)
        with torch.random.fork_rng(devices=[]):  # what it begins with is written over
            model = cls(config, tokenizer)
        try:
            with safe_open(weights, "pt") as file:
                belongs = file.metadata() or {}
            model.load_state_dict(load_file(weights))
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{folder / WEIGHTS} does not hold this generator ({reason}); copy or save it again"
            ) from None
        if bundle.digest is None:
            # Saved before there were digests: the weights say which configuration and tokenizer they belong to.
            stamp = (_json(belongs.get("config")), belongs.get("tokenizer"))
            if stamp != (fields, sha256(kept)):
                raise InputError(f"{folder} mixes the files of two generators, after a save that failed; save it again")
        return model


def _path(path: str | Path) -> Path:
    if not isinstance(path, str | PathLike) or "\0" in str(path) or path == "":
        raise InputError(f"a generator is kept in a folder; give its path as text or a Path, not {str(path)!r:.100}")
    return Path(path)


def _json(text: str | None):
    try:
        return json.loads(text or "null")
    except ValueError:
        return None


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read {path} ({str(error).splitlines()[0]}); copy or save it again") from None


TOO_LARGE = "a generator of these sizes does not fit into memory; lower its widths"


@lru_cache(maxsize=16)
def _shapes(config: RPGConfig, tokens: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a generator's weights by their names, worked out without memory for them."""
    with torch.device("meta"):
        state = RPG.with_positions(config, torch.empty(tokens, config.widths[0])).state_dict()
    return {name: tuple(x.shape) for name, x in state.items()}


def _check_sizes(path: Path, config: RPGConfig, tokenizer: ParameterTokenizer) -> None:
    """Raise `InputError` unless the file holds weights of the sizes that are asked for: memory is taken only then."""
    try:
        with safe_open(path, "pt") as file:
            held = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        if len(config.widths) + len(config.channels) > len(held):
            raise InputError(f"{path} does not hold this generator (fewer tensors than layers); copy or save it again")
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} does not hold this generator ({reason}); copy or save it again") from None
    for name, shape in _shapes(config, tokenizer.num_tokens).items():
        if held.get(name, shape) != shape:
            raise InputError(
                f"{path} does not hold this generator ({name!r} has the shape {held[name]}, not {shape}); "
                "copy or save it again"
            )


class _TokenWriter:
    """Prototypes -> tokens: what is the same for all parts of one generation is worked out once.

    That is BatchNorm folded into the convolutions, and the time embedding of each diffusion step.
    """

    def __init__(
        self,
        model: RPG,
        sampler: str,
        options: dict,
        precision: str,
        kernel: str,
        guidance: float,
        temperature: float,
    ):
        self.model, self.sample, self.options = model, SAMPLERS[sampler], options
        self.guidance, self.temperature = guidance, temperature
        self.bf16 = uses_bf16(precision, model.device)
        self.denoise = folded(model.denoiser, torch.bfloat16 if self.bf16 else torch.float32, kernel)
        visited = timesteps(model.config.schedule.steps, options["steps"])
        mask = model.tokenizer.mask if model.tokenizer is not None else None
        self.padding = ~mask if mask is not None and not bool(mask.all()) else None
        with self.without_autocast():
            times = model.denoiser.time_embedder(torch.tensor(visited, device=model.device))
        self.times = dict(zip(visited, times, strict=True))

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.bf16)

    def without_autocast(self) -> torch.autocast:
        """Whatever the program around computes in: what is folded has its type."""
        return torch.autocast(self.model.device.type, enabled=False)

    def __call__(
        self, prototypes: Tensor, sources: Tensor, seed: int, owners: Tensor, places: Tensor, chosen: Tensor
    ) -> Tensor:
        """The tokens (B, D) that are `chosen` (B,): of the prototypes `sources`, at `places` of networks `owners`.

        With guidance the second half of the prototypes are the same networks', not told what they are for.
        """
        config = self.model.config
        own, which = sources[chosen].unique(return_inverse=True)
        predict = self._predict(prototypes[own], which)
        if self.guidance != 1:
            told, left_out = predict, self._predict(prototypes[own + len(prototypes) // 2], which)

            def predict(x: Tensor, t: int) -> Tensor:
                return torch.lerp(left_out(x, t), told(x, t), self.guidance)

        padding = self.padding[places[chosen]].to(self.model.device) if self.padding is not None else None
        network, place = owners[chosen], places[chosen]
        noise = TokenNoise(seed, network, place, config.token_size, self.model.device, self.temperature)
        options = self.options | {"prediction": config.prediction, "draw_noise": noise}
        with self.without_autocast():
            return self.sample(with_padding_held(predict, padding, config), noise(), config.schedule, **options)

    def _predict(self, prototypes: Tensor, which: Tensor) -> Callable[[Tensor, int], Tensor]:
        """(x (B, D), t) -> the output (B, D) for tokens of the prototypes that are `which` (B,) of these."""
        with self.autocast():
            condition = self.model.denoiser.condi_embedder(prototypes).float()[which]
            skip = self.model.skip(prototypes).float()[which] if self.model.skip is not None else None

        def predict(x: Tensor, t: int) -> Tensor:
            output = self.denoise(x, self.times[t], condition)
            return output if skip is None else output.add_(skip)

        return predict


def with_padding_held(
    predict: Callable[[Tensor, int], Tensor], padding: Tensor | None, config: RPGConfig
) -> Callable[[Tensor, int], Tensor]:
    """`predict`, but what is `padding` (B, D) of the tokens is predicted to be zero; None where there is none.

    In training what lies beyond the real values is zero under its noise; so it is here, at every step.
    """
    if padding is None:
        return predict
    schedule = config.schedule  # checks itself whenever it is made: not at every step

    def held(x: Tensor, t: int) -> Tensor:
        return torch.where(padding, schedule.output_of_zero(x, t, config.prediction), predict(x, t))

    return held


class TokenNoise:
    """Standard normal noise (B, D), each row from the stream of a seed, a network (B,) and a token's place (B,).

    temperature: its scale.
    """

    def __init__(
        self, seed: int, networks: Tensor, places: Tensor, size: int, device: torch.device, temperature: float = 1.0
    ):
        self.temperature = temperature
        keys = (stream(seed, "noise", network) for network in networks.tolist())
        self.generators = [_random(key, place) for key, place in zip(keys, places.tolist(), strict=True)]
        self.buffer, self.device = np.empty((len(places), size), np.float32), device

    def __call__(self) -> Tensor:
        # On one core, a step of "ddpm" would draw its noise for longer than a large GPU computes.
        threads, rows = torch.get_num_threads(), range(len(self.generators))
        if threads > 1 and self.buffer.size >= DRAWN_TOGETHER:
            list(_drawing(threads).map(self._draw, np.array_split(rows, threads)))
        else:
            self._draw(rows)
        found = torch.from_numpy(self.buffer).to(self.device, copy=True)
        return found if self.temperature == 1 else found.mul_(self.temperature)

    def _draw(self, rows: Sequence[int]) -> None:
        for row in rows:
            self.generators[row].standard_normal(out=self.buffer[row], dtype=np.float32)


@cache
def _drawing(threads: int) -> ThreadPoolExecutor:
    return one_core_threads(threads, "noise")


def _first_alike(n: int, permutation: Tensor | None, task: Tensor | None) -> Tensor:
    """For each of n networks the number of the first one with the same permutation state and task: (n,) int64."""
    given = [x.view(n, -1).double() for x in (permutation, task) if x is not None]
    _, kind = torch.cat(given or [torch.zeros(n, 1)], 1).unique(dim=0, return_inverse=True)
    return torch.full((n,), n).scatter_reduce(0, kind, torch.arange(n), "amin")[kind]


def _check_size(config: RPGConfig, tokenizer: ParameterTokenizer) -> None:
    if tokenizer.token_size != config.token_size:
        raise InputError(
            f"the tokenizer cuts tokens of {tokenizer.token_size} values, the generator writes tokens of "
            f"{config.token_size}; set both to the same token_size"
        )


def _weights(real: Tensor, weighting: str) -> Tensor:
    """How much each value of the mask (L, D) counts in a loss: every real value alike, or every token alike."""
    return real.float() if weighting == "value" else real / real.sum(1, keepdim=True)


def _mean(errors: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of errors (..., B, D); weights (B, D) are the same for all that stands before."""
    return (errors * weights).sum() / (weights.sum() * (errors.numel() // weights.numel()))


def _random(key: int, place: int) -> np.random.Generator:
    """A counter-based generator keyed by network and token: no order of drawing, batch or device enters its stream."""
    return np.random.Generator(np.random.Philox(_Key((key, place))))


class _Key(np.random.bit_generator.ISeedSequence):
    """A Philox generator's key as it is: given as `key`, it would first be given one by the operating system."""

    def __init__(self, words: tuple[int, int]):
        self.words = np.array(words, np.uint64)

    def generate_state(self, n_words, dtype=np.uint32):
        return self.words
