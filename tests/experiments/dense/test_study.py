"""From runs to a record: what is measured, what is kept as text, and which record is another's."""

import pytest
import torch

from experiments.dense import study
from experiments.dense.jobs import Measuring, Row, read_zoo
from experiments.dense.kinds import Scenes
from experiments.dense.pictures import labels, text
from experiments.dense.settings import SMOKE
from experiments.dense.study import Study, digest
from experiments.dense.tables import groups, minutes, table_2
from experiments.extras import DENSE
from rpglib.errors import InputError

needs_extra = pytest.mark.skipif(bool(DENSE.absent()), reason="without the extra `dense`: make test-extras")


def test_pictures_are_kept_as_text():
    seen = Scenes.composed("train", 1, 64).labels[0]
    assert torch.equal(labels(text(seen), 64), seen)


def test_scenes_of_another_seed_are_others():
    one, again, other = (Study("segmentation", "smoke", seed).asked() for seed in (0, 0, 1))
    assert digest(one) == digest(again) != digest(other)


def test_large_networks_are_for_other_profiles():
    assert "RPG_DATA" in study.large("cpu", True) and "RPG_DATA" in study.large("smoke", False)


def test_without_public_data_one_line_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    monkeypatch.setenv("RPG_DATA", str(tmp_path))
    said = study.large("paper", True)
    assert said.startswith("not measured: no ADE20K in") and "\n" not in said


@needs_extra
def test_a_record_of_segmentation(home):
    asked = Study("segmentation", "smoke")
    record = asked.record(True)
    assert record["numbers"].keys() == {"runs", "populations", "scenes"} and len(record["numbers"]["runs"]) == 2
    one, two = record["numbers"]["populations"].values()
    assert (one["checkpoints"], two["checkpoints"]) == (2, 4) and "shown" in one and "shown" not in two
    # All floating values but those that are alike in both checkpoints.
    torch.manual_seed(0)
    whole = sum(x.numel() for x in SMOKE["segmentation"].kind.build().state_dict().values() if x.is_floating_point())
    assert 0.95 * whole <= one["values"] <= whole
    alike = {"generated", "untrained generator", "mean network", "Gaussian", "noise as far as RPG", "midpoint, one run"}
    assert one["groups"].keys() == {"originals", *alike}
    assert two["groups"].keys() == {"originals", *alike, "midpoint, two runs"}
    assert one["groups"]["originals"]["distance"] == pytest.approx(1)
    rows = Row(asked.setting, "smoke", population="two runs").runs()
    assert read_zoo(rows).runs.tolist() == [0, 1, 0, 1]
    assert asked.record(False)["numbers"] == record["numbers"]
    assert "the record's" in asked.check_live(record)
    assert [row["image"].shape for row in asked.pictures(record)] == [(64, 64)] * 3
    assert len(table_2({"segmentation": record})) == 6 and len(groups(record)) == 15 and minutes(record) > 0
    with pytest.raises(InputError, match="made with other settings"):
        Study("segmentation", "smoke", seed=1).record(False)
    with pytest.raises(AssertionError, match="not the record's"):
        Study("segmentation", "smoke", seed=1).check_live(record)


@needs_extra
def test_a_network_is_no_distance_from_itself():
    setting = SMOKE["segmentation"]
    torch.manual_seed(0)
    networks = [setting.kind.build().state_dict() for _ in range(3)]
    weights = torch.stack(
        [
            torch.cat([x.flatten() for n, x in one.items() if x.is_floating_point() and "running" not in n])
            for one in networks
        ]
    )
    measuring = Measuring(setting, Scenes.composed("test", 3, 64), weights)
    assert measuring(networks[:2])["distance"] == 0
    assert measuring(networks[:1])["error_iou"] is None
    assert measuring([networks[0], networks[0]])["error_iou"] == 1
