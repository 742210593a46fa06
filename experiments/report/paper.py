"""PAPER.md: every table and figure of the paper, where it is here, and what came of it.

`python -m experiments.report.paper` writes it. Table numbers differ between the paper's versions, so that each item has
one for each. A status is what the notebooks' verdicts say that cite the item; what no claim is about says why.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from experiments.claims import Verdict
from experiments.report import main_rows, pages
from experiments.report.verdicts import Judged, citations, judged

HEAD = """
Table by table what became of [RPG](https://arxiv.org/abs/2501.11587) here. v1 and v2 are its versions on arXiv
([v1](https://arxiv.org/abs/2501.11587v1), [v2](https://arxiv.org/abs/2501.11587v2)), which number tables and figures
differently. Of v2 the main text was not at hand, so that a "?" stands where v2 may have the item under some number; its
tables 1 to 4, 7, 8 and 10 to 13 are presumably among these.
"""
STATUS = """
A status counts the verdicts of the claims that cite the item, at the size named beside it: *reproduced*, *not
reproduced*, or *inconclusive* where the seeds cannot decide ([RESULTS.md](RESULTS.md) has the rule). CNN (s), CNN (m)
and ResNet-18 have the paper's sizes, all other networks are smaller. A command computes the notebook anew; without `-p
fresh true` it redraws what is recorded. The file is written by `python -m experiments.report.paper`.
"""
DIFFERENCES = """\
- **Prediction** is the clean token, which the denoiser writes as a correction of a linear map of the prototype
  (`prototype_skip`); that map is supervised on every token (`prototype_loss`), and every token counts alike. The paper
  predicts epsilon from noise alone (03 compares the predictions).
- **Zoos** of the main results (04, 05) have ten runs (ResNet-18: three) with five checkpoints each; beside them stand
  rows with the paper's, 50 checkpoints of one run.
- **Tokens** are the paper's, normalised by layer; those of unseen tasks are centred over the zoo and scaled by layer
  (`normalisation="residual"`).
- **Tasks** reach every token through a gate that the token learns (`conditioning="all"`); the released code gives the
  task to the last tokens or to all.
- **Evaluation** takes clean test images and all generated networks: mean and spread first, diversity beside accuracy.
- **Generation**: network *i* draws from a random generator of its own, so that all inference modes write the same."""
NO_GPU = "needs a GPU for longer than was at hand"


@dataclass(frozen=True)
class Item:
    """One table or figure. v1, v2: what it is called there ("table 4"; "" where it is absent, "?" where unknown).

    notebooks: numbers of those that are about it. records: whose networks they measured. status: why there is no
    verdict; it stands even where a claim cites the item. note: what the verdicts leave out. part_of: another item,
    whose claims are about this one as well.
    """

    v1: str
    v2: str
    content: str
    notebooks: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    status: str = ""
    note: str = ""
    part_of: str = ""

    @property
    def cited_as(self) -> set[tuple[str, str, str]]:
        """How a verdict cites it, as `citations` finds that."""
        return {tuple(name.split()) for name in (*self.names, self.part_of) if name}

    @property
    def names(self) -> tuple[str, ...]:
        """What it is called, with the version: "v1 table 4"."""
        known = (("v1", self.v1), ("v2", self.v2))
        return tuple(f"{version} {name}" for version, name in known if name not in ("", "?"))


def _not_attempted(why: str) -> str:
    return f"not attempted: {why}"


def _no_result(what: str) -> str:
    return f"no result, {what}"


ITEMS = (
    Item(
        "table 1",
        "?",
        "ImageNet-1K, seven networks from ConvNeXt-A to ConvNeXt-L: original and generated accuracy",
        ("06",),
        ("large_networks_cost",),
        _not_attempted(f"ImageNet {NO_GPU}; all seven go from tokenizer to generated networks with random weights"),
    ),
    Item(
        "table 2",
        "?",
        "ADE20K (UperNet) and COCO (ViTDet) on ViT-Base",
        ("27",),
        ("segmentation", "detection"),
        note="UperNet and ViTDet's Mask R-CNN of a few hundred thousand values, on scenes of digits; ADE20K and COCO "
        f"not attempted: {NO_GPU}; the profile `paper` has a recipe for them",
    ),
    Item(
        "table 3",
        "?",
        "DoRA of rank 4 for LLaMA-7B, seven commonsense tasks",
        ("26",),
        ("adapters",),
        note="a model of LLaMA's architecture with a million parameters, trained here, and six families of questions; "
        f"LLaMA-7B not attempted: {NO_GPU}; the profile `paper` has a recipe for it",
    ),
    Item(
        "table 4",
        "?",
        "(a) with and without recurrence, (b) position embeddings",
        ("07",),
        ("recurrent_and_positions",),
    ),
    Item(
        "table 5",
        "table 6",
        "LSTM, Transformer, Mamba: accuracy, training time, memory (v2: and autoregression, its section C.9)",
        ("09",),
        ("structure",),
    ),
    Item("table 6", "table 5", "token sizes", ("08",), ("tokenization",), note="one size of network, the paper three"),
    Item(
        "table 7",
        "table 9",
        "time, memory and accuracy by number of sampling steps, ViT-Base and ConvNeXt-L",
        ("19",),
        ("generation_cost",),
        _not_attempted(f"ViT-Base and ConvNeXt-L: {NO_GPU}; the same is measured for two small networks"),
    ),
    Item(
        "table 8",
        "?",
        "five networks against S_KDE30, p-diff, D2NWG and SANE",
        ("05", "20", "24"),
        ("cnn_s", "cnn_s_one_run", "cnn_m", "cnn_m_one_run", "resnet18_runs", "paper_recipe", "baselines"),
        note="CNN (s), CNN (m) and, not counted, ResNet-18 from scratch, whose networks do not hold; MobileNetV3 and "
        "ViT-Base not attempted; of rows with one run 05 says whether the mean network does as well; the four other "
        "methods, scaled to a CPU, on both CNNs (24)",
    ),
    Item("table 9", "?", "ten unseen tasks", ("15",), ("unseen_tasks",), part_of="v1 table 14"),
    Item("table 10", "?", "flipped bits of a task", ("15",), ("unseen_tasks",)),
    Item("table 11", "table 15", "training recipe", status=_no_result("a setting: `rpglib.TrainConfig`")),
    Item(
        "table 12",
        "table 16",
        "the four sizes of the generator",
        ("19",),
        status=_no_result("a setting: `RPGConfig.preset`, whose counts of parameters differ from the printed ones"),
    ),
    Item("table 13", "table 23", "time and memory by inference mode", ("19",), ("generation_cost",)),
    Item("table 14", "table 19", "twenty unseen tasks: original, best, average, deviation", ("15",), ("unseen_tasks",)),
    Item("table 15", "table 17", "permutation states with 1, 3, 10 (v1: 20) runs", ("10",), ("permutation_state",)),
    Item("table 16", "table 24", "sensitivity to noise, and generation", ("14",), ("sensitivity",)),
    Item("figure 1", "figure 1", "sizes of models over the years", status=_no_result("an overview of the literature")),
    Item("figure 2", "", "parts exchanged between two trained networks", ("12",), ("similarity",)),
    Item("figure 3", "figure 2", "scheme of the method", status=_no_result("a drawing; ours is `figures/rpg.svg`")),
    Item("figure 4", "?", "ways to cut a network into tokens", ("08",), ("tokenization",)),
    Item("figure 5", "figure 4", "how a task becomes bits", ("15",), status=_no_result("a drawing; in words there")),
    Item(
        "figure 6",
        "figure 5",
        "weights of heads, original and generated",
        ("15",),
        ("unseen_tasks",),
        _no_result("a picture; ours is `figures/15_heads.png`"),
    ),
    Item("figure 7", "figure 8a", "training memory by token size", ("08",), ("tokenization",)),
    Item(
        "figure 8",
        "figure 8b",
        "training memory by number of generated parameters, against other methods",
        ("24",),
        ("baselines",),
        _no_result("a comparison without a verdict of ours; the memory of one step, by network and method, is in 24"),
    ),
    Item("figure 9", "figure 3", "accuracy against similarity, generated and noise", ("12",), ("similarity",)),
    Item("figure 10", "figure 6", "principal components of heads", ("16",), ("pca",)),
    Item(
        "",
        "figure 7",
        "a prompt becomes a network",
        ("17",),
        status=_no_result("a drawing with two of table 22's prompts"),
    ),
    Item(
        "",
        "table 14",
        "methods by aspect: scalability, performance, generalisation",
        ("24",),
        ("baselines",),
        _no_result("an assessment without numbers; ours has numbers in place of the ticks"),
    ),
    Item("", "table 18", "linear mode connectivity", ("11",), ("linear_mode_connectivity",)),
    Item(
        "",
        "table 20",
        "unseen tasks, ViT-Small on ten coarse classes of ImageNet",
        ("15",),
        status=_not_attempted(
            f"ImageNet {NO_GPU}; profile `paper` waits for its class folders in data/datasets/imagenet and for timm's "
            "weights, and goes end to end on a stand-in in profile `smoke`"
        ),
    ),
    Item(
        "",
        "table 21",
        "YOLOv8n on PASCAL VOC, training from generated networks",
        ("28",),
        ("unseen_detectors",),
        note="selections of digits in composed scenes, trained here; PASCAL VOC not attempted: "
        f"it {NO_GPU}; profile `paper` waits for its folders in data/datasets/VOCdevkit, and goes end to end on a "
        "stand-in in profile `smoke`",
    ),
    Item(
        "",
        "table 22",
        "accuracy of ten prompts about CIFAR-10",
        ("17",),
        ("language",),
        _not_attempted(f"networks for all tasks on CIFAR-10: {NO_GPU}; prompts about digits become networks there"),
    ),
    Item("", "table 25", "likeness by number of checkpoints", ("12",), ("similarity",)),
    Item("", "table 26", "with and without diffusion", ("03", "12"), ("training_objective", "similarity")),
    Item("", "table 27", "GPU hours of training", status=_not_attempted(NO_GPU)),
)


def page() -> str:
    """The text of PAPER.md."""
    known = judged()
    items = [
        (item.v1 or "-", item.v2 or "-", item.content, _links(item), _sizes(item), status(item, known), _commands(item))
        for item in ITEMS
    ]
    cited = [
        (_cited(verdict), verdict.claim, verdict.paper, verdict.ours, verdict.word, f"[{found.number}]({found.path})")
        for found in known.values()
        for verdict in found.verdicts
        if verdict.paper
    ]
    parts = [
        "# The paper, table by table",
        pages.paragraph(HEAD),
        pages.paragraph(STATUS),
        pages.table(("v1", "v2", "content", "notebook", "size here", "status", "command"), items),
        "## Both numbers",
        "Every claim of the paper that a notebook judges, with what the paper reports and what was found here.",
        pages.table(("item", "claim", "paper", "ours", "verdict", "notebook"), cited),
        "## What differs from the paper",
        DIFFERENCES,
    ]
    return "\n\n".join(parts) + "\n"


def _cited(verdict: Verdict) -> str:
    """The items that a verdict cites by one of their names."""
    names = (item.names[0] for item in ITEMS if citations(verdict.paper) & item.cited_as)
    return ", ".join(names) or "text"


def status(item: Item, known: dict[str, Judged]) -> str:
    """What became of an item: why it was not attempted, or how many claims about it got which verdict."""
    words = Counter(v.word for _, v in _claims(item, known))
    counted = ", ".join(word if len(words) == 1 else f"{n} {word}" for word, n in words.items())
    return "; ".join(filter(None, (item.status or counted or "no verdict", item.note)))


def _claims(item: Item, known: dict[str, Judged]) -> Iterator[tuple[Judged, Verdict]]:
    return ((found, v) for found in known.values() for v in found.verdicts if citations(v.paper) & item.cited_as)


def _links(item: Item) -> str:
    return ", ".join(f"[{number}]({pages.notebook(number)})" for number in item.notebooks) or "-"


def _commands(item: Item) -> str:
    if item.status and not item.records:
        return "-"
    commands = (f"`.venv/bin/python -m experiments.run {pages.notebook(n)} -p fresh true`" for n in item.notebooks)
    return "<br>".join(commands)


def _sizes(item: Item) -> str:
    return "; ".join(map(_size, item.records)) or "-"


def _size(name: str) -> str:
    """What a record measured: the networks with their numbers of values, the images, and how often."""
    record = pages.records()[name]
    numbers, images, n = record["numbers"], record["data_source"], record["n"]
    if "variants" in numbers:
        sizes = {
            (record["config"][variant]["architecture"]["name"], row["cells"][0]["parameters"])
            for variant, row in numbers["variants"].items()
        }
        networks = ", ".join(f"{network} ({values:,} values)" for network, values in sorted(sizes, key=lambda s: s[1]))
        return f"{networks}, {images}, {n} seeds"
    if name == "adapters":
        values = next(iter(numbers["families"].values()))["values"]
        return f"adapters of {values:,} values, facts of {images}, {n} families of questions"
    if "populations" in numbers:
        found = numbers["populations"]
        values = next(iter(found.values()))["values"]
        return f"{name} networks of {values:,} values, {images}, {n} networks of each of {len(found)} generators"
    if name == "unseen_detectors":
        return f"YOLOv8n ({numbers['begun']['values']:,} values), {images}, {n} unseen selections"
    if "parameters" in numbers:
        several = len(main_rows.generated(numbers))
        of = f"{n} networks of each of {several} generators" if several > 1 else f"{n} networks of one generator"
        return f"{name} ({numbers['parameters']:,} values), {images}, {of}"
    return f"{record['config'].get('architecture', {}).get('name', name)}, {images}, n = {n}"


if __name__ == "__main__":
    pages.write("PAPER.md", page())
