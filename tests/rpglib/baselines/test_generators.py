"""The published generators: one face, what each of them can do in its own terms, and refusals."""

import dataclasses
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from rpglib.analysis.accuracy import accuracy, predictions
from rpglib.baselines.d2nwg import D2NWG, D2NWGConfig, UNet, class_features
from rpglib.baselines.deep_weight_flow import DeepWeightFlow, DeepWeightFlowConfig
from rpglib.baselines.generator import Target, denoised, denoising_loss, descend
from rpglib.baselines.hyper_representations import (
    HyperRepresentations,
    HyperRepresentationsConfig,
    Units,
    contrast,
    kernel_density,
    permuted_places,
)
from rpglib.baselines.hypernetwork import Hypernetwork, HypernetworkConfig
from rpglib.baselines.p_diff import LatentDenoiser, PDiff, PDiffConfig
from rpglib.baselines.sane import Sane, SaneConfig
from rpglib.errors import InputError
from rpglib.model.diffusion import NoiseSchedule
from rpglib.runtime.state_dicts import STATISTICS
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import CollectConfig, collect
from rpglib.zoo.images import Split, load_images, take
from rpglib.zoo.store import Zoo

CNN = Architecture("cnn_digits", 10, 1, 8)
SMALL = {
    DeepWeightFlow: DeepWeightFlowConfig(width=16, time_width=4, components=3, steps=2, sampling_steps=2),
    PDiff: PDiffConfig(
        channels=(2, 2), latent=8, steps=2, diffusion_channels=(4, 4), diffusion_steps=2, sampling_steps=3
    ),
    HyperRepresentations: HyperRepresentationsConfig(width=8, layers=1, latent=6, steps=2, permutations=2),
    Sane: SaneConfig(width=8, layers=1, latent=4, steps=2, permutations=2, candidates=2),
    D2NWG: D2NWGConfig(side=8, channels=8, steps=2, diffusion_channels=8, diffusion_steps=2, sampling_steps=3),
    Hypernetwork: HypernetworkConfig(state=3, width=8, networks=2, batch_size=4, steps=2),
}
METHODS = [pytest.param(method, config, id=method.method) for method, config in SMALL.items()]
AUTOENCODERS = [
    pytest.param(PDiff, PDiffConfig(steps=150, batch_size=8, diffusion_steps=1, learning_rate=3e-3), id="p-diff"),
    pytest.param(
        HyperRepresentations, HyperRepresentationsConfig(steps=120, permutations=1, batch_size=8), id="S_KDE30"
    ),
    pytest.param(
        Sane, SaneConfig(steps=250, permutations=1, batch_size=8, candidates=1, learning_rate=2e-3), id="SANE"
    ),
    pytest.param(D2NWG, D2NWGConfig(steps=100, batch_size=8, diffusion_steps=1), id="D2NWG"),
]


def few(images, n: int):
    """The data set with so many images in each part."""
    return replace(images, **{part: take(getattr(images, part), n) for part in ("train", "validation", "test")})


@pytest.fixture(scope="module")
def images():
    return load_images("digits")


@pytest.fixture(scope="module")
def some(images):
    return few(images, 200)


@pytest.fixture(scope="module")
def zoo(images):
    """Two runs of eight checkpoints: enough to be reconstructed, too few to be more."""
    config = CollectConfig(epochs=4, runs=2, checkpoints=8, finetune_learning_rate=3e-4)
    return collect(CNN, images, config, progress=False)


@pytest.fixture(scope="module")
def task_zoo(images):
    """Networks that were never trained, for three tasks."""
    torch.manual_seed(0)
    architecture = Architecture("cnn_digits", 2, 1, 8)
    tasks = [[1, 0] * 5, [1, 1, 1, 1, 1, 0, 0, 0, 0, 0], [0, 1] * 5]
    networks = [architecture.build().state_dict() for _ in tasks]
    return Zoo.from_checkpoints(networks, architecture=architecture, runs=[0, 1, 2], accuracies=None, tasks=tasks)


def points(networks) -> torch.Tensor:
    return Target(CNN).weights(networks)


def mixture(n: int, seed: int = 0) -> torch.Tensor:
    """Points (n, 2) of three narrow Gaussians, of about unit size."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[-1.2, -0.7], [1.2, -0.4], [0.0, 1.3]])[torch.arange(n) % 3]
    return centres + 0.1 * torch.randn(n, 2, generator=generator)


def energy(a: torch.Tensor, b: torch.Tensor) -> float:
    """The energy distance of two samples: 0 where both are of one distribution."""
    within = [torch.pdist(x).mean() for x in (a, b)]
    return float(2 * torch.cdist(a, b).mean() - sum(within))


# ---- the face --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "config"), METHODS)
def test_it_writes_whole_networks_that_follow_from_the_seeds(method, config, zoo, some, tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, same, other = (method.fit(zoo, config, some, seed=s, progress=False) for s in (0, 0, 1))
    networks = one.generate(3, seed=4)
    again = same.generate(3, seed=4)
    assert torch.equal(torch.rand(1), expected)
    for network in networks:
        assert [(k, x.shape, x.dtype) for k, x in network.items()] == [(k, x.shape, x.dtype) for k, x in zoo[0].items()]
        zoo.build().load_state_dict(network)
        assert not torch.equal(network["1.running_mean"], zoo[0]["1.running_mean"])
    assert torch.equal(points(networks), points(again)) and one.losses == same.losses != other.losses
    assert not torch.equal(points(networks), points(one.generate(3, seed=5)))
    assert not torch.equal(points(networks), points(other.generate(3, seed=4)))


@pytest.mark.parametrize(("method", "config"), METHODS)
def test_what_is_read_from_files_writes_the_same(method, config, zoo, some, tmp_path):
    fitted = method.fit(zoo, config, some, progress=False)
    digest = fitted.save_pretrained(tmp_path)
    read = method.from_pretrained(tmp_path)
    assert read.config == config and read.save_pretrained(tmp_path / "again") == digest
    for a, b in zip(fitted.generate(2, seed=1), read.generate(2, seed=1), strict=True):
        assert a.keys() == b.keys() and all(torch.equal(x, b[name]) for name, x in a.items())
    stranger = next(x for x in SMALL if x is not method)
    with pytest.raises(InputError, match=f"not of {stranger.method}"):
        stranger.from_pretrained(tmp_path)


def test_without_images_statistics_stay_the_first_networks(zoo):
    (network,) = DeepWeightFlow.fit(zoo, SMALL[DeepWeightFlow], progress=False).generate(1)
    assert all(torch.equal(x, zoo[0][name]) for name, x in network.items() if name.endswith(STATISTICS))


def test_scales_are_those_of_each_tensor(zoo):
    target, weights = Target(CNN), points(zoo)
    mean, std = target.scales(weights)
    stacked = {name: x for name, x in zoo.stacked().items() if name in target.shapes}
    for name, (m, s) in zip(
        stacked, zip(*(target.stacked(x[None]).values() for x in (mean, std)), strict=True), strict=True
    ):
        torch.testing.assert_close(m, stacked[name].mean().expand(m.shape))
        torch.testing.assert_close(s, stacked[name].std(correction=0).expand(s.shape))
    assert torch.equal(points(target.networks(weights, zoo[0])), weights)


# ---- what each can do in its own terms -------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "config"), AUTOENCODERS)
def test_an_autoencoder_keeps_the_accuracy_of_networks_that_it_has_not_seen(method, config, zoo, images):
    """The last checkpoint of each run is held out: a network of a run that the autoencoder knows."""
    seen = [k for k in range(len(zoo)) if k % 8 != 7]
    fitted = method.fit(zoo.subset(seen), config, images, progress=False)
    held_out = [zoo[k] for k in range(len(zoo)) if k % 8 == 7]
    before, after = (
        accuracy(predictions(zoo.build(), x, images.validation.images), images.validation.labels)
        for x in (held_out, fitted.reconstructed(held_out))
    )
    assert before.min() > 85
    assert (before - after).max() < 5, (before, after)


def test_p_diffs_denoiser_reproduces_a_mixture_in_the_plane():
    schedule, generator = NoiseSchedule(100, 1e-3, 0.15), torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    denoiser, data = LatentDenoiser(2, (16, 32)), mixture(600)

    def loss(step: int) -> torch.Tensor:
        rows = torch.randperm(600, generator=generator)[:128]
        return denoising_loss(denoiser, data[rows], schedule, generator)

    descend(denoiser, loss, 600, 5e-3, label="", progress=False)
    with torch.no_grad():
        written = denoised(denoiser.eval(), (2,), schedule, 100, 400, 0)
    assert energy(written, mixture(400, 1)) < 0.05 < energy(torch.randn(400, 2), mixture(400, 1))


def test_d2nwgs_denoiser_reproduces_a_mixture_in_the_plane():
    """The plane is laid into images by two halves of equal numbers."""
    schedule, generator = NoiseSchedule(100, 1e-3, 0.15), torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    unet, shape = UNet(8), (1, 4, 4)
    condition = torch.zeros(1, 1, 4, 4)
    data = mixture(600).repeat_interleave(2, 1)[:, None, None].expand(-1, 1, 4, 4)

    def denoiser(x, t):
        return unet(x, t, condition)

    def loss(step: int) -> torch.Tensor:
        rows = torch.randperm(600, generator=generator)[:64]
        return denoising_loss(denoiser, data[rows], schedule, generator)

    descend(unet, loss, 800, 3e-3, label="", progress=False)
    with torch.no_grad():
        images = denoised(denoiser, shape, schedule, 100, 300, 0)
    written = images.unflatten(3, (2, 2)).mean((1, 2, 4))
    assert energy(written, mixture(400, 1)) < 0.05 < energy(torch.randn(400, 2), mixture(400, 1))


def test_as_released_a_kernel_density_returns_latents_of_the_zoo():
    latents = torch.randn(30, 64, generator=torch.Generator().manual_seed(0))
    released, independent = (kernel_density(latents, 0.002, 20, 1, own) for own in (False, True))
    away = released[:, None] - latents
    nearest = away.norm(dim=2).argmin(1)
    # One network, and one number that is added to all dimensions.
    offsets = away[torch.arange(20), nearest]
    assert offsets.abs().max() < 0.01 and offsets.std(1).max() < 1e-6 < offsets.std()
    between = torch.cdist(latents, latents).fill_diagonal_(torch.inf).min()
    assert (
        torch.cdist(independent, latents).min()
        > 0.5 * between
        > 100 * torch.cdist(released, latents).max(1)[0].min() * 0
    )
    values = (independent[:, None] - latents).abs().amin(1)
    assert values.max() < 0.01  # each dimension for itself is still one of a training latent


def test_s_kde30_as_released_writes_what_its_autoencoder_makes_of_the_best(zoo, some):
    config = replace(SMALL[HyperRepresentations], steps=20)
    fitted = HyperRepresentations.fit(zoo, config, some, progress=False)
    right = accuracy(predictions(zoo.build(), zoo, some.validation.images), some.validation.labels)
    rows = right.argsort(descending=True, stable=True)[:5].tolist()
    copies = points(fitted.reconstructed([zoo[k] for k in rows]))
    assert len(fitted.latents) == 5
    written = points(fitted.generate(10))
    assert torch.cdist(written, copies).amin(1).max() < 0.1
    assert torch.cdist(copies, copies).fill_diagonal_(torch.inf).min() > 0


def test_sane_keeps_the_most_accurate_candidates(zoo, some):
    config = replace(SMALL[Sane], candidates=4, steps=30)
    fitted = Sane.fit(zoo, config, some, progress=False)
    networks = fitted.generate(3)
    fitted.config = replace(config, candidates=1)
    candidates = fitted.generate(12)
    right, all_right = (
        accuracy(predictions(zoo.build(), x, some.validation.images), some.validation.labels)
        for x in (networks, candidates)
    )
    assert right.tolist() == all_right.sort(descending=True).values[:3].tolist()


def test_a_hypernetwork_learns_from_images_what_its_task_asks(task_zoo, images):
    config = HypernetworkConfig(steps=250, networks=4, batch_size=64)
    fitted = Hypernetwork.fit(task_zoo, config, images, progress=False)
    part = images.validation
    for task in task_zoo.tasks:
        predicted = predictions(task_zoo.build(), fitted.generate(2, task=task.tolist()), part.images)
        assert accuracy(predicted, task[part.labels]).min() > 80
    with pytest.raises(InputError, match="give one as task"):
        fitted.generate(1)


def test_d2nwg_is_told_the_data_set_of_a_task(task_zoo, images):
    config = replace(SMALL[D2NWG], steps=1, diffusion_steps=30, diffusion_learning_rate=1e-2)
    fitted = D2NWG.fit(task_zoo, config, images, progress=False)
    a, b = (torch.cat([x.flatten() for x in fitted.generate(1, task=t)[0].values()]) for t in task_zoo.tasks[:2])
    assert not torch.equal(a, b)
    features = class_features(images, 10)
    torch.testing.assert_close(fitted._features(task_zoo.tasks[:1])[0, 1], features[[0, 2, 4, 6, 8]].mean(0))


# ---- the parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", [CNN, Architecture("vit_small_digits", 10, 1, 8)])
def test_units_hold_every_parameter_once(architecture):
    target = Target(architecture)
    units = Units(target)
    weights = torch.randn(2, target.size)
    tokens = units.tokens(weights)
    assert torch.equal(units.weights(tokens), weights) and not tokens[:, ~units.mask].any()
    assert int(units.mask.sum()) == target.size
    if architecture is CNN:  # 8, 16, 12 channels with BatchNorm's two values each, and ten classes with a bias
        assert [b - a for a, b, _ in units.groups] == [8, 16, 12, 10]
        assert [values for _, _, values in units.groups] == [9 + 2, 72 + 2, 144 + 2, 48 + 1]


def test_tables_of_positions_are_cut_into_positions():
    shapes = {"class": (1, 1, 6), "positions": (1, 5, 6), "patches": (4, 3, 2, 2), "bias": (4,), "head": (1, 6)}
    shapes = {name: torch.Size(shape) for name, shape in shapes.items()}
    units = Units(SimpleNamespace(shapes=shapes, size=6 + 30 + 48 + 4 + 6))
    assert [(b - a, values) for a, b, values in units.groups] == [(1, 6), (5, 6), (4, 13), (1, 6)]


def test_other_orders_of_units_compute_the_same(zoo, some):
    target = Target(CNN)
    places = permuted_places(target, 3, torch.Generator().manual_seed(0))
    assert torch.equal(places[0], torch.arange(target.size)) and not torch.equal(places[1], places[2])
    moved = target.weights([zoo[0]])[0][places]
    networks = target.networks(moved, {name: torch.ones_like(x) for name, x in zoo[0].items()})
    module, answers = target.module.eval(), []
    for network in networks:
        module.load_state_dict(network)
        answers.append(module(some.test.images).detach())
    torch.testing.assert_close(answers[1], answers[0], atol=1e-3, rtol=1e-3)


def test_the_contrast_is_lowest_where_views_agree():
    a = torch.eye(4)
    agree, differ = (float(contrast(a, b, 0.1)) for b in (a, a.roll(1, 0)))
    assert agree == pytest.approx(math.log(1 + 6 * math.exp(-10)), rel=1e-2) and differ > 5


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "config"), METHODS)
def test_every_wrong_setting_is_named(method, config):
    for field in dataclasses.fields(config):
        wrong = {"int": 0, "float": -1.0, "bool": "yes"}.get(getattr(field.type, "__name__", ""), 0)
        with pytest.raises(InputError, match=f"{type(config).__name__}.*{field.name.split('_')[0]}"):
            replace(config, **{field.name: wrong})


@pytest.mark.parametrize(("method", "config"), METHODS)
def test_what_it_cannot_learn_from_is_refused(method, config, zoo, some):
    with pytest.raises(InputError, match="two or more"):
        method.fit(zoo[:1], config, some)
    wrong = Split(torch.ones(4, 3, 8, 8), torch.zeros(4).long())
    with pytest.raises(InputError, match="cannot compute images"):
        method.fit(zoo, config, replace(some, train=wrong))
    with pytest.raises(InputError, match="fitted to no tasks; leave task out"):
        method.fit(zoo, config, some, progress=False).generate(1, task=[0, 1])
    with pytest.raises(InputError, match=r"takes an? "):
        method.fit(zoo, SMALL[next(x for x in SMALL if x is not method)], some)


def test_a_method_without_an_autoencoder_reconstructs_nothing(zoo):
    with pytest.raises(InputError, match="no autoencoder"):
        DeepWeightFlow.fit(zoo, SMALL[DeepWeightFlow], progress=False).reconstructed(zoo)


@pytest.mark.parametrize("method", [HyperRepresentations, Sane, D2NWG, Hypernetwork])
def test_a_method_that_needs_images_says_so(method, zoo):
    with pytest.raises(InputError, match="give images"):
        method.fit(zoo, SMALL[method], progress=False)


def test_an_architecture_without_known_orders_is_told_the_remedy(images):
    vit = Architecture("vit_small_digits", 10, 1, 8)
    networks = [vit.build().state_dict() for _ in range(3)]
    zoo = Zoo.from_checkpoints(networks, architecture=vit, runs=[0, 1, 2], accuracies=None)
    with pytest.raises(InputError, match="SaneConfig\\(aligned=False\\)"):
        Sane.fit(zoo, SMALL[Sane], images)
    with pytest.raises(InputError, match="permutations=1"):
        HyperRepresentations.fit(zoo, SMALL[HyperRepresentations], images)
    config = replace(SMALL[Sane], aligned=False, permutations=1)
    (network,) = Sane.fit(zoo, config, images, progress=False).generate(1)
    assert network.keys() == zoo[0].keys()


def test_a_loss_that_is_not_finite_ends_the_training(zoo, some):
    with pytest.raises(InputError, match="not finite at step"):
        PDiff.fit(zoo, replace(SMALL[PDiff], learning_rate=1e30, steps=50), some, progress=False)


def test_parts_are_registered(zoo, some):
    """What is saved is all that is learned: nothing hides outside the state dict."""
    for method, config in SMALL.items():
        fitted = method.fit(zoo, config, some, progress=False)
        assert isinstance(fitted, nn.Module) and not fitted.training
        assert not any(p.requires_grad for p in fitted.parameters())


@pytest.mark.parametrize(("method", "config"), METHODS)
def test_what_is_read_back_writes_in_the_architectures_order(method, config, zoo, some, tmp_path):
    fitted = method.fit(zoo, config, some, progress=False)
    fitted.save_pretrained(tmp_path)
    (network,) = method.from_pretrained(tmp_path).generate(1)
    assert list(network) == list(fitted.generate(1)[0]) == list(zoo[0])


@pytest.mark.parametrize(("method", "config"), METHODS)
def test_a_generator_in_training_mode_writes_the_same_and_stays_as_it_is(method, config, zoo, some):
    fitted = method.fit(zoo, config, some, progress=False)
    held = {name: x.clone() for name, x in fitted.state_dict().items()}
    (expected,) = fitted.generate(1)
    (found,) = fitted.train().generate(1)
    assert fitted.training and all(found[name].equal(x) for name, x in expected.items())
    assert all(x.equal(held[name]) for name, x in fitted.state_dict().items())


def test_networks_of_one_call_share_no_memory(zoo):
    fitted = DeepWeightFlow.fit(zoo, SMALL[DeepWeightFlow], progress=False)
    one, other = fitted.generate(2)
    before = {name: x.clone() for name, x in (fitted.first | other).items()}
    for x in one.values():
        x.fill_(7)
    assert all(x.equal(before[name]) for name, x in other.items())
    assert not any(x.eq(7).all() for name, x in fitted.first.items() if name.endswith(STATISTICS))
    assert other["0.weight"].untyped_storage().nbytes() == other["0.weight"].nbytes
