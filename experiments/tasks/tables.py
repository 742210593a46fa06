"""Tables of the experiments on unseen tasks, from the numbers of their records; accuracies are in percent."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd


def methods(splits: list[dict]) -> pd.DataFrame:
    """Mean test accuracy (percent) over the unseen tasks, a column per split, and the worst task of all splits."""
    names = ["original", "RPG", *splits[0]["baselines"]]
    found = {name: [_of(split, name) for split in splits] for name in names}
    rows = {
        name: {
            **{f"split {split['split']}": f"{r['mean']:.2f}" for split, r in zip(splits, results, strict=True)},
            "std over tasks": f"{sum(r['std'] for r in results) / len(results):.2f}",
            "worst task": f"{min(r['min'] for r in results):.1f}",
            "mean - original": f"{_mean(results) - _mean(found['original']):+.2f}",
        }
        for name, results in found.items()
    }
    return pd.DataFrame(rows).T


def means(splits: list[dict], name: str, chosen: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """Mean accuracy over the unseen tasks of every split: of "original", "RPG" or a baseline.

    chosen: for every split which of its U unseen tasks count (U,) bool, by default all; NaN where that is none.
    """
    if chosen is None:
        return np.array([_of(split, name)["mean"] for split in splits])
    return np.array(
        [pd.Series(_of(split, name)["accuracies"])[rows].mean() for split, rows in zip(splits, chosen, strict=True)]
    )


def groups(splits: list[dict], chosen: Mapping[str, Sequence[np.ndarray]]) -> pd.DataFrame:
    """Mean accuracy over groups of unseen tasks, averaged over splits; chosen: as in `means`, by group."""
    names = ["original", "RPG", *splits[0]["baselines"]]
    return pd.DataFrame(
        {group: {name: f"{means(splits, name, rows).mean():.2f}" for name in names} for group, rows in chosen.items()}
    )


def _of(split: dict, name: str) -> dict:
    return {"original": split["original"], "RPG": split["generated"]}.get(name) or split["baselines"][name]


def _mean(results: list[dict]) -> float:
    return sum(result["mean"] for result in results) / len(results)


def some_tasks(split: dict, count: int = 10) -> pd.DataFrame:
    """The paper's table of unseen tasks (v1, table 14; v2, table 19) for the first `count` in counting order."""
    columns = {
        "original": "original",
        "best": "best_of_networks",
        "average": "generated",
        "min": "worst_of_networks",
        "std": "std_within_tasks",
    }
    rows = {
        task: {label: f"{split[key]['accuracies'][row]:.1f}" for label, key in columns.items()}
        for row, task in enumerate(split["tasks"][:count])
    }
    rows[f"mean of all {split['unseen_tasks']}"] = {
        label: f"{split[key]['mean']:.1f}" for label, key in columns.items()
    }
    return pd.DataFrame(rows).T


def flips(splits: list[dict]) -> pd.DataFrame:
    """Accuracy (percent) of networks for seen tasks, and for the same tasks with all bits flipped, which are unseen."""
    rows = {
        f"split {split['split']}": {
            "pairs": split["flipped"]["pairs"],
            "unflipped": f"{split['flipped']['unflipped']['mean']:.2f}",
            "flipped": f"{split['flipped']['flipped']['mean']:.2f}",
            "flipped networks by the unflipped labels": f"{100 - split['flipped']['flipped']['mean']:.2f}",
        }
        for split in splits
    }
    return pd.DataFrame(rows).T


def one_flip(split: dict) -> pd.DataFrame:
    """The paper's table 10 (v1): for one pair of opposite tasks, the accuracy (percent) on the images of each class."""
    rows = {}
    for name in ("unflipped", "flipped"):
        found = split["flipped"][name]
        rows[f"{name} bits"] = found["task"].split()
        rows[f"{name} accuracy"] = [f"{value:.0f}" for value in found["by_class"]]
    return pd.DataFrame(rows, index=range(len(found["by_class"]))).T


def curve(rows: list[dict]) -> pd.DataFrame:
    """Mean accuracy (percent) on the unseen tasks of one split against the number of seen tasks."""
    table = {
        row["seen_tasks"]: {name: f"{found['mean']:.2f}" for name, found in row["methods"].items()} for row in rows
    }
    return pd.DataFrame(table).rename_axis(columns="seen tasks")


def finetuning(numbers: dict) -> pd.DataFrame:
    """Mean accuracy (percent) over tasks after some epochs of training, by start and number of training images."""
    rows = {
        (part, start): {
            f"epoch {epoch}": f"{found['mean']:.1f} ± {found['std']:.1f}"
            for epoch, found in zip(numbers["epochs"], result["by_epoch"], strict=True)
        }
        | {"learning rate": f"{result['learning_rate']:g}"}
        for part, starts in numbers["accuracy"].items()
        for start, result in starts.items()
    }
    return pd.DataFrame(rows).T
