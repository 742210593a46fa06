"""Simple new networks: their moments, where they lie, and what they leave alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rpglib.analysis.perturbation import averaged, exchanged, gaussian, interpolated, noised
from rpglib.errors import InputError

SEEDS = st.integers(0, 2**32)
MAKERS = {
    "averaged": lambda weights, n, seed: averaged(weights, 3, n, seed),
    "gaussian": gaussian,
    "interpolated": interpolated,
}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network():
    return {
        "fc.weight": 3 * random(100, 100).float() + 5,
        "fc.bias": random(10_000, seed=1) * 0.5,
        "half": torch.ones(4).bfloat16(),
        "scale": torch.tensor([7.0]),
        "bn.running_mean": torch.zeros(3),
        "bn.running_var": torch.ones(3),
        "bn.num_batches_tracked": torch.tensor(4),
    }


@pytest.mark.parametrize(("relative", "expected"), [(False, (0.2, 0.2)), (True, (0.6, 0.1))])
def test_noise_has_its_standard_deviation(relative, expected):
    before = network()
    noise = {name: x - before[name] for name, x in noised(before, 0.2, 3, relative).items()}
    for name, std in zip(("fc.weight", "fc.bias"), expected, strict=True):
        assert noise[name].std().item() == pytest.approx(std, rel=0.05)
        assert noise[name].mean().item() == pytest.approx(0, abs=0.05 * std)
    correlation = torch.corrcoef(torch.stack([noise["fc.weight"].flatten().double(), noise["fc.bias"]]))[0, 1]
    assert abs(correlation.item()) < 0.05, "every tensor has noise of its own"


def test_noise_spares_statistics_counters_and_the_callers_network():
    before = network()
    found = noised(before, 0.5, 0)
    assert list(found) == list(before) and all(x.dtype == before[name].dtype for name, x in found.items())
    unchanged = {name for name in before if found[name].equal(before[name])}
    assert unchanged == {"bn.running_mean", "bn.running_var", "bn.num_batches_tracked"}
    assert all(x.equal(before[name]) for name, x in network().items())
    assert noised(before, 0.5, 0, relative=True)["scale"].item() == 7, "one value has no spread"


def test_tied_tensors_stay_tied_and_other_names_are_no_statistics():
    x = torch.randn(50)
    found = noised({"a": x, "b": x, "log_running_var": torch.ones(4)}, 0.1, 0)
    assert found["a"] is found["b"] and not found["a"].equal(x) and not found["log_running_var"].equal(torch.ones(4))


def test_no_noise_is_no_change():
    assert all(x.equal(network()[name]) for name, x in noised(network(), 0.0, 1).items())


def test_seeds_decide_alone():
    outside = torch.get_rng_state()
    for make in (*MAKERS.values(), lambda weights, n, seed: noised({"w": weights}, 1.0, seed)["w"]):
        first, again, other = (make(random(6, 5), 4, seed) for seed in (1, 1, 2))
        assert first.equal(again) and not first.equal(other)
    assert torch.get_rng_state().equal(outside)


@pytest.mark.parametrize("make", MAKERS)
def test_the_zoo_stays_as_it_is(make):
    weights = random(6, 5).float()
    found = MAKERS[make](weights, 4, 0)
    assert found.shape == (4, 5) and found.dtype == torch.float32
    assert weights.equal(random(6, 5).float())
    assert len(found.unique(dim=0)) == 4


@given(seed=SEEDS, count=st.integers(1, 6))
def test_an_average_is_of_that_many_different_networks(seed, count):
    """Network k is the k-th unit vector, so that an average tells how often it took each."""
    found = averaged(torch.eye(6), count, 3, seed)
    assert ((found == 0) | (found == 1 / torch.tensor(float(count)))).all()
    assert ((found > 0).sum(1) == count).all()


@given(seed=SEEDS)
def test_a_point_lies_on_the_line_between_two_networks(seed):
    found = interpolated(torch.eye(4), 3, seed)
    assert ((found > 0).sum(1) == 2).all() and (found >= 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(3))


def test_two_networks_are_enough_for_a_line_and_a_spread():
    pair = torch.eye(2, dtype=torch.float64)
    assert interpolated(pair, 50, 0).sum(1).allclose(torch.ones(50, dtype=torch.float64))
    found = gaussian(pair, 20_000, 0)
    assert found.mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    assert found.std(0).tolist() == pytest.approx([0.5**0.5] * 2, rel=0.02), "of a sample of two"


def test_places_on_lines_are_uniform_and_all_pairs_occur():
    found = interpolated(torch.eye(3, dtype=torch.float64), 3000, 0)
    used, counts = (found > 0).unique(dim=0, return_counts=True)
    assert len(used) == 3 and counts.min() > 900
    places = found.amax(1)  # of the nearer end: uniform in 0.5..1
    assert places.mean().item() == pytest.approx(0.75, abs=0.01)
    assert places.std().item() == pytest.approx(0.5 / 12**0.5, rel=0.03)


def test_independent_weights_have_the_zoos_moments_and_no_correlation():
    base = random(50, 1)
    zoo = torch.cat([base, 2 * base + 10, torch.full((50, 1), 0.5, dtype=torch.float64)], 1)
    found = gaussian(zoo, 20_000, 1)
    torch.testing.assert_close(found.mean(0), zoo.mean(0), rtol=0.02, atol=0.02)
    torch.testing.assert_close(found.std(0), zoo.std(0), rtol=0.02, atol=1e-12)
    assert abs(torch.corrcoef(found[:, :2].T)[0, 1].item()) < 0.03


def test_exchanging_by_hand():
    a, b = ({name: torch.full((2,), value) for name in ("u", "v", "w")} for value in (1.0, 2.0))
    first, second = exchanged(a, b, {"u", "w"})
    assert [x[0].item() for x in first.values()] == [2, 1, 2] and [x[0].item() for x in second.values()] == [1, 2, 1]
    assert list(first) == list(second) == ["u", "v", "w"]
    again = exchanged(first, second, ["w", "u"])
    assert all(x[name] is y[name] for x, y in zip(again, (a, b), strict=True) for name in y)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda: averaged(random(3, 2), 4, 1, 0), "3 networks have no mean of 4 different ones"),
        (lambda: averaged(random(3, 2), 0, 1, 0), "no mean of 0"),
        (lambda: gaussian(random(1, 2), 1, 0), "spread over 1 networks"),
        (lambda: interpolated(random(1, 2), 1, 0), "between 1 networks"),
        (lambda: exchanged({"u": random(1)}, {"u": random(1)}, ["v", "u", "t"]), "called t, v; known: u"),
        (lambda: exchanged({"u": random(1)}, {"u": random(2)}, []), "shape of 'u'"),
    ],
)
def test_mistakes_are_one_clear_line(mistake, words):
    with pytest.raises(InputError, match=words) as caught:
        mistake()
    assert "\n" not in str(caught.value)
