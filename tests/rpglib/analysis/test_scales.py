"""Free scales: taking them out changes no answer, and networks that differ by nothing else become the same."""

import pytest
import torch
from torch import nn

from rpglib.analysis.scales import without_scales
from rpglib.errors import InputError
from rpglib.zoo.architectures import Architecture


def network(seed=0):
    torch.manual_seed(seed)
    module = Architecture("cnn_digits", 10, 1, 8).build()
    for layer in module:
        if isinstance(layer, nn.BatchNorm2d):
            for x, low, high in ((layer.weight, -2, 2), (layer.bias, -1, 1), (layer.running_mean, -1, 1)):
                nn.init.uniform_(x, low, high)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return module.eval()


def difference(a, b):
    return max(float((a[name] - b[name]).abs().max()) for name in a if not name.endswith("tracked"))


def test_the_function_stays_and_channels_have_norm_one():
    module, images = network(), torch.randn(20, 1, 8, 8)
    before = {name: x.clone() for name, x in module.state_dict().items()}
    found = without_scales(module, module.state_dict())
    assert difference(before, module.state_dict()) == 0 and difference(before, found) > 0.1
    other = network(1)
    other.load_state_dict(found)
    with torch.no_grad():
        torch.testing.assert_close(other(images), module(images), rtol=1e-3, atol=1e-3)
    assert list(found) == list(before)
    for conv, norm in (("0", "1"), ("3", "4"), ("7", "8")):
        torch.testing.assert_close(
            found[f"{norm}.weight"] ** 2 + found[f"{norm}.bias"] ** 2, torch.ones_like(found[f"{norm}.bias"])
        )
        assert found[f"{conv}.weight"].flatten(1).norm(dim=1).sub(1).abs().max() < 1e-5


def test_networks_that_differ_by_scales_alone_become_one():
    module = network()
    scaled = {name: x.clone() for name, x in module.state_dict().items()}
    factor = torch.rand(16) * 3 + 0.2
    scaled["3.weight"] *= factor[:, None, None, None]
    scaled["4.running_mean"] *= factor
    scaled["4.running_var"] *= factor**2
    for name in ("4.weight", "4.bias"):
        scaled[name] *= factor
    scaled["7.weight"] /= factor[:, None, None]
    last = torch.rand(12) * 3 + 0.2
    for name in ("8.weight", "8.bias"):
        scaled[name] *= last
    # Behind Flatten a channel has a place for each of its pixels.
    scaled["12.weight"] = (scaled["12.weight"].unflatten(1, (12, 4)) / last[:, None]).flatten(1)
    assert difference(module.state_dict(), scaled) > 0.5
    assert difference(*(without_scales(module, x) for x in (module.state_dict(), scaled))) < 1e-4


def test_a_channel_without_size_stays():
    module = network()
    dead = {name: x.clone() for name, x in module.state_dict().items()}
    for name in ("0.weight", "1.weight", "1.bias"):
        dead[name][0] = 0
    assert all(x.isfinite().all() for x in without_scales(module, dead).values())


@pytest.mark.parametrize(
    "module",
    [
        Architecture("cnn_s", 10, 3, 32).build(),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)),
        nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.GELU(), nn.Flatten(), nn.Linear(8, 2)),
        Architecture("vit_small_digits", 10, 1, 8).build(),
        nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2, affine=False), nn.Flatten(), nn.Linear(8, 2)),
        nn.Sequential(
            *(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2, track_running_stats=False), nn.Flatten()),
            nn.Linear(8, 2),
        ),
        nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)),
    ],
)
def test_other_networks_are_refused(module):
    with pytest.raises(InputError) as caught:
        without_scales(module, module.state_dict())
    assert "\n" not in str(caught.value)
