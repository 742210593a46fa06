"""13: are generated networks new?"""

from collections.abc import Sequence

from experiments.sweeps.findings import Difference, Verdict, difference, mean, side, yes


def memorisation(numbers: dict) -> list[Verdict]:
    """Zeng et al.'s questions, for every way of collecting; the words follow from the seeds' means and their errors.

    Where less than half of the generated networks reach the originals' lowest accuracy, that is all there is to say:
    neither distance nor similarity is worth a word.
    """
    found = []
    for name, variant in numbers["audit"].items():
        audits = [seed["groups"] for seed in variant["seeds"]]
        # At distance 0 the share of new and good networks is that of the good ones.
        works = mean([groups["RPG"]["new_and_good"][0] for groups in audits]) >= 0.5
        found += _novelty(name, audits, numbers["multiples"]) if works else [_failure(name, audits)]
    return found


def _failure(name: str, audits: list[dict]) -> Verdict:
    ours, theirs = (mean([groups[group]["accuracy"]["mean"] for groups in audits]) for group in ("RPG", "original"))
    evidence = f"mean accuracy {ours:.1f} % against {theirs:.1f} %; a network that fails is new in no useful sense"
    return Verdict(f"{name}: generated networks work, so that novelty means something", "", "no", evidence)


def _novelty(name: str, audits: list[dict], multiples: Sequence[float]) -> list[Verdict]:
    def values(group: str, key: str, statistic: str) -> list[float]:
        return [groups[group][key][statistic] for groups in audits]

    def against_originals(key: str, statistic: str) -> tuple[Difference, str]:
        ours, theirs = values("RPG", key, statistic), values("original", key, statistic)
        return difference(ours, theirs), f"{mean(ours):.3g} against {mean(theirs):.3g}"

    near, distances = against_originals("aligned_distance", "median")
    alike, similarities = against_originals("similarity", "mean")
    apart, distance = values("RPG", "apart", "median"), values("RPG", "aligned_distance", "median")
    common = side(difference(apart, distance))
    rates = {group: [_rate(groups[group], multiples) for groups in audits] for group in audits[0]}
    ours = rates.pop("RPG")
    del rates["original"]
    behind = {group: difference(ours, row) for group, row in rates.items()}
    better = [group for group, d in behind.items() if side(d) < 0]
    level = [group for group, d in behind.items() if side(d) == 0]
    rows = [f"RPG {mean(ours):.2f}", *(f"{group} {mean(rates[group]):.2f}" for group in better + level)]
    return [
        Verdict(
            f"{name}: generated networks lie nearer to a training network than training networks to each other",
            "",
            yes(side(near) < 0, side(near) == 0),
            f"median distance {distances} of the training networks' own; mean accuracy "
            f"{mean(values('RPG', 'accuracy', 'mean')):.1f} % against "
            f"{mean(values('original', 'accuracy', 'mean')):.1f} %",
        ),
        Verdict(
            f"{name}: a generated network's highest error-IoU with a training network is higher than theirs",
            "",
            yes(side(alike) > 0, side(alike) == 0),
            f"mean {similarities}",
        ),
        Verdict(
            f"{name}: generated networks share what is new: they lie nearer to each other than to a training network",
            "",
            yes(common < 0, common == 0),
            f"median distance to the nearest of their own {mean(apart):.3g}, to the nearest training network "
            f"{mean(distance):.3g}",
        ),
        Verdict(
            f"{name}: more of RPG's networks are both new and good than of every simple baseline",
            "",
            yes(not better and not level, not better),
            f"mean share over distances of 1 unit and more, with the baselines that are not behind: {', '.join(rows)}",
        ),
    ]


def _rate(group: dict, multiples: Sequence[float]) -> float:
    """The share of new and good networks, averaged over the distances at which new means anything."""
    return mean([share for k, share in zip(multiples, group["new_and_good"], strict=True) if k >= 1])
