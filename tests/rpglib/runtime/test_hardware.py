"""Devices are told by name and, where they cannot be used, in one line; another default type changes no network."""

import pytest
import torch

from rpglib import RPG, ParameterTokenizer, RPGConfig, TrainConfig, train
from rpglib.errors import InputError
from rpglib.runtime import hardware
from rpglib.runtime.hardware import pick
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
    tokenizer = ParameterTokenizer.fit(zoo, 64)
    torch.manual_seed(0)
    model = RPG(RPGConfig(token_size=64, widths=(32,), d_state=8, headdim=16, channels=(1, 4, 1)), tokenizer)
    train(model, zoo, TrainConfig(steps=2, batch_size=2, precision="fp32"), device="cpu", progress=False)
    tokens = torch.stack([tokenizer.encode(zoo[0])[0][:3], tokenizer.encode_rows(zoo[0], torch.arange(3))])
    written = [digest(network) for network in model.generate(3, steps=2)]
    return [*map(digest, ({"x": images.train.images}, zoo[1], {"x": tokens}, model.state_dict())), *written]


@pytest.fixture(scope="module")
def expected():
    return whole_way()


def test_another_default_type_changes_nothing(expected, other_type):
    assert whole_way() == expected
    assert torch.get_default_dtype() == other_type


@pytest.mark.parametrize(
    ("flag", "share", "expected"), [(True, 0.25, True), (True, 1.9, False), (True, 0.9, False), (False, 0.25, False)]
)
def test_bf16_is_for_processors_that_say_so_and_gain_by_it(monkeypatch, flag, share, expected):
    """Some have the instructions, and are slower with them."""
    clock, types = [0.0], []

    def product(self, other):
        types.append(self.dtype)
        clock[0] += share if self.dtype == torch.bfloat16 else 1.0
        return self

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": flag}, raising=False)
    monkeypatch.setattr(hardware.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    hardware._gains_by_bf16.cache_clear()
    assert hardware.has_bf16(torch.device("cpu")) is expected
    measured = len(types)
    assert hardware.uses_bf16("auto", torch.device("cpu")) is expected
    assert hardware.uses_bf16("bf16", torch.device("cpu")) and not hardware.uses_bf16("fp32", torch.device("cpu"))
    assert len(types) == measured == (10 if flag else 0), "measured once"
    hardware._gains_by_bf16.cache_clear()
