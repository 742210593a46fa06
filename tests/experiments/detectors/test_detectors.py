"""Detectors by ultralytics: what they see, closed forms of both measures, their start, and the whole way in smoke."""

import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from experiments.detectors import networks, tables, voc, yolo
from experiments.detectors.jobs import AP, LOOKUP, MEAN, ONE, Job, Written, _each, _means, selections, wide_ridge
from experiments.detectors.networks import Phase, build, detect, mean_ap, new, train, without_classes
from experiments.detectors.scenes import CLASSES, VOC_CLASSES, Scenes, scenes
from experiments.detectors.settings import CPU, GENERATED, PAPER, SCRATCH, SHARED, SMOKE
from experiments.detectors.study import STARTS, Study
from experiments.extras import DETECTORS
from experiments.sweeps.cells import folder_of
from rpglib.baselines.tasks import ridge
from rpglib.errors import InputError
from rpglib.zoo.store import Zoo

needs_ultralytics = pytest.mark.skipif(
    bool(DETECTORS.absent()), reason="without the extra `detectors`: make test-extras"
)
EVERY = torch.ones(10, dtype=torch.int64)


@pytest.fixture(scope="module")
def seen():
    return scenes("digits", 8, 32, "train")


# ---- what detectors see ---------------------------------------------------------------------------------------------


def test_a_scene_shows_a_selection_its_own_objects_alone(seen):
    for row in range(len(seen)):
        assert torch.equal(seen.objects(row, EVERY)[0], seen.boxes[row])
        for digit in range(10):
            only = torch.zeros(10, dtype=torch.int64).index_fill(0, torch.tensor([digit]), 1)
            boxes, classes = seen.objects(row, only)
            assert len(boxes) == (seen.classes[row] == digit).sum() and (classes == digit).all()
    images = seen.batch([2, 0])
    assert images.shape == (2, 3, 32, 32) and images[0, 2].equal(seen.images[2, 0])


def test_targets_are_centres_and_sides_as_shares_of_the_image(seen):
    found = networks._targets(seen, [3, 1], EVERY)
    boxes = torch.cat((seen.boxes[3], seen.boxes[1]))
    centre, side = found["bboxes"].split(2, 1)
    torch.testing.assert_close(torch.cat((centre - side / 2, centre + side / 2), 1) * 32, boxes)
    assert found["batch_idx"].tolist() == [0] * len(seen.boxes[3]) + [1] * len(seen.boxes[1])
    assert found["cls"].tolist() == [*seen.classes[3].tolist(), *seen.classes[1].tolist()]


def test_voc_s_boxes_lie_on_what_they_name(tmp_path):
    """Boxes of the stand-in, whose blocks have a colour for each class, after the image was fitted into a square."""
    found = scenes("voc", 0, 120, "train", root=voc.stand_in(tmp_path))
    colours = torch.randint(256, (20, 3), generator=torch.Generator().manual_seed(0)) / 255
    x = found.batch(range(len(found)))
    assert x.shape == (8, 3, 120, 120)
    # The last object of an image lies over the others: the middle of its box shows it. JPEG blurs colours a little.
    for image, boxes, classes in zip(x, found.boxes, found.classes, strict=True):
        x0, y0, x1, y1 = boxes[-1].tolist()
        assert (x1 - x0, y1 - y0) == (32, 32)
        middle = image[:, int(y0 + y1) // 2, int(x0 + x1) // 2]
        assert (middle - colours[classes[-1]]).abs().max() < 0.25
    assert len(scenes("voc", 3, 64, "test", root=tmp_path)) == 3
    ours, theirs = (scenes("voc", 0, 64, split, root=tmp_path).images for split in ("validation", "test"))
    assert len(ours) == len(theirs) == 4 and not set(ours) & set(theirs)


def test_where_voc_is_absent_or_damaged_one_line_says_so(tmp_path):
    with pytest.raises(InputError, match=r"PASCAL VOC is not in .*VOC2012; unpack .* or set RPG_DATA") as caught:
        scenes("voc", 0, 64, "train", root=tmp_path)
    assert "\n" not in str(caught.value)
    first = next((voc.stand_in(tmp_path) / "VOCdevkit/VOC2012/Annotations").glob("000000.xml"))
    first.write_text("<annotation>")
    with pytest.raises(InputError, match=r"000000\.xml is damaged"):
        scenes("voc", 0, 64, "train", root=tmp_path)
    text = (first.parent / "000001.xml").read_text()
    wrong = {"names 'unicorn'": re.sub("<name>[a-z]*", "<name>unicorn", text, count=1)}
    wrong["has a degenerate box"] = re.sub("<xmax>[0-9]*", "<xmax>0", text, count=1)
    for words, changed in wrong.items():
        first.write_text(changed)
        with pytest.raises(InputError, match=rf"000000\.xml {words}"):
            scenes("voc", 0, 64, "train", root=tmp_path)
    with pytest.raises(InputError, match="source"):
        scenes("coco", 1, 64, "train")
    image = next((first.parents[1] / "JPEGImages").glob("000001.jpg"))
    image.write_bytes(image.read_bytes()[:40])
    first.write_text(text)
    with pytest.raises(InputError, match=r"000001\.jpg is damaged"):
        scenes("voc", 0, 64, "train", root=tmp_path).batch([1])


@pytest.mark.parametrize("sizes", [CPU, SMOKE])
def test_a_selection_and_its_opposite_are_both_seen_or_neither(sizes):
    seen, unseen = ({tuple(bits) for bits in part.tolist()} for part in selections(sizes))
    assert len(seen) + len(unseen) == sizes.selections and not seen & unseen
    for part in (seen, unseen):
        assert {tuple(1 - bit for bit in bits) for bits in part} == part
    assert sizes is not CPU or len(unseen) == 20


def test_the_paper_s_selections_are_of_twenty_classes():
    seen, unseen = selections(PAPER)
    assert (len(seen), len(unseen), seen.shape[1]) == (500, 20, len(VOC_CLASSES)) and PAPER.model.task_bits == 20


# ---- the extra ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DETECTORS.absent(), reason="the extra `detectors` is installed")
def test_without_the_extra_one_line_says_what_to_install():
    with pytest.raises(InputError, match=r"needs the package \w+; install the extra: pip install -e '\.\[detectors"):
        yolo.module("nn.tasks")


@needs_ultralytics
def test_ultralytics_writes_into_the_project_and_tells_nobody():
    utils = yolo.module("utils")
    assert not utils.SETTINGS["sync"] and not utils.ONLINE
    # Of the folder that it was first imported for.
    assert Path(utils.SETTINGS_FILE).is_relative_to(utils.USER_CONFIG_DIR)
    assert not Path(utils.USER_CONFIG_DIR).is_relative_to(Path.home() / ".config")
    assert os.environ["YOLO_OFFLINE"] == "true"


# ---- measures -------------------------------------------------------------------------------------------------------


def exact(seen: Scenes, selection: torch.Tensor) -> list[torch.Tensor]:
    """Detections that are the objects of a selection, with confidence 0.9."""
    found = []
    for row in range(len(seen)):
        boxes, classes = seen.objects(row, selection)
        found.append(torch.cat((boxes, torch.full((len(boxes), 1), 0.9), classes[:, None].float()), 1))
    return found


@needs_ultralytics
def test_both_measures_are_whole_where_all_is_found_and_only_one_sees_false_alarms(seen):
    present = torch.zeros(10, dtype=torch.int64).index_fill(0, torch.cat(list(seen.classes)).unique()[:2], 1)
    own, everything = exact(seen, present), exact(seen, EVERY)
    # Ultralytics interpolates precision to 0.995 at a recall of one.
    assert mean_ap(own, seen, present) == pytest.approx(99.5) and mean_ap(own, seen, present, True) == pytest.approx(
        99.5
    )
    assert mean_ap(everything, seen, present) == pytest.approx(99.5)
    asked, shown = (sum(len(x) for x in found) for found in (own, everything))
    assert mean_ap(everything, seen, present, True) < 100 * (asked / shown + 1) / 2 < 99
    assert mean_ap([x[:0] for x in own], seen, present) == 0


@needs_ultralytics
def test_boxes_that_are_off_count_up_to_their_overlap(seen):
    """Boxes widened to twice their area overlap by a half: right at the first of ten thresholds alone."""
    wide = []
    for own in exact(seen, EVERY):
        own = own.clone()
        own[:, 2] += (own[:, 2] - own[:, 0]) * 0.999
        wide.append(own)
    alone = replace(seen, boxes=[x[:1] for x in seen.boxes], classes=[x[:1] for x in seen.classes])
    assert mean_ap([x[:1] for x in wide], alone, EVERY) == pytest.approx(9.95)


# ---- networks -------------------------------------------------------------------------------------------------------


@needs_ultralytics
def test_the_architecture_is_yolov8n():
    """Ultralytics counts 3.01 million parameters for ten classes; class scores begin with few objects in few places."""
    model = build(10, 64)
    assert sum(x.numel() for x in model.parameters()) == 3_012_798
    for stride, scores in zip((8, 16, 32), networks._scores(model), strict=True):
        assert scores.bias.tolist() == pytest.approx([math.log(5 / 10 / (64 / stride) ** 2)] * 10)


@needs_ultralytics
def test_class_scores_begin_anew_and_nothing_else(seen):
    model, trained, fresh = build(10, 32), new(10, 32, 1), new(10, 32, 2)
    start = without_classes(model, trained, fresh)
    changed = {name for name, x in start.items() if not x.equal(trained[name])}
    assert changed == {f"model.22.cv3.{k}.2.weight" for k in range(3)}, "biases begin alike"
    model.load_state_dict(start)
    with torch.no_grad():
        scores = model.eval()(seen.batch([0, 1]))[0][:, 4:]
    # The same at every place of a scale, for all classes and images.
    assert torch.allclose(scores, scores[:1, :1].expand_as(scores))


@needs_ultralytics
def test_training_learns_its_scenes_repeats_itself_and_keeps_what_was_asked_for(seen):
    model, start = build(10, 32), new(10, 32, 0)
    phase = Phase(2, 1e-3, batch=4)
    first, second = train(model, start, seen, EVERY, phase, 0, (1, 2))
    (again,) = train(model, start, seen, EVERY, phase, 0, (2,))
    assert all(x.equal(again[name]) for name, x in second.items())
    assert any(not x.equal(second[name]) for name, x in first.items())
    (other,) = train(model, start, seen, EVERY, phase, 1, (2,))
    assert any(not x.equal(other[name]) for name, x in second.items()), "the order is the seed's"
    losses = []
    for state in (start, train(model, start, seen, EVERY, Phase(20, 1e-3, batch=4), 0, (20,))[0]):
        model.load_state_dict(state)
        model.train()
        found = model.init_criterion()(model(seen.batch(range(8))), networks._targets(seen, range(8), EVERY))
        losses.append(float(found[0].sum().detach()))
    assert losses[1] < 0.85 * losses[0]


@needs_ultralytics
def test_new_layers_learn_at_their_own_rate(seen):
    """Adam's first step is as long as the rate, for every value whose gradient is not small."""
    start = new(10, 32, 0)
    phase = Phase(1, 1e-4, batch=8, new=10.0, weight_decay=0.0)
    (state,) = train(build(10, 32), start, seen, EVERY, phase, 0, (1,))
    steps = {name: (state[name] - start[name]).abs().max().item() for name in start if name.endswith("conv.weight")}
    last = (state["model.22.cv3.0.2.weight"] - start["model.22.cv3.0.2.weight"]).abs().max().item()
    assert last == pytest.approx(1e-3, rel=0.02)
    assert max(steps.values()) == pytest.approx(1e-4, rel=0.02)


@needs_ultralytics
def test_a_network_that_is_not_finite_detects_nothing(seen):
    state = new(10, 32, 0)
    name = next(name for name, x in state.items() if x.is_floating_point())
    broken = state | {name: torch.full_like(state[name], math.nan)}
    assert [len(x) for x in detect(build(10, 32), broken, seen)] == [0] * len(seen)


@needs_ultralytics
def test_means_are_of_a_selection_s_checkpoints_and_rows_become_networks_again(tmp_path):
    states = [new(10, 32, seed) for seed in range(4)]
    zoo = Zoo.from_checkpoints(states, runs=range(4), accuracies=None)
    rows, like = _means(zoo, 2)
    assert rows.shape == (2, sum(x.numel() for x in like.values()))
    made = list(_each(rows, like, zoo[0]))
    assert list(made[0]) == list(states[0])
    name = "model.0.conv.weight"
    torch.testing.assert_close(made[1][name], (states[2][name] + states[3][name]) / 2)
    build(10, 32).load_state_dict(made[1])


@pytest.mark.parametrize("order", [1, 2])
def test_ridge_in_the_span_of_the_networks_is_ridge(order):
    seen, unseen = selections(CPU)
    rows = torch.randn(len(seen), 300, generator=torch.Generator().manual_seed(0)) + 3 * seen[:, :1]
    torch.testing.assert_close(
        wide_ridge(seen, rows, unseen, order), ridge(seen, rows, unseen, order=order), atol=1e-4, rtol=1e-4
    )


# ---- the whole way --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(home):
    return Study(SMOKE, "smoke")


@pytest.fixture(scope="module")
def record(study):
    return study.record(True)


@needs_ultralytics
def test_the_whole_network_is_written_and_what_never_varies_is_exact(study, record):
    numbers = record["numbers"]
    written = Job(SMOKE, "smoke").other(Written)
    state = load_file(Written.place(folder_of(written), 0))
    fresh = new(10, 32, 0)
    assert {name: x.shape for name, x in state.items()} == {name: x.shape for name, x in fresh.items()}
    fixed = "model.22.dfl.conv.weight"
    assert state[fixed].equal(fresh[fixed])
    assert numbers["written"]["tokenised"] == numbers["begun"]["values"] - fresh[fixed].numel()


@needs_ultralytics
def test_the_record_has_a_number_for_every_unseen_selection(study, record):
    numbers, (_, unseen) = record["numbers"], selections(SMOKE)
    assert {GENERATED, MEAN, LOOKUP, SHARED} <= numbers["written"]["measures"].keys()
    for rows in (*numbers["written"]["measures"].values(), *(x["measures"] for x in numbers["tuned"].values())):
        assert len(rows) == len(unseen)
    assert STARTS == (GENERATED, SHARED, SCRATCH) and numbers["tuned"][SCRATCH]["epochs"] == [0, *SMOKE.measured]
    for measure in (AP, ONE):
        once = [x[measure] for x in numbers["written"]["measures"][GENERATED]]
        assert tables.tuned(numbers, GENERATED, 0, measure) == once, "measured twice, from the same file"
    assert len(tables.table_21(numbers)) == len(unseen) + 3
    assert study.record(False) == json.loads(json.dumps(record))
    assert "their" in study.check_live(record)
    with pytest.raises(AssertionError):
        study.check_live(record | {"numbers": {"begun": {"objects": [0] * 10}}})
    with pytest.raises(InputError, match="other settings"):
        Study(replace(SMOKE, size=64), "smoke").record(False)


@needs_ultralytics
def test_the_paper_s_way_goes_through_on_a_stand_in_and_is_one_line_elsewhere(study, record, tmp_path):
    found = study.voc(True)
    assert len(found["written"]["unseen"][0]) == len(CLASSES["voc"]) == 20
    assert tables.voc(found).shape[1] == 3
    assert "unpack VOCtrainval" in Study(CPU, "cpu").voc(False)
    with pytest.raises(InputError, match="PASCAL VOC is not in"):
        Study(PAPER, "paper", root=tmp_path).numbers()


def test_phases_are_checked():
    for wrong in ({"epochs": 0}, {"batch": 0}, {"warmup": -1}):
        with pytest.raises(InputError, match=f"Phase.{next(iter(wrong))}"):
            Phase(**({"epochs": 1, "learning_rate": 1e-3} | wrong))
