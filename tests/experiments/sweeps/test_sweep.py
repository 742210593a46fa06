"""Sweeps vary what they declare and nothing else; their cells are computed once; their records are read back."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.field.jobs import ForTasks, Method
from experiments.field.scale import Fits
from experiments.profiles import UNSEEN
from experiments.records import PROFILES, generator_dir
from experiments.sweeps import cells
from experiments.sweeps.cells import Cell, folder_of
from experiments.sweeps.memorisation import Audit
from experiments.sweeps.memory import training_bytes
from experiments.sweeps.recipes import base
from experiments.sweeps.sweep import Sweep, _brief, vary
from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.loop import TrainConfig, train

DIGITS_TRAINED_ON = 1078


def differences(a, b, prefix=""):
    """The dotted names of all fields in which two configurations of one class differ."""
    found = set()
    for field in dataclasses.fields(a):
        mine, other, name = getattr(a, field.name), getattr(b, field.name), prefix + field.name
        if dataclasses.is_dataclass(mine) and type(mine) is type(other):
            found |= differences(mine, other, f"{name}.")
        elif mine != other:
            found.add(name)
    return found


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    return tmp_path


# ---- variants -------------------------------------------------------------------------------------------------------


def test_differences_sees_every_level():
    start = base("cpu")
    other = replace(start, slicing="flatten", model=replace(start.model, token_size=7))
    assert differences(start, other) == {"slicing", "model.token_size"}
    assert differences(start, start) == set()


def test_vary():
    start = base("cpu")
    other = vary(start, {"slicing": "flatten", "model.token_size": 7})
    assert (other.slicing, other.model.token_size, other.collect) == ("flatten", 7, start.collect)
    with pytest.raises(InputError, match="no field 'tokens'"):
        vary(start, {"model.tokens": 7})
    with pytest.raises(InputError, match="in the base already"):
        vary(start, {"model.token_size": start.model.token_size})


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_has_a_base_that_a_variant_differs_from_in_what_it_declares(profile):
    changes = {"model.recurrence": "none", "model.position": "1d"}
    study = Sweep("any", profile, base(profile), {"base": {}, "other": changes}, (0, 1))
    assert study.recipe("base") == study.base
    assert differences(study.base, study.recipe("other")) == set(changes)


def test_checkpoints_of_the_base_fit_into_its_last_epoch():
    collect = base("cpu").collect
    assert collect.checkpoints <= collect.finetuning.steps(DIGITS_TRAINED_ON)


# ---- cells ----------------------------------------------------------------------------------------------------------


def study_of(start=None, seeds=(0, 1), **options) -> Sweep:
    return Sweep(
        "small", "smoke", start or base("smoke"), {"base": {}, "1d": {"model.position": "1d"}}, seeds, **options
    )


def test_seeds_move_everything():
    first, second = study_of().cells("base")
    assert differences(first.recipe, second.recipe) == {"collect.seed", "train.seed"}
    assert first.zoo_recipe.name != second.zoo_recipe.name
    (moved, _) = study_of(seed=1).cells("base")
    assert moved == second


def test_evaluations_are_taken_where_they_say_something():
    variants = {"base": {}, "half": {"train.steps": 20}, "averaged": {"train.ema": 0.99}}
    start = base("smoke")
    start = replace(start, train=replace(start.train, steps=40))
    study = Sweep("any", "smoke", start, variants, (0,), evaluations=(10, 20, 30))
    taken = {name: study.cells(name)[0].evaluations for name in variants}
    assert taken == {"base": (10, 20, 30), "half": (), "averaged": ()}


def test_evaluations_know_their_seconds_and_originals_are_asked_once(home, monkeypatch):
    asked = []
    start = base("smoke")
    start = replace(start, train=replace(start.train, steps=4))
    study = study_of(start, seeds=(0,), evaluations=(1, 3))
    real = cells.predictions
    monkeypatch.setattr(cells, "predictions", lambda *a, **k: asked.append(1) or real(*a, **k))
    cells._answers.cache_clear()
    first, _ = cells.run([*study.cells("base"), *study.cells("1d")])
    assert len(asked) == 1
    one, three = first["evaluations"]
    seconds = first["seconds"]
    assert 0 < one["seconds"] < three["seconds"] < seconds["train"] - seconds["evaluate"]
    assert one["original"] == first["original"]
    # What was kept is what a cell without evaluations finds.
    cells._answers.cache_clear()
    (alone,) = cells.run([Cell(start, "smoke")])
    assert alone["generated"] == first["generated"] and alone["diversity"] == first["diversity"]
    assert alone["seconds"]["evaluate"] == 0


def test_cells_are_computed_once_and_shared(home, monkeypatch):
    study = study_of(seeds=(0,))
    first = cells.run(study.cells("base"))
    monkeypatch.setattr(Cell, "compute", lambda *_: pytest.fail("computed again"))
    assert cells.run(study.cells("base")) == first
    # Another experiment with the same recipe under another name is the same cell.
    renamed = replace(study, experiment="other", base=replace(study.base, name="other"))
    assert cells.run(renamed.cells("base")) == first


def test_a_broken_run_goes_on_where_it_stopped(home, monkeypatch):
    study, compute, done = study_of(seeds=(0,)), Cell.compute, []

    def interrupted(cell, folder):
        if cell.recipe.model.position == "1d" and not done:
            done.append(cell)
            raise KeyboardInterrupt
        return compute(cell, folder)

    monkeypatch.setattr(Cell, "compute", interrupted)
    both = [*study.cells("base"), *study.cells("1d")]
    with pytest.raises(KeyboardInterrupt):
        cells.run(both)
    assert both[0].numbers()["tokens"] > 0
    monkeypatch.setattr(Cell, "compute", lambda cell, folder: compute(cell, folder) | {"second": True})
    assert ["second" in found for found in cells.run(both)] == [False, True]


def test_cells_in_processes_agree_with_cells_in_this_one(home):
    study = study_of(seeds=(0,))
    jobs = [*study.cells("base"), *study.cells("1d")]
    here = cells.run(jobs)
    # Only smoke runs stay in one process; the profile is no part of what a cell computes.
    there = cells.run([replace(job, profile="cpu") for job in jobs])
    for a, b in zip(here, there, strict=True):
        assert a["generated"]["accuracies"] == b["generated"]["accuracies"]
        assert a["loss"]["losses"] == pytest.approx(b["loss"]["losses"], rel=1e-4)


# ---- records --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A sweep with two seeds, its record, and the sweep that `more` was called with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RPG_HOME", str(tmp_path_factory.mktemp("home")))
        study, called = study_of(), []
        yield study, study.record(fresh=True, more=lambda sweep: called.append(sweep) or {"extra": 1}), called


def test_a_record_is_read_back(recorded):
    study, record, called = recorded
    assert study.record(fresh=False, more=lambda _: pytest.fail("measured again")) == record
    assert called == [study] and record["numbers"]["extra"] == 1
    assert (record["n"], record["seeds"]) == (2, {"cells": [0, 1]})


def test_a_record_holds_every_cell_and_what_was_changed(recorded):
    study, record, _ = recorded
    variants = record["numbers"]["variants"]
    assert {name: variant["changes"] for name, variant in variants.items()} == study.variants
    for name, variant in variants.items():
        assert len(variant["cells"]) == len(study.seeds)
        assert variant["steps"] == study.recipe(name).train.steps
        for cell in variant["cells"]:
            assert len(cell["generated"]["accuracies"]) == cell["generated"]["n"]
            assert "accuracies" not in cell["original"] and isinstance(cell["loss"], float)


@pytest.mark.parametrize(("count", "expected"), [(1, 0), (9, 8), (10, 9), (25, 23.5), (400, 379.5)])
def test_a_record_keeps_of_a_loss_the_mean_of_its_last_tenth(count, expected):
    original = {"mean": 90.0, "accuracies": [90.0]}
    evaluations = [{"step": 1, "original": original}]
    found = _brief({"original": original, "loss": {"losses": list(range(count))}, "evaluations": evaluations})
    kept = {"original": {"mean": 90.0}}
    assert found == {**kept, "loss": expected, "evaluations": [{"step": 1, **kept}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "other settings or another seed"),
        ({"seeds": (0,)}, "other settings or another seed"),
        ({"variants": {"base": {}}}, "other settings or another seed"),
        ({"variants": {"base": {}, "1d": {"model.position": "learned"}}}, "other settings or another seed"),
        ({"variants": {"base": {}, "by index": {"model.position": "1d"}}}, "other settings or another seed"),
        ({"base": vary(base("smoke"), {"sampling_steps": 3})}, "other settings or another seed"),
        ({"experiment": "absent"}, "no record of 'absent'"),
        ({"evaluations": (3,)}, "evaluations after other steps"),
    ],
)
def test_a_record_of_something_else_is_refused(recorded, changes, message):
    with pytest.raises(InputError, match=message):
        replace(recorded[0], **changes).record(fresh=False)


def test_the_base_generated_again_agrees_with_the_record(recorded):
    study, record, _ = recorded
    assert (
        study.check_live(record) == "2 networks of the base generated and evaluated again; they agree with the record"
    )


def test_a_changed_record_is_found_by_what_is_generated_again(recorded):
    study, record, _ = recorded
    cell = record["numbers"]["variants"]["base"]["cells"][0]["generated"]
    other = cell | {"accuracies": [cell["accuracies"][0] + 5, *cell["accuracies"][1:]]}
    changed = {"numbers": {"variants": {"base": {"changes": {}, "cells": [{"generated": other}]}}}}
    with pytest.raises(AssertionError, match="differ from the record by 5"):
        study.check_live(changed)


def test_the_base_s_generator_is_kept_for_the_live_check(recorded):
    study, _, _ = recorded
    kept, computed = RPG.from_pretrained(generator_dir("smoke", study.base.name)), study.cells("base")[0].model()
    for name, x in kept.state_dict().items():
        assert torch.equal(x, computed.state_dict()[name])


def test_a_record_is_checked_with_its_own_generator_or_not_at_all(recorded, tmp_path, monkeypatch):
    study, record, _ = recorded
    shutil.copytree(os.environ["RPG_HOME"], tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    kept = generator_dir("smoke", study.base.name)
    assert record["generator"] == RPG.read(kept)[2]
    # Another seed was recorded after this one.
    study.cells("base")[1].model().save_pretrained(kept)
    assert record["generator"] != RPG.read(kept)[2]
    assert "agree with the record" in study.check_live(record), "with the cell's"
    shutil.rmtree(folder_of(study.cells("base")[0]))
    with pytest.raises(InputError, match=r"the record of small and the generator in .* are of two runs"):
        study.check_live(record)
    before = {key: value for key, value in record.items() if key != "generator"}
    assert isinstance(study._generator(before), RPG), "a record of before names none"


@dataclasses.dataclass(frozen=True)
class Slow:
    """A job that notes when it is computed."""

    done: Path
    profile: str = "smoke"
    device: str = "cpu"

    def facts(self) -> dict:
        return {}

    def compute(self, folder: Path) -> dict:
        with self.done.open("a") as file:
            file.write("computed\n")
        time.sleep(0.3)
        return {"x": 1}


def test_a_cell_that_two_sweeps_want_is_computed_once(home):
    threads = [threading.Thread(target=cells.run, args=([Slow(home / "done")],)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (home / "done").read_text() == "computed\n" and cells.run([Slow(home / "done")]) == [{"x": 1}]


@dataclasses.dataclass(frozen=True)
class Edited(Slow):
    """A job whose own code is another whenever it is asked for."""

    def facts(self) -> dict:
        return {"own_code": os.urandom(8).hex()}


def test_what_another_code_computes_is_not_taken_for_a_job_s_own(home):
    with pytest.raises(InputError, match="the code was changed while its jobs were computed"):
        cells.run([Edited(home / "edited")])
    assert not (home / "edited").exists()


def test_every_job_runs_where_its_own_device_says(home, monkeypatch):
    beside, done = [], []

    def parallel(**_):
        return lambda calls: (beside.append(arguments[0]) or work(*arguments) for work, arguments, _ in calls)

    monkeypatch.setattr(cells, "Parallel", parallel)
    monkeypatch.setattr(cells, "pick", torch.device)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    jobs = {f"{k} {device}": Slow(home, "cpu", device) for k, device in enumerate(["cpu", "cuda", "cpu", "cuda"])}
    list(cells._spread(jobs, lambda place, _: done.append(place)))
    assert done == ["1 cuda", "3 cuda", "0 cpu", "2 cpu"] and beside == ["0 cpu", "2 cpu"]
    one = {place: jobs[place] for place in ("0 cpu", "1 cuda")}
    list(cells._spread(one, lambda place, _: done.append(place)))
    assert done[4:] == [*one] and len(beside) == 2


def test_every_job_says_where_it_computes(home):
    cell = Cell(base("smoke"), "smoke", device="cuda")
    assert Audit(cell).device == "cuda", "where the cell's generator is"
    split, fits = ForTasks(UNSEEN["smoke"], "smoke", 0, Method("D2NWG"), 2), Fits("smoke", Method("D2NWG"))
    assert split.device == fits.device == "cpu"
    assert "device" not in split.facts() | fits.facts(), "that is told apart for all jobs"


# Workers of both kinds: those that share a sweep's cells, and those in which something is measured alone.
WORKERS = """
import os, sys, time
from pathlib import Path

class Job:
    profile, device = "cpu", "cpu"

def work(place, job, folder=Path(sys.argv[1])):
    (folder / str(os.getpid())).touch()
    time.sleep(60)

if __name__ == "__main__":
    from experiments.cost.workers import worker
    from experiments.sweeps import cells
    os.sched_getaffinity = lambda process: {0, 1}
    alone = worker()
    (Path(sys.argv[1]) / str(alone.submit(os.getpid).result())).touch()
    list(cells._spread({"one": Job(), "other": Job()}, work))
"""


def test_a_killed_sweep_takes_its_workers_with_it(tmp_path):
    (tmp_path / "workers").mkdir()
    (tmp_path / "program.py").write_text(WORKERS)
    path = os.environ.get("PYTHONPATH", str(Path(__file__).parents[3]))
    sweep = subprocess.Popen(
        [sys.executable, "program.py", "workers"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        stderr=subprocess.DEVNULL,  # loky tells of what a killed process did not tidy up, and does it
    )
    try:
        patience = time.time() + 300
        while len(workers := [int(path.name) for path in (tmp_path / "workers").iterdir()]) < 3:
            assert sweep.poll() is None and time.time() < patience
            time.sleep(0.1)
    finally:
        sweep.kill()
        sweep.wait()
    patience = time.time() + 20
    while (left := [process for process in workers if running(process)]) and time.time() < patience:
        time.sleep(0.2)
    for process in left:
        os.kill(process, signal.SIGKILL)
    assert not left, "they went on working for nobody"


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


# ---- what cells report ----------------------------------------------------------------------------------------------


def test_training_memory_counts_and_leaves_no_trace():
    zoo = [{"weight": torch.randn(40, 8), "bias": torch.randn(40)} for _ in range(4)]
    recipe = base("smoke")
    tokenizer = ParameterTokenizer.fit(zoo, recipe.model.token_size)
    model = RPG(recipe.model, tokenizer).eval()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    config = replace(recipe.train, batch_size=2, diffusion_batch=2)
    found = training_bytes(model, config)
    weights = 4 * sum(x.numel() for x in model.parameters())
    assert found > 4 * weights - 12 * sum(x.numel() for x in model.recurrent.permutation.parameters())
    # Twice the networks and twice the tokens: twice what is kept for the way back, but for what belongs to no batch.
    double = training_bytes(model, replace(config, batch_size=4, diffusion_batch=4))
    assert 1.5 < (double - 4 * weights) / (found - 4 * weights) < 2.2
    assert not model.training
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


def test_without_diffusion_the_skip_alone_learns():
    zoo = _Zoo([{"weight": torch.full((8, 16), float(k))} for k in (1, 2)])
    model_config = replace(base("smoke").model, permutation_states=0)
    config = TrainConfig(steps=4, batch_size=2, diffusion_batch=2, diffusion=False, precision="fp32")
    model = RPG(model_config, ParameterTokenizer.fit(zoo, model_config.token_size))
    before = {name: x.clone() for name, x in model.named_parameters()}
    train(model, zoo, config, progress=False)
    changed = {name for name, x in model.named_parameters() if not torch.equal(x, before[name])}
    assert any(name.startswith("skip") for name in changed)
    assert not any(name.startswith("denoiser") for name in changed)
    one, two = model.generate(2, steps=1)
    torch.testing.assert_close(one, two)  # no state, no diffusion: one network only
    alone = replace(config, prototype_loss=0.0)
    with pytest.raises(InputError, match="diffusion=False needs a generator with prototype_skip"):
        train(RPG(replace(model_config, prototype_skip=False), model.tokenizer), zoo, alone, progress=False)


class _Zoo(list):
    runs, tasks = torch.zeros(2, dtype=torch.int64), None
