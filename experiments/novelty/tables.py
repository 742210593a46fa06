"""The tables of `21_new_networks`, from the numbers of its record; accuracies are in percent, distances in LOO."""

from collections.abc import Callable, Iterable

import pandas as pd

from experiments.sweeps.tables import over_seeds


def each(numbers: dict, method: str, value: Callable[[dict], float | None]) -> list:
    """A number of every seed's row of a method; what has no seeds, the originals, is the same for all of them."""
    found = [value(row) for row in numbers["rows"][method]]
    seeds = max(len(rows) for rows in numbers["rows"].values())
    return found * seeds if len(found) == 1 else found


def methods(numbers: dict, names: Iterable[str] | None = None) -> pd.DataFrame:
    """Means ± deviations over seeds of each group's accuracy (mean, deviation, minimum) and median distances."""
    columns = {
        "networks": lambda row: row["n"],
        "accuracy (%)": lambda row: row["accuracy"]["mean"],
        "its deviation (points)": lambda row: row["accuracy"]["std"],
        "worst (%)": lambda row: row["accuracy"]["min"],
        "distance (LOO)": lambda row: row["distance"]["median"],
        "aligned (LOO)": lambda row: row["aligned_distance"]["median"],
        "without scales (LOO)": lambda row: row["distance_without_scales"]["median"],
        "apart (LOO)": lambda row: row["apart"] and row["apart"]["median"],
        "error-IoU": lambda row: row["error_iou"],
    }
    rows = {
        name: {
            label: str(numbers["rows"][name][0]["n"]) if label == "networks" else over_seeds(each(numbers, name, value))
            for label, value in columns.items()
        }
        for name in (numbers["rows"] if names is None else names)
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def new_and_good(numbers: dict) -> pd.DataFrame:
    """Shares (percent, means over seeds) of networks that are good and at least so many LOO from every original."""

    def share(name: str, k: int) -> str:
        shares = each(numbers, name, lambda row: row["new_and_good"][k])
        return f"{100 * sum(shares) / len(shares):.0f}"

    rows = {name: [share(name, k) for k in range(len(numbers["multiples"]))] for name in numbers["rows"]}
    columns = pd.Index([f">= {k:g}" for k in numbers["multiples"]], name="distance (LOO)")
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def ensembles(numbers: dict, names: Iterable[str], measure: str) -> pd.DataFrame:
    """Accuracy (percent), loss (nats) or calibration error of mean votes by members, means ± deviations over seeds."""
    sizes = list(numbers["rows"]["originals"][0]["ensembles"])
    digits = 2 if measure == "accuracy" else 4
    rows = {
        name: [over_seeds(each(numbers, name, lambda row, m=m: row["ensembles"][m][measure]), digits) for m in sizes]
        for name in names
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=pd.Index(sizes, name="members"))


def cost(numbers: dict) -> pd.DataFrame:
    """Seconds of one core: a whole training, one of its steps, and one generated network; the zoo, by network."""
    zoo = numbers["zoo"]
    seconds = zoo["cpu_seconds"]
    rows = {"originals, each": {"training (s)": "-" if seconds is None else f"{seconds / zoo['networks']:.1f}"}}
    for name, found in numbers["cost"].items():
        rows[name] = {"training (s)": f"{found['train']['mean']:.0f}"}
        if "step" in found:
            rows[name] |= {
                "a step (ms)": f"{1e3 * found['step']['mean']:.0f}",
                "a generated network (ms)": f"{1e3 * found['network']['mean']:.1f}",
                "parameters of the generator": f"{found['generator_parameters']:,}",
            }
    return pd.DataFrame.from_dict(rows, orient="index").fillna("-")
