"""ViTDet's backbone: names and shapes of the public release, windows, relative positions, strides of the pyramid."""

import pytest
import torch
from torch.nn import functional as F

from experiments.dense.large import BASE, resized
from experiments.dense.vitdet import Attention, Block, SimpleFeaturePyramid, ViTConfig

SMALL = ViTConfig(size=32, patch=4, width=12, depth=2, heads=2, window=4, every=2, scales=(4.0, 2.0, 1.0, 0.5), out=6)


def test_layers_have_the_names_and_shapes_of_the_release():
    with torch.device("meta"):
        shapes = {
            name: tuple(x.shape)
            for name, x in SimpleFeaturePyramid(ViTConfig(**BASE, scales=(4.0, 2.0, 1.0, 0.5), out=256))
            .state_dict()
            .items()
        }
    # As detectron2's ViTDet on ViT-Base prints them, below "backbone."; its positions are MAE's, before resizing.
    assert shapes["net.patch_embed.proj.weight"] == (768, 3, 16, 16)
    assert shapes["net.blocks.0.attn.qkv.weight"] == (2304, 768)
    assert shapes["net.blocks.0.attn.rel_pos_h"] == (27, 64) and shapes["net.blocks.11.attn.rel_pos_w"] == (127, 64)
    assert [shapes[f"net.blocks.{k}.attn.rel_pos_h"][0] for k in range(12)] == [27, 27, 127] * 4
    assert shapes["net.blocks.5.mlp.fc1.weight"] == (3072, 768)
    assert shapes["simfp_2.0.weight"] == (768, 384, 2, 2) and shapes["simfp_2.3.weight"] == (384, 192, 2, 2)
    assert shapes["simfp_2.1.weight"] == (384,)
    assert shapes["simfp_2.4.weight"] == (256, 192, 1, 1) and shapes["simfp_2.5.norm.weight"] == (256,)
    assert shapes["simfp_3.1.weight"] == (256, 384, 1, 1) and shapes["simfp_4.0.weight"] == (256, 768, 1, 1)
    assert shapes["simfp_5.1.weight"] == (256, 768, 1, 1) and shapes["simfp_5.2.weight"] == (256, 256, 3, 3)
    assert "simfp_4.0.bias" not in shapes


def test_the_pyramid_has_the_strides_that_its_names_say():
    found = SimpleFeaturePyramid(SMALL)(torch.rand(3, 1, 32, 32))
    assert {name: tuple(x.shape) for name, x in found.items()} == {
        "p0": (3, 6, 32, 32),
        "p1": (3, 6, 16, 16),
        "p2": (3, 6, 8, 8),
        "p3": (3, 6, 4, 4),
    }
    assert SMALL.strides == (1, 2, 4, 8)


def test_attention_without_relative_positions_is_plain_attention():
    torch.manual_seed(0)
    attention, x = Attention(12, 2, 4), torch.randn(2, 4, 4, 12)
    q, k, v = attention.qkv(x).view(2, 16, 3, 2, 6).permute(2, 0, 3, 1, 4)
    plain = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 4, 4, 12)
    torch.testing.assert_close(attention(x), attention.proj(plain))


def test_relative_positions_say_how_far_apart_tokens_are():
    """Moving all tokens by one place does not change how two of them attend to each other."""
    torch.manual_seed(0)
    attention = Attention(4, 1, 3)
    torch.nn.init.normal_(attention.rel_pos_h)
    assert attention.apart[0, 0] == attention.apart[2, 2] and attention.apart[1, 0] == attention.apart[2, 1]
    x = torch.randn(1, 3, 3, 4)
    before = attention(x)
    attention.rel_pos_h.data += 1.0  # the same for all keys of a row, which softmax does not see
    torch.testing.assert_close(attention(x), before)
    attention.rel_pos_h.data[0] += 1.0
    assert not torch.allclose(attention(x), before)


@pytest.mark.parametrize("side", [8, 6])
def test_windows_see_themselves_alone(side):
    """What is changed in one window changes nothing elsewhere; without windows it does."""
    torch.manual_seed(0)
    config = ViTConfig(size=4 * side, patch=4, width=12, heads=2)
    x = torch.randn(1, side, side, 12)
    other = x.clone()
    other[:, 0, 0] = torch.randn(12)
    for window, everywhere in ((4, False), (0, True)):
        block = Block(config, window)
        changed = (block(x) - block(other)).abs().sum(-1)[0] > 1e-6
        assert changed[:4, :4].all() and bool(changed[4:, 4:].any()) == everywhere


def test_positions_are_resized_as_pictures_are():
    positions = torch.arange(17.0)[None, :, None]
    assert torch.equal(resized(positions, 17, class_token=True), positions)
    assert torch.equal(resized(positions, 16, class_token=False), positions[:, 1:])
    assert resized(positions, 64, class_token=False).shape == (1, 64, 1)
    flat = torch.ones(1, 17, 3)
    torch.testing.assert_close(resized(flat, 65, class_token=True), torch.ones(1, 65, 3))
