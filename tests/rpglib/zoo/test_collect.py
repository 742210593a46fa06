"""Collecting: together and one by one give the same networks, zoos have the promised shape, bad input is told."""

import random
from dataclasses import replace

import pytest
import torch

from rpglib.errors import InputError
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import (
    CollectConfig,
    Schedule,
    _streamed,
    advance,
    batching_gain,
    collect,
    init_population,
    train_population,
)
from rpglib.zoo.images import Images, Split, Stream, load_images
from rpglib.zoo.store import Zoo

VIT = Architecture("vit_small_digits", 10, 1, 8)
CNN = Architecture("cnn_digits", 10, 1, 8)
BRIEF = CollectConfig(epochs=1, batch_size=32, finetune_batch_size=30, checkpoints=3, runs=2)


@pytest.fixture(scope="module")
def digits() -> Images:
    digits = load_images("digits")
    return replace(digits, train=Split(digits.train.images[:128], digits.train.labels[:128]))


@pytest.mark.parametrize("architecture", [VIT, CNN], ids=lambda architecture: architecture.name)
def test_a_member_does_not_depend_on_the_others(digits, architecture):
    """With BatchNorm statistics, own labels and own data order: chunks of 3, 2 and 1 give the same to rounding.

    The tolerance is a hundredth of what eight steps move: the bias of a ViT's keys has no gradient but rounding, which
    AdamW scales up.
    """
    seeds = [3, 4, 5]
    maps = torch.stack([torch.arange(10), torch.arange(10).flip(0), torch.arange(10) % 2])
    state = init_population(architecture, seeds)
    first, second, third = (
        train_population(
            architecture.build(),
            state,
            digits.train,
            Schedule(2, 1e-3, 32, decay=True),
            seeds,
            maps,
            save_at=[3, 8],
            chunk=k,
        )
        for k in (3, 2, 1)
    )
    for name, tensor in first.items():
        assert tensor.shape[:2] == (2, 3), "S saved states of N members"
        torch.testing.assert_close(tensor, second[name], rtol=1e-3, atol=8e-5)
        torch.testing.assert_close(tensor, third[name], rtol=1e-3, atol=8e-5)
    if architecture is CNN:
        assert first["1.num_batches_tracked"].tolist() == [[3] * 3, [8] * 3]
    weights = first[next(iter(first))]
    assert not weights[0].allclose(weights[1]) and not weights[:, 0].allclose(weights[:, 1])


@pytest.mark.parametrize("seeds", [[3], [3, 4]])
def test_members_learn_from_what_they_make_of_their_images(digits, seeds):
    """Twice as bright for the second member: each ends as it would alone on images that are so to begin with."""
    state, schedule, steps = init_population(CNN, seeds), Schedule(1, 1e-3, 32), []

    def see(images, step):
        steps.append((tuple(images.shape), step))
        return images * torch.arange(1.0, len(seeds) + 1).view(-1, 1, 1, 1, 1)

    (found,) = advance(CNN.build(), state, digits.train, schedule, seeds, see=see)
    assert steps == [((len(seeds), 32, 1, 8, 8), k) for k in range(4)]
    for k, seed in enumerate(seeds):
        bright = Split(digits.train.images * (k + 1), digits.train.labels)
        (own,) = advance(CNN.build(), {name: x[k : k + 1] for name, x in state.items()}, bright, schedule, [seed])
        for name, x in own.items():
            torch.testing.assert_close(found[name][k], x[0], rtol=1e-3, atol=8e-5)


def test_the_loop_is_adamw_on_the_mean_loss(digits):
    """Against a loop written out by hand, with the data order that the seed promises."""
    state = init_population(VIT, [0])
    found = train_population(VIT.build(), state, digits.train, Schedule(1, 2e-3, 64, 0.1), [9], chunk=1)
    network = VIT.build()
    network.load_state_dict({name: tensor[0] for name, tensor in state.items()})
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.1)
    for chosen in torch.randperm(128, generator=torch.Generator().manual_seed(9)).split(64):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(digits.train.images[chosen]), digits.train.labels[chosen]).backward()
        optimizer.step()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(found[name][0, 0], tensor, rtol=1e-3, atol=1e-5)


def test_initial_networks_follow_from_their_seed_and_leave_the_random_state_alone():
    before = torch.random.get_rng_state()
    population = init_population(CNN, [5, 6, 5])
    assert torch.random.get_rng_state().equal(before)
    weights = population["0.weight"]
    assert weights[0].equal(weights[2]) and not weights[0].equal(weights[1])


def test_the_learning_rate_warms_up_and_falls_to_nothing():
    recipe = Schedule(1, 2.0, 1, decay=True)
    rates = [recipe.rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and max(rates) == pytest.approx(2.0, abs=0.1) and rates[-1] < 0.01
    assert {Schedule(1, 2.0, 1).rate(step, 100) for step in range(100)} == {2.0}
    assert 0 < recipe.rate(0, 1) <= 2.0, "a single step learns"


def test_a_zoo_of_runs(digits, tmp_path):
    zoo = collect(CNN, digits, BRIEF, tmp_path, progress=False)
    assert len(zoo) == 6 and zoo.runs.tolist() == [0, 0, 0, 1, 1, 1] and zoo.tasks is None
    assert zoo.config["epochs"] == 1 and zoo.config["source"] == "scikit-learn digits" and zoo.architecture == CNN
    # Four steps of fine-tuning follow on four of training; three checkpoints lie evenly among them.
    assert [int(checkpoint["1.num_batches_tracked"]) for checkpoint in zoo][:3] == [5, 7, 8]
    network = zoo.build().eval()
    for checkpoint, accuracy in zip(zoo, zoo.accuracies, strict=True):
        network.load_state_dict(checkpoint)
        right = network(digits.test.images).argmax(1) == digits.test.labels
        assert float(accuracy) == pytest.approx(100 * float(right.double().mean()))
    again = collect(CNN, digits, BRIEF, progress=False)
    for name, tensor in Zoo.open(tmp_path).stacked().items():
        assert again.stacked()[name].equal(tensor), "the same seed must give the same zoo"
    other = collect(CNN, digits, replace(BRIEF, seed=1), progress=False)
    assert not other[0]["0.weight"].equal(zoo[0]["0.weight"])


def test_a_zoo_of_tasks_from_one_start(digits):
    binary = replace(VIT, num_classes=2)
    maps = torch.tensor([[0, 1] * 5, [1, 0] * 5, [0] * 5 + [1] * 5])
    start = {name: tensor[0] for name, tensor in init_population(binary, [0]).items()}
    config = replace(BRIEF, runs=1, epochs=12, checkpoints=2)
    zoo = collect(binary, digits, config, label_maps=maps, start=start, progress=False)
    assert zoo.tasks.tolist() == [row for row in maps.tolist() for _ in range(2)] and zoo.runs.tolist() == [0] * 6
    assert float(zoo.accuracies.mean()) > 60, "measured against the labels of the own task"
    frozen = replace(config, epochs=0, finetune_learning_rate=0.0, weight_decay=0.0)
    for checkpoint in collect(binary, digits, frozen, label_maps=maps, start=start, progress=False):
        assert all(checkpoint[name].equal(start[name]) for name in start), "without training they are the start"


def test_what_a_start_leaves_out_is_drawn_for_every_run_and_task(digits):
    binary, maps = replace(VIT, num_classes=2), torch.tensor([[0, 1] * 5, [1, 0] * 5])
    start = {name: tensor[0] for name, tensor in init_population(binary, [0]).items() if not name.startswith("head")}
    frozen = replace(BRIEF, epochs=0, finetune_learning_rate=0.0, weight_decay=0.0, checkpoints=1, runs=2)
    zoo, again = (collect(binary, digits, frozen, label_maps=maps, start=start, progress=False) for _ in range(2))
    assert all(checkpoint[name].equal(x) for checkpoint in zoo for name, x in start.items())
    heads = zoo.stacked()["head.weight"]
    assert heads.unique(dim=0).shape == heads.shape and heads.equal(again.stacked()["head.weight"])


@pytest.mark.parametrize("shared", [True, False])
def test_tasks_of_a_run_may_see_the_images_in_one_order(digits, shared):
    """The same labels twice: only the order of the images can tell the two networks apart."""
    binary, maps = replace(VIT, num_classes=2), torch.tensor([[0, 1] * 5] * 2)
    config = replace(BRIEF, runs=1, checkpoints=1, shared_order=shared)
    one, other = collect(binary, digits, config, label_maps=maps, progress=False)
    assert one["head.weight"].allclose(other["head.weight"], atol=1e-5) == shared


def test_a_timm_model_is_collected_one_by_one(digits):
    small = Split(digits.train.images[:8].repeat(1, 1, 4, 4), digits.train.labels[:8])
    images = replace(digits, train=small, validation=small, test=small)
    config = replace(BRIEF, batch_size=4, finetune_batch_size=4, checkpoints=2)
    zoo = collect(Architecture("test_resnet", 10, 1, 32), images, config, progress=False)
    assert zoo.runs.tolist() == [0, 0, 1, 1] and zoo[0].keys() == zoo.build().state_dict().keys()


@pytest.mark.parametrize("maps", [None, torch.tensor([[5, 6, 7], [7, 6, 5]])])
def test_an_incomplete_batch_of_a_stream_is_left_out(maps):
    """Eight images in batches of three, twice: all members see the same."""
    images, labels = torch.arange(8.0).view(8, 1, 1, 1), torch.arange(8) % 3
    stream = Stream(8, (1, 1, 1), lambda size: zip(images.split(size), labels.split(size), strict=True))
    schedule = Schedule(2, 1e-3, 3)
    found = list(_streamed(stream, schedule, [0, 1], maps))
    assert len(found) == schedule.steps(len(stream)) == 4
    for step, (x, y) in enumerate(found):
        own = labels[3 * (step % 2) :][:3]
        assert x.flatten(1).tolist() == [[3 * (step % 2) + k for k in range(3)]] * 2
        assert y.equal(own.expand(2, 3) if maps is None else maps[:, own])


def test_a_stream_that_shuffles_follows_the_seed_and_nothing_else(digits):
    def loader(size):
        for rows in torch.randperm(128).split(size):
            yield digits.train.images[rows] + random.random(), digits.train.labels[rows]

    images = replace(digits, train=Stream(128, (1, 8, 8), loader))
    config = replace(BRIEF, runs=1, checkpoints=1)
    zoos = [collect(VIT, images, replace(config, seed=seed), progress=False) for seed in (0, 0, 1)]
    first, again, other = (zoo[0]["head.weight"] for zoo in zoos)
    assert first.equal(again) and not first.equal(other)
    orders = [torch.cat([y for _, y in _streamed(images.train, Schedule(1, 1e-3, 32), [s], None)]) for s in (0, 1)]
    epochs = [y for _, y in _streamed(images.train, Schedule(2, 1e-3, 128), [0], None)]
    assert not orders[0].equal(orders[1]) and not epochs[0].equal(epochs[1])


def test_the_gain_compares_equal_networks(digits):
    gain = batching_gain(VIT, digits, CollectConfig(epochs=1, learning_rate=1e-3), members=4)
    assert gain["members"] == 4 and gain["steps"] == 4 and gain["difference"] < 1e-4 and gain["agreement"] == 100
    assert gain["gain"] == pytest.approx(gain["seconds_one_by_one"] / gain["seconds_together"])


@pytest.mark.parametrize(
    ("architecture", "change", "extra", "message"),
    [
        (replace(VIT, image_size=16), {}, {}, r"takes 1 channels of 16 pixels, digits has 1 of 8"),
        (replace(VIT, num_classes=9), {}, {}, "has 9 outputs for 10 labels"),
        (VIT, {"checkpoints": 5}, {}, "5 checkpoints do not fit into the 4 steps"),
        (VIT, {"checkpoints": 0}, {}, "checkpoints takes a whole number from 1 on, not 0"),
        (VIT, {"batch_size": 1079}, {}, r"a batch of 1079 does not fit into \d+ training images"),
        (VIT, {}, {"label_maps": torch.zeros(2, 9, dtype=torch.int64)}, "one column per class"),
        (VIT, {}, {"start": {"weight": torch.zeros(1)}}, "the start has an extra tensor 'weight'"),
        (VIT, {}, {"start": torch.nn.Linear(1, 1)}, "the start is a Linear, not a state dict"),
        (
            VIT,
            {},
            {"start": {k: x.half() for k, x in VIT.build().state_dict().items()}},
            r"is of torch\.float16; convert",
        ),
        (VIT, {}, {"label_maps": [[0, 1] * 5]}, "label_maps is a tensor of whole numbers"),
        (VIT, {}, {"label_maps": torch.zeros(2, 10)}, "label_maps is a tensor of whole numbers"),
        (VIT, {}, {"label_maps": torch.zeros(0, 10, dtype=torch.int64)}, "one column per class"),
        (VIT, {}, {"label_maps": torch.arange(10)[None]}, "tasks give every checkpoint equally many bits, 0 or 1"),
        (VIT, {"learning_rate": -1.0}, {}, "must not be negative"),
        (VIT, {"seed": -1}, {}, "seed takes a whole number from 0 on, not -1"),
        (VIT, {"learning_rate": 1e30}, {}, "training diverged"),
    ],
)
def test_bad_input_is_one_line(digits, architecture, change, extra, message):
    with pytest.raises(InputError, match=message):
        collect(architecture, digits, replace(BRIEF, **change), progress=False, **extra)


def test_the_gain_wants_images_that_the_architecture_takes(digits):
    with pytest.raises(InputError, match="takes 1 channels of 16 pixels, digits has 1 of 8"):
        batching_gain(replace(VIT, image_size=16), digits, CollectConfig(epochs=1), members=2)
