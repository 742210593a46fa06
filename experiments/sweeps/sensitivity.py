"""14: what noise on the weights costs, against what being generated costs (paper, v1, table 16; v2, table 24)."""

from experiments.pipeline import images_of
from experiments.sweeps.findings import by_seed
from experiments.sweeps.sweep import Sweep
from rpglib.analysis.accuracy import accuracy, predictions
from rpglib.analysis.perturbation import noised

SIGMAS = (0.01, 0.1, 1.0)
"""The paper's noise: added as it stands ("absolute"), as its text has it, and as shares of each tensor's standard
deviation ("relative"), as its released evaluation adds it."""
DRAWS = 10


def measure(sweep: Sweep) -> dict:
    """Loss of accuracy in points: "noise" {network: {"absolute" | "relative": {sigma: by seed}}}.

    Each seed's value is the mean over ten noisy copies of its first checkpoint, against that checkpoint's accuracy.
    """
    test = images_of(sweep.base.images).test
    draws = 2 if sweep.profile == "smoke" else DRAWS
    result: dict = {}
    for name in sweep.variants:
        losses: dict = {}
        for cell in sweep.cells(name):
            module, original = cell.recipe.architecture.build(), cell.zoo()[0]
            intact = float(accuracy(predictions(module, [original], test.images), test.labels)[0])
            for kind in ("absolute", "relative"):
                for sigma in SIGMAS:
                    noisy = [
                        noised(original, sigma, sweep.seed, relative=kind == "relative", number=k) for k in range(draws)
                    ]
                    found = accuracy(predictions(module, noisy, test.images), test.labels)
                    losses.setdefault(kind, {}).setdefault(str(sigma), []).append(intact - float(found.mean()))
        result[name] = {kind: {s: by_seed(v) for s, v in row.items()} for kind, row in losses.items()}
    return {"noise": result, "draws": draws}
