"""What a sweep's numbers say, on hand-made cells with known answers; tables print it."""

import numpy as np
import pytest

from experiments.sweeps import tables
from experiments.sweeps.evaluations import on_the_way, reached
from experiments.sweeps.findings import by_seed, excess_iou, fifths, seed_values, token_sizes


def cell(accuracies, original=90.0, size=128, alike=0.7, among_originals=0.6) -> dict:
    tokens = 2000 // size
    return {
        "generated": {
            "mean": float(np.mean(accuracies)),
            "median": float(np.median(accuracies)),
            "std": 0.5,
            "min": min(accuracies),
            "max": max(accuracies),
            "n": len(accuracies),
            "accuracies": accuracies,
        },
        "original": {"mean": original},
        "diversity": {"among_generated": alike, "among_originals": among_originals},
        "parameters": 1000,
        "tokens": tokens,
        "padding": 1 - 1000 / (tokens * size),
    }


def numbers(cells, **others) -> dict:
    return {"variants": {"base": {"changes": {}, "cells": cells}, **others}}


def test_the_median_is_that_of_all_networks():
    # The seeds' medians are 10, 80 and 90, and their mean is 60.
    found = numbers([cell([10.0, 10.0, 95.0]), cell([80.0, 80.0, 80.0]), cell([90.0, 90.0, 90.0])])
    row = tables.accuracy(found).loc["base"]
    assert (row["median"], row["worst"], row["best"], row["n"]) == ("80.00", "10.00", "95.00", "3 x 3")


def test_no_table_prints_a_zero_with_a_minus():
    found = numbers([cell([90.0], original=90.001)])
    assert tables.accuracy(found).loc["base", "generated - original"] == "+0.00 ± 0.00"
    assert tables.over_seeds([-0.001, -0.001]) == "0.00"


def test_excess_is_paired_by_seed():
    found = numbers([cell([90.0], alike=0.9), cell([90.0], alike=0.5)])
    assert excess_iou(found, "base") == pytest.approx([0.3, -0.1])


def test_what_was_reached_is_found_by_its_step():
    def at(step, accuracy, alike):
        found = cell([accuracy], alike=alike)
        return {"step": step, "generated": found["generated"], "diversity": found["diversity"]}

    seeds = [cell([90.0 + k]) | {"evaluations": [at(5, 20.0 + k, 0.1), at(10, 50.0 + k, 0.2)]} for k in range(2)]
    found = numbers(seeds)
    found["variants"]["base"]["steps"] = 20
    found["variants"]["longer"] = {"changes": {}, "steps": 80, "cells": [cell([95.0]) | {"evaluations": []}] * 2}
    assert [step for step, *_ in on_the_way(found, "base")] == [5, 10, 20]
    assert reached(found, "base", 10).tolist() == [50.0, 51.0]
    assert reached(found, "longer", 80).tolist() == [95.0, 95.0]
    table = tables.convergence(found)
    assert list(table) == ["step 5", "step 10", "step 20", "step 80"]
    assert table.loc["base"].tolist() == ["20.5 / 0.10", "50.5 / 0.20", "90.5 / 0.70", ""]


def test_values_of_seeds_come_back_in_their_order():
    assert seed_values(by_seed([3.0, 1.0, 5.0])).tolist() == [3, 1, 5]


def test_token_sizes_are_read_from_cells_in_order():
    others = {
        "512 values": {"changes": {"model.token_size": 512}, "cells": [cell([90.0], size=512)]},
        "16 values": {"changes": {"model.token_size": 16}, "cells": [cell([90.0], size=16)]},
        "flatten": {"changes": {"slicing": "flatten"}, "cells": [cell([90.0])]},
    }
    assert token_sizes(numbers([cell([90.0])], **others)) == {16: "16 values", 128: "base", 512: "512 values"}


def test_fifths_cover_a_sequence():
    assert fifths([1, 1, 2, 2, 3, 3, 4, 4, 5, 5]) == [1, 2, 3, 4, 5]


def test_table_of_the_decoder():
    decoder = {
        "free": {"mean": 10.0, "error": [0.1] * 4 + [0.5] * 12 + [1.3] * 4},
        "forced": {"mean": 80.0, "error": [0.1] * 4 + [0.2] * 12 + [0.1] * 4},
        "spread": [0.05] * 20,
    }
    originals = [cell([90.0], original=90.0 + k / 10) for k in range(3)]
    table = tables.decoder(numbers(originals) | {"decoder": [decoder] * 3})
    assert table.loc["free-running", "last fifth"] == "1.300"
    assert table.loc["teacher-forced", "second"] == "0.200"
    assert table.loc["spread of originals", "accuracy (%)"] == "90.10 ± 0.10"


def test_a_table_tells_a_small_spread_from_none_and_has_no_negative_zero():
    assert tables.over_seeds([-0.001, -0.001]) == "0.00" and tables.over_seeds([-0.3, 0.299]) == "0.00 ± 0.42"
    assert tables.three_digits([1650.0, 1750.0]) == "1700 ± 71" and tables.three_digits([0.5, 0.7]) == "0.60 ± 0.14"
    assert tables.three_digits([278.0, 278.2]) == "278.1 ± 0.1" and tables.three_digits([43.2]) == "43.2"
    assert tables.three_digits([1.0, None]) == "-"
    singles = {0.044: "0.04", 1.0: "1.00", 9.996: "10.0", 52.7: "52.7", 99.96: "100", 1622.2: "1622"}
    assert {value: tables.three_digits([value]) for value in singles} == singles
