# All notebooks as a graph: snakemake --cores 2 [--config profile=cpu fresh=true seed=0 threads=2]
import sys
from pathlib import Path

from experiments.extras import OF_NOTEBOOKS

PROFILE = config.get("profile", "cpu")
FRESH = str(config.get("fresh", True)).lower()
SEED = config.get("seed", 0)
NOTEBOOKS = sorted(path.stem for path in Path("notebooks").glob("[0-9]*.ipynb"))
for name, extra in OF_NOTEBOOKS.items():
    if without := extra.absent():
        print(f"{name} is left out: without {', '.join(without)} (pip install -e '.[{extra.name}]')", file=sys.stderr)
        NOTEBOOKS.remove(name)
CODE = sorted(str(path) for package in ("rpglib", "experiments") for path in Path(package).rglob("*.py"))

# Every notebook starts from images, unless named here. The ablations share cells: 07 computes those of their base first.
NEEDS = dict.fromkeys(("04_main_results", "05_cifar10"), ["02_collect_checkpoints"])
NEEDS["20_paper_recipe"] = ["05_cifar10"]  # whose zoos it learns from
NEEDS["19_efficiency"] = ["04_main_results", "15_unseen_tasks"]  # whose generators it times
NEEDS |= dict.fromkeys(("16_pca", "17_language"), ["15_unseen_tasks"])
# Whose zoos it learns from.
NEEDS["24_baselines"] = ["04_main_results", "05_cifar10", "15_unseen_tasks", "21_new_networks"]
NEEDS["18_explore"] = ["15_unseen_tasks", "22_networks_on_demand"]  # one panel for each of their generators
ABLATIONS = ("03", "08", "09", "10", "11", "12", "13", "14")
NEEDS |= {name: ["07_recurrent_and_positions"] for name in NOTEBOOKS if name.startswith(ABLATIONS)}


def needs(wildcards):
    return expand(
        "data/runs/{profile}/{name}.ipynb",
        profile=wildcards.profile,
        name=NEEDS.get(wildcards.name, []),
    )


rule all:
    input:
        expand("data/runs/{profile}/{name}.ipynb", profile=PROFILE, name=NOTEBOOKS),


rule notebook:
    input:
        notebook="notebooks/{name}.ipynb",
        needs=needs,
        code=CODE,
    output:
        "data/runs/{profile}/{name}.ipynb",
    wildcard_constraints:
        name=r"\d[^/]*",
    threads: config.get("threads", 2)
    params:
        python=sys.executable,
        fresh=FRESH,
        seed=SEED,
    shell:
        "{params.python:q} -m experiments.run {input.notebook:q} --output {output:q}"
        " -p profile {wildcards.profile} -p fresh {params.fresh} -p seed {params.seed}"
