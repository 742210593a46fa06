"""Every committed generator has a model card, which says what its record says."""

import json
import re
from pathlib import Path

import pytest
import yaml

from experiments.report import cards

ROOT = Path(__file__).parents[3]


def test_every_generator_has_a_card():
    folders = {path.parent.name for path in (ROOT / "data/generators").glob("*/*/model.safetensors")}
    assert folders and folders == set(cards.generators())


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
