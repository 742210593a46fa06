"""Words to bits to network: the measures of `17_language` (paper v2, appendix C.2 and table 22)."""

import time

import torch

from experiments.pipeline import NETWORKS, images_of
from experiments.records import read_record, write_record
from experiments.tasks.measures import answers
from experiments.tasks.prompt_sets import DEMO_PROMPTS, DIGIT_PROMPTS
from experiments.tasks.unseen import Unseen
from rpglib.analysis.accuracy import summarise
from rpglib.errors import InputError, choice
from rpglib.prompts.task import BACKENDS, Backend, task_from_prompt
from rpglib.tasks import CLASS_NAMES, name_of

EXPERIMENT = "language"
PROMPTS = {"digits": DIGIT_PROMPTS, "cifar10": DEMO_PROMPTS}


def understood(images: str, backend: str | Backend = "table") -> list[dict]:
    """What a back end makes of a data set's prompts: prompt, expected bits, and its bits or why there are none."""
    names = CLASS_NAMES[images]
    rows = []
    for prompt, classes in PROMPTS[images].items():
        expected = [int(name in classes) for name in names]
        try:
            found = {"bits": name_of(task_from_prompt(prompt, images, backend))}
        except InputError as error:
            found = {"bits": None, "refused": str(error)}
        rows.append({"prompt": prompt, "expected": name_of(expected), **found})
    return rows


def language(result: Unseen, profile: str, fresh: bool, backend: str = "table", seed: int = 0) -> dict:
    """Generate networks for every prompt of the profile's images and record their accuracy, or read that record.

    As in the paper, a network is judged by the labels that the prompt's author expects, whatever bits it was given.
    The other data set's prompts are recorded as understood, without networks. Raises `InputError` for an unknown back
    end, and for one, or a generator, that the record was not made with.
    """
    choice("back end", backend, BACKENDS)
    if not fresh:
        record = read_record(EXPERIMENT, profile, result.recipe, {"generate": seed})
        made_with = record["numbers"]["backend"]
        if backend != made_with:
            raise InputError(
                f"the record was made with the back end {made_with!r}, not {backend!r}; run with fresh=True"
            )
        return record
    began = time.perf_counter()
    images = result.recipe.images
    rows = understood(images, backend)
    seen = {name_of(bits) for bits in result.heads["bits"][result.seen]}
    for row in rows:
        if row["bits"] is not None:
            row["accuracy"] = summarise(accuracies(result, row["bits"], row["expected"], NETWORKS, seed))
            row["seen"] = row["bits"] in seen
    others = {other: understood(other, backend) for other in PROMPTS if other != images}
    return write_record(
        EXPERIMENT,
        profile,
        {"backend": backend, "images": images, "prompts": rows, "others": others},
        config=result.recipe,
        seeds={"generate": seed},
        n=len(rows),
        wall_seconds=time.perf_counter() - began,
        data_source=result.record["data_source"],
    )


def accuracies(result: Unseen, bits: str, expected: str, n: int, seed: int = 0) -> torch.Tensor:
    """Test accuracies (n,) in percent of networks generated for `bits`, by the labels `expected`; "0 1 0 ..." both."""
    task, labels = (torch.tensor([int(bit) for bit in text.split()])[None] for text in (bits, expected))
    test = images_of(result.recipe.images).test
    return answers(result.recipe, result.model, task, test, n, seed, labels).accuracies[0]


def check_live(result: Unseen, record: dict, tolerance: float = 1.0) -> str:
    """Understand all prompts again and generate for the first: both must agree with the record, in points."""
    numbers = record["numbers"]
    found, kept = (
        [(row["prompt"], row["expected"], row["bits"]) for row in rows]
        for rows in (understood(numbers["images"], numbers["backend"]), numbers["prompts"])
    )
    assert found == kept, "the back end understands the prompts otherwise than the record says"
    first = next(row for row in numbers["prompts"] if row["bits"] is not None)
    n = first["accuracy"]["n"]
    mean = accuracies(result, first["bits"], first["expected"], n, record["seeds"]["generate"]).mean().item()
    difference = abs(mean - first["accuracy"]["mean"])
    assert difference <= tolerance, f"{first['prompt']!r}: recomputed accuracy differs by {difference:.2f} points"
    return f"{len(found)} prompts understood again and {n} networks generated for the first; they agree with the record"
