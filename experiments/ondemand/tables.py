"""The tables of `22_networks_on_demand`, from the numbers of its record; accuracies are in percent."""

from collections.abc import Iterable, Sequence

import pandas as pd

from experiments.ondemand.family import HELD_OUT, KINDS
from experiments.ondemand.study import GENERALIST
from experiments.sweeps.findings import mean
from experiments.sweeps.tables import over_seeds
from rpglib.errors import InputError


def each(numbers: dict, method: str, kinds: Sequence[str] = HELD_OUT) -> list[float]:
    """A method's mean accuracy over the rows of these kinds, as far as they were measured, for every seed."""
    return [mean([value for value in row if value is not None]) for row in _rows(numbers, method, kinds)]


def against(numbers: dict, method: str, other: str, kinds: Sequence[str] = HELD_OUT) -> list[float]:
    """How much more accurate (points) a method is than another, by seed, over the rows that both were measured for."""
    pairs = zip(_rows(numbers, method, kinds), _rows(numbers, other, kinds), strict=True)
    return [mean([a - b for a, b in zip(*pair, strict=True) if None not in (a, b)]) for pair in pairs]


def _rows(numbers: dict, method: str, kinds: Sequence[str]) -> list[list[float | None]]:
    found = numbers["accuracy"][method]
    seeds = max(len(rows) for rows in numbers["accuracy"].values())
    # What has no seeds, the specialists, is the same for all of them.
    found = found * seeds if len(found) == 1 else found
    return [[value for value, kind in zip(row, numbers["kinds"], strict=True) if kind in kinds] for row in found]


def methods(numbers: dict, names: Iterable[str]) -> pd.DataFrame:
    """Means ± deviations over seeds by kind of row and over all that is held out; a network's weights and seconds.

    Seconds are those of one core: of what is trained once, and of each network.
    """

    def shown(name: str, *kinds: str) -> str:
        found = each(numbers, name, *kinds)
        return over_seeds(found) if len(numbers["accuracy"][name]) > 1 else f"{found[0]:.2f}"

    rows = {}
    for name in names:
        cost = numbers["cost"][name]
        rows[name] = {kind: shown(name, (kind,)) for kind in KINDS}
        rows[name] |= {
            "all held out": shown(name),
            "weights": f"{numbers['weights'][name]:,}",
            "trained once (s)": f"{cost['train']['mean']:.0f}" if "train" in cost else "-",
            "a network (s)": f"{cost['network']['mean']:.2g}" if "network" in cost else "-",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def once(numbers: dict, method: str, size: int, of: str = "mean") -> float:
    """Seconds of one core that are spent before the first network is asked for, by a generator.

    Its training, `size` networks of the zoo, and the generalist that these were fine-tuned from; of: "mean" or "max"
    over seeds.
    """
    zoo, cost = numbers["zoo"], numbers["cost"]
    # An older record leaves it out: there it is the generalist that is compared.
    start = zoo.get("start_cpu_seconds", cost[GENERALIST]["train"][of])
    return cost[method]["train"][of] + start + size / zoo["networks"] * zoo["cpu_seconds"]


def renewed(numbers: dict, others: dict) -> dict:
    """The numbers of a study, but of methods that another one measured, too, that one's.

    Raises `InputError` where they were not measured for the same circumstances.
    """
    if numbers["rows"] != others["rows"]:
        raise InputError("the two studies are of different circumstances; compute both again with fresh=True")
    return numbers | {key: numbers[key] | others[key] for key in ("accuracy", "weights", "cost")}


def curve(numbers: dict, sizes: Sequence[int]) -> pd.DataFrame:
    """Means ± deviations over seeds on all that is held out, by the number of the zoo's networks."""
    names = dict.fromkeys(name.rpartition(" @ ")[0] for name in numbers["accuracy"] if " @ " in name)
    rows = {name: [over_seeds(each(numbers, f"{name} @ {size}")) for size in sizes] for name in names}
    return pd.DataFrame.from_dict(rows, orient="index", columns=pd.Index(sizes, name="networks of the zoo"))
