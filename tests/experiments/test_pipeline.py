"""From a recipe to a record and back: smoke rows end to end, the recipes of every profile, the committed generators."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments import pipeline, profiles
from experiments.pipeline import LOSS_POINTS, NETWORKS
from experiments.records import PROFILES, generator_dir, results_dir
from rpglib.analysis.accuracy import predictions
from rpglib.analysis.similarity import mean_iou
from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.runtime.files import save_tensors, sha256, write_json
from rpglib.runtime.locks import locked
from rpglib.tasks import all_tasks
from rpglib.tokenizer import ParameterTokenizer
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import init_population
from rpglib.zoo.images import Split

GENERATORS = Path(__file__).parents[2] / "data" / "generators" / "cpu"
SMOKE = profiles.main_results("smoke")[1]  # the small CNN: BatchNorm statistics and counters are in its state dict
TRAINING_IMAGES = {"digits": 1077, "cifar10": 45_000}
IMAGE_SHAPES = {"digits": (1, 8), "cifar10": (3, 32)}
RECIPES = {
    f"{profile}-{recipe.name}": recipe
    for profile in PROFILES
    for recipe in (
        profiles.quickstart(profile),
        *profiles.main_results(profile),
        *profiles.cifar10_rows(profile),
    )
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No test here writes into the project."""
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """A smoke row, computed once; the tests that look at it share its home."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RPG_HOME", str(folder))
        return folder, pipeline.row(SMOKE, "smoke", fresh=True, device="cpu")


@pytest.fixture
def fresh(computed, monkeypatch):
    monkeypatch.setenv("RPG_HOME", str(computed[0]))
    return computed[1]


@pytest.fixture
def stored(fresh):
    return pipeline.row(SMOKE, "smoke", fresh=False, device="cpu")


def assert_close(one: list[dict], other: list[dict], tolerance: float) -> None:
    """The same networks to an absolute tolerance, whatever the size of a tensor's values."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name, tensor in a.items():
            assert tensor.shape == b[name].shape and tensor.dtype == b[name].dtype, name
            difference = (tensor.double() - b[name].double()).abs().max().item()
            assert difference <= tolerance, f"{name} differs by {difference:.2e}"


# ---- a row ----------------------------------------------------------------------------------------------------------


def test_a_fresh_row_writes_record_generator_and_original(computed, fresh):
    runs = computed[0] / "data" / "runs" / "smoke"
    assert json.loads((runs / "results" / "cnn_digits.json").read_text()) == fresh.record
    assert {path.name for path in (runs / "generators" / "cnn_digits").iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.safetensors",
        "original.safetensors",
    }
    assert {path.name for path in (computed[0] / "data").iterdir()} == {"runs"}, "a smoke run leaves only scratch"


def test_a_row_says_what_was_measured(fresh):
    record, numbers = fresh.record, fresh.numbers
    assert (record["experiment"], record["profile"], record["n"]) == ("cnn_digits", "smoke", NETWORKS)
    assert record["seeds"] == {"collect": 0, "train": 0, "generate": 0}
    assert record["data_source"] == "scikit-learn digits" and record["wall_seconds"] > 0
    assert record["config"] == json.loads(json.dumps(dataclasses.asdict(SMOKE)))
    for group, n in (("original", SMOKE.collect.runs * SMOKE.collect.checkpoints), ("generated", NETWORKS)):
        accuracies = torch.tensor(numbers[group]["accuracies"], dtype=torch.float64)
        assert len(accuracies) == numbers[group]["n"] == n
        assert numbers[group]["mean"] == pytest.approx(accuracies.mean().item(), abs=1e-4)
        assert numbers[group]["min"] == pytest.approx(accuracies.min().item(), abs=1e-4)
        assert ((accuracies >= 0) & (accuracies <= 100)).all()
    assert set(numbers["diversity"]) == {
        "among_generated",
        "to_nearest_original",
        "among_originals",
        "nearest_original_among_originals",
    }
    network = SMOKE.architecture.build()
    assert numbers["parameters"] >= sum(p.numel() for p in network.parameters())
    assert numbers["generator_parameters"] == sum(p.numel() for p in fresh.model.parameters())
    assert numbers["tokens"] == fresh.model.tokenizer.num_tokens
    assert numbers["loss"]["steps"] == list(range(1, SMOKE.train.steps + 1))
    assert set(numbers["seconds"]) == {"collect", "train", "generate", "evaluate", "baselines"}
    assert 0 < sum(numbers["seconds"].values()) < record["wall_seconds"], "the other generators take time, too"


def test_beside_a_row_stand_its_baselines_and_its_other_generators(fresh):
    numbers = fresh.numbers
    assert set(numbers["baselines"]) == {
        "untrained generator",
        "mean network",
        "Gaussian",
        "noise as far as RPG",
        "midpoint, one run",
        "midpoint, two runs",
        "midpoint, two runs, aligned",
    }
    for name, found in numbers["baselines"].items():
        alone = name == "mean network"
        assert (found["n"] == 1) == alone and (found["error_iou"] is None) == alone
        assert len(found["accuracies"]) == found["n"] and found["distance"]["n"] == found["n"]
        assert found["n"] <= SMOKE.networks, "no more than are generated, or large networks would not fit"
    first, second = numbers["by_seed"]
    assert len(numbers["by_seed"]) == SMOKE.generators
    assert first["generated"]["accuracies"] == numbers["generated"]["accuracies"]
    assert first["generated"]["distance"] == numbers["generated"]["distance"]
    assert first["generated"] != second["generated"], "another generator writes other networks"
    assert numbers["baselines"]["untrained generator"]["accuracies"] == first["untrained generator"]["accuracies"]


def test_a_stored_row_is_the_computed_one(fresh, stored):
    assert stored.record == fresh.record and stored.numbers == fresh.numbers and stored.recipe == fresh.recipe
    assert_close([fresh.original], [stored.original], 0)
    assert_close(pipeline.generate(SMOKE, fresh.model, 2), pipeline.generate(SMOKE, stored.model, 2), 1e-5)


def test_original_and_generated_networks_run(stored):
    (generated,) = pipeline.generate(SMOKE, stored.model, 1)
    for network in (stored.original, generated):
        SMOKE.architecture.build().load_state_dict(network)


def test_check_live_agrees_with_the_record(stored):
    assert (
        pipeline.check_live(stored)
        == "cnn_digits: 2 networks generated and evaluated again; they agree with the record"
    )


@pytest.mark.parametrize("change", [-1.0, 1.0])
def test_check_live_raises_when_the_record_was_changed(stored, change):
    record = deepcopy(stored.record)
    record["numbers"]["generated"]["accuracies"][1] += change
    with pytest.raises(AssertionError, match=r"cnn_digits: recomputed accuracies differ from the record by 1\.00"):
        pipeline.check_live(replace(stored, record=record))


def test_check_live_raises_when_the_generator_was_changed(stored):
    with torch.no_grad():
        for parameter in stored.model.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(0))
    with pytest.raises(AssertionError, match="differ from the record"):
        pipeline.check_live(stored, tolerance=0.1)


def test_a_row_without_record_is_an_input_error():
    with pytest.raises(InputError, match="fresh=True"):
        pipeline.row(SMOKE, "smoke", fresh=False)


def test_an_unknown_profile_is_an_input_error():
    with pytest.raises(InputError, match="unknown profile 'mnist'"):
        pipeline.row(SMOKE, "mnist", fresh=False)


# ---- one result, whole ----------------------------------------------------------------------------------------------


@pytest.fixture
def copied(computed, home, fresh, monkeypatch):
    """The computed row in a home that may be spoilt."""
    shutil.copytree(computed[0], home, dirs_exist_ok=True)
    monkeypatch.setenv("RPG_HOME", str(home))
    monkeypatch.setattr(pipeline, "ATTEMPTS", 1)
    return fresh


def read_back():
    return pipeline.row(SMOKE, "smoke", fresh=False, device="cpu")


def test_record_generator_and_original_carry_one_digest(computed, fresh):
    head = json.loads((computed[0] / "data/runs/smoke/generators/cnn_digits/config.json").read_text())
    assert fresh.record["generator"] == head["digest"] and "original.safetensors" in head["files"]


def test_files_of_two_runs_are_not_read_as_one(copied):
    with torch.no_grad():
        other = deepcopy(copied.model)
        next(other.parameters()).add_(1)
    other.save_pretrained(generator_dir("smoke", "cnn_digits"), {"original.safetensors": copied.original})
    with pytest.raises(InputError, match=r"the record of cnn_digits and what is in .* are of two runs; run with fresh"):
        read_back()


def test_an_original_of_another_save_is_refused(copied):
    save_tensors(generator_dir("smoke", "cnn_digits") / "original.safetensors", {"x": torch.zeros(1)})
    with pytest.raises(InputError, match=r"original\.safetensors is absent, damaged or of another save .* fresh=True"):
        read_back()


def test_a_row_from_before_digests_is_read_but_not_beside_a_new_generator(copied):
    path = results_dir("smoke") / "cnn_digits.json"
    write_json(path, {key: value for key, value in copied.record.items() if key != "generator"})
    with pytest.raises(InputError, match="are of two runs"):
        read_back()
    folder = generator_dir("smoke", "cnn_digits")
    config = dataclasses.asdict(copied.model.config)
    belongs = {"config": json.dumps(config), "tokenizer": sha256(folder / "tokenizer.safetensors")}
    save_tensors(folder / "model.safetensors", copied.model.state_dict(), belongs)
    write_json(folder / "config.json", config)
    assert pipeline.check_live(read_back())


def test_a_row_is_read_again_where_another_process_is_just_storing_it(copied, monkeypatch):
    monkeypatch.setattr(pipeline, "ATTEMPTS", 2)
    seen = []

    def at_first_the_old_one(*arguments):
        seen.append(arguments)
        return copied.record | ({"generator": "the one before"} if len(seen) == 1 else {})

    monkeypatch.setattr(pipeline, "read_record", at_first_the_old_one)
    assert read_back().record == copied.record and len(seen) == 2


TINY = replace(SMOKE, generators=1, networks=2, train=replace(SMOKE.train, steps=2), sampling_steps=1)


def test_a_run_killed_between_generator_and_record_is_noticed_and_gone_on_with(copied, home, monkeypatch):
    def killed(*arguments, **facts):
        with pytest.raises(InputError, match="held by process"), locked(home / "data/runs/smoke/cnn_digits.lock", 0):
            pass
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_record", killed)
        with pytest.raises(KeyboardInterrupt):
            pipeline.row(TINY, "smoke", fresh=True, seed=1, device="cpu")
    with pytest.raises(InputError, match="are of two runs"):
        read_back()
    (state,) = home.glob("data/runs/smoke/training_cnn_digits_*/training.pt")
    monkeypatch.setattr(RPG, "forward", lambda *_, **__: pytest.fail("trained again"))
    assert pipeline.row(TINY, "smoke", fresh=True, seed=1, device="cpu").record["seeds"]["train"] == 1
    assert pipeline.row(TINY, "smoke", fresh=False, seed=1, device="cpu").original
    assert not state.parent.exists()


AT_ONCE = """
import os, sys, time
from tests_recipe import TINY
import experiments.pipeline as pipeline
from rpglib.errors import InputError

def work(seed):
    mine = pipeline.row(TINY, "smoke", True, seed, "cpu")
    assert mine.record["seeds"]["train"] == seed
    try:
        read = pipeline.row(TINY, "smoke", False, seed, "cpu")
        assert read.record["seeds"]["train"] == seed and read.original["0.weight"].equal(mine.original["0.weight"])
    except InputError as error:
        assert "another seed" in str(error), error

children = []
for seed in (0, 0, 1):
    if (child := os.fork()) == 0:
        try:
            work(seed)
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            os._exit(1)
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


def test_the_same_and_another_seed_at_once_all_succeed(home):
    """Two processes of one seed and one of another: collected, trained, recorded and read in one home."""
    recipe = f"import dataclasses\nfrom experiments.profiles import *\nTINY = {TINY!r}\n"
    names = ("Architecture", "CollectConfig", "RPGConfig", "TrainConfig")
    (home / "tests_recipe.py").write_text(recipe)
    assert all(hasattr(profiles, name) for name in (*names, "Recipe")), "what the recipe is written in"
    path = os.pathsep.join((str(home), os.environ.get("PYTHONPATH", str(Path(__file__).parents[2]))))
    environment = os.environ | {"PYTHONPATH": path, "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1", "RPG_HOME": str(home)}
    call = subprocess.run([sys.executable, "-c", AT_ONCE], env=environment, capture_output=True, text=True)
    assert call.returncode == 0, call.stdout + call.stderr[-1000:]
    record = json.loads((results_dir("smoke") / "cnn_digits.json").read_text())
    head = json.loads((generator_dir("smoke", "cnn_digits") / "config.json").read_text())
    assert record["generator"] == head["digest"]
    assert {path.name for path in (home / "data/runs/smoke").iterdir()} == {"results", "generators", "zoos"}


@pytest.mark.parametrize("seeds", [(0, 0), (0, 1)])
def test_who_asks_for_a_zoo_that_is_being_collected_waits_for_it(few_images, monkeypatch, seeds):
    collected, found, real = [], {}, pipeline.collect

    def slow(architecture, images, config, *arguments, **options):
        collected.append(config.seed)
        time.sleep(0.5)
        return real(architecture, images, config, *arguments, **options)

    def ask(k):
        found[k] = pipeline.obtain_zoo(pipeline.seeded(BRIEF, seeds[k]), "smoke", few_images)

    monkeypatch.setattr(pipeline, "collect", slow)
    threads = [threading.Thread(target=ask, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(collected) == sorted(set(seeds))
    # Each reads what it was given, whatever the other wrote.
    assert found[0][1]["0.weight"].equal(found[1][1]["0.weight"]) == (seeds[0] == seeds[1])


# ---- zoos -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def few_images():
    images = pipeline.images_of("digits")
    return replace(images, train=Split(images.train.images[:128], images.train.labels[:128]))


@pytest.fixture
def shards(few_images):
    """Obtains a zoo and returns the names of its files, which are new ones whenever it is collected."""

    def shards(recipe, images=few_images, **options) -> set[str]:
        zoo = pipeline.obtain_zoo(recipe, "smoke", images, **options)
        tasks = options.get("label_maps")
        members = recipe.collect.runs * (1 if tasks is None else len(tasks))
        assert len(zoo) == members * recipe.collect.checkpoints and zoo.architecture == recipe.architecture
        return {path.name for path in pipeline.zoo_path(recipe, "smoke", images, **options).glob("*.safetensors")}

    return shards


BRIEF = replace(SMOKE, collect=replace(SMOKE.collect, checkpoints=2))
BINARY = replace(BRIEF, architecture=replace(BRIEF.architecture, num_classes=2))


def test_an_equal_zoo_is_reused_and_another_one_collected_again(shards, few_images):
    recipe, images = BRIEF, few_images
    first = shards(recipe)
    assert shards(recipe) == first
    longer = replace(recipe, train=replace(recipe.train, steps=99), sampling_steps=9)
    assert shards(longer) == first, "the generator's recipe is no part of the zoo's"
    # Each of these differs from the one before in one thing, and stands beside it: another process may be reading that.
    seen = [first]
    other = pipeline.seeded(recipe, 1)
    vit = replace(other, architecture=replace(other.architecture, name="vit_small_digits"))
    for found in (shards(other), shards(vit), shards(vit, replace(images, source="another copy"))):
        assert not found & seen[-1]
        seen.append(found)
    assert shards(recipe) == first


def test_a_zoo_of_changed_code_is_collected_again(shards, monkeypatch):
    first = shards(BRIEF)
    monkeypatch.setattr(pipeline, "ZOO_CODE", "other code")
    assert not shards(BRIEF) & first


@pytest.mark.parametrize("damage", ["truncated", "absent", "older format"])
def test_a_damaged_zoo_is_collected_again(shards, few_images, damage):
    (name,) = shards(BRIEF)
    folder = pipeline.zoo_path(BRIEF, "smoke", few_images)
    if damage == "truncated":
        (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    elif damage == "absent":
        (folder / name).unlink()
    else:
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"format": "rpglib zoo 1"}))
    (again,) = shards(BRIEF)
    assert again != name and shards(BRIEF) == {again}


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize("count", [1, 3])
def test_a_zoo_of_the_same_tasks_is_reused_and_of_others_collected_again(shards, runs, count):
    recipe = replace(BINARY, collect=replace(BINARY.collect, runs=runs))
    tasks = all_tasks(10)[100 : 100 + count]
    seen = [shards(recipe, label_maps=tasks)]
    assert shards(recipe, label_maps=tasks.clone()) == seen[0]
    for other in (1 - tasks, torch.cat((tasks, tasks)), all_tasks(10)[100 : 101 + count].flip(0)):
        seen.append(shards(recipe, label_maps=other))
        assert not seen[-1] & seen[-2]


def test_a_zoo_without_tasks_is_not_one_with_tasks(shards):
    recipe = replace(BRIEF, collect=replace(BRIEF.collect, checkpoints=1))
    alone = shards(recipe)
    with_task = shards(recipe, label_maps=(torch.arange(10) % 2)[None])
    assert not with_task & alone and not shards(recipe) & with_task


def test_a_zoo_from_the_same_start_is_reused_and_from_another_collected_again(shards):
    tasks = all_tasks(10)[:2]
    one, two = ({k: x[0] for k, x in init_population(BINARY.architecture, [seed]).items()} for seed in (0, 1))
    nearly = {name: x.clone() for name, x in one.items()}
    nearly["0.weight"][0, 0, 0, 0] += 1e-3
    first = shards(BINARY, label_maps=tasks, start=one)
    assert shards(BINARY, label_maps=tasks, start={name: x.clone() for name, x in one.items()}) == first
    seen = [first]
    for start in (two, nearly, None, one):
        seen.append(shards(BINARY, label_maps=tasks, start=start))
        assert not seen[-1] & seen[-2]


def test_the_report_of_zoos_is_recorded_and_read():
    recipe = replace(SMOKE, collect=replace(SMOKE.collect, batch_size=256, finetune_batch_size=128))
    first = pipeline.zoo_report([recipe], "smoke", fresh=True, device="cpu")
    assert pipeline.zoo_report([recipe], "smoke", fresh=False) == first
    others = [recipe, replace(recipe, name="another")]
    assert pipeline.zoo_report(others, "smoke", fresh=False) == first, "one without images is not in it"
    for other, seed in (
        ([recipe], 5),
        (others[1:], 0),
        ([replace(recipe, collect=replace(recipe.collect, epochs=7))], 0),
    ):
        with pytest.raises(InputError, match="other recipes or another seed"):
            pipeline.zoo_report(other, "smoke", fresh=False, seed=seed)
    assert first["n"] == 1 and set(first["numbers"]["zoos"]) == {"cnn_digits"}
    zoo = first["numbers"]["zoos"]["cnn_digits"]
    runs, each = SMOKE.collect.runs, SMOKE.collect.checkpoints
    assert (zoo["checkpoints"], zoo["runs"], zoo["parameters"]) == (runs * each, runs, 3514)
    images, stored = pipeline.images_of("digits"), pipeline.obtain_zoo(recipe, "smoke", pipeline.images_of("digits"))
    wrong = predictions(stored.build(), stored, images.test.images) != images.test.labels
    assert zoo["among_originals"] == pytest.approx(mean_iou(wrong)), "of errors on the test images"
    assert first["numbers"]["batching"]["members"] == 4
    assert pipeline.check_collection(first).startswith("4 checkpoints collected again")
    changed = deepcopy(first)
    changed["numbers"]["short"] = [value - 3 for value in first["numbers"]["short"]]
    with pytest.raises(AssertionError, match="differs from the record by"):
        pipeline.check_collection(changed)


def test_available_leaves_out_what_has_no_images(tmp_path, monkeypatch, capsys):
    pipeline.images_of.cache_clear()
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("RPG_DATA", str(tmp_path / "empty"))
    recipes = (*profiles.main_results("cpu"), profiles.CNN_S)
    assert [recipe.images for recipe in recipes] == ["digits", "digits", "cifar10"]
    assert pipeline.available(recipes, fresh=True) == recipes[:2]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("cnn_s: not measured (CIFAR-10 is not in ") and "RPG_DATA" in line
    assert pipeline.available(recipes, fresh=False) == recipes, "a record needs no images"
    assert capsys.readouterr().out == ""


def test_available_leaves_out_what_has_no_published_weights(monkeypatch, capsys):
    monkeypatch.setattr(pipeline, "images_of", lambda name: None)

    def absent(_architecture):
        raise InputError("no weights at hand")

    monkeypatch.setattr(Architecture, "pretrained", absent)
    recipes = profiles.cifar10_rows("gpu")
    assert pipeline.available(recipes, fresh=True) == recipes[:3]
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{recipe.name}: not measured (no weights at hand)" for recipe in recipes[3:]]


def test_a_published_start_follows_from_the_seed_and_is_known_again(shards, monkeypatch):
    monkeypatch.setattr(Architecture, "pretrained", Architecture.build)
    assert pipeline.published(SMOKE) is None
    recipe = replace(SMOKE, pretrained=True)
    state = torch.get_rng_state()
    first, again = pipeline.published(recipe), pipeline.published(recipe)
    other = pipeline.published(pipeline.seeded(recipe, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    scratch, started = shards(BRIEF), shards(replace(BRIEF, pretrained=True))
    assert not started & scratch
    assert shards(replace(BRIEF, pretrained=True)) == started


# ---- small parts ----------------------------------------------------------------------------------------------------


def test_seeded_moves_the_seeds_and_nothing_else():
    recipe = replace(SMOKE, collect=replace(SMOKE.collect, seed=10))
    moved = pipeline.seeded(recipe, 7)
    assert (moved.collect.seed, moved.train.seed) == (17, 7)
    back = replace(moved, collect=replace(moved.collect, seed=10), train=replace(moved.train, seed=0))
    assert back == recipe and pipeline.seeded(recipe, 0) == recipe


def test_first_weights_follow_from_the_seed_and_leave_the_random_state_alone(fresh):
    zoo = pipeline.obtain_zoo(SMOKE, "smoke", pipeline.images_of("digits"))
    recipe = replace(SMOKE, train=replace(SMOKE.train, steps=1))
    before, weights = torch.get_rng_state(), []
    for seed in (0, 0, 1):
        torch.randn(seed + 1)
        model, _ = pipeline.fit(pipeline.seeded(recipe, seed), zoo, "cpu")
        weights.append(model.recurrent.state_dict())
    assert all(value.equal(weights[1][name]) for name, value in weights[0].items())
    assert not all(value.equal(weights[2][name]) for name, value in weights[0].items())
    torch.set_rng_state(before)
    pipeline.fit(recipe, zoo, "cpu")
    assert torch.get_rng_state().equal(before)


def test_generators_of_two_seeds_differ_before_they_are_trained(fresh):
    zoo = pipeline.obtain_zoo(SMOKE, "smoke", pipeline.images_of("digits"))
    first, again, other = (pipeline.new_generator(pipeline.seeded(SMOKE, seed), zoo) for seed in (0, 0, 1))
    for (name, x), y, z in zip(first.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert x.equal(y) and (not x.equal(z) or x.unique().numel() == 1), name


def test_networks_are_those_of_the_row_s_seed(fresh, home, monkeypatch):
    zoo, seeds, generate_each = pipeline.obtain_zoo(SMOKE, "smoke", pipeline.images_of("digits")), [], RPG.generate_each

    def noted(model, *arguments, **options):
        seeds.append(options["seed"])
        return generate_each(model, *arguments, **options)

    monkeypatch.setenv("RPG_HOME", str(home))
    monkeypatch.setattr(pipeline, "obtain_zoo", lambda *_, **__: zoo)
    monkeypatch.setattr(RPG, "generate_each", noted)
    row = pipeline.row(TINY, "smoke", fresh=True, seed=3, device="cpu")
    assert seeds[0] == row.record["seeds"]["generate"] == 3
    seeds.clear()
    pipeline.check_live(row)
    assert seeds == [3], "generated again as they were"


@pytest.mark.parametrize("steps", [1, 5, LOSS_POINTS, LOSS_POINTS + 1, 1000, 4000])
def test_thinned_keeps_the_mean_of_the_losses(steps):
    losses = torch.rand(steps, generator=torch.Generator().manual_seed(steps), dtype=torch.float64)
    curve = pipeline.thinned(losses.tolist())
    assert len(curve["losses"]) == len(curve["steps"]) == min(steps, LOSS_POINTS)
    assert curve["steps"][-1] == steps
    lengths = torch.tensor(curve["steps"]).diff(prepend=torch.tensor([0]))
    assert lengths.min() >= 1 and lengths.max() - lengths.min() <= 1
    mean = (torch.tensor(curve["losses"], dtype=torch.float64) * lengths).sum() / steps
    assert mean.item() == pytest.approx(losses.mean().item(), abs=1e-6)


# ---- profiles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_zoo_and_model_of_a_recipe_fit(name):
    recipe = RECIPES[name]
    collect, model = recipe.collect, recipe.model
    states = collect.checkpoints * collect.runs if recipe.train.permutation == "checkpoint" else collect.runs
    assert model.permutation_states >= states
    assert model.task_bits == 0, "no row of the table has a task"
    assert 1 <= collect.checkpoints <= collect.finetuning.steps(TRAINING_IMAGES[recipe.images])
    assert (recipe.architecture.channels, recipe.architecture.image_size) == IMAGE_SHAPES[recipe.images]
    assert 1 <= recipe.sampling_steps <= model.diffusion_steps
    if max(model.widths) <= 1024:  # larger ones take gigabytes
        zoo = [recipe.architecture.build().state_dict() for _ in range(2)]
        tokenizer = ParameterTokenizer.fit(zoo, model.token_size, recipe.slicing, recipe.normalisation)
        RPG(model, tokenizer)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_recipes_of_a_profile_do_not_overwrite_each_other(profile):
    names = [profiles.quickstart(profile).name, *(recipe.name for recipe in profiles.main_results(profile))]
    assert len(names) > 1 and len(set(names)) == len(names) and "collect_checkpoints" not in names


@pytest.mark.parametrize("function", [profiles.quickstart, profiles.main_results, profiles.cifar10_rows])
def test_unknown_profiles_are_input_errors(function):
    with pytest.raises(InputError, match="unknown profile 'mnist'; known: smoke, cpu, gpu, paper"):
        function("mnist")


def changed(one, other) -> set[str]:
    fields = (field.name for field in dataclasses.fields(one))
    return {name for name in fields if getattr(one, name) != getattr(other, name)}


@pytest.mark.parametrize("name", ["vit_digits", "cnn_digits"])
def test_smoke_shortens_a_digits_recipe_and_changes_nothing_else(name):
    smoke, cpu = RECIPES[f"smoke-{name}"], RECIPES[f"cpu-{name}"]
    assert changed(smoke, cpu) == {"collect", "model", "train", "sampling_steps", "generators"}
    assert changed(smoke.model, cpu.model) == {"widths", "d_state", "channels", "permutation_states"}
    assert changed(smoke.train, cpu.train) == {"steps", "diffusion_batch"}
    assert smoke.collect == profiles.SMOKE_COLLECT and smoke.collect.seed == cpu.collect.seed
    assert smoke.train.steps < cpu.train.steps and smoke.sampling_steps < cpu.sampling_steps


def test_the_paper_profile_is_the_papers_recipe():
    for recipe in (*profiles.main_results("paper"), *profiles.cifar10_rows("paper")):
        assert recipe.normalisation == "layer" and recipe.slicing == "layer"
        assert (recipe.model.prediction, recipe.model.prototype_skip) == ("epsilon", False)
        assert (recipe.model.permutation, recipe.train.steps) == ("fixed", 80_000)
        assert (recipe.sampler, recipe.sampling_steps) == ("ddpm", recipe.model.diffusion_steps)


# ---- the committed generators ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [key.removeprefix("cpu-") for key in RECIPES if key.startswith("cpu-")])
def test_a_trained_generator_gives_the_same_networks_in_every_mode_and_after_a_save(name, tmp_path):
    """To an absolute 1e-5: trained weights and real statistics, whose values are far larger than those of new ones."""
    folder = GENERATORS / name
    if not (folder / "model.safetensors").exists():
        pytest.skip(f"data/generators/cpu/{name} is not there; run the notebooks with fresh=True to train it")
    model = RPG.from_pretrained(folder)
    options = {"n": 2, "sampler": "ddim", "steps": 10, "seed": 0}
    reference = model.generate(inference="partial", **options)
    assert all(tensor.isfinite().all() for network in reference for tensor in network.values())
    for inference in ("sequential", "full"):
        assert_close(reference, model.generate(inference=inference, **options), 1e-5)
    model.save_pretrained(tmp_path / "again")
    loaded = RPG.from_pretrained(tmp_path / "again")
    assert_close(reference, loaded.generate(inference="partial", **options), 1e-5)


@pytest.mark.parametrize("seed", ["", "1", [1], 1.5, -1, True, Path("1")])
def test_a_seed_is_a_whole_number_from_0(seed):
    with pytest.raises(InputError, match="seed takes a whole number from 0 on"):
        pipeline.seeded(SMOKE, seed)
