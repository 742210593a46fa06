"""What each training step sees: checkpoints, tokens, conditions and random draws, from the seed and the step alone.

Shapes: N checkpoints per step, L tokens, D token size, B tokens per step that pass the denoiser.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from rpglib.errors import InputError, shown, warn
from rpglib.model.config import RPGConfig
from rpglib.model.rpg import RPG
from rpglib.runtime.threads import one_core_threads
from rpglib.tasks.conditions import Condition

# A zoo of this many token values or fewer (1 GiB) is tokenised once and kept; a larger one is read as it is needed.
CACHED_VALUES = 2**28

Item = TypeVar("Item")


class Checkpoints(Protocol):
    """What training needs of a zoo: state dicts by index, their run (N,) and their task (N, bits) or None.

    For a generator with conditions also these, `conditions` (N, C) and `described_by`.
    """

    runs: Tensor
    tasks: Tensor | None

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> dict[str, Tensor]: ...


def checkpoints(name: str, zoo, sizes: dict) -> Checkpoints:
    """`zoo` where it is what training needs; raises `InputError` otherwise."""
    parts = ("runs", "tasks", "__len__", "__getitem__")
    if not all(hasattr(zoo, part) for part in parts) or not len(zoo):
        raise InputError(f"{name} takes a zoo with one checkpoint at least, such as Zoo.read gives, not {shown(zoo)}")
    return zoo


class Batches:
    """The arguments of `RPG.forward` at each step; nothing but step, seed and process decides them.

    batch_size, diffusion_batch, permutation, seed: as in `TrainConfig`; whole: every token of a checkpoint is wanted,
    not only those that pass the denoiser. A small zoo is tokenised once and kept on `device`, unless `keep` is false.
    Of a larger one each step reads the values that it needs and no others: of a memory-mapped zoo no other part is ever
    loaded. What is random is drawn on the CPU and then brought to `device`: it is the same on all of them.
    Raises `InputError` where zoo and model do not fit.
    """

    def __init__(
        self,
        model: RPG,
        zoo: Checkpoints,
        *,
        batch_size: int,
        diffusion_batch: int,
        permutation: str = "checkpoint",
        whole: bool = False,
        keep: bool = True,
        seed: int = 0,
        process: int = 0,
        device: torch.device | str = "cpu",
    ):
        if model.tokenizer is None:
            raise InputError("this generator has no tokenizer; build it as RPG(config, tokenizer) to train it")
        self.tokenizer, self.zoo = model.tokenizer, zoo
        self.batch_size, self.diffusion_batch, self.whole = batch_size, diffusion_batch, whole
        self.seed, self.process, self.device = seed, process, torch.device(device)
        self.diffusion_steps = model.config.diffusion_steps
        self.config = model.config
        self.states = self.kept = None
        if model.config.permutation_states:
            self.states = torch.arange(len(zoo))
            if permutation == "run":
                # Runs need not be numbered without gaps, and a state that no run has would never be trained.
                self.states = torch.as_tensor(zoo.runs).unique(return_inverse=True)[1]
            told, known = int(self.states.max()) + 1, model.config.permutation_states
            if told != known:
                differ = (
                    f"the zoo has {told} permutation states (one per {permutation}), the generator {known}; set "
                    "RPGConfig.permutation_states"
                )
                if told > known:
                    raise InputError(differ)
                warn(f"{differ}: networks of states that are never trained would be noise")
        self.told = _told(model.config, zoo)
        self.compared: set[int] = set()
        """Checkpoints whose constants were found to be the tokenizer's."""
        if keep and len(zoo) * self.tokenizer.num_tokens * self.tokenizer.token_size <= CACHED_VALUES:
            self.kept = torch.stack([self.tokenizer.encode(zoo[i])[0] for i in range(len(zoo))]).to(self.device)

    def __call__(self, step: int) -> dict:
        """Return tokens (N, L, D) or, unless `whole`, (B, D); what is there of permutation (N,) and task (N, told);
        chosen (B,); t (B,); noise (B, D).

        Checkpoints come without replacement where the zoo is large enough.
        """
        # One stream per step and process: nothing to save but the step to go on exactly.
        generator = torch.Generator().manual_seed(_mix(self.seed, step, self.process))
        n = len(self.zoo)
        order = torch.cat([torch.randperm(n, generator=generator) for _ in range(-(-self.batch_size // n))])
        rows = order[: self.batch_size]
        count = self.batch_size * self.tokenizer.num_tokens
        chosen = torch.arange(count)
        if self.diffusion_batch < count:
            chosen = torch.randperm(count, generator=generator)[: self.diffusion_batch]
        batch = {
            "chosen": chosen,
            "t": torch.randint(self.diffusion_steps, (len(chosen),), generator=generator),
            "noise": torch.randn(len(chosen), self.tokenizer.token_size, generator=generator),
            "tokens": self._all(rows) if self.whole else self._some(rows, chosen),
        }
        if self.states is not None:
            batch["permutation"] = self.states[rows]
        if self.told is not None:
            batch["task"] = dropped(self.config, self.told[rows], generator)
        return {name: x.to(self.device, non_blocking=True) for name, x in batch.items()}

    def _all(self, rows: Tensor) -> Tensor:
        if self.kept is not None:
            return self.kept[rows.to(self.device)]
        return torch.stack([self.tokenizer.encode(self.zoo[i])[0] for i in rows.tolist()])

    def _some(self, rows: Tensor, chosen: Tensor) -> Tensor:
        owners, places = chosen // self.tokenizer.num_tokens, chosen % self.tokenizer.num_tokens
        if self.kept is not None:
            return self.kept[rows[owners].to(self.device), places.to(self.device)]
        tokens = torch.empty(len(chosen), self.tokenizer.token_size)
        for owner in owners.unique().tolist():
            mine, row = owners == owner, int(rows[owner])
            tokens[mine] = self.tokenizer.encode_rows(self.zoo[row], places[mine], constants=row not in self.compared)
            self.compared.add(row)
        return tokens


def dropped(config: RPGConfig, told: Tensor, generator: torch.Generator) -> Tensor:
    """What networks are for, told (N, told), left out of some of them as `condition_dropout` says."""
    if not config.condition_dropout:
        return told
    out = torch.rand(len(told), 1, generator=generator) < config.condition_dropout
    return torch.where(out, config.left_out(len(told)), told)


def _told(config: RPGConfig, zoo: Checkpoints) -> Tensor | None:
    """What each checkpoint is for, as a generator of this configuration is told (N, told).

    Raises `InputError` where the zoo says something else or nothing.
    """
    if config.task_bits:
        if zoo.tasks is None or zoo.tasks.shape[1] != config.task_bits:
            has = "no tasks" if zoo.tasks is None else f"tasks of {zoo.tasks.shape[1]} bits"
            raise InputError(f"the generator is conditioned on {config.task_bits} bits, the zoo has {has}")
        return config.features(zoo.tasks)
    if config.conditions:
        # A zoo of a caller's own need not know of conditions.
        rows, known = getattr(zoo, "conditions", None), getattr(zoo, "described_by", ())
        if rows is None or tuple(known) != config.conditions:
            has = "none" if rows is None else f"{_words(known)}; set RPGConfig.conditions=zoo.described_by"
            raise InputError(f"the generator's conditions are {_words(config.conditions)}, the zoo has {has}")
        return config.features(rows)
    return None


def _words(conditions: Sequence[Condition]) -> str:
    return ", ".join(f"{x.name} ({x.kind}, {x.low:g} to {x.high:g})" for x in conditions)


def ahead(make: Callable[[int], Item], steps: range) -> Iterator[Item]:
    """Yield make(step) of every step, while a thread makes the next one.

    What `make` raises is raised here, at its step. The thread ends with the iteration, also when that is closed early.
    """
    # One thread each for loading, or it would take the cores from the computation that it is to hide behind.
    with one_core_threads(1, "batches") as pool:
        pending = [pool.submit(make, step) for step in steps[:1]]
        for step in steps:
            item = pending.pop().result()
            if step != steps[-1]:
                pending.append(pool.submit(make, step + steps.step))
            yield item


def _mix(seed: int, step: int, process: int) -> int:
    """One 32-bit seed from three numbers (torch's CPU generator reads no more bits than these)."""
    value = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + process * 0x94D049BB133111EB + 1) % 2**64
    value = (value ^ (value >> 31)) * 0x9E3779B97F4A7C15 % 2**64
    return value >> 32
