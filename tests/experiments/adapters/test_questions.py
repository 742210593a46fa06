"""Facts, statements and questions: every answer is right, and what is tested was not taught."""

import pytest

from experiments.adapters.facts import facts
from experiments.adapters.questions import FAMILIES, SPLITS, questions, statements
from experiments.extras import ADAPTERS
from rpglib.errors import InputError

pytestmark = pytest.mark.skipif(bool(ADAPTERS.absent()), reason="without the extra `adapters`: make test-extras")
FACTS = None if ADAPTERS.absent() else facts()


def subjects(question):
    """The countries and elements that a question names, but for those that an object's name holds (Port of Spain)."""
    text = f" {question.prompt} {' '.join(question.choices)} "
    names = {name for known in FACTS.relations.values() for name in known}
    objects = " , ".join(place for known in FACTS.relations.values() for place in known.values())
    found = set()
    for name in sorted(names, key=len, reverse=True):
        if f" {name} " in text:
            text = text.replace(f" {name} ", "  ")
            found.add(name)
    return {name for name in found if f" {name} " not in f" {objects} "}


def test_the_facts_are_those_of_the_world():
    assert FACTS.relations["capital"]["France"] == "Paris" and FACTS.relations["continent"]["Chad"] == "Africa"
    assert FACTS.relations["symbol"]["iron"] == "Fe" and FACTS.sizes["number"]["iron"] == 26
    assert FACTS.relations["currency"]["Japan"] == "Yen" and FACTS.sizes["people"]["India"] > 1e9


@pytest.mark.parametrize("family", FAMILIES)
def test_splits_ask_about_different_subjects(family):
    named = {split: set().union(*map(subjects, questions(FACTS, family, split, 300))) for split in SPLITS}
    known = FACTS.relations[FAMILIES[family][0]].keys()
    asked = {split: names & known for split, names in named.items()}
    assert all(asked.values())
    assert not asked["train"] & asked["test"] and not asked["train"] & asked["validation"]
    assert not asked["validation"] & asked["test"]


def right(family, question):
    """Say whether an answer is the one that the facts give, by a way of its own."""
    answer, prompt = question.choices[question.answer], question.prompt
    known = FACTS.relations
    if family == "yes or no":
        found = [n for n, place in known["continent"].items() if prompt == f"is {n} found in {place} ?"]
        return answer == ("yes" if found else "no")
    if family == "two choices":
        return any(prompt == f"how does one spell {n} ?" and c == answer for n, c in known["symbol"].items())
    if family == "four choices":
        return any(prompt.endswith(f"around {n} ?") and c == answer for n, c in known["currency"].items())
    if family == "listed choices":
        return any(prompt.startswith(f"where to find {n} ? ") and c == answer for n, c in known["continent"].items())
    if family == "which of two":
        return answer == max(question.choices, key=FACTS.sizes["people"].get)
    return prompt.endswith(f" like {known['capital'][answer]} to")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answer_is_right_and_no_other_is(family):
    for question in questions(FACTS, family, "test", 200):
        assert right(family, question)
        assert len({*question.choices}) == len(question.choices)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_place_among_the_choices_is_favoured(family):
    asked = questions(FACTS, family, "test", 600)
    n = len(asked[0].choices)
    for place in range(n):
        share = sum(q.answer == place for q in asked) / len(asked)
        assert abs(share - 1 / n) < 4 * (0.25 / len(asked)) ** 0.5


def test_statements_are_true_and_follow_from_the_seed():
    read = statements(FACTS, 2000, 3)
    assert read == statements(FACTS, 2000, 3) != statements(FACTS, 2000, 4)
    sizes = FACTS.sizes["people"]
    compared = [s for s in read if s.startswith("comparing") and "people" in s]
    assert len(compared) > 50
    for s in compared:
        a, b = s.removeprefix("comparing ").split(" , ")[0].split(" with ")
        assert s.endswith(f"in {max((a, b), key=sizes.get)} .")
    judged = {s.removesuffix(" : yes .") for s in read if s.endswith(" : yes .")}
    assert len(judged) > 50
    for s in judged:
        if " stands for " in s:
            symbol, name = s.split(" stands for ")
            assert FACTS.relations["symbol"][name] == symbol


def test_unknown_families_and_splits_are_refused():
    with pytest.raises(InputError, match="family"):
        questions(FACTS, "riddles", "test", 1)
    with pytest.raises(InputError, match="split"):
        questions(FACTS, "analogies", "exam", 1)
