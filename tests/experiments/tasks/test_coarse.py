"""The coarse classes of ImageNet (v2, table 20), end to end on a stand-in with ImageNet's layout."""

from dataclasses import replace

import pandas as pd
import pytest

from experiments.pipeline import images_of
from experiments.profiles import unseen_tasks as recipe_of
from experiments.records import working_dir
from experiments.tasks import asked, coarse, unseen
from rpglib.errors import InputError
from rpglib.zoo.coarse_imagenet import COARSE_CLASSES
from rpglib.zoo.images import labels_of


@pytest.fixture(scope="module")
def result(home):
    return coarse.on_stand_in("smoke")


@pytest.fixture
def at_stand_in(result):
    with coarse.data_at(working_dir("smoke", "coarse_classes")):
        yield


def test_the_stand_in_is_read_as_imagenet_is(tmp_path):
    folder = coarse.stand_in(tmp_path / "data") / "imagenet"
    assert {path.suffix for path in folder.glob("*/*/*")} == {".JPEG"}
    assert all(path.name.startswith(path.parent.name) for path in folder.glob("*/*/*"))
    with coarse.data_at(tmp_path / "data"):
        images = images_of("imagenet10")
        assert images.class_names == tuple(COARSE_CLASSES) and images.test.shape == (3, 224, 224)
        assert labels_of(images.test).sort().values.tolist() == list(range(10))
    assert images_of("digits").num_classes == 10


def test_the_profile_paper_goes_end_to_end_on_the_stand_in(result):
    """What differs from the recipe of profile paper is sizes, and where its backbone comes from."""
    assert result.record["data_source"] == "ImageNet (timm.data), ten coarse classes"
    (split,) = result.numbers["splits"]
    assert (split["seen_tasks"], split["unseen_tasks"]) == (4, 2)
    assert {"lookup", "majority class", "kernel ridge"} <= split["baselines"].keys()
    paper, small = recipe_of("paper"), coarse.small()
    assert (small.images, small.normalisation, small.sampler) == (paper.images, paper.normalisation, paper.sampler)
    assert paper.pretrained and paper.architecture.name == "vit_small_patch16_224"


def test_what_the_notebook_asks_beside_goes_this_way_too(result, at_stand_in, monkeypatch):
    assert "2 unseen tasks" in unseen.check_live(result)
    recipe = coarse.small()
    varied = replace(
        recipe,
        name="varied",
        collect=replace(recipe.collect, runs=2, checkpoints=1, shared_order=False),
        random_heads=True,
    )
    assert unseen.numbers_alone(varied, "smoke", True, device="cpu")["numbers"]["zoo"]["tasks"] == 6
    monkeypatch.setattr(asked, "NETWORKS", 1)
    monkeypatch.setattr(asked, "IMAGES", 2)
    found = asked.asked(replace(recipe, train=replace(recipe.train, steps=1)), "smoke", True, device="cpu")
    assert found["variants"].keys() == asked.VARIANTS.keys()


def test_table_20_is_the_paper_s_or_says_what_to_put_where(result):
    table = coarse.table_20("smoke", True)
    assert isinstance(table, pd.DataFrame) and len(table) == 3 and "original" in table
    assert "data/datasets/imagenet/train" in coarse.table_20("cpu", False)


def test_without_imagenet_the_profile_paper_is_one_line(tmp_path):
    with coarse.data_at(tmp_path), pytest.raises(InputError, match=r"lacks 395 of the 395 .* set RPG_DATA") as caught:
        unseen.unseen_tasks(recipe_of("paper"), "paper", fresh=True, device="cpu")
    assert "\n" not in str(caught.value)
