"""Unseen tasks end to end in profile smoke, what builds on them, and the committed generator against its record."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import pipeline, profiles
from experiments.pipeline import images_of
from experiments.records import generator_dir
from experiments.tasks import head_space, language, unseen
from experiments.tasks import tables as task_tables
from experiments.tasks.finetuning import measure_finetuning
from experiments.tasks.task_zoo import HEAD, task_zoo
from rpglib.errors import InputError
from rpglib.tasks import split_tasks

ROOT = Path(__file__).parents[3]
SMOKE = profiles.unseen_tasks("smoke")
DIGITS = profiles.unseen_tasks("cpu")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RPG_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def result(home):
    """The smoke experiment, computed once."""
    return unseen.unseen_tasks(SMOKE, "smoke", fresh=True, device="cpu")


@pytest.fixture(scope="module")
def tasks(result):
    return task_zoo(SMOKE, "smoke", images_of("digits"), torch.device("cpu"))


# ---- tasks and their zoo --------------------------------------------------------------------------------------------


def test_the_smoke_tasks_are_pairs_of_opposites():
    tasks = SMOKE.tasks()
    assert tasks.shape == (SMOKE.count, 10)
    rows = {tuple(task) for task in tasks.tolist()}
    assert len(rows) == SMOKE.count and all(tuple(1 - bit for bit in row) in rows for row in rows)
    assert DIGITS.tasks().shape == (1022, 10)


def test_all_tasks_start_from_one_network_with_a_zero_head(tasks):
    assert all(not tasks.start[name].any() for name in HEAD)
    assert list(tasks.start) == list(SMOKE.architecture.build().state_dict())
    assert tasks.zoo.tasks.view(len(tasks.bits), tasks.each, -1).eq(tasks.bits[:, None]).all()
    assert tasks.seconds > 0


def test_opposite_tasks_give_one_network_with_its_outputs_exchanged(tasks):
    """Zero head, one order of images: flipping all labels mirrors the training."""
    last = len(tasks.bits) - 1
    one, other = (tasks.zoo[task * tasks.each] for task in (0, last))
    assert tasks.bits[0].equal(1 - tasks.bits[last])
    torch.testing.assert_close(one["head.weight"], other["head.weight"].flip(0), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(one["blocks.0.attn.qkv.weight"], other["blocks.0.attn.qkv.weight"], atol=1e-4, rtol=1e-3)


def test_weights_are_the_mean_of_a_tasks_checkpoints(tasks):
    mean = torch.stack([tasks.zoo[tasks.each + k]["head.weight"] for k in range(tasks.each)]).mean(0)
    torch.testing.assert_close(tasks.weights[1][tasks.columns(("head.weight",))], mean.flatten())
    assert int(tasks.columns(HEAD).sum()) == 50


# ---- the experiment -------------------------------------------------------------------------------------------------


def test_the_record_counts_every_unseen_task(result):
    (split,) = result.numbers["splits"]
    _, unseen_rows = split_tasks(SMOKE.count, 0, SMOKE.seen)
    assert split["unseen_tasks"] == len(split["tasks"]) == len(unseen_rows)
    assert set(split["baselines"]) == {
        "majority class",
        "mean network",
        "nearest seen task",
        "ridge on bits",
        "ridge on bits and pairs",
        "mean backbone + ridge head",
        "head-only conditioning",
    }
    for found in (split["original"], split["generated"], *split["baselines"].values()):
        assert found["n"] == len(found["accuracies"]) == len(unseen_rows)
        assert 0 <= found["min"] <= found["mean"] <= found["max"] <= 100
    worst, best = split["worst_of_networks"]["mean"], split["best_of_networks"]["mean"]
    assert worst <= split["generated"]["mean"] <= best
    assert [row["seen_tasks"] for row in result.numbers["curve"]] == [*SMOKE.curve, split["seen_tasks"]]
    assert split["flipped"]["pairs"] > 0
    assert set(result.numbers["seconds"]) == {"collect", "split0", "curve", "finetuning"}


def test_originals_are_as_accurate_as_the_zoo_says(result, tasks):
    (split,) = result.numbers["splits"]
    _, rows = split_tasks(SMOKE.count, 0, SMOKE.seen)
    expected = tasks.zoo.accuracies.view(-1, tasks.each)[rows].mean(1)
    assert split["original"]["accuracies"] == pytest.approx(expected.tolist(), abs=1e-3)


def test_what_is_kept_is_what_was_computed(result, home):
    stored = unseen.unseen_tasks(SMOKE, "smoke", fresh=False, device="cpu")
    assert stored.record == result.record
    assert all(stored.heads[name].equal(values) for name, values in result.heads.items())
    assert "agree with the record" in unseen.check_live(stored)
    assert not list((home / "data" / "runs" / "smoke").glob("unseen_tasks_*")), "unfinished parts are removed"


def test_record_generator_and_heads_are_of_one_run_or_refused(result, home, tmp_path, monkeypatch):
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    monkeypatch.setattr(pipeline, "ATTEMPTS", 1)
    folder = generator_dir("smoke", SMOKE.name)
    assert json.loads((folder / "config.json").read_text())["digest"] == result.record["generator"]
    result.model.save_pretrained(folder, {"heads.safetensors": result.heads | {"unseen": torch.zeros(1)}})
    with pytest.raises(InputError, match="are of two runs"):
        unseen.unseen_tasks(SMOKE, "smoke", fresh=False, device="cpu")


def test_a_record_that_does_not_hold_is_found(result):
    record = json.loads(json.dumps(result.record))
    record["numbers"]["splits"][0]["generated"]["accuracies"][0] += 5
    with pytest.raises(AssertionError, match="differ from the record"):
        unseen.check_live(replace(result, record=record))


def test_another_recipe_is_not_mistaken_for_the_recorded_one(result):
    with pytest.raises(InputError, match="another seed or recipe"):
        unseen.unseen_tasks(replace(SMOKE, sampling_steps=9), "smoke", fresh=False, device="cpu")
    assert unseen.at_hand(SMOKE, "smoke", device="cpu").record == result.record


def test_a_part_is_computed_once(tmp_path):
    path, calls = tmp_path / "part.json", []

    def compute():
        calls.append(1)
        return {"x": 1.5}

    first, again = unseen._once(path, compute), unseen._once(path, compute)
    assert first == again == {"x": 1.5} and len(calls) == 1


def test_an_interrupted_part_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        unseen._once(tmp_path / "part.json", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert not list(tmp_path.iterdir())


def test_answers_are_judged_by_the_labels_given(result):
    bits, test = SMOKE.tasks()[:2], images_of("digits").test
    own = unseen.answers(SMOKE, result.model, bits, test, 2)
    flipped = unseen.answers(SMOKE, result.model, bits, test, 2, labels=1 - bits)
    assert own.right.shape == (2, 2, len(test)) and own.heads.shape == (2, 2, 50)
    assert (own.right ^ flipped.right).all()


def test_flips_need_an_opposite_that_is_unseen(tasks, result):
    with pytest.raises(InputError, match="opposite"):
        unseen.measure_flips(SMOKE, tasks, torch.tensor([0]), torch.tensor([1]), result.model, images_of("digits").test)


def test_training_starts_from_what_was_generated(result, tasks):
    recipe = replace(SMOKE, finetuned=1)
    _, rows = split_tasks(SMOKE.count, 0, SMOKE.seen)
    found = measure_finetuning(recipe, tasks, rows, result.model, images_of("digits"))
    assert found["tasks"] == 1 and found["epochs"] == [0, 1]
    for starts in found["accuracy"].values():
        assert set(starts) == {"generated", "pretrained", "random"}
        assert all(len(start["by_epoch"]) == 2 for start in starts.values())
    few, everything = found["accuracy"].values()
    assert few["generated"]["by_epoch"][0] == everything["generated"]["by_epoch"][0], "nothing is trained at epoch 0"


# ---- what builds on it ----------------------------------------------------------------------------------------------


def cluster(spread: float) -> dict[str, torch.Tensor]:
    """Six tasks whose heads lie far apart, and generated heads `spread` away from their own."""
    centres = 10 * torch.eye(6)
    noise = torch.randn(6, 3, 6, generator=torch.Generator().manual_seed(0))
    unseen_rows = torch.tensor([1, 4])
    return {
        "bits": torch.eye(6).long(),
        "originals": centres[:, None] + 0.1 * noise,
        "unseen": unseen_rows,
        "generated": centres[unseen_rows][:, None] + spread * noise[:2],
    }


def test_generated_heads_at_their_own_tasks_rank_first():
    found = head_space.measure(cluster(0.1))
    assert found["generated"]["mean_rank"] == found["originals"]["mean_rank"] == 1
    assert found["generated"]["share_first"] == 1
    assert found["generated"]["distance_to_own"] < found["generated"]["distance_to_nearest_other"]


def test_generated_heads_of_another_task_do_not():
    heads = cluster(0.1)
    heads["generated"] = heads["generated"].flip(0)
    assert head_space.measure(heads)["generated"]["share_first"] == 0


def test_ridge_is_the_baseline_of_generated_heads():
    """Heads that are linear in the bits are regressed exactly, pairs or not; those of chance are not."""
    bits = SMOKE.tasks()
    heads = {"bits": bits, "unseen": torch.tensor([0, 5]), "originals": (2.0 * bits - 1)[:, None].expand(-1, 3, -1)}
    for order in (1, 2):
        assert head_space.closeness(heads, head_space.regressed(heads, order))["share_first"] == 1
    random = torch.randn(len(bits), 3, 50, generator=torch.Generator().manual_seed(0))
    heads["originals"] = random
    assert head_space.closeness(heads, head_space.regressed(heads, 1))["share_first"] == 0


def test_exchanged_heads_answer_the_opposite():
    head = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert head_space.exchanged(head).tolist() == [3, 4, 1, 2, 6, 5]
    x, heads = torch.randn(2), torch.stack((head, head_space.exchanged(head)))
    one, other = (h[:4].view(2, 2) @ x + h[4:] for h in heads)
    assert one.equal(other.flip(0))


def test_opposite_tasks_have_exchanged_heads(result):
    originals = result.heads["originals"]
    torch.testing.assert_close(head_space.exchanged(originals).flip(0), originals, atol=1e-3, rtol=0)


def test_head_space_is_recorded(result):
    record = head_space.head_space(result, "smoke", fresh=True)
    assert head_space.head_space(result, "smoke", fresh=False) == record
    assert record["numbers"]["tasks"] == SMOKE.count


def test_language_is_recorded_and_checked(result):
    record = language.language(result, "smoke", fresh=True)
    assert [row["bits"] for row in record["numbers"]["prompts"]] == [
        row["expected"] for row in record["numbers"]["prompts"]
    ]
    assert all(row["accuracy"]["n"] == 10 for row in record["numbers"]["prompts"])
    assert len(record["numbers"]["others"]["cifar10"]) == 21
    assert "agree with the record" in language.check_live(result, record)


def test_a_back_end_that_made_no_record(result):
    language.language(result, "smoke", fresh=True)
    with pytest.raises(InputError, match="made with the back end 'table', not 'local'"):
        language.language(result, "smoke", fresh=False, backend="local")
    with pytest.raises(InputError, match="back end"):
        language.language(result, "smoke", fresh=True, backend="oracle")


def test_a_prompt_that_is_refused_is_recorded_with_its_reason():
    def refuse(prompt, class_names):
        raise InputError("no idea")

    row = language.understood("digits", refuse)[0]
    assert row["bits"] is None and row["refused"] == "no idea"


# ---- tables ---------------------------------------------------------------------------------------------------------


def test_means_over_chosen_tasks():
    split = {
        "original": {"mean": 3.0, "accuracies": [1, 3, 5]},
        "generated": {"mean": 2.0, "accuracies": [0, 2, 4]},
        "baselines": {"weak": {"mean": 1.0, "accuracies": [1, 1, 1]}},
    }
    last_two, none = np.array([False, True, True]), np.zeros(3, bool)
    assert task_tables.means([split], "RPG") == [2.0]
    assert task_tables.means([split, split], "original", [last_two, ~last_two]).tolist() == [4.0, 1.0]
    assert np.isnan(task_tables.means([split], "weak", [none])).all()
    table = task_tables.groups([split, split], {"last": [last_two] * 2, "first": [~last_two] * 2})
    assert table["last"].to_dict() == {"original": "4.00", "RPG": "3.00", "weak": "1.00"}
    assert table.loc["RPG", "first"] == "0.00"


def test_tables_of_the_smoke_record(result):
    splits = result.numbers["splits"]
    table = task_tables.methods(splits)
    assert list(table.index[:2]) == ["original", "RPG"] and table.loc["original", "mean - original"] == "+0.00"
    assert len(task_tables.some_tasks(splits[0], 3)) == 4
    assert task_tables.flips(splits).loc["split 0", "pairs"] == splits[0]["flipped"]["pairs"]
    assert task_tables.one_flip(splits[0]).shape == (4, 10)
    assert list(task_tables.curve(result.numbers["curve"]).columns) == [
        row["seen_tasks"] for row in result.numbers["curve"]
    ]
    assert len(task_tables.finetuning(result.numbers["finetuning"])) == 6


# ---- the committed generator ----------------------------------------------------------------------------------------


@pytest.fixture
def committed(monkeypatch):
    monkeypatch.setenv("RPG_HOME", str(ROOT))
    return unseen.unseen_tasks(DIGITS, "cpu", fresh=False, device="cpu")


def test_the_committed_generator_gives_what_its_record_says(committed):
    assert "agree with the record" in unseen.check_live(committed, count=3)
    weights = ROOT / "data" / "generators" / "cpu" / "unseen_tasks" / "model.safetensors"
    assert weights.stat().st_size <= 4_000_000


def test_a_sentence_gives_a_network(committed):
    """README's first screen."""
    from rpglib.prompts.task import task_from_prompt

    task = task_from_prompt("give me a network that recognises odd digits")
    (network,) = committed.model.generate(task=task, steps=4)
    module, test = DIGITS.architecture.build(), images_of("digits").test
    module.load_state_dict(network)
    right = module.eval()(test.images).argmax(1) == test.labels % 2
    assert right.float().mean() > 0.93
