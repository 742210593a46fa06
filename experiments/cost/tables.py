"""Tables of what generation and training cost, from the records of 19 and 20."""

import statistics
from collections.abc import Mapping, Sequence

import pandas as pd

from experiments.cost.measures import ratio, reached, step_seconds

NAMES = {
    "embeddings": "time and prototype embedded once",
    "folding": "BatchNorm folded, ELU in place",
    "memory": "freed memory kept",
    "batching": "small networks written together",
    "kernel": "compiled kernel",
    "tokens": "checkpoints tokenised once",
    "optimiser": "AdamW in one pass",
}
PRINTED = {"tiny": "1.6", "small": "273", "base": "1,087", "large": "3,349"}
NOT_MEASURED = "not measured"
RECIPES = {"paper": "the paper's", "ours": "ours"}


def speed(numbers: dict) -> pd.DataFrame:
    """Ours against the plain path, a row per trained generator: seconds of the networks together, accuracy, outputs."""
    return _table(
        {
            name: {
                "tokens": f"{row['tokens']} of {row['token_size']}",
                "networks x steps": f"{row['n']} x {row['steps']}",
                "plain (s)": seconds(row["plain"]),
                "ours (s)": seconds(row["ours"]),
                "ratio": f"{ratio(row['plain'], row['ours']):.2f}",
                "plain accuracy (%)": f"{row['accuracy']['plain']['mean']:.2f} ± {row['accuracy']['plain']['std']:.2f}",
                "ours - plain (points)": _signed(row["accuracy"]["ours"]["mean"] - row["accuracy"]["plain"]["mean"]),
                "largest difference": f"{row['difference']:.0e}",
            }
            for name, row in numbers["speed"].items()
        }
    )


def optimisations(rows: Sequence[dict]) -> pd.DataFrame:
    """A row per optimisation: seconds without and with it, their ratio, and the largest difference in the result."""
    return _table(
        {
            " / ".join((NAMES[row["name"]], *([row["recipe"]] if "recipe" in row else []))): {
                "off (s)": seconds(row["off"]),
                "on (s)": seconds(row["on"]),
                "ratio": f"{ratio(row['off'], row['on']):.2f}",
                "largest difference": f"{row['difference']:.0e}",
            }
            for row in rows
        }
    )


def samplers(numbers: dict) -> pd.DataFrame:
    """Accuracy (percent), error-IoU among networks and seconds by sampler and steps (v1, table 7 = v2, table 9)."""
    return _table(
        {
            (name, row["sampler"], row["steps"]): {
                "accuracy (%)": f"{row['accuracy']['mean']:.2f} ± {row['accuracy']['std']:.2f}",
                "worst (%)": f"{row['accuracy']['min']:.2f}",
                "error-IoU": f"{row['alike']:.2f}",
                "seconds": f"{row['seconds']:.2f}",
                "n": row["accuracy"]["n"],
            }
            for name, rows in numbers["samplers"].items()
            for row in rows
        }
    )


def modes(numbers: dict) -> pd.DataFrame:
    """Seconds and memory of one network by inference mode (v1, table 13 = v2, table 23)."""
    return _table(
        {
            (row["network"], row["mode"]): {
                "parameters": f"{row['parameters']:,}",
                "tokens": f"{row['tokens']:,}",
                "steps": row["steps"],
                "seconds": f"{row['seconds']:.2f}",
                "memory beyond the tokens (MB)": f"{row['beyond'] / 1e6:.0f}",
            }
            for row in numbers["modes"]
        }
    )


def growth(numbers: dict) -> pd.DataFrame:
    """Time and memory of one network by its number of parameters."""
    return _table(
        {
            f"{row['parameters']:,}": {
                "tokens": f"{row['tokens']:,}",
                "seconds": seconds(row["seconds"]),
                "output (MB)": f"{row['output'] / 1e6:.1f}",
                "beyond it (MB)": f"{row['beyond'] / 1e6:.0f}",
            }
            for row in numbers["growth"]
        }
    )


def training(numbers: dict) -> pd.DataFrame:
    """Our training step against the plain path."""
    return _table(
        {
            row["name"]: {
                "plain (s)": seconds(row["plain"]),
                "ours (s)": seconds(row["ours"]),
                "ratio": f"{ratio(row['plain'], row['ours']):.2f}",
                "largest difference of a loss": f"{row['difference']:.0e}",
            }
            for row in numbers["plain"]
        }
    )


def presets(numbers: dict) -> pd.DataFrame:
    """Parameters, training step and memory of the four presets; what was not measured says why.

    Printed: the paper's count of the same size, recurrent model and diffusion together (v1, table 12 = v2, table 16).
    `RPGConfig.preset` says why ours have fewer.
    """
    return _table({(row["preset"], row["scan"]): _preset(row) for row in numbers["presets"]})


def _preset(row: dict) -> dict[str, str]:
    known = "seconds" in row
    return {
        "parameters (M)": f"{row['parameters'] / 1e6:,.1f}" if "parameters" in row else "",
        "printed (M)": PRINTED[row["preset"]] if "parameters" in row else "",
        "step (s)": f"{row['seconds']:.2f}" if known else NOT_MEASURED,
        "tensors (GB)": f"{row['counted_bytes'] / 1e9:.2f}" if known else "",
        "process (GB)": f"{row['resident_bytes'] / 1e9:.2f}" if known else "",
        "why": row.get("reason", ""),
    }


def predicted(rows: Sequence[dict]) -> pd.DataFrame:
    """What the cost model says of this machine, against what it takes."""
    return _table(
        {
            (row["preset"], row["what"]): {
                "predicted (s)": f"{row['predicted']:.3g}",
                "measured (s)": seconds(row["measured"]),
                "predicted / measured": f"{row['predicted'] / statistics.median(row['measured']):.2f}",
                **(
                    {"memory, predicted / counted": f"{row['predicted_bytes'] / row['bytes']:.2f}"}
                    if "bytes" in row
                    else {}
                ),
            }
            for row in rows
        }
    ).fillna("")


def predictions(rows: Sequence[dict], noise_rate: float) -> pd.DataFrame:
    """Hours and memory by number of devices, predicted; and the paper's GPU hours (v2, table 27).

    Beside them how long a device's core draws noise for a step, at `noise_rate` values a second, in percent of it.
    """

    def drawn(row: dict, n: int) -> str:
        step = 3600 * row["hours"][n] / row["steps"]
        return f"{100 * row['noise'] / int(n) / noise_rate / step:.0f}"

    return _table(
        {
            row["network"]: {
                "preset": row["preset"],
                "tokens": f"{row['tokens']:,}",
                **{
                    f"{n} GPUs: hours, GB each": f"{row['hours'][n]:.1f}, {row['bytes'][n] / 1e9:,.0f}"
                    for n in row["hours"]
                },
                "noise (% of a step)": ", ".join(drawn(row, n) for n in row["hours"]),
                "paper (GPU hours)": f"{row['paper']}",
            }
            for row in rows
        }
    )


def rates(measured: Mapping[str, dict]) -> pd.DataFrame:
    """What this machine does in a second, by token size."""
    found = {
        f"tokens of {size}": {
            "products (GFLOP/s)": f"{rate['product'] / 1e9:.0f}",
            "convolutions (GFLOP/s)": f"{rate['convolution'] / 1e9:.0f}",
            "their gradients (GFLOP/s)": f"{rate['convolution_backward'] / 1e9:.0f}",
            "compiled denoiser (GFLOP/s, as if it saved none)": f"{(rate['kernel'] or float('nan')) / 1e9:.0f}",
            "memory (GB/s)": f"{rate['bandwidth'] / 1e9:.1f}",
            "a call (µs)": f"{rate['call'] * 1e6:.1f}",
        }
        for size, rate in measured.items()
    }
    return pd.DataFrame(found)


def bounds(plain: Sequence[dict], bounds: Mapping[str, dict]) -> pd.DataFrame:
    """What a training step takes, what by the cost model, and what that consists of."""
    return _table(
        {
            row["name"]: {
                "ours (s)": seconds(row["ours"]),
                "by the rates (s)": f"{bounds[row['name']]['seconds']:.3g}",
                "by the rates / ours": f"{bounds[row['name']]['seconds'] / statistics.median(row['ours']):.2f}",
                **{f"{kind} (%)": f"{100 * share:.0f}" for kind, share in bounds[row["name"]]["shares"].items()},
            }
            for row in plain
        }
    )


def accelerator() -> pd.DataFrame:
    """Generation on one GPU: the paper's figures (v1, table 7 = v2, table 9), and ours, which are not measured yet.

    Both networks are written by RPG-Large (v2, B.2; v1, table 6: ViT-Base reaches 84.4 % with tokens of 16,384 only).
    """
    rows = {"ConvNeXt-L": "78 s, 21.6 GB", "ViT-Base": "48 s, 20.7 GB"}
    return _table(
        {
            f"{name}, preset large, 60 DDIM steps": {"paper, one H100": paper, "ours": NOT_MEASURED}
            for name, paper in rows.items()
        }
    )


def courses(numbers: Mapping[str, dict]) -> pd.DataFrame:
    """A row per zoo and recipe: how far it trained, at what cost, and when it came to stay at the originals' accuracy.

    "before": the last evaluation at which it was not there yet.
    """
    return _table(
        {
            (name, RECIPES[kind]): _course(zoo[kind], zoo["original"]["mean"])
            for name, zoo in numbers.items()
            for kind in RECIPES
        }
    )


def _course(course: dict, original: float) -> dict[str, str]:
    points, first = course["points"], reached(course["points"], original)
    earlier = [point["seconds"] for point in points if first and point["step"] < first["step"]]
    return {
        "tokens": f"{course['tokens']}",
        "generator": f"{course['generator_parameters']:,}",
        "steps": f"{points[-1]['step']:,} of {course['steps']:,}",
        "per step (s)": f"{step_seconds(course):.3f}",
        "trained (s)": f"{points[-1]['seconds']:,.0f}",
        "by the clock (s)": f"{points[-1]['wall_seconds']:,.0f}",
        "an evaluation (s)": f"{statistics.median(point['evaluation_seconds'] for point in points):.1f}",
        "accuracy at the end (%)": f"{points[-1]['mean']:.2f} ± {points[-1]['std']:.2f}",
        "there after steps": f"{first['step']:,}" if first else "not within these",
        "there after (s)": f"{first['seconds']:,.1f}" if first else "not within this time",
        "before (s)": f"{earlier[-1]:,.1f}" if earlier else "-",
    }


def course(zoo: Mapping) -> pd.DataFrame:
    """Every evaluation of both recipes on one zoo, below the originals and the mean network.

    Accuracy in percent, error-IoU among the networks, distance to the nearest checkpoint (median, in LOO units).
    """
    rows = {(name, "", ""): zoo[name] for name in ("original", "mean network")}
    for kind, label in RECIPES.items():
        rows |= {(label, f"{p['step']:,}", f"{p['seconds']:,.1f}"): p for p in zoo[kind]["points"]}
    table = _table(
        {
            key: {
                "accuracy (%)": f"{r['mean']:.2f}" + (f" ± {r['std']:.2f}" if r["n"] > 1 else ""),
                "worst (%)": f"{r['min']:.2f}",
                "n": f"{r['n']}",
                "error-IoU": "-" if r["error_iou"] is None else f"{r['error_iou']:.2f}",
                "distance (LOO)": "-" if key[0] == "original" else _distance(r["distance"]),
                "loss": f"{r['loss']:.3f}" if "loss" in r else "-",
            }
            for key, r in rows.items()
        }
    )
    return table.rename_axis(["networks", "step", "seconds"])


def _distance(value: float | None) -> str:
    return "infinite" if value is None else f"{value:,.1f}"


def _signed(points: float) -> str:
    """A difference with its sign; what rounds to nothing is +0.00, also from below."""
    return f"{round(points, 2) + 0.0:+.2f}"


def seconds(values: Sequence[float]) -> str:
    """The median of the rounds and their range."""
    middle = statistics.median(values)
    if len(values) == 1:
        return f"{middle:.3g}"
    return f"{middle:.3g} ({min(values):.3g} to {max(values):.3g})"


def _table(rows: dict) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index")
