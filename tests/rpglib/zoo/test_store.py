"""The zoo's store: everything comes back, from memory and from files; whatever is damaged is one clear line."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rpglib.errors import InputError
from rpglib.runtime.state_dicts import STORED
from rpglib.tasks.conditions import Condition
from rpglib.zoo import store
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.store import Zoo

ARCHITECTURE = Architecture("cnn_digits", 10, 1, 8)


def checkpoint(i: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(i)
    return {"weight": torch.randn(4, 3, generator=generator), "scale": torch.tensor(float(i)), "steps": torch.tensor(i)}


def facts(count: int) -> dict:
    return {
        "architecture": ARCHITECTURE,
        "runs": [i // 2 for i in range(count)],
        "accuracies": [90.0 + i for i in range(count)],
        "tasks": [[i % 2, 1] for i in range(count)],
        "images": "digits",
        "config": {"epochs": 3},
    }


@pytest.fixture(params=["memory", "one shard", "many shards"])
def zoo(request, tmp_path, monkeypatch) -> Zoo:
    checkpoints = (checkpoint(i) for i in range(5))
    if request.param == "memory":
        return Zoo.from_checkpoints(checkpoints, **facts(5))
    if request.param == "many shards":
        monkeypatch.setattr(store, "SHARD_BYTES", 100)  # two checkpoints of 60 bytes each
    zoo = Zoo.write(tmp_path, checkpoints, **facts(5))
    assert len(list(tmp_path.glob("*.safetensors"))) == (1 if request.param == "one shard" else 3)
    return zoo


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and found[name].equal(tensor), name


def test_everything_comes_back(zoo):
    assert len(zoo) == 5 and zoo.runs.tolist() == [0, 0, 1, 1, 2] and zoo.accuracies.tolist() == [90, 91, 92, 93, 94]
    assert zoo.tasks.tolist() == [[0, 1], [1, 1], [0, 1], [1, 1], [0, 1]]
    assert zoo.architecture == ARCHITECTURE and zoo.config == {"epochs": 3} and zoo.images == "digits"
    for i, found in enumerate(zoo):
        assert_same(found, checkpoint(i))
    assert_same(zoo[-1], checkpoint(4))
    assert sum(p.numel() for p in zoo.build().parameters()) == 3514


def test_neither_architecture_nor_images_need_be_known(tmp_path):
    unknown = {name: x for name, x in facts(3).items() if name not in ("architecture", "images")}
    networks = [checkpoint(i) for i in range(3)]
    Zoo.write(tmp_path, networks, **unknown)
    for zoo in (Zoo.open(tmp_path), Zoo.from_checkpoints(networks, **unknown)):
        assert zoo.architecture is None and zoo.images is None and repr(zoo) == "Zoo(3 checkpoints, 2 runs)"
        assert_same(zoo[2], checkpoint(2))
        with pytest.raises(InputError, match="does not know its architecture"):
            zoo.build()


CONDITIONS = (Condition("angle", -180, 180, "angle"), Condition("camera", 0, 3, "identity"))


def test_conditions_travel_with_the_zoo(tmp_path):
    rows = [[10.0 * k, k % 4] for k in range(5)]
    checkpoints = [checkpoint(i) for i in range(5)]
    told = {"conditions": torch.tensor(rows), "described_by": CONDITIONS}
    by_name = {"conditions": [{"camera": c, "angle": a} for a, c in rows], "described_by": CONDITIONS}
    written = Zoo.write(tmp_path, checkpoints, **facts(5), **told)
    for zoo in (written, Zoo.open(tmp_path), Zoo.from_checkpoints(checkpoints, **facts(5), **by_name)):
        assert zoo.conditions.tolist() == rows and zoo.conditions.dtype == torch.float64
        assert zoo.described_by == CONDITIONS
        assert zoo.subset([3, 1]).conditions.tolist() == [rows[3], rows[1]] and zoo[:2].described_by == CONDITIONS
    plain = Zoo.write(tmp_path, checkpoints, **facts(5))
    assert plain.conditions is None and plain.described_by == ()
    assert "conditions" not in json.loads((tmp_path / "manifest.json").read_text()), "as manifests were before"


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"conditions": [[0.0, 1]] * 2}, "conditions go with described_by"),
        ({"described_by": CONDITIONS}, "conditions go with described_by"),
        ({"conditions": [[0.0, 1]] * 3, "described_by": CONDITIONS}, r"not of the shape \(3, 2\)"),
        ({"conditions": [[0.0, 4]] * 2, "described_by": CONDITIONS}, "camera: 4 is no whole number from 0 to 3"),
        ({"conditions": [[math.nan, 1]] * 2, "described_by": CONDITIONS}, "angle: nan is no finite number"),
        ({"conditions": [[9.0]] * 2, "described_by": [Condition("blur")]}, "blur: 9 is outside of 0 to 1"),
        ({"conditions": [[0.0]] * 2, "described_by": ["blur"]}, "takes a Condition, not 'blur'"),
    ],
)
def test_conditions_that_describe_nothing_are_refused_before_the_first_checkpoint(tmp_path, told, message):
    with pytest.raises(InputError, match=message):
        Zoo.write(tmp_path, never(), **facts(2), **told)


def test_any_order_can_be_read_side_by_side(zoo):
    order = [4, 0, 3, 3]
    assert_same(zoo.stacked(order), {k: torch.stack([checkpoint(i)[k] for i in order]) for k in checkpoint(0)})
    assert_same(zoo.stacked(), {k: torch.stack([checkpoint(i)[k] for i in range(5)]) for k in checkpoint(0)})
    found = zoo.subset([3, 1, 4]).stacked([2, 0])
    assert_same(found, {k: torch.stack([checkpoint(i)[k] for i in (4, 3)]) for k in checkpoint(0)})


def test_numbers_of_eight_bits_are_numbers_and_no_mask(zoo):
    chosen = torch.tensor([4, 0, 1, 3, 2], dtype=torch.uint8)
    assert zoo.subset(chosen).runs.tolist() == zoo.subset(chosen.long()).runs.tolist()
    assert len(zoo.subset(chosen.numpy())) == 5


def test_a_subset_keeps_its_facts(zoo):
    subset = zoo.subset(zoo.runs == 1).subset([1])
    assert len(subset) == 1 and subset.accuracies.tolist() == [93] and subset.runs.tolist() == [1]
    assert_same(subset[0], checkpoint(3))
    with pytest.raises(IndexError):
        subset[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": torch.zeros(4, 4)}, r"checkpoint 1: tensor 'weight' is \[4, 4\] float32, in the first .*\[4, 3\]"),
        ({"weight": torch.zeros(4, 3).half()}, r"'weight' is \[4, 3\] float16"),
        ({"head": torch.zeros(1)}, "checkpoint 1 has an extra tensor 'head'"),
        ({"weight": None}, "checkpoint 1 lacks tensor 'weight'"),
        ({"weight": torch.full((4, 3), torch.nan)}, "'weight' holds NaN"),
    ],
)
def test_a_checkpoint_that_differs_is_named_and_the_old_zoo_stays(tmp_path, change, message):
    Zoo.write(tmp_path, [checkpoint(7)], **facts(1))
    before = sorted(tmp_path.iterdir())
    other = {name: tensor for name, tensor in (checkpoint(1) | change).items() if tensor is not None}
    with pytest.raises(InputError, match=message):
        Zoo.write(tmp_path, [checkpoint(0), other], **facts(2))
    assert sorted(tmp_path.iterdir()) == before
    assert_same(Zoo.open(tmp_path)[0], checkpoint(7))


def test_writing_again_replaces_the_zoo_and_nothing_else(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"not ours")
    Zoo.write(tmp_path, [checkpoint(0)], **facts(1))
    zoo = Zoo.write(tmp_path, [checkpoint(1), checkpoint(2)], **facts(2))
    assert_same(zoo[0], checkpoint(1))
    assert len(list(tmp_path.iterdir())) == 3 and (tmp_path / "model.safetensors").read_bytes() == b"not ours"


def test_tensors_come_in_the_network_s_own_order(tmp_path, monkeypatch):
    """A file keeps them by alphabet; here the network does not, a tied tensor stands between, and shards are joined."""

    def tied(i):
        memory = torch.full((5,), float(i))
        return {"z": torch.tensor([float(i)]), "m": memory, "b": torch.tensor(i), "k": memory, "a": torch.ones(2)}

    monkeypatch.setattr(store, "SHARD_BYTES", 60)  # two checkpoints of 40 bytes each
    written = Zoo.write(tmp_path, [tied(i) for i in range(5)], **facts(5))
    for zoo in (written, Zoo.open(tmp_path), Zoo.from_checkpoints([tied(i) for i in range(5)], **facts(5))):
        for found in (zoo[4], zoo.stacked(), zoo.stacked([4, 0]), zoo.subset([3, 1])[0]):
            assert list(found) == ["z", "m", "b", "k", "a"]
        chosen = zoo.stacked([4, 0], names=["k", "b"])
        assert chosen.keys() == {"k", "b"} and chosen["b"].tolist() == [4, 0]
        assert chosen["k"].equal(torch.tensor([4.0, 0.0])[:, None].expand(2, 5))
        assert_same(zoo[4], tied(4))


def test_a_network_comes_back_in_the_order_of_its_state_dict(tmp_path):
    network = Architecture("vit_small_digits", 10, 1, 8).build().state_dict()
    assert list(network) != sorted(network)
    assert list(Zoo.write(tmp_path, [network], **facts(1))[0]) == list(network)


def test_a_zoo_of_an_older_format_is_replaced(tmp_path):
    Zoo.write(tmp_path, [checkpoint(0)], **facts(1))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"format": "rpglib zoo 1"}))
    with pytest.raises(InputError, match="collect the checkpoints again"):
        Zoo.open(tmp_path)
    assert_same(Zoo.write(tmp_path, [checkpoint(1)], **facts(1))[0], checkpoint(1))
    assert len(list(tmp_path.iterdir())) == 2, "the older zoo's shard is gone"


@pytest.mark.parametrize("text", ['{"name": "a web app"}', "[]", "half a ma"])
def test_a_manifest_that_is_no_zoo_s_is_kept_and_refused_before_the_first_checkpoint(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)

    def checkpoints():
        raise AssertionError("hours of collecting for nothing")
        yield

    with pytest.raises(InputError, match=r"manifest\.json is not"):
        Zoo.write(tmp_path, checkpoints(), **facts(1))
    assert (tmp_path / "manifest.json").read_text() == text and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["../victim.txt", "../victim.safetensors", "notes.txt", "/etc/passwd", "", None, 3])
def test_a_manifest_that_names_other_files_is_refused_and_deletes_nothing(tmp_path, name):
    """A zoo that is replaced deletes its shards: whoever hands one over must not choose what else goes."""
    folder, victims = tmp_path / "zoo", [tmp_path / "victim.txt", tmp_path / "victim.safetensors"]
    Zoo.write(folder, [checkpoint(0)], **facts(1))
    notes = folder / "notes.txt"
    for path in (*victims, notes):
        path.write_text("mine")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][0]["file"] = name
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for attempt in (lambda: Zoo.open(folder), lambda: Zoo.write(folder, [checkpoint(1)], **facts(1))):
        with pytest.raises(InputError, match=r"no \.safetensors file of its own folder"):
            attempt()
    assert all(path.read_text() == "mine" for path in (*victims, notes))


@pytest.mark.parametrize("stored", [True, False])
def test_tensors_that_change_after_they_were_handed_over_are_kept_as_they_were(tmp_path, stored):
    network, seen = torch.nn.Linear(4, 2), []

    def training():
        for step in range(3):
            with torch.no_grad():
                network.weight.fill_(step)
            seen.append({name: x.clone() for name, x in network.state_dict().items()})
            yield network.state_dict()

    made = Zoo.write(tmp_path, training(), **facts(3)) if stored else Zoo.from_checkpoints(training(), **facts(3))
    for found, expected in zip(made, seen, strict=True):
        assert_same(found, expected)


def test_facts_must_match_in_number(tmp_path):
    with pytest.raises(InputError, match="1 runs for 2 checkpoints"):
        Zoo.write(tmp_path, [checkpoint(0), checkpoint(1)], **facts(1))
    with pytest.raises(InputError, match="at least one checkpoint"):
        Zoo.from_checkpoints([], **facts(0))
    assert not list(tmp_path.iterdir())


# ---- facts are checked before the first checkpoint is made, which may take hours -------------------------------------


def never():
    raise AssertionError("hours of collecting for nothing")
    yield


UNUSABLE = {
    "names for runs": {"runs": ["a", "b", "c"]},
    "halves of runs": {"runs": [0, 0.5, 1]},
    "a run below zero": {"runs": [0, -1, 1]},
    "runs too many": {"runs": [0, 2**40, 1]},
    "truth values for runs": {"runs": [True, False, True]},
    "rows for runs": {"runs": [[0], [1], [2]]},
    "no runs": {"runs": None},
    "one run": {"runs": 0},
    "ragged tasks": {"tasks": [[0, 1], [1], [1, 1]]},
    "halves of bits": {"tasks": [[0.5, 1], [0, 1], [1, 0]]},
    "another bit": {"tasks": [[0, 2], [0, 1], [1, 0]]},
    "a bit below zero": {"tasks": torch.tensor([[0, 1], [-1, 1], [1, 0]])},
    "tasks without rows": {"tasks": [0, 1, 1]},
    "tasks without bits": {"tasks": [[], [], []]},
    "words for tasks": {"tasks": ["odd", "even", "odd"]},
    "too few tasks": {"tasks": [[0, 1]] * 2},
    "NaN for an accuracy": {"accuracies": [1.0, math.nan, 2.0]},
    "words for accuracies": {"accuracies": ["high"] * 3},
    "too few accuracies": {"accuracies": [1.0]},
    "a NumPy number": {"config": {"lr": np.float32(0.1)}},
    "a path": {"config": {"data": Path("x")}},
    "NaN in lists": {"config": {"a": [1, {"b": (math.nan,)}]}},
    "a number for a name": {"config": {"epochs": {1: "x"}}},
    "a list for a config": {"config": [1]},
    "a name for an architecture": {"architecture": "cnn_digits"},
    "a number for images": {"images": 3},
}


@pytest.mark.parametrize("wrong", UNUSABLE.values(), ids=UNUSABLE)
def test_facts_that_no_generator_can_use_are_refused_before_the_first_checkpoint(tmp_path, wrong):
    for make in (
        lambda **all: Zoo.write(tmp_path / "zoo", never(), **all),
        lambda **all: Zoo.from_checkpoints(never(), **all),
    ):
        with pytest.raises(InputError) as error:
            make(**facts(3) | wrong)
        assert next(iter(wrong)) in str(error.value).lower() and "\n" not in str(error.value)
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, tuple])
def test_facts_of_any_kind_of_list_are_taken_as_they_are(tmp_path, kind):
    given = {"runs": kind([0, 7, 1]), "accuracies": kind([1.5, -2.0, 3.0]), "tasks": kind([[0, 1], [1, 1], [1, 0]])}
    config = {"lr": 0.1, "text": "é", "flags": [True, None, {"deep": (1, 2)}]}
    given, networks = facts(3) | given | {"config": config}, [checkpoint(i) for i in range(3)]
    for made in (Zoo.write(tmp_path, networks, **given), Zoo.from_checkpoints(networks, **given)):
        assert made.runs.tolist() == [0, 7, 1] and made.accuracies.tolist() == [1.5, -2, 3]
        assert made.tasks.tolist() == [[0, 1], [1, 1], [1, 0]] and made.tasks.dtype == torch.int64
        assert made.config == {"lr": 0.1, "text": "é", "flags": [True, None, {"deep": [1, 2]}]}


def test_accuracies_may_come_with_the_checkpoints(tmp_path):
    pairs = [(checkpoint(i), 90.0 + i) for i in range(3)]
    for made in (
        Zoo.write(tmp_path, iter(pairs), **facts(3) | {"accuracies": None}),
        Zoo.from_checkpoints(iter(pairs), **facts(3) | {"accuracies": None}),
    ):
        assert made.accuracies.tolist() == [90, 91, 92]
        assert_same(made[2], checkpoint(2))
    for wrong in ((checkpoint(0), "high"), (checkpoint(0), math.nan), (checkpoint(0),), (checkpoint(0), 1.0, 2.0)):
        with pytest.raises(InputError, match="checkpoint 0 is"):
            Zoo.write(tmp_path, [wrong], **facts(1) | {"accuracies": None})
    assert len(Zoo.open(tmp_path)) == 3


def test_accuracies_that_are_not_known_are_nan(tmp_path):
    for unknown in (None, [None] * 3, [91.0, None, 92]):
        Zoo.write(tmp_path, (checkpoint(i) for i in range(3)), **facts(3) | {"accuracies": unknown})
        for zoo in (
            Zoo.open(tmp_path),
            Zoo.from_checkpoints([checkpoint(0)] * 3, **facts(3) | {"accuracies": unknown}),
        ):
            expected = [math.nan if x is None else x for x in unknown or [None] * 3]
            assert zoo.accuracies.nan_to_num(nan=-1).tolist() == torch.tensor(expected).nan_to_num(nan=-1).tolist()


@pytest.mark.parametrize("came", [2, 4])
def test_where_more_or_fewer_come_than_there_are_facts_what_came_is_kept(tmp_path, came):
    Zoo.write(tmp_path, [checkpoint(9)], **facts(1))
    with pytest.raises(InputError, match=r"3 runs for (2|more) checkpoints; .*those that came are in") as error:
        Zoo.write(tmp_path, (checkpoint(i) for i in range(came)), **facts(3))
    assert_same(Zoo.open(tmp_path)[0], checkpoint(9))
    stamp = str(error.value).split(str(tmp_path))[1][1:9]
    (kept,) = tmp_path.glob(f"{stamp}-*.safetensors")
    assert len(load_file(kept)["weight"]) == min(came, 3)
    with pytest.raises(InputError, match="3 runs for"):
        Zoo.from_checkpoints((checkpoint(i) for i in range(came)), **facts(3))


@pytest.mark.parametrize("given", [checkpoint(0), "a.pt", Path("x"), torch.nn.Linear(1, 1), torch.ones(3), None, 3])
def test_what_is_no_list_of_checkpoints_is_refused(tmp_path, given):
    with pytest.raises(InputError, match="a zoo is made of a list of state dicts, not of"):
        Zoo.write(tmp_path / "zoo", given, **facts(3))
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize("path", [None, 3, "a\0b", b"x"])
def test_what_is_no_path_is_refused(path):
    for attempt in (lambda: Zoo.open(path), lambda: Zoo.write(path, never(), **facts(1))):
        with pytest.raises(InputError, match="a zoo is kept in a folder; give its path"):
            attempt()


# ---- tensors of every kind -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [True, False])
def test_every_type_comes_back_to_the_bit(tmp_path, stored):
    def network(i):
        values = torch.randn(3, 2, generator=torch.Generator().manual_seed(i)).abs()
        return {str(dtype): (values * (3 if dtype.is_floating_point else 40)).to(dtype) for dtype in STORED}

    make = (lambda *all, **facts: Zoo.write(tmp_path, *all, **facts)) if stored else Zoo.from_checkpoints
    zoo = make([network(i) for i in range(3)], **facts(3))
    for i, found in enumerate(zoo):
        for name, x in network(i).items():
            assert found[name].dtype == x.dtype and found[name].view(torch.uint8).equal(x.view(torch.uint8))
    assert zoo.subset([2, 0])[0]["torch.uint16"].equal(network(2)["torch.uint16"])


def test_infinity_is_kept_where_all_have_it_and_refused_elsewhere(tmp_path):
    mask = torch.zeros(3, 3).masked_fill(torch.ones(3, 3).triu(1).bool(), -torch.inf)
    small = torch.full((2,), torch.inf).to(torch.float8_e5m2)
    given = [checkpoint(i) | {"mask": mask + i, "small": small} for i in range(3)]
    for found, expected in zip(Zoo.write(tmp_path, given, **facts(3)), given, strict=True):
        assert found["mask"].equal(expected["mask"]) and found["small"].float().equal(small.float())
    for wrong in (mask.t(), mask.abs(), torch.zeros(3, 3), mask.nan_to_num(neginf=math.nan)):
        with pytest.raises(InputError, match="checkpoint 1: tensor 'mask' holds NaN, or infinity not as the first"):
            Zoo.write(tmp_path, [given[0], given[1] | {"mask": wrong}], **facts(2))
        with pytest.raises(InputError, match="checkpoint 1: tensor 'weight' holds NaN, or infinity not as the first"):
            Zoo.write(tmp_path, [checkpoint(0), checkpoint(1) | {"weight": torch.full((4, 3), -torch.inf)}], **facts(2))
    with pytest.raises(InputError, match="checkpoint 0: tensor 'mask' holds NaN"):
        Zoo.write(tmp_path, [{"mask": mask * 0}], **facts(1))


@pytest.mark.parametrize("name", ["__metadata__", "\ud800"])
def test_names_that_no_file_can_hold_are_refused(tmp_path, name):
    Zoo.write(tmp_path, [checkpoint(0)], **facts(1))
    with pytest.raises(InputError, match="which no safetensors file can hold; rename it"):
        Zoo.write(tmp_path, [{name: torch.ones(2)}], **facts(1))
    assert_same(Zoo.open(tmp_path)[0], checkpoint(0))


@pytest.mark.parametrize("name", ["", "a b", "\n", "\0", "é", "x" * 5000, "names", '"'])
def test_any_other_name_is_a_name(tmp_path, name):
    given = {"z": torch.ones(1), name: torch.ones(2)}
    assert list(Zoo.write(tmp_path, [given], **facts(1))[0]) == list(given)


# ---- reading ---------------------------------------------------------------------------------------------------------


def test_slices_and_other_ways_to_choose(zoo):
    assert_same(zoo[1:4:2][1], checkpoint(3))
    assert zoo[-2:].accuracies.tolist() == [93, 94]
    assert_same(zoo[np.int64(2)], checkpoint(2))
    for wrong in ("a", 1.5, None, [0], torch.tensor([0, 1])):
        with pytest.raises(InputError, match="a checkpoint has a whole number"):
            zoo[wrong]
    for wrong in ([7], [-9], [1.5], ["a"], [], torch.zeros(5).bool(), torch.ones(4).bool(), [[0, 1]], 3, slice(2, 2)):
        for choose in (zoo.subset, zoo.stacked):
            with pytest.raises(InputError, match=r"choose|chosen"):
                choose(wrong)
    for wrong in (["weigth"], "weight", 3, [None]):
        with pytest.raises(InputError, match=r"these checkpoints have no tensor|takes a list of names"):
            zoo.stacked(names=wrong)
    for number in (5, -6, 10**30):
        with pytest.raises(IndexError):
            zoo[number]


CHANGES = {
    **{
        f"without {field}": lambda m, field=field: m.pop(field)
        for field in ("shards", "runs", "names", "tied", "config")
    },
    "without accuracies": lambda m: m.pop("accuracies"),
    "accuracies cut": lambda m: m.update(accuracies=[1.0]),
    "no accuracies": lambda m: m.update(accuracies=None),
    "more runs than checkpoints": lambda m: m.update(runs=[0] * 5, accuracies=[1.0] * 5, tasks=None),
    "fewer runs than checkpoints": lambda m: m.update(runs=[0], accuracies=[1.0], tasks=None),
    "a run of words": lambda m: m["runs"].__setitem__(0, "a"),
    "another name": lambda m: m["names"].__setitem__(0, "other"),
    "a name twice": lambda m: m["names"].append("weight"),
    "a name less": lambda m: m["names"].pop(),
    "a tensor tied to none": lambda m: m.update(tied={"weight": "other"}),
    "a ring of tied tensors": lambda m: m.update(tied={"weight": "weight"}),
    "an architecture of another kind": lambda m: m.update(architecture={"name": 3}),
    "a list for the architecture": lambda m: m.update(architecture=[]),
    "no shards": lambda m: m.update(shards=[]),
    "conditions without a description": lambda m: m.update(conditions=[[0.5]] * 2),
    "a condition of no kind": lambda m: m.update(conditions=[[0.5]] * 2, described_by=[{"name": "a", "kind": "b"}]),
    "conditions of words": lambda m: m.update(conditions=[["a"]] * 2, described_by=[{"name": "a"}]),
    "shards of words": lambda m: m.update(shards=["a"]),
    "a shard without its size": lambda m: m["shards"][0].pop("bytes"),
    "a shard of another count": lambda m: m["shards"][0].update(count=3),
    "another checksum": lambda m: m["shards"][0].update(sha256="0" * 64),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_manifest_that_was_edited_is_one_clear_line(tmp_path, change):
    Zoo.write(tmp_path, [checkpoint(i) for i in range(2)], **facts(2))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    change(manifest)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError) as error:
        Zoo.open(tmp_path)[0]
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"[" * 100000, b"null"])
def test_a_manifest_that_is_no_text_is_one_clear_line(tmp_path, text):
    (tmp_path / "manifest.json").write_bytes(text)
    for attempt in (lambda: Zoo.open(tmp_path), lambda: Zoo.write(tmp_path, never(), **facts(1))):
        with pytest.raises(InputError, match=r"manifest\.json"):
            attempt()
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").mkdir()
    for attempt in (lambda: Zoo.open(tmp_path), lambda: Zoo.write(tmp_path, never(), **facts(1))):
        with pytest.raises(InputError, match=r"cannot read .*manifest\.json"):
            attempt()


def test_a_flipped_bit_is_noticed_when_its_shard_is_first_read(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 100)  # two checkpoints of 60 bytes each
    Zoo.write(tmp_path, [checkpoint(i) for i in range(5)], **facts(5))
    entry = json.loads((tmp_path / "manifest.json").read_text())["shards"][1]
    shard = tmp_path / entry["file"]
    raw = shard.read_bytes()
    generator = torch.Generator().manual_seed(0)
    for place in torch.randperm(8 * len(raw), generator=generator)[:60].tolist():
        flipped = bytearray(raw)
        flipped[place // 8] ^= 1 << place % 8
        shard.write_bytes(flipped)
        with pytest.raises(InputError, match=shard.name):
            list(Zoo.open(tmp_path))
    place = len(raw) - 1  # of a tensor's values: the header is as it was
    shard.write_bytes(raw[:place] + bytes([raw[place] ^ 1]))
    zoo = Zoo.open(tmp_path)
    assert_same(zoo[1], checkpoint(1))
    with pytest.raises(InputError, match="is not as it was written"):
        zoo[2]


def test_a_checksum_is_computed_once_and_a_zoo_written_without_is_read(tmp_path, monkeypatch):
    Zoo.write(tmp_path, [checkpoint(i) for i in range(3)], **facts(3))
    seen, checksum = [], store._checksum
    monkeypatch.setattr(store, "_checksum", lambda path: seen.append(path) or checksum(path))
    zoo = Zoo.open(tmp_path)
    assert not seen, "opening reads no shard through"
    list(zoo), list(zoo.subset([1])), zoo.stacked()
    assert len(seen) == 1
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["shards"][0]["sha256"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert_same(Zoo.open(tmp_path)[2], checkpoint(2))
    assert len(seen) == 1


def test_a_new_zoo_that_cannot_be_read_replaces_none(tmp_path, monkeypatch):
    Zoo.write(tmp_path, [checkpoint(0)], **facts(1))
    before = sorted(tmp_path.iterdir())

    def spoilt(path, tensors, metadata=None):
        save_file({"other": torch.ones(1)}, path)

    monkeypatch.setattr(store, "save_tensors", spoilt)
    with pytest.raises(InputError, match="holds other tensors than its manifest says"):
        Zoo.write(tmp_path, [checkpoint(1)], **facts(1))
    assert sorted(tmp_path.iterdir()) == before
    assert_same(Zoo.open(tmp_path)[0], checkpoint(0))


@pytest.mark.parametrize("damage", ["truncated", "absent"])
def test_a_damaged_shard_is_one_clear_line(tmp_path, damage):
    Zoo.write(tmp_path, [checkpoint(0)], **facts(1))
    shard = next(tmp_path.glob("*.safetensors"))
    if damage == "truncated":
        shard.write_bytes(shard.read_bytes()[:-1])
    else:
        shard.unlink()
    with pytest.raises(InputError, match="truncated" if damage == "truncated" else "missing") as caught:
        Zoo.open(tmp_path)
    assert shard.name in str(caught.value) and "\n" not in str(caught.value)


def test_a_shard_that_breaks_after_opening_is_an_input_error(tmp_path):
    zoo = Zoo.write(tmp_path, [checkpoint(0)], **facts(1))
    next(tmp_path.glob("*.safetensors")).write_bytes(b"short")
    with pytest.raises(InputError, match="is not as it was written"):
        zoo[0]


def test_no_zoo_or_another_json_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Zoo.open(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"name": "a web app"}))
    with pytest.raises(InputError, match="not the manifest of a zoo"):
        Zoo.open(tmp_path)


def test_tied_tensors_are_stored_once_and_come_back_tied(tmp_path):
    def tied(i):
        weight = torch.full((1000,), float(i))
        return {"embed": weight, "head": weight}

    zoo = Zoo.write(tmp_path, [tied(0), tied(1)], **facts(2))
    assert next(tmp_path.glob("*.safetensors")).stat().st_size < 2 * 4000 + 500
    found = zoo[1]
    assert found["head"].data_ptr() == found["embed"].data_ptr() and found["head"][0] == 1
    with pytest.raises(InputError, match="tied in the first checkpoint but differ here"):
        Zoo.from_checkpoints([tied(0), {"embed": torch.zeros(1000), "head": torch.ones(1000)}], **facts(2))


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    Zoo.write(tmp_path, [checkpoint(0)], **facts(1))

    def full(*_, **__):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(InputError, match="No space left"):
        Zoo.write(tmp_path, [checkpoint(1)], **facts(1))
    assert_same(Zoo.open(tmp_path)[0], checkpoint(0))


def test_a_view_of_another_tensor_is_refused_and_neighbours_are_not():
    def of(make):
        torch.manual_seed(0)
        return Zoo.from_checkpoints((make() for _ in range(2)), runs=[0, 1], accuracies=None)

    def transposed():
        weight = torch.randn(4, 3)
        return {"encoder": weight, "decoder": weight.t()}

    def sliced():
        weight = torch.randn(6, 3)
        return {"all": weight, "some": weight[2:4]}

    for make, message in ((transposed, "'decoder' is a view of the memory of 'encoder'"), (sliced, "'some' is a view")):
        with pytest.raises(InputError, match=message) as caught:
            of(make)
        assert "\n" not in str(caught.value)

    def columns():  # parts of one matrix that share no number, and one tensor under two names
        weight = torch.randn(4, 6)
        return {"left": weight[:, :2], "right": weight[:, 2:], "again": weight[:, 2:]}

    zoo = of(columns)
    assert zoo[0]["right"].equal(zoo[0]["again"]) and zoo[0]["left"].shape == (4, 2)
