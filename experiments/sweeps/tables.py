"""Tables of sweeps, from their records: every row with mean, spread and n."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.sweeps.evaluations import on_the_way
from experiments.sweeps.findings import accuracies, alikeness, fifths, gap, mean, standard_error


def changes(variants: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """What each variant changes, a column per field; empty where it keeps the base's value."""
    rows = {name: {field: str(value) for field, value in row.items()} for name, row in variants.items()}
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def accuracy(numbers: dict) -> pd.DataFrame:
    """Accuracy in percent by variant: mean ± std over seeds; std within a seed; median, worst, best of all networks."""

    def row(name: str, cells: Sequence[dict]) -> dict[str, str]:
        return {
            "original": over_seeds(accuracies(numbers, name, "original")),
            "generated": over_seeds(accuracies(numbers, name)),
            "std within a seed": f"{mean([cell['generated']['std'] for cell in cells]):.2f}",
            "median": f"{statistics.median(a for cell in cells for a in cell['generated']['accuracies']):.2f}",
            "worst": f"{min(cell['generated']['min'] for cell in cells):.2f}",
            "best": f"{max(cell['generated']['max'] for cell in cells):.2f}",
            "generated - original": f"{gap(numbers, name).mean():+z.2f} ± {standard_error(gap(numbers, name)):.2f}",
            "n": f"{len(cells)} x {cells[0]['generated']['n']}",
        }

    return _by_variant(numbers, row, "accuracy (%)")


def diversity(numbers: dict) -> pd.DataFrame:
    """Error-IoU (1: wrong on the same images) by variant: mean ± std over seeds."""
    labels = {
        "among originals": "among_originals",
        "original to its nearest other": "nearest_original_among_originals",
        "among generated": "among_generated",
        "generated to nearest original": "to_nearest_original",
    }

    def row(name: str, cells: Sequence[dict]) -> dict[str, str]:
        return {label: over_seeds(alikeness(numbers, name, key)) for label, key in labels.items()}

    return _by_variant(numbers, row, "error-IoU")


def cost(numbers: dict) -> pd.DataFrame:
    """What a variant costs: tokens, padding, the generator's parameters, memory and time (± over rounds) of a step."""

    def row(name: str, cells: Sequence[dict]) -> dict[str, str]:
        first = cells[0]
        return {
            "tokens": f"{first['tokens']}",
            "padding": f"{100 * first['padding']:.0f} %",
            "generator parameters": f"{first['generator_parameters']:,}",
            "training memory (MB)": f"{first['training_bytes'] / 1e6:.1f}",
            "training step (ms)": over_seeds([1000 * s for s in numbers["step_seconds"][name]], 1),
        }

    return _by_variant(numbers, row)


def over_seeds(values: Sequence[float | None], digits: int = 2) -> str:
    """Mean ± standard deviation over seeds; the mean alone where no seed moves it, a dash where nothing is measured."""
    if None in values:
        return "-"
    moved = max(values) - min(values) > 1e-9 * max(map(abs, values))
    spread = f" ± {statistics.stdev(values):.{digits}f}" if moved else ""
    return f"{mean(values):z.{digits}f}{spread}"


def three_digits(values: Sequence[float | None]) -> str:
    """As `over_seeds`, with about three digits of what may be hundredths or thousands, such as distances.

    One or two more where a spread would be written as 0.
    """
    if None in values:
        return "-"
    size, spread = abs(mean(values)), statistics.stdev(values) if len(values) > 1 else 0
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    while digits < 2 and 0 < spread < 0.5 / 10**digits:
        digits += 1
    return over_seeds(values, digits)


def _by_variant(numbers: dict, row, measure: str | None = None) -> pd.DataFrame:
    """A row per variant; measure: what the columns hold, in the corner of the table."""
    rows = {name: row(name, variant["cells"]) for name, variant in numbers["variants"].items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns=measure)


def barriers(numbers: dict) -> pd.DataFrame:
    """Barriers in points (mean ± std over seeds) by kind of pair and by what was done to the second network."""
    rows = {
        kind: {name: f"{found['barrier']['mean']:.2f} ± {found['barrier']['std']:.2f}" for name, found in row.items()}
        | {"n": f"{row['as they are']['barrier']['n']} x {row['as they are']['pairs']}"}
        for kind, row in numbers["pairs"].items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").fillna("-").rename_axis(columns="barrier (points)")


def noise(numbers: dict) -> pd.DataFrame:
    """What generation and noise cost in points of accuracy (mean ± std over seeds), a row per network."""
    rows = {}
    for name, variant in numbers["variants"].items():
        rows[name] = {
            "parameters": f"{variant['cells'][0]['parameters']:,}",
            "original (%)": over_seeds(accuracies(numbers, name, "original")),
            "generated (points)": over_seeds(-gap(numbers, name)),
        }
        for kind, by_sigma in numbers["noise"][name].items():
            for sigma, found in by_sigma.items():
                rows[name][f"{kind} {sigma} (points)"] = f"{found['mean']:z.2f} ± {found['std']:.2f}"
    return pd.DataFrame.from_dict(rows, orient="index").T


def diffusion(numbers: dict) -> pd.DataFrame:
    """The paper's table 26 (v2) and more: by sampler, mean ± std over seeds; distances are in LOO units."""
    return pd.DataFrame.from_dict(
        {
            name: {
                "accuracy (%)": over_seeds(accuracies(numbers, name)),
                "IoU, nearest original": over_seeds(alikeness(numbers, name)),
                "IoU, originals' vote": over_seeds(row["ensemble"]["values"]),
                "IoU, among generated": over_seeds(alikeness(numbers, name, "among_generated")),
                "IoU, within a state": over_seeds(row["one_state"]["values"]),
                "distance to original (LOO)": over_seeds(row["distance"]["values"]),
                "apart within a state (LOO)": over_seeds(row["apart"]["values"]),
            }
            for name, row in numbers["diffusion"].items()
        },
        orient="index",
    )


def beside_the_mean(numbers: dict) -> pd.DataFrame:
    """Generated networks beside the mean of their zoo: accuracy and error-IoU with the nearest original."""
    return pd.DataFrame.from_dict(
        {
            name: {
                "accuracy (%): generated": over_seeds(accuracies(numbers, name)),
                "accuracy (%): mean network": over_seeds(row["accuracy"]["values"]),
                "IoU, nearest original: generated": over_seeds(alikeness(numbers, name)),
                "IoU, nearest original: mean network": over_seeds(row["similarity"]["values"]),
            }
            for name, row in numbers["mean_network"].items()
        },
        orient="index",
    )


def decoder(numbers: dict) -> pd.DataFrame:
    """An autoregressive decoder's error by fifths of the sequence, and its accuracy in percent: mean ± std of seeds."""

    def row(errors: Sequence[Sequence[float]], accuracy: Sequence[float | None]) -> dict[str, str]:
        names = ("first fifth", "second", "third", "fourth", "last fifth")
        columns = zip(*map(fifths, errors), strict=True)
        return {name: over_seeds(c, 3) for name, c in zip(names, columns, strict=True)} | {
            "accuracy (%)": over_seeds(accuracy)
        }

    found = numbers["decoder"]
    rows = {
        label: row([d[key]["error"] for d in found], [d[key]["mean"] for d in found])
        for label, key in (("free-running", "free"), ("teacher-forced", "forced"))
    }
    rows["spread of originals"] = row([d["spread"] for d in found], accuracies(numbers, "base", "original"))
    return pd.DataFrame.from_dict(rows, orient="index")


def rulers(numbers: dict) -> pd.DataFrame:
    """What 13 measures each way of collecting by: the accuracy (percent) that is good, and how far apart originals lie.

    One LOO as it is (Euclidean), and the distance of independent trainings in LOO, where there are several runs.
    """

    def row(audits: Sequence[dict]) -> dict[str, str]:
        between = [audit["between_runs"] or dict.fromkeys(audit["unit"]) for audit in audits]
        return (
            {"good from (%)": over_seeds([audit["good"] for audit in audits])}
            | {f"1 LOO, {kind}": over_seeds([audit["unit"][kind] for audit in audits], 3) for kind in audits[0]["unit"]}
            | {f"between runs, {kind} (LOO)": over_seeds([found[kind] for found in between], 1) for kind in between[0]}
        )

    rows = {name: row(found["seeds"]) for name, found in numbers["audit"].items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def novelty(numbers: dict, variant: str) -> pd.DataFrame:
    """One variant of 13 by group of networks, means over seeds: accuracy, likeness, distances in units."""
    audits = [seed["groups"] for seed in numbers["audit"][variant]["seeds"]]

    def over(group: str, key: str, statistic: str) -> str:
        values = [groups[group][key] and groups[group][key][statistic] for groups in audits]
        return over_seeds(values, 2 if None in values or mean(values) < 100 else 0)

    rows = {
        group: {
            "accuracy (%)": over(group, "accuracy", "mean"),
            "error-IoU, nearest original": over(group, "similarity", "mean"),
            "plain distance (LOO)": over(group, "plain_distance", "median"),
            "aligned distance (LOO)": over(group, "aligned_distance", "median"),
            "distance (LOO)": over(group, "distance", "median"),
            "apart (LOO)": over(group, "apart", "median"),
        }
        for group in audits[0]
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def new_and_good(numbers: dict, variant: str) -> pd.DataFrame:
    """Shares (percent, means over seeds) of one variant's networks that are new and good, by distance in units."""
    audits = [seed["groups"] for seed in numbers["audit"][variant]["seeds"]]
    rows = {
        group: [
            f"{100 * mean(shares):.0f}"
            for shares in zip(*(found[group]["new_and_good"] for found in audits), strict=True)
        ]
        for group in audits[0]
    }
    columns = pd.Index([f">= {k:g}" for k in numbers["multiples"]], name="distance (LOO)")
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def convergence(numbers: dict) -> pd.DataFrame:
    """Accuracy (percent) / error-IoU among generated networks on the way, means over seeds."""

    def row(name: str, cells: Sequence[dict]) -> dict[str, str]:
        return {
            f"step {step}": f"{np.mean(reached):.1f} / {mean(alike):.2f}"
            for step, reached, alike in on_the_way(numbers, name)
        }

    found = _by_variant(numbers, row, "accuracy (%) / error-IoU").fillna("")
    return found[sorted(found, key=lambda column: int(column.split()[1]))]
