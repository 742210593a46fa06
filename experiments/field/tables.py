"""The tables of `24_baselines`, from the numbers of its record."""

from collections.abc import Callable, Mapping
from statistics import mean

import pandas as pd

from experiments.field.jobs import RPG_ROW
from experiments.field.study import EQUAL, OWN
from experiments.sweeps.tables import over_seeds, three_digits

MB, GB = 1e6, 1e9


def lower(row: Mapping) -> float:
    """The lower of a group's median plain and aligned distances."""
    return min(row["distance"], row["aligned_distance"])


def accuracy(row: Mapping) -> float:
    """The mean accuracy of a group."""
    return row["accuracy"]["mean"]


def better(zoo: Mapping, method: str) -> str:
    """The length at which a method's networks are more accurate on validation images; its own where it has no other."""

    def validation(length: str) -> float:
        found = [x for x in each(zoo, length, method, lambda row: row["validation"]) if x is not None]
        return mean(found) if found else -1

    return max((OWN, EQUAL), key=validation)


def each(zoo: Mapping, length: str, method: str, value: Callable[[Mapping], float | None]) -> list:
    """A number of every seed's row of a method, None where it could not be fitted.

    What stands beside RPG has one length.
    """
    rows = zoo["rows"][length].get(method) or zoo["rows"][OWN][method]
    return [row and value(row) for row in rows]


def methods(zoo: Mapping, multiples: list[float]) -> pd.DataFrame:
    """Mean accuracy, error-IoU, distance, share of new and good, at both lengths; over seeds.

    New is what is at least 1 LOO from every original, by the lower of plain and aligned distance.
    """
    new = multiples.index(1)
    return _at_both_lengths(
        zoo,
        {
            "mean accuracy (%)": (accuracy, over_seeds),
            "error-IoU": (lambda row: row["error_iou"], over_seeds),
            "distance (LOO)": (lower, three_digits),
            "new and good (%)": (lambda row: 100 * row["new_and_good"][new], lambda values: over_seeds(values, 0)),
        },
    )


def extremes(zoo: Mapping) -> pd.DataFrame:
    """What table 8's format has beside the mean: best, worst and deviation of accuracy, at both lengths; over seeds."""
    labels = {"best (%)": "max", "worst (%)": "min", "deviation (points)": "std"}
    return _at_both_lengths(
        zoo, {label: (lambda row, key=key: row["accuracy"][key], over_seeds) for label, key in labels.items()}
    )


def _at_both_lengths(zoo: Mapping, columns: Mapping[str, tuple[Callable, Callable]]) -> pd.DataFrame:
    """A row for each method, {label: (number of a row, text of its values)} at its own length and at RPG's time.

    What has one length stands once, at its own.
    """
    table = {
        (label, length): {
            name: text(each(zoo, length, name, value)) if length == OWN or name in zoo["rows"][EQUAL] else ""
            for name in zoo["rows"][OWN]
        }
        for label, (value, text) in columns.items()
        for length in (OWN, EQUAL)
    }
    return pd.DataFrame(table)


def cost(zoo: Mapping) -> pd.DataFrame:
    """Parameters and memory of fitted generators, seconds of one core to fit, at both lengths, and to write a network.

    images: those that a generator keeps, to measure BatchNorm's statistics or to choose by.
    """
    rows = {}
    for name, found in zoo["cost"][OWN].items():
        # RPG has one length.
        equal = found if name == RPG_ROW else zoo["cost"][EQUAL].get(name)
        milliseconds = 1e3 * found["network"]["mean"]
        rows[name] = {
            "parameters": f"{found['generator_parameters']:,}",
            "weights (MB)": f"{found['generator_bytes']['weights'] / MB:.1f}",
            "images (MB)": f"{found['generator_bytes']['images'] / MB:.1f}",
            "fit, own length (s)": f"{found['fit']['mean']:.0f}",
            "fit, RPG's time (s)": f"{equal['fit']['mean']:.0f}" if equal else "-",
            "a network (ms)": f"{milliseconds:.0f}" if milliseconds >= 1 else "< 1",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def held_out(zoos: Mapping) -> pd.DataFrame:
    """What autoencoders make of networks that they have seen and of held-out ones, by zoo and method.

    Points of accuracy that are lost (means); error of weights as a share of the mean network's; and how many (percent)
    reconstructions of held-out networks lie nearer to a network that was learned from than to the one that they are of.
    """
    rows = {
        (name, method): {
            **{f"points lost, {kind}": f"{lost['mean']:.2f}" for kind, lost in found["lost"].items()},
            **{f"error, {kind}": f"{error:.2f}" for kind, error in found["error"].items()},
            "nearer to another (%)": f"{100 * found['nearer']:.0f}",
        }
        for name, zoo in zoos.items()
        for method, found in zoo["held_out"].items()
        if "lost" in found
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def failed(zoos: Mapping) -> pd.DataFrame:
    """Why methods, and autoencoders without held-out networks, could not be fitted, by zoo and length, method, seed."""
    found = {(name, what): {"why": why} for name, zoo in zoos.items() for what, why in zoo["failed"].items()}
    found |= {
        (name, f"held out, {method}"): {"why": one["failed"]}
        for name, zoo in zoos.items()
        for method, one in zoo["held_out"].items()
        if "failed" in one
    }
    return pd.DataFrame.from_dict(found, orient="index", columns=["why"])


def largest(scale: Mapping) -> dict[str, int]:
    """By method, the parameters of the largest network that fits, 0 for none."""
    return {
        method: max((one["parameters"] for one in found.values() if one["fits"]), default=0)
        for method, found in scale.items()
    }


def memory(scale: Mapping) -> pd.DataFrame:
    """GB that one step of training holds, by network; with "> " where it is known that it needs more, "slow" beyond the
    time that a step may take."""

    def cell(one: Mapping) -> str:
        if one["held_bytes"] is not None:
            return f"{one['held_bytes'] / GB:.1f}"
        return "slow" if one["too_slow"] else f"> {one['more_than'] / GB:,.0f}"

    rows = {method: {name: cell(one) for name, one in found.items()} for method, found in scale.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="memory (GB)")


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
