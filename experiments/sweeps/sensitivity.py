"""14: what noise on the weights costs, against what being generated costs (paper, v1, table 16; v2, table 24)."""

from experiments.baselines import accuracies_on
from experiments.pipeline import images_of
from experiments.sweeps.findings import by_seed
from experiments.sweeps.sweep import Sweep
from rpglib.analysis.perturbation import noised

SIGMAS = (0.01, 0.1, 1.0)
"""The paper's noise: added as it stands ("absolute"), as its text has it, and as shares of each tensor's standard
deviation ("relative"), as its released evaluation adds it."""
DRAWS = 10


def measure(sweep: Sweep) -> dict:
    """Loss of accuracy in points: "noise" {network: {"absolute" | "relative": {sigma: by seed}}}.

    Each seed's value is the mean over `DRAWS` noisy copies of the runs' first checkpoints, each run's in turn, against
    the accuracy of the same checkpoints. "steps": how long each network's generator trains.
    """
    test = images_of(sweep.base.images).test
    result: dict = {}
    for name in sweep.variants:
        losses: dict = {}
        for cell in sweep.cells(name):
            module, zoo, seed = cell.recipe.architecture.build(), cell.zoo(), cell.recipe.train.seed
            firsts = [zoo[int((zoo.runs == run).nonzero()[0])] for run in zoo.runs.unique()]
            originals = [firsts[k % len(firsts)] for k in range(DRAWS)]

            def reached(networks, module=module) -> float:
                return float(accuracies_on(module, networks, test).mean())

            intact = reached(originals)
            for kind in ("absolute", "relative"):
                for sigma in SIGMAS:
                    noisy = [
                        noised(original, sigma, seed, relative=kind == "relative", number=k)
                        for k, original in enumerate(originals)
                    ]
                    losses.setdefault(kind, {}).setdefault(str(sigma), []).append(intact - reached(noisy))
        result[name] = {kind: {s: by_seed(v) for s, v in row.items()} for kind, row in losses.items()}
    return {"noise": result, "steps": {name: sweep.recipe(name).train.steps for name in sweep.variants}}
