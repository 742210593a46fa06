"""Tables print what the numbers say, rounded once."""

import torch

from experiments.report import tables
from rpglib.tokenizer import ParameterTokenizer


def numbers(original=97.2222, generated=97.1) -> dict:
    return {
        "parameters": 10546,
        "original": {"n": 50, "mean": original, "median": 97.3, "std": 0.456, "min": 96.0, "max": 98.0},
        "generated": {"n": 10, "mean": generated, "median": 97.125001, "std": 0.0449, "min": 96.666666, "max": 97.999},
        "diversity": {
            "among_generated": 0.87654,
            "to_nearest_original": 0.9,
            "among_originals": 1.0,
            "nearest_original_among_originals": 0.12345,
        },
    }


def test_main_results():
    table = tables.main_results({"vit": numbers(), "cnn": numbers(90.0, 91.5)})
    assert list(table.columns) == ["vit", "cnn"]
    assert table["vit"].to_dict() == {
        "values": "10,546",
        "original, mean (%)": "97.22",
        "original, std": "0.46",
        "generated, best (%)": "98.00",
        "generated, mean (%)": "97.10",
        "generated, median (%)": "97.13",
        "generated, minimum (%)": "96.67",
        "generated, std": "0.04",
        "generated, n": "10",
        "generated - original (points)": "-0.12",
    }
    assert table.loc["generated - original (points)", "cnn"] == "+1.50"


def test_the_paper_s_columns_come_in_the_paper_s_order():
    rows = list(tables.main_results({"vit": numbers()}).index)
    assert [row.split()[1] for row in rows if row.startswith("generated,")] == [
        "best",
        "mean",
        "median",
        "minimum",
        "std",
        "n",
    ]


def test_differences_are_taken_before_rounding():
    """90.006 and 90.014 print as 90.01 both, and lie a hundredth apart."""
    table = tables.main_results({"x": numbers(90.006, 90.014)})["x"]
    assert (table["original, mean (%)"], table["generated, mean (%)"]) == ("90.01", "90.01")
    assert table["generated - original (points)"] == "+0.01"


def test_baselines():
    one = {
        "n": 1,
        "mean": 10.2,
        "std": 0.0,
        "min": 10.2,
        "max": 10.2,
        "error_iou": None,
        "distance": {"median": 140.83},
    }
    ten = one | {"n": 10, "std": 1.94, "error_iou": 0.816}
    row = numbers() | {"baselines": {"mean network": one, "Gaussian": ten}}
    row["generated"] = row["generated"] | {"distance": {"median": 3.92}}
    table = tables.baselines(row)
    assert list(table.index) == ["original", "generated", "mean network", "Gaussian"]
    assert table.loc["original"].tolist() == ["97.22", "0.46", "96.00", "50", "1.00", "1.0"]
    assert table.loc["generated"].tolist() == ["97.10", "0.04", "96.67", "10", "0.88", "3.9"]
    assert table.loc["mean network"].tolist() == ["10.20", "-", "10.20", "1", "-", "140.8"]
    assert table.loc["Gaussian", "error-IoU"] == "0.82"


def test_generators():
    found = {"n": 10, "mean": 98.0, "std": 0.5, "min": 97.0, "error_iou": 0.345, "distance": {"median": 3.87}}
    one = {"generated": found, "untrained generator": found | {"mean": 10.0}}
    table = tables.generators({"cnn": {"by_seed": [one, one]}})
    assert list(table.index) == [("cnn", "generator 0"), ("cnn", "generator 1")]
    assert table.iloc[0].tolist() == ["98.00 ± 0.50", "97.00", "10", "10.00", "0.34", "3.9"]
    assert tables.generators({}).empty


def test_networks_without_a_record_take_a_line_and_no_rows():
    hardware = {"gpus": [], "cores": 2}
    record = {"numbers": numbers(62.1, 61.95) | {"seconds": {"collect": 60, "train": 90}}}
    record |= {"provenance": {"hardware": hardware}}
    paper = {"cnn": (62.1, 62.0), "resnet": (93.9, 93.6), "vit": None}
    table = tables.beside_paper({"cnn": record}, paper)
    assert list(table.columns) == ["cnn"]
    assert table["cnn"].to_dict() == {
        "paper, original (%)": "62.1",
        "paper, generated (%)": "62.0",
        "ours, original (%)": "62.10 ± 0.46",
        "ours, generated (%)": "61.95 ± 0.04",
        "n": "50, 10",
        "generated - original (points)": "-0.15",
        "minutes": "1.5",
        "on": "2 cores",
    }
    unmeasured = "not measured: resnet (the paper: 93.9 % original, 93.6 % generated), vit"
    assert tables.not_measured({"cnn": record}, paper) == unmeasured
    assert tables.not_measured({"cnn": record}, {"cnn": None}) == "not measured: none"
    record["provenance"]["hardware"] = {"gpus": ["a GPU"], "cores": 2}
    assert tables.beside_paper({"cnn": record}, {"cnn": None}).loc["on", "cnn"] == "a GPU"


def test_diversity_is_beside_the_accuracy():
    table = tables.diversity({"vit": numbers()})
    assert table["vit"].to_dict() == {
        "among originals": "1.000",
        "original to its nearest other": "0.123",
        "among generated": "0.877",
        "generated to nearest original": "0.900",
    }
    assert list(table.columns) == list(tables.main_results({"vit": numbers()}).columns)


def test_tokens():
    tokenizer = ParameterTokenizer.fit([{"weight": torch.randn(5, 3), "bias": torch.randn(5)}], token_size=8)
    table = tables.tokens({"linear": tokenizer})
    assert table["linear"].tolist() == ["2", "20", "8", "3", "16.7 %"]


def test_zoos():
    report = {"n": 100, "mean": 97.255, "median": 97.0, "std": 0.25, "min": 96.111, "max": 98.8888}
    report |= {"parameters": 2864, "runs": 2, "checkpoints": 100, "among_originals": 0.5}
    assert tables.zoos({"cnn_s": report})["cnn_s"].to_dict() == {
        "trainable parameters": "2,864",
        "runs": "2",
        "checkpoints": "100",
        "mean (%)": f"{97.255:.2f}",
        "std": "0.25",
        "minimum (%)": "96.11",
        "maximum (%)": "98.89",
        "error-IoU": "0.500",
    }
