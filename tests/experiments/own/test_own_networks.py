"""The notebook on one's own networks: what evaluates, what is measured, what is kept, and what is said of it."""

import dataclasses
import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from experiments.own import figures, measures, study, tables, verdicts
from experiments.own.evaluation import evaluation
from experiments.own.study import Study
from experiments.profiles import CIFAR10_ROWS, CNN_DIGITS, ROWS, UNSEEN
from rpglib import RPG, Zoo, describe, suggest, train
from rpglib.errors import InputError
from rpglib.zoo.architectures import Architecture

GOOD = {"checkpoints": "", "evaluate": "", "steps": 3, "states": -1, "n": 3, "out": "", "profile": "smoke",
        "fresh": False, "seed": 0, "device": "cpu"}  # fmt: skip


def module(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three checkpoints, and a module that says of a network what its first bias is."""
    (tmp_path / "zoo").mkdir()
    for i in range(3):
        torch.save({"model": module(i).state_dict()}, tmp_path / "zoo" / f"{i}.pt")
    (tmp_path / "own_score.py").write_text(
        "def score(state):\n    return 100 * state['0.weight'].abs().mean()\n\nnumber = 3\n"
    )
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_score", None)


def compute(own: Study):
    def found():
        zoo = Zoo.read(own.source)
        description = describe(zoo, own.evaluation)
        suggestion = suggest(zoo, description, steps=own.training_steps, states=own.states, seed=own.seed)
        small = dataclasses.replace(suggestion.model, widths=(16,), d_state=4, headdim=16, channels=(1, 2, 1))
        suggestion = dataclasses.replace(suggestion, model=small)
        model = suggestion.generator(zoo)
        training = train(model, zoo, suggestion.train, own.folder / "training", progress=False)
        return own.measured(zoo, description, suggestion, model, training)

    return found


@pytest.mark.parametrize("evaluate", ["own_score:score", ""])
def test_from_checkpoints_to_files_and_back(folder, evaluate):
    own = Study(**GOOD | {"checkpoints": "zoo/*.pt", "evaluate": evaluate, "out": "mine"})
    numbers = own.result(compute(own))
    assert numbers["groups"]["generated"]["n"] == 3 and numbers["description"]["files"] == ["0.pt", "1.pt", "2.pt"]
    assert (numbers["groups"]["generated"]["scores"] is None) == (not evaluate)
    for table in (tables.zoo, tables.tensors, tables.suggestion, tables.groups, tables.layers):
        assert len(table(numbers)) > 1 and "nan" not in str(table(numbers))
    made = load_file(folder / "mine" / "networks" / "00.safetensors")
    module(0).load_state_dict(made)
    assert len(RPG.from_pretrained(folder / "mine" / "generator").generate(1, steps=1)[0]) == 4
    card = (folder / "mine" / "generator" / "README.md").read_text()
    assert "| mean network |" in card and "3 x a .pt file; state dict under 'model'" in card
    assert "generated" in own.check_live(numbers) and own.pushed("", numbers).startswith("kept in mine")

    def never():
        raise AssertionError("computed again")

    assert own.result(never) == numbers, "what is kept is read"
    other = dataclasses.replace(own, steps=4)
    with pytest.raises(AssertionError, match="computed again"):
        other.result(never)
    torch.save({"model": module(9).state_dict()}, folder / "zoo" / "1.pt")
    with pytest.raises(AssertionError, match="computed again"):
        own.result(never)
    (folder / "mine" / "training" / "notes.txt").write_text("the user's")
    with pytest.raises(AssertionError, match="computed again"):
        dataclasses.replace(own, fresh=True).result(never)
    assert [x.name for x in (folder / "mine" / "training").iterdir()] == ["notes.txt"], "training starts anew"
    with pytest.raises(AssertionError, match="computed again"):
        dataclasses.replace(own, steps=0, profile="cpu").result(never)


def test_of_checkpoints_a_part_may_be_meant_and_a_table_tells_of_them(folder):
    for i in range(3):
        state = module(i).state_dict()
        torch.save({"model": state, "ema": {k: x + 1 for k, x in state.items()}}, folder / "zoo" / f"{i}.pt")
    (folder / "runs.csv").write_text("file,run,accuracy\n0.pt,a,50\n1.pt,b,60\n2.pt,b,70\n")
    own = Study(**GOOD | {"checkpoints": str(folder / "zoo"), "out": "mine"})
    with pytest.raises(InputError, match="holds 2 state dicts"):
        Zoo.read(own.source, **own.reading)
    own = dataclasses.replace(own, key="ema", include="0.*,2.bias", exclude="0.bias", table=str(folder / "runs.csv"))
    zoo = Zoo.read(own.source, **own.reading)
    assert [*zoo[0]] == ["0.weight", "2.bias"] and zoo[0]["2.bias"].equal(module(0)[2].bias.detach() + 1)
    assert zoo.runs.tolist() == [0, 1, 1] and zoo.accuracies.tolist() == [50, 60, 70]
    assert own.config != dataclasses.replace(own, exclude="").config, "the result of another part is another"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": -1}, "parameter steps takes a whole number from 0"),
        ({"states": -2}, "parameter states takes a whole number from -1"),
        ({"n": 1}, "parameter n takes a whole number from 2"),
        ({"checkpoints": 3}, "parameter checkpoints takes text"),
        ({"evaluate": "own_score:score"}, "name those, too"),
        ({"table": "runs.csv"}, "parameter table is for checkpoints of your own"),
        ({"checkpoints": "zoo", "key": 3}, "parameter key takes text"),
        ({"checkpoints": "zoo", "evaluate": "score"}, "evaluate takes"),
        ({"checkpoints": "zoo", "evaluate": "own score:a"}, "evaluate takes"),
        ({"checkpoints": "zoo", "evaluate": "own_absent:score"}, "cannot be imported"),
        ({"checkpoints": "zoo", "evaluate": "own_score:absent"}, "cannot be imported"),
        ({"checkpoints": "zoo", "evaluate": "own_score:number"}, "is a int, no function"),
        ({"checkpoints": "zoo", "evaluate": "timm:nothing:zoo"}, "names no model of timm"),
        ({"checkpoints": "zoo", "evaluate": "timm:test_resnet:absent"}, "no folder of images"),
    ],
)
def test_parameters_that_cannot_be_used_are_told_before_anything_is_computed(folder, change, message):
    with pytest.raises(InputError, match=message) as error:
        Study(**GOOD | change)
    assert "\n" not in str(error.value)


def test_a_demonstration_without_its_record_is_one_line(folder):
    with pytest.raises(InputError, match="no record of 'your_networks'"):
        Study(**GOOD).result(lambda: {})


def test_a_push_needs_a_token(folder, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(InputError, match="needs a token"):
        Study(**GOOD).pushed("somebody/mine", {})


def test_timm_and_a_folder_of_images(folder):
    for label in ("cat", "dog"):
        (folder / "images" / label).mkdir(parents=True)
        for i in range(3):
            pixels = np.random.default_rng(i).integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / label / f"{i}.png")
    found = evaluation("timm:test_resnet:images")
    state = Architecture("test_resnet", 2).build().state_dict()
    state |= {name: torch.zeros_like(x) for name, x in state.items() if name.startswith("fc.")}
    state["fc.bias"] = torch.tensor([0.0, 1.0])
    score, wrong = found.asked(state)
    assert score == 50 and wrong.tolist() == [True] * 3 + [False] * 3 and found(state) == 50


def test_distances_and_gaussians_are_of_the_parameters():
    zoo = Zoo.read([module(i) for i in range(4)])
    flat = torch.stack([torch.cat([x.flatten() for x in zoo[i].values()]) for i in range(4)]).double()
    torch.testing.assert_close(measures.distances([zoo[1], zoo[3]], zoo), torch.cdist(flat[[1, 3]], flat))
    drawn = torch.stack([x["0.weight"] for x in measures.gaussians(zoo, 4000, 0)])
    own = zoo.stacked()["0.weight"]
    torch.testing.assert_close(drawn.mean(0), own.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.std(0), own.std(0), atol=0.05, rtol=0.05)
    assert [*measures.midpoints(zoo, torch.tensor([0, 0, 1, 1]), 9, 0)] == [
        "midpoint, one basin",
        "midpoint, two basins",
    ]
    middle = measures.midpoints(zoo.subset([0, 1]), torch.tensor([0, 1]), 9, 0)["midpoint, two basins"]
    torch.testing.assert_close(middle[0]["2.bias"], (zoo[0]["2.bias"] + zoo[1]["2.bias"]) / 2)


def numbers(generated, mean=50.0, distances=(0.1, 0.2, 0.1)) -> dict:
    scores = {
        "checkpoints": [90.0, 92.0],
        "untrained generator": [50.0, 50.0],
        "generated": generated,
        "mean network": [mean],
    }
    groups = {name: {"scores": x, "distances": None, "error_iou": None} for name, x in scores.items()}
    groups["generated"]["distances"] = None if distances is None else list(distances)
    return {"groups": groups, "suggestion": {"states": 3}}


def said(found: dict) -> str:
    from experiments.claims import Claims

    claims = Claims()
    works, beyond, new = verdicts.shares(found)
    if works is not None:
        claims.add("it works: a", works, above=90)
        claims.add("it is more than the mean: b", beyond, above=10)
    if new is not None:
        claims.add("it is new: c", new, above=1)
    return verdicts.in_words(claims.verdicts(), found)


def test_shares_of_the_gap():
    works, beyond, new = verdicts.shares(numbers([91.0, 50.0, 70.5, 91.0], mean=60.25))
    assert works == pytest.approx([100, 0, 50]) and beyond == pytest.approx([75, -25, 25]) and len(new) == 3


def test_every_group_has_a_row_of_its_own():
    found = numbers([91.0, 50.0, 70.5])
    assert figures.known(found) == ["scores", "distances"]
    figure, panels = figures.plt.subplots(1, 2)
    for ax, what in zip(panels, figures.known(found), strict=True):
        figures.groups(ax, found, what)
    figure.canvas.draw()
    figures.plt.close(figure)
    assert [label.get_text() for label in panels[0].get_yticklabels()] == list(found["groups"])
    strokes = [rows.get_offsets() for rows in panels[0].collections]
    assert [set(one[:, 1]) for one in strokes] == [{0}, {1}, {2}, {3}] and list(strokes[2][:, 0]) == [91.0, 50.0, 70.5]
    assert len(panels[1].collections) == 1, "distances of generated networks alone are known"
    assert figures.known(numbers([90.0] * 3, distances=None)) == ["scores"]


def test_tables_say_as_much_of_a_copy_as_of_another_network():
    """0.00 LOO is what no network lies at; a mean of 0.000172 beside a deviation of 0.05 says more than is known."""
    one = {"error_iou": 0.5, "n": 2, "scores": [90.0, 92.0]}
    far = {"generated": [0.0046, 0.0044], "Gaussian": [1.0, 1.5]}
    table = tables.groups({"groups": {name: one | {"distances": x} for name, x in far.items()}})
    assert table["distance (LOO)"].tolist() == ["0.0045", "1.25"] and table["worst (%)"].tolist() == ["90.00"] * 2
    assert "worst" in tables.groups({"groups": {"generated": one | {"distances": None, "error_iou": None}}})
    layer = {"checkpoints": {"mean": -0.00177, "deviation": 0.0533}, "generated": {"mean": 1.72e-4, "deviation": 0.05}}
    assert tables.layers({"layers": {"1.bias": layer}}).loc["1.bias"].tolist() == [
        "-0.0018",
        "0.0002",
        "0.0533",
        "0.0500",
    ]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (numbers([90.0, 90.5, 91.0]), ["networks work.", "better than the mean", "take them for copies"]),
        (numbers([90.0, 90.5, 91.0], mean=91.0), ["networks work.", "no better than the mean", "take them"]),
        (numbers([50.0, 50.5, 49.0], distances=(3, 4, 5)), ["do not work", "no better than the mean", "means nothing"]),
        (numbers([90.0, 90.5, 91.0], distances=(3, 4, 5)), ["networks work.", "better", "as far from the checkpoints"]),
        (numbers([91.0, 50.0, 95.0]), ["not decided", "not decided", "copies"]),
        (numbers(None), ["cannot be told: nothing evaluates", "cannot be told", "copies"]),
        (numbers([90.0] * 3, distances=None), ["networks work.", "better", "one checkpoint has no neighbour"]),
    ],
)
def test_verdicts_in_plain_words(found, words):
    lines = said(found).splitlines()
    assert len(lines) == 3 and all(word in line for word, line in zip(words, lines, strict=True)), lines


RECIPES = {r.name: r for r in (*ROWS["cpu"], *CIFAR10_ROWS["cpu"], UNSEEN["cpu"], CNN_DIGITS)}


@pytest.mark.parametrize("name", RECIPES)
def test_the_rule_gives_the_tuned_generator_of_each_zoo_of_ours(name):
    recipe = RECIPES[name]
    checkpoints = recipe.collect.runs * recipe.collect.checkpoints
    networks = []
    for i in range(checkpoints):
        torch.manual_seed(i)
        networks.append(recipe.architecture.build().state_dict())
    bits = recipe.model.task_bits
    rows = [{"task": "01" * (bits // 2)}] * checkpoints if bits else None
    found = suggest(Zoo.read(networks, table=rows))
    assert found.model == dataclasses.replace(recipe.model, sampling_steps=recipe.sampling_steps)
    assert found.normalisation == recipe.normalisation
    same = ("batch_size", "diffusion_batch", "weight_decay", "precision", "weighting", "prototype_loss", "permutation")
    assert all(getattr(found.train, x) == getattr(recipe.train, x) for x in same)
    assert math.isclose(found.train.learning_rate, recipe.train.learning_rate)
    assert bits or found.train.steps >= recipe.train.steps


def test_the_kept_description_is_json(folder):
    import json

    zoo = Zoo.read([module(0)])
    assert json.loads(json.dumps(study.told(describe(zoo), zoo), allow_nan=False))["nearest"] is None
