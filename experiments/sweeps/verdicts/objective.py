"""03: what the denoiser predicts, and what it sees."""

import math
from collections.abc import Sequence

from experiments.sweeps.findings import MARGIN, Difference, Verdict, accuracies, alikeness, difference, gap, mean, side

ALIKE = 0.05
"""Error-IoU that counts as a difference between means of pairs, where the seeds do not spread wider."""


def training_objective(numbers: dict) -> list[Verdict]:
    """What predictions end in, which normalisation gives accuracy and spread, and whether the defaults stand.

    Accurate: at most `MARGIN` below the originals in the mean. Spread is kept where error-IoU among generated networks
    is at most `ALIKE` above that among originals in the mean, lost where it is above by twice its standard error, too,
    and open otherwise. The choice: of all variants whose mean accuracy is within `MARGIN` of the best, the one whose
    error-IoU among generated networks is nearest to that among originals, in the mean over seeds. A default stands
    where its accuracy is within the margin, too, and its error-IoU not clearly farther off than the choice's.
    """
    names = list(numbers["variants"])
    accurate = [name for name in names if gap(numbers, name).mean >= -MARGIN]
    excess = {name: excess_iou(numbers, name) for name in names}
    fate = {name: _fate(excess[name]) for name in accurate}
    steps = {name: steps_to_work(numbers, name) for name in names}
    sample, epsilon = ([name for name in names if name.startswith(kind)] for kind in ("sample", "epsilon"))
    pairs = list(zip(epsilon, sample, strict=True))

    def rows(chosen: Sequence[str]) -> str:
        return "; ".join(
            f"{name} {mean(accuracies(numbers, name)):.1f} %, excess IoU {excess[name]} ({fate.get(name, 'fails')})"
            for name in chosen
        )

    found = [
        Verdict(
            "sample prediction ends near the mean network: accurate, but more alike than the originals",
            "",
            _share([fate.get(name) == "lost" for name in sample]),
            f"originals {mean(accuracies(numbers, names[0], 'original')):.1f} %; {rows(sample)}",
        ),
        Verdict(
            "epsilon prediction keeps the originals' spread where it is accurate",
            "",
            _fates([fate[name] for name in epsilon if name in fate]),
            rows(epsilon),
        ),
        Verdict(
            "epsilon needs more steps than sample prediction to come within the margin of the originals' accuracy",
            "",
            _share([steps[a] > steps[b] for a, b in pairs]),
            "; ".join(f"{name} {_count(steps[name])}" for pair in pairs for name in pair),
        ),
    ]
    for kind in dict.fromkeys(name.partition(", ")[2] for name in names):
        ours = [name for name in names if name.endswith(kind)]
        found.append(
            Verdict(
                f"normalised by {kind}, generated networks are accurate and keep the spread, whatever is predicted",
                "",
                _fates([fate.get(name, "fails") for name in ours]),
                rows(ours),
            )
        )
    for use, name in DEFAULTS.items():
        found.append(stands(numbers, f"the default of {use}, {name}, stands", name, names))
    layer = [name for name in names if name.endswith("layer")]
    found.append(stands(numbers, "the default of the ablations stands on the paper's tokens", ABLATIONS, layer))
    return found


def stands(numbers: dict, claim: str, default: str, names: Sequence[str]) -> Verdict:
    """Whether a default stands against all of `names`, by the rule of `training_objective`."""
    chosen, deviation = choice_of(numbers, names)
    evidence = f"the rule chooses {chosen}, IoU off by {mean(deviation[chosen]):.2f}"
    if default not in deviation:
        return Verdict(claim, "", "no", f"{evidence}; the default's accuracy is not within the margin of the best")
    farther = difference(deviation[default], deviation[chosen])
    held = side(farther, ALIKE) <= 0
    return Verdict(claim, "", "yes" if held else "no", f"{evidence}; the default's is farther off by {farther}")


ABLATIONS = "sample, layer"
DEFAULTS = {"the main results": "velocity, residual", "the ablations": ABLATIONS}
"""What `profiles.SMALL_MODEL` and `studies.recipes.DIGITS` predict, and on what tokens."""


def choice_of(numbers: dict, names: Sequence[str]) -> tuple[str, dict[str, list[float]]]:
    """The variant that the rule of `training_objective` chooses, and the candidates' |IoU - originals'| by seed."""
    best = max(mean(accuracies(numbers, name)) for name in names)
    deviation = {
        name: [abs(a - b) for a, b in _ious(numbers, name)]
        for name in names
        if mean(accuracies(numbers, name)) >= best - MARGIN
    }
    return min(deviation, key=lambda name: mean(deviation[name])), deviation


def on_the_way(numbers: dict, variant: str) -> list[tuple[int, list[float], list[float]]]:
    """Every evaluation and the end: (step, mean accuracy by seed in percent, error-IoU among generated by seed)."""
    cells = numbers["variants"][variant]["cells"]
    evaluations = [
        *zip(*(cell["evaluations"] for cell in cells), strict=True),
        [{"step": numbers["steps"], **c} for c in cells],
    ]
    return [
        (
            row[0]["step"],
            [evaluation["generated"]["mean"] for evaluation in row],
            [evaluation["diversity"]["among_generated"] for evaluation in row],
        )
        for row in evaluations
    ]


def steps_to_work(numbers: dict, variant: str) -> float:
    """The first step at which the mean accuracy is within `MARGIN` of the originals'; infinity where there is none."""
    wanted = mean(accuracies(numbers, variant, "original")) - MARGIN
    return next((step for step, reached, _ in on_the_way(numbers, variant) if mean(reached) >= wanted), math.inf)


def _ious(numbers: dict, variant: str) -> list[tuple[float, float]]:
    keys = ("among_generated", "among_originals")
    return list(zip(*(alikeness(numbers, variant, key) for key in keys), strict=True))


def excess_iou(numbers: dict, variant: str) -> Difference:
    """How much more alike (error-IoU) generated networks are than originals."""
    return difference(*map(list, zip(*_ious(numbers, variant), strict=True)))


def _fate(excess: Difference) -> str:
    """What became of the originals' spread."""
    return "lost" if side(excess, ALIKE) > 0 else "kept" if excess.mean <= ALIKE else "open"


def _fates(found: Sequence[str]) -> str:
    """Yes where all kept it, no where none did or may have, or else how many."""
    if not found:
        return "nothing is accurate"
    if set(found) == {"kept"}:
        return "yes"
    if not {"kept", "open"} & set(found):
        return "no"
    return ", ".join(f"{found.count(fate)} {fate}" for fate in ("kept", "open", "lost", "fails") if fate in found)


def _share(held: Sequence[bool]) -> str:
    """Yes where all held, no where none did, or else how many."""
    return "yes" if all(held) else f"in {sum(held)} of {len(held)}" if any(held) else "no"


def _count(steps: float) -> str:
    return f"{steps:.0f} steps" if math.isfinite(steps) else "not reached"
