"""Mamba-2 layer with the parameter names of `mamba_ssm`: one class, a pure PyTorch scan and the fused CUDA kernel.

Source: Dao and Gu, "Transformers are SSMs" (arXiv 2405.21060), section 6 (the chunked algorithm) and figure 6.
Shapes: N sequences, L tokens, H model width, I inner width (expand x H), h heads of P values, S state size.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpglib.errors import InputError


def ssd_recurrent(x: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The plain recurrence: state = exp(decay) * state + x b^T, output = state c. The definition that tests compare to.

    x (N, L, h, P), decay (N, L, h) logarithmic, b and c (N, L, S), shared by all heads. Returns (N, L, h, P).
    """
    state = x.new_zeros(x.shape[0], *x.shape[2:], b.shape[-1])
    outputs = []
    for t in range(x.shape[1]):
        state = state * decay[:, t, :, None, None].exp() + x[:, t, ..., None] * b[:, t, None, None, :]
        outputs.append((state * c[:, t, None, None, :]).sum(-1))
    return torch.stack(outputs, 1)


def ssd_chunked(x: Tensor, decay: Tensor, b: Tensor, c: Tensor, chunk: int = 64) -> Tensor:
    """The same map as `ssd_recurrent`, by products within chunks of tokens and a short recurrence between them.

    Time and memory are linear in L: within a chunk the cost is chunk^2, the carried state is (N, h, P, S).
    """
    n, length, heads, width = x.shape
    chunk = min(chunk, length)
    count = -(-length // chunk)
    if pad := count * chunk - length:
        # A padded token adds nothing to the state and comes last, so it changes no real output.
        x, decay, b, c = (F.pad(a, [0, 0] * (a.dim() - 2) + [0, pad]) for a in (x, decay, b, c))
    x = x.view(n, count, chunk, heads, width)
    b, c = (a.view(n, count, chunk, -1) for a in (b, c))
    total = decay.view(n, count, chunk, heads).permute(0, 1, 3, 2).cumsum(-1)  # (N, count, h, chunk)

    # Within a chunk: token i receives from j <= i with the decay accumulated over (j, i].
    segment = total[..., :, None] - total[..., None, :]
    causal = torch.ones(chunk, chunk, dtype=torch.bool, device=x.device).tril()
    # Masked before exp: above the diagonal the exponent is positive and may overflow.
    kernel = segment.masked_fill(~causal, -math.inf).exp() * (c @ b.transpose(-1, -2))[:, :, None]
    output = torch.einsum("nkhij,nkjhp->nkihp", kernel, x)
    if count > 1:
        # What each chunk leaves at its end, carried on through the later chunks.
        to_end = (total[..., -1:] - total).exp()
        left = torch.einsum("nkjs,nkhj,nkjhp->nkhps", b, to_end, x)
        state, states = torch.zeros_like(left[:, 0]), []
        for k in range(count):
            states.append(state)
            state = state * total[:, k, :, -1, None, None].exp() + left[:, k]
        output = output + torch.einsum("nkis,nkhi,nkhps->nkihp", c, total.exp(), torch.stack(states, 1))
    return output.reshape(n, count * chunk, heads, width)[:, :length]


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

    def forward(self, u: Tensor) -> Tensor:
        z, xbc, dt = self.in_proj(u).split([self.inner, self.inner + 2 * self.d_state, self.heads], -1)
        fused = _fused_kernels() if u.is_cuda else None
        if fused is not None:
            return self._forward_fused(z, xbc, dt, *fused)
        # Causal depthwise convolution: padded on both sides by d_conv - 1, cut to the first L.
        xbc = F.silu(self.conv1d(xbc.transpose(1, 2))[..., : u.shape[1]].transpose(1, 2))
        x, b, c = xbc.split([self.inner, self.d_state, self.d_state], -1)
        # The scan runs in fp32: exponents of sums over L lose too much in bf16.
        with torch.autocast(u.device.type, enabled=False):
            x = x.float().unflatten(-1, (self.heads, self.headdim))
            dt = F.softplus(dt.float() + self.dt_bias.float())
            y = ssd_chunked(x * dt[..., None], -dt * self.A_log.float().exp(), b.float(), c.float())
            y = (y + x * self.D.float()[:, None]).flatten(-2)
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


@functools.cache
def _fused_kernels():
    """The fused convolution and scan, or None where they are not installed."""
    try:
        from causal_conv1d import causal_conv1d_fn
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
    except ImportError:
        return None
    return causal_conv1d_fn, mamba_chunk_scan_combined
