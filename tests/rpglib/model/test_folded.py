"""The denoiser for sampling: folded layers compute what the layers of training do."""

import pytest
import torch
from denoisers import SMALL, denoiser, inputs, reference

from rpglib.model.folded import folded


@pytest.mark.parametrize("channels", [SMALL, (1, 4, 8, 4, 1), (1, 5, 1), (1, 3, 5, 7, 9, 7, 5, 3, 1)])
@pytest.mark.parametrize("kernel_size", [3, 7])
def test_folding_changes_nothing(channels, kernel_size):
    model = denoiser(40, channels, kernel_size)
    given = inputs(3, 40)
    found = folded(model, kernel="torch")(*given)
    torch.testing.assert_close(found, reference(model, *given), rtol=1e-4, atol=1e-5)


def test_bf16_is_near_fp32():
    model = denoiser(64, SMALL)
    given = inputs(3, 64)
    found = folded(model, torch.bfloat16)(*given)
    expected = reference(model, *given)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < 0.1 * expected.std()
