"""Every committed generator has a model card, which says what its record says."""

import json
import re
import statistics
from pathlib import Path

import pytest
import yaml

from experiments.own.study import Study
from experiments.report import cards
from rpglib import RPG

ROOT = Path(__file__).parents[3]


def test_every_generator_has_a_card():
    folders = {path.parent.name for path in (ROOT / "data/generators").glob("*/*/model.safetensors")}
    assert folders and folders == {*cards.generators(), cards.OWN}


def test_the_card_of_ones_own_generator_shows_its_record():
    """It was written when the generator was saved."""
    folder = ROOT / "data/generators/cpu" / cards.OWN
    record = json.loads((ROOT / "data/results/cpu" / f"{cards.OWN}.json").read_text())
    config = record["config"]
    given = {name: config[name] for name in ("checkpoints", "evaluate", "steps", "states", "n", "seed")}
    own = Study(**given, out="", profile="cpu", fresh=False, device="cpu")
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text == own.card(RPG.from_pretrained(folder), record["numbers"])
    mean = statistics.fmean(record["numbers"]["groups"]["generated"]["scores"])
    assert f"| generated | {mean:.2f} |" in text


@pytest.mark.parametrize("name", cards.generators())
def test_card_is_current(name):
    text = (ROOT / cards.path(name)).read_text(encoding="utf-8")
    assert text == cards.card(name), "run python -m experiments.report"


@pytest.mark.parametrize("name", cards.generators())
def test_card_describes_the_files_beside_it(name):
    folder = (ROOT / cards.path(name)).parent
    config = json.loads((folder / "config.json").read_text())
    text = (folder / "README.md").read_text(encoding="utf-8")
    words = " ".join(text.split())
    assert f"Tokens of {config['token_size']} values" in words
    assert f"{config['prediction']} prediction" in words
    assert ("task=" in text) == (config["task_bits"] > 0)


@pytest.mark.parametrize("name", cards.generators())
def test_front_matter_is_what_the_hub_reads(name):
    text = (ROOT / cards.path(name)).read_text(encoding="utf-8")
    front = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.S)[1])
    assert (front["license"], front["library_name"]) == ("mit", "rpglib") and front["tags"]
