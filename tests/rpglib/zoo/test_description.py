"""What a zoo holds is found: basins, copies, what stands out, what varies, and whether the mean network works."""

import math

import pytest
import torch
from torch import Tensor

from rpglib import Zoo, describe
from rpglib.errors import InputError
from rpglib.zoo import description
from rpglib.zoo.description import mean_network


def random(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "body.weight": torch.randn(30, 20, generator=generator),
        "norm.running_var": torch.rand(30, generator=generator) + 0.5,
        "norm.num_batches_tracked": torch.tensor(seed),
        "frozen": torch.arange(6.0),
        "index": torch.arange(4),
        "head.weight": torch.randn(5, 30, generator=generator),
    }


def near(network: dict[str, Tensor], seed: int, size: float = 0.1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(100 + seed)
    moved = {"body.weight", "head.weight", "norm.running_var"}
    return {n: x + size * torch.rand(x.shape, generator=generator) if n in moved else x for n, x in network.items()}


@pytest.mark.parametrize(("runs", "each"), [(1, 6), (3, 4), (6, 1)])
def test_runs_are_found_by_distance(runs, each):
    zoo = Zoo.read([near(random(r), 10 * r + k) for r in range(runs) for k in range(each)])
    found = describe(zoo)
    assert found.basins.tolist() == [r for r in range(runs) for _ in range(each)]
    same = found.basins[:, None] == found.basins
    assert bool((found.correlations[same] > 0.9).all()) and bool((found.correlations[~same] < 0.2).all())


def test_a_chain_of_small_steps_is_one_basin():
    """A long run ends far from where it began: only neighbours are alike."""
    a, b = random(0)["body.weight"], random(1)["body.weight"]
    found = describe(Zoo.read([{"w": torch.lerp(a, b, k / 8)} for k in range(9)]))
    assert found.basins.unique().tolist() == [0] and found.correlations[0, -1] < 0.2


def test_distances_are_those_of_the_parameters():
    networks = [random(i) for i in range(4)]
    found = describe(Zoo.read(networks))
    flat = torch.stack([torch.cat([x[n].flatten() for n in ("body.weight", "head.weight")]) for x in networks])
    torch.testing.assert_close(found.distances, torch.cdist(flat, flat).double(), rtol=1e-4, atol=1e-4)
    assert found.share == 1 and found.checkpoints == 4
    assert found.nearest.tolist() == [float(row[row > 0].min()) for row in found.distances]


def test_of_a_large_zoo_a_part_is_compared(monkeypatch):
    networks = [random(i) for i in range(4)]
    whole = describe(Zoo.read(networks))
    monkeypatch.setattr(description, "COMPARED", 4 * 300)
    part = describe(Zoo.read(networks))
    assert 0.3 < part.share < 0.6
    torch.testing.assert_close(part.distances, whole.distances, rtol=0.2, atol=0)
    assert part.basins.equal(whole.basins)


@pytest.mark.parametrize("size", [2**24 + 1, 23_440_896, 38_597_376])
def test_of_large_tensors_the_last_value_is_the_last_that_is_compared(size, monkeypatch):
    monkeypatch.setattr(description, "COMPARED", size // 1000)
    assert int(description._columns({"w": size}, 1)["w"][-1]) == size - 1


def test_copies_and_outliers_are_named():
    networks = [near(random(0), k) for k in range(6)]
    networks[4] = {name: x.clone() for name, x in networks[1].items()}
    networks[5] = near(random(0), 5, size=3)
    found = describe(Zoo.read(networks))
    assert found.duplicates == ((1, 4),) and found.outliers == (5,)


def test_every_tensor_has_its_kind():
    first = random(0) | {"tied": None}
    networks = [{**random(i), "pruned": torch.cat((torch.zeros(3), random(i)["frozen"][:1] + i))} for i in range(3)]
    for network in networks:
        network["tied"] = network["body.weight"]
    found = {x.name: x for x in describe(Zoo.read(networks)).tensors}
    assert [*found] == [*random(0), "pruned", "tied"] and first.keys() <= found.keys()
    kinds = {name: x.kind for name, x in found.items()}
    assert kinds == {
        "body.weight": "parameter",
        "norm.running_var": "statistic",
        "norm.num_batches_tracked": "counter",
        "frozen": "constant",
        "index": "constant",
        "head.weight": "parameter",
        "pruned": "parameter",
        "tied": "tied to body.weight",
    }
    assert found["body.weight"].varies == 1 and found["pruned"].varies == 0.25 and found["frozen"].varies == 0
    assert found["body.weight"].spread == pytest.approx(1, abs=0.1) and found["frozen"].spread == 0
    assert found["body.weight"].deviation == pytest.approx(1, abs=0.1) and math.isnan(found["index"].deviation)


def test_spread_tells_neighbours_from_strangers():
    alike, strangers = (
        describe(Zoo.read(x)) for x in ([near(random(0), k) for k in range(5)], [*map(random, range(5))])
    )
    assert alike.spread < 0.05 < 0.9 < strangers.spread < 1.1
    assert alike.values == strangers.values == 600 + 150 + 30


def test_one_checkpoint_alone():
    found = describe(Zoo.read([random(0)]))
    assert found.basins.tolist() == [0] and len(found.nearest) == 0 and found.outliers == found.duplicates == ()
    assert math.isnan(found.spread) or found.spread == 0


def test_the_mean_network_is_the_mean_of_what_can_be():
    networks = [random(i) for i in range(3)]
    for network in networks:
        network["tied"] = network["head.weight"]
    found = mean_network(Zoo.read(networks))
    expected = torch.stack([x["body.weight"] for x in networks]).mean(0)
    torch.testing.assert_close(found["body.weight"], expected)
    assert found["tied"] is found["head.weight"] and found["index"].equal(torch.arange(4))
    assert [*found] == [*networks[0]] and found["norm.num_batches_tracked"] == 0


def test_an_evaluation_is_asked_about_whole_networks():
    asked = []

    def evaluate(network):
        asked.append(network.keys())
        network["head.weight"].zero_()  # its own copy
        return network["body.weight"].abs().mean()

    zoo = Zoo.read([{f"module.{n}": x for n, x in random(i).items()} for i in range(25)], include="body.*")
    found = describe(zoo, evaluate)
    assert len(found.scores) == len(asked) == 11 and all(names == random(0).keys() for names in asked)
    assert found.scores["mean"] < 0.5 * min(x for i, x in found.scores.items() if i != "mean")
    assert zoo.complete(zoo[0])["module.head.weight"].abs().sum() > 0


@pytest.mark.parametrize("said", [None, "good", math.nan, torch.ones(2), 1j, torch.tensor(math.inf)])
def test_an_evaluation_that_gives_no_number_is_refused(said):
    with pytest.raises(InputError, match=r"evaluate says .* of checkpoint 0"):
        describe(Zoo.read([random(0)]), lambda network: said)
