"""The zoo's store: everything comes back, from memory and from files; whatever is damaged is one clear line."""

import json

import pytest
import torch
from safetensors import SafetensorError

from rpglib.errors import InputError
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


def test_any_order_can_be_read_side_by_side(zoo):
    order = [4, 0, 3, 3]
    assert_same(zoo.stacked(order), {k: torch.stack([checkpoint(i)[k] for i in order]) for k in checkpoint(0)})
    assert_same(zoo.stacked(), {k: torch.stack([checkpoint(i)[k] for i in range(5)]) for k in checkpoint(0)})


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
