"""Mamba-2 layer with the parameter names of `mamba_ssm`: one class, a pure PyTorch scan and the fused CUDA kernel.

Source: Dao and Gu, "Transformers are SSMs" (arXiv 2405.21060), section 6 (the chunked algorithm) and figure 6.
Shapes: N sequences, L tokens, H model width, I inner width (expand x H), h heads of P values, S state size.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpglib.errors import InputError


@dataclass
class Carried:
    """What a causal layer hands on from one piece of a sequence to the next; empty before the first."""

    state: Tensor | tuple[Tensor, ...] | None = None
    inputs: Tensor | None = None


def ssd_chunked(
    x: Tensor, decay: Tensor, b: Tensor, c: Tensor, chunk: int = 64, carried: Carried | None = None
) -> Tensor:
    """The scan: state = exp(decay) * state + x b^T, output = state c, token after token.

    x (N, L, h, P), decay (N, L, h) logarithmic, never positive, b and c (N, L, S) of all heads. Returns (N, L, h, P).
    Computed by products within chunks of tokens and a short recurrence between them. With `carried` the sequence goes
    on from there, and its state at the end is left there. Time and memory are linear in L: within a chunk the cost is
    chunk^2, the carried state is (N, h, S, P).
    """
    n, length, heads, width = x.shape
    count = -(-length // chunk)
    chunk = -(-length // count)
    if pad := count * chunk - length:
        # A padded token adds nothing to the state and comes last, so it changes no real output.
        x, decay, b, c = (F.pad(a, [0, 0] * (a.dim() - 2) + [0, pad]) for a in (x, decay, b, c))
    x = x.reshape(n, count, chunk, heads, width)
    b, c = (a.reshape(n, count, chunk, -1) for a in (b, c))
    total = decay.reshape(n, count, chunk, heads).cumsum(2)
    output = _WithinChunks.apply(x, total, b, c)
    if count > 1 or carried is not None:
        # What each chunk leaves at its end, carried on through the later chunks: (N, h, S, P) as one matrix (S, h P).
        to_end = (total[:, :, -1:] - total).exp()
        left = b.transpose(-1, -2) @ (x * to_end[..., None]).flatten(-2)
        kept = total[:, :, -1].exp().repeat_interleave(width, -1)[:, :, None]
        goes_on = carried is not None and carried.state is not None
        states = [carried.state if goes_on else torch.zeros_like(left[:, 0])]
        for survives, added in zip(kept.unbind(1), left.unbind(1), strict=True):
            states.append(states[-1] * survives + added)
        last = states.pop()
        if carried is not None:
            carried.state = last
        received = (c @ torch.stack(states, 1)).unflatten(-1, (heads, width))
        output = output + received * total.exp()[..., None]
    return output.reshape(n, count * chunk, heads, width)[:, :length]


def _without_autocast(function: Callable) -> Callable:
    """A static method of an autograd function that computes in its tensors' own type, whatever is around it.

    Autocast would compute the products of either way in another type; `torch.amp.custom_fwd` must know the device.
    """

    @functools.wraps(function)
    def alone(ctx, *tensors: Tensor):
        with torch.autocast(tensors[0].device.type, enabled=False):
            return function(ctx, *tensors)

    return alone


class _WithinChunks(torch.autograd.Function):
    """Token i receives from j <= i of its chunk, with the decay accumulated over (j, i]; states before it are zero.

    x (N, k, C, h, P), total (N, k, C, h) the decay summed from the chunk's start, b and c (N, k, C, S) -> as x, for k
    chunks of C tokens. Its own way back, because the arrays (N, k, h, C, C) are what a scan spends its time on:
    autograd would keep five of them and pass over each, here one is kept.
    """

    @staticmethod
    @_without_autocast
    def forward(ctx, x, total, b, c):
        x, total = x.transpose(2, 3).contiguous(), total.transpose(2, 3)
        # Above the diagonal, where exp may overflow, anything finite does: the product there is zero.
        survives = (total[..., :, None] - total[..., None, :]).clamp_(max=0).exp_()
        product = (c @ b.transpose(-1, -2)).tril_()[:, :, None]
        output = (survives * product) @ x
        ctx.save_for_backward(x, survives, b, c, output)
        return output.transpose(2, 3)

    @staticmethod
    @_without_autocast
    def backward(ctx, grad):
        x, survives, b, c, output = ctx.saved_tensors
        grad = grad.transpose(2, 3).contiguous()
        product = (c @ b.transpose(-1, -2)).tril_()[:, :, None]
        to_x = (survives * product).transpose(-1, -2) @ grad
        to_product = (grad @ x.transpose(-1, -2)).mul_(survives).sum(2).tril_()
        # Raising a token's total strengthens what it receives and weakens what it gives: sums over its row and its
        # column of the weights times their gradients, and these sums are products with what was received and given.
        to_total = ((grad * output).sum(-1) - (to_x * x).sum(-1)).transpose(2, 3)
        return to_x.transpose(2, 3), to_total, to_product.transpose(-1, -2) @ c, to_product @ b


class _CausalConvolution(torch.autograd.Function):
    """silu of the causal depthwise convolution of x (N, L, C) with weight (C, d_conv) and bias (C), zeros before x.

    One pass per tap over x as it lies: `conv1d` wants the channels before the tokens, and pays for turning them.
    """

    @staticmethod
    @_without_autocast
    def forward(ctx, x, weight, bias):
        mixed = torch.addcmul(bias, x, weight[:, -1])
        for shift, tap in enumerate(weight.T.flip(0)[1 : x.shape[1]], 1):
            mixed[:, shift:].addcmul_(x[:, :-shift], tap)
        ctx.save_for_backward(x, weight, mixed)
        return F.silu(mixed)

    @staticmethod
    @_without_autocast
    def backward(ctx, grad):
        x, weight, mixed = ctx.saved_tensors
        grad = torch.ops.aten.silu_backward(grad, mixed)
        to_x, to_weight = grad * weight[:, -1], torch.zeros_like(weight)
        to_weight[:, -1] = (grad * x).sum((0, 1))
        for shift, tap in enumerate(weight.T.flip(0)[1 : x.shape[1]], 1):
            to_x[:, :-shift].addcmul_(grad[:, shift:], tap)
            to_weight[:, -1 - shift] = (grad[:, shift:] * x[:, :-shift]).sum((0, 1))
        return to_x, to_weight, grad.sum((0, 1))


class Mamba2(nn.Module):
    """One Mamba-2 layer, (N, L, H) -> (N, L, `out_width`), causal in L.

    Parameter names, shapes and initialisation are those of `mamba_ssm.modules.mamba2.Mamba2` (one group, gated
    RMSNorm), so state dicts move between the two. On a CUDA device with `mamba_ssm` and `causal_conv1d` installed the
    fused kernel computes the scan; otherwise `ssd_chunked` does. `out_width` (default H) is a deviation: the large
    preset has layers of two widths.
    Raises `InputError` where the inner width is not a multiple of `headdim`.
    """

    def __init__(
        self,
        width: int,
        d_state: int = 128,
        d_conv: int = 4,
        expand: int = 2,
        headdim: int = 64,
        out_width: int | None = None,
    ):
        super().__init__()
        inner = expand * width
        if inner % headdim:
            raise InputError(
                f"width {width} x expand {expand} is not a multiple of headdim {headdim}; change the width"
            )
        self.inner, self.d_state, self.headdim, self.heads = inner, d_state, headdim, inner // headdim
        self.in_proj = nn.Linear(width, 2 * inner + 2 * d_state + self.heads, bias=False)
        mixed = inner + 2 * d_state
        self.conv1d = nn.Conv1d(mixed, mixed, d_conv, groups=mixed, padding=d_conv - 1)
        # Step sizes start log-uniform in [1e-3, 1e-1]; dt_bias is the inverse softplus of them.
        dt = torch.exp(torch.rand(self.heads) * math.log(1e-1 / 1e-3) + math.log(1e-3)).clamp(min=1e-4)
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))
        self.A_log = nn.Parameter(torch.log(1 + 15 * torch.rand(self.heads)))
        self.D = nn.Parameter(torch.ones(self.heads))
        self.norm = GatedRMSNorm(inner)
        self.out_proj = nn.Linear(inner, out_width or width, bias=False)

    def forward(self, *parts: Tensor, carried: Carried | None = None) -> Tensor:
        """The layer's output for the sum of `parts`, each of which broadcasts to (N, L, H).

        With `carried` the tokens go on from those of an earlier call (`ssd_chunked`; the fused kernel does not).

        The first map is linear and is applied to each part in its own shape: a position (1, L, H) and a state (N, 1, H)
        cost L + N rows instead of N x L.
        """
        projected = sum(self.in_proj(part) for part in parts)
        z, xbc, dt = projected.split([self.inner, self.inner + 2 * self.d_state, self.heads], -1)
        if (fused := fused_kernels(projected.device)) is not None:
            return self._forward_fused(z, xbc, dt, *fused)
        # Convolution and scan run in fp32: exponents of sums over L lose too much in bf16.
        with torch.autocast(projected.device.type, enabled=False):
            weight, bias = self.conv1d.weight.float().squeeze(1), self.conv1d.bias.float()
            xbc, known = xbc.float(), 0
            if carried is not None:
                if carried.inputs is not None:
                    known = carried.inputs.shape[1]
                    xbc = torch.cat((carried.inputs, xbc), 1)
                carried.inputs = xbc[:, max(0, xbc.shape[1] - weight.shape[1] + 1) :]
            xbc = _CausalConvolution.apply(xbc, weight, bias)[:, known:]
            x, b, c = xbc.split([self.inner, self.d_state, self.d_state], -1)
            x = x.unflatten(-1, (self.heads, self.headdim))
            dt = F.softplus(dt.float() + self.dt_bias.float())
            y = ssd_chunked(x * dt[..., None], -dt * self.A_log.float().exp(), b, c, carried=carried)
            y = torch.addcmul(y, x, self.D.float()[:, None]).flatten(-2)
        return self.out_proj(self.norm(y.to(z.dtype), z))

    def _forward_fused(self, z, xbc, dt, causal_conv1d_fn, chunk_scan):
        # Made contiguous: the kernel's channel-last form wants strides that are multiples of eight.
        xbc = causal_conv1d_fn(
            xbc.transpose(1, 2).contiguous(), self.conv1d.weight.squeeze(1), self.conv1d.bias, activation="silu"
        ).transpose(1, 2)
        x, b, c = xbc.split([self.inner, self.d_state, self.d_state], -1)
        y = chunk_scan(
            x.unflatten(-1, (self.heads, self.headdim)),
            dt,
            -self.A_log.float().exp(),
            b.unsqueeze(2),
            c.unsqueeze(2),
            chunk_size=256,
            D=self.D,
            dt_bias=self.dt_bias,
            dt_softplus=True,
        )
        return self.out_proj(self.norm(y.flatten(-2), z))


class GatedRMSNorm(nn.Module):
    """RMSNorm of x * silu(z), as in `mamba_ssm` with `norm_before_gate=False`; eps 1e-5, statistics in fp32."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        gated = x.float() * F.silu(z.float())
        return (gated * torch.rsqrt(gated.square().mean(-1, keepdim=True) + 1e-5) * self.weight.float()).to(z.dtype)


def fused_kernels(device: torch.device):
    """The fused convolution and scan, or None where they are not installed or the device cannot run them."""
    return _installed_kernels() if device.type == "cuda" else None


@functools.cache
def _installed_kernels():
    try:
        from causal_conv1d import causal_conv1d_fn
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
    except ImportError:
        return None
    return causal_conv1d_fn, mamba_chunk_scan_combined
