"""Generation as a plain port of the released `sample` computes it on a CPU: what ours is timed against."""

from collections.abc import Callable, Collection, Sequence
from functools import partial

import torch
from torch import Tensor

from rpglib.errors import choice
from rpglib.model.folded import folded
from rpglib.model.native.kernel import in_threads
from rpglib.model.rpg import RPG, TokenNoise, with_padding_held
from rpglib.model.samplers import SAMPLERS
from rpglib.runtime.allocator import keep_freed_memory
from rpglib.runtime.distributed import each

OPTIMISATIONS = ("embeddings", "folding", "memory", "batching", "kernel")
"""What `generate` does beyond the plain path: time and prototype embedded once per step and per token, instead of both
for every token at every step; BatchNorm folded and ELU in place; freed memory kept; small networks written together;
the compiled kernel, whose threads take their tokens through all steps. Each but "memory" and "batching" wants the ones
before it on."""


@torch.no_grad()
def generate_plain(
    model: RPG,
    n: int,
    task: Sequence[int] | None = None,
    *,
    sampler: str = "ddim",
    steps: int = 60,
    part: int = 256,
    seed: int = 0,
    optimised: Collection[str] = (),
) -> Tensor:
    """Return the tokens (N, L, D) of `n` networks: those of `RPG.generate_tokens` with these arguments, to rounding.

    fp32. Network after network, `part` tokens at a time, which pass the whole denoiser at every step. 256 tokens are
    the paper's default (v1, B.3; v2, C.4). The released `sample` takes the configuration's `diffusion_batch` instead
    (1,024, 512 or 448; for CNN (s) all tokens), and the released script that times embeds the prototype once.
    `optimised` turns some of `OPTIMISATIONS` on; "memory" stays on until the process ends.
    Raises `InputError` for an unknown optimisation.
    """
    for name in optimised:
        choice("optimisation", name, OPTIMISATIONS)
    if "memory" in optimised and model.device.type == "cpu":
        keep_freed_memory()
    model.eval()
    task, permutation = model.task_rows(task, n), model.permutation_rows(None, n, seed)
    length, size = len(model.recurrent.position), model.config.token_size
    together = max(1, part // length) if "batching" in optimised else 1
    tokens = []
    for networks in torch.arange(n).split(together):
        given = [x[networks].to(model.device) if x is not None else None for x in (permutation, task)]
        prototypes = model.recurrent(len(networks), *given).flatten(0, 1)
        denoiser = _denoiser(model, optimised)

        def write(rows: Tensor, networks=networks, prototypes=prototypes, denoiser=denoiser) -> Tensor:
            owners, places = networks[rows // length], rows % length
            noise = TokenNoise(seed, owners, places, size, model.device)
            padding = ~model.tokenizer.mask[places].to(model.device)
            predict = with_padding_held(denoiser(prototypes[rows]), padding, model.config)
            options = {"steps": steps, "prediction": model.config.prediction, "draw_noise": noise}
            return SAMPLERS[sampler](predict, noise(), model.config.schedule, **options).cpu()

        share = in_threads if "kernel" in optimised else each
        tokens += [written for _, written in share(torch.arange(len(prototypes)).split(part), write)]
    return torch.cat(tokens).view(n, length, size)


def _denoiser(model: RPG, optimised: Collection[str]) -> Callable[[Tensor], Callable[[Tensor, int], Tensor]]:
    """prototypes -> (noisy tokens, step) -> prediction."""
    denoise = model.denoiser.denoise
    if "folding" in optimised:
        denoise = folded(model.denoiser, kernel="auto" if "kernel" in optimised else "torch")

    def plain(prototypes: Tensor, x: Tensor, t: int) -> Tensor:
        output = model.denoiser(x, torch.full((len(x),), t, device=x.device), prototypes)
        return output if model.skip is None else output + model.skip(prototypes)

    def with_embeddings(condition: Tensor, skip: Tensor | float, x: Tensor, t: int) -> Tensor:
        time = model.denoiser.time_embedder(torch.tensor([t], device=x.device))
        return denoise(x, time[0] if "folding" in optimised else time.expand_as(x), condition) + skip

    def given(prototypes: Tensor) -> Callable[[Tensor, int], Tensor]:
        if "embeddings" not in optimised:
            return partial(plain, prototypes)
        skip = model.skip(prototypes) if model.skip is not None else 0.0
        return partial(with_embeddings, model.denoiser.condi_embedder(prototypes), skip)

    return given
