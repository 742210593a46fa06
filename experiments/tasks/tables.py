"""Tables of the experiments on unseen tasks, from the numbers of their records; accuracies are in percent."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from experiments.claims import interval


def methods(zoos: Mapping[str, list[dict]]) -> pd.DataFrame:
    """Accuracy (percent) on the unseen tasks by method, for the splits of every zoo by its name.

    mean: over tasks and splits; - original: difference of means with its interval over the splits; worst task: of all.
    """
    names = ["original", "RPG", *next(iter(zoos.values()))[0]["baselines"]]
    columns = {}
    for zoo, splits in zoos.items():
        own = means(splits, "original")
        for name in names:
            reached = means(splits, name)
            columns.setdefault(f"{zoo}: mean", []).append(f"{reached.mean():.2f}")
            gap = interval(reached - own) if name != "original" else ""
            columns.setdefault(f"{zoo}: - original", []).append(str(gap))
            worst = min(of(split, name)["min"] for split in splits)
            columns.setdefault(f"{zoo}: worst task", []).append(f"{worst:.1f}")
    return pd.DataFrame(columns, index=names)


def means(splits: list[dict], name: str) -> np.ndarray:
    """Mean accuracy (percent) over the unseen tasks of every split: of "original", "RPG" or a baseline."""
    return np.array([of(split, name)["mean"] for split in splits])


def of(split: dict, name: str) -> dict:
    """What a split's record says of the accuracy of "original", "RPG" or a baseline."""
    return {"original": split["original"], "RPG": split["generated"]}.get(name) or split["baselines"][name]


def asked(variants: Mapping[str, list[dict]], others: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Accuracy (percent) on the unseen tasks of generators that are asked about tasks, by variant.

    variants: {name: a result per split}; others: {label: mean accuracies (splits,)}, from which differences are given
    with their intervals over the splits.
    """
    rows = {}
    for name, found in variants.items():
        own = np.array([one["accuracy"]["mean"] for one in found])
        rows[name] = {
            "mean (%)": f"{own.mean():.2f}",
            **{f"- {label}": str(interval(own - reached)) for label, reached in others.items()},
            "worst task (%)": f"{min(one['accuracy']['min'] for one in found):.1f}",
            "validation (%)": f"{np.mean([one['validation']['mean'] for one in found]):.2f}",
            "training (min)": f"{max(one['cpu_seconds'] for one in found) / 60:.1f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def some_tasks(split: dict, count: int = 10) -> pd.DataFrame:
    """The paper's table of unseen tasks (v1, table 14; v2, table 19), in percent, for the first `count` of them."""
    columns = {
        ("original", "mean"): "original",
        ("generated", "best"): "best_of_networks",
        ("generated", "mean"): "generated",
        ("generated", "min"): "worst_of_networks",
        ("generated", "std"): "std_within_tasks",
    }
    rows = {
        task: {label: f"{split[key]['accuracies'][row]:.1f}" for label, key in columns.items()}
        for row, task in enumerate(split["tasks"][:count])
    }
    rows[f"mean of all {split['unseen_tasks']}"] = {
        label: f"{split[key]['mean']:.1f}" for label, key in columns.items()
    }
    return pd.DataFrame(rows).T


def flips(zoos: Mapping[str, list[dict]]) -> pd.DataFrame:
    """How often (percent of images) networks for opposite tasks, both unseen, give opposite answers, by zoo."""
    rows = {}
    for zoo, splits in zoos.items():
        shares = {kind: [split["flipped"]["opposite"][kind] for split in splits] for kind in ("generated", "original")}
        rows[zoo] = {"pairs, all splits": sum(split["flipped"]["pairs"] for split in splits)}
        rows[zoo] |= {f"{kind} (%)": f"{np.mean(values):.2f}" for kind, values in shares.items()}
    return pd.DataFrame(rows).T


def one_flip(split: dict) -> pd.DataFrame:
    """The paper's table 10 (v1): for one pair of opposite tasks, the accuracy (percent) on the images of each class."""
    rows = {}
    for name, (task, by_class) in zip(("unflipped", "flipped"), split["flipped"]["pair"].items(), strict=True):
        rows[f"{name} bits"] = task.split()
        rows[f"{name} accuracy (%)"] = [f"{value:.0f}" for value in by_class]
    return pd.DataFrame(rows).T


def curve(rows: list[dict]) -> pd.DataFrame:
    """Mean accuracy (percent) on the unseen tasks of one split against the number of seen tasks."""
    table = {
        row["seen_tasks"]: {name: f"{found['mean']:.2f}" for name, found in row["methods"].items()} for row in rows
    }
    return pd.DataFrame(table).rename_axis(columns="seen tasks")


def finetuning(numbers: dict) -> pd.DataFrame:
    """Mean accuracy (percent) over tasks after some epochs of training, by start and number of training images."""
    rows = {
        (counted(part), start): {
            f"epoch {epoch}": f"{found['mean']:.1f} ± {found['std']:.1f}"
            for epoch, found in zip(numbers["epochs"], result["by_epoch"], strict=True)
        }
        | {"learning rate": f"{result['learning_rate']:g}"}
        for part, starts in numbers["accuracy"].items()
        for start, result in starts.items()
    }
    return pd.DataFrame(rows).T


def counted(part: str) -> str:
    """A set of images as a record names it, its number as it is written elsewhere: "1078 images" -> "1,078 images"."""
    return " ".join(f"{int(word):,}" if word.isdigit() else word for word in part.split())
