"""The chunked scan against the plain recurrence in float64, and the layer against its definition."""

import math

import pytest
import torch

from rpglib.errors import InputError
from rpglib.model import mamba2
from rpglib.model.mamba2 import Carried, Mamba2, _CausalConvolution, ssd_chunked


def ssd_recurrent(x, decay, b, c):
    """The definition, token after token."""
    state = x.new_zeros(x.shape[0], *x.shape[2:], b.shape[-1])
    outputs = []
    for t in range(x.shape[1]):
        state = state * decay[:, t, :, None, None].exp() + x[:, t, ..., None] * b[:, t, None, None, :]
        outputs.append((state * c[:, t, None, None, :]).sum(-1))
    return torch.stack(outputs, 1)


def inputs(length, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(2, length, 3, 4, generator=g, dtype=dtype)
    # Decays from almost none to almost all, so that a wrong carry between chunks shows.
    decay = -torch.rand(2, length, 3, generator=g, dtype=dtype).pow(4) * 3
    b, c = (torch.randn(2, length, 5, generator=g, dtype=dtype) for _ in range(2))
    return x, decay, b, c


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 31, 64, 65])
@pytest.mark.parametrize("chunk", [1, 4, 8, 64])
def test_chunked_scan_is_the_recurrence(length, chunk):
    x = inputs(length)
    assert torch.allclose(ssd_chunked(*x, chunk=chunk), ssd_recurrent(*x), atol=1e-10)


def test_chunked_scan_in_single_precision():
    x = inputs(700)
    single = ssd_chunked(*(a.float() for a in x))
    assert torch.allclose(single.double(), ssd_recurrent(*x), rtol=1e-4, atol=1e-4)


def test_gradients_of_the_two_scans_agree():
    grads = []
    for scan in (ssd_recurrent, lambda *a: ssd_chunked(*a, chunk=4)):
        x = [a.requires_grad_() for a in inputs(13)]
        scan(*x).square().sum().backward()
        grads.append([a.grad for a in x])
    for a, b in zip(*grads, strict=True):
        assert torch.allclose(a, b, atol=1e-8)


@pytest.mark.parametrize("inside", [ssd_chunked, lambda x, *_: _CausalConvolution.apply(x.flatten(2), W, W[:, 0])])
def test_autocast_around_a_function_changes_none_of_its_gradients(inside):
    """Neither when all runs under autocast nor when only the way back does."""

    def way(forward, back):
        x = [a.requires_grad_() for a in inputs(13, dtype=torch.float32)]
        with torch.autocast("cpu", torch.bfloat16, enabled=forward):
            loss = inside(*x).square().sum()
        with torch.autocast("cpu", torch.bfloat16, enabled=back):
            return torch.autograd.grad(loss, x, allow_unused=True)

    exact = way(False, False)
    for found in (way(True, False), way(True, True), way(False, True)):
        assert all(torch.equal(a, b) for a, b in zip(exact, found, strict=True) if b is not None)


W = torch.linspace(-1, 1, 48).view(12, 4)


def test_strong_decay_over_long_sequences_stays_finite():
    x, decay, b, c = inputs(300, dtype=torch.float32)
    x.requires_grad_()
    decay = (decay * 1000).requires_grad_()
    ssd_chunked(x, decay, b, c).sum().backward()
    assert torch.isfinite(x.grad).all() and torch.isfinite(decay.grad).all()


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 9])
def test_the_convolution_is_causal_and_has_the_gradients_of_its_differences(length):
    """Sequences shorter than the four taps, as long, and longer."""
    g = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*s, generator=g, dtype=torch.float64) for s in ((2, length, 3), (3, 4), (3,)))
    padded = torch.nn.functional.pad(x.transpose(1, 2), (3, 0))
    expected = torch.nn.functional.silu(torch.nn.functional.conv1d(padded, weight[:, None], bias, groups=3))
    torch.testing.assert_close(mamba2._CausalConvolution.apply(x, weight, bias), expected.transpose(1, 2))
    given = [a.requires_grad_() for a in (x, weight, bias)]
    assert torch.autograd.gradcheck(mamba2._CausalConvolution.apply, given)


def test_decays_and_step_sizes_start_spread_as_those_of_mamba_ssm():
    """A is uniform between 1 and 16, the step size between 0.001 and 0.1 in its logarithm."""
    torch.manual_seed(0)
    layer = Mamba2(8, expand=500, headdim=2)
    a = layer.A_log.detach().double().exp()
    step = torch.nn.functional.softplus(layer.dt_bias.detach().double()).log() / math.log(10)
    for found, low, high in ((a, 1, 16), (step, -3, -1)):
        assert low - 1e-4 <= found.min() and found.max() <= high + 1e-4
        quantiles = (found.quantile(torch.arange(1, 10, dtype=torch.float64) / 10) - low) / (high - low)
        torch.testing.assert_close(quantiles, torch.arange(1, 10, dtype=torch.float64) / 10, atol=0.05, rtol=0)


def changed(layer, seed=0):
    """Away from the initial values, where D * x hides the state path."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=g))
        layer.dt_bias.add_(2)
    return layer


def test_layer_is_causal():
    layer = changed(Mamba2(16, d_state=8, headdim=8))
    a = torch.randn(1, 100, 16)
    b = a.clone()
    b[:, 70:] += 1
    with torch.no_grad():
        first, second = layer(a), layer(b)
    assert torch.allclose(first[:, :70], second[:, :70], atol=1e-5)
    assert not torch.allclose(first[:, 70:], second[:, 70:], atol=1e-2)


def test_layer_carries_information_over_many_chunks():
    layer = changed(Mamba2(16, d_state=8, headdim=8))
    with torch.no_grad():
        layer.dt_bias.fill_(-6)  # slow decay
        a = torch.randn(1, 200, 16)
        b = a.clone()
        b[:, 0] += 5
        assert (layer(a)[:, -1] - layer(b)[:, -1]).abs().max() > 1e-6


def test_parameter_names_are_those_of_mamba_ssm():
    shapes = {k: tuple(v.shape) for k, v in Mamba2(64, d_state=16, headdim=64).state_dict().items()}
    assert shapes == {
        "dt_bias": (2,),
        "A_log": (2,),
        "D": (2,),
        "in_proj.weight": (290, 64),
        "conv1d.weight": (160, 1, 4),
        "conv1d.bias": (160,),
        "norm.weight": (128,),
        "out_proj.weight": (64, 128),
    }


def test_agrees_with_transformers():
    configuration = pytest.importorskip("transformers.models.mamba2.configuration_mamba2")
    mixer = pytest.importorskip("transformers.models.mamba2.modeling_mamba2").Mamba2Mixer
    config = configuration.Mamba2Config(
        hidden_size=32,
        expand=2,
        head_dim=16,
        num_heads=4,
        state_size=8,
        n_groups=1,
        conv_kernel=4,
        chunk_size=16,
        use_bias=False,
        use_conv_bias=True,
        layer_norm_epsilon=1e-5,
        time_step_limit=(0.0, float("inf")),
    )
    theirs = mixer(config, layer_idx=0).eval()
    ours = changed(Mamba2(32, d_state=8, headdim=16))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 40, 32)
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(x), atol=1e-4)


def test_the_fused_kernels_are_called_as_mamba_ssm_calls_them(monkeypatch):
    """Stand-ins that compute by definition what the kernels promise."""

    def convolve(x, weight, bias, activation):
        assert activation == "silu"
        padded = torch.nn.functional.pad(x, (weight.shape[1] - 1, 0))
        return torch.nn.functional.silu(torch.nn.functional.conv1d(padded, weight[:, None], bias, groups=len(weight)))

    def scan(x, dt, a, b, c, *, chunk_size, D, dt_bias, dt_softplus):
        assert dt_softplus and chunk_size > 0 and b.shape[2] == c.shape[2] == 1
        dt = torch.nn.functional.softplus(dt + dt_bias)
        return ssd_recurrent(x * dt[..., None], dt * a, b.squeeze(2), c.squeeze(2)) + x * D[:, None]

    torch.manual_seed(0)
    layer, u = changed(Mamba2(16, d_state=8, headdim=8)), torch.randn(2, 9, 16)
    with torch.no_grad():
        plain = layer(u)
        monkeypatch.setattr(mamba2, "fused_kernels", lambda device: (convolve, scan))
        torch.testing.assert_close(layer(u), plain, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(
    not torch.cuda.is_available() or mamba2.fused_kernels(torch.device("cuda")) is None,
    reason="needs CUDA, mamba_ssm and causal_conv1d",
)
@pytest.mark.parametrize(("width", "d_state", "length"), [(64, 16, 300), (256, 128, 700)])
def test_fused_kernel_agrees_with_the_chunked_scan_there_and_back(width, d_state, length):
    layer = changed(Mamba2(width, d_state=d_state))
    x, weights = torch.randn(2, length, width), torch.randn(2, length, width)

    def there_and_back(device):
        layer.to(device).zero_grad()
        given = x.to(device).requires_grad_()
        output = layer(given)
        (output * weights.to(device)).sum().backward()
        return [output, given.grad, *(p.grad for p in layer.parameters())]

    plain = [a.detach().cpu().clone() for a in there_and_back("cpu")]
    for a, b in zip(there_and_back("cuda"), plain, strict=True):
        # The kernel multiplies in TF32.
        assert (a.detach().cpu() - b).norm() < 5e-3 * b.norm()


def test_width_that_heads_cannot_carry():
    with pytest.raises(InputError, match="not a multiple of headdim"):
        Mamba2(24, headdim=64)


@pytest.mark.parametrize("pieces", [(200,), (1, 199), (64, 64, 72), (3, 1, 196)])
def test_a_sequence_may_come_in_pieces(pieces):
    torch.manual_seed(0)
    layer = Mamba2(32, d_state=8, headdim=16)
    u = torch.randn(2, 200, 32)
    carried = Carried()
    found = torch.cat([layer(part, carried=carried) for part in u.split(pieces, 1)], 1)
    torch.testing.assert_close(found, layer(u), rtol=1e-4, atol=1e-5)
