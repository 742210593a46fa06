"""The large networks: recipes, what is told where nothing can be measured, and the whole path on every architecture."""

import dataclasses
import os
import subprocess
import sys

import pytest
import torch
from matplotlib import pyplot as plt

from experiments.imagenet import figures as large_figure
from experiments.imagenet import networks as large_networks
from experiments.imagenet import tables as large_tables
from experiments.imagenet.networks import NETWORKS
from experiments.records import write_record
from rpglib.errors import InputError
from rpglib.tokenizer import ParameterTokenizer

# Millions of parameters as published (the paper's v1, table 1; timm for the last two).
MILLIONS = {
    "convnext_atto": 3.7,
    "vit_tiny_patch16_224": 5.7,
    "resnet18": 11.7,
    "vit_small_patch16_224": 22.1,
    "resnet50": 25.6,
    "vit_base_patch16_224": 86.6,
    "convnext_large": 197.8,
    "mobilenetv3_large_100": 5.5,
    "swin_tiny_patch4_window7_224": 28.3,
}
SMALLEST = ("convnext_atto", "mobilenetv3_large_100")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No test here writes into the project, or finds images or weights."""
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    monkeypatch.setenv("RPG_DATA", str(tmp_path / "data"))
    return tmp_path


def changed(one, other) -> set[str]:
    fields = (field.name for field in dataclasses.fields(one))
    return {name for name in fields if getattr(one, name) != getattr(other, name)}


def random_state(name: str, seed: int) -> dict[str, torch.Tensor]:
    """Random weights, positive as variances must be, in the shapes of an architecture; counters count."""
    with torch.device("meta"):
        shapes = large_networks.recipes("smoke", name)[name].architecture.build().state_dict()
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.rand(x.shape, generator=generator) + 0.1
        if x.is_floating_point()
        else torch.full(x.shape, 7 + seed, dtype=x.dtype)
        for key, x in shapes.items()
    }


# ---- recipes --------------------------------------------------------------------------------------------------------


def test_paper_has_the_seven_networks_of_the_table_and_smoke_two_more():
    assert NETWORKS.keys() == MILLIONS.keys()
    seven = {name for name in MILLIONS if name not in ("mobilenetv3_large_100", "swin_tiny_patch4_window7_224")}
    for profile in ("cpu", "gpu", "paper"):
        assert large_networks.recipes(profile).keys() == seven
    assert large_networks.recipes("smoke").keys() == MILLIONS.keys()


@pytest.mark.parametrize("name", MILLIONS)
def test_timm_knows_the_network_and_it_has_its_published_size(name):
    architecture = large_networks.recipes("smoke", name)[name].architecture
    with torch.device("meta"):
        module = architecture.build()
    assert round(sum(p.numel() for p in module.parameters()) / 1e6, 1) == MILLIONS[name]
    assert (architecture.num_classes, architecture.image_size) == (1000, 224)


def test_the_paper_profile_is_the_papers_recipe():
    for name, recipe in large_networks.recipes("paper").items():
        large = MILLIONS[name] > 50
        assert (recipe.normalisation, recipe.slicing, recipe.networks, recipe.pretrained) == (
            "layer",
            "layer",
            10,
            True,
        )
        assert recipe.collect.epochs == (name == "convnext_large"), "its checkpoints come after one full epoch"
        assert (recipe.collect.checkpoints, recipe.model.permutation_states) == (50, 50)
        assert (recipe.model.prediction, recipe.model.permutation) == ("epsilon", "fixed")
        assert recipe.model.token_size == (16384 if large else 8192)
        train = recipe.train
        found = (train.steps, train.batch_size, train.diffusion_batch, train.learning_rate, train.optimizer)
        assert found == ((120_000, 8, 512, 1e-5, "adamw8bit") if large else (80_000, 16, 1024, 3e-5, "adamw"))
        assert (recipe.sampler, recipe.sampling_steps) == (("ddim", 60) if large else ("ddpm", 1000))


def test_smoke_shortens_the_papers_recipes_and_changes_nothing_else():
    smoke, paper = large_networks.recipes("smoke"), large_networks.recipes("paper")
    for name, recipe in paper.items():
        assert changed(smoke[name], recipe) == {
            "images", "collect", "model", "train", "sampling_steps", "networks", "paper", "pretrained",
        }  # fmt: skip
        assert changed(smoke[name].collect, recipe.collect) - {"epochs"} == {"finetune_batch_size", "checkpoints"}
        assert smoke[name].collect.epochs == 0
        assert changed(smoke[name].model, recipe.model) == {
            "token_size", "widths", "d_state", "headdim", "channels", "permutation_states",
        }  # fmt: skip
        assert smoke[name].train.optimizer == "adamw" and smoke[name].train.steps < recipe.train.steps


def test_networks_are_chosen_by_name():
    assert list(large_networks.recipes("smoke", "resnet50, swin_tiny_patch4_window7_224")) == [
        "resnet50",
        "swin_tiny_patch4_window7_224",
    ]
    with pytest.raises(InputError, match=r"unknown network 'resnet51'; known: convnext_atto, .*convnext_large"):
        large_networks.recipes("paper", "resnet18,resnet51")
    with pytest.raises(InputError, match="unknown network 'swin_tiny_patch4_window7_224'"):
        large_networks.recipes("paper", "swin_tiny_patch4_window7_224")
    with pytest.raises(InputError, match="unknown profile"):
        large_networks.recipes("mnist")


# ---- tokens of odd tensors ------------------------------------------------------------------------------------------

ODD = {
    "convnext_atto": "stages.0.blocks.0.mlp.fc1.bias",
    "mobilenetv3_large_100": "bn1.num_batches_tracked",
    "resnet18": "layer4.1.bn2.running_var",
    "swin_tiny_patch4_window7_224": "layers.0.blocks.1.attn.relative_position_bias_table",
    "vit_tiny_patch16_224": "cls_token",
}


@pytest.mark.parametrize("name", ODD)
def test_decode_undoes_encode_for_every_kind_of_tensor(name):
    states = [random_state(name, seed) for seed in (0, 1)]
    assert ODD[name] in states[0]
    recipe = large_networks.recipes("smoke", name)[name]
    tokenizer = ParameterTokenizer.fit(states, recipe.model.token_size, recipe.slicing, recipe.normalisation)
    tokens, mask = tokenizer.encode(states[1])
    decoded = tokenizer.decode(tokens.where(mask, torch.nan), reuse=True)
    assert decoded.keys() == states[1].keys()
    for key, x in states[1].items():
        if x.is_floating_point():
            torch.testing.assert_close(decoded[key], x, rtol=1e-4, atol=1e-6)
        else:
            assert decoded[key].equal(states[0][key]), "counters are those of the first checkpoint"
    recipe.architecture.build().load_state_dict(decoded)


# ---- where nothing can be measured ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_profiles_without_imagenet_say_what_to_run(profile, fresh, capsys):
    chosen = large_networks.recipes(profile)
    assert large_networks.rows(chosen, profile, fresh) == {}
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"not measured: profile {profile!r}") and "-p profile paper -p fresh true" in line
    table = large_tables.accuracies(chosen, {})
    assert table.loc["convnext_large"].tolist() == ["85.8", "85.5"]


def test_absent_images_are_told_before_anything_starts(home):
    with pytest.raises(InputError, match=r"imagenet.train lacks 1000 of the 1000 .* set RPG_DATA") as caught:
        large_networks.rows(large_networks.recipes("paper", "resnet18"), "paper", fresh=True)
    assert "\n" not in str(caught.value)


def test_rows_without_a_record_are_left_out_and_named(capsys):
    chosen = large_networks.recipes("paper", "resnet18,resnet50")
    numbers = {group: {"mean": 70.0, "std": 0.1, "min": 69.0, "max": 71.0} for group in ("original", "generated")}
    write_record(
        "imagenet_resnet50",
        "paper",
        numbers,
        config=chosen["resnet50"],
        seeds={},
        n=10,
        wall_seconds=1.0,
        data_source="a test",
    )
    found = large_networks.rows(chosen, "paper", fresh=False)
    assert found == {"resnet50": numbers}
    assert capsys.readouterr().out.startswith("resnet18: not measured (no record")
    table = large_tables.accuracies(chosen, found)
    assert table.loc["resnet50"].tolist() == ["79.8", "79.5", "70.00", "70.00", "0.10", "69.00", "71.00"]
    with pytest.raises(InputError, match="other settings or another seed"):
        large_networks.rows(chosen, "paper", fresh=False, seed=1)


# ---- what it costs --------------------------------------------------------------------------------------------------

COST = {
    "parameters": 1000,
    "tokens": 2,
    "generator_parameters": 3,
    "seconds": {"collect": 1.0, "generate": 2.0},
    "process_seconds": 119.0,
    "peak_gb": 11.9,
    "evaluated": 2,
}


@pytest.mark.parametrize("change", [{"process_seconds": 120.0}, {"peak_gb": 12.0}, {"evaluated": 0}])
def test_networks_count_within_both_limits(change):
    assert large_tables.within(COST) and not large_tables.within(COST | change)


def test_the_figure_shows_every_network_and_both_limits():
    found = {name: COST | {"parameters": 1e6 * size} for name, size in MILLIONS.items()}
    found["resnet50"] |= {"process_seconds": 500.0, "peak_gb": 0.1}
    _, axes = plt.subplots(1, 2)
    large_figure.costs(axes, found)
    for ax, key, limit in zip(axes, ("process_seconds", "peak_gb"), (120, 12), strict=True):
        points = [point for collection in ax.collections for point in collection.get_offsets().tolist()]
        assert sorted(points) == sorted([found[name]["parameters"] / 1e6, found[name][key]] for name in found)
        (low, high), (left, right) = ax.get_ylim(), ax.get_xlim()
        assert all(left < size < right and low < value < high for size, value in points), "also where it costs more"
        assert list(ax.lines[0].get_ydata()) == [limit, limit]
    plt.close("all")


def test_sizes_are_checked_against_the_record():
    numbers = {"parameters": 3_695_520, "tokens": 1891}
    assert large_networks.check_sizes({"convnext_atto": numbers}).startswith("networks built again: 1;")
    for wrong in ({"parameters": 3_695_519}, {"tokens": 1890}):
        with pytest.raises(AssertionError, match="convnext_atto: counted"):
            large_networks.check_sizes({"convnext_atto": numbers | wrong})


RESIDENT = """
import torch
from rpglib.runtime.resident import HIGHEST, resident
before = resident()
block = torch.ones(2**26)
held = resident()
del block
print(before, held, resident(), resident(HIGHEST))
"""


def test_resident_memory_has_a_high_water_mark():
    # In a process of its own: one that generated networks keeps the memory that it frees.
    call = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    before, held, after, highest = map(int, call.stdout.split())
    # A block of 256 MiB. The kernel adds up its counters by the thread now and then: a megabyte may be missing.
    assert held - before > 0.9 * 2**28
    assert highest > held - 0.1 * 2**28 > after


def die(*_):
    os._exit(9)


def test_a_process_that_dies_is_an_input_error(monkeypatch):
    monkeypatch.setattr(large_networks, "_compute", die)
    with pytest.raises(InputError, match="imagenet_resnet18 died, most likely for want of memory"):
        large_networks.measured("resnet18")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SMALLEST else pytest.mark.networks) for name in NETWORKS]
)
def test_every_network_passes_from_tokenizer_to_evaluated_networks(name):
    """`make test` takes the two smallest, `make test-networks` all nine."""
    found = large_networks.measured(name)
    assert large_tables.within(found[name]), found[name]
    assert large_networks.check_sizes(found)
    assert MILLIONS[name] * 0.99e6 < found[name]["parameters"] < MILLIONS[name] * 1.02e6
    assert found[name]["evaluated"] == 2
