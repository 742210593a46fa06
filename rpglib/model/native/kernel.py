"""The denoiser for sampling on a CPU, as machine code: `kernel.cpp`, compiled at first use and kept.

A convolution library computes one layer of all tokens, writes it to memory and starts the next. The kernel takes a few
tokens through all layers within the cache, and needs a quarter of the multiplications. Where there is no C++ compiler
nothing is lost but time: the denoiser runs in PyTorch.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from rpglib.errors import InputError
from rpglib.runtime.distributed import Write, each
from rpglib.runtime.threads import one_core_threads

SOURCE = Path(__file__).with_name("kernel.cpp")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC")
COMPILE_SECONDS = 120
"""A compiler that has not finished by then is given up."""
TILE, TAPS, ROWS = 8, 7, 6
"""As in the source: outputs of a tile, kernel size, output channels of a block."""
POINTS = (0.35, 0.60, 0.85, 1.18, 1.67, 2.90)
"""Where the polynomials are evaluated beside 0 and infinity, each with both signs: of the sets tried, the one with the
least rounding error (1e-5 of the output's deviation). As in the source."""


def obstacle(layers: list[tuple[Tensor, Tensor]], dtype: torch.dtype) -> InputError | None:
    """Why the kernel cannot compute these layers here, or None; the first call compiles it, once on a machine."""
    weight = layers[0][0]
    if weight.device.type != "cpu" or dtype != torch.float32:
        return InputError(f"kernel='native' is fp32 on a CPU, not {dtype} on {weight.device.type}; use kernel='auto'")
    if weight.shape[-1] != TAPS:
        return InputError(f"kernel='native' has convolutions of size {TAPS}, not {weight.shape[-1]}; use kernel='auto'")
    if _library() is None:
        return InputError(
            "kernel='native' needs a C++ compiler (c++ or $CXX), and a cache that others cannot write; use 'auto'"
        )
    return None


class NativeDenoiser:
    """(noisy, time, condition) -> prediction, each (B, D) but time (D,): `Denoiser.denoise` of folded layers.

    layers: (weight (out, in, 7), bias (out,)) of each convolution, BatchNorm folded into it; skips: for all but the
    last the layer whose output is added to its own, or None. fp32; the result agrees with PyTorch's to about 1e-5 of
    its deviation. A call uses one core; `in_threads` uses more.
    """

    def __init__(self, layers: list[tuple[Tensor, Tensor]], skips: list[int | None]):
        _, taps = transforms()
        *inner, (last, last_bias) = [(weight.detach().cpu(), bias.detach().cpu()) for weight, bias in layers]
        self._weights = [_blocks(torch.einsum("pk,oik->poi", taps, weight.double()).float()) for weight, _ in inner]
        self._weights.append(last[0].float().contiguous())
        self._biases = [bias.float().contiguous() for _, bias in (*inner, (last, last_bias))]
        shapes = [(weight.shape[1], weight.shape[0]) for weight, _ in layers]
        added = [-1 if skip is None else skip for skip in (*skips, None)]
        self._facts = torch.tensor([(*shape, skip) for shape, skip in zip(shapes, added, strict=True)]).int()
        self._pointers = [
            (ctypes.c_void_p * len(layers))(*(x.data_ptr() for x in tensors))
            for tensors in (self._weights, self._biases)
        ]

    def __call__(self, noisy: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        noisy, time, condition = (x.float().contiguous() for x in (noisy, time, condition))
        out = torch.empty_like(noisy)
        _library().rpg_denoise(
            *map(_address, (noisy, time, condition, out)),
            ctypes.c_int64(len(noisy)),
            ctypes.c_int32(noisy.shape[1]),
            ctypes.c_int32(len(self._facts)),
            _address(self._facts),
            *self._pointers,
        )
        return out


def in_threads(parts: Sequence[Tensor], write: Write) -> Iterator[tuple[Tensor, Tensor]]:
    """As `distributed.each`, every part split among as many threads as PyTorch has, which do all its work on one core.

    A thread takes its tokens through all sampling steps: waiting for the others at each of them costs a tenth of the
    time.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        return each(parts, write)
    small = [rows for part in parts for rows in part.tensor_split(threads) if len(rows)]
    return zip(small, _pool(threads).map(torch.no_grad()(write), small), strict=True)


def _address(x: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.data_ptr())


@functools.cache
def transforms() -> tuple[Tensor, Tensor]:
    """The minimal filtering algorithm F(8, 7): y = outputs [(taps g) * (V^-T d)], 8 outputs y of 7 taps g, 14 inputs d.

    Returns the matrices outputs (8, 14) and taps (14, 7), float64; V holds the powers of the points 0, +a, -a, ... and
    infinity, one point a row. It is a product of polynomials, worked out by its values at the points (Toom-Cook), and
    transposed. Source: Lavin and Gray 2016, section 5.
    """
    return powers(TILE).T, powers(TAPS)


def powers(terms: int) -> Tensor:
    """The powers 0 ... terms - 1 of all points, a point a row: (14, terms), float64; of infinity only the last."""
    points = [0.0, *(sign * a for a in POINTS for sign in (1, -1))]
    rows = [[a**k for k in range(terms)] for a in points]
    return torch.tensor([*rows, [0.0] * (terms - 1) + [1.0]], dtype=torch.float64)


def _blocks(weights: Tensor) -> Tensor:
    """(points, out, in) -> one line of blocks of output channels, each (points, in, rows)."""
    count = -(-weights.shape[1] // ROWS)
    return torch.cat([part.transpose(1, 2).flatten() for part in weights.tensor_split(count, 1)]).contiguous()


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return one_core_threads(threads, "denoiser")


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The compiled kernel, or None where it cannot be had; kept by its source and by the processor it was made for.

    Whoever writes this file runs code in our name. It is loaded only from a folder in which nobody else can write, and
    only whole: its name ends in the digest of what it holds.
    """
    try:
        compiler = shlex.split(os.environ.get("CXX") or shutil.which("c++") or "")
        folder = _cache()
        if platform.system() == "Windows" or not compiler or not _only_ours(folder):
            return None
        made_for = f"{SOURCE.read_text(encoding='utf-8')}{FLAGS}{compiler}{platform.machine()}{_processor()}"
        name = f"denoiser-{hashlib.sha256(made_for.encode()).hexdigest()[:16]}"
        kept = [path for path in sorted(folder.glob(f"{name}-*.so")) if _whole(path)]
        library = ctypes.CDLL(str(kept[0] if kept else _compiled(compiler, folder, name)))
        return library if hasattr(library, "rpg_denoise") else None
    # No home folder, no permission, no space, no such compiler, one that fails or hangs, nonsense in $CXX.
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError):
        return None


def _cache() -> Path:
    """The folder of compiled kernels, made where it is missing; `OSError` or `RuntimeError` where there can be none."""
    above = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # As the standard of these folders has it, a relative path does not count: it would name another one everywhere.
    above = above if above.is_absolute() else Path.home() / ".cache"
    if not above.is_absolute():
        raise OSError(f"no cache in {above}")
    above.mkdir(parents=True, exist_ok=True)
    (above / "rpglib").mkdir(mode=0o700, exist_ok=True)
    return above / "rpglib"


def _only_ours(path: Path) -> bool:
    """Whether this file or folder is no link, is this user's or the administrator's, and nobody else's to write."""
    found = path.lstat()
    plain = stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)
    return plain and found.st_uid in (os.geteuid(), 0) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _whole(path: Path) -> bool:
    return _only_ours(path) and path.stem.endswith(f"-{_digest(path)}")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def _compiled(compiler: list[str], folder: Path, name: str) -> Path:
    """Compile the kernel and keep it under its digest; `OSError` or `SubprocessError` where that fails."""
    with tempfile.TemporaryDirectory(prefix=".compiling-", dir=folder) as scratch:
        made = Path(scratch, "denoiser.so")
        call = [*compiler, *FLAGS, str(SOURCE), "-o", str(made)]
        silent = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        subprocess.run(call, check=True, timeout=COMPILE_SECONDS, **silent)
        # Whatever the umask lets others do, writing is not for them.
        made.chmod(stat.S_IMODE(made.stat().st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
        path = folder / f"{name}-{_digest(made)}.so"
        os.replace(made, path)
    return path


def _processor() -> str:
    """What the processor can do: code made for another may not run here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    # Where nothing says what it can do, the machine's name must: a home folder may be shared by several.
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.node())
