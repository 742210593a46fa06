"""Predictions, accuracy and summaries on networks whose answers are known beforehand."""

import numpy as np
import pytest
import torch
from torch import nn

from rpglib.analysis.accuracy import accuracy, answers, predictions, summarise
from rpglib.errors import InputError

CLASSES = 3


def network():
    """A classifier with BatchNorm, whose answers in training mode would depend on the batch."""
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, CLASSES)).double()


@pytest.fixture
def population():
    """The module, five state dicts with BatchNorm statistics away from 0 and 1, and 23 images."""
    generator = torch.Generator().manual_seed(0)

    def drawn(value):
        return torch.rand(value.shape, generator=generator) - (0.5 if value.ndim > 1 else -0.1)

    module = network()
    states = [
        {name: drawn(value) if value.is_floating_point() else value for name, value in module.state_dict().items()}
        for _ in range(5)
    ]
    return module, states, torch.randn(23, 1, 4, 4, generator=generator, dtype=torch.float64)


def test_predictions_are_those_of_each_network_alone(population):
    module, states, images = population
    found = predictions(module, states, images)
    for row, state in zip(found, states, strict=True):
        alone = network().eval()
        alone.load_state_dict(state)
        assert torch.equal(row, alone(images).argmax(1))
    assert len(found.unique(dim=0)) > 1


def test_batch_size_and_stacking_do_not_change_predictions(population):
    module, states, images = population
    found = predictions(module, states, images)
    stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    assert torch.equal(predictions(module, states, images, batch_size=7), found)
    assert torch.equal(predictions(module, stacked, images), found)


@pytest.mark.parametrize("batch_size", [7, 23, 100])
def test_answers_on_a_part_of_a_data_set_are_the_predictions_and_its_labels(population, batch_size):
    module, states, images = population
    labels = torch.arange(23) % CLASSES
    readings = []

    class Part:
        def batches(self, size):
            readings.append(size)
            yield from zip(images.split(size), labels.split(size), strict=True)

    found, truth = answers(module, iter(states), Part(), batch_size=batch_size)
    assert found.equal(predictions(module, states, images)) and truth.equal(labels)
    assert readings == [batch_size] * len(states), "read through once per network"


def test_answers_take_networks_one_at_a_time(population):
    module, states, images = population
    events = []

    def made():
        for number, state in enumerate(states):
            events.append(f"made {number}")
            yield state

    class Part:
        def batches(self, size):
            events.append("read")
            yield images, torch.zeros(23)

    answers(module, made(), Part())
    assert events == [event for number in range(5) for event in (f"made {number}", "read")]


def test_the_callers_module_is_left_alone(population):
    module, states, images = population
    before = {name: value.clone() for name, value in module.state_dict().items()}
    predictions(module, states, images)
    assert module.training
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_network_with_nan_is_never_right(population):
    module, states, images = population
    states[1]["3.bias"] = torch.tensor([0.0, torch.nan, 0.0])
    found = predictions(module, states, images)
    assert (found[1] == -1).all()
    assert (found[[0, 2, 3, 4]] >= 0).all()


def test_no_networks_give_no_rows(population):
    module, _, images = population
    assert predictions(module, [], images).shape == (0, 23)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("3.bias"), "3.bias"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra"),
        (lambda state: state.update({"3.bias": torch.zeros(CLASSES + 1)}), "3.bias"),
    ],
)
def test_a_network_of_another_architecture_is_one_clear_line(population, change, words):
    module, states, images = population
    change(states[2])
    with pytest.raises(InputError, match=words) as caught:
        predictions(module, states, images)
    assert "\n" not in str(caught.value)


def test_accuracy_is_in_percent_for_shared_and_own_labels():
    predicted = torch.tensor([[0, 1, 2, 2], [0, 0, 0, 0], [-1, -1, -1, -1]])
    assert accuracy(predicted, torch.tensor([0, 1, 2, 0])).tolist() == [75.0, 50.0, 0.0]
    own = torch.tensor([[0, 1, 2, 2], [1, 1, 1, 1], [0, 1, 2, 0]])
    assert accuracy(predicted, own).tolist() == [100.0, 0.0, 0.0]


@pytest.mark.parametrize("shape", [(5,), (1, 4), (4, 3), ()])
def test_labels_that_do_not_fit_are_an_error(shape):
    with pytest.raises(InputError, match="do not fit"):
        accuracy(torch.zeros(3, 4, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64))


def test_accuracy_on_no_image_is_an_error():
    with pytest.raises(InputError, match="n at least 1"):
        accuracy(torch.zeros(3, 0), torch.zeros(0))


@pytest.mark.parametrize("values", [[1.0, 2.0, 4.0, 9.0], [3.0, 1.0, 2.0]])
def test_summary_is_numpys(values):
    expected = {
        "n": len(values),
        "mean": np.mean(values),
        "median": np.median(values),
        "std": np.std(values, ddof=1),
        "min": min(values),
        "max": max(values),
    }
    assert summarise(values) == pytest.approx(expected)
    assert summarise(torch.tensor(values)) == pytest.approx(expected)


def test_summary_of_one_value_has_no_spread_and_of_none_is_an_error():
    assert summarise([5.0]) == {"n": 1, "mean": 5.0, "median": 5.0, "std": 0.0, "min": 5.0, "max": 5.0}
    with pytest.raises(InputError, match="at least one value"):
        summarise([])


def test_networks_side_by_side_have_their_number_in_every_tensor():
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    for stacked in ({"1.weight": torch.zeros(3, 2, 4), "1.bias": torch.zeros(2, 2)}, {"1.weight": torch.zeros(())}):
        with pytest.raises(InputError, match="have the number of networks before their own axes"):
            predictions(module, stacked, torch.zeros(5, 1, 2, 2))
