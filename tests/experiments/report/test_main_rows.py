"""Rows with several generators show all of them, with an interval over generators, wherever they are printed."""

from pathlib import Path

import pytest

from experiments.claims import Verdict
from experiments.report import cards, main_rows, pages, results, summary, tables
from experiments.report.verdicts import Judged


def summarised(mean, n=10) -> dict:
    return {"n": n, "mean": mean, "median": mean, "std": 0.5, "min": mean - 1, "max": mean + 1}


def row(*means: float) -> dict:
    """A row of one generator, or of several, whose first writes networks of accuracy 90."""
    numbers = {
        "parameters": 3586,
        "tokens": 41,
        "generator_parameters": 1000,
        "original": summarised(91.0, 50),
        "generated": summarised(90.0),
        "diversity": {
            "among_generated": 0.3,
            "among_originals": 0.4,
            "to_nearest_original": 0.5,
            "nearest_original_among_originals": 0.4,
        },
        "baselines": {"untrained generator": summarised(10.0), "mean network": summarised(11.0, 1)},
        "seconds": {"collect": 60, "train": 60},
    }
    if means:
        numbers["by_seed"] = [
            {"generated": summarised(m) | {"error_iou": m / 100}, "untrained generator": summarised(m / 10)}
            for m in means
        ]
    return numbers


SEVERAL = row(90.0, 93.0, 96.0)
OVER_THREE = "93.00 [85.55, 100.45]"  # 3 / sqrt(3) x 4.303, the t quantile of 2 degrees of freedom


def test_one_generator_has_the_spread_of_its_networks():
    one = row()
    assert (main_rows.accuracy(one), main_rows.difference(one), main_rows.counts(one)) == (
        "90.00 ± 0.50",
        "-1.00",
        "50, 10",
    )
    assert (main_rows.untrained(one), main_rows.error_iou(one)) == ([10.0], [0.3])


def test_several_have_their_mean_and_its_interval():
    assert main_rows.accuracy(SEVERAL) == OVER_THREE
    assert main_rows.difference(SEVERAL) == "+2.00 [-5.45, +9.45]"
    assert main_rows.counts(SEVERAL) == "50, 3 x 10"
    assert main_rows.untrained(SEVERAL) == pytest.approx([9.0, 9.3, 9.6])


@pytest.fixture
def recorded(monkeypatch):
    """All records are one with three generators."""
    record = {
        "numbers": SEVERAL | {"zoos": {}},
        "data_source": "digits",
        "n": 10,
        "config": {
            "architecture": {"name": "cnn"},
            "collect": {"runs": 10, "checkpoints": 5},
            "model": {"task_bits": 0, "token_size": 128, "prediction": "sample"},
            "train": {"steps": 600},
            "normalisation": "layer",
            "sampler": "ddim",
            "sampling_steps": 4,
        },
        "provenance": {
            "hardware": {"cores": 2, "cpu": "CPU", "gpus": []},
            "commit": "abc",
            "dirty": False,
            "date": "2026-01-01",
        },
    }
    monkeypatch.setattr(pages, "records", lambda: dict.fromkeys((*results.ROWS, "row"), record))
    monkeypatch.setattr(pages, "read_record", lambda name, profile: record)


def test_the_table_of_results_shows_all_generators(recorded):
    line = next(part for part in results.main_results() if "| quickstart" in part).splitlines()[2]
    cells = [cell.strip() for cell in line.split("|")]
    assert "50, 3 x 10" in cells and OVER_THREE in cells and "+2.00 [-5.45, +9.45]" in cells
    assert "9.3" in cells and "0.40, 0.93" in cells


def test_the_readme_shows_all_generators(recorded, monkeypatch):
    verdict = Verdict(
        "cnn_digits, several generators: accurate", "", "+2.00 [-5.45, +9.45] points, n = 3", "inconclusive"
    )
    monkeypatch.setattr(summary, "judged", lambda: {"04": Judged(Path("notebooks/04.ipynb"), "", (verdict,), ())})
    (line,) = summary.results().splitlines()[2:]
    assert f"| {OVER_THREE} %, trained 91.00 % | inconclusive |" in line


def test_a_card_has_its_own_generator_and_all(recorded):
    text = " ".join(cards.card("row").split())
    assert "| generated | 90.00 ± 0.50 |" in text
    assert "3 generators were trained on the same checkpoints" in text and f"average {OVER_THREE} %" in text


def test_the_table_of_cifar10_shows_all_generators():
    record = {"numbers": SEVERAL, "provenance": {"hardware": {"gpus": [], "cores": 2}}}
    column = tables.beside_paper({"cnn": record}, {"cnn": None})["cnn"]
    assert column[["ours, generated (%)", "n", "generated - original (points)"]].tolist() == [
        OVER_THREE,
        "50, 3 x 10",
        "+2.00 [-5.45, +9.45]",
    ]


@pytest.mark.parametrize(
    ("ours", "shown"),
    [
        (
            "untrained 10 %, trained 98 %; +88.44 [+87.00, +89.89] points, n = 10, p = 1e-12",
            "untrained 10 %, trained 98 %",
        ),
        (
            "LSTM +0.51 [+0.1, +0.9]; Mamba-2 -0.10 [-0.4, +0.2] points, n = 5, p = 0.3",
            "LSTM +0.51; Mamba-2 -0.10 points",
        ),
        ("16: 1.0 MB, 32: 2.0 MB", "16: 1.0 MB, 32: 2.0 MB"),
    ],
)
def test_the_readme_shows_what_a_verdict_found_without_its_intervals(ours, shown):
    assert summary._shown(ours) == shown
