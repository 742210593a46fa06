"""Tables of detectors: the paper's table 21, what stands beside generated networks, and what all of it costs."""

import statistics
from collections.abc import Mapping, Sequence

import pandas as pd

from experiments.detectors.jobs import AP, ONE
from experiments.detectors.settings import GENERATED, SCRATCH, SHARED, Setting
from rpglib.tasks import name_of

TRAINED, SEEN = "trained on it", "generated, for seen selections"


def values(rows: Sequence[Mapping[str, float]], measure: str = AP) -> list[float]:
    """One measure (percent) of every network."""
    return [row[measure] for row in rows]


def tuned(numbers: Mapping, start: str, epoch: int, measure: str = AP) -> list[float]:
    """One measure (percent) for every unseen selection after an epoch of fine-tuning from a start."""
    found = numbers["tuned"][start]
    at = found["epochs"].index(epoch)
    return [row[at][measure] for row in found["measures"]]


def methods(numbers: Mapping, measure: str = AP) -> dict[str, list[float]]:
    """By method one measure (percent) for every unseen selection, without fine-tuning; last, of training on it."""
    found = {name: values(rows, measure) for name, rows in numbers["written"]["measures"].items()}
    return found | {TRAINED: tuned(numbers, SHARED, numbers["tuned"][SHARED]["epochs"][-1], measure)}


def table_21(numbers: Mapping) -> pd.DataFrame:
    """mAP50-95 (percent) by unseen selection and epoch: from the shared start / from the generated network.

    This is the paper's form, whose numbers are fractions. Last the means, of training from scratch as well.
    """
    epochs = numbers["tuned"][GENERATED]["epochs"]
    columns = {
        f"epoch {epoch}": [
            f"{a:.1f} / {b:.1f}"
            for a, b in zip(tuned(numbers, SHARED, epoch), tuned(numbers, GENERATED, epoch), strict=True)
        ]
        for epoch in epochs
    }
    frame = pd.DataFrame(columns, index=[name_of(bits) for bits in numbers["written"]["unseen"]])
    for start in (SHARED, GENERATED, SCRATCH):
        means = [statistics.fmean(tuned(numbers, start, epoch)) for epoch in epochs]
        frame.loc[f"mean, {start}"] = [f"{x:.1f}" for x in means]
    return frame


def beside(numbers: Mapping) -> pd.DataFrame:
    """Both measures (percent) on the unseen selections by method, without fine-tuning: mean ± deviation, and worst."""
    seen = numbers["written"]["seen_measures"]
    both = {measure: methods(numbers, measure) | {SEEN: values(seen, measure)} for measure in (AP, ONE)}
    rows = {
        name: {
            key: value
            for measure, found in both.items()
            for key, value in (
                (f"{measure} (%)", f"{statistics.fmean(found[name]):.1f} ± {statistics.stdev(found[name]):.1f}"),
                (f"{measure}, worst (%)", f"{min(found[name]):.1f}"),
            )
        }
        for name in both[AP]
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def setting(sizes: Setting, numbers: Mapping) -> pd.DataFrame:
    """The sizes of scenes, detectors and generator, a line for each."""
    begun, written, scenes, model = numbers["begun"], numbers["written"], sizes.scenes, sizes.model
    rows = {
        "scenes": f"{sizes.size} pixels; {scenes['all']:,} for the shared start, {scenes['train']:,} for selections, "
        f"{scenes['test']:,} to test on",
        "detector": f"YOLOv8n, {begun['parameters']:,} parameters; with statistics {begun['values']:,} values",
        "shared start": f"{sizes.begin.epochs} epochs, rate {sizes.begin.learning_rate:g}; mAP50-95 of all classes "
        f"{begun['measures'][AP]:.1f} %",
        "zoo": f"{len(numbers['zoo']['selections'])} selections, {sizes.zoo.epochs} epochs, rate "
        f"{sizes.zoo.learning_rate:g}, new layers {sizes.zoo.new:g} times that; checkpoints after "
        f"{' and '.join(map(str, sizes.kept))}; mAP50-95 "
        f"{statistics.fmean(values(numbers['zoo']['measures'])):.1f} %",
        "generator": f"{written['tokens']:,} tokens of {model.token_size:,}, widths "
        f"{', '.join(map(str, model.widths))}, {written['generator_parameters']:,} parameters; {sizes.train.steps:,} "
        f"steps of {sizes.train.batch_size} checkpoints, rate {sizes.train.learning_rate:g}; {sizes.sampling_steps} "
        "steps of DDIM",
        "fine-tuning": "rates " + ", ".join(f"{start} {x.learning_rate:g}" for start, x in sizes.finetune.items()),
    }
    return pd.DataFrame({"": rows})


def cost(numbers: Mapping) -> pd.DataFrame:
    """Minutes of one core by part."""
    written = numbers["written"]["cpu_seconds"]
    seconds = {
        "shared start": numbers["begun"]["cpu_seconds"],
        "zoo": numbers["zoo"]["cpu_seconds"],
        "generator": written["generator"],
        "writing one detector": written["network"],
        **{f"fine-tuning, {start}, measured": found["cpu_seconds"] for start, found in numbers["tuned"].items()},
    }
    return pd.DataFrame({"minutes": {name: f"{x / 60:.2f}" for name, x in seconds.items()}})


def voc(found: Mapping | str) -> pd.DataFrame | str:
    """Table 21 of the stand-in, or the sentence that stands in its place."""
    return found if isinstance(found, str) else table_21(found)
