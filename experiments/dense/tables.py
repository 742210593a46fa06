"""Tables of segmentation and detection: the paper's table 2, baselines, sizes, cost."""

from collections.abc import Mapping

import pandas as pd

from experiments.dense.jobs import GENERATED, ORIGINALS
from experiments.dense.settings import Setting
from experiments.report.tables import best_to_deviation
from experiments.sweeps.tables import three_digits


def table_2(records: Mapping[str, Mapping]) -> pd.DataFrame:
    """By kind, population and metric (percent): original networks' mean, and of generated ones best to deviation."""
    rows = {}
    for kind, record in records.items():
        for population, found in record["numbers"]["populations"].items():
            for metric, made in found["groups"][GENERATED]["metrics"].items():
                rows[kind, population, metric] = {
                    ("original", "mean"): f"{found['groups'][ORIGINALS]['metrics'][metric]['mean']:.1f}",
                    **best_to_deviation(made),
                }
    return pd.DataFrame(rows).T


def groups(record: Mapping) -> pd.DataFrame:
    """Every group of both populations: each metric (percent), mean ± deviation, error-IoU, and distance (LOO)."""
    rows = {}
    for population, found in record["numbers"]["populations"].items():
        for name, group in found["groups"].items():
            rows[population, name] = {
                f"{metric} (%)": f"{x['mean']:.1f} ± {x['std']:.1f}" if x["n"] > 1 else f"{x['mean']:.1f}"
                for metric, x in group["metrics"].items()
            }
            rows[population, name]["error-IoU"] = "-" if group["error_iou"] is None else f"{group['error_iou']:.2f}"
            rows[population, name]["distance (LOO)"] = three_digits([group["distance"]])
    return pd.DataFrame.from_dict(rows, orient="index")


def setting(sizes: Mapping[str, Setting], records: Mapping[str, Mapping]) -> pd.DataFrame:
    """The sizes of scenes, networks, runs and generators, a column for each kind."""
    return pd.DataFrame({kind: _setting(sizes[kind], records[kind]["numbers"]) for kind in sizes})


def _setting(sizes: Setting, numbers: Mapping) -> dict[str, str]:
    teaching, found = sizes.teaching, numbers["populations"]
    rows = {
        "scenes": f"{sizes.taught:,} to learn from, {sizes.asked:,} to be tested on",
        "values of a network": f"{next(iter(found.values()))['values']:,}",
        "a run": f"{teaching.epochs} epochs in batches of {teaching.batch}, rate {teaching.learning_rate:g}",
        "its checkpoints": f"{teaching.checkpoints} in {teaching.tail} steps at {teaching.last_rate:g}",
    }
    for name, population in sizes.populations.items():
        model, recipe, one = population.model, population.train, found[name]
        rows[f"generator of {name}"] = (
            f"{one['checkpoints']} checkpoints; {one['generator_parameters']:,} parameters, {one['tokens']:,} tokens "
            f"of {model.token_size}; {recipe.steps:,} steps in batches of {recipe.batch_size}"
        )
    rows["written"] = f"{sizes.networks} networks, {sizes.sampling_steps} steps of DDIM"
    return rows


def cost(records: Mapping[str, Mapping]) -> pd.DataFrame:
    """Seconds of one core: training a run, training a generator, writing a network."""
    rows = {}
    for kind, record in records.items():
        numbers = record["numbers"]
        rows[kind] = {"runs (s)": f"{sum(x['cpu_seconds'] for x in numbers['runs']):.0f}"}
        for name, found in numbers["populations"].items():
            rows[kind] |= {
                f"generator, {name} (s)": f"{found['cpu_seconds']['generator']:.0f}",
                f"a network, {name} (s)": f"{found['cpu_seconds']['network']:.2f}",
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def minutes(record: Mapping) -> float:
    """Minutes of one core that a record's trainings took, of runs and of generators."""
    numbers = record["numbers"]
    taught = sum(x["cpu_seconds"] for x in numbers["runs"])
    return (taught + sum(x["cpu_seconds"]["generator"] for x in numbers["populations"].values())) / 60


def large(found: Mapping | str) -> pd.DataFrame | str:
    """Metrics (percent) of the networks of the public data sets: original, and generated, mean and best."""
    if isinstance(found, str):
        return found
    return pd.DataFrame(
        {
            (kind, metric): {
                ("original", "mean"): f"{x['original']:.1f}",
                ("generated", "mean"): f"{x['mean']:.1f}",
                ("generated", "best"): f"{x['max']:.1f}",
            }
            for kind, metrics in found.items()
            for metric, x in metrics.items()
        }
    ).T
