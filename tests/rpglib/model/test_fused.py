"""The fused path of `Mamba2` on a CPU: mamba-ssm's own kernels in Triton's interpreter (`make test-fused`).

What runs is what runs on CUDA, from `_installed_kernels` to mamba-ssm's way back. Stand-ins only for what needs a GPU:
the two compiled extensions (of which causal-conv1d's convolution is used), the device's properties, and the choice
among a kernel's block sizes by time. The interpreter has no bf16; fp16 goes the same way.
"""

import contextlib
import importlib.util
import os
import sys
import types

import pytest
import torch
import torch.nn.functional as F

from rpglib.model import mamba2
from rpglib.model.config import RPGConfig
from rpglib.model.mamba2 import Carried, Mamba2, ssd_chunked
from rpglib.model.recurrent import RecurrentModel

HERE = importlib.util.find_spec("mamba_ssm") is not None and os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = pytest.mark.skipif(not HERE, reason="needs mamba-ssm in Triton's interpreter; make test-fused installs it")


def convolution(x, weight, bias, *_, silu):
    """Before silu and after it."""
    before = F.conv1d(padded(x, weight), weight.float()[:, None], bias.float(), groups=len(weight))
    return before, F.silu(before) if silu else before


def padded(x, weight):
    return F.pad(x.float(), (weight.shape[1] - 1, 0))


def convolve(x, weight, bias, positions, before, out, last, silu):
    """What `causal_conv1d_cuda.causal_conv1d_fwd` writes into `out`."""
    assert positions is before is last is None
    out.copy_(convolution(x, weight, bias, silu=silu)[1])


def convolve_back(x, weight, bias, grad, positions, before, to_last, to_x, to_weight, to_bias, to_before, silu):
    """What `causal_conv1d_cuda.causal_conv1d_bwd` writes into `to_x`, `to_weight` and `to_bias`."""
    assert positions is before is to_last is to_before is None
    grad = grad.float()
    if silu:
        grad = torch.ops.aten.silu_backward(grad, convolution(x, weight, bias, silu=silu)[0])
    wide, taps, groups = padded(x, weight), weight.float()[:, None], len(weight)
    to_x.copy_(torch.nn.grad.conv1d_input(wide.shape, taps, grad, groups=groups)[..., weight.shape[1] - 1 :])
    to_weight.copy_(torch.nn.grad.conv1d_weight(wide, taps.shape, grad, groups=groups).squeeze(1))
    to_bias.copy_(grad.sum((0, 2)))


@pytest.fixture(scope="module", autouse=True)
def interpreter():
    if not HERE:
        yield
        return
    from triton.runtime.autotuner import Autotuner

    convolutions = types.ModuleType("causal_conv1d_cuda")
    convolutions.causal_conv1d_fwd, convolutions.causal_conv1d_bwd = convolve, convolve_back
    properties = types.SimpleNamespace(multi_processor_count=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "causal_conv1d_cuda", convolutions)
        patch.setitem(sys.modules, "selective_scan_cuda", types.ModuleType("selective_scan_cuda"))
        patch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
        patch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
        patch.setattr(Autotuner, "prune_configs", lambda tuner, _: tuner.configs[:1])
        assert mamba2._installed_kernels() is not None
        yield
        mamba2._installed_kernels.cache_clear()


@contextlib.contextmanager
def fused():
    """As on CUDA."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("mamba2", "recurrent"):
            patch.setattr(f"rpglib.model.{module}.fused_kernels", lambda _: mamba2._installed_kernels())
        yield


def changed(module, seed=0):
    """Away from the initial values, where D * x hides the state path."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=g))
            if name.endswith("dt_bias"):
                p.add_(2)
    return module


def there_and_back(layer, x, weights, dtype=torch.float32):
    """Output and gradients by name."""
    layer.zero_grad()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.float16, enabled=dtype == torch.float16):
        output = layer(x)
    (output.float() * weights).sum().backward()
    found = {"output": output, "input": x.grad} | {name: p.grad for name, p in layer.named_parameters()}
    return {name: value.detach().float().clone() for name, value in found.items()}


def assert_near(found, expected, share):
    for name, value in expected.items():
        distance = (found[name] - value).norm()
        assert distance <= share * value.norm() + 1e-6, f"{name}: {distance / value.norm():.1e}"


# One token, fewer than the kernel's chunk of 256, and more.
@pytest.mark.parametrize(
    ("n", "length", "dtype"), [(1, 1, "float32"), (2, 19, "float32"), (1, 260, "float32"), (1, 19, "float16")]
)
def test_the_kernels_and_the_chunked_scan_agree_there_and_back(n, length, dtype):
    torch.manual_seed(0)
    layer = changed(Mamba2(16, d_state=8, headdim=16))
    x, weights = torch.randn(2, n, length, 16)
    dtype = getattr(torch, dtype)
    plain = there_and_back(layer, x, weights, dtype)
    with fused():
        assert_near(there_and_back(layer, x, weights, dtype), plain, 1e-4 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("pieces", [(21,), (1, 20), (8, 4, 9)])
def test_states_carried_between_pieces_are_the_kernel_s(pieces):
    """Ours in pieces is the kernel's whole sequence and last state, and the kernel goes on from a state of ours."""
    _, scan = mamba2._installed_kernels()
    g = torch.Generator().manual_seed(0)
    length, heads, width, states = sum(pieces), 2, 16, 16
    x = torch.randn(1, length, heads, width, generator=g)
    dt = torch.rand(1, length, heads, generator=g)
    a = -torch.rand(heads, generator=g) * 3
    b, c = torch.randn(2, 1, length, states, generator=g)

    def kernel(rows=slice(None), **options):
        given = (x[:, rows], dt[:, rows], a, b[:, rows, None], c[:, rows, None])
        return scan(*given, chunk_size=256, return_final_states=True, **options)

    def theirs(state):
        """(N, S, h P) as (N, h, P, S)."""
        return state.unflatten(-1, (heads, width)).permute(0, 2, 3, 1).contiguous()

    whole, last = kernel()
    carried, parts, firsts = Carried(), [], []
    for rows in torch.arange(length).split(pieces):
        firsts.append(carried.state)
        parts.append(
            ssd_chunked(*((x * dt[..., None])[:, rows], (dt * a)[:, rows], b[:, rows], c[:, rows]), carried=carried)
        )
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(theirs(carried.state), last, rtol=1e-4, atol=1e-5)
    if len(pieces) > 1:
        ending, end = kernel(slice(-pieces[-1], None), initial_states=theirs(firsts[-1]))
        torch.testing.assert_close(ending, whole[:, -pieces[-1] :], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(end, last, rtol=1e-4, atol=1e-5)


def test_prototypes_of_a_recurrent_model_are_those_of_the_plain_path():
    torch.manual_seed(0)
    config = RPGConfig(widths=(32, 16), d_state=8, headdim=16, permutation_states=2)
    model = changed(RecurrentModel(torch.randn(10, 32), config))
    state = torch.tensor([0, 1])
    with torch.no_grad():
        plain = model(2, state)
        pieces = torch.cat(
            [model.piece(2, state, None, rows, carried) for carried in [[]] for rows in model.pieces(4)], 1
        )
        with fused():
            assert model.pieces(4) == [slice(0, 10)]
            found = model(2, state)
    for a in (found, pieces):
        torch.testing.assert_close(a, plain, rtol=1e-4, atol=1e-5)
