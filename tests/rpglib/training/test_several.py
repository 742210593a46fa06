"""Training for several architectures: what it follows from, and that every architecture is learned."""

from dataclasses import replace

import pytest
import torch

from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
from rpglib.training.loop import TrainConfig
from rpglib.training.several import new_several, train_several
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import CollectConfig, collect
from rpglib.zoo.images import load_images
from rpglib.zoo.store import Zoo

CONFIG = RPGConfig(token_size=128, widths=(48, 48), d_state=8, headdim=16, channels=(1, 4, 8, 4, 1))
TRAIN = TrainConfig(
    steps=3, batch_size=2, diffusion_batch=16, learning_rate=5e-3, weight_decay=0.0, precision="fp32", ema=0.5
)


@pytest.fixture(scope="module")
def zoos():
    config, digits = CollectConfig(epochs=0, runs=2, checkpoints=1), load_images("digits")
    return [
        collect(Architecture(name, 10, 1, 8), digits, replace(config, seed=k), progress=False)
        for k, name in enumerate(("cnn_digits", "vit_small_digits_1"))
    ]


def of_runs(networks, runs, **options):
    return Zoo.from_checkpoints(networks, runs=runs, accuracies=None, **options)


def trained(zoos, config=TRAIN, threads_seed=0):
    torch.manual_seed(threads_seed)  # of nobody's concern
    model = new_several(zoos, CONFIG, config)
    return model, train_several(model, zoos, config, progress=False)


def test_it_follows_from_zoos_and_recipe_alone(zoos):
    one, result = trained(zoos)
    other, again = trained(zoos, threads_seed=5)
    assert result.losses == again.losses and len(result.losses) == 3
    assert all(x.equal(other.state_dict()[name]) for name, x in one.state_dict().items())
    third, _ = trained(zoos, replace(TRAIN, seed=1))
    assert not third.place[0].weight.equal(one.place[0].weight)
    assert not one.training


def test_both_architectures_are_learned(zoos):
    config = replace(TRAIN, steps=150, ema=0.0)
    model, result = trained(zoos, config)
    assert sum(result.losses[-10:]) < 0.3 * sum(result.losses[:10])
    for zoo, layout in zip(zoos, model.layouts.values(), strict=True):
        wanted = layout.tokens(zoo)
        networks = model.generate(2, layout.name, permutation=[0, 1], steps=4)
        found = layout.tokens(
            [{**zoo[k], **{n: x for n, x in networks[k].items() if x.is_floating_point()}} for k in (0, 1)]
        )
        own, other = ((found - x).square().mean() for x in (wanted, wanted.flip(0)))
        assert own < 0.3 * other


def test_without_diffusion_the_denoiser_stays_as_it_is(zoos):
    model, _ = trained(zoos)
    before = {name: x.clone() for name, x in model.shared.denoiser.state_dict().items()}
    train_several(model, zoos, replace(TRAIN, diffusion=False), progress=False)
    assert all(x.equal(before[name]) for name, x in model.shared.denoiser.named_parameters())
    assert all(p.requires_grad for p in model.parameters())


def test_states_are_those_of_checkpoints_or_of_runs(zoos):
    many = [of_runs([*zoo, *zoo], [0, 1, 0, 1], architecture=zoo.architecture, images="digits") for zoo in zoos]
    assert [*new_several(many, CONFIG, TRAIN).states.values()] == [4, 4]
    assert [*new_several(many, CONFIG, replace(TRAIN, permutation="run")).states.values()] == [2, 2]


def test_what_does_not_fit_is_told(zoos):
    model = new_several(zoos, CONFIG, TRAIN)
    with pytest.raises(InputError, match="give its own"):
        train_several(model, zoos[::-1], TRAIN, progress=False)
    elsewhere = of_runs([*zoos[0]], [0, 1], architecture=zoos[0].architecture, images="other")
    with pytest.raises(InputError, match=r"cnn_digits on other.*give its own"):
        train_several(model, [elsewhere, zoos[1]], TRAIN, progress=False)
    twice = [of_runs([*zoo, *zoo], [0, 1, 0, 1], architecture=zoo.architecture, images="digits") for zoo in zoos]
    with pytest.raises(InputError, match="has 4 permutation states, permutation='run' tells 2 apart"):
        train_several(new_several(twice, CONFIG, TRAIN), twice, replace(TRAIN, permutation="run"), progress=False)
    bare = replace(CONFIG, prototype_skip=False)
    with pytest.raises(InputError, match="prototype_loss needs"):
        train_several(new_several(zoos, bare, TRAIN), zoos, TRAIN, progress=False)
    with pytest.raises(InputError, match="nothing would learn"):
        own = replace(TRAIN, prototype_loss=0.0, diffusion=False)
        train_several(new_several(zoos, bare, own), zoos, own, progress=False)
    with pytest.raises(InputError, match="in fp32"):
        train_several(new_several(zoos, CONFIG, TRAIN).half(), zoos, TRAIN, progress=False)
    with pytest.raises(InputError, match="not finite"):
        train_several(model, zoos, replace(TRAIN, learning_rate=1e30, steps=9), progress=False)
    with pytest.raises(InputError, match="does not know its architecture"):
        new_several([of_runs([*zoos[0]], [0, 1])], CONFIG, TRAIN)
    with pytest.raises(InputError, match="takes a list of zoos"):
        new_several(zoos[0].build(), CONFIG, TRAIN)
