"""Whatever people keep checkpoints in, the very tensors come out; what is unclear, broken or hostile is one line."""

import argparse
import csv
import json
import os
import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from rpglib import RPG, ParameterTokenizer, RPGConfig, Zoo
from rpglib.errors import InputError
from rpglib.tasks.conditions import Condition
from rpglib.zoo import layouts
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.files import natural


def network(i: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(i)
    return {
        "conv.weight": torch.randn(4, 3, generator=generator),
        "norm.running_var": torch.rand(4, generator=generator) + 1,
        "norm.num_batches_tracked": torch.tensor(i),
        "head.weight": torch.randn(2, 4, generator=generator),
    }


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        assert found[name].dtype == x.dtype and found[name].shape == x.shape and found[name].equal(x), name


# ---- formats and wrappers --------------------------------------------------------------------------------------------


def legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


SAVED = {".pt": torch.save, ".pth": torch.save, ".bin": legacy, ".ckpt": legacy, ".pth.tar": torch.save}
OPTIMIZER = {"state": {0: {"exp_avg": torch.ones(3)}, 1: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]}
WRAPPED = {
    "": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "arch": "resnet", "optimizer": OPTIMIZER},
    "model": lambda state: {"model": state, "scaler": {"scale": 1.0}, "rng": torch.zeros(5000, dtype=torch.uint8)},
    "ema": lambda state: {"ema": state, "decay": 0.999},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer_state_dict": OPTIMIZER, "loss": 0.1},
    "model/state_dict": lambda state: {"model": {"state_dict": state, "args": {"width": 3}}},
    "generator/module/weights": lambda state: {"generator": {"module": {"weights": state}}},
}
LIGHTNING = {
    "epoch": 2,
    "global_step": 10,
    "pytorch-lightning_version": "2.5.0",
    "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 3}}}},
    "callbacks": {
        "ModelCheckpoint": {"best_model_score": torch.tensor(0.5), "best_k_models": {"a": torch.tensor(1.0)}}
    },
    "optimizer_states": [OPTIMIZER],
    "lr_schedulers": [],
    "hparams_name": "kwargs",
    "hyper_parameters": {"lr": 0.1},
}
WRAPPED["state_dict "] = lambda state: LIGHTNING | {"state_dict": state}

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool]
PREFIXES = ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."]
NAMES = st.text("abcdefgh.0123456789_", min_size=1, max_size=12).filter(lambda name: not name.startswith("module."))


@st.composite
def states(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    found = {}
    for k, name in enumerate(names):
        shape = draw(st.lists(st.integers(1, 4), min_size=int(k == 0), max_size=3))
        found[name] = (4 * torch.randn(shape, generator=generator)).to(draw(st.sampled_from(DTYPES)))
    return found


@settings(max_examples=150)
@given(states(), st.sampled_from([".safetensors", *SAVED]), st.sampled_from([*WRAPPED]), st.sampled_from(PREFIXES))
def test_every_tensor_comes_out_of_every_format_wrapper_and_prefix(tmp_path_factory, state, suffix, wrapper, prefix):
    path = tmp_path_factory.mktemp("files") / f"a{suffix}"
    named = {prefix + name: x for name, x in state.items()}
    if suffix == ".safetensors":
        save_file(named, path)
        wrapper = ""
    else:
        SAVED[suffix](WRAPPED[wrapper](named), path)
    before = path.read_bytes()
    zoo = Zoo.read(path)
    assert_same(zoo[0], state)
    assert_same(zoo.complete(zoo[0]), named)
    said, at = zoo.config["read"], wrapper.strip()
    assert "\n" not in said and (f"state dict under {at!r}" in said) == bool(at)
    assert (f"prefix {prefix!r} taken off" in said) == bool(prefix)
    assert path.read_bytes() == before


def test_what_stood_beside_the_state_dict_is_named(tmp_path):
    torch.save(LIGHTNING | {"state_dict": network()}, tmp_path / "a.ckpt")
    said = Zoo.read(tmp_path).config["read"]
    assert (
        "1 x a .ckpt file; state dict under 'state_dict', beside epoch, global_step, pytorch-lightning_version" in said
    )


def test_an_averaged_model_leaves_its_counter(tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(nn.Linear(3, 2))
    for i in range(2):
        averaged.update_parameters(nn.Linear(3, 2))
        torch.save(averaged.state_dict(), tmp_path / f"{i}.pt")
    zoo = Zoo.read(tmp_path)
    assert [*zoo[0]] == ["weight", "bias"] and "prefix 'module.' taken off" in zoo.config["read"]
    assert [int(zoo.complete(zoo[i], i)["n_averaged"]) for i in range(2)] == [1, 2]


def test_of_several_state_dicts_one_is_chosen(tmp_path):
    torch.save({"model": network(0), "ema": {"shadow": network(1)}}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"2 state dicts; choose by key='model' \(4 tensors\) or key='ema/shadow'"):
        Zoo.read(tmp_path)
    assert_same(Zoo.read(tmp_path, key="ema/shadow")[0], network(1))
    with pytest.raises(InputError, match="no state dict under 'net'; choose by key='model'"):
        Zoo.read(tmp_path, key="net")


def test_tied_tensors_stay_tied(tmp_path):
    def tied(i):
        embedding = network(i)["conv.weight"]
        return {"embed": embedding, "head": embedding, "bias": network(i)["head.weight"]}

    for i in range(3):
        torch.save(tied(i), tmp_path / f"{i}.pt")
    zoo = Zoo.read(tmp_path)
    tokenizer = ParameterTokenizer.fit(zoo, 8)
    assert tokenizer.aliases == {"head": "embed"}
    found = tokenizer.decode(tokenizer.encode(zoo[2])[0])
    assert found["head"] is found["embed"]


def test_files_are_read_where_they_are(tmp_path):
    save_file({"a": torch.ones(4)}, tmp_path / "a.safetensors")
    torch.save({"a": torch.full((4,), 3.5)}, tmp_path / "a.pt")
    safe, pickled = Zoo.read(tmp_path / "a.safetensors"), Zoo.read(tmp_path / "a.pt")
    for zoo, path in ((safe, "a.safetensors"), (pickled, "a.pt")):
        with (tmp_path / path).open("r+b") as file:  # in place: the mapped values change with the file
            content = file.read()
            at = content.index(zoo[0]["a"].numpy().tobytes(), 8)
            mapped = zoo[0]["a"]
            file.seek(at)
            file.write(torch.full((4,), 7.0).numpy().tobytes())
        assert mapped.tolist() == [7.0] * 4, "a copy, where the file could be mapped"
        with pytest.raises(InputError, match="has changed since it was read"):
            zoo[0]


def test_side_by_side_and_in_any_order(tmp_path):
    for i in range(12):
        torch.save(network(i), tmp_path / f"epoch_{i}.pt")
    zoo = Zoo.read(tmp_path)
    assert [x["file"] for x in zoo.sources] == [f"epoch_{i}.pt" for i in range(12)], "2 before 10"
    assert zoo.subset([11, 2]).sources == [{"file": "epoch_11.pt"}, {"file": "epoch_2.pt"}]
    found = zoo.subset([3, 1, 4]).stacked([2, 0, 0], ["head.weight"])
    assert found["head.weight"].equal(torch.stack([network(i)["head.weight"] for i in (4, 3, 3)]))


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=6, unique=True))
def test_numbers_in_names_are_sorted_as_numbers(numbers):
    names = [f"layer.{n}.weight" for n in numbers]
    assert sorted(names, key=natural) == [f"layer.{n}.weight" for n in sorted(numbers)]


# ---- sources ---------------------------------------------------------------------------------------------------------


def test_what_is_in_memory(tmp_path):
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    torch.save(network(7), tmp_path / "a.pt")
    assert_same(Zoo.read(module)[0], module.state_dict())
    assert_same(Zoo.read(network())[0], network())
    assert_same(Zoo.read({"model": network(), "epoch": 3})[0], network())
    zoo = Zoo.read([network(0), {"model": network(1)}, tmp_path / "a.pt"])
    for i, expected in enumerate((0, 1, 7)):
        assert_same(zoo[i], network(expected))
    assert zoo.runs.tolist() == [0, 1, 2] and zoo.accuracies.isnan().all() and zoo.tasks is None
    own = module.state_dict()["0.weight"].clone()
    zoo = Zoo.read([module, module])
    with torch.no_grad():
        module[0].weight.zero_()
    assert zoo[1]["0.weight"].equal(own), "a copy: the module may go on training"


def shards(folder: Path, i: int, suffix: str = "safetensors", stem: str = "model") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    names, where = list(network(i)), {}
    for k, part in enumerate((names[:1], names[1:])):
        file = f"{stem}-{k + 1:05d}-of-00002.{suffix}"
        (save_file if suffix == "safetensors" else torch.save)({n: network(i)[n] for n in part}, folder / file)
        where |= dict.fromkeys(part, file)
    index = folder / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    return index


@pytest.mark.parametrize(("suffix", "stem"), [("safetensors", "model"), ("bin", "pytorch_model")])
def test_shards_with_an_index(tmp_path, suffix, stem):
    indices = [shards(tmp_path / f"checkpoint-{i}", i, suffix, stem) for i in range(3)]
    for source in (tmp_path, str(tmp_path / "checkpoint-*"), str(tmp_path / "*" / "*.index.json"), indices):
        zoo = Zoo.read(source)
        assert len(zoo) == 3
        for i in range(3):
            assert_same(zoo[i], network(i))
    assert Zoo.read(tmp_path).sources[2] == {"file": "checkpoint-2"}


def test_model_folders_take_the_file_that_their_library_takes(tmp_path):
    for i in range(2):
        folder = tmp_path / f"checkpoint-{i}"
        shards(folder, i + 5)
        (folder / "config.json").write_text('{"model_type": "bert"}')
        torch.save(network(9), folder / "pytorch_model.bin")
        torch.save(OPTIMIZER, folder / "optimizer.pt")
        torch.save({"a": 1}, folder / "training_args.bin")
    zoo = Zoo.read(tmp_path)
    assert len(zoo) == 2 and "2 x a model folder in shards" in zoo.config["read"]
    assert_same(zoo[1], network(6))
    save_file(network(0), tmp_path / "checkpoint-0" / "model.safetensors")
    assert_same(Zoo.read(tmp_path / "checkpoint-0")[0], network(0))


@pytest.mark.parametrize("settings", ["config.json", "adapter_config.json"])
@pytest.mark.parametrize("other", ["checkpoint-100/model.safetensors", "epoch_1.safetensors", "best.pt"])
def test_a_model_folder_with_other_checkpoints_is_not_taken_for_one(tmp_path, settings, other):
    name = "model.safetensors" if settings == "config.json" else "adapter_model.safetensors"
    (tmp_path / settings).write_text("{}")
    save_file(network(0), tmp_path / name)
    assert len(Zoo.read(tmp_path)) == 1
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (torch.save if other.endswith(".pt") else save_file)(network(1), tmp_path / other)
    with pytest.raises(InputError, match=rf"holds other weights \({other.split('/')[0]}\); give a pattern .*{name}"):
        Zoo.read(tmp_path)
    assert len(Zoo.read(tmp_path / name)) == 1


def test_a_generator_is_no_checkpoint(tmp_path):
    zoo = Zoo.read([{"a": torch.randn(40)} for _ in range(2)])
    config = RPGConfig(token_size=16, widths=(16,), d_state=4, headdim=16, channels=(1, 2, 1))
    RPG(config, ParameterTokenizer.fit(zoo, 16)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="holds a generator, no networks"):
        Zoo.read(tmp_path)


def test_an_architecture_that_was_given_must_fit(tmp_path):
    digits = Architecture("cnn_digits", channels=1, image_size=8)
    with pytest.raises(InputError, match=r"'conv\.weight' is \(4, 3\), and no tensor of cnn_digits as it was given"):
        Zoo.read([network(0)], architecture=digits)
    state = digits.build().state_dict()
    assert Zoo.read([state], architecture=digits).build() is not None
    with pytest.raises(InputError, match=r"is \(10, .*\(7, .* in cnn_digits"):
        Zoo.read([state], architecture=Architecture("cnn_digits", 7, 1, 8))


def test_adapter_folders(tmp_path):
    for i in range(2):
        (tmp_path / f"{i}").mkdir()
        (tmp_path / f"{i}" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
        save_file(network(i), tmp_path / f"{i}" / "adapter_model.safetensors")
    zoo = Zoo.read(tmp_path)
    assert "2 x a PEFT adapter" in zoo.config["read"] and zoo.sources == [{"file": "0"}, {"file": "1"}]
    assert_same(zoo[1], network(1))


def timm_folder(folder: Path, i: int) -> dict:
    architecture = Architecture("test_resnet", 3, 3, 32)
    torch.manual_seed(i)
    state = architecture.build().state_dict()
    folder.mkdir()
    pretrained = {"input_size": [3, 32, 32], "num_classes": 3}
    said = {"architecture": architecture.name, "num_classes": 3, "pretrained_cfg": pretrained}
    (folder / "config.json").write_text(json.dumps(said))
    save_file({name: x.contiguous() for name, x in state.items()}, folder / "model.safetensors")
    return state


def test_timm_folders_know_their_architecture(tmp_path):
    states = [timm_folder(tmp_path / f"{i}", i) for i in range(2)]
    zoo = Zoo.read(tmp_path)
    assert zoo.architecture == Architecture("test_resnet", 3, 3, 32) and "network test_resnet" in zoo.config["read"]
    assert [*zoo[1]] == [*states[1]], "in the order of the network, which the file does not keep"
    assert_same(zoo[1], states[1])
    zoo.build().load_state_dict(zoo[0])


def test_what_does_not_fit_its_config_has_no_architecture(tmp_path):
    timm_folder(tmp_path / "0", 0)
    save_file(network(), tmp_path / "0" / "model.safetensors")
    assert Zoo.read(tmp_path).architecture is None


PUBLIC = {
    "cnn_s": (
        {0: (8, 3, 5, 5), 3: (6, 8, 5, 5), 6: (4, 6, 2, 2), 9: (20, 36), 11: (10, 20)},
        Architecture("cnn_s", 10, 3, 28),
    ),
    "cnn_m": (
        {0: (16, 3, 3, 3), 4: (32, 16, 3, 3), 8: (15, 32, 3, 3), 13: (20, 60), 16: (10, 20)},
        Architecture("cnn_m"),
    ),
}


def public_zoo(root: Path, which: str, models: int = 2) -> list[dict]:
    """As ray.tune leaves it: <model>/checkpoint_NNNNNN/checkpoints, params.json, and a line of JSON per epoch."""
    made = []
    for model in range(models):
        folder = root / f"NN_tune_trainable_{model}"
        for epoch in (0, 5, 50):
            generator = torch.Generator().manual_seed(100 * model + epoch)
            state = {}
            for k, shape in PUBLIC[which][0].items():
                state[f"module_list.{k}.weight"] = torch.randn(shape, generator=generator)
                state[f"module_list.{k}.bias"] = torch.randn(shape[0], generator=generator)
            (folder / f"checkpoint_{epoch:06d}").mkdir(parents=True)
            torch.save(state, folder / f"checkpoint_{epoch:06d}" / "checkpoints")
            torch.save(OPTIMIZER, folder / f"checkpoint_{epoch:06d}" / "optimizer")
            made.append(state)
        (folder / "params.json").write_text("{}")
        lines = [json.dumps({"training_iteration": k, "test_acc": k / 100 + model / 1000}) for k in range(51)]
        (folder / "result.json").write_text("\n".join([*lines, '{"cut']))
    return made


@pytest.mark.parametrize("which", PUBLIC)
def test_public_zoos_are_read_with_runs_accuracies_and_our_names(tmp_path, which):
    made = public_zoo(tmp_path, which)
    zoo = Zoo.read(tmp_path)
    assert zoo.architecture == PUBLIC[which][1] and "named as in this library" in zoo.config["read"]
    assert zoo.runs.tolist() == [0, 0, 0, 1, 1, 1]
    assert zoo.accuracies.numpy() == pytest.approx([0, 5, 50, 0.1, 5.1, 50.1])
    for i, state in enumerate(made):
        assert_same(zoo.complete(zoo[i], i), state)
        zoo.build().load_state_dict(zoo[i])
    last = Zoo.read(str(tmp_path / "*" / "checkpoint_000050" / "checkpoints"))
    assert len(last) == 2 and last.architecture == zoo.architecture
    assert_same(last[1], zoo[5])


def test_the_public_networks_compute_what_ours_compute(tmp_path):
    public_zoo(tmp_path, "cnn_s", 1)
    zoo = Zoo.read(tmp_path)
    images, state = torch.randn(2, 3, 28, 28), zoo.complete(zoo[0])
    x = images
    for k, padded in ((0, True), (3, True), (6, False)):
        x = nn.functional.conv2d(x, state[f"module_list.{k}.weight"], state[f"module_list.{k}.bias"])
        x = nn.functional.gelu(nn.functional.max_pool2d(x, 2) if padded else x)
    x = nn.functional.gelu(
        nn.functional.linear(x.flatten(1), *(state[f"module_list.9.{n}"] for n in ("weight", "bias")))
    )
    expected = nn.functional.linear(x, *(state[f"module_list.11.{n}"] for n in ("weight", "bias")))
    ours = zoo.build()
    ours.load_state_dict(zoo[0])
    torch.testing.assert_close(ours(images), expected)


def test_a_stored_zoo_is_opened(tmp_path):
    networks = [network(i) for i in range(2)]
    Zoo.write(tmp_path / "zoo", networks, runs=[0, 0], accuracies=[1.0, 2.0], config={"a": 1})
    zoo = Zoo.read(tmp_path / "zoo")
    assert zoo.config == {"a": 1} and zoo.accuracies.tolist() == [1, 2]
    with pytest.raises(InputError, match="knows its own facts; read it without key"):
        Zoo.read(tmp_path / "zoo", key="model")
    with pytest.raises(InputError, match="knows its own facts; read it without images"):
        Zoo.read(tmp_path / "zoo", images="digits")
    # A shard is no checkpoint.
    for source in (tmp_path, f"{tmp_path}/z*", [tmp_path / "zoo", network(2)], [f"{tmp_path}/zoo"]):
        with pytest.raises(InputError, match="zoo is a stored zoo; read it alone, by its own path"):
            Zoo.read(source)
    (tmp_path / "zoo" / "manifest.json").write_text('{"format": "rpglib zoo 2"}')
    with pytest.raises(InputError, match="manifest"):
        Zoo.read(tmp_path / "zoo")


def test_a_pattern_of_folders_in_folders_finds_every_file_once(tmp_path):
    for i, name in enumerate(("y.pt", "a/x.pt", "a/b/z.pt")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        torch.save(network(i), tmp_path / name)
    assert sorted(source["file"] for source in Zoo.read(f"{tmp_path}/**/*.pt").sources) == [
        "a/b/z.pt",
        "a/x.pt",
        "y.pt",
    ]
    (tmp_path / "y.pt").unlink()
    (tmp_path / "a" / "x.pt").unlink()
    assert [source["file"] for source in Zoo.read(f"{tmp_path}/**").sources] == ["a/b/z.pt"]


def test_what_the_table_lacks_is_told_before_a_tensor_is_read(tmp_path, monkeypatch):
    for i in range(2):
        torch.save(network(i), tmp_path / f"{i}.pt")
    monkeypatch.setattr("rpglib.zoo.store.selected", lambda *arguments: 1 / 0)
    rows = [{"file": "0.pt", "lr": 0.1, "accuracy": 90}, {"file": "1.pt", "accuracy": 91}]
    with pytest.raises(InputError, match=r"the table tells no 'lr' of 1\.pt"):
        Zoo.read(tmp_path, table=rows, described_by=[Condition("lr", 0, 1)])
    with pytest.raises(InputError, match="column 'accuracy' is no condition but has a meaning of its own; rename it"):
        Zoo.read(tmp_path, table=rows, described_by=[Condition("accuracy", 0, 100)])
    with pytest.raises(InputError, match="lr"):
        Zoo.read(tmp_path, table=[rows[0], rows[1] | {"lr": 7}], described_by=[Condition("lr", 0, 1)])


def test_a_zoo_that_was_read_can_be_stored(tmp_path):
    for i in range(2):
        torch.save(network(i), tmp_path / f"{i}.pt")
    read = Zoo.read(tmp_path)
    stored = Zoo.write(tmp_path / "zoo", read, runs=read.runs, accuracies=None, config=read.config)
    assert_same(Zoo.open(tmp_path / "zoo")[1], network(1))
    assert stored.config["read"] == read.config["read"]


def test_the_hub(tmp_path, monkeypatch):
    """Safe files are fetched first; a name that is no model is looked for among data sets."""
    asked = []

    def snapshot_download(name, repo_type, revision, allow_patterns):
        asked.append((name, repo_type, revision))
        if repo_type != "dataset":
            raise OSError("404: no such repository\nmore")
        folder = tmp_path / "0123abc"
        folder.mkdir(exist_ok=True)
        if "*.pt" in allow_patterns:
            torch.save(network(3), folder / "a.pt")
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    zoo = Zoo.read("somebody/zoo", revision="v1")
    assert_same(zoo[0], network(3))
    assert asked == [("somebody/zoo", "model", "v1"), *[("somebody/zoo", "dataset", "v1")] * 2]
    zoo = Zoo.read(["datasets/somebody/zoo", "datasets/somebody/zoo"])
    assert zoo.sources == [{"file": "datasets/somebody/zoo/a.pt"}] * 2
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda *a, **b: (_ for _ in ()).throw(OSError("off\nline"))
    )
    with pytest.raises(InputError, match=r"nor to be had from the hub \(off\)$"):
        Zoo.read("somebody/zoo")


# ---- parts and tables ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"include": "head.*"}, ["head.weight"]),
        ({"include": ["head.weight", "conv*"]}, ["conv.weight", "head.weight"]),
        ({"exclude": "norm.*"}, ["conv.weight", "head.weight"]),
        ({"include": "*weight", "exclude": "conv.weight"}, ["head.weight"]),
    ],
)
@pytest.mark.parametrize("stored", [True, False])
def test_a_part_is_chosen_and_the_rest_comes_back_as_it_was(tmp_path, options, kept, stored):
    for i in range(3):
        torch.save({f"module.{name}": x for name, x in network(i).items()}, tmp_path / f"{i}.pt")
    source = tmp_path if stored else [{f"module.{name}": x for name, x in network(i).items()} for i in range(3)]
    zoo = Zoo.read(source, **options)
    assert [*zoo[0]] == kept and f"{4 - len(kept)} tensors left out" in zoo.config["read"]
    part = {name: torch.full_like(x, 2) for name, x in zoo[0].items()}
    assert_same(zoo.complete(part, 2), {f"module.{name}": part.get(name, x) for name, x in network(2).items()})
    assert_same(zoo.subset([1]).complete(part), {f"module.{n}": part.get(n, x) for n, x in network(1).items()})
    with pytest.raises(InputError, match="no checkpoint 3 of 3"):
        zoo.complete(part, 3)
    with pytest.raises(InputError, match=r"differ in the tensor '(conv|norm)"):
        zoo.complete(network() if "conv.weight" not in kept else network() | {"norm.other": torch.ones(1)})


def test_what_is_no_tensor_can_be_left_out(tmp_path):
    torch.save(network() | {"epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="'epoch' is a int, not a tensor; leave it out"):
        Zoo.read(tmp_path)
    assert_same(Zoo.read(tmp_path, exclude="epoch")[0], network())


ROWS = [
    {"file": "1.pt", "accuracy": "91.5", "run": "b", "task": "0 1 1", "lr": "0.1"},
    {"file": "0.pt", "accuracy": "", "run": "a", "task": "1 0 1", "lr": "0.2"},
    {"file": "2.pt", "accuracy": "90", "run": "b", "task": "1,1,0", "lr": ""},
]


@pytest.mark.parametrize("kind", ["csv", "json", "json by file", "rows", "stems"])
def test_a_table_tells_what_is_known(tmp_path, kind):
    for i in range(3):
        torch.save(network(i), tmp_path / f"{i}.pt")
    table = tmp_path / "table.csv"
    if kind == "csv":
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, ROWS[0])
            writer.writeheader()
            writer.writerows(ROWS)
    elif kind == "json":
        (table := tmp_path / "table.json").write_text(json.dumps(ROWS))
    elif kind == "json by file":
        (table := tmp_path / "table.json").write_text(json.dumps({row["file"]: row for row in ROWS}))
    else:
        table = ROWS if kind == "rows" else [row | {"file": Path(row["file"]).stem} for row in ROWS]
    zoo = Zoo.read(tmp_path, table=table)
    assert zoo.accuracies.nan_to_num(nan=-1).tolist() == [-1, 91.5, 90] and zoo.runs.tolist() == [0, 1, 1]
    assert zoo.tasks.tolist() == [[1, 0, 1], [0, 1, 1], [1, 1, 0]]
    assert zoo.sources[1] == {"file": "1.pt", "lr": "0.1"}


def test_columns_are_conditions_where_they_are_described():
    rows = [{"angle": "90", "lr": 0.1, "kind": "a"}, {"angle": -45.5, "lr": 0.2, "kind": "b"}]
    told = (Condition("lr", 0, 1), Condition("angle", -180, 180, "angle"))
    zoo = Zoo.read([network(0), network(1)], table=rows, described_by=told)
    assert zoo.conditions.tolist() == [[0.1, 90], [0.2, -45.5]] and zoo.described_by == told
    assert [source["kind"] for source in zoo.sources] == ["a", "b"]
    assert Zoo.read([network(0), network(1)], table=rows).conditions is None


def test_a_table_of_pandas_is_one():
    table = pd.DataFrame({"accuracy": [90.0, 91.0], "run": ["a", "b"], "angle": [3, 4]})
    zoo = Zoo.read([network(0), network(1)], table=table, described_by=[Condition("angle", 0, 9)])
    assert zoo.accuracies.tolist() == [90, 91] and zoo.conditions.tolist() == [[3], [4]] and zoo.runs.tolist() == [0, 1]


def test_rows_without_files_fit_checkpoints_in_memory():
    rows = [{"accuracy": 1, "run": 4}, {"accuracy": None, "run": 2}]
    zoo = Zoo.read([network(0), network(1)], table=rows)
    assert zoo.accuracies.nan_to_num(nan=-1).tolist() == [1, -1] and zoo.runs.tolist() == [4, 2]


@pytest.mark.parametrize(("names", "runs"), [(("1", "01"), [0, 1]), (("07", "3"), [7, 3]), (("a", "1"), [0, 1])])
def test_runs_of_two_names_are_two_runs(names, runs):
    rows = [{"run": name} for name in names]
    assert Zoo.read([network(0), network(1)], table=rows).runs.tolist() == runs


# ---- what is refused -------------------------------------------------------------------------------------------------


class Harmful:
    """Runs a command where it is unpickled by a reader that allows it."""

    def __reduce__(self):
        return os.system, (f"touch {MARK}",)


MARK = Path("harmed")


def write(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def saved(folder: Path, content, name: str = "a.pt") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def cut(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def flipped(path: Path, at: int) -> Path:
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)
    return path


def safe(folder: Path, state: dict | None = None, name: str = "a.safetensors") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(network() if state is None else state, path)
    return path


def index_of(folder: Path, where) -> Path:
    shards(folder, 0)
    return write(folder, "model.safetensors.index.json", json.dumps({"weight_map": where}))


def without(index: Path) -> Path:
    """The index, of whose files one is gone."""
    (index.parent / "model-00002-of-00002.safetensors").unlink()
    return index


def pickled(folder: Path, content) -> Path:
    return write(folder, "a.pt", pickle.dumps(content))


def archive(folder: Path, names: list[str]) -> Path:
    with zipfile.ZipFile(folder / "a.pt", "w") as file:
        for name in names:
            file.writestr(name, b"x")
    return folder / "a.pt"


def looping(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder)
    return folder


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "a.pt")
    return folder / "a.pt"


def two(folder: Path, a: dict, b: dict) -> Path:
    saved(folder, a, "0.pt")
    saved(folder, b, "1.pt")
    return folder


def three(folder: Path) -> Path:
    for i in range(3):
        saved(folder, network(i), f"{i}.pt")
    return folder


def script(folder: Path) -> Path:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), folder / "a.pt")
    return folder / "a.pt"


def huge(folder: Path) -> Path:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    return write(folder, "a.safetensors", len(header).to_bytes(8, "little") + header)


# Name -> (what makes the source in a folder, what the message says), or with options of `read` between the two.
REFUSED = {
    # ambiguous
    "two state dicts": (lambda f: saved(f, {"model": network(), "ema": network(1)}), "key='model'"),
    "two networks by name": (lambda f: saved(f, {"actor": network(), "critic": {"a": torch.ones(3)}}), "key='critic'"),
    "files of two kinds": (lambda f: (saved(f, network()), safe(f))[0].parent, "*.pt or "),
    "files beside folders": (
        lambda f: (saved(f, network()), saved(f, network(), "below/b.pt"))[0].parent,
        "give a pattern",
    ),
    "two indices": (lambda f: (shards(f, 0), shards(f, 0, "bin", "pytorch_model"))[0].parent, "give the path of one"),
    "a dict of networks": (lambda f: {"a": network(), "b": network(1)}, "key='a'"),
    "a key that is none": (lambda f: saved(f, {"model": network()}), {"key": "net"}, "key='model'"),
    "a list in a list": (lambda f: [[network()]], "one list"),
    "a table without files": (lambda f: three(f), {"table": [{"accuracy": 1}] * 3}, "name the file"),
    "a row for two files": (
        lambda f: (saved(f, network(), "a/x.pt"), saved(f, network(1), "b/x.pt"))[0].parents[1],
        {"table": [{"file": "x.pt", "run": 1}]},
        "2 checkpoints",
    ),
    "a row for none": (lambda f: three(f), {"table": [{"file": "9.pt"}]}, "no checkpoint"),
    "two rows for one": (lambda f: three(f), {"table": [{"file": "1.pt"}, {"file": "1"}]}, "two rows"),
    "some runs": (lambda f: three(f), {"table": [{"file": "1.pt", "run": 0}]}, "all of them or none"),
    "some tasks": (lambda f: three(f), {"table": [{"file": "1.pt", "task": "01"}]}, "all of them or none"),
    # not what it should be
    "nothing there": (lambda f: f / "none.pt", "does not exist"),
    "a pattern without matches": (lambda f: str(f / "*.pt"), "no file of weights matches"),
    "an empty folder": (lambda f: f, "holds no weights"),
    "a folder of pictures": (lambda f: write(f, "a.png", "x").parent, "holds no weights"),
    "an empty file": (lambda f: write(f, "a.pt", ""), "is empty"),
    "a page": (lambda f: write(f, "a.pt", "<!doctype html><html>"), "failed download"),
    "a pointer of Git LFS": (
        lambda f: write(f, "a.pt", "version https://git-lfs.github.com/spec/v1\n"),
        "git lfs pull",
    ),
    "a picture for weights": (lambda f: write(f, "a.pt", b"\x89PNG\r\n\x1a\n"), "no file of weights"),
    "NumPy's archive": (lambda f: np.savez(f / "a.npz", a=np.ones(3)) or f / "a.npz", "not of torch.save"),
    "a program": (script, "TorchScript program"),
    "a tensor": (lambda f: saved(f, torch.ones(3)), "a tensor, no state dict"),
    "a list of tensors": (lambda f: saved(f, [torch.ones(3)]), "no state dict"),
    "an optimizer": (lambda f: saved(f, OPTIMIZER), "is a list, not a tensor|holds a dict"),
    "no tensors": (lambda f: saved(f, {"epoch": 3}), "not a tensor"),
    "an empty dict": (lambda f: saved(f, {}), "is empty"),
    "names that are numbers": (lambda f: saved(f, {0: torch.ones(2)}), "is no name"),
    "a sparse tensor": (lambda f: saved(f, {"a": torch.eye(3).to_sparse()}), "no dense tensor|sparse"),
    "complex numbers": (lambda f: saved(f, {"a": torch.ones(3, dtype=torch.complex64)}), "no dense tensor"),
    "a tensor for a source": (lambda f: torch.ones(3), "read from a path"),
    "a number for a source": (lambda f: 3, "read from a path"),
    "no text": (lambda f: "", "a source of checkpoints"),
    "an empty list": (lambda f: [], "the list of checkpoints is empty"),
    "an adapter without weights": (lambda f: write(f, "adapter_config.json", "{}").parent, "without its weights"),
    # broken
    "half a pickle": (lambda f: cut(saved(f, network()), 0.5), "damaged"),
    "half an old pickle": (lambda f: cut((legacy(network(), f / "a.pt"), f / "a.pt")[1], 0.6), "damaged"),
    "half a safetensors file": (lambda f: cut(safe(f), 0.5), "cannot be read"),
    "a broken header": (lambda f: flipped(safe(f), 12), "cannot be read"),
    "a header without end": (lambda f: write(f, "a.safetensors", b"\xff" * 7 + b"\x7f{"), "cannot be read"),
    "a broken archive": (lambda f: write(f, "a.pt", b"PK\x03\x04" + b"x" * 99), "damaged"),
    "an archive of anything": (lambda f: archive(f, ["a.txt"]), "not of torch.save"),
    "an archive without tensors": (lambda f: archive(f, ["a/data.pkl", "a/version"]), "damaged"),
    "a tensor larger than its file": (huge, "cannot be read"),
    "a shard that is missing": (lambda f: without(shards(f, 0)), "is missing"),
    "a shard without its tensor": (
        lambda f: index_of(f, {"other": "model-00001-of-00002.safetensors"}),
        "lacks 'other'",
    ),
    "an index without a map": (lambda f: index_of(f, []), "no weight_map"),
    "an index that is no JSON": (lambda f: write(f, "a.index.json", "{"), "not valid JSON"),
    "NaN": (lambda f: saved(f, {"a": torch.tensor([1.0, torch.nan])}), "NaN"),
    "another shape": (lambda f: two(f, network(), network() | {"head.weight": torch.ones(3, 4)}), "is [3, 4] float32"),
    "another type": (lambda f: two(f, network(), network() | {"head.weight": torch.ones(2, 4).half()}), "float16"),
    "a tensor more": (lambda f: two(f, network(), network() | {"more": torch.ones(1)}), "an extra tensor 'more'"),
    "a tensor less": (lambda f: two(f, network() | {"more": torch.ones(1)}, network()), "lacks tensor 'more'"),
    "another wrapper's rest": (
        lambda f: two(f, network() | {"more": torch.ones(1)}, network()),
        {"include": "head.*"},
        "left out",
    ),
    # hostile
    "a command": (lambda f: saved(f, {"a": Harmful()}), "whose code would have to be run"),
    "a command, plainly pickled": (
        lambda f: pickled(f, Harmful()),
        "code would have to be run|no pickle",
    ),
    "arguments of a script": (
        lambda f: saved(f, {"model": network(), "args": argparse.Namespace()}),
        "argparse.Namespace",
    ),
    "a whole module": (lambda f: saved(f, nn.Linear(2, 2)), "Linear"),
    "an index that leaves its folder": (lambda f: index_of(f, {"a": "../a.safetensors"}), "do not use it"),
    "an index with a path": (lambda f: index_of(f, {"a": "/etc/passwd"}), "do not use it"),
    "an index with a number": (lambda f: index_of(f, {"a": 3}), "do not use it"),
    "a pipe": (pipe, "no file"),
    "a link to nowhere": (lambda f: ((f / "a.pt").symlink_to(f / "gone"), f / "a.pt")[1], "cannot read"),
    "folders in a circle": (looping, "holds no weights"),
    "a name with a null": (lambda f: "a\0b", "a source of checkpoints"),
    # parts and tables
    "a part that is not there": (lambda f: three(f), {"include": "hed.*"}, "no tensor 'hed.*'; it has conv.weight"),
    "all left out": (lambda f: three(f), {"exclude": "*"}, "leave no tensor"),
    "a number for a part": (lambda f: three(f), {"include": 3}, "include takes"),
    "an accuracy in words": (lambda f: three(f), {"table": [{"file": "1.pt", "accuracy": "good"}]}, "accuracy of 1.pt"),
    "an infinite accuracy": (lambda f: three(f), {"table": [{"file": "1.pt", "accuracy": "inf"}]}, "accuracy of 1.pt"),
    "a task in words": (
        lambda f: three(f),
        {"table": [{"file": f"{i}.pt", "task": "odd"} for i in range(3)]},
        "its bits",
    ),
    "a condition without its column": (
        lambda f: three(f),
        {"table": [{"file": "1.pt", "lr": 1}], "described_by": [Condition("lr", 0, 1)]},
        "no 'lr' of 0.pt",
    ),
    "a condition in words": (
        lambda f: network(),
        {"table": [{"lr": "high"}], "described_by": [Condition("lr", 0, 1)]},
        "high'; give a number",
    ),
    "a condition out of its range": (
        lambda f: network(),
        {"table": [{"lr": 2}], "described_by": [Condition("lr", 0, 1)]},
        "lr: 2 is outside of 0 to 1",
    ),
    "a table that is missing": (lambda f: three(f), {"table": "none.csv"}, "does not exist"),
    "a table of numbers": (lambda f: three(f), {"table": [1, 2]}, "row 0 of the table"),
    "a number for a table": (lambda f: three(f), {"table": 3}, "table takes"),
    "a name for an architecture": (lambda f: three(f), {"architecture": "resnet18"}, "architecture is a str"),
}


def content(folder: Path) -> dict:
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if not path.is_symlink()
    }


@pytest.mark.parametrize("case", REFUSED)
def test_unclear_broken_and_hostile_sources_end_in_one_line_and_change_nothing(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    make, *options, message = REFUSED[case]
    (folder := tmp_path / "source").mkdir()
    source = make(folder)
    before = content(folder)
    with pytest.raises(InputError) as error:
        Zoo.read(source, **(options[0] if options else {}))
    said = str(error.value)
    assert any(part in said for part in message.split("|")), said
    assert "\n" not in said and len(said) < 600
    assert content(folder) == before and not (folder / MARK).exists() and not MARK.exists()


def test_there_are_as_many_refusals_as_promised():
    assert len(REFUSED) >= 40


@pytest.mark.skipif(os.geteuid() == 0 or sys.platform == "win32", reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    saved(tmp_path, network()).chmod(0)
    with pytest.raises(InputError, match="cannot read"):
        Zoo.read(tmp_path)


@pytest.mark.parametrize("kind", ["safetensors", "zip", "pickle"])
def test_a_flipped_or_cut_byte_is_refused_or_changes_a_value(tmp_path, kind):
    """No damage may crash, or raise anything but `InputError`; where a format has checksums it is noticed."""
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pt")
    {"safetensors": save_file, "zip": torch.save, "pickle": legacy}[kind](network(), path)
    whole, draw = path.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(whole)
        broken[int(draw.integers(len(whole)))] ^= 1 << int(draw.integers(8))
        path.write_bytes(bytes(broken[: len(whole) - int(draw.integers(2)) * int(draw.integers(40))]))
        try:
            found = Zoo.read(path)[0]
        except InputError as error:
            assert "\n" not in str(error)
        else:
            if kind == "zip":
                assert_same(found, network())


def test_a_file_that_disappears_is_one_line(tmp_path):
    zoo = Zoo.read(three(tmp_path))
    (tmp_path / "1.pt").unlink()
    with pytest.raises(InputError, match=r"cannot read .*1\.pt"):
        zoo[1]
    shutil.rmtree(tmp_path)


def test_every_kind_of_model_file_is_of_a_known_suffix():
    assert all(name.removesuffix(".index.json").endswith(layouts.SUFFIXES) for name in layouts.MODEL_FILES)
