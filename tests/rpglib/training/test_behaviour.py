"""A behaviour as a part of the loss: what is asked, that it is learned, resumed to the bit, and refused in one line."""

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rpglib.analysis.accuracy import accuracy, predictions
from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
from rpglib.model.rpg import RPG
from rpglib.tasks.conditions import Condition
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training import behaviour as behaviour_module
from rpglib.training.behaviour import (
    Behaviour,
    ClassificationBehaviour,
    TaskBehaviour,
    WithBehaviour,
    random_mixtures,
    with_gradient,
)
from rpglib.training.loop import TrainConfig, train
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import CollectConfig, collect
from rpglib.zoo.images import Split, load_images
from rpglib.zoo.store import Zoo

DIGITS = Architecture("cnn_digits", 10, 1, 8)
MODEL = RPGConfig(token_size=64, widths=(32,), d_state=8, headdim=16, channels=(1, 4, 8, 4, 1), permutation_states=6)
TRAIN = TrainConfig(
    steps=6, batch_size=2, diffusion_batch=16, learning_rate=3e-3, weight_decay=0.0, save_every=2, diffusion=False
)

TASKS = torch.tensor([[0, 1] * 5, [1, 1, 0, 0, 0] * 2])


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


@pytest.fixture(scope="module")
def zoo(digits):
    return collect(DIGITS, digits, CollectConfig(epochs=2, runs=6, checkpoints=1), progress=False)


@pytest.fixture(scope="module")
def behaviour(digits):
    return ClassificationBehaviour(digits.train, DIGITS, batch_size=16, networks=3)


def fresh(zoo, **changes):
    torch.manual_seed(0)
    return RPG(dataclasses.replace(MODEL, **changes), ParameterTokenizer.fit(zoo, 64))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


class Small(Behaviour):
    """A behaviour of a user's own: biases of the head are to be small."""

    def __call__(self, networks, generator):
        return networks["12.bias"].square().mean()


class Near(Behaviour):
    """Another, which keeps what it asks for and does not call the class it is from."""

    def __init__(self, target):
        self.target, self.towards = target, torch.full((10,), target)

    def __call__(self, networks, generator):
        return (networks["12.bias"] - self.towards).square().mean()


def test_a_training_goes_on_only_with_the_same_behaviour(zoo, tmp_path):
    config = dataclasses.replace(TRAIN, steps=2)
    first = train(fresh(zoo), zoo, config, tmp_path, progress=False, behaviour=Near(0.0))
    with pytest.warns(UserWarning, match=r"another behaviour\.target \(0\.0 -> 9\.0\), behaviour\.towards"):
        other = train(fresh(zoo), zoo, config, tmp_path, progress=False, behaviour=Near(9.0))
    assert other.losses != first.losses
    own = type("Near", (Near,), {"__qualname__": "Near", "__module__": "elsewhere"})
    assert own(0.0).facts()["code"] != Near(0.0).facts()["code"], "code that cannot be read is not the same"


def test_what_says_no_loss_is_refused_before_the_zoo_is_read(zoo):
    class Silent(Behaviour):
        pass

    class Unread(list):
        runs = tasks = None

        def __getitem__(self, index):
            raise AssertionError("read")

    with pytest.raises(InputError, match=r"Silent says no loss; give it a __call__"):
        train(fresh(zoo), zoo, TRAIN, progress=False, behaviour=Silent())
    model = RPG(
        dataclasses.replace(MODEL, permutation_states=0, conditions=(Condition("angle", 0, 1),)),
        ParameterTokenizer.fit(zoo, 64),
    )
    with pytest.raises(InputError, match=r"Small is not told what networks are for; write __call__"):
        WithBehaviour(model, Small(reconstruction=0.0), 0, diffusion=False)


def test_a_module_that_a_behaviour_asks_stays_as_it_is():
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(3)).train()
    asked = with_gradient(module)
    module(torch.randn(8, 3) + 5)
    assert module.training and float(module[0].running_mean.mean()) > 0.3 and not asked[0].running_mean.any()


# ---- what is asked ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5])
def test_mixtures_sum_to_one_over_so_many_different_states(count):
    weights = random_mixtures(200, 6, count, torch.Generator().manual_seed(0))
    assert weights.shape == (200, 6) and (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(200))
    assert ((weights > 0).sum(1) == count).all()
    # Every state comes as often, and with as much weight, as any other.
    torch.testing.assert_close(weights.mean(0), torch.full((6,), 1 / 6), rtol=0, atol=0.06)


def test_the_loss_is_cross_entropy_less_disagreement(digits, behaviour, zoo):
    networks = zoo.stacked([0, 1, 2])
    plain = ClassificationBehaviour(digits.train, DIGITS, batch_size=16, networks=3, disagreement=0.0)
    found, bare = (one(networks, torch.Generator().manual_seed(3)) for one in (behaviour, plain))
    rows = torch.randint(len(digits.train), (16,), generator=torch.Generator().manual_seed(3))
    images, labels = digits.train.images[rows], digits.train.labels[rows]
    module, answers = DIGITS.build().eval(), []
    for k in range(3):
        module.load_state_dict(zoo[k])
        answers.append(module(images).softmax(-1))
    answers = torch.stack(answers)
    entropy = -answers[:, torch.arange(16), labels].log().mean()
    average = answers.mean(0)
    divergence = (answers * (answers / average).log()).nan_to_num().sum(-1).mean()
    torch.testing.assert_close(bare, entropy, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found, entropy - 0.3 * divergence, rtol=1e-4, atol=1e-5)
    assert divergence > 1e-3
    alike = zoo.stacked([1, 1, 1])
    one, other = (b(alike, torch.Generator().manual_seed(3)) for b in (behaviour, plain))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_images_and_labels_of_any_type_are_asked_about(digits, behaviour, zoo):
    other = Split(digits.train.images.double(), digits.train.labels.int())
    own = ClassificationBehaviour(other, DIGITS, batch_size=16, networks=3)
    asked = zoo.stacked([0, 1, 2])
    losses = [one(asked, torch.Generator().manual_seed(1)) for one in (own, behaviour)]
    assert losses[0] == losses[1]


def test_joint_errors_are_what_two_networks_get_wrong_together(digits, zoo):
    networks = zoo.stacked([0, 1, 2])
    plain, joint = (
        ClassificationBehaviour(digits.train, DIGITS, batch_size=16, networks=3, disagreement=0.0, joint_errors=weight)
        for weight in (0.0, 2.5)
    )
    found, bare = (one(networks, torch.Generator().manual_seed(3)) for one in (joint, plain))
    rows = torch.randint(len(digits.train), (16,), generator=torch.Generator().manual_seed(3))
    module, wrong = DIGITS.build().eval(), []
    for k in range(3):
        module.load_state_dict(zoo[k])
        answers = module(digits.train.images[rows]).softmax(-1)
        wrong.append(1 - answers[torch.arange(16), digits.train.labels[rows]])
    pairs = torch.stack([wrong[a] * wrong[b] for a, b in ((0, 1), (0, 2), (1, 2))])
    torch.testing.assert_close(found - bare, 2.5 * pairs.mean(), rtol=1e-3, atol=1e-5)
    assert pairs.mean() > 1e-4 and joint.facts() != plain.facts()
    with pytest.raises(InputError, match="joint errors are those of two networks"):
        ClassificationBehaviour(digits.train, DIGITS, networks=1, joint_errors=1.0)


def test_networks_of_another_kind_or_in_part_are_refused(digits, behaviour, zoo):
    whole, stream = zoo.stacked([0, 1]), torch.Generator().manual_seed(0)
    heads = {name: x for name, x in whole.items() if name.startswith("12.")}
    other = ClassificationBehaviour(digits.train, Architecture("vit_small_digits", 10, 1, 8))
    narrow = whole | {"12.bias": whole["12.bias"][:, :9]}
    cases = [
        (behaviour, heads, "none"),
        (other, whole, "vit_small_digits"),
        (behaviour, narrow, r"'12.bias' is \(9,\)"),
    ]
    for asked, networks, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            asked(networks, stream)
        assert "\n" not in str(caught.value)
    half = {name: x.half() if x.is_floating_point() else x for name, x in whole.items()}
    found = [behaviour(networks, torch.Generator().manual_seed(0)).item() for networks in (whole, half)]
    assert found[0] == pytest.approx(found[1], rel=1e-2)


def test_noise_on_the_images_is_the_streams(digits, zoo):
    networks = zoo.stacked([0, 1])
    noisy = ClassificationBehaviour(digits.train, DIGITS, noise=3.0)
    found = [noisy(networks, torch.Generator().manual_seed(seed)).item() for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    plain = ClassificationBehaviour(digits.train, DIGITS)(networks, torch.Generator().manual_seed(1)).item()
    assert found[0] > plain + 0.1, "the same images, harder to read"


def test_images_may_be_augmented(digits, zoo):
    networks, seen = zoo.stacked([0, 1]), []

    def inverted(images, generator):
        seen.append((images.shape, torch.rand(1, generator=generator).item()))
        return -images

    def loss(**options):
        own = ClassificationBehaviour(digits.train, DIGITS, **options)
        return own(networks, torch.Generator().manual_seed(1)).item()

    negative = Split(-digits.train.images, digits.train.labels)
    own = ClassificationBehaviour(negative, DIGITS)(networks, torch.Generator().manual_seed(1)).item()
    assert loss(augment=inverted) == own != loss()
    assert loss(augment=inverted) == own and seen[0] == seen[1] and seen[0][0] == (64, 1, 8, 8)
    facts = [ClassificationBehaviour(digits.train, DIGITS, augment=x).facts()["augment"] for x in (None, inverted)]
    assert facts[0] == "None" and facts[1].endswith("inverted")


@pytest.mark.parametrize("bad", [lambda x, g: None, lambda x, g: x[:1], lambda x, g: x.double()])
def test_what_augments_badly_is_told(digits, zoo, bad):
    own = ClassificationBehaviour(digits.train, DIGITS, augment=bad)
    with pytest.raises(InputError, match=r"augment returns images .*, as it takes them, not"):
        own(zoo.stacked([0, 1]), torch.Generator())


@pytest.mark.parametrize("diffusion", [True, False])
def test_the_step_adds_both_losses_by_their_weights(zoo, behaviour, diffusion):
    batch = {"tokens": torch.zeros(2, *fresh(zoo).tokenizer.mask.shape), "permutation": torch.tensor([0, 3])}
    batch["t"] = torch.zeros(2 * len(batch["tokens"][0]), dtype=torch.int64)
    batch["noise"] = torch.zeros(len(batch["t"]), 64)
    losses = {}
    for weight, reconstruction in ((0.0, 1.0), (1.0, 0.0), (2.0, 3.0)):
        own = Small(weight=weight, reconstruction=reconstruction)
        model = fresh(zoo).eval()
        if diffusion and not reconstruction:
            continue
        asked = WithBehaviour(model, own, seed=0, diffusion=diffusion)
        losses[weight, reconstruction] = asked(step=5, mask=model.tokenizer.mask, **batch).item()
    plain = fresh(zoo).eval()(mask=model.tokenizer.mask, **batch).item()
    assert losses[0.0, 1.0] == pytest.approx(plain, rel=1e-6)
    if not diffusion:
        assert losses[2.0, 3.0] == pytest.approx(2 * losses[1.0, 0.0] + 3 * plain, rel=1e-5)
    assert losses[2.0, 3.0] > 3 * plain


# ---- training --------------------------------------------------------------------------------------------------------


def test_mixtures_learn_to_work(zoo, digits):
    """Without any zoo to copy: with a reconstruction of weight 0 the behaviour alone makes networks that classify."""
    mixture = random_mixtures(6, 6, 2, torch.Generator().manual_seed(1))
    own = ClassificationBehaviour(digits.train, DIGITS, reconstruction=0.0, networks=4)
    model = fresh(zoo)
    config = dataclasses.replace(TRAIN, steps=180, learning_rate=5e-3)
    losses = train(model, zoo, config, progress=False, behaviour=own).losses
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])
    networks = model.generate(6, mixture=mixture, steps=1)
    right = accuracy(predictions(zoo.build(), networks, digits.test.images), digits.test.labels)
    assert float(right.mean()) > 40  # a chance of 10; before training, that is what they have


@pytest.mark.parametrize("diffusion", [True, False])
@pytest.mark.parametrize("stop", [0, 2, 3])
def test_killed_at_any_step_it_resumes_to_the_same_weights(zoo, behaviour, tmp_path, diffusion, stop):
    config, unbroken = dataclasses.replace(TRAIN, diffusion=diffusion), fresh(zoo)
    losses = train(unbroken, zoo, config, progress=False, behaviour=behaviour).losses

    def kill(step, model):
        if step == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(fresh(zoo), zoo, config, tmp_path, progress=False, on_step=kill, behaviour=behaviour)
    resumed = fresh(zoo)
    assert train(resumed, zoo, config, tmp_path, progress=False, behaviour=behaviour).losses == losses
    assert same(unbroken, resumed)
    plain = fresh(zoo)
    train(plain, zoo, config, progress=False)
    assert not same(plain, resumed), "the behaviour changes what is learned"


def test_a_state_of_another_behaviour_is_set_aside(zoo, digits, behaviour, tmp_path):
    train(fresh(zoo), zoo, TRAIN, tmp_path, progress=False, behaviour=behaviour)
    other = ClassificationBehaviour(digits.train, DIGITS, batch_size=16, networks=3, disagreement=0.1)
    for later in (other, None):
        with pytest.warns(UserWarning, match="of a run with another behaviour"):
            train(fresh(zoo), zoo, TRAIN, tmp_path, progress=False, behaviour=later)


def test_the_random_state_is_left_alone(zoo, digits):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    own = ClassificationBehaviour(digits.train, DIGITS, batch_size=16)
    assert torch.equal(before, torch.get_rng_state())
    model = RPG(MODEL, ParameterTokenizer.fit(zoo, 64))
    before = torch.get_rng_state()
    train(model, zoo, dataclasses.replace(TRAIN, steps=1), progress=False, behaviour=own)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("diffusion", [True, False])
def test_two_processes_ask_about_different_networks_and_end_alike(zoo, tmp_path, diffusion):
    Zoo.write(tmp_path / "zoo", zoo, architecture=DIGITS, runs=zoo.runs.tolist(), accuracies=zoo.accuracies.tolist())
    script = Path(__file__).parents[2] / "helpers" / "launch_behaviour.py"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command += [str(script), str(tmp_path / "zoo"), str(diffusion)]
    call = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert call.returncode == 0, call.stderr[-2000:]


def test_in_bf16_the_networks_themselves_compute_in_fp32(zoo):
    seen = []

    class Watched(Small):
        def __call__(self, networks, generator):
            seen.append((torch.is_autocast_enabled("cpu"), networks["0.weight"].dtype))
            return super().__call__(networks, generator)

    config = dataclasses.replace(TRAIN, steps=2, precision="bf16")
    result = train(fresh(zoo), zoo, config, progress=False, device="cpu", behaviour=Watched())
    assert seen == [(False, torch.float32)] * 2 and all(map(math.isfinite, result.losses))


# ---- conditions ------------------------------------------------------------------------------------------------------

SHIFT = Condition("shift", 0, 4)
TOLD = {"permutation_states": 0, "conditions": (SHIFT,)}


class Darkened(ClassificationBehaviour):
    """Images come darker by the condition: a network must know by how much."""

    def see(self, images, labels, rows, generator):
        return images - rows[:, 0].view(-1, 1, 1, 1, 1), labels


def test_each_network_classifies_what_is_seen_under_its_condition(digits, zoo):
    own = Darkened(digits.train, DIGITS, batch_size=16, networks=3)
    rows = torch.tensor([[0.0], [1.0], [3.0]])
    found = own(zoo.stacked([0, 1, 2]), torch.Generator().manual_seed(3), rows)
    chosen = torch.randint(len(digits.train), (3, 16), generator=torch.Generator().manual_seed(3))
    module, losses = DIGITS.build().eval(), []
    for k in range(3):
        module.load_state_dict(zoo[k])
        answers = module(digits.train.images[chosen[k]] - float(rows[k]))
        losses.append(torch.nn.functional.cross_entropy(answers, digits.train.labels[chosen[k]]))
    torch.testing.assert_close(found, torch.stack(losses).mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [None, torch.tensor([[0.0], [1.0], [3.0]])])
def test_networks_that_are_asked_one_by_one_answer_as_together(digits, zoo, monkeypatch, rows):
    """As those of larger images are: a convolution with weights of its own for each would take twice as long."""
    found = []
    for together in (True, False):
        monkeypatch.setattr(Architecture, "batched", together)
        own = Darkened(digits.train, DIGITS, batch_size=16, networks=3)
        networks = {k: x.requires_grad_(x.is_floating_point()) for k, x in zoo.stacked([0, 1, 2]).items()}
        loss = own(networks, torch.Generator().manual_seed(3), rows)
        gradients = torch.autograd.grad(loss, [x for x in networks.values() if x.requires_grad])
        found.append((loss, *gradients))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_a_step_asks_about_the_conditions_that_are_drawn(zoo):
    seen = []

    class Watched(Small):
        def __call__(self, networks, generator, rows):
            seen.append(rows)
            return super().__call__(networks, generator)

    class Chosen(Watched):
        def conditions(self, n, generator):
            return torch.full((n, 1), 1.5)

    config = dataclasses.replace(TRAIN, steps=3)
    for own in (Watched(networks=4, reconstruction=0.0), Chosen(networks=4, reconstruction=0.0)):
        train(fresh(zoo, **TOLD), zoo, config, progress=False, behaviour=own)
    # Once before training, on trial, is what `conditions` draws; the loss is not asked then.
    drawn = torch.stack(seen[:3])
    assert drawn.shape == (3, 4, 1) and 0 <= drawn.min() < drawn.max() <= 4 and len(drawn.unique()) == 12
    assert torch.stack(seen[3:]).eq(1.5).all() and len(seen) == 6


def test_conditions_learn_to_work_without_a_zoo_that_knows_of_them(zoo, digits):
    own = Darkened(digits.train, DIGITS, reconstruction=0.0, networks=4)
    model = fresh(zoo, **TOLD)
    config = dataclasses.replace(TRAIN, steps=150, learning_rate=5e-3)
    train(model, zoo, config, progress=False, behaviour=own)
    networks = model.generate(2, condition=[[0.5], [3.5]], steps=1)
    images, labels = digits.test.images, digits.test.labels

    def right(darker):
        return accuracy(predictions(zoo.build(), networks, images - darker), labels).tolist()

    (own, other), (another, own_too) = right(0.5), right(3.5)
    assert min(own, own_too) > 35  # a chance of 10
    assert own > other and own_too > another, "each is best at what it was written for"


def test_networks_are_asked_about_these_tasks_alone_by_their_bits(digits):
    own = TaskBehaviour(TASKS, digits.train, Architecture("cnn_digits", 2, 1, 8))
    rows = own.conditions(200, torch.Generator().manual_seed(0))
    assert {tuple(row) for row in rows.tolist()} == {tuple(row) for row in TASKS.tolist()}
    images, labels = digits.train.images[:12].expand(200, 12, 1, 8, 8), digits.train.labels[:12].expand(200, 12)
    seen, answers = own.see(images, labels, rows, torch.Generator())
    assert seen is images and answers.dtype == torch.int64
    for row, answer in zip(rows, answers, strict=True):
        assert answer.tolist() == [int(row[k]) for k in digits.train.labels[:12].tolist()]
    assert own.facts() != TaskBehaviour(TASKS[:1], digits.train, own.architecture).facts()


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (TASKS[:0], "tasks has no row"),
        (TASKS[:, :7], r"a task of 7 bits tells images of labels 0\.\.6 apart"),
        (torch.ones(2, 10), "selects every class"),
        (TASKS * 2, "bits are 0 or 1"),
    ],
)
def test_tasks_that_no_image_can_answer_are_refused(digits, tasks, message):
    with pytest.raises(InputError, match=message):
        TaskBehaviour(tasks, digits.train, Architecture("cnn_digits", 2, 1, 8))


def test_tasks_are_asked_about_where_the_behaviour_says_which(zoo, digits):
    binary = Architecture("cnn_digits", 2, 1, 8)
    own = TaskBehaviour(TASKS, digits.train, binary, reconstruction=0.0, networks=4)
    torch.manual_seed(0)
    tokenizer = ParameterTokenizer.fit([binary.build().state_dict() for _ in range(3)], 64)
    model = RPG(dataclasses.replace(MODEL, permutation_states=0, task_bits=10), tokenizer)
    train(model, zoo, dataclasses.replace(TRAIN, steps=150, learning_rate=5e-3), progress=False, behaviour=own)
    task = [0, 1] * 5
    networks = model.generate(1, task, steps=1)
    labels = torch.tensor(task)[digits.test.labels]
    assert float(accuracy(predictions(binary.build(), networks, digits.test.images), labels)) > 60
    for bad, message in (
        (lambda n, generator: None, "a behaviour for tasks says which"),
        (lambda n, generator: torch.ones(n, 10), "selects every class"),
        (lambda n, generator: torch.ones(n, 9), "tasks have 10 bits"),
        (lambda n, generator: [[0, 1] * 5] * n, "takes a tensor"),
    ):
        own.conditions = bad
        with pytest.raises(InputError, match=message):
            train(model, zoo, TRAIN, progress=False, behaviour=own)


def test_states_and_conditions_are_asked_about_together(zoo, digits):
    told = zoo_of(zoo)
    own = Darkened(digits.train, DIGITS, networks=3, batch_size=8)
    model = fresh(zoo, conditions=(SHIFT,), condition_dropout=0.5)
    losses = train(model, told, TRAIN, progress=False, behaviour=own).losses
    assert all(map(math.isfinite, losses))
    networks = model.generate(1, permutation=[2], condition=[1.0], steps=1) + model.generate(
        1, permutation=[2], steps=1
    )
    assert not torch.equal(networks[0]["12.bias"], networks[1]["12.bias"])


def zoo_of(zoo):
    facts = {"architecture": DIGITS, "runs": zoo.runs.tolist(), "accuracies": None}
    rows = torch.linspace(0, 4, len(zoo))[:, None]
    return Zoo.from_checkpoints(list(zoo), **facts, conditions=rows, described_by=(SHIFT,))


@pytest.mark.parametrize("reconstruction", [1.0, 0.0])
def test_a_training_for_conditions_resumes_to_the_same_weights(zoo, digits, tmp_path, reconstruction):
    own = Darkened(digits.train, DIGITS, networks=3, batch_size=8, noise=0.3, reconstruction=reconstruction)
    unbroken, told = fresh(zoo, **TOLD, condition_dropout=0.3), zoo_of(zoo)
    losses = train(unbroken, told, TRAIN, progress=False, behaviour=own).losses

    def kill(step, model):
        if step == 2:
            raise KeyboardInterrupt

    resumed = fresh(zoo, **TOLD, condition_dropout=0.3)
    with pytest.raises(KeyboardInterrupt):
        train(resumed, told, TRAIN, tmp_path, progress=False, on_step=kill, behaviour=own)
    resumed = fresh(zoo, **TOLD, condition_dropout=0.3)
    assert train(resumed, told, TRAIN, tmp_path, progress=False, behaviour=own).losses == losses
    assert same(unbroken, resumed)
    with pytest.warns(UserWarning, match="of a run with another zoo"):
        other = Zoo.from_checkpoints(
            list(zoo),
            architecture=DIGITS,
            runs=range(6),
            accuracies=None,
            conditions=[[1.0]] * 6,
            described_by=(SHIFT,),
        )
        train(fresh(zoo, **TOLD, condition_dropout=0.3), other, TRAIN, tmp_path, progress=False, behaviour=own)


@pytest.mark.parametrize(
    ("drawn", "message"),
    [
        (lambda n, generator: torch.full((n, 1), 4.5), "shift: 4.5 is outside of 0 to 4"),
        (lambda n, generator: torch.full((n, 1), math.nan), "shift: nan is no finite number"),
        (lambda n, generator: torch.zeros(n, 2), r"not of the shape \(3, 2\)"),
        (lambda n, generator: torch.zeros(n + 1, 1), "takes a tensor"),
        (lambda n, generator: "many", "takes a tensor"),
    ],
)
def test_conditions_that_the_generator_has_not_are_told_before_training(zoo, drawn, message):
    own = Small(networks=3, reconstruction=0.0)
    own.conditions = drawn
    with pytest.raises(InputError, match=message) as caught:
        train(fresh(zoo, **TOLD), zoo, TRAIN, progress=False, behaviour=own, on_step=lambda *_: pytest.fail("too late"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("see", "message"),
    [
        (lambda images, labels, *_: (images[0], labels), "see returns images of the shape"),
        (lambda images, labels, *_: (images.double(), labels), "see returns images of the shape"),
        (lambda images, labels, *_: (images, labels.float()), "see returns images of the shape"),
        (lambda images, labels, *_: (images, None), "see returns images of the shape"),
        (lambda images, labels, *_: (images, labels + 1), r"labels that see returns must lie in 0\.\.9"),
    ],
)
def test_what_is_seen_must_be_images_and_labels(zoo, digits, see, message):
    own = ClassificationBehaviour(digits.train, DIGITS, networks=3, reconstruction=0.0)
    own.see = see
    with pytest.raises(InputError, match=message):
        train(fresh(zoo, **TOLD), zoo, TRAIN, progress=False, behaviour=own)


# ---- bad input -------------------------------------------------------------------------------------------------------


def returning(value):
    class Given(Behaviour):
        def __call__(self, networks, generator):
            return value(networks["12.bias"])

    return Given(mixture=2)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda x: x.mean() * math.nan, "not finite at step 0"),
        (lambda x: x.mean() / 0.0, "not finite at step 0"),
        (lambda x: x.mean().detach(), "has no gradient"),
        (lambda x: x.sign().argmax().float(), "has no gradient"),
        (lambda x: x.mean(1), "not a tensor of shape"),
        (lambda x: x.mean().item(), "one number as a tensor"),
        (lambda x: None, "one number as a tensor"),
    ],
)
def test_a_loss_that_is_none_is_refused(zoo, value, message):
    with pytest.raises(InputError, match=message) as caught:
        train(fresh(zoo), zoo, TRAIN, progress=False, behaviour=returning(value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "recipe", "behaviour", "message"),
    [
        ({}, {}, Small(mixture=7), "mixes 7 permutation states needs as many, the generator has 6"),
        ({"permutation_states": 0}, {}, Small(), "the generator has 0"),
        ({"prototype_skip": False}, {"prototype_loss": 0.0, "diffusion": True}, Small(), "prototype_skip=True"),
        ({}, {"diffusion": True}, Small(reconstruction=0.0), "TrainConfig.diffusion=False"),
        ({}, {}, lambda networks, generator: 0.0, "behaviour takes a Behaviour"),
    ],
)
def test_a_generator_that_cannot_be_asked_is_told_before_training(zoo, model, recipe, behaviour, message):
    with pytest.raises(InputError, match=message) as caught:
        train(fresh(zoo, **model), zoo, dataclasses.replace(TRAIN, **recipe), progress=False, behaviour=behaviour)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": -1.0}, "weight takes a finite number from 0 on"),
        ({"weight": math.inf}, "weight takes a finite number"),
        ({"noise": -0.1}, "noise takes a finite number from 0 on"),
        ({"disagreement": "much"}, "disagreement takes a finite number"),
        ({"joint_errors": -1.0}, "joint_errors takes a finite number from 0 on"),
        ({"reconstruction": True}, "reconstruction takes a finite number"),
        ({"networks": 0}, "networks takes a whole number from 1"),
        ({"mixture": 1.5}, "mixture takes a whole number"),
        ({"batch_size": 0}, "batch_size takes a whole number"),
        ({"architecture": Architecture("cnn_s", 10, 3, 32)}, r"cnn_s takes images of \(3, 32, 32\)"),
        ({"architecture": Architecture("cnn_digits", 5, 1, 8)}, "labels must lie in 0..4"),
        ({"architecture": "cnn_digits"}, "architecture takes an Architecture, not 'cnn_digits'"),
        ({"images": "digits"}, "images takes a Split, not 'digits'"),
        ({"images": Split(torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64))}, "has none"),
        ({"images": Split(torch.full((2, 1, 8, 8), math.nan), torch.zeros(2, dtype=torch.int64))}, "NaN or infinity"),
    ],
)
def test_bad_settings_are_one_clear_line(digits, change, message):
    given = {"images": digits.train, "architecture": DIGITS} | change
    with pytest.raises(InputError, match=message) as caught:
        ClassificationBehaviour(**given)
    assert "\n" not in str(caught.value)


def test_conditions_keep_the_digits_that_networks_are_told(zoo):
    many = Condition("time", 1.7e9, 1.7e9 + 100)  # fp32 has one number in 128 there
    config = fresh(zoo, permutation_states=0, conditions=(many,)).config
    rows = behaviour_module._rows(Small(networks=200), config, torch.Generator().manual_seed(0))
    assert len(rows.unique()) > 100 and rows.min() >= 1.7e9 and rows.max() <= 1.7e9 + 100
