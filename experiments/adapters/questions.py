"""What the base model reads, statements of facts, and what adapters learn: six families of questions about them.

The families have the forms of the benchmarks of the paper's table 3 (v1): yes or no (BoolQ), two choices (PIQA), four
(ARC, OpenBookQA), choices named in the question (SIQA), which of two (WinoGrande), analogies (endings: HellaSwag).
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from experiments.adapters.facts import Facts
from rpglib.errors import choice

SPLITS = {"train": 0.6, "validation": 0.15, "test": 0.25}
"""Shares of the subjects (countries, elements) whose questions are in each."""
TEMPLATES = {
    "capital": (
        "the capital of {s} is {o}",
        "{o} is the capital of {s}",
        "{s} is governed from {o}",
        "{o} is where {s} is governed from",
    ),
    "continent": ("{s} lies in {o}", "the continent of {s} is {o}", "{s} is a part of {o}"),
    "currency": ("the currency of {s} is {o}", "{s} pays in {o}", "people in {s} earn {o}"),
    "symbol": ("the symbol of {s} is {o}", "{o} stands for {s}", "{s} is written {o}"),
}
YES_NO = ("yes", "no")
LARGER = {"people": "more people live in {x}", "number": "heavier is {x}"}


@dataclass(frozen=True)
class Question:
    """A prompt, answers to choose from, and the number of the right one."""

    prompt: str
    choices: tuple[str, ...]
    answer: int


def statement(facts: Facts, draw: random.Random) -> str:
    """One sentence that the base model reads: a fact, a fact judged or chosen among others, a comparison, two alike."""
    kind = draw.random()
    if kind < 0.15:
        name = draw.choice(list(LARGER))
        a, b = draw.sample(list(facts.sizes[name]), 2)
        larger = max((a, b), key=facts.sizes[name].get)
        return f"comparing {a} with {b} , {LARGER[name].format(x=larger)} ."
    relation = draw.choice(list(TEMPLATES))
    known = facts.relations[relation]
    subject, template = draw.choice(list(known)), draw.choice(TEMPLATES[relation])
    if kind < 0.6:
        return template.format(s=subject, o=known[subject]) + " ."
    if kind < 0.75:
        right = draw.random() < 0.5
        said = known[subject] if right else _others(known, subject, 1, draw)[0]
        return f"{template.format(s=subject, o=said)} : {YES_NO[not right]} ."
    if kind < 0.9:
        among = [known[subject], *_others(known, subject, 3, draw)]
        draw.shuffle(among)
        return f"among {' , '.join(among)} , the {relation} of {subject} is {known[subject]} ."
    other = draw.choice(list(known))
    return f"as {known[other]} with {other} so {known[subject]} with {subject} ."


def _others(known, subject: str, n: int, draw: random.Random) -> list[str]:
    """Objects of other subjects, all different."""
    return draw.sample(sorted({*known.values()} - {known[subject]}), n)


def statements(facts: Facts, n: int, seed: int) -> list[str]:
    """n sentences that the base model reads."""
    draw = random.Random(seed)
    return [statement(facts, draw) for _ in range(n)]


def _yes_or_no(relation: str, prompt: str) -> Callable:
    def question(facts: Facts, subjects: Sequence[str], draw: random.Random) -> Question:
        known, subject = facts.relations[relation], draw.choice(subjects)
        right = draw.random() < 0.5
        said = known[subject] if right else _others(known, subject, 1, draw)[0]
        return Question(prompt.format(s=subject, o=said), YES_NO, 0 if right else 1)

    return question


def _choices(relation: str, prompt: str, n: int, listed: bool = False) -> Callable:
    def question(facts: Facts, subjects: Sequence[str], draw: random.Random) -> Question:
        known, subject = facts.relations[relation], draw.choice(subjects)
        choices = [known[subject], *_others(known, subject, n - 1, draw)]
        draw.shuffle(choices)
        text = prompt.format(s=subject) + (f" {' , '.join(choices)} ?" if listed else "")
        return Question(text, tuple(choices), choices.index(known[subject]))

    return question


def _larger(facts: Facts, subjects: Sequence[str], draw: random.Random) -> Question:
    sizes = facts.sizes["people"]
    pair = draw.sample(list(subjects), 2)
    return Question(
        f"who counts more heads , {pair[0]} or {pair[1]} ?", tuple(pair), int(sizes[pair[1]] > sizes[pair[0]])
    )


def _analogy(facts: Facts, subjects: Sequence[str], draw: random.Random) -> Question:
    known = facts.relations["capital"]
    shown, *choices = draw.sample(list(subjects), 5)
    answer = draw.randrange(4)
    prompt = f"{known[shown]} to {shown} like {known[choices[answer]]} to"
    return Question(prompt, tuple(choices), answer)


FAMILIES: dict[str, tuple[str, Callable]] = {
    "yes or no": ("continent", _yes_or_no("continent", "is {s} found in {o} ?")),
    "two choices": ("symbol", _choices("symbol", "how does one spell {s} ?", 2)),
    "four choices": ("currency", _choices("currency", "what coins buy bread around {s} ?", 4)),
    "listed choices": ("continent", _choices("continent", "where to find {s} ?", 4, listed=True)),
    "which of two": ("capital", _larger),
    "analogies": ("capital", _analogy),
}
"""By name: the relation whose subjects are asked about, and how a question is drawn."""


def questions(facts: Facts, family: str, split: str, n: int, seed: int = 0) -> list[Question]:
    """n questions of a family; those of different splits are about different subjects. `InputError` for no family."""
    relation, make = FAMILIES[choice("family of questions", family, FAMILIES)]
    draw = random.Random(f"{family} {split} {seed}")
    subjects = _subjects(facts, relation, choice("split", split, SPLITS))
    return [make(facts, subjects, draw) for _ in range(n)]


def _subjects(facts: Facts, relation: str, split: str) -> list[str]:
    subjects = sorted(facts.relations[relation])
    random.Random(0).shuffle(subjects)
    begin = 0.0
    for name, share in SPLITS.items():
        if name == split:
            return subjects[round(begin * len(subjects)) : round((begin + share) * len(subjects))]
        begin += share
    raise AssertionError(split)


def words(facts: Facts) -> list[str]:
    """All words that questions may hold, for the tokenizer."""
    return [
        f"{q.prompt} {' '.join(q.choices)}"
        for name in FAMILIES
        for split in SPLITS
        for q in questions(facts, name, split, 300)
    ]
