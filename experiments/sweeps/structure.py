"""09: the autoregressive decoder that the paper (v2, appendix C.9) argues against, beside the sweep over structures."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from experiments.baselines import accuracies_on
from experiments.cost import timing
from experiments.pipeline import NETWORKS, images_of
from experiments.profiles import Recipe
from experiments.records import plain
from experiments.sources import code_of
from experiments.sweeps.cells import Cell, run
from experiments.sweeps.sweep import Sweep
from rpglib.analysis.accuracy import summarise
from rpglib.baselines.autoregressive import AutoregressiveConfig, error_along_sequence, fit_autoregressive
from rpglib.tokenizer import ParameterTokenizer

CODE = code_of(__file__)


@dataclass(frozen=True)
class Decoder:
    """A job: an autoregressive decoder on a recipe's checkpoints and tokens. Trains on the CPU; `device` collects."""

    recipe: Recipe
    profile: str
    config: AutoregressiveConfig
    device: str = "auto"

    def facts(self) -> dict:
        own = {"recipe": replace(self.recipe, name=""), "images": images_of(self.recipe.images).source}
        return plain({**own, "decoder": self.config, "networks": NETWORKS, "decoder_code": CODE})

    def compute(self, folder: Path) -> dict:
        recipe, zoo = self.recipe, Cell(self.recipe, self.profile, device=self.device).zoo()
        tokenizer = ParameterTokenizer.fit(zoo, recipe.model.token_size, recipe.slicing, recipe.normalisation)
        originals, mask = torch.stack([tokenizer.encode(zoo[k])[0] for k in range(len(zoo))]), tokenizer.mask
        began = time.perf_counter()
        decoder, losses = fit_autoregressive(zoo, tokenizer, self.config, progress=False)
        seconds = time.perf_counter() - began
        free, states = decoder.generate(NETWORKS, seed=self.config.seed)
        # The same states and noise, but every token after the true ones before it: nothing can add up.
        forced = decoder.teacher_forced(originals[states], states, self.config.seed)
        test = images_of(recipe.images).test

        def measured(tokens: Tensor) -> dict:
            networks = [tokenizer.decode(x) for x in tokens]
            found = accuracies_on(recipe.architecture.build(), networks, test)
            return {**summarise(found), "error": error_along_sequence(tokens, originals, mask).tolist()}

        around = ((originals - originals.mean(0)).square() * mask).sum((0, 2)) / (len(originals) * mask.sum(1))
        return {
            "free": measured(free),
            "forced": measured(forced),
            "spread": around.sqrt().tolist(),
            "loss": losses[-1],
            "parameters": sum(p.numel() for p in decoder.parameters()),
            "seconds": seconds,
        }


def measure(sweep: Sweep) -> dict:
    """The decoder on the base's checkpoints: "decoder" [one per seed: {"free", "forced", "spread", ...}].

    free: what it writes when fed with its own tokens; forced: with the true tokens of an original. Both hold a summary
    of accuracies and error (L,): each token's root mean squared distance from the nearest original, in units of the
    layer's standard deviation. spread (L,): how far originals lie from their mean, in the same unit.
    """
    config = AutoregressiveConfig(steps=3) if sweep.profile == "smoke" else AutoregressiveConfig()
    jobs = [
        Decoder(cell.recipe, sweep.profile, replace(config, seed=cell.recipe.train.seed), sweep.device)
        for cell in sweep.cells("base")
    ]
    return {"decoder": run(jobs, "decoders"), **timing.measure(sweep)}
