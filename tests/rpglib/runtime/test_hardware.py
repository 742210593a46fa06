"""Devices are told by name and, where they cannot be used, in one line; another default type changes no network."""

import pytest
import torch

from rpglib import RPG, ParameterTokenizer, RPGConfig, TrainConfig, train
from rpglib.errors import InputError
from rpglib.runtime.hardware import fp32, pick
from rpglib.runtime.state_dicts import digest
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import CollectConfig, collect
from rpglib.zoo.images import Images, Split, load_images

ARCHITECTURE = Architecture("cnn_digits", channels=1, image_size=8)


def test_pick():
    assert pick("cpu") == pick(torch.device("cpu")) == torch.device("cpu")
    assert pick("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    "device", ["nonsense", "", "cuda:x", "cuda:999", "cpu:", "privateuseone", None, 3.5, [], "a\nb"]
)
def test_a_device_that_is_none_here(device):
    with pytest.raises(InputError, match="cannot be used here") as caught:
        pick(device)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_absent():
    with pytest.raises(InputError, match="device 'cuda' cannot be used here"):
        pick("cuda")


@pytest.fixture(params=[torch.float64, torch.float16], ids=str)
def other_type(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


def whole_way():
    """Images, checkpoints, a generator and a network, each by its digest."""
    digits = load_images("digits")
    few = Split(digits.train.images[:64], digits.train.labels[:64])
    images = Images("digits", "digits", few, few, few, digits.class_names)
    config = CollectConfig(epochs=1, batch_size=32, finetune_batch_size=32, checkpoints=2)
    zoo = collect(ARCHITECTURE, images, config, progress=False)
    with fp32():
        tokenizer = ParameterTokenizer.fit(zoo, 64)
    torch.manual_seed(0)
    model = RPG(RPGConfig(token_size=64, widths=(32,), d_state=8, headdim=16, channels=(1, 4, 1)), tokenizer)
    train(model, zoo, TrainConfig(steps=2, batch_size=2, precision="fp32"), device="cpu", progress=False)
    return [digest({"x": images.train.images}), digest(zoo[1]), digest(model.state_dict()), digest(model.generate()[0])]


@pytest.fixture(scope="module")
def expected():
    return whole_way()


def test_another_default_type_changes_nothing(expected, other_type):
    assert whole_way() == expected
    assert torch.get_default_dtype() == other_type
