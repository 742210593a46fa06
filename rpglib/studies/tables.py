"""Tables of sweeps, from their records: every row with mean, spread and n."""

import statistics
from collections.abc import Sequence

import pandas as pd

from rpglib.studies.verdicts import accuracies, alikeness, gap, mean


def accuracy(numbers: dict) -> pd.DataFrame:
    """Accuracy in percent by variant: mean ± std over seeds; spread within a seed; best and worst network of all."""

    def row(name: str, cells: Sequence[dict]) -> dict[str, str]:
        return {
            "original": over_seeds(accuracies(numbers, name, "original")),
            "generated": over_seeds(accuracies(numbers, name)),
            "std within a seed": f"{mean([cell['generated']['std'] for cell in cells]):.2f}",
            "median": f"{mean([cell['generated']['median'] for cell in cells]):.2f}",
            "worst": f"{min(cell['generated']['min'] for cell in cells):.2f}",
            "best": f"{max(cell['generated']['max'] for cell in cells):.2f}",
            "generated - original": str(gap(numbers, name)),
            "n": f"{len(cells)} x {cells[0]['generated']['n']}",
        }

    return _by_variant(numbers, row)


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

    return _by_variant(numbers, row)


def cost(numbers: dict) -> pd.DataFrame:
    """What a variant costs: tokens, padding, the generator's parameters, memory and time of its training."""

    def row(name: str, cells: Sequence[dict]) -> dict[str, str]:
        first = cells[0]
        return {
            "tokens": f"{first['tokens']}",
            "padding": f"{100 * first['padding']:.0f} %",
            "generator parameters": f"{first['generator_parameters']:,}",
            "training memory (MB)": f"{first['training_bytes'] / 1e6:.1f}",
            "training time (s)": over_seeds([cell["seconds"]["train"] for cell in cells], 1),
        }

    return _by_variant(numbers, row)


def over_seeds(values: Sequence[float | None], digits: int = 2) -> str:
    """Mean ± standard deviation over seeds; a dash where there is nothing to measure."""
    if None in values:
        return "-"
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{mean(values):.{digits}f} ± {spread:.{digits}f}"


def _by_variant(numbers: dict, row) -> pd.DataFrame:
    rows = {name: row(name, variant["cells"]) for name, variant in numbers["variants"].items()}
    return pd.DataFrame.from_dict(rows, orient="index")
