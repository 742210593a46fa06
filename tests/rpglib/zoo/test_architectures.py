"""Target networks: their published sizes, `vmap`, timm by name, and errors."""

import copy

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from rpglib.errors import InputError
from rpglib.zoo.architectures import SMALL, Architecture, CentreCrop

SIZES = {
    "vit_small_digits_1": (1, 8, 5_674),
    "vit_small_digits_3": (1, 8, 15_418),
    "vit_small_digits_4": (1, 8, 20_290),
    "vit_small_digits": (1, 8, 10_546),
    "cnn_digits": (1, 8, 3_514),
    "cnn_digits_wide": (1, 8, 12_778),
    "cnn_s": (3, 32, 2_864),
    "cnn_m": (3, 32, 10_853),
}


@pytest.mark.parametrize("name", SIZES)
def test_small_networks_have_their_size_and_run_side_by_side(name):
    channels, size, parameters = SIZES[name]
    architecture = Architecture(name, 10, channels, size)
    networks = [architecture.build().eval() for _ in range(3)]
    assert sum(parameter.numel() for parameter in networks[0].parameters()) == parameters
    images = torch.randn(4, channels, size, size, generator=torch.Generator().manual_seed(0))
    state, buffers = stack_module_state(networks)
    together = vmap(lambda *state: functional_call(networks[0], state, images))(state, buffers)
    alone = torch.stack([network(images) for network in networks])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_all_small_networks_are_tested():
    assert SIZES.keys() == SMALL.keys()


def test_the_small_vit_is_timms_vit():
    from timm.models.vision_transformer import VisionTransformer

    ours = Architecture("vit_small_digits", 10, 1, 8).build()
    timms = VisionTransformer(
        img_size=8, patch_size=2, in_chans=1, num_classes=10, embed_dim=24, depth=2, num_heads=3, mlp_ratio=2,
        class_token=False, global_pool="avg", fc_norm=False,
    )  # fmt: skip
    renamed = {name.replace("patch_embed.", "patch_embed.proj."): tensor for name, tensor in ours.state_dict().items()}
    renamed["patch_embed.proj.weight"] = renamed["patch_embed.proj.weight"].view(24, 1, 2, 2)
    # timm's LayerNorm adds 1e-6 to the variance, torch's default is 1e-5.
    timms.load_state_dict(renamed)
    for module in timms.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(images), timms(images), rtol=1e-4, atol=1e-5)


def test_the_crop_keeps_the_centre():
    images = torch.arange(36.0).view(1, 1, 6, 6)
    assert CentreCrop(2)(images).flatten().tolist() == [14, 15, 20, 21]


@pytest.mark.parametrize("name", ["resnet10t", "test_vit"])
def test_any_timm_model_by_name(name):
    network = Architecture(name, num_classes=7, channels=1, image_size=64).build().eval()
    assert network(torch.zeros(1, 1, 64, 64)).shape == (1, 7)


@pytest.mark.parametrize("name", ["resnet10t", "test_vit"])
def test_a_network_that_resizes_is_timms_network_on_larger_images(name):
    ours = Architecture(name, 7, 1, 32, resize=64).build().eval()
    timms = Architecture(name, 7, 1, 64).build().eval()
    timms.load_state_dict(ours.state_dict())
    images = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    larger = torch.nn.functional.interpolate(images, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(ours(images), timms(larger))
    torch.testing.assert_close(copy.deepcopy(ours)(images), timms(larger))


def test_a_small_network_does_not_resize():
    with pytest.raises(InputError, match="cnn_m does not resize"):
        Architecture("cnn_m", 10, 3, 32, resize=64).build()


def test_weights_that_timm_cannot_get_are_told(monkeypatch):
    import timm

    def offline(name, img_size=None, **_):
        if img_size:
            raise TypeError("unexpected img_size")
        raise OSError("no route to the hub")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError, match="no pretrained weights of resnet18 at hand"):
        Architecture("resnet18").pretrained()


def test_an_unknown_name_lists_ours_and_points_to_timm():
    with pytest.raises(InputError, match=r"'vit_tyni'.*vit_small_digits.*any timm model"):
        Architecture("vit_tyni").build()


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_absent_weights_are_one_line_that_says_what_to_put_where(name, monkeypatch):
    """With and without the argument img_size, which timm's convolutional networks refuse."""
    import timm

    real = timm.create_model

    def offline(*arguments, pretrained, **options):
        real(*arguments, pretrained=False, **options)
        raise OSError("no network\nand no cache")

    monkeypatch.setattr(timm, "create_model", offline)
    line = rf"no pretrained weights of {name} at hand \(no network\).* timm/{name}.*HF_HOME"
    with pytest.raises(InputError, match=line) as caught:
        Architecture(name, 1000, 3, 224).pretrained()
    assert "\n" not in str(caught.value)


def test_a_description_comes_back():
    architecture = Architecture("cnn_m", 2, 1, 32)
    assert Architecture.from_dict(architecture.to_dict()) == architecture
    with pytest.raises(InputError, match="not the description"):
        Architecture.from_dict({"title": "cnn_m"})
