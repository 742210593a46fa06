"""The tables of `25_igpg`, from the numbers of its record."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from experiments.igpg.jobs import GENERATED, ORIGINALS
from experiments.igpg.several import SEVERAL
from experiments.sweeps.tables import over_seeds, three_digits

RPG = "RPG of its own"


def each(numbers: dict, name: str, group: str, value: Callable[[dict], float]) -> list[float]:
    """A number of every seed's group of networks of one architecture; of originals and RPG, by their own seeds."""
    one = numbers["architectures"][name]
    if group == ORIGINALS:
        return [value(one[ORIGINALS])]
    rows = [row["row"] for row in one["rpg"]] if group == RPG else [row["groups"][group] for row in one["rows"]]
    return [value(row) for row in rows]


def mean(row: dict) -> float:
    """The mean accuracy of a group."""
    return row["mean"]


def accuracy(numbers: dict, names: Iterable[str]) -> pd.DataFrame:
    """By architecture: weights, chunks, accuracy of originals, of these decoded from codes, of IGPG and RPG."""
    rows = {}
    for name in names:
        one = numbers["architectures"][name]
        difference = [x - one[ORIGINALS]["mean"] for x in each(numbers, name, GENERATED, mean)]
        rows[one["name"]] = {
            "images": one["images"],
            "weights": f"{one['parameters']:,}",
            "chunks": str(one["decoded"]["chunks"]),
            "originals (%)": f"{one[ORIGINALS]['mean']:.2f}",
            "decoded (%)": f"{one['decoded']['mean']:.2f}",
            "IGPG (%)": over_seeds(each(numbers, name, GENERATED, mean)),
            "difference (points)": over_seeds(difference),
            f"{RPG} (%)": over_seeds(each(numbers, name, RPG, mean)),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def groups(numbers: dict, name: str) -> pd.DataFrame:
    """Each group of networks of one architecture: accuracy, error-IoU, distance to the nearest original."""
    names = (ORIGINALS, *numbers["architectures"][name]["rows"][0]["groups"], RPG)
    return _groups({group: lambda value, group=group: each(numbers, name, group, value) for group in names})


def _groups(found: Mapping[str, Callable]) -> pd.DataFrame:
    """A row for each group, from what gives a number of its networks by seed."""
    rows = {}
    for group, of in found.items():
        lone = of(lambda row: row["error_iou"])[0] is None
        rows[group] = {
            "accuracy (%)": over_seeds(of(mean)),
            "worst (%)": over_seeds(of(lambda row: row["min"])),
            "error-IoU": "-" if lone else over_seeds(of(lambda row: row["error_iou"])),
            "distance (LOO)": three_digits(of(lambda row: row["distance"]["median"])),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def retrieved(numbers: dict, names: Iterable[str]) -> pd.DataFrame:
    """How often (percent) the nearest training network is of the run that was asked for, by how it was asked."""
    rows = {}
    for name in names:
        one = numbers["architectures"][name]
        found = [row["retrieval"] for row in one["rows"]]
        rows[one["name"]] = {how: over_seeds([x[how] for x in found], 0) for how in found[0] if how != "chance"}
        rows[one["name"]]["chance"] = f"{found[0]['chance']:.0f}"
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="of that run (%)")


def tuning(numbers: dict, name: str, epochs: Sequence[int]) -> pd.DataFrame:
    """Accuracy after so many epochs of training, by start, means ± deviations over seeds."""
    curves = numbers["architectures"][name]["tuning"]
    rows = {
        start: [over_seeds([curve[start][k]["mean"] for curve in curves], 1) for k in range(len(epochs))]
        for start in curves[0]
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=pd.Index(epochs, name="epochs"))


def settings(numbers: dict) -> pd.DataFrame:
    """What was tried: priors by their loss (nats), temperatures by accuracy on validation images (percent)."""
    rows = [
        {"tried": f"{name}, {x['steps']:,} steps", "loss (nats)": f"{x['loss']:.3f}"}
        for name, x in numbers["search"].items()
    ]
    for temperature in numbers["tried"][0]:
        values = [tried[temperature] for tried in numbers["tried"]]
        rows.append({"tried": f"temperature {temperature}", "accuracy (%)": over_seeds(values)})
    return pd.DataFrame(rows).set_index("tried").fillna("-")


def cost(numbers: dict, names: Sequence[str]) -> pd.DataFrame:
    """Seconds of one core, parameters of the generators, and milliseconds for a network."""
    ones = [numbers["architectures"][name] for name in names]
    prior, codes = numbers["prior"], numbers["codes"]
    rpg = [one["rpg"][0] for one in ones]
    rows = {
        "IGPG, all architectures": {
            "training (s)": f"{codes['cpu_seconds'] + sum(x['cpu_seconds']['train'] for x in prior) / len(prior):.0f}",
            "parameters": f"{codes['parameters'] + prior[0]['parameters']:,}",
        },
        "one RPG each, together": {
            "training (s)": f"{sum(x['cpu_seconds']['train'] for x in rpg):.0f}",
            "parameters": f"{sum(x['generator_parameters'] for x in rpg):,}",
        },
    }
    for one in ones:
        ours = [row["seconds"] for row in one["rows"]]
        theirs = [x["cpu_seconds"]["network"] for x in one["rpg"]]
        rows["IGPG, all architectures"][f"{one['name']} (ms)"] = f"{1e3 * sum(ours) / len(ours):.0f}"
        rows["one RPG each, together"][f"{one['name']} (ms)"] = f"{1e3 * sum(theirs) / len(theirs):.0f}"
    return pd.DataFrame.from_dict(rows, orient="index")


def together(numbers: dict, several: dict, names: Iterable[str]) -> pd.DataFrame:
    """By architecture: accuracy of originals, of one RPG for all, its difference, of IGPG and of one RPG for each."""
    rows = {}
    for name in names:
        one = numbers["architectures"][name]
        ours = several_each(several, name, SEVERAL, mean)
        rows[one["name"]] = {
            "originals (%)": f"{one[ORIGINALS]['mean']:.2f}",
            f"{SEVERAL} (%)": over_seeds(ours),
            "difference (points)": over_seeds([x - one[ORIGINALS]["mean"] for x in ours]),
            "IGPG (%)": over_seeds(each(numbers, name, GENERATED, mean)),
            f"{RPG} (%)": over_seeds(each(numbers, name, RPG, mean)),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def several_each(several: dict, name: str, group: str, value: Callable[[dict], float]) -> list[float]:
    """A number of every seed's group of networks of one architecture, of the RPG for several."""
    return [value(row["groups"][group]) for row in several["architectures"][name]["rows"]]


def several_groups(several: dict, name: str) -> pd.DataFrame:
    """As `groups`, of the RPG for several and what stands beside it."""
    names = several["architectures"][name]["rows"][0]["groups"]
    return _groups({group: lambda value, group=group: several_each(several, name, group, value) for group in names})


def searched(several: dict) -> pd.DataFrame:
    """What was tried in short trainings: the loss, and accuracy on validation images (percent) by architecture."""
    rows = {
        variant: {"loss": f"{one['loss']:.3f}"}
        | {f"{several['architectures'][name]['name']} (%)": f"{x:.1f}" for name, x in one["validation"].items()}
        for variant, one in several["searched"].items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def several_cost(several: dict) -> pd.DataFrame:
    """Seconds of one core for a training, parameters, and milliseconds for a network, means over seeds."""
    training = several["training"]
    row = {"training (s)": f"{sum(x['cpu_seconds'] for x in training) / len(training):.0f}"}
    row["parameters"] = f"{training[0]['parameters']:,}"
    for one in several["architectures"].values():
        seconds = [x["seconds"] for x in one["rows"]]
        row[f"{one['name']} (ms)"] = f"{1e3 * sum(seconds) / len(seconds):.0f}"
    return pd.DataFrame([row], index=[SEVERAL])
