"""Lines between networks whose answers are known, barriers by hand, and BatchNorm statistics measured afresh."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rpglib.analysis.accuracy import accuracy, predictions
from rpglib.analysis.alignment import permute
from rpglib.analysis.connectivity import barrier, between, line, recalibrated
from rpglib.analysis.perturbation import noised
from rpglib.errors import InputError


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def normalised():
    """A classifier whose BatchNorm and dropout both behave differently in training mode."""
    return nn.Sequential(nn.Dropout(0.5), nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


def drawn(module, seed):
    generator = stream(seed)
    return {
        name: torch.rand(x.shape, generator=generator) + 0.1 if x.is_floating_point() else torch.tensor(seed)
        for name, x in module.state_dict().items()
    }


def images(count=23, seed=0):
    return torch.randn(count, 1, 4, 4, generator=stream(seed))


def absolute():
    """|x| > 1 in a network of two hidden units, one for either side, and 200 vectors that it classifies without fault.

    With both units exchanged it is the same function; halfway both units are (0.5 - 0.5) x = 0.
    """
    module = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 2))
    network = {
        "0.weight": torch.tensor([[1.0], [-1.0]]),
        "2.weight": torch.tensor([[0.0, 0.0], [1.0, 1.0]]),
        "2.bias": torch.tensor([1.0, 0.0]),
    }
    vectors = torch.linspace(-2.01, 2.01, 200)[:, None]
    return module, network, vectors, (vectors[:, 0].abs() > 1).long()


def test_between_by_hand():
    a = {"w": torch.tensor([0.0, 8.0]), "steps": torch.tensor(3)}
    b = {"w": torch.tensor([4.0, 0.0]), "steps": torch.tensor(5)}
    found = between(a, b, 0.25)
    assert list(found) == ["w", "steps"] and found["w"].tolist() == [1, 6] and found["steps"].item() == 3


@given(a=st.floats(-1e6, 1e6, width=32), b=st.floats(-1e6, 1e6, width=32), weight=st.floats(0, 1))
def test_the_ends_and_a_line_between_equal_networks_are_exact(a, b, weight):
    a, b = {"w": torch.tensor([a])}, {"w": torch.tensor([b])}
    assert between(a, b, 0.0)["w"].equal(a["w"]) and between(a, b, 1.0)["w"].equal(b["w"])
    assert between(a, a, weight)["w"].equal(a["w"])


@pytest.mark.parametrize(
    "other", [{"v": torch.ones(2)}, {"w": torch.ones(3)}, {"w": torch.ones(2), "v": torch.ones(1)}, {}]
)
def test_networks_of_two_architectures_have_no_line(other):
    for pair in (({"w": torch.ones(2)}, other), (other, {"w": torch.ones(2)})):
        with pytest.raises(InputError, match="of one architecture"):
            between(*pair, 0.5)


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([90, 90, 90], 0),
        ([90, 10, 90], 80),
        ([80, 10, 90], 75),
        ([100, 50, 0], 0),
        ([80, 99, 90], 0),
        ([60, 50, 0, 60, 60], 60),
        ([90, 30], 0),
    ],
)
def test_barriers_by_hand(accuracies, expected):
    assert barrier(torch.tensor(accuracies)) == pytest.approx(expected, abs=1e-12)


def test_a_barrier_needs_a_line():
    for accuracies in (torch.ones(1), torch.ones(2, 2)):
        with pytest.raises(InputError, match="two points or more"):
            barrier(accuracies)


def test_the_ends_of_a_line_are_the_networks_and_a_line_to_itself_is_flat():
    module = normalised()
    a, b = drawn(module, 1), drawn(module, 2)
    labels = torch.randint(3, (23,), generator=stream())
    found = line(module, a, b, images(), labels, points=5)
    assert found.shape == (5,) and found.dtype == torch.float64
    for network, end in ((a, found[0]), (b, found[-1])):
        assert end == accuracy(predictions(module, [network], images()), labels)[0]
    flat = line(module, a, a, images(), labels, points=5)
    assert (flat == flat[0]).all() and barrier(flat) == 0


def test_a_network_and_its_permuted_copy_have_a_barrier():
    module, network, vectors, labels = absolute()
    exchanged = permute(module, network, [torch.tensor([1, 0])])
    found = line(module, network, exchanged, vectors, labels, points=3)
    # Halfway every vector gets class 0, which is right for those within -1..1.
    halfway = 100 * (labels == 0).double().mean().item()
    assert found.tolist() == pytest.approx([100, halfway, 100])
    assert barrier(found) == pytest.approx(100 - halfway)


def test_calibration_measures_every_network_of_the_line():
    module = normalised()
    a, b = drawn(module, 1), drawn(module, 2)
    labels = torch.randint(3, (200,), generator=stream())
    found = line(module, a, b, images(200), labels, points=3, calibration=images(50, seed=1))
    networks = [recalibrated(module, between(a, b, w), images(50, seed=1)) for w in (0, 0.5, 1)]
    assert found.equal(accuracy(predictions(module, networks, images(200)), labels))
    assert not found.equal(line(module, a, b, images(200), labels, points=3))


def test_a_line_of_one_point_is_refused():
    module, network, vectors, labels = absolute()
    with pytest.raises(InputError, match="points=2 or more"):
        line(module, network, network, vectors, labels, points=1)


@pytest.mark.parametrize(("batch_size", "sizes"), [(256, [23]), (23, [23]), (10, [8, 8, 7]), (22, [12, 11])])
def test_recalibration_is_the_mean_of_what_the_batches_have(batch_size, sizes):
    module = normalised()
    network = drawn(module, 1)
    found = recalibrated(module, network, images(), batch_size)
    before = nn.functional.conv2d(images(), network["1.weight"], network["1.bias"]).transpose(0, 1)
    parts = [part.flatten(1) for part in before.split(sizes, 1)]
    torch.testing.assert_close(found["2.running_mean"], torch.stack([part.mean(1) for part in parts]).mean(0))
    torch.testing.assert_close(found["2.running_var"], torch.stack([part.var(1) for part in parts]).mean(0))
    assert found["2.num_batches_tracked"] == len(sizes) and list(found) == list(network)
    for name in network.keys() - {"2.running_mean", "2.running_var", "2.num_batches_tracked"}:
        assert found[name].equal(network[name]), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_recalibration_keeps_types_and_the_weights_digits(dtype):
    module = normalised()
    network = {name: x.to(dtype) if x.is_floating_point() else x for name, x in drawn(module, 1).items()}
    network["1.weight"] = network["1.weight"] * (1 + 1e-9)  # more digits than fp32 has
    found = recalibrated(module, network, images())
    assert {name: x.dtype for name, x in found.items()} == {name: x.dtype for name, x in network.items()}
    assert found["1.weight"].equal(network["1.weight"]) and not found["2.running_mean"].equal(network["2.running_mean"])


def test_recalibration_leaves_module_and_network_alone():
    module = normalised()
    network = drawn(module, 1)
    states = module.state_dict(), network
    before = copy.deepcopy(states)
    recalibrated(module, network, images())
    assert module.training and module[2].momentum == 0.1
    for state, old in zip(states, before, strict=True):
        assert all(state[name].equal(old[name]) for name in old)


def test_every_kind_of_batchnorm_is_recalibrated():
    for kind, images in ((nn.BatchNorm3d, torch.randn(6, 2, 2, 2, 2)), (nn.BatchNorm1d, torch.randn(6, 2))):
        module = nn.Sequential(kind(2), nn.Flatten())
        found = recalibrated(module, module.state_dict(), images + 3)
        expected = (images + 3).transpose(0, 1).flatten(1).mean(1)
        torch.testing.assert_close(found["0.running_mean"], expected)


def test_a_network_without_normalisation_is_returned_as_it_is():
    module, network, vectors, _ = absolute()
    found = recalibrated(module, network, vectors)
    assert list(found) == list(network) and all(found[name] is network[name] for name in network)


def test_recalibration_needs_images_and_the_modules_own_network():
    module = normalised()
    with pytest.raises(InputError, match="give at least one"):
        recalibrated(module, drawn(module, 1), images(0))
    with pytest.raises(InputError, match="does not fit its architecture"):
        recalibrated(module, absolute()[1], images())


def test_a_line_may_have_its_two_ends_alone_and_ends_are_networks():
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    a, b = ({name: torch.randn_like(x) for name, x in module.state_dict().items()} for _ in range(2))
    assert len(line(module, a, b, torch.randn(6, 1, 2, 2), torch.zeros(6, dtype=torch.int64), points=2)) == 2
    for ends in (("a", b), (a, 3)):
        with pytest.raises(InputError):
            between(*ends, 0.5)


def test_what_is_infinite_in_both_stays_so():
    a, b = ({"mask": torch.tensor([0.0, x, -torch.inf])} for x in (1.0, 2.0))
    assert between(a, b, 0.5)["mask"].tolist() == [0, 1.5, -torch.inf]
    assert noised({"mask": a["mask"]}, 0.1, 0, relative=True)["mask"].isfinite().tolist() == [True, True, False]
