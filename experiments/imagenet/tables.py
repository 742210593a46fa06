"""Tables on the large networks, from the numbers of their rows and of what they cost."""

from collections.abc import Mapping

import pandas as pd

from experiments.profiles import Recipe

SECONDS, GIGABYTES = 120, 12
"""What a smoke row may cost on two cores: its whole process, and that process's highest resident memory."""

MISSING = "not measured"


def accuracies(recipes: Mapping[str, Recipe], rows: Mapping[str, dict]) -> pd.DataFrame:
    """Accuracies in percent, the paper's (v1, table 1) and, where we have any row, ours beside them."""

    def ours(name: str, group: str, key: str) -> str:
        return f"{rows[name][group][key]:.2f}" if name in rows else MISSING

    def measured(name: str) -> dict[str, str]:
        return {
            "original, mean (%)": ours(name, "original", "mean"),
            "generated, mean (%)": ours(name, "generated", "mean"),
            "generated, std": ours(name, "generated", "std"),
            "generated, minimum (%)": ours(name, "generated", "min"),
            "generated, best (%)": ours(name, "generated", "max"),
        }

    def papers(recipe: Recipe, place: int) -> str:
        return "-" if recipe.paper is None else f"{recipe.paper[place]:.1f}"

    return pd.DataFrame(
        {
            name: {
                "paper, original (%)": papers(recipe, 0),
                "paper, generated (%)": papers(recipe, 1),
            }
            | (measured(name) if rows else {})
            for name, recipe in recipes.items()
        }
    ).T


def costs(found: Mapping[str, dict]) -> pd.DataFrame:
    """What each network's smoke row cost: seconds of its parts and of its whole process, and peak memory in GB."""
    return pd.DataFrame(
        {
            name: {
                "values": f"{cost['parameters']:,}",
                "tokens": f"{cost['tokens']:,}",
                **{f"{part} (s)": f"{seconds:.1f}" for part, seconds in cost["seconds"].items()},
                "process (s)": f"{cost['process_seconds']:.1f}",
                "peak (GB)": f"{cost['peak_gb']:.2f}",
            }
            for name, cost in found.items()
        }
    ).T


def within(cost: dict) -> bool:
    """Whether a row evaluated a generated network within both limits."""
    return cost["evaluated"] > 0 and cost["process_seconds"] < SECONDS and cost["peak_gb"] < GIGABYTES
