"""05: what a generator's convergence depends on."""

import math
from dataclasses import dataclass

from experiments.sweeps.findings import MARGIN, Verdict, accuracies, alikeness, difference, gap, mean, side
from experiments.sweeps.verdicts.objective import ALIKE, excess_iou, on_the_way, stands

SOONER = 0.75
"""Share of the base's training time that counts as less: evaluations are rare, and seconds differ from run to run."""
BASE, SHORT, AVERAGED = "base", "half the steps", "averaged weights"


@dataclass(frozen=True)
class Point:
    """What a variant has reached: after how many steps and seconds, with which accuracies (percent) and error-IoUs."""

    step: int
    seconds: float
    accuracies: list[float]
    alike: list[float]


def path(numbers: dict, variant: str) -> list[Point]:
    """A variant's evaluations and its end; seconds are of training alone, of the seed that was disturbed least."""
    cells = numbers["variants"][variant]["cells"]
    seconds = [[evaluation["seconds"] for evaluation in cell["evaluations"]] + [_trained(cell)] for cell in cells]
    found = on_the_way(numbers | {"steps": numbers["steps"][variant]}, variant)
    return [Point(step, min(s), *rest) for (step, *rest), s in zip(found, zip(*seconds, strict=True), strict=True)]


def _trained(cell: dict) -> float:
    return cell["seconds"]["train"] - cell["seconds"]["evaluate"]


def seconds_to_work(numbers: dict, variant: str) -> float:
    """Training seconds at the first evaluation with a mean accuracy within `MARGIN` of the originals', or infinity."""
    wanted = mean(accuracies(numbers, variant, "original")) - MARGIN
    return next((p.seconds for p in path(numbers, variant) if mean(p.accuracies) >= wanted), math.inf)


def cifar10_convergence(numbers: dict) -> list[Verdict]:
    """Which levers bring a generator to the originals' accuracy sooner, where they end, and whether the base stands.

    Sooner: in at most `SOONER` of the base's training seconds, later: in at least as much more. Better or worse at the
    end: by `MARGIN` and twice the standard error over seeds. A variant ends as well as the base where it is not worse
    and its error-IoU is not clearly farther from the originals' (by 0.05 and twice the standard error). The base stands
    by the rule of `training_objective`.
    """
    names = list(numbers["variants"])
    found = [_sooner(numbers, name) for name in names if name not in (BASE, SHORT, AVERAGED)]
    found.append(_decay(numbers))
    found += [_ends(numbers, name) for name in (SHORT, AVERAGED)]
    return [*found, stands(numbers, "the recipe of the row, base, stands", BASE, names)]


def _sooner(numbers: dict, name: str) -> Verdict:
    seconds, base = (seconds_to_work(numbers, variant) for variant in (name, BASE))
    evidence = f"{_reached(name, seconds)}, {_reached(BASE, base)}; at the end {_end(numbers, name)}"
    claim = f"{name}: less training time than the base's to come within the margin of the originals' accuracy"
    if not math.isfinite(seconds + base):
        word = "no clear difference" if seconds == base else "yes" if seconds < base else "no"
    else:
        word = "yes" if seconds <= SOONER * base else "no" if base <= SOONER * seconds else "no clear difference"
    return Verdict(claim, "", word, evidence)


def _decay(numbers: dict) -> Verdict:
    """The end of the shorter training against the base at the same step, whose learning rate is high there."""
    end = path(numbers, SHORT)[-1]
    same = next(point for point in path(numbers, BASE) if point.step == end.step)
    ahead = difference(end.accuracies, same.accuracies)
    word = {1: "yes", 0: "no clear difference", -1: "no"}[side(ahead, MARGIN)]
    claim = f"after {end.step} steps a learning rate that has fallen to zero is ahead of one that is still high"
    return Verdict(claim, "", word, f"{ahead} points; error-IoU {mean(end.alike):.2f} against {mean(same.alike):.2f}")


def _ends(numbers: dict, name: str) -> Verdict:
    better = difference(accuracies(numbers, name), accuracies(numbers, BASE))
    farther = difference(_distances(numbers, name), _distances(numbers, BASE))
    held = side(better, MARGIN) >= 0 and side(farther, ALIKE) <= 0
    evidence = f"{better} points against the base; at the end {_end(numbers, name)}"
    return Verdict(f"{name}: ends as well as the base", "", "yes" if held else "no", evidence)


def _distances(numbers: dict, variant: str) -> list[float]:
    """By seed, how far generated networks' error-IoU is from that among originals."""
    pairs = zip(*(alikeness(numbers, variant, key) for key in ("among_generated", "among_originals")), strict=True)
    return [abs(generated - original) for generated, original in pairs]


def _end(numbers: dict, name: str) -> str:
    return f"{gap(numbers, name)} points from the originals, excess IoU {excess_iou(numbers, name)}"


def _reached(name: str, seconds: float) -> str:
    return f"{name} {seconds:.0f} s" if math.isfinite(seconds) else f"{name} not reached"
