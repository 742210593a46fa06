"""What the table back end knows: nouns and conditions for the classes of CIFAR-10 and for digits.

Each row reads "first name, synonyms": "classes". A class has an attribute when its typical member has it, so that
a bird flies though a penguin does not. Digits are meant in their usual written form: 0, 6, 8 and 9 have a closed
loop, 8 two (an open 4 has none); 1, 4 and 7 are straight lines only, 0, 3, 6, 8 and 9 curves only.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from itertools import product

from rpglib.tasks import CLASS_NAMES

ANIMALS = "bird cat deer dog frog horse"
VEHICLES = "airplane automobile ship truck"

CIFAR10_NOUNS = {
    "airplane, airplanes, aeroplane, aeroplanes, plane, planes, aircraft, jet, jets": "airplane",
    "automobile, automobiles, car, cars": "automobile",
    "bird, birds": "bird",
    "cat, cats, kitten, kittens, feline, felines": "cat",
    "deer, deers, stag, stags": "deer",
    "dog, dogs, puppy, puppies, canine, canines": "dog",
    "frog, frogs, toad, toads": "frog",
    "horse, horses, pony, ponies": "horse",
    "ship, ships, boat, boats, vessel, vessels": "ship",
    "truck, trucks, lorry, lorries": "truck",
    "animal, animals, creature, creatures, living thing, living things, living being, living beings": ANIMALS,
    "vehicle, vehicles, transport, transportation, means of transport, means of transportation": VEHICLES,
    "mammal, mammals": "cat deer dog horse",
    "amphibian, amphibians": "frog",
    "pet, pets": "bird cat dog",
    "hunter, hunters": "cat dog",
    "herbivore, herbivores": "deer horse",
    "machine, machines": VEHICLES,
}

CIFAR10_CONDITIONS = {
    "living, alive": ANIMALS,
    "man made, artificial, made by humans": VEHICLES,
    "fly, flies, flying": "airplane bird",
    "wings, winged": "airplane bird",
    "feathers, feathered": "bird",
    # Mammals swim without being taught; of birds only some do.
    "swim, swims, swimming, swim naturally": "cat deer dog frog horse",
    "climb, climbs, climbing, climb trees, climb tree": "cat",
    "hunt, hunts, hunting, hunt animals, hunt other animals": "cat dog",
    "fur, furry": "cat deer dog horse",
    "hooves, hoofed": "deer horse",
    "antlers": "deer",
    "lay eggs": "bird frog",
    "four legs, 4 legs, four legged": "cat deer dog frog horse",
    "two legs, 2 legs, two legged": "bird",
    "cold blooded": "frog",
    "warm blooded": "bird cat deer dog horse",
    "make noise naturally, make noises naturally, make sounds naturally": ANIMALS,
    "household, households, home, homes": "bird cat dog",
    "forest, forests, woods": "bird deer",
    "near water": "bird frog",
    "on water": "ship",
    "road, roads": "automobile truck",
    "wheels, wheeled": "airplane automobile truck",
    "engine, engines, motor, motors, motorised, motorized": VEHICLES,
    "cargo, freight, goods": VEHICLES,
    "commercial": VEHICLES,
}

DIGIT_NOUNS = {
    "0, zero, zeros, zeroes": "0",
    "1, one": "1",  # not "ones", which in "odd ones" means digits
    "2, two, twos": "2",
    "3, three, threes": "3",
    "4, four, fours": "4",
    "5, five, fives": "5",
    "6, six, sixes": "6",
    "7, seven, sevens": "7",
    "8, eight, eights": "8",
    "9, nine, nines": "9",
    "primes": "2 3 5 7",
    "composites": "4 6 8 9",
    "squares, perfect square, perfect squares": "0 1 4 9",
    "cubes, perfect cube, perfect cubes": "0 1 8",
    "powers of two, power of two, powers of 2, power of 2": "1 2 4 8",
    "powers of three, power of three, powers of 3, power of 3": "1 3 9",
}

DIGIT_CONDITIONS = {
    "even": "0 2 4 6 8",
    "odd": "1 3 5 7 9",
    "prime": "2 3 5 7",
    "composite": "4 6 8 9",
    "square": "0 1 4 9",
    "cubic": "0 1 8",
    "fibonacci": "0 1 2 3 5 8",
    "nonzero": "1 2 3 4 5 6 7 8 9",
    "closed loop, closed loops, loop, loops, hole, holes": "0 6 8 9",
    "straight lines only, only straight lines, only of straight lines": "1 4 7",
    "curves only, only curves, only of curves": "0 3 6 8 9",
}

# Phrases with numbers N and M from 0 to 10, as numerals or words, and the test that a value must pass.
COMPARISONS = {
    "greater than N, larger than N, bigger than N, higher than N, more than N, above N, over N": operator.gt,
    "less than N, smaller than N, lower than N, fewer than N, below N, under N": operator.lt,
    "at least N, no less than N, greater than or equal to N, N or more, N or greater, N or larger": operator.ge,
    "at most N, no more than N, less than or equal to N, up to N, N or less, N or smaller": operator.le,
}
RANGES = {"between N and M, from N to M": lambda value, low, high: low <= value <= high}
DIVISIBLE = {"divisible by N": lambda value, number: number > 0 and value % number == 0}
MULTIPLES = {"multiples of N, multiple of N": DIVISIBLE["divisible by N"]}
EQUAL = {"N": operator.eq}

# "at least one closed loop" counts loops; without these phrases it would be read as "at least one, with a closed loop".
LOOPS_OF_DIGIT = (1, 0, 0, 0, 0, 0, 1, 0, 2, 1)
LOOPS = (" closed loops", " closed loop", " loops", " loop", " holes", " hole")
NUMBERS = "zero one two three four five six seven eight nine ten".split()

# Nouns that stand for every class.
NEUTRAL = "all, every, each, any, everything, anything, class, classes, image, images, picture, pictures, photo, photos"
CIFAR10_NEUTRAL = "thing, things, object, objects, item, items, kind, kinds, method, methods, mode, modes, " + NEUTRAL
DIGIT_NEUTRAL = "digit, digits, number, numbers, numeral, numerals, integer, integers, " + NEUTRAL

ARTICLES = ("a", "an", "the")

# Words that change nothing: who asks, who answers, and verbs whose object carries the meaning.
FILLER = """
    please give me i want need build create generate show find finds select selects choose pick get identify identifies
    classify classifies recognise recognises recognize recognizes detect detects finding selecting identifying
    classifying recognising recognizing detecting network networks model models classifier neural
    is are be being can able have has having with do does use used live lives carry carries travel travels
    operate operates commonly found drawn written consist consists consisting either regarded as
    of on in at for to : " '
""".split()


def rows(class_names: tuple[str, ...]) -> Iterator[tuple[str, str, str, frozenset[str]]]:
    """Yield kind ("neutral", "noun", "condition"), name of its row, phrase and classes for each phrase of a data set.

    A row with numbers has N and M in its name. Takes the class names of a data set in `CLASS_NAMES`.
    """
    digits = class_names == CLASS_NAMES["digits"]
    for phrase in (DIGIT_NEUTRAL if digits else CIFAR10_NEUTRAL).split(", "):
        yield "neutral", "all", phrase, frozenset(class_names)
    nouns, conditions = (DIGIT_NOUNS, DIGIT_CONDITIONS) if digits else (CIFAR10_NOUNS, CIFAR10_CONDITIONS)
    for kind, table in (("noun", nouns), ("condition", conditions)):
        for phrases, classes in table.items():
            for phrase in phrases.split(", "):
                yield kind, phrases.split(", ")[0], phrase, frozenset(classes.split())
    if digits:
        yield from _rows_with_numbers("condition", COMPARISONS | RANGES | DIVISIBLE, range(10))
        yield from _rows_with_numbers("noun", MULTIPLES, range(10))
        for ending in LOOPS:
            yield from _rows_with_numbers("condition", EQUAL | COMPARISONS, LOOPS_OF_DIGIT, ending)


def _rows_with_numbers(
    kind: str, tests: dict[str, Callable[..., bool]], values: Sequence[int], ending: str = ""
) -> Iterator[tuple[str, str, str, frozenset[str]]]:
    """Yield the rows of `tests` with every number filled in; `values` says for each digit what is compared."""
    for phrases, test in tests.items():
        # One name for all counts of loops keeps the list of what is known short.
        name = f"N{LOOPS[0]}" if ending else phrases.split(", ")[0]
        for template in phrases.split(", "):
            for numbers in product(range(len(NUMBERS)), repeat=1 + ("M" in template)):
                classes = frozenset(str(digit) for digit, value in enumerate(values) if test(value, *numbers))
                for spelled in product(*((str(number), NUMBERS[number]) for number in numbers)):
                    yield kind, name, template.replace("N", spelled[0]).replace("M", spelled[-1]) + ending, classes
