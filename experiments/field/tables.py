"""The tables of `24_baselines`, from the numbers of its record; accuracies are in percent, distances in LOO."""

from collections.abc import Callable, Mapping

import pandas as pd

from experiments.field.jobs import RPG_ROW
from experiments.field.study import EQUAL, OWN
from experiments.sweeps.tables import over_seeds

MB = 1e6


def lower(row: Mapping) -> float:
    """The lower of a group's median plain and aligned distances."""
    return min(row["distance"], row["aligned_distance"])


def each(zoo: Mapping, length: str, method: str, value: Callable[[Mapping], float | None]) -> list:
    """A number of every seed's row of a method; what stands beside RPG has one length."""
    rows = zoo["rows"][length].get(method) or zoo["rows"][OWN][method]
    return [value(row) for row in rows]


def methods(zoo: Mapping, multiples: list[float], length: str = OWN) -> pd.DataFrame:
    """Table 8's format: best, mean, worst, deviation, error-IoU, distance, share of new and good, cost; over seeds.

    New is what is at least 1 LOO from every original, by the lower of plain and aligned distance.
    """
    new = multiples.index(1)
    columns = {
        "best": lambda row: row["accuracy"]["max"],
        "mean": lambda row: row["accuracy"]["mean"],
        "worst": lambda row: row["accuracy"]["min"],
        "deviation": lambda row: row["accuracy"]["std"],
        "error-IoU": lambda row: row["error_iou"],
        "distance": lower,
        "new and good (%)": lambda row: 100 * row["new_and_good"][new],
    }
    names = list(zoo["rows"][OWN]) if length == OWN else [RPG_ROW, *zoo["rows"][length]]
    rows = {
        name: {label: over_seeds(each(zoo, length, name, value)) for label, value in columns.items()} for name in names
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def cost(zoo: Mapping) -> pd.DataFrame:
    """Parameters and memory (MB) of fitted generators, seconds of one core to fit, at both lengths, and to write."""
    rows = {}
    for name, found in zoo["cost"][OWN].items():
        equal = zoo["cost"][EQUAL].get(name)
        rows[name] = {
            "parameters": f"{found['generator_parameters']:,}",
            "memory (MB)": f"{found['generator_bytes'] / MB:.1f}",
            "fit, own length (s)": f"{found['fit']['mean']:.0f}",
            "fit, RPG's time (s)": f"{(equal or found)['fit']['mean']:.0f}",
            "a network (ms)": f"{1e3 * found['network']['mean']:.0f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def held_out(zoos: Mapping) -> pd.DataFrame:
    """What autoencoders lose (points, means) of networks that they have seen and of held-out ones."""
    rows = {
        (name, method): {kind: f"{lost[kind]['mean']:.2f}" for kind in ("seen", "held out")}
        for name, zoo in zoos.items()
        for method, lost in zoo["held_out"].items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def largest(scale: Mapping) -> dict[str, int]:
    """By method, the parameters of the largest network that fits, 0 for none."""
    return {
        method: max((one["parameters"] for one in found.values() if one["fits"]), default=0)
        for method, found in scale.items()
    }


def memory(scale: Mapping) -> pd.DataFrame:
    """GB that one step of training holds, by network; with "> " those that its weights alone would need."""

    def cell(one: Mapping | None) -> str:
        if one is None:
            return "-"
        if one["held_bytes"] is None:
            return f"> {one['least_bytes'] / 1e9:,.0f}"
        return f"{one['held_bytes'] / 1e9:.1f}"

    names = list(dict.fromkeys(name for found in scale.values() for name in found))
    rows = {method: {name: cell(found.get(name)) for name in names} for method, found in scale.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def aspects(gaps: Mapping, most: Mapping[str, int], tasks: Mapping[str, str]) -> pd.DataFrame:
    """Table 14 (v2) with numbers: largest network (parameters), gap to originals (points), unseen tasks (%)."""
    rows = {
        method: {
            "largest network in 8 GB (M parameters)": f"{most[method] / 1e6:.3g}",
            "gap to originals (points)": over_seeds(values),
            "unseen tasks (%)": tasks[method],
        }
        for method, values in gaps.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")
