"""Tables of what generation and training cost, from the record of 19."""

import statistics
from collections.abc import Sequence

import pandas as pd

from experiments.cost.verdicts import accuracy_difference, ratio

NAMES = {
    "embeddings": "time and prototype embedded once",
    "folding": "BatchNorm folded, ELU in place",
    "memory": "freed memory kept",
    "batching": "small networks written together",
    "kernel": "compiled kernel",
    "tokens": "checkpoints tokenised once",
    "recurrence": "recurrence by chunks",
    "optimiser": "AdamW in one pass",
}
NOT_MEASURED = "not measured"


def speed(numbers: dict) -> pd.DataFrame:
    """Ours against the plain path, a row per trained generator: seconds of the networks together, accuracy, outputs."""
    return _table(
        {
            name: {
                "tokens": f"{row['tokens']} of {row['token_size']}",
                "networks x steps": f"{row['n']} x {row['steps']}",
                "plain (s)": seconds(row["plain"]),
                "ours (s)": seconds(row["ours"]),
                "ratio": f"{ratio(row['plain'], row['ours']):.1f}",
                "plain accuracy": f"{row['accuracy']['plain']['mean']:.2f} ± {row['accuracy']['plain']['std']:.2f}",
                "ours - plain": f"{accuracy_difference(row):+.2f}",
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
    """The paper's table 7: accuracy (percent), error-IoU among networks and seconds by sampler and number of steps."""
    return _table(
        {
            (name, row["sampler"], row["steps"]): {
                "accuracy": f"{row['accuracy']['mean']:.2f} ± {row['accuracy']['std']:.2f}",
                "worst": f"{row['accuracy']['min']:.2f}",
                "error-IoU": f"{row['alike']:.2f}",
                "seconds": f"{row['seconds']:.2f}",
                "n": row["accuracy"]["n"],
            }
            for name, rows in numbers["samplers"].items()
            for row in rows
        }
    )


def modes(numbers: dict) -> pd.DataFrame:
    """The paper's table 13: seconds and memory of one network by inference mode."""
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
                "ratio": f"{ratio(row['plain'], row['ours']):.1f}",
                "largest difference of a loss": f"{row['difference']:.0e}",
            }
            for row in numbers["plain"]
        }
    )


def presets(numbers: dict) -> pd.DataFrame:
    """Training step and memory of the paper's four sizes; what was not measured says why."""
    return _table({(row["preset"], row["scan"]): _preset(row) for row in numbers["presets"]})


def _preset(row: dict) -> dict[str, str]:
    known = "seconds" in row
    return {
        "parameters (M)": f"{row['parameters'] / 1e6:,.1f}" if "parameters" in row else "",
        "step (s)": f"{row['seconds']:.2f}" if known else NOT_MEASURED,
        "tensors (GB)": f"{row['counted_bytes'] / 1e9:.2f}" if known else "",
        "process (GB)": f"{row['resident_bytes'] / 1e9:.2f}" if known else "",
        "why": row.get("reason", ""),
    }


def accelerator(numbers: dict) -> pd.DataFrame:
    """The rows that want an H200-class GPU: the paper's figures on an H100, and ours, which are not measured yet."""
    rows = {
        "ConvNeXt-L, preset large, 60 DDIM steps": "78 s, 21.6 GB",
        "ViT-Base, preset base, 60 DDIM steps": "48 s, 20.7 GB",
        "ResNet-18 on CIFAR-10, whole row": "",
    }
    return _table({name: {"paper, H100": paper, "ours": NOT_MEASURED} for name, paper in rows.items()})


def seconds(values: Sequence[float]) -> str:
    """The median of the rounds and their range."""
    middle = statistics.median(values)
    if len(values) == 1:
        return f"{middle:.3g}"
    return f"{middle:.3g} ({min(values):.3g} to {max(values):.3g})"


def _table(rows: dict) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index")
