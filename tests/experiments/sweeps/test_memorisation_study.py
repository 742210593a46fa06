"""The audit of 13 on populations whose answer is known, and its tables."""

import copy

import pytest
import torch
from torch import nn

from experiments.sweeps import tables
from experiments.sweeps.memorisation import MULTIPLES, SCATTERED, judge, nearest, new_and_good_share
from rpglib.analysis.alignment import permute
from rpglib.zoo.images import Split

# ---- the audit ------------------------------------------------------------------------------------------------------


def module() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


@pytest.fixture(scope="module")
def judged():
    torch.manual_seed(0)
    originals = [copy.deepcopy(module().state_dict()) for _ in range(5)]
    orders = [[torch.randperm(6)] for _ in originals]
    groups = {
        "original": originals,
        "copy": [dict(network) for network in originals],
        "one copy": [originals[2]] * 5,
        "permuted": [permute(module(), network, order) for network, order in zip(originals, orders, strict=True)],
        "far": [{name: x + 50 for name, x in network.items()} for network in originals],
    }
    images, labels = torch.randn(60, 1, 2, 2), torch.randint(3, (60,))
    return judge(module(), groups, Split(images, labels))


def test_the_originals_are_the_unit(judged):
    found = judged["groups"]["original"]
    for key in ("distance", "aligned_distance", "nearest_distance", "apart"):
        assert found[key]["median"] == pytest.approx(1)
    assert found["new_and_good"][0] == 1, "the worst original is good by definition"
    assert found["similarity"]["max"] < 1, "an original is compared with the others, not with itself"


@pytest.mark.parametrize("name", ["copy", "one copy"])
def test_a_copy_is_at_distance_0_with_the_same_errors(judged, name):
    found = judged["groups"][name]
    assert found["distance"]["max"] == found["aligned_distance"]["max"] == 0
    assert found["similarity"]["min"] == 1
    assert found["new_and_good"] == [1.0 if k == 0 else 0.0 for k in MULTIPLES]


def test_apart_shows_one_network_written_over_and_over(judged):
    groups = judged["groups"]
    assert groups["one copy"]["apart"]["max"] == 0
    assert groups["copy"]["apart"] == pytest.approx(groups["original"]["apart"])


def test_a_permuted_copy_is_far_as_it_is_and_at_distance_0_aligned(judged):
    found = judged["groups"]["permuted"]
    assert found["distance"]["min"] > 0.1
    assert found["aligned_distance"]["max"] < 1e-6 and found["nearest_distance"]["max"] < 1e-6
    assert found["similarity"]["min"] == 1


def test_far_networks_are_new_and_good_only_where_they_work(judged):
    audit = judged
    found = audit["groups"]["far"]
    works = [accuracy >= audit["good"] for _, accuracy in found["points"]]
    assert len(works) == min(5, SCATTERED)
    assert found["distance"]["min"] > 1
    assert found["new_and_good"][1] == pytest.approx(sum(works) / 5)


# ---- 13 -------------------------------------------------------------------------------------------------------------


def group(distance=1.0, similarity=0.9, apart=1.0, rates=(1.0, 0.5, 0.0), accuracy=97.0) -> dict:
    return {
        "accuracy": {"mean": accuracy},
        "similarity": {"mean": similarity},
        "distance": {"median": distance},
        "aligned_distance": {"median": distance},
        "apart": {"median": apart},
        "new_and_good": list(rates),
    }


def audited(rpg: dict, baseline: dict | None = None, shifts=(-0.01, 0.0, 0.01)) -> dict:
    seeds = []
    for shift in shifts:
        ours = rpg | {"aligned_distance": {"median": rpg["aligned_distance"]["median"] + shift}}
        seeds.append(
            {"groups": {"original": group(), "RPG": ours, "noise 0.1": baseline or group(rates=(1.0, 0.2, 0.0))}}
        )
    return {"audit": {"one run": {"seeds": seeds}}, "multiples": [0, 1, 2]}


def test_tables_of_13():
    numbers = audited(group(3.0))
    row = tables.novelty(numbers, "one run").loc["RPG"]
    assert row["aligned distance"] == "3.00 ± 0.01" and "apart (aligned)" in row
    table = tables.new_and_good(numbers, "one run")
    assert table.loc["RPG"].to_dict() == {">= 0": "100", ">= 1": "50", ">= 2": "0"}
    assert table.columns.name == "aligned distance"


def test_tables_name_the_distance_that_a_record_has():
    numbers = audited(group(3.0) | {"nearest_distance": {"median": 2.0}}) | {"novelty_by": "nearest"}
    for seed in numbers["audit"]["one run"]["seeds"]:
        for found in seed["groups"].values():
            found.setdefault("nearest_distance", {"median": 1.0})
    row = tables.novelty(numbers, "one run").loc["RPG"]
    assert row["nearest distance"] == "2.00 ± 0.00" and "apart (nearest)" in row
    assert tables.new_and_good(numbers, "one run").columns.name == "nearest distance"


def test_nearest_is_the_tighter_bound():
    found = group(3.0) | {"aligned_distance": {"median": 7.0}}
    assert nearest(found) == 3
    assert nearest(found | {"nearest_distance": {"median": 2.0}}) == 2


def test_new_and_good_counts_from_one_unit_on():
    assert new_and_good_share(group(rates=(1.0, 0.5, 0.0)), [0, 1, 2]) == 0.25
