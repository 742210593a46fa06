"""The table back end: set algebra on random terms, sentences read by hand, and what it must refuse."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpglib.errors import InputError
from rpglib.prompts.attributes import ARTICLES, FILLER, rows
from rpglib.prompts.grammar import CONNECTIVES, LONGEST, ask_table
from rpglib.tasks import CLASS_NAMES


def answer(prompt, images="digits"):
    """The selected classes as a set of names."""
    bits = ask_table(prompt, CLASS_NAMES[images])
    return {name for name, bit in zip(CLASS_NAMES[images], bits, strict=True) if bit}


@cache
def phrases(images, kind):
    """Phrases of a kind with their classes; without those with numbers, whose lists are special."""
    found = [row for row in rows(CLASS_NAMES[images]) if row[0] == kind and not {"N", "of"} & set(row[1].split())]
    return st.sampled_from([(phrase, classes) for _, _, phrase, classes in found])


@cache
def attributes(images):
    """Any phrase of a data set as a condition, with its classes."""
    return st.sampled_from([(f"that are {phrase}", classes) for _, _, phrase, classes in rows(CLASS_NAMES[images])])


@cache
def terms(images):
    """Random terms in parentheses, (words, classes), with the classes by set algebra."""
    everything = frozenset(CLASS_NAMES[images])

    def compose(inner):
        pairs = st.tuples(inner, inner)
        return st.one_of(
            inner.map(lambda a: (f"not ({a[0]})", everything - a[1])),
            pairs.map(lambda p: (f"({p[0][0]}) or ({p[1][0]})", p[0][1] | p[1][1])),
            pairs.map(lambda p: (f"both ({p[0][0]}) and ({p[1][0]})", p[0][1] & p[1][1])),
            pairs.map(lambda p: (f"neither ({p[0][0]}) nor ({p[1][0]})", everything - p[0][1] - p[1][1])),
            pairs.map(lambda p: (f"that (({p[0][0]}) except ({p[1][0]}))", p[0][1] - p[1][1])),
        )

    return st.recursive(attributes(images), compose, max_leaves=3)


@pytest.mark.parametrize("images", CLASS_NAMES)
@settings(deadline=None)
@given(data=st.data())
def test_terms_follow_set_algebra(images, data):
    words, classes = data.draw(terms(images))
    assert answer(words, images) == classes


@pytest.mark.parametrize("images", CLASS_NAMES)
@settings(deadline=None)
@given(data=st.data())
def test_complement_and_de_morgan(images, data):
    (a, in_a), (b, _) = data.draw(st.tuples(attributes(images), attributes(images)))
    assert answer(f"not ({a})", images) == set(CLASS_NAMES[images]) - in_a == answer(f"all except ({a})", images)
    assert answer(f"not (({a}) or ({b}))", images) == answer(f"neither ({a}) nor ({b})", images)
    assert answer(f"not (both ({a}) and ({b}))", images) == answer(f"(not ({a})) or (not ({b}))", images)


@pytest.mark.parametrize("images", CLASS_NAMES)
@settings(deadline=None)
@given(data=st.data())
def test_lists_of_nouns_unite_and_conditions_intersect(images, data):
    (a, in_a), (b, in_b) = data.draw(st.tuples(phrases(images, "noun"), phrases(images, "noun")))
    assert answer(f"{a} and {b}", images) == answer(f"{a} or {b}", images) == answer(f"{a}, {b}", images) == in_a | in_b
    (c, in_c), (d, in_d) = data.draw(st.tuples(phrases(images, "condition"), phrases(images, "condition")))
    assert answer(f"{c} and {d}", images) == answer(f"both {c} and {d}", images) == in_c & in_d
    assert answer(f"{c} or {d}", images) == in_c | in_d
    assert answer(f"{a} that are {c}", images) == answer(f"{c} {a}", images) == in_a & in_c
    assert answer(f"{a} or {b} except {d}", images) == (in_a | in_b) - in_d


@pytest.mark.parametrize("images", CLASS_NAMES)
def test_the_table_is_sound(images):
    meanings = {}
    for kind, name, phrase, classes in rows(CLASS_NAMES[images]):
        assert classes <= set(CLASS_NAMES[images]), name
        assert phrase not in meanings and phrase not in FILLER and phrase not in CONNECTIVES, phrase
        assert not set(phrase.split()) & set(ARTICLES)
        meanings[phrase] = (kind, classes)
        if "N" not in name:
            assert answer(phrase, images) == classes, phrase


# Worked out by hand.
DIGITS = {
    "Give me a network that recognises odd digits": "13579",
    "Please, identify the digits 3, 5, and 7.": "357",
    "zero": "0",
    "Even squares and primes": "0423 57",
    "even or prime digits": "0246835 7",
    "even and prime digits": "2",
    "even, prime digits": "2",
    "neither even, square nor prime": "",
    "neither prime, composite nor 0": "1",
    "odd digits and zero": "013579",
    "odd digits except 3 and 5": "179",
    "odd digits greater than four": "579",
    "at least five": "56789",
    "seven or more": "789",
    "a digit less than 5 but not zero": "1234",
    "numbers from two to 4": "234",
    "greater than 2 and at most 5": "345",
    "not 3, 5 or 7": "0124689",
    "digits that are not 3, 5 or 7": "0124689",
    "digits that aren't even": "13579",
    "non-prime odd numbers": "19",
    "neither 0, 1 nor even": "3579",
    "all but the primes": "014689",
    "everything except (even digits or 9)": "1357",
    "even numbers that are (squares or primes)": "024",
    "1 and multiples of three": "10369",
    "digits not divisible by 2": "13579",
    "digits that can't be divisible by 2": "13579",
    "at least one closed loop": "0689",
    "more than one loop": "8",
    "digits with no loops": "123457",
    "2 and 3 and not 3": "2",
    "all digits, but not the even numbers or 9": "1357",
}
CIFAR10 = {
    "cats and dogs": "cat dog",
    "a kitten, a puppy or a stag": "cat dog deer",
    "Which animals can fly?": "bird",
    "animals that can fly or operate on water": "bird",
    "animals that can fly and vehicles": "bird airplane automobile ship truck",
    "man-made things that operate on water": "ship",
    "vehicles with wheels or animals with antlers": "airplane automobile truck deer",
    "animals without fur": "bird frog",
    "animals with four legs but without fur": "frog",
    "animals and not pets": "deer frog horse",
    "animals that have fur and cannot fly": "cat deer dog horse",
    "animals, but not cats, dogs or birds": "deer frog horse",
    "warm-blooded animals and frogs": "bird cat deer dog frog horse",
    "vehicles that don’t fly": "automobile ship truck",
    "cargo planes": "airplane",
    "images of non-living things": "airplane automobile ship truck",
    "means of transport other than boats": "airplane automobile truck",
}


@pytest.mark.parametrize(("prompt", "digits"), DIGITS.items())
def test_sentences_about_digits(prompt, digits):
    assert answer(prompt) == set(digits) - {" "}


@pytest.mark.parametrize(("prompt", "classes"), CIFAR10.items())
def test_sentences_about_cifar10(prompt, classes):
    assert answer(prompt, "cifar10") == set(classes.split())


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("purple digits", "unknown word 'purple'.*primes.*even.*greater than N"),
        ("digits > 4", "unknown word '>'"),
        ("digits greater than 3.5", r"unknown word '\.'"),
        ("digits greater than 1,000", "unknown word '000'"),
        ("digits greater than 12", "unknown word 'greater'.*greater than N"),
        ("odd ones", "unknown word 'ones'"),
        ("animals", "unknown word 'animals'"),
        ("please find", "names no class or property"),
        ("()", "names no class or property"),
        ("even and", "does not follow the grammar"),
        ("even )", "does not follow the grammar"),
        ("even ()", "does not follow the grammar"),
        ("3 5", "does not follow the grammar"),
        ("primes and even", "does not follow the grammar; join nouns with nouns"),
        ("all but even", "does not follow the grammar"),
        ("one even digit", "does not follow the grammar"),
        ("number of loops greater than one", "does not follow the grammar"),
        ("not even or prime", "can mean 1, 9, or 1, 2, 3, 5, 7, 9; group its words with parentheses"),
        ("not even primes", "can mean"),
        ("primes or 4 that are even", "can mean"),
        ("mammals that are both prime", "unknown word 'mammals'"),
        ("multiples of two and three", "'multiples of two and three' can be read in two ways; repeat 'multiples of'"),
        ("divisible by 2, 3 and 5", "repeat 'divisible by' before the second number"),
        (" and ".join(["even"] * LONGEST), f"more than {LONGEST}; say it shorter"),
    ],
)
def test_what_cannot_be_read_for_certain_is_refused_in_one_line(prompt, words):
    with pytest.raises(InputError, match=words) as caught:
        ask_table(prompt, CLASS_NAMES["digits"])
    assert "\n" not in str(caught.value)


def test_an_unknown_word_lists_every_row_of_its_data_set_only():
    for images, others in (("digits", "cifar10"), ("cifar10", "digits")):
        with pytest.raises(InputError) as caught:
            ask_table("purple", CLASS_NAMES[images])
        known = str(caught.value).split("known: ")[1].split(", ")
        assert {row[1] for row in rows(CLASS_NAMES[images])} == set(", ".join(known).split(", "))
        assert not set(known) & set(CLASS_NAMES[others])


def test_other_classes_are_not_in_the_table():
    with pytest.raises(InputError, match="digits and cifar10 only"):
        ask_table("cats", ("cat", "dog"))
