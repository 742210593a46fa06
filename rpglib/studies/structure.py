"""05: the autoregressive decoder that the paper's appendix C.9 argues against, beside the sweep over structures."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from rpglib.baselines.autoregressive import AutoregressiveConfig, error_along_sequence, fit_autoregressive
from rpglib.pipeline import NETWORKS, compare, images_of
from rpglib.profiles import Recipe
from rpglib.records import plain
from rpglib.studies.cells import Cell, run
from rpglib.studies.sweep import Sweep
from rpglib.tokenizer import ParameterTokenizer


@dataclass(frozen=True)
class Decoder:
    """A job: an autoregressive decoder on a recipe's checkpoints and tokens."""

    recipe: Recipe
    profile: str
    config: AutoregressiveConfig
    device: str = "auto"

    def facts(self) -> dict:
        return plain({"recipe": self.recipe, "decoder": self.config, "networks": NETWORKS})

    def compute(self, folder: Path) -> dict:
        recipe, zoo = self.recipe, Cell(self.recipe, self.profile, device=self.device).zoo()
        tokenizer = ParameterTokenizer.fit(zoo, recipe.model.token_size, recipe.slicing, recipe.normalisation)
        began = time.perf_counter()
        decoder, _ = fit_autoregressive(zoo, tokenizer, self.config, progress=False)
        seconds = time.perf_counter() - began
        images = images_of(recipe.images)
        originals = torch.stack([tokenizer.encode(zoo[k])[0] for k in range(len(zoo))])
        written, states = decoder.generate(NETWORKS, seed=self.config.seed)
        # The same states and noise, but every token after the true ones before it: nothing can add up.
        forced = decoder.teacher_forced(originals[states], states, self.config.seed)
        # What "indistinguishable from noise" would mean: a random other network of the zoo has this error.
        found: dict = {"seconds": seconds, "parameters": sum(p.numel() for p in decoder.parameters())}
        for name, tokens in (("free", written), ("forced", forced)):
            networks = [tokenizer.decode(x) for x in tokens]
            found[name] = compare(recipe, networks, zoo, images.test) | {
                "error": error_along_sequence(tokens, originals, tokenizer.mask).tolist()
            }
        spread = (originals - originals.mean(0))[:, tokenizer.mask].square().mean().sqrt().item()
        return found | {"spread": spread}


def measure(sweep: Sweep, profile: str, seed: int = 0, device: str = "auto") -> dict:
    """The decoder's numbers, one entry per seed: "decoder" [{"free", "forced", "spread", ...}].

    free: fed with what it wrote itself; forced: with the true tokens of an original. error (L,): along the sequence, in
    units of normalised weights; spread: how far originals lie from their mean, in the same units.
    """
    config = AutoregressiveConfig(steps=3) if profile == "smoke" else AutoregressiveConfig()
    jobs = [
        Decoder(cell.recipe, profile, AutoregressiveConfig(**{**vars(config), "seed": cell.recipe.train.seed}), device)
        for cell in sweep.cells("base", profile, seed, device)
    ]
    return {"decoder": run(jobs, "decoders")}
