"""19: what generation costs, in time, memory and accuracy: ours against the plain path, samplers, modes, and growth."""

import functools
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from experiments.cost.meters import held
from experiments.cost.plain_generation import OPTIMISATIONS, generate_plain
from experiments.cost.tokenizers import one_layer, tokenizer_of
from experiments.cost.workers import worker
from experiments.pipeline import ORIGINAL, images_of, pick, recorded, row, sources_of
from experiments.profiles import NETWORKS, Recipe, main_results, unseen_tasks
from experiments.records import generator_dir, read_record, write_record
from rpglib.analysis.accuracy import accuracy, predictions, summarise
from rpglib.analysis.similarity import diversity
from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
from rpglib.model.rpg import INFERENCES, RPG
from rpglib.runtime.allocator import keep_freed_memory
from rpglib.runtime.hardware import has_bf16
from rpglib.tokenizer import ParameterTokenizer
from rpglib.zoo.architectures import Architecture

EXPERIMENT = "generation_cost"
ROUNDS = 5
LADDER = tuple(OPTIMISATIONS[: k + 1] for k in range(len(OPTIMISATIONS)))
SETTINGS = tuple(
    (sampler, steps)
    for sampler, counts in {"ddim": (4, 5, 10, 20, 60, 100), "dpm++": (5, 10, 20, 60), "ddpm": (20, 60, 1000)}.items()
    for steps in counts
)
MODES = tuple(Architecture(name, 1000, 3, 224) for name in ("convnext_atto", "vit_tiny_patch16_224"))
"""Networks of the paper (v1, table 13 = v2, table 23) that a CPU writes in seconds."""
MODE_STEPS = 2
SIZES = (*(round(10**exponent) for exponent in (4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8)), 200_000_000)
GROWTH = RPGConfig(
    token_size=2048, widths=(128,), headdim=32, channels=(1, 8, 16, 8, 1), prediction="velocity", prototype_skip=False
)
GROWTH_STEPS = 2


@dataclass(frozen=True)
class Subject:
    """A trained generator and how it is sampled; task: the bits it is asked for, where it was trained with tasks."""

    recipe: Recipe
    profile: str
    device: str = "cpu"
    task: tuple[int, ...] | None = None

    def options(self) -> dict:
        return {"sampler": self.recipe.sampler, "steps": self.recipe.sampling_steps}

    def labels(self) -> Tensor:
        """What the test images should be answered: their classes, or their bits in the task."""
        labels = images_of(self.recipe.images).test.labels
        return labels if self.task is None else torch.tensor(self.task)[labels]


@dataclass(frozen=True)
class Run:
    """`n` networks of a subject: by the plain path with some of `OPTIMISATIONS`, or (None) by `RPG.generate_tokens`."""

    subject: Subject
    n: int
    seed: int
    optimised: tuple[str, ...] | None = None
    options: tuple[tuple[str, object], ...] = ()


def record_of(profile: str, fresh: bool, seed: int = 0, device: str = "auto", more: Callable | None = None) -> dict:
    """Measure and record (`fresh`), or read the record. Returns the record.

    numbers: "speed", "ladder", "samplers", "modes", "growth", "bf16" as the functions below describe them, and
    what `more(profile, seed)` adds. Raises `InputError` where the record was made with another seed.
    """
    if not fresh:
        return read_record(EXPERIMENT, profile, seeds={"generate": seed})
    began = time.perf_counter()
    chosen, smoke = pick(device), profile == "smoke"
    found = subjects(profile, seed, chosen.type)
    with ExitStack() as stack:
        keeping, leaving = (stack.enter_context(worker(smoke)) for _ in range(2))
        numbers = {
            "speed": {s.recipe.name: speed(s, keeping, leaving, seed, smoke) for s in found},
            "ladder": ladder(found[0], keeping, leaving, seed, smoke),
            "samplers": {s.recipe.name: samplers(s, keeping, seed, smoke) for s in found if s.task is None},
            "bf16": has_bf16(chosen),
        }
    numbers["modes"] = modes(smoke, chosen.type)
    numbers["growth"] = growth(smoke, chosen.type)
    numbers |= more(profile, seed) if more else {}
    return write_record(
        EXPERIMENT,
        profile,
        numbers,
        config={"growth": GROWTH, "recipes": {s.recipe.name: s.recipe for s in found}},
        seeds={"generate": seed},
        n=NETWORKS,
        wall_seconds=time.perf_counter() - began,
        data_source=sources_of(s.recipe for s in found),
    )


def check_live(profile: str, record: dict, seed: int = 0, n: int = 2, tolerance: float = 0.6) -> str:
    """Write the first `n` networks of the first generator again, on both paths, and compare them with the record.

    Other processors round differently, which may change the answer on an image or two (`tolerance` in points). Returns
    one sentence; raises `AssertionError` where the record does not hold.
    """
    subject = subjects(profile, seed)[0]
    name = subject.recipe.name
    tokens = [execute(Run(subject, n, seed, optimised))[1] for optimised in (None, ())]
    wanted = torch.tensor(record["numbers"]["speed"][name]["accuracy"]["ours"]["accuracies"][:n]).double()
    largest = float((_accuracies(subject, tokens[0]) - wanted).abs().max())
    assert largest <= tolerance, f"{name}: recomputed accuracies differ from the record by {largest:.2f}"
    apart = _difference(*tokens)
    assert apart < 0.01, f"{name}: the two paths differ by {apart:.3f} standard deviations"
    return f"{name}: {n} networks written again on both paths; they agree with each other and with the record"


def subjects(profile: str, seed: int = 0, device: str = "cpu") -> list[Subject]:
    """The trained generators of the main results on digits and, where it is at hand, that of unseen tasks.

    A generator that was not recorded in this profile yet is made first.
    """
    found = []
    for recipe in main_results(profile):
        if recipe.images != "digits":
            continue
        try:
            recorded(recipe, profile, ORIGINAL, torch.device("cpu"))
        except InputError:
            row(recipe, profile, True, seed, device)
        found.append(Subject(recipe, profile, device))
    tasks = unseen_tasks(profile)
    if (generator_dir(profile, tasks.name) / "model.safetensors").exists():
        bits = tuple(k % 2 for k in range(tasks.model.task_bits))
        found.append(Subject(tasks, profile, device, bits))
    return found


# ---- trained generators ---------------------------------------------------------------------------------------------


def speed(subject: Subject, keeping: Executor, leaving: Executor, seed: int, smoke: bool) -> dict:
    """Ours against the plain path: {"plain", "ours": seconds by round, "difference", "accuracy": {...}} and the shapes.

    The two work in turn, each in a process of its own, because freed memory is kept or not by a process as a whole.
    difference: the largest of a token's values, in standard deviations of all of them.
    """
    n, rounds = (2, 1) if smoke else (NETWORKS, ROUNDS)
    runs = {"plain": Run(subject, n, seed, ()), "ours": Run(subject, n, seed)}
    seconds, tokens = in_turn({name: (leaving if name == "plain" else keeping, r) for name, r in runs.items()}, rounds)
    model = _model(subject)
    return {
        **subject.options(),
        "n": n,
        "tokens": model.tokenizer.num_tokens,
        "token_size": model.config.token_size,
        "channels": list(model.config.channels),
        "parameters": model.tokenizer.num_parameters,
        **seconds,
        "difference": _difference(tokens["plain"], tokens["ours"]),
        "accuracy": {name: _summary(_accuracies(subject, found)) for name, found in tokens.items()},
    }


def ladder(subject: Subject, keeping: Executor, leaving: Executor, seed: int, smoke: bool) -> list[dict]:
    """One row per optimisation, {name, off, on: seconds by round, difference}, each on top of those before it."""
    n, rounds = (2, 1) if smoke else (4, 3)
    runs = {(): (leaving, Run(subject, n, seed, ()))}
    for optimised in LADDER:
        runs[optimised] = (keeping if "memory" in optimised else leaving, Run(subject, n, seed, optimised))
    seconds, tokens = in_turn(runs, rounds)
    return [
        {
            "name": on[-1],
            "off": seconds[on[:-1]],
            "on": seconds[on],
            "difference": _difference(tokens[on[:-1]], tokens[on]),
        }
        for on in LADDER
    ]


def samplers(subject: Subject, keeping: Executor, seed: int, smoke: bool) -> list[dict]:
    """One row per sampler and number of steps: seconds (one run), accuracy (percent) and error-IoU among networks."""
    settings = (("ddim", 3), ("ddpm", 5)) if smoke else SETTINGS
    rows = []
    for sampler, steps in settings:
        options = (("sampler", sampler), ("steps", steps))
        seconds, tokens = keeping.submit(execute, Run(subject, 2 if smoke else NETWORKS, seed, None, options)).result()
        wrong = _answers(subject, tokens) != subject.labels()
        rows.append(
            {
                "sampler": sampler,
                "steps": steps,
                "seconds": seconds,
                "accuracy": summarise(_accuracies(subject, tokens)),
                "alike": diversity(wrong, wrong)["among_generated"],
            }
        )
    return rows


def in_turn(runs: dict, rounds: int) -> tuple[dict, dict]:
    """Do every run {key: (process, run)} in turn, round after round, after an uncounted one.

    Returns {key: [seconds, ...]} and {key: tokens}.
    """
    seconds, tokens = {key: [] for key in runs}, {}
    for count in range(rounds + 1):
        for key, (process, run) in runs.items():
            took, tokens[key] = process.submit(execute, run).result()
            if count:
                seconds[key].append(took)
    return seconds, tokens


def execute(run: Run) -> tuple[float, Tensor]:
    """Seconds of a run, the generator's loading not counted, and its tokens (N, L, D)."""
    subject, model = run.subject, _model(run.subject)
    options = {**subject.options(), **dict(run.options), "seed": run.seed}
    task = list(subject.task) if subject.task is not None else None

    if run.optimised is None and subject.device == "cpu":
        keep_freed_memory()  # as in every notebook; the plain path has it where it is among its optimisations

    def work() -> Tensor:
        if run.optimised is not None:
            return generate_plain(model, run.n, task, optimised=run.optimised, **options)
        return torch.stack(list(model.generate_tokens(run.n, task, **options)))

    return timed(work, subject.device)


def timed(work: Callable[[], Tensor], device: str) -> tuple[float, Tensor]:
    """Seconds of `work` and what it returns; on a GPU by events, which wait for what was given to it."""
    if device != "cuda":
        began = time.perf_counter()
        result = work()
        return time.perf_counter() - began, result
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    result = work()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1000, result


@functools.lru_cache(maxsize=4)
def _model(subject: Subject) -> RPG:
    return RPG.from_pretrained(generator_dir(subject.profile, subject.recipe.name), subject.device)


def _answers(subject: Subject, tokens: Tensor) -> Tensor:
    tokenizer, images = _model(subject).tokenizer, images_of(subject.recipe.images).test.images
    return predictions(subject.recipe.architecture.build(), [tokenizer.decode(x) for x in tokens], images)


def _accuracies(subject: Subject, tokens: Tensor) -> Tensor:
    return accuracy(_answers(subject, tokens), subject.labels())


def _summary(accuracies: Tensor) -> dict:
    return summarise(accuracies) | {"accuracies": [round(a, 4) for a in accuracies.tolist()]}


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / a.std())


# ---- untrained generators: what a network costs does not depend on its weights -------------------------------------


def modes(smoke: bool, device: str = "cpu") -> list[dict]:
    """Rows {network, parameters, tokens, mode, steps, seconds, beyond} of one network each, preset tiny.

    Source: v1, table 13 = v2, table 23. Deviation: the paper takes 1,000 steps of DDPM with preset base, on a GPU.
    beyond: the most memory (bytes) held while the tokens are written, beyond what was held before and the tokens.
    Every row has a process of its own.
    """
    rows = []
    for architecture in (Architecture("cnn_digits", 10, 1, 8),) if smoke else MODES:
        for mode in INFERENCES:
            with worker(smoke) as alone:
                rows.append(alone.submit(mode_cost, architecture, mode, device).result())
    return rows


def mode_cost(architecture: Architecture, mode: str, device: str) -> dict:
    """One row of `modes`."""
    keep_freed_memory()
    config = RPGConfig.preset("tiny")
    tokenizer = tokenizer_of(architecture, config.token_size)
    model = _untrained(config, tokenizer, device)
    return {
        "network": architecture.name,
        "parameters": tokenizer.num_parameters,
        "tokens": tokenizer.num_tokens,
        "mode": mode,
        "steps": MODE_STEPS,
        **_cost(model, MODE_STEPS, inference=mode),
    }


def growth(smoke: bool, device: str = "cpu") -> list[dict]:
    """Rows {parameters, tokens, seconds: [by round], beyond, output (bytes)} of one network of so many values.

    `GROWTH_STEPS` DDIM steps of the generator `GROWTH` in parts of 256 tokens; a process for every size.
    """
    rows = []
    for size in SIZES[:3] if smoke else SIZES:
        with worker(smoke) as alone:
            rows.append(alone.submit(growth_cost, size, 1 if smoke or size > 3e7 else 3, device).result())
    return rows


def growth_cost(size: int, rounds: int, device: str) -> dict:
    """One row of `growth`."""
    keep_freed_memory()
    tokenizer = one_layer(size, GROWTH.token_size)
    model = _untrained(GROWTH, tokenizer, device)
    costs = [_cost(model, GROWTH_STEPS) for _ in range(rounds)]
    return {
        "parameters": size,
        "tokens": tokenizer.num_tokens,
        "seconds": [cost["seconds"] for cost in costs],
        "beyond": max(cost["beyond"] for cost in costs),
        "output": tokenizer.num_tokens * tokenizer.token_size * 4,
    }


def _untrained(config: RPGConfig, tokenizer: ParameterTokenizer, device: str) -> RPG:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return RPG(replace(config, permutation_states=0), tokenizer).to(device).eval()


def _cost(model: RPG, steps: int, **options) -> dict:
    """Seconds of writing one network's tokens, and the most memory beyond what was there before and the tokens."""

    def work() -> Tensor:
        return next(iter(model.generate_tokens(1, steps=steps, **options)))

    # Compiles the kernel and fills the pools: part of no network's cost.
    _warm(model, steps)
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        seconds, _ = timed(work, "cuda")
        return {"seconds": seconds, "beyond": torch.cuda.max_memory_allocated() - before}
    with held() as samples:
        seconds, tokens = timed(work, "cpu")
    return {"seconds": seconds, "beyond": max(0, max(samples) - samples[0] - tokens.nbytes)}


def _warm(model: RPG, steps: int) -> None:
    size = model.config.token_size
    small = _untrained(model.config, one_layer(size, size), model.device.type)
    list(small.generate_tokens(1, steps=steps))
