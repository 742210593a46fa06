"""The rows of a profile, one after the other: passed over, stopped anywhere, and gone on with to the same numbers."""

import shutil
from dataclasses import replace

import pytest
import torch

from experiments import pipeline, profiles, rows
from experiments.records import PROFILES, read_record
from rpglib.errors import InputError

RECIPE = profiles.main_results("smoke")[1]
RECIPE = replace(RECIPE, generators=1, train=replace(RECIPE.train, steps=7, save_every=2))
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    monkeypatch.setattr(rows, "rows", lambda profile: [RECIPE, replace(RECIPE, name="other")])
    return tmp_path


def after(calls: int):
    """False so many times, then True."""
    left = iter([False] * calls)
    return lambda: next(left, True)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_row_of_a_profile_once(profile, monkeypatch):
    monkeypatch.undo()
    names = [recipe.name for recipe in rows.rows(profile)]
    assert len(names) == len(set(names))
    assert {"quickstart", *(r.name for r in (*profiles.main_results(profile), *profiles.cifar10_rows(profile)))} <= {
        *names
    }


def test_wherever_it_is_stopped_it_goes_on_to_the_same_numbers(home):
    expected = pipeline.row(RECIPE, "smoke", True, device="cpu", keep_generator=False).numbers
    for kept in ("results", "zoos"):
        shutil.rmtree(home / "data/runs/smoke" / kept)
    state = pipeline.unfinished(RECIPE, "smoke") / "training.pt"
    # Before the zoo, before the training, at its first and at its last saved state, and before the record.
    for calls, reached in ((0, 0), (1, 0), (2, 2), (3, 6), (2, 7)):
        assert not rows.advance(RECIPE, "smoke", after(calls), CPU)
        assert reached == (torch.load(state, weights_only=True)["step"] if state.exists() else 0)
    assert rows.advance(RECIPE, "smoke", after(9), CPU) and not state.exists()
    found = read_record(RECIPE.name, "smoke")["numbers"]
    assert found.pop("seconds")["train"] > 0 < expected.pop("seconds")["train"]
    assert found == expected


def test_what_is_recorded_is_passed_over(home, monkeypatch):
    done = []
    monkeypatch.setattr(rows, "advance", lambda recipe, *_: done.append(recipe.name) or len(done) < 2)
    monkeypatch.setattr(rows, "_recorded", lambda recipe, _: recipe.name == RECIPE.name)
    assert rows.record("smoke") == ([], []) and done == ["other"]
    monkeypatch.setattr(rows, "_recorded", lambda *_: False)
    assert rows.record("smoke") == ([RECIPE.name, "other"], []) and done == ["other", RECIPE.name]


def test_a_record_of_another_recipe_is_none(home):
    assert not rows._recorded(RECIPE, "smoke")
    pipeline.row(RECIPE, "smoke", True, device="cpu", keep_generator=False)
    assert rows._recorded(RECIPE, "smoke")
    assert not rows._recorded(replace(RECIPE, sampling_steps=5), "smoke")


def test_no_time_is_no_work_and_the_command_says_what_is_left(home, capsys):
    rows.main(["--profile", "smoke", "--minutes", "0"])
    assert capsys.readouterr().out.splitlines()[-1] == "left: cnn_digits, other; the same command goes on"
    assert not (home / "data/runs/smoke/zoos").exists()


def test_a_row_without_images_is_not_called_recorded(home, monkeypatch, capsys):
    monkeypatch.setattr(rows, "advance", lambda *_: True)
    monkeypatch.setattr(rows, "available", lambda recipes, fresh: recipes[:1])
    rows.main(["--profile", "smoke"])
    assert capsys.readouterr().out.splitlines() == ["cnn_digits: recorded", "cannot be measured here: other"]


def test_a_large_profile_is_not_computed_on_a_cpu_by_chance(monkeypatch):
    monkeypatch.setattr(rows, "pick", lambda _: CPU)
    with pytest.raises(InputError, match="wants a GPU, and there is none"):
        rows.record("gpu")


def test_what_a_gpu_costs_comes_after_the_rows_and_once(home, monkeypatch):
    done = []
    monkeypatch.setattr(rows, "pick", lambda device: torch.device("cuda"))
    monkeypatch.setattr(rows, "advance", lambda recipe, *_: done.append(recipe.name) or True)
    monkeypatch.setitem(
        rows.benchmark.COSTS, "gpu", (lambda: done.append("cost") or {"seconds": 1.0}, 1, "none", "gpu")
    )
    assert rows.record("gpu", minutes=0) == (["gpu"], []) and done == [RECIPE.name, "other"]
    done.clear()
    assert rows.record("gpu") == ([], []) and done == [RECIPE.name, "other", "cost"]
    assert read_record("gpu_cost", "gpu")["numbers"] == {"seconds": 1.0}
    assert rows.record("gpu") == ([], []) and done.count("cost") == 1
    assert rows.costs_of("smoke") == []
