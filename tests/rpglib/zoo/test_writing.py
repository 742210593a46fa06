"""Networks are written as the checkpoints lay: the libraries that those came from load them."""

import json

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM

from rpglib import Zoo
from rpglib.errors import InputError
from rpglib.zoo.writing import write_networks


def changed(network: dict) -> dict:
    return {name: x + 1 if x.is_floating_point() else x for name, x in network.items()}


def test_files_get_their_own_names_and_types(tmp_path):
    networks = [
        {"module.a": torch.randn(3).half(), "module.n": torch.tensor(4), "module.left": torch.ones(i)} for i in (2, 5)
    ]
    for i, network in enumerate(networks):
        torch.save({"model": network, "epoch": 1}, tmp_path / f"{i}.pt")
    zoo = Zoo.read(tmp_path, exclude="left")
    paths = write_networks(zoo, [changed(zoo[0]), zoo[1]], tmp_path / "out", [0, 1])
    assert [path.name for path in paths] == ["00.safetensors", "01.safetensors"]
    for path, network, more in zip(paths, networks, (1, 0), strict=True):
        found = load_file(path)
        assert found.keys() == network.keys()
        assert found["module.a"].equal(network["module.a"] + more) and found["module.a"].dtype == torch.float16
        assert found["module.left"].equal(network["module.left"])
    assert len(Zoo.read(tmp_path / "out", include="a")) == 2


def test_tied_tensors_are_written_under_all_their_names(tmp_path):
    x = torch.randn(3)
    zoo = Zoo.read([{"a": x, "b": x}])
    (path,) = write_networks(zoo, [zoo[0]], tmp_path)
    assert load_file(path)["b"].equal(x)


def test_a_model_of_transformers_with_tied_weights(tmp_path):
    config = BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    for i in range(2):
        torch.manual_seed(i)
        BertForMaskedLM(config).save_pretrained(tmp_path / f"{i}")
    zoo = Zoo.read(tmp_path)
    paths = write_networks(zoo, [changed(zoo[1])], tmp_path / "out")
    model = AutoModelForMaskedLM.from_pretrained(paths[0])
    expected = AutoModelForMaskedLM.from_pretrained(tmp_path / "1").state_dict()
    for name, x in model.state_dict().items():
        assert x.equal(expected[name] + 1) if x.is_floating_point() else True, name
    embedding = model.get_input_embeddings().weight
    assert model.get_output_embeddings().weight.data_ptr() == embedding.data_ptr()


def test_a_folder_of_timm(tmp_path):
    for i in range(2):
        torch.manual_seed(i)
        model = timm.create_model("test_resnet", num_classes=3)
        (tmp_path / f"{i}").mkdir()
        timm.models.save_for_hf(model, tmp_path / f"{i}", model_config={"num_classes": 3})
    zoo = Zoo.read(tmp_path)
    assert zoo.architecture.name == "test_resnet" and zoo.architecture.num_classes == 3
    (path,) = write_networks(zoo, [changed(zoo[0])], tmp_path / "out")
    found = timm.create_model(f"local-dir:{path}", pretrained=True).state_dict()
    assert all(x.equal(changed(zoo[0])[name]) for name, x in found.items())


def test_an_adapter_keeps_its_settings(tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2}))
    save_file({"base.lora_A.weight": torch.ones(2, 3)}, folder / "adapter_model.safetensors")
    zoo = Zoo.read(folder)
    (path,) = write_networks(zoo, [changed(zoo[0])], tmp_path / "out")
    assert (path / "adapter_config.json").read_text() == (folder / "adapter_config.json").read_text()
    assert load_file(path / "adapter_model.safetensors")["base.lora_A.weight"].equal(torch.full((2, 3), 2.0))


def test_what_is_not_of_the_zoo_is_refused_before_anything_is_written(tmp_path):
    zoo = Zoo.read([nn.Linear(3, 2)])
    for networks, indices in (
        ([zoo[0], {"weight": torch.ones(2)}], None),
        ([zoo[0]], [0, 0]),
        ([zoo[0]], [1]),
        ([zoo[0] | {"weight": torch.ones(2)}], None),
        ([zoo[0] | {"weight": zoo[0]["weight"].double()}], None),
        (3, None),
    ):
        with pytest.raises(InputError):
            write_networks(zoo, networks, tmp_path / "out", indices)
    assert not (tmp_path / "out").exists()


def test_only_what_was_written_here_is_replaced(tmp_path):
    """Files of the user's by these names, and those that the zoo is read from, stay as they are."""
    for i in range(2):
        save_file({"a": torch.full((2,), float(i))}, tmp_path / f"0{i}.safetensors")
    zoo = Zoo.read(tmp_path)
    before = (tmp_path / "00.safetensors").read_bytes()
    with pytest.raises(InputError, match=r"00\.safetensors is there, and no network that was written here before"):
        write_networks(zoo, [changed(zoo[0])], tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "01.safetensors").write_text("notes")
    with pytest.raises(InputError, match=r"01\.safetensors is there"):
        write_networks(zoo, [zoo[0], zoo[1]], tmp_path / "out")
    assert [x.name for x in (tmp_path / "out").iterdir()] == ["01.safetensors"], "nothing was written before"
    assert (tmp_path / "00.safetensors").read_bytes() == before and zoo[0]["a"].equal(torch.zeros(2))
    for k in range(2):
        (path,) = write_networks(zoo, [zoo[k]], tmp_path / "new")
        assert load_file(path)["a"].equal(zoo[k]["a"])
    generated = Zoo.read(tmp_path / "new")
    with pytest.raises(InputError, match="choose another folder"):
        write_networks(generated, [changed(generated[0])], tmp_path / "new")


def test_a_folder_of_the_users_is_not_filled(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "adapter_config.json").write_text("{}")
    save_file({"a": torch.ones(2)}, tmp_path / "0" / "adapter_model.safetensors")
    zoo = Zoo.read(tmp_path)
    (tmp_path / "out" / "00").mkdir(parents=True)
    (tmp_path / "out" / "00" / "adapter_config.json").write_text("mine")
    with pytest.raises(InputError, match="00 is there"):
        write_networks(zoo, [zoo[0]], tmp_path / "out")
    assert (tmp_path / "out" / "00" / "adapter_config.json").read_text() == "mine"
    for _ in range(2):
        (path,) = write_networks(zoo, [zoo[0]], tmp_path / "new")
    assert load_file(path / "adapter_model.safetensors")["a"].equal(torch.ones(2))
