"""Words to tasks: the authors' demo and our prompts about digits, and mistakes that every back end shares."""

from functools import partial

import pytest

from experiments.tasks.prompt_sets import DEMO_PROMPTS, DIGIT_PROMPTS
from rpglib.errors import InputError
from rpglib.prompts.task import task_from_prompt
from rpglib.tasks import CLASS_NAMES

# Where the demo's label is not true of the classes: what the table answers, and why.
DEMO_DIFFERENCES = {
    # Birds have feathers.
    "Find all animals with fur": {"cat", "deer", "dog", "horse"},
    # Deer, dogs and horses swim without being taught, as cats do.
    "Identify all animals that can swim naturally": {"cat", "deer", "dog", "frog", "horse"},
    # Frogs have four.
    "Select all creatures with four legs": {"cat", "deer", "dog", "frog", "horse"},
    # Cats and dogs live with people.
    "Identify all creatures that live in forests": {"bird", "deer"},
    # Birds fly there, and dogs stay below.
    "Identify all animals that can climb trees": {"cat"},
    "Select all animals that are both pets and can climb": {"cat"},
}


def answer(prompt, images):
    bits = task_from_prompt(prompt, images)
    return {name for name, bit in zip(CLASS_NAMES[images], bits, strict=True) if bit}


def test_a_task_is_ten_bits():
    assert task_from_prompt("Give me a network that recognises odd digits") == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("prompt", DEMO_PROMPTS)
def test_demo(prompt):
    assert answer(prompt, "cifar10") == DEMO_DIFFERENCES.get(prompt, set(DEMO_PROMPTS[prompt]))


def test_the_demo_is_whole_and_the_differences_are_real():
    assert len(DEMO_PROMPTS) == 21
    for prompt, truth in DEMO_DIFFERENCES.items():
        assert set(DEMO_PROMPTS[prompt]) != truth


@pytest.mark.parametrize("prompt", DIGIT_PROMPTS)
def test_digits(prompt):
    assert answer(prompt, "digits") == set(DIGIT_PROMPTS[prompt])


def test_there_are_twenty_different_tasks_about_digits():
    assert len(DIGIT_PROMPTS) == len({frozenset(classes) for classes in DIGIT_PROMPTS.values()}) == 20


def test_any_callable_is_a_back_end_and_its_answer_is_checked():
    def spell(prompt, class_names, bit):
        return [bit * (name in prompt) for name in class_names]

    assert task_from_prompt("a frog", "cifar10", partial(spell, bit=1)) == [0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
    with pytest.raises(InputError, match="prompt 'a frog'"):
        task_from_prompt("a frog", "cifar10", partial(spell, bit=2))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("", "digits"), "prompt is empty"),
        ((" \n", "digits"), "prompt is empty"),
        (("all digits", "digits"), "prompt 'all digits'"),
        (("animals and vehicles", "cifar10"), "prompt 'animals and vehicles'"),
        (("even\nand odd", "digits"), r"prompt 'even\\nand odd'"),
        (("even digits", "imagenet"), "unknown data set 'imagenet'; known: digits, cifar10"),
        (("even digits", "digits", "oracle"), "unknown back end 'oracle'; known: table, endpoint, local"),
        (("even digits", "cifar10"), "unknown word 'even'"),
    ],
)
def test_mistakes_are_one_clear_line(arguments, words):
    with pytest.raises(InputError, match=words) as caught:
        task_from_prompt(*arguments)
    assert "\n" not in str(caught.value)
