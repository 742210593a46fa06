"""Generators that are asked about tasks: what is asked, that no held-out task is, and the record."""

from dataclasses import replace

import numpy as np
import pytest

from experiments import profiles
from experiments.tasks import asked, tables
from experiments.tasks.asked import ASKED, HYPERNETWORK, VARIANTS, Variant
from experiments.tasks.task_zoo import tasks_of
from rpglib.errors import InputError
from rpglib.tasks import split_tasks

SMOKE = replace(profiles.unseen_tasks("smoke"), splits=(0, 1))


@pytest.fixture(scope="module")
def numbers(home):
    return asked.asked(SMOKE, "smoke", fresh=True, device="cpu")


def test_a_held_out_task_is_never_asked_unless_the_variant_says_so(home, monkeypatch, tmp_path):
    given = {}
    monkeypatch.setattr(asked, "fit", lambda *arguments, behaviour, **options: given.update(it=behaviour) or 1 / 0)
    monkeypatch.setattr(asked, "fit_hypernetwork", lambda *arguments: given.update(it=arguments[4]) or 1 / 0)
    for variant in VARIANTS.values():
        with pytest.raises(ZeroDivisionError):
            asked.Asked(SMOKE, "smoke", 1, variant, device="cpu").compute(tmp_path)
        known = tasks_of(SMOKE) if variant.all_tasks else tasks_of(SMOKE)[split_tasks(SMOKE.count, 1, SMOKE.seen)[0]]
        assert given["it"].tasks.equal(known)
    assert sum(variant.all_tasks for variant in VARIANTS.values()) == 1


def test_every_variant_is_recorded_for_every_split_and_read_again(numbers, monkeypatch):
    assert numbers["variants"].keys() == VARIANTS.keys() and numbers["curve"].keys() == {"8"}
    for found in numbers["variants"].values():
        assert [one["split"] for one in found] == [0, 1]
        assert all(len(one["accuracy"]["accuracies"]) == one["unseen_tasks"] for one in found)
    assert {name: one["seen_tasks"] for name, one in numbers["curve"]["8"].items()} == {ASKED: 8, HYPERNETWORK: 8}
    assert asked.asked(SMOKE, "smoke", fresh=False) == numbers
    with pytest.raises(InputError, match="other settings"):
        asked.asked(replace(SMOKE, sampling_steps=7), "smoke", fresh=False)
    for name, value in {"WEIGHT": 1.0, "VARIANTS": VARIANTS | {ASKED: Variant(reconstruction=1.0)}}.items():
        with monkeypatch.context() as patch, pytest.raises(InputError, match="other settings"):
            patch.setattr(asked, name, value)
            asked.asked(SMOKE, "smoke", fresh=False)


def test_other_variants_are_other_jobs():
    jobs = [asked.Asked(SMOKE, "smoke", 0, variant) for variant in (*VARIANTS.values(), Variant(reconstruction=0.5))]
    assert len({str(job.facts()) for job in jobs}) == len(jobs)
    longer = replace(jobs[0], recipe=replace(SMOKE, splits=(0, 1, 2)))
    assert longer.facts() == jobs[0].facts(), "one split is the same whatever others there are"


def test_the_table_has_differences(numbers):
    own = np.array([one["accuracy"]["mean"] for one in numbers["variants"][ASKED]])
    table = tables.asked(numbers["variants"], {"original": own - 2, "half": own - np.array([1, 3])})
    assert table.loc[ASKED, "- original"].startswith("+2.00 [+2.00, +2.00]")
    assert table.loc[ASKED, "- half"].startswith("+2.00 [")
    assert table.loc[ASKED, "mean (%)"] == f"{own.mean():.2f}" and list(table.index) == list(VARIANTS)
