"""The audit of 13 on populations whose answer is known, and its tables."""

import copy

import pytest
import torch
from torch import nn

from experiments.sweeps import tables
from experiments.sweeps.memorisation import MULTIPLES, SCATTERED, judge
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
        "alone": originals[:1],
    }
    images, labels = torch.randn(60, 1, 2, 2), torch.randint(3, (60,))
    return judge(module(), groups, torch.arange(5), Split(images, labels))


def test_the_originals_are_the_unit(judged):
    found = judged["groups"]["original"]
    for key in ("plain_distance", "aligned_distance", "distance", "apart"):
        assert found[key]["median"] == pytest.approx(1)
    assert found["new_and_good"][0] == 1, "the worst original is good by definition"
    assert found["similarity"]["max"] < 1, "an original is compared with the others, not with itself"


@pytest.mark.parametrize("name", ["copy", "one copy"])
def test_a_copy_is_at_distance_0_with_the_same_errors(judged, name):
    found = judged["groups"][name]
    assert found["plain_distance"]["max"] == found["aligned_distance"]["max"] == found["distance"]["max"] == 0
    assert found["similarity"]["min"] == 1
    assert found["new_and_good"] == [1.0 if k == 0 else 0.0 for k in MULTIPLES]


def test_apart_shows_one_network_written_over_and_over(judged):
    groups = judged["groups"]
    assert groups["one copy"]["apart"]["max"] == 0
    assert groups["copy"]["apart"] == pytest.approx(groups["original"]["apart"])
    assert groups["alone"]["apart"] is None, "one network has none to be apart from"


def test_a_permuted_copy_is_far_as_it_is_and_at_distance_0_aligned(judged):
    found = judged["groups"]["permuted"]
    assert found["plain_distance"]["min"] > 0.1
    assert found["aligned_distance"]["max"] < 1e-6 and found["distance"]["max"] < 1e-6
    assert found["similarity"]["min"] == 1


def test_far_networks_are_new_and_good_only_where_they_work(judged):
    audit = judged
    found = audit["groups"]["far"]
    works = [accuracy >= audit["good"] for _, accuracy in found["points"]]
    assert len(works) == min(5, SCATTERED)
    assert found["distance"]["min"] > 1
    assert found["new_and_good"][1] == pytest.approx(sum(works) / 5)


def test_independent_runs_are_one_unit_apart(judged):
    assert judged["between_runs"] == {kind: pytest.approx(1) for kind in ("plain", "aligned", "lower")}


def test_runs_are_farther_apart_than_their_checkpoints():
    """Two runs at 0 and 10 in every parameter, whose checkpoints lie 0.1 apart."""
    zeros = {name: torch.zeros_like(x) for name, x in module().state_dict().items()}
    originals = [{name: x + value for name, x in zeros.items()} for value in (0, 0.1, 10, 10.1)]
    split = Split(torch.randn(6, 1, 2, 2), torch.zeros(6, dtype=torch.int64))
    found = judge(module(), {"original": originals}, torch.tensor([0, 0, 1, 1]), split)
    # 9.9, 10, 10 and 9.9 in units of 0.1; the middle of four is the mean of the inner two.
    assert found["between_runs"]["plain"] == pytest.approx(99.5, rel=1e-4)
    assert judge(module(), {"original": originals}, torch.zeros(4), split)["between_runs"] is None


# ---- 13 -------------------------------------------------------------------------------------------------------------


def group(distance=1.0) -> dict:
    return {
        "accuracy": {"mean": 97.0},
        "similarity": {"mean": 0.9},
        "plain_distance": {"median": 3 * distance},
        "aligned_distance": {"median": distance},
        "distance": {"median": distance},
        "apart": {"median": 1.0},
        "new_and_good": [1.0, 0.5, 0.0],
    }


def audited(*distances: float) -> dict:
    """A study of one way of collecting, with RPG's networks at these distances, one per seed."""
    unit = {"plain": 0.04, "aligned": 0.05, "lower": 0.04}
    seeds = [
        {
            "good": 96.0,
            "unit": unit,
            "between_runs": None,
            "groups": {"original": group(), "RPG": group(d), "mean network": group() | {"apart": None}},
        }
        for d in distances
    ]
    return {"audit": {"one run": {"seeds": seeds}}, "multiples": [0, 1, 2]}


def test_tables_of_13():
    numbers = audited(2.0, 4.0)
    table = tables.novelty(numbers, "one run")
    assert table.loc["RPG", ["distance (LOO)", "plain distance (LOO)"]].tolist() == ["3.00 ± 1.41", "9.00 ± 4.24"]
    assert table["apart (LOO)"].to_dict() == {"original": "1.00", "RPG": "1.00", "mean network": "-"}
    shares = tables.new_and_good(numbers, "one run")
    assert shares.loc["RPG"].to_dict() == {">= 0": "100", ">= 1": "50", ">= 2": "0"}


def test_large_distances_are_rounded_to_whole_units():
    table = tables.novelty(audited(1650.25, 1750.75), "one run")
    assert table.loc["RPG", "distance (LOO)"] == "1700 ± 71"


def test_rulers_name_the_distance_between_runs_where_there_are_several():
    numbers = audited(1.0)
    several = copy.deepcopy(numbers["audit"]["one run"])
    several["seeds"][0]["between_runs"] = {"plain": 100.0, "aligned": 60.0, "lower": 50.0}
    table = tables.rulers({"audit": numbers["audit"] | {"ten runs": several}})
    assert table["between runs, lower (LOO)"].to_dict() == {"one run": "-", "ten runs": "50.0"}
    assert table.loc["one run", ["good from (%)", "1 LOO, plain"]].tolist() == ["96.00", "0.040"]
