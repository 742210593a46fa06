"""Tables of adapters: the paper's table 3 for each family, baselines, combinations."""

import statistics
from collections.abc import Mapping

import pandas as pd

from experiments.adapters.jobs import GENERATED, ORIGINALS
from experiments.adapters.settings import Setting
from experiments.report.tables import best_to_deviation
from experiments.sweeps.tables import three_digits
from rpglib.model.config import RPGConfig
from rpglib.training.loop import TrainConfig


def table_3(numbers: Mapping) -> pd.DataFrame:
    """Accuracy (percent) by family: base model, originals' mean, and of generated adapters best to deviation."""
    rows = {}
    for name, found in numbers["families"].items():
        made = found["groups"][GENERATED]
        rows[name] = {
            ("base model", "mean"): f"{numbers['base']['accuracy'][name]:.1f}",
            ("original", "mean"): f"{found['groups'][ORIGINALS]['mean']:.1f}",
            **best_to_deviation(made),
        }
    return pd.DataFrame(rows).T


def groups(numbers: Mapping, what: str = "accuracy") -> pd.DataFrame:
    """Mean accuracy (percent) ± deviation of every group by family; or its "error_iou", or its "distance" (LOO)."""

    def cell(row: Mapping) -> str:
        if what == "accuracy":
            return f"{row['mean']:.1f} ± {row['std']:.1f}" if row["n"] > 1 else f"{row['mean']:.1f}"
        if row[what] is None:
            return "-"
        return three_digits([row[what]])

    return pd.DataFrame(
        {
            name: {group: cell(row) for group, row in found["groups"].items()}
            for name, found in numbers["families"].items()
        }
    )


def setting(sizes: Setting) -> pd.DataFrame:
    """The sizes of base model, adapters and generators, a line for each."""
    base, adapter, taught = sizes.base, sizes.adapter, sizes.questions
    rows = {
        "base model": f"{base.layers} layers of width {base.width}, {base.vocabulary:,} tokens; {base.steps:,} steps "
        f"of {base.batch} statements",
        "questions of a family": ", ".join(f"{n:,} for {split}" for split, n in taught.items()),
        "adapters of a family": f"{sizes.runs} runs of {adapter.epochs} epochs, {adapter.checkpoints} checkpoints "
        f"each; rank {adapter.rank}, alpha {adapter.alpha}, batches of {adapter.batch}, rate "
        f"{adapter.learning_rate:g} to {adapter.last_rate:g}",
        "generator of a family": _generator(sizes.model, sizes.train),
        "adapters of combinations": f"{sizes.seen} combinations seen, {sizes.unseen} not; "
        f"{sizes.combined_adapter.epochs} epochs, {sizes.combined_adapter.checkpoints} checkpoints each",
        "generator of combinations": _generator(sizes.combined, sizes.combined_train),
        "written": f"{sizes.networks} adapters of each kind, {sizes.sampling_steps} steps of DDIM",
    }
    return pd.DataFrame({"": rows})


def _generator(model: RPGConfig, recipe: TrainConfig) -> str:
    told = f"{model.permutation_states} states" if model.permutation_states else f"{model.task_bits} bits"
    return (
        f"tokens of {model.token_size}, widths {', '.join(map(str, model.widths))}, {told}; {recipe.steps:,} steps of "
        f"{recipe.batch_size} adapters, rate {recipe.learning_rate:g}"
    )


def peft(numbers: Mapping) -> pd.DataFrame:
    """By family, how PEFT's loaded and merged adapters differ from those that were generated."""
    rows = {
        name: {
            "adapters": str(x["adapters"]),
            "difference (nats)": "< 0.001" if x["nats"] < 1e-3 else f"{x['nats']:.3f}",
        }
        | {"other answers": str(x["answers"])}
        for name, x in ((name, found["peft"]) for name, found in numbers["families"].items())
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def combinations(numbers: Mapping) -> pd.DataFrame:
    """Accuracy (percent) for combinations that no adapter served, by method: mean, deviation and worst of them."""
    found = numbers["combinations"]["accuracies"]
    return pd.DataFrame.from_dict(
        {
            name: {
                "mean (%)": f"{statistics.fmean(x):.2f}",
                "std": f"{statistics.stdev(x):.2f}",
                "min (%)": f"{min(x):.2f}",
                "n": str(len(x)),
            }
            for name, x in found.items()
        },
        orient="index",
    )


def large(found: Mapping | str) -> pd.DataFrame | str:
    """Accuracy (percent) by lm-eval's task of adapters of another model: base model, original, generated."""
    if isinstance(found, str):
        return found
    rows = {"base model": {task: f"{x:.1f}" for task, x in found["base model"].items()}}
    for rank, groups in found.items():
        if rank != "base model":
            rows |= {
                f"{rank}, {group}": {task: f"{x['mean']:.1f} ({x['max']:.1f})" for task, x in of.items()}
                for group, of in groups.items()
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def cost(numbers: Mapping) -> pd.DataFrame:
    """Seconds of one core: training the base model, adapters and generators, and writing one adapter."""
    rows = {"base model": {"training": numbers["base"]["cpu_seconds"]}}
    rows |= {name: found["cpu_seconds"] for name, found in numbers["families"].items()}
    rows["combinations"] = numbers["combinations"]["cpu_seconds"]
    return pd.DataFrame.from_dict(
        {name: {f"{key} (s)": f"{x:.2f}" for key, x in row.items()} for name, row in rows.items()}, orient="index"
    ).fillna("-")
