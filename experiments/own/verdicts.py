"""Whether a generator works, is more than the mean and is new: what the claims are about, and in plain words."""

import statistics
from collections.abc import Sequence

from experiments.claims import Verdict
from experiments.own.measures import CHECKPOINTS, GENERATED, MEAN, UNTRAINED

GAP = 1e-9
"""Where an untrained generator does as well as checkpoints, scores tell nothing."""


def shares(found: dict) -> tuple[list[float] | None, list[float] | None, list[float] | None]:
    """What each generated network has closed of the gap (percent), how much more than the mean network, its distance.

    Networks of one permutation state are nearly the same, so each state counts once. None for what cannot be told:
    without scores, or where they do not tell checkpoints from an untrained generator's networks; with one checkpoint.
    """
    groups, states = found["groups"], found["suggestion"]["states"] or None
    works = beyond = None
    if groups[GENERATED]["scores"] is not None:
        low, high = (statistics.fmean(groups[name]["scores"]) for name in (UNTRAINED, CHECKPOINTS))
        if high - low > GAP:
            works = [100 * (s - low) / (high - low) for s in groups[GENERATED]["scores"][:states]]
            (mean,) = groups[MEAN]["scores"]
            beyond = [x - 100 * (mean - low) / (high - low) for x in works]
    distances = groups[GENERATED]["distances"]
    return works, beyond, None if distances is None else distances[:states]


def in_words(verdicts: Sequence[Verdict], found: dict) -> str:
    """The verdicts as a person would say them, a line for each question."""
    said = {v.claim.split(":")[0]: v.word for v in verdicts}
    answers = {
        "it works": ("Its networks work.", "Its networks do not work.", "Whether its networks work"),
        "it is more than the mean": (
            "They are better than the mean network of the zoo.",
            "They are no better than the mean network: average the checkpoints, or train on several runs.",
            "Whether they are more than the mean network",
        ),
        "it is new": (
            "They are as far from the checkpoints as these are from each other.",
            "They lie nearer to a checkpoint than checkpoints lie to each other: take them for copies.",
            "Whether they are new",
        ),
    }
    lines = []
    for claim, (yes, no, question) in answers.items():
        word = said.get(claim)
        if word is None:
            lines.append(f"{question} cannot be told: {_why(claim, found)}.")
        else:
            lines.append(
                {"holds": yes, "does not hold": no}.get(word, f"{question} is not decided by so few networks.")
            )
    if said.get("it works") == "does not hold":
        # What does not work is neither a copy nor anything new worth having.
        lines[2] = "How far they lie from the checkpoints means nothing, as they do not work."
    return "\n".join(lines)


def _why(claim: str, found: dict) -> str:
    if claim == "it is new":
        return "one checkpoint has no neighbour"
    if found["groups"][GENERATED]["scores"] is None:
        return "nothing evaluates; name a function in evaluate"
    return "checkpoints score no better than an untrained generator's networks"
