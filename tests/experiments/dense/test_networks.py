"""Segmentation and detection: metrics in closed form, training, whole networks in tokens, public layouts, bad input."""

import json
from dataclasses import replace

import pytest
import torch

from experiments.dense.detection import missed, percent, precision
from experiments.dense.kinds import Scenes
from experiments.dense.large import as_beit, paper, stand_in
from experiments.dense.layouts import ADE20K, CocoInstances, polygon, run_lengths, write_ade, write_coco
from experiments.dense.scenes import scenes
from experiments.dense.segmentation import IGNORED, Segmenter, confusion, scores
from experiments.dense.settings import CPU, SMOKE
from experiments.dense.teaching import Teaching, teach
from experiments.extras import DENSE
from rpglib.errors import InputError
from rpglib.tokenizer import ParameterTokenizer
from rpglib.zoo.store import Zoo

needs_extra = pytest.mark.skipif(bool(DENSE.absent()), reason="without the extra `dense`: make test-extras")
FEW = Teaching(epochs=2, batch=4, tail=4, checkpoints=2)


@pytest.fixture(scope="module")
def few():
    return Scenes.composed("train", 8, 64)


# ---- metrics ------------------------------------------------------------------------------------------------------


def test_scores_of_a_table_in_closed_form():
    """Three pixels of class 0, one of them given 1; one of class 1, right; class 2 is nowhere."""
    table = confusion(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 1]), 3)
    assert table.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    found = scores(table)
    assert found["mIoU"] == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)
    assert found["mAcc"] == pytest.approx(100 * (2 / 3 + 1) / 2)
    assert found["pixel accuracy"] == pytest.approx(75)


@needs_extra
def test_right_answers_are_worth_everything_and_wrong_classes_nothing():
    objects = scenes(6, seed=1)[2]
    right = [found | {"scores": torch.ones(len(found["labels"]))} for found in objects]
    metric = precision()
    metric.update(right, objects)
    assert percent(metric) == pytest.approx({"box mAP": 100, "mask mAP": 100, "box AP50": 100})
    assert not missed(right, objects).any()
    wrong = [found | {"labels": found["labels"] % 10 + 1} for found in right]
    metric = precision()
    metric.update(wrong, [found | {"labels": found["labels"] * 0 + 11} for found in objects])
    assert percent(metric)["box mAP"] == 0
    assert missed(wrong, objects).any()


@needs_extra
def test_half_a_box_counts_at_low_iou_alone():
    """A box of IoU 0.6 is right at 0.5, 0.55 and 0.6, of ten thresholds."""
    mask = torch.ones(1, 10, 10, dtype=torch.bool)
    there = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([1]), "masks": mask}
    seen = there | {"boxes": torch.tensor([[0.0, 0, 10, 6.01]]), "scores": torch.tensor([0.9])}
    metric = precision()
    metric.update([seen], [there])
    found = percent(metric)
    assert found["box mAP"] == pytest.approx(30) and found["mask mAP"] == pytest.approx(100)


def test_what_is_not_sure_is_missed():
    there = {"boxes": torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]]), "labels": torch.tensor([1, 2])}
    seen = there | {"scores": torch.tensor([0.9, 0.4])}
    assert missed([seen], [there]).tolist() == [False, True]
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0), "scores": torch.zeros(0)}
    assert missed([nothing], [there]).tolist() == [True, True]


@needs_extra
def test_pixels_that_are_ignored_teach_and_count_nothing(few):
    kind = SMOKE["segmentation"].kind
    torch.manual_seed(0)
    model = kind.build().eval()
    part = few[torch.arange(2)]
    hidden = Scenes(part.images, part.labels.clone(), part.objects)
    hidden.labels[:, :32] = IGNORED
    with torch.no_grad():
        found = torch.nn.functional.cross_entropy(
            kind.logits(model, part.images)[:, :, 32:].flatten(2), part.labels[:, 32:].flatten(1)
        )
        assert kind.loss(model, hidden).item() == pytest.approx(found.item(), rel=1e-5)
    assert len(kind.measure(model, hidden).wrong) == 2 * 32 * 64


@needs_extra
def test_the_ground_counts_as_much_as_is_said(few):
    """Without it the loss is that of the digits' pixels alone."""
    kind, part = SMOKE["segmentation"].kind, few[torch.arange(2)]
    torch.manual_seed(0)
    model = kind.build().eval()
    with torch.no_grad():
        each = torch.nn.functional.cross_entropy(kind.logits(model, part.images), part.labels, reduction="none")
        for ground in (0.0, 0.2, 1.0):
            weights = torch.where(part.labels == 0, ground, 1.0)
            expected = (weights * each).sum() / weights.sum()
            assert replace(kind, ground=ground).loss(model, part).item() == pytest.approx(expected.item(), rel=1e-5)


# ---- networks -----------------------------------------------------------------------------------------------------


@needs_extra
@pytest.mark.parametrize("what", SMOKE)
def test_a_run_learns_and_its_checkpoints_are_whole_networks(few, what):
    kind = SMOKE[what].kind
    kept, told = teach(kind, few, replace(FEW, epochs=6), seed=0)
    assert len(kept) == 2 and sum(told["losses"][-4:]) < sum(told["losses"][:4])
    zoo = Zoo.from_checkpoints(kept, runs=[0, 0], accuracies=None)
    tokenizer = ParameterTokenizer.fit(zoo, 64)
    values = {name: x for name, x in kept[0].items() if x.is_floating_point()}
    own = {layer.name for layer in tokenizer.layers}
    # Constant in this short a run may be a bias without gradient; statistics never are.
    assert {name for name in values if "running" in name} <= own
    again = kind.build()
    again.load_state_dict(tokenizer.decode(tokenizer.encode(kept[1])[0]))
    asked = few[torch.arange(4)]
    model = kind.build()
    model.load_state_dict(kept[1])
    one, other = (kind.measure(network, asked) for network in (model, again))
    assert one.metrics == pytest.approx(other.metrics, abs=0.5) and set(one.metrics) > {kind.main}
    assert (one.wrong == other.wrong).double().mean() > 0.99


@needs_extra
@pytest.mark.parametrize("what", CPU)
def test_networks_have_the_size_that_was_asked_for(what):
    with torch.device("meta"):
        values = sum(x.numel() for x in CPU[what].kind.build().state_dict().values())
    assert 1e5 < values < 1.5e6


@needs_extra
def test_runs_start_apart_and_repeat(few):
    kind = SMOKE["segmentation"].kind
    one, again, other = (teach(kind, few, FEW, seed)[0][-1] for seed in (0, 0, 1))
    assert all(x.equal(again[name]) for name, x in one.items())
    assert not any(x.equal(other[name]) for name, x in one.items() if x.ndim > 1)


@needs_extra
def test_a_detector_is_not_taught_by_scenes_that_teach_nothing(few):
    kind = SMOKE["detection"].kind
    bad = Scenes(few.images, few.labels, [found | {"boxes": found["boxes"][:, [2, 1, 0, 3]]} for found in few.objects])
    with pytest.raises(InputError, match="degenerate box"):
        teach(kind, bad, FEW, 0)


@needs_extra
def test_weights_of_a_vision_transformer_become_beits():
    """The same image gives the same last map as in timm's transformer, whose names are those of MAE's."""
    import timm

    torch.manual_seed(0)
    reference = timm.create_model("vit_tiny_patch16_224", img_size=64, in_chans=1, num_classes=0).eval()
    kind = Segmenter(patch=16, widths=(192,), heads=3, depth=12, head=8)
    model = kind.build().eval()
    own, given = model.state_dict(), as_beit(reference.state_dict())
    assert given.keys() - own.keys() == {f"backbone.beit.layers.{k}.attention.k_proj.bias" for k in range(12)}
    # Without a bias of keys attention is the same: it adds as much to all keys of a query.
    model.load_state_dict(own | {name: x for name, x in given.items() if name in own})
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        x = reference.blocks(reference.norm_pre(reference._pos_embed(reference.patch_embed(image))))
        found = model.backbone.beit(image, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(found, x, atol=2e-4, rtol=2e-4)


# ---- files --------------------------------------------------------------------------------------------------------


def test_scenes_come_back_from_ades_folders(tmp_path, few):
    write_ade(tmp_path, "val", few)
    read = ADE20K(tmp_path, "val", 64)
    assert len(read) == 8
    found = read[torch.tensor([3, 1])]
    for k, row in enumerate((3, 1)):
        known = few.labels[row]
        assert torch.equal(found.labels[k], torch.where(known == 0, IGNORED, known - 1))
        assert (found.images[k] - few.images[row]).abs().mean() < 0.05  # JPEG


def test_scenes_come_back_from_cocos_folders(tmp_path, few):
    write_coco(tmp_path, "train", few)
    found = CocoInstances(tmp_path, "train", 64)[torch.arange(8)]
    for read, known in zip(found.objects, few.objects, strict=True):
        assert torch.equal(read["boxes"], known["boxes"]) and torch.equal(read["labels"], known["labels"])
        assert torch.equal(read["masks"], known["masks"])
    small = CocoInstances(tmp_path, "train", 32)[torch.arange(8)]
    assert torch.equal(small.objects[0]["boxes"], few.objects[0]["boxes"] / 2) and small.images.shape[-1] == 32


def test_images_without_objects_are_evaluated_but_do_not_teach(tmp_path, few):
    for part, name in (("train", "train2017"), ("val", "val2017")):
        write_coco(tmp_path, part, few)
        path = tmp_path / "coco" / "annotations" / f"instances_{name}.json"
        said = json.loads(path.read_text())
        said["annotations"] = [x for x in said["annotations"] if x["image_id"] != 2]
        said["annotations"][0]["iscrowd"] = 1
        path.write_text(json.dumps(said))
    taught, asked = (CocoInstances(tmp_path, part, 64) for part in ("train", "val"))
    assert len(asked) == 8 and len(taught) == 8 - 1 - (len(few.objects[0]["labels"]) == 1)
    found = asked[torch.tensor([0, 2])].objects
    assert found[0]["iscrowd"][0] == 1 and not len(found[1]["labels"])


def test_run_lengths_and_polygons_are_cocos():
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[1:, 1] = True
    assert run_lengths(mask) == [4, 2, 6] and run_lengths(~mask) == [0, 4, 2, 6]
    assert torch.equal(polygon({"counts": [4, 2, 6], "size": [3, 4]}, (3, 4), (3, 4), 4)[:3], mask)
    square = polygon([[2, 2, 5, 2, 5, 5, 2, 5]], (8, 8), (8, 8), 8)
    assert square[2:6, 2:6].all() and square.sum() == 16


@pytest.mark.parametrize("name", ["ADE20K", "COCO"])
def test_where_real_data_is_absent_one_line_says_what_to_put_where(tmp_path, name):
    with pytest.raises(InputError) as refused:
        paper(tmp_path)[name].compute(tmp_path)
    message = str(refused.value)
    assert str(tmp_path) in message and "RPG_DATA" in message and "\n" not in message
    assert {"ADE20K": "ADEChallengeData2016.zip", "COCO": "annotations_trainval2017.zip"}[name] in message


def test_damaged_files_are_named(tmp_path, few):
    write_ade(tmp_path, "val", few)
    write_coco(tmp_path, "val", few)
    (tmp_path / "ADEChallengeData2016" / "annotations" / "validation" / "ADE_valid_00000002.png").unlink()
    with pytest.raises(InputError, match=r"ADE_valid_00000002\.png is absent"):
        ADE20K(tmp_path, "val", 64)
    labels = tmp_path / "ADEChallengeData2016" / "annotations" / "validation" / "ADE_valid_00000002.png"
    labels.write_bytes(b"nothing of a picture")
    with pytest.raises(InputError, match=r"ADE_valid_00000002\.png is damaged"):
        ADE20K(tmp_path, "val", 64)[torch.tensor([1])]
    image = tmp_path / "coco" / "val2017" / f"{1:012d}.jpg"
    image.write_bytes(image.read_bytes()[:40])
    with pytest.raises(InputError, match=r"000000000001\.jpg is damaged"):
        CocoInstances(tmp_path, "val", 64)[torch.tensor([1])]
    (tmp_path / "coco" / "annotations" / "instances_val2017.json").write_text("{}")
    with pytest.raises(InputError, match=r"instances_val2017.json is not COCO's"):
        CocoInstances(tmp_path, "val", 64)


@needs_extra
def test_the_papers_way_is_gone_with_scenes_in_public_layouts(tmp_path):
    found = {name: row.compute(tmp_path / name) for name, row in stand_in(tmp_path / "data").items()}
    assert {name: set(x) for name, x in found.items()} == {
        "ADE20K": {"mIoU", "pixel accuracy", "mAcc"},
        "COCO": {"box mAP", "mask mAP", "box AP50"},
    }
    assert all(x["n"] == 2 and 0 <= x["min"] <= x["max"] <= 100 for of in found.values() for x in of.values())
