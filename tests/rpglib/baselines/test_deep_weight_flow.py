"""DeepWeightFlow: shapes, seeds, learning, the span of its components, BatchNorm's statistics, and refusals."""

import math
from dataclasses import replace

import pytest
import torch

from rpglib.analysis.alignment import align, hidden_layers, permute
from rpglib.analysis.connectivity import recalibrated
from rpglib.baselines.deep_weight_flow import (
    DeepWeightFlow,
    DeepWeightFlowConfig,
    FlowNetwork,
    fit_flow,
    followed,
)
from rpglib.errors import InputError
from rpglib.runtime.state_dicts import STATISTICS
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.images import Split, load_images, take
from rpglib.zoo.store import Zoo

ARCHITECTURE = Architecture("cnn_digits", 10, 1, 8)
SMALL = DeepWeightFlowConfig(width=64, time_width=16, steps=2, sampling_steps=10)
LEARNING = replace(SMALL, steps=500, batch_size=16, dropout=0.0, learning_rate=3e-3)


def drawn(seed: int, architecture: Architecture = ARCHITECTURE) -> dict:
    """A network as it is before training, with BatchNorm's weights drawn, too, and statistics that give it away."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = architecture.build().state_dict()
        for name, x in state.items():
            if name.endswith(STATISTICS):
                x.fill_(7.0 + seed)
            elif x.ndim == 1:
                x.uniform_(0.5, 1.5)
    return state


def zoo_of(networks, architecture: Architecture = ARCHITECTURE) -> Zoo:
    return Zoo.from_checkpoints(
        networks, architecture=architecture, runs=range(len(networks)), accuracies=[90.0] * len(networks)
    )


def points(networks) -> torch.Tensor:
    names = [name for name, _ in ARCHITECTURE.build().named_parameters()]
    return torch.stack([torch.cat([x[name].flatten() for name in names]) for x in networks]).double()


def energy(a: torch.Tensor, b: torch.Tensor) -> float:
    """The energy distance of two samples: 0 where both are of one distribution."""
    within = [torch.pdist(x).mean() for x in (a, b)]
    return float(2 * torch.cdist(a, b).mean() - sum(within))


def few(images, n: int):
    """The data set with so many images in each part."""
    return replace(images, **{part: take(getattr(images, part), n) for part in ("train", "validation", "test")})


def mixture(n: int, seed: int = 0) -> torch.Tensor:
    """Points (n, 2) of three narrow Gaussians."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[-2.0, 0.0], [2.0, 0.5], [0.0, 2.5]])[torch.arange(n) % 3]
    return centres + 0.2 * torch.randn(n, 2, generator=generator)


@pytest.fixture(scope="module")
def zoo():
    return zoo_of([drawn(seed) for seed in range(12)])


@pytest.fixture(scope="module")
def train():
    return few(load_images("digits"), 64)


@pytest.fixture(scope="module")
def flow(zoo, train):
    return DeepWeightFlow.fit(zoo, LEARNING, train, progress=False)


# ---- what it writes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("components", [99, 3, None])
def test_it_writes_whole_networks_of_the_zoo(zoo, components):
    flow = DeepWeightFlow.fit(zoo, replace(SMALL, components=components), progress=False)
    assert flow.flow.layers[-1].out_features == {99: len(zoo) - 1, 3: 3, None: 3514}[components]
    for network in flow.generate(2):
        assert [(k, x.shape, x.dtype) for k, x in network.items()] == [(k, x.shape, x.dtype) for k, x in zoo[0].items()]
        zoo.build().load_state_dict(network)


def test_seeds_decide_and_a_network_stands_for_itself(zoo):
    one, same, other = (DeepWeightFlow.fit(zoo, SMALL, seed=s, progress=False) for s in (0, 0, 1))
    torch.manual_seed(5)  # of no concern
    a, b = (points(flow.generate(3, seed=4)) for flow in (one, same))
    assert torch.equal(a, b) and one.losses == same.losses != other.losses
    assert torch.pdist(a).min() > 0 and not torch.equal(a, points(other.generate(3, seed=4)))
    torch.testing.assert_close(points(one.generate(1, seed=4)), a[:1])
    assert not torch.allclose(points(one.generate(1, seed=5)), a[:1], atol=1e-6)


def test_it_draws_nothing_from_the_program_around_it(zoo, train):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    DeepWeightFlow.fit(zoo, SMALL, train, progress=False).generate(1)
    assert torch.equal(torch.rand(1), expected)


def test_it_learns_the_distribution_of_the_zoo(zoo, flow):
    aligned = points([align(zoo.build(), zoo[0], network) for network in zoo])
    before = DeepWeightFlow.fit(zoo, replace(LEARNING, steps=1, learning_rate=1e-9), progress=False)
    untrained, trained = (energy(points(x.generate(24)), aligned) for x in (before, flow))
    assert trained < 0.5 * untrained
    losses = flow.losses["flow"]
    assert sum(losses[-50:]) < 0.7 * sum(losses[:50])


def test_networks_stay_in_the_affine_hull_of_the_aligned_zoo_and_only_there_with_pca(zoo, flow):
    aligned = points([align(zoo.build(), zoo[0], network, 100) for network in zoo])
    axes = torch.linalg.qr((aligned[1:] - aligned[0]).T)[0]
    free = DeepWeightFlow.fit(zoo, replace(SMALL, components=None), progress=False)

    def outside(networks) -> torch.Tensor:
        away = points(networks) - aligned[0]
        return (away - away @ axes @ axes.T).norm(dim=1) / away.norm(dim=1)

    assert outside(flow.generate(4)).max() < 1e-5 and outside(free.generate(4)).min() > 1e-3


def test_networks_are_aligned_first_unless_told_not_to():
    base = drawn(0)
    generator = torch.Generator().manual_seed(1)
    module = ARCHITECTURE.build()
    orders = [[torch.randperm(x.units, generator=generator) for x in hidden_layers(module)] for _ in range(3)]
    reordered = zoo_of([base, *(permute(module, base, order) for order in orders), drawn(1)])
    means = {
        aligned: DeepWeightFlow.fit(reordered, replace(SMALL, aligned=aligned), progress=False).mean
        for aligned in (True, False)
    }
    # Reorderings of one network are one point once they are aligned: four fifths of the mean.
    lone = points([align(module, base, drawn(1), 100)])[0]
    expected = (4 * points([base])[0] + lone) / 5
    torch.testing.assert_close(means[True], expected)
    assert (means[False] - expected).norm() > 0.1 * expected.norm()


# ---- BatchNorm -------------------------------------------------------------------------------------------------------


def test_statistics_are_measured_afresh_on_the_images_or_stay_the_first_networks(zoo, flow, train):
    (network,) = flow.generate(1)
    again = recalibrated(
        zoo.build(), network | {k: torch.ones_like(x) for k, x in statistics(network)}, train.train.images
    )
    assert len(statistics(network)) == 6
    for name, x in statistics(network):
        assert not (x == 7).any()
        torch.testing.assert_close(x, again[name])
    (without,) = DeepWeightFlow.fit(zoo, SMALL, progress=False).generate(1)
    assert all((x == 7).all() for _, x in statistics(without))


def statistics(network):
    return [(name, x) for name, x in network.items() if name.endswith(STATISTICS)]


# ---- the parts -------------------------------------------------------------------------------------------------------


def test_the_network_starts_at_zero_and_has_the_releases_size():
    network = FlowNetwork(99, DeepWeightFlowConfig())
    assert network(torch.randn(2, 99), torch.rand(2, 1)).eq(0).all()
    assert 350_000 < sum(p.numel() for p in network.parameters()) < 450_000


def test_runge_kutta_is_of_fourth_order():
    def end(steps: int) -> float:
        x = followed(lambda x, t: x * t.cos(), torch.ones(1, 1, dtype=torch.float64), steps)
        return abs(float(x) - math.exp(math.sin(1)))

    assert end(4) / end(8) == pytest.approx(16, rel=0.3)


def test_a_flow_reproduces_a_mixture_in_the_plane():
    points = mixture(400)
    config = replace(LEARNING, steps=2000, batch_size=64, sigma=1.0)
    torch.manual_seed(0)
    network = FlowNetwork(2, config)
    fit_flow(network, points, config, 0, False)
    with torch.no_grad():
        written = followed(network.eval(), torch.randn(400, 2), 40)
    assert energy(written.double(), mixture(400, 1).double()) < 0.05 < energy(torch.randn(400, 2), points)


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 7),
        ("width", 0),
        ("components", 0),
        ("components", 2.5),
        ("dropout", 1.0),
        ("sigma", 0.0),
        ("path_noise", -1.0),
        ("steps", 0),
        ("batch_size", True),
        ("learning_rate", 0.0),
        ("sampling_steps", 0),
        ("aligned", "yes"),
    ],
)
def test_a_wrong_setting_is_named(field, value):
    with pytest.raises(InputError, match=field):
        DeepWeightFlowConfig(**{field: value})


def test_what_it_cannot_learn_from_is_refused_before_training(zoo, train, monkeypatch):
    monkeypatch.setattr("rpglib.baselines.deep_weight_flow.fit_flow", lambda *a: pytest.fail("trained"))
    fit = DeepWeightFlow.fit
    with pytest.raises(InputError, match="two or more"):
        fit(zoo[:1], SMALL)
    with pytest.raises(InputError, match="cannot compute images"):
        wrong = Split(torch.ones(4, 3, 8, 8), torch.zeros(4).long())
        fit(zoo, SMALL, replace(train, train=wrong))
    with pytest.raises(InputError, match="NaN or infinity"):
        broken = Split(train.train.images * math.nan, train.train.labels)
        fit(zoo, SMALL, replace(train, train=broken))
    infinite = [{k: x.abs() / 0 if k == "0.weight" else x for k, x in network.items()} for network in zoo]
    for aligned in (True, False):
        with pytest.raises(InputError, match="NaN or infini"):
            fit(zoo_of(infinite), replace(SMALL, aligned=aligned))


def test_an_architecture_that_alignment_does_not_know_is_told_the_remedy():
    vit = Architecture("vit_small_digits", 10, 1, 8)
    zoo = zoo_of([drawn(seed, vit) for seed in range(3)], vit)
    with pytest.raises(InputError, match="aligned=False"):
        DeepWeightFlow.fit(zoo, SMALL, progress=False)
    (network,) = DeepWeightFlow.fit(zoo, replace(SMALL, aligned=False), progress=False).generate(1)
    assert network.keys() == zoo[0].keys()


def test_a_loss_that_is_not_finite_ends_the_training(zoo):
    huge = [{k: x * 1e25 if k == "0.weight" else x for k, x in network.items()} for network in zoo]
    with pytest.raises(InputError, match="not finite at step 0"):
        DeepWeightFlow.fit(zoo_of(huge), SMALL, progress=False)
