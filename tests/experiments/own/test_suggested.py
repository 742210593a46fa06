"""Suggested settings are measured on every zoo of small networks, beside what was tuned for it."""

import math

import pytest

from experiments.own import suggested, tables
from experiments.profiles import UNSEEN, cifar10_rows, main_results
from experiments.records import read_record
from rpglib.errors import InputError
from rpglib.training import suggestion


def of(generated: float) -> dict:
    numbers = {"generated": {"mean": generated}, "baselines": {"untrained generator": {"mean": 10.0}}}
    return {"numbers": numbers | {"splits": [numbers]}}


def test_a_record_of_all_zoos(tmp_path, monkeypatch):
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    with pytest.raises(InputError, match="no record of"):
        suggested.measure("smoke")
    monkeypatch.setattr(suggested, "read_record", lambda name, profile, recipe: of(60.0))
    for name, value in {"FEW_STEPS": 2, "STEPS_EACH": 0}.items():
        monkeypatch.setattr(suggestion, name, value)
    numbers = suggested.measure("smoke")["numbers"]
    assert numbers == read_record("suggested_settings", "smoke")["numbers"]
    names = {x.name for x in (*main_results("smoke"), *cifar10_rows("smoke"))}
    assert numbers["zoos"].keys() == names | {f"{name}_one_run" for name in names} | {UNSEEN["smoke"].name}
    for x in numbers["zoos"].values():
        gain = x["suggested"]["generated"] - x["suggested"]["untrained"]
        assert x["suggested"]["steps"] == 2 and math.isclose(x["share"], 100 * gain / 50)


def test_the_table_shows_shares_and_nothing_where_there_is_no_record(tmp_path, monkeypatch):
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    one = {"suggested": {"generated": 97.5, "steps": 600}, "tuned": {"generated": 98.0, "steps": 1200}, "share": 99.43}
    row = tables.suggested({"zoos": {"digits": one}}).loc["digits"]
    assert row["accuracy (%), suggested"] == "97.50" and row["steps, tuned"] == "1,200"
    assert row["share of the tuned gain"] == "99.4 %"
    assert tables.suggested(suggested.recorded()).empty
