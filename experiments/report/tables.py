"""Tables that notebooks print, from the numbers of records, rounded so that a recomputation prints the same."""

import dataclasses
from collections.abc import Iterator

import pandas as pd

from experiments.profiles import Recipe
from experiments.report import main_rows
from experiments.report.pages import spread
from rpglib.tokenizer import ParameterTokenizer


def zoos(reports: dict[str, dict]) -> pd.DataFrame:
    """What was collected, from {name: report}: sizes, accuracy (percent), and error-IoU among checkpoints."""
    entries = {
        "trainable parameters": lambda r: f"{r['parameters']:,}",
        "runs": lambda r: f"{r['runs']}",
        "checkpoints": lambda r: f"{r['checkpoints']}",
        "mean (%)": lambda r: f"{r['mean']:.2f}",
        "std": lambda r: f"{r['std']:.2f}",
        "minimum (%)": lambda r: f"{r['min']:.2f}",
        "maximum (%)": lambda r: f"{r['max']:.2f}",
        "error-IoU": lambda r: f"{r['among_originals']:.3f}",
    }
    return _table(reports, entries)


def tokens(tokenizers: dict[str, ParameterTokenizer]) -> pd.DataFrame:
    """How networks are cut, from {name: tokenizer}: what becomes tokens, and the share (percent) that is padding."""
    entries = {
        "tensors": lambda t: f"{len(t.layers)}",
        "values": lambda t: f"{t.num_parameters:,}",
        "token size": lambda t: f"{t.token_size}",
        "tokens": lambda t: f"{t.num_tokens:,}",
        "padding": lambda t: f"{100 * (1 - t.num_parameters / (t.num_tokens * t.token_size)):.1f} %",
    }
    return _table(tokenizers, entries)


def main_results(rows: dict[str, dict]) -> pd.DataFrame:
    """Accuracies in percent from {name: numbers}, a column per network, with the lines of v1, table 1.

    Values are all that a generator writes: parameters, and the statistics of BatchNorm where there are any.
    """
    entries = {
        "values": lambda r: f"{r['parameters']:,}",
        "original, mean (%)": lambda r: f"{r['original']['mean']:.2f}",
        "original, std": lambda r: f"{r['original']['std']:.2f}",
        "generated, best (%)": lambda r: f"{r['generated']['max']:.2f}",
        "generated, mean (%)": lambda r: f"{r['generated']['mean']:.2f}",
        "generated, median (%)": lambda r: f"{r['generated']['median']:.2f}",
        "generated, minimum (%)": lambda r: f"{r['generated']['min']:.2f}",
        "generated, std": lambda r: f"{r['generated']['std']:.2f}",
        "generated, n": lambda r: f"{r['generated']['n']}",
        "generated - original (points)": lambda r: f"{r['generated']['mean'] - r['original']['mean']:+.2f}",
    }
    return _table(rows, entries)


def diversity(rows: dict[str, dict]) -> pd.DataFrame:
    """Mean error-IoU (1: always wrong on the same images) among and between originals and generated networks."""
    labels = {
        "among originals": "among_originals",
        "original to its nearest other": "nearest_original_among_originals",
        "among generated": "among_generated",
        "generated to nearest original": "to_nearest_original",
    }
    return pd.DataFrame(
        {name: {label: f"{r['diversity'][key]:.3f}" for label, key in labels.items()} for name, r in rows.items()}
    )


def best_to_deviation(made: dict) -> dict[tuple[str, str], str]:
    """Cells on generated networks, from a summary in percent: best, mean, worst, deviation."""
    places = {"best": ("max", 1), "mean": ("mean", 1), "min": ("min", 1), "std": ("std", 2)}
    return {("generated", label): f"{made[key]:.{digits}f}" for label, (key, digits) in places.items()}


def baselines(numbers: dict) -> pd.DataFrame:
    """Accuracy (percent), error-IoU and distance to the zoo of a row's networks and of its baselines.

    Distance is that to the nearest checkpoint (for checkpoints: the nearest other one), the median, in units of the
    zoo's median leave-one-out distance (LOO).
    """
    originals = numbers["original"] | {"error_iou": numbers["diversity"]["among_originals"], "distance": {"median": 1}}
    generated = numbers["generated"] | {"error_iou": numbers["diversity"]["among_generated"]}
    groups = {"original": originals, "generated": generated} | numbers["baselines"]
    rows = {
        name: {
            "mean (%)": f"{r['mean']:.2f}",
            "std": f"{r['std']:.2f}" if r["n"] > 1 else "-",
            "min (%)": f"{r['min']:.2f}",
            "n": f"{r['n']}",
            "error-IoU": "-" if r["error_iou"] is None else f"{r['error_iou']:.2f}",
            "distance (LOO)": f"{r['distance']['median']:.1f}",
        }
        for name, r in groups.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def generators(rows: dict[str, dict]) -> pd.DataFrame:
    """A line per generator, from {name: numbers} of rows that have several: percent; distance as in `baselines`."""
    return pd.DataFrame.from_dict(
        {
            (name, f"generator {k}"): {
                "generated (%)": f"{found['generated']['mean']:.2f} ± {found['generated']['std']:.2f}",
                "worst (%)": f"{found['generated']['min']:.2f}",
                "n": f"{found['generated']['n']}",
                "untrained (%)": f"{found['untrained generator']['mean']:.2f}",
                "error-IoU": f"{found['generated']['error_iou']:.2f}",
                "distance (LOO)": f"{found['generated']['distance']['median']:.1f}",
            }
            for name, numbers in rows.items()
            for k, found in enumerate(numbers["by_seed"])
        },
        orient="index",
    )


def beside_paper(records: dict[str, dict], paper: dict[str, tuple[float, float] | None]) -> pd.DataFrame:
    """A column per record, from {name: record}, and the paper's accuracies (v1, table 8) where it has any."""
    columns = {}
    for name, record in records.items():
        original, generated = (f"{value:.1f}" for value in paper[name]) if paper[name] else ("-", "-")
        columns[name] = {"paper, original (%)": original, "paper, generated (%)": generated} | _measured(record)
    return pd.DataFrame(columns)


def not_measured(records: dict[str, dict], paper: dict[str, tuple[float, float] | None]) -> str:
    """One line on the networks of `paper` without a record."""
    reported = {
        name: f" (the paper: {values[0]:.1f} % original, {values[1]:.1f} % generated)" if values else ""
        for name, values in paper.items()
        if name not in records
    }
    return f"not measured: {', '.join(name + text for name, text in reported.items()) or 'none'}"


def _measured(record: dict) -> dict[str, str]:
    numbers, hardware = record["numbers"], record["provenance"]["hardware"]
    return {
        "ours, original (%)": spread(numbers["original"]),
        "ours, generated (%)": main_rows.accuracy(numbers),
        "n": main_rows.counts(numbers),
        "generated - original (points)": main_rows.difference(numbers),
        "minutes": f"{main_rows.minutes(numbers):.1f}",
        "on": hardware["gpus"][0] if hardware["gpus"] else f"{hardware['cores']} cores",
    }


def _table(rows: dict[str, dict], entries: dict) -> pd.DataFrame:
    return pd.DataFrame({name: {label: entry(r) for label, entry in entries.items()} for name, r in rows.items()})


def recipe(chosen: Recipe) -> pd.DataFrame:
    """The fields of a recipe that have another value than their default, those of nested configurations with dots."""
    return pd.DataFrame({"value": {name: str(value) for name, value in _chosen(chosen)}})


def _chosen(config, prefix: str = "") -> Iterator[tuple[str, object]]:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _chosen(value, f"{prefix}{field.name}.")
        elif value != field.default:
            yield prefix + field.name, value
