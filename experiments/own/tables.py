"""Tables of a zoo, of what is suggested for it, and of what its generator writes."""

import math
import statistics

import pandas as pd

MOST_ROWS = 40
"""Tensors that a table lists; of more, the largest, in their order."""


def zoo(found: dict) -> pd.DataFrame:
    """What a zoo holds, a line for each fact."""
    described = found["description"]
    kinds = [x["kind"] for x in described["tensors"]]
    tied = sum(kind.startswith("tied") for kind in kinds)
    basins = described["basins"]
    sizes = sorted((basins.count(k) for k in set(basins)), reverse=True)
    rows = {
        "read": described["read"] or "a zoo of this library",
        "checkpoints": str(described["checkpoints"]),
        "values that vary": f"{described['values']:,}",
        "tensors": f"{len(kinds)}: {_count(kinds, 'parameter')} learned, {_count(kinds, 'statistic')} of BatchNorm, "
        f"{_count(kinds, 'constant')} equal in all, {_count(kinds, 'counter', 'whole numbers')} of whole numbers, "
        f"{tied} tied",
        "equal checkpoints": "; ".join(", ".join(map(str, x)) for x in described["duplicates"]) or "none",
        "outliers": ", ".join(map(str, described["outliers"])) or "none",
        "basins": f"{len(sizes)}, of {_some(sizes)}",
        "nearest other checkpoint": "-" if described["nearest"] is None else f"{described['nearest']:.3g} (median)",
        "spread": "-" if described["spread"] is None else f"{described['spread']:.2f}",
    }
    if described["compared"] < 1:
        rows["compared"] = f"{100 * described['compared']:.1f} % of the values"
    if described["scores"] is not None:
        scores = [x for i, x in described["scores"].items() if i != "mean"]
        rows["score of checkpoints"] = f"{statistics.fmean(scores):.2f} ({min(scores):.2f} to {max(scores):.2f})"
        rows["score of the mean network"] = f"{described['scores']['mean']:.2f}"
    return pd.DataFrame({"found": rows})


def tensors(found: dict) -> pd.DataFrame:
    """The tensors: shape, type, kind, the share that varies, deviation within a checkpoint and spread between them."""
    listed = found["description"]["tensors"]
    if len(listed) > MOST_ROWS:
        least = sorted((x["size"] for x in listed), reverse=True)[MOST_ROWS - 1]
        listed = [x for x in listed if x["size"] >= least][:MOST_ROWS]
    rows = {
        x["name"]: {
            "shape": " x ".join(map(str, x["shape"])) or "one value",
            "type": x["dtype"],
            "kind": x["kind"],
            "varies": f"{100 * x['varies']:.0f} %",
            "deviation": "-" if x["deviation"] is None else f"{x['deviation']:.3g}",
            "spread": "-" if x["spread"] is None else f"{x['spread']:.2f}",
        }
        for x in listed
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def suggestion(found: dict) -> pd.DataFrame:
    """What was chosen for this zoo, and why."""
    return pd.DataFrame(
        {"why": {name.replace("_", " "): text for name, text in found["suggestion"]["reasons"].items()}}
    )


def suggested(numbers: dict) -> pd.DataFrame:
    """What suggested and tuned settings reached on each zoo of this project, from the record of `own.suggested`."""
    return pd.DataFrame.from_dict(
        {
            name: {
                f"{what}, {whose}": text
                for whose in ("suggested", "tuned")
                for what, text in (
                    ("accuracy (%)", f"{x[whose]['generated']:.2f}"),
                    ("steps", f"{x[whose]['steps']:,}"),
                )
            }
            | {"share of the tuned gain": f"{x['share']:.1f} %"}
            for name, x in numbers["zoos"].items()
        },
        orient="index",
    )


def in_percent(found: dict) -> bool:
    """Whether scores are shares of right answers: only of such is the overlap of errors known."""
    return any(x["error_iou"] is not None for x in found["groups"].values())


def groups(found: dict) -> pd.DataFrame:
    """Scores, error-IoU and distances of generated networks and of what stands beside them; - where none is known."""
    unit = " (%)" if in_percent(found) else ""
    return pd.DataFrame.from_dict(
        {
            name: {
                f"mean score{unit}": "-" if x["scores"] is None else f"{statistics.fmean(x['scores']):.2f}",
                f"worst{unit}": "-" if x["scores"] is None else f"{min(x['scores']):.2f}",
                "n": str(x["n"]),
                "error-IoU": "-" if x["error_iou"] is None else f"{x['error_iou']:.2f}",
                "distance (LOO)": "-" if x["distances"] is None else _far(statistics.median(x["distances"])),
            }
            for name, x in found["groups"].items()
        },
        orient="index",
    )


def layers(found: dict) -> pd.DataFrame:
    """Mean and standard deviation within each tensor, in checkpoints and in generated networks."""
    sides, listed = ("checkpoints", "generated"), list(found["layers"].items())[:MOST_ROWS]
    rows = {
        name: {
            f"{what}, {side}": _beside(x[side][what], x["checkpoints"]["deviation"])
            for what in ("mean", "deviation")
            for side in sides
        }
        for name, x in listed
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _far(distance: float) -> str:
    """A distance (LOO) with two decimals, or what says as much of a copy: two digits."""
    return f"{distance:.2f}" if distance >= 0.1 else f"{distance:.2g}"


def _beside(value: float, deviation: float) -> str:
    """A number with as many decimals as give the deviation three digits; one of another size says no more than that."""
    if not deviation or not math.isfinite(deviation):
        return f"{value:.3g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(deviation)))}f}"


def _count(kinds: list[str], *wanted: str) -> int:
    return sum(kind in wanted for kind in kinds)


def _some(sizes: list[int]) -> str:
    if len({*sizes}) == 1:
        return f"{sizes[0]} checkpoint{'s' if sizes[0] > 1 else ''}{' each' if len(sizes) > 1 else ''}"
    return f"{', '.join(map(str, sizes[:6]))}{', ...' if len(sizes) > 6 else ''} checkpoints"
