"""The table back end: a small grammar over the nouns and conditions of `rpglib.prompts.attributes`.

It knows nouns ("cats", "primes"), conditions ("even", "can fly", "with wheels") and these connectives:

- A noun with conditions is all of it: "man-made things with wheels", "even primes greater than one".
- "or" is either: "even or prime digits", "cats or dogs".
- "and" between nouns makes a list, either ("cats and dogs", "3, 5 and 7"); between conditions it is both ("animals
  that can swim and climb"). "both A and B" is always both. A noun and a bare condition do not join.
- "not", "no", "without", "neither A nor B" are the other classes; "not cats or dogs" excludes both.
- "except", "but not", "other than", "all but" take away everything that follows.
- A comma stands for the "and" or "or" that follows it, "that" opens a clause, parentheses group.

A condition before a noun describes that noun alone; beyond that no connective binds tighter than another. A prompt
whose words can be grouped in ways that select different classes is refused, and so is one with an unknown word.
"""

import re
from functools import cache
from itertools import product
from operator import and_, or_, sub

from rpglib.errors import InputError
from rpglib.prompts.attributes import ARTICLES, FILLER, NUMBERS, rows
from rpglib.tasks import CLASS_NAMES

CONNECTIVES = {
    **dict.fromkeys(("and", "&", "as well as"), "and"),
    **dict.fromkeys(("not", "no", "without", "cannot"), "not"),
    **dict.fromkeys(("that", "which", "who"), "that"),
    **dict.fromkeys(("except", "except for", "other than", "apart from", "excluding"), "except"),
    **dict.fromkeys(("but not", "but no", "but without", "but cannot"), "except"),
    # No rule takes "number of": in "number of loops above one" its words alone would mean something else.
    "number of": "number of",
    **{word: word for word in ("or", "but", "both", "neither", "nor", "non", ",", "(", ")")},
}

# A kind of words, with the classes that they mean; a connective means none.
Meaning = tuple[str, frozenset[str]]

# What else a kind may serve as: "nouns" is a list without conditions, "phrase" one noun with its conditions.
SERVES = {
    "neutral": ("phrase", "list"),
    "noun": ("nouns", "phrase", "list"),
    "nouns": ("list",),
    "phrase": ("list",),
    "negation": ("condition",),
}

# (kind, connective or none, kind): (kind of the whole, how its classes follow from those of the parts).
JOINS = {
    ("condition", None, "condition"): ("condition", and_),
    ("condition", None, "phrase"): ("phrase", and_),
    ("phrase", None, "condition"): ("phrase", and_),
    ("nouns", None, "condition"): ("list", and_),
    ("neutral", None, "phrase"): ("phrase", and_),
    ("neutral", None, "noun"): ("noun", and_),
    ("noun", None, "neutral"): ("noun", and_),
    ("condition", "and", "condition"): ("condition", and_),
    ("condition", "or", "condition"): ("condition", or_),
    ("list", "and", "negation"): ("list", and_),
    **{(kind, word, kind): (kind, or_) for kind in ("nouns", "list") for word in ("and", "or")},
    **{(a, "except", b): ("rest", sub) for a in ("list", "condition", "rest") for b in ("list", "condition")},
    # "odd but small" means both; "but" alone takes away only where nouns follow.
    **{(kind, "but", "list"): ("rest", sub) for kind in ("list", "condition", "rest")},
    **{
        (a, "nor", b): ("alternatives", or_)
        for a in ("list", "condition", "alternatives")
        for b in ("list", "condition")
    },
}
# After "both" the same words are an intersection, whatever they join.
PAIR_JOINS = {(a, "and", b): ("pair", and_) for a in ("list", "condition", "pair") for b in ("list", "condition")}

# (word, kind): (kind of the whole, whether it means the other classes).
PREFIXES = {
    ("not", "list"): ("negation", True),
    ("not", "condition"): ("negation", True),
    ("that", "list"): ("condition", False),
    ("that", "condition"): ("condition", False),
    ("both", "pair"): ("condition", False),
    ("neither", "alternatives"): ("negation", True),
}
IN_PARENTHESES = {"list": "phrase", "condition": "condition", "rest": "phrase"}

# The number of groupings grows fast with the length; what a person would write is shorter.
LONGEST = 40

_NUMBER = "|".join((*map(str, range(len(NUMBERS))), *NUMBERS))
_LISTED_NUMBERS = re.compile(
    rf"(divisible by|multiples? of|powers? of) (?:{_NUMBER}) (?:, )?(?:and|or|,) (?:{_NUMBER})\b"
)


def ask_table(prompt: str, class_names: tuple[str, ...]) -> list[int]:
    """Return one bit per class for the prompt, by the grammar of this module.

    Raises `InputError` for class names other than those of digits and CIFAR-10, an unknown word (listing what is
    known), and a prompt that names no class or property, does not follow the grammar, or can mean different classes.
    """
    if class_names not in CLASS_NAMES.values():
        raise InputError(f"the table knows the classes of {' and '.join(CLASS_NAMES)} only; use another back end")
    readings = _readings(_tokens(prompt, class_names), frozenset(class_names))
    found = {
        tuple(int(name in classes) for name in class_names) for kind, classes in readings if kind in IN_PARENTHESES
    }
    if not found:
        raise InputError(
            f"prompt {prompt!r} does not follow the grammar; join nouns with nouns and conditions with conditions "
            "('even digits and 3'), or group them with parentheses"
        )
    if len(found) > 1:
        some, others = (
            ", ".join(name for name, bit in zip(class_names, bits, strict=True) if bit) or "nothing"
            for bits in sorted(found)[:2]
        )
        raise InputError(f"prompt {prompt!r} can mean {some}, or {others}; group its words with parentheses")
    return list(*found)


@cache
def _lexicon(class_names: tuple[str, ...]) -> tuple[dict[str, str | Meaning | None], int]:
    """Return every phrase with its meaning (a connective, or None where it is ignored), and the most words of one."""
    phrases = {phrase: (kind, classes) for kind, _, phrase, classes in rows(class_names)}
    lexicon = dict.fromkeys(FILLER) | CONNECTIVES | phrases
    return lexicon, max(len(phrase.split()) for phrase in lexicon)


def _tokens(prompt: str, class_names: tuple[str, ...]) -> list[str | Meaning]:
    """Return the connectives and meanings of the prompt's words, of the longest phrases that are known."""
    text = prompt.lower().replace("’", "'").replace("can't", "cannot").replace("n't", " not").strip().rstrip(".!? ")
    words = re.findall(r"\w+|[^\w\s]", re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text))
    words = [word for word in words if word not in ARTICLES]
    if listed := _LISTED_NUMBERS.search(" ".join(words)):
        raise InputError(f"{listed[0]!r} can be read in two ways; repeat {listed[1]!r} before the second number")
    lexicon, longest = _lexicon(class_names)
    tokens, start = [], 0
    while start < len(words):
        ends = range(min(start + longest, len(words)), start, -1)
        end = next((end for end in ends if " ".join(words[start:end]) in lexicon), None)
        if end is None:
            known = ", ".join(dict.fromkeys(name for _, name, _, _ in rows(class_names)))
            raise InputError(f"unknown word {words[start]!r} in the prompt; known: {known}")
        tokens.append(lexicon[" ".join(words[start:end])])
        start = end
    tokens = [token for token in tokens if token is not None]
    # What is left of "please, a network that recognises ..." joins nothing and opens no clause.
    while tokens and tokens[0] in (",", "that"):
        tokens.pop(0)
    if not any(isinstance(token, tuple) for token in tokens):
        raise InputError(f"prompt {prompt!r} names no class or property; say what to select, such as 'even digits'")
    if len(tokens) > LONGEST:
        raise InputError(f"the prompt has {len(tokens)} words that count, more than {LONGEST}; say it shorter")
    return _group_after_not(_resolve_commas(tokens))


def _resolve_commas(tokens: list[str | Meaning]) -> list[str | Meaning]:
    """Replace each comma by the "and", "or" or "nor" that follows, and drop it where it joins nothing."""
    kept, joint = [], "and"
    for token in reversed(tokens):
        if token in ("and", "or", "nor"):
            joint = token
        if token != ",":
            kept.append(token)
        elif kept and kept[-1] not in (joint, "but", "except", "that"):
            kept.append(joint)
    return kept[::-1]


def _group_after_not(tokens: list[str | Meaning]) -> list[str | Meaning]:
    """Put parentheses around the list of nouns after a "not", so that "digits that are not 3, 5 or 7" excludes all."""
    # One letter per token, so that a pattern finds the lists.
    letters = {"not": "!", "noun": "n", "and": "j", "or": "j"}
    kinds = "".join(letters.get(token if isinstance(token, str) else token[0], ".") for token in tokens)
    grouped, start = [], 0
    for listed in re.finditer(r"(?<=!)n(jn)+", kinds):
        grouped += [*tokens[start : listed.start()], "(", *tokens[listed.start() : listed.end()], ")"]
        start = listed.end()
    return grouped + tokens[start:]


def _readings(tokens: list[str | Meaning], everything: frozenset[str]) -> frozenset[Meaning]:
    """Return every way to read all the tokens: the kind of the whole and its classes."""

    @cache
    def read(start: int, end: int) -> frozenset[Meaning]:
        head, found = tokens[start], set()
        if end - start == 1:
            found |= {head} if isinstance(head, tuple) else set()
        elif head == "non" and end - start == 2:
            # Unlike "not" it belongs to the next word alone.
            found |= {("negation", everything - classes) for _, classes in read(start + 1, end)}
        elif head == "(" and tokens[end - 1] == ")":
            inner = read(start + 1, end - 1) if end - start > 2 else ()
            found |= {(IN_PARENTHESES[kind], classes) for kind, classes in inner if kind in IN_PARENTHESES}
        elif isinstance(head, str):
            for kind, classes in read(start + 1, end):
                if (head, kind) in PREFIXES:
                    whole, complement = PREFIXES[head, kind]
                    found.add((whole, everything - classes if complement else classes))
        for middle in range(start + 1, end):
            splits = [(None, middle)]
            if isinstance(tokens[middle], str) and middle + 1 < end:
                splits.append((tokens[middle], middle + 1))
            for word, right in splits:
                for (kind, classes), (other_kind, others) in product(read(start, middle), read(right, end)):
                    for joins in (JOINS, PAIR_JOINS):
                        if (kind, word, other_kind) in joins:
                            whole, combine = joins[kind, word, other_kind]
                            found.add((whole, combine(classes, others)))
        return frozenset((served, classes) for kind, classes in found for served in (kind, *SERVES.get(kind, ())))

    return read(0, len(tokens))
