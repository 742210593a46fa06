"""Unseen tasks end to end in profile smoke, what builds on them, and the committed generator against its record."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from experiments import pipeline, profiles
from experiments.pipeline import fit, images_of
from experiments.records import generator_dir
from experiments.tasks import head_space, language, unseen
from experiments.tasks import tables as task_tables
from experiments.tasks.baselines import measure_baselines, writers
from experiments.tasks.finetuning import measure_finetuning
from experiments.tasks.measures import Answers, answers, correct, flips
from experiments.tasks.task_zoo import HEAD, exchanged, some_pairs, task_zoo, tasks_of
from rpglib.analysis.similarity import mean_iou
from rpglib.baselines.kernel_ridge import kernel_ridge
from rpglib.baselines.tasks import ridge
from rpglib.errors import InputError
from rpglib.runtime.state_dicts import unflatten
from rpglib.tasks import split_tasks
from rpglib.zoo.images import Split

ROOT = Path(__file__).parents[3]
SMOKE = profiles.unseen_tasks("smoke")
DIGITS = profiles.unseen_tasks("cpu")
VARIED = replace(
    SMOKE,
    name="varied",
    collect=replace(SMOKE.collect, runs=2, checkpoints=1, shared_order=False),
    random_heads=True,
    curve=(),
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def result(home):
    """The smoke experiment, computed once."""
    return unseen.unseen_tasks(SMOKE, "smoke", fresh=True, device="cpu")


@pytest.fixture(scope="module")
def tasks(result):
    return task_zoo(SMOKE, "smoke", images_of("digits"), CPU)


@pytest.fixture(scope="module")
def varied(home):
    return task_zoo(VARIED, "smoke", images_of("digits"), CPU)


# ---- tasks and their zoos -------------------------------------------------------------------------------------------


def test_the_smoke_tasks_are_pairs_of_opposites_in_counting_order():
    tasks = tasks_of(SMOKE)
    assert tasks.shape == (SMOKE.count, 10) and tasks.flip(0).equal(1 - tasks)
    assert len({tuple(task) for task in tasks.tolist()}) == SMOKE.count
    assert tasks_of(DIGITS).shape == (1022, 10)


def test_all_tasks_start_from_one_network_with_a_zero_head(tasks):
    assert all(not tasks.start[name].any() for name in HEAD)
    assert list(tasks.start) == list(SMOKE.architecture.build().state_dict())
    assert tasks.trained["head.weight"].shape == (10, 24)
    assert all(tasks.start[name].equal(x) for name, x in tasks.trained.items() if name not in HEAD)
    assert tasks.zoo.tasks.view(len(tasks.bits), tasks.each, -1).eq(tasks.bits[:, None]).all()


def test_opposite_tasks_give_one_network_with_its_outputs_exchanged(tasks):
    """Zero head, one order of images: flipping all labels mirrors the training."""
    last = len(tasks.bits) - 1
    one, other = (tasks.zoo[task * tasks.each] for task in (0, last))
    assert tasks.bits[0].equal(1 - tasks.bits[last])
    torch.testing.assert_close(one["head.weight"], other["head.weight"].flip(0), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(one["blocks.0.attn.qkv.weight"], other["blocks.0.attn.qkv.weight"], atol=1e-4, rtol=1e-3)


def test_originals_of_a_varied_task_differ(varied):
    last = len(varied.bits) - 1
    of_first, of_last = varied.checkpoints(torch.tensor([0])), varied.checkpoints(torch.tensor([last]))
    assert of_first.runs.tolist() == of_last.runs.tolist() == [0, 1]
    assert of_first.tasks.eq(varied.bits[0]).all() and of_last.tasks.eq(varied.bits[last]).all()
    one, other = of_first.stacked()["head.weight"]
    assert (one - other).abs().max() > 0.01
    assert (of_last.stacked()["head.weight"].flip(1) - of_first.stacked()["head.weight"]).abs().max() > 0.01


@pytest.mark.parametrize("zoo", ["tasks", "varied"])
def test_weights_are_the_mean_of_a_tasks_checkpoints(zoo, request):
    tasks = request.getfixturevalue(zoo)
    own = [checkpoint for checkpoint, bits in zip(tasks.zoo, tasks.zoo.tasks, strict=True) if bits.equal(tasks.bits[1])]
    assert len(own) == tasks.each
    mean = torch.stack([checkpoint["head.weight"] for checkpoint in own]).mean(0)
    torch.testing.assert_close(tasks.weights[1][tasks.columns(("head.weight",))], mean.flatten())
    assert int(tasks.columns(HEAD).sum()) == 50


# ---- baselines ------------------------------------------------------------------------------------------------------


def test_baselines_learn_from_seen_tasks_alone(tasks):
    seen, unseen_rows = split_tasks(SMOKE.count, 0, SMOKE.seen)
    spoilt = replace(tasks, weights=tasks.weights.index_fill(0, unseen_rows, float("nan")))
    images = images_of("digits")
    found = [measure_baselines(SMOKE, zoo, seen, unseen_rows, images, CPU) for zoo in (tasks, spoilt)]
    assert all(found[0][name].equal(found[1][name]) for name in found[0])


def test_the_majority_is_that_of_the_training_images(tasks):
    images = images_of("digits")
    train = Split(images.train.images, torch.zeros_like(images.train.labels))
    seen, unseen_rows = split_tasks(SMOKE.count, 0, SMOKE.seen)
    found = measure_baselines(SMOKE, tasks, seen, unseen_rows, replace(images, train=train), CPU)["majority class"]
    bits = tasks.bits[unseen_rows]
    expected = 100 * (bits[:, :1] == bits[:, images.test.labels]).double().mean(1)
    torch.testing.assert_close(found, expected)


def test_the_lookup_names_a_class_and_takes_its_bit(tasks):
    images, (seen, unseen_rows) = images_of("digits"), split_tasks(SMOKE.count, 0, SMOKE.seen)
    found = measure_baselines(SMOKE, tasks, seen, unseen_rows, images, CPU)["lookup"]
    module = replace(SMOKE.architecture, num_classes=10).build()
    module.load_state_dict(tasks.trained)
    named = module.eval()(images.test.images).argmax(1)
    for row, accuracy in zip(unseen_rows.tolist(), found.tolist(), strict=True):
        task = tasks.bits[row].tolist()
        right = [task[n] == task[k] for n, k in zip(named.tolist(), images.test.labels.tolist(), strict=True)]
        assert accuracy == pytest.approx(100 * sum(right) / len(right))


def test_a_swapped_head_does_for_a_task_what_the_network_did_for_its_opposite(tasks):
    opposite, test = len(tasks.bits) - 1, images_of("digits").test
    write = writers(tasks.columns(HEAD))["swapped heads"]
    written = write(tasks.bits[opposite:], tasks.weights[opposite:], tasks.bits[:1])
    right, before = (
        correct(SMOKE, unflatten(w, tasks.start), bits, test)
        for w, bits in ((written, tasks.bits[:1]), (tasks.weights[opposite:], tasks.bits[opposite:]))
    )
    assert right.equal(before)


# ---- the experiment -------------------------------------------------------------------------------------------------


def test_the_record_counts_every_unseen_task(result):
    (split,) = result.numbers["splits"]
    _, unseen_rows = split_tasks(SMOKE.count, 0, SMOKE.seen)
    assert split["unseen_tasks"] == len(split["tasks"]) == len(unseen_rows)
    assert set(split["baselines"]) == {
        "untrained generator",
        unseen.REGRESSION,
        "majority class",
        "mean network",
        "nearest seen task",
        "swapped heads",
        "mean backbone + ridge head",
        "ridge on bits",
        "ridge on bits and pairs",
        "kernel ridge",
        "lookup",
    }
    for found in (split["original"], split["generated"], *split["baselines"].values()):
        assert found["n"] == len(found["accuracies"]) == len(unseen_rows)
        assert 0 <= found["min"] <= found["mean"] <= found["max"] <= 100
    worst, best = split["worst_of_networks"]["mean"], split["best_of_networks"]["mean"]
    assert worst <= split["generated"]["mean"] <= best
    assert [row["seen_tasks"] for row in result.numbers["curve"]] == [*SMOKE.curve, split["seen_tasks"]]
    assert all(row["methods"].keys() == {"RPG", *split["baselines"]} for row in result.numbers["curve"])
    assert split["flipped"]["pairs"] == len(unseen_rows) // 2
    assert result.numbers["finetuning"]["tasks"] == SMOKE.finetuned


def test_originals_are_as_accurate_as_the_zoo_says(result, tasks):
    (split,) = result.numbers["splits"]
    _, rows = split_tasks(SMOKE.count, 0, SMOKE.seen)
    expected = tasks.zoo.accuracies.view(-1, tasks.each)[rows].mean(1)
    assert split["original"]["accuracies"] == pytest.approx(expected.tolist(), abs=1e-3)


def test_generators_learn_from_the_seen_tasks_of_their_split_alone(tasks, monkeypatch, tmp_path):
    learned = []

    def spy(recipe, zoo, *args, **options):
        learned.append((recipe.train.diffusion, recipe.train.seed, {tuple(task) for task in zoo.tasks.tolist()}))
        return fit(recipe, zoo, *args, **options)

    monkeypatch.setattr(unseen, "fit", spy)
    numbers = unseen.Part(SMOKE, "smoke", split=1, device="cpu").compute(tmp_path)
    seen, _ = split_tasks(SMOKE.count, 1, SMOKE.seen)
    known = {tuple(task) for task in tasks.bits[seen].tolist()}
    assert learned == [(True, 1, known), (False, 1, known)], "with and without diffusion"
    asked = {tuple(map(int, name.split())) for name in numbers["tasks"]}
    assert len(asked) == SMOKE.count - len(seen) and not asked & known
    assert not list(tmp_path.iterdir()), "an unfinished training's files are removed, no generator is kept"


def test_a_curve_takes_nested_pairs_of_the_seen_tasks():
    seen, _ = split_tasks(1022, 0)
    few, more = (some_pairs(seen, 1022, count, 0) for count in (32, 128))
    assert len(few) == 32 and len(more) == 128
    assert torch.isin(few, more).all() and torch.isin(more, seen).all()
    assert few.equal((1021 - few).flip(0)), "pairs of opposites"
    assert torch.searchsorted(seen, few[:16]).max() > 100, "at random, not the first of them"
    assert not few.equal(some_pairs(seen, 1022, 32, 1))


def test_the_varied_zoo_is_recorded_without_a_generator(home):
    record = unseen.numbers_alone(VARIED, "smoke", fresh=True, device="cpu")
    assert record["numbers"]["zoo"]["checkpoints_per_task"] == 2 and record["numbers"]["zoo"]["n"] == 2 * SMOKE.count
    assert not record["numbers"].keys() & {"curve", "finetuning"}
    assert unseen.numbers_alone(VARIED, "smoke", fresh=False, device="cpu") == record
    assert not (home / "data" / "runs" / "smoke" / "generators" / "varied").exists()


def test_what_is_kept_is_what_was_computed(result):
    stored = unseen.unseen_tasks(SMOKE, "smoke", fresh=False, device="cpu")
    assert stored.record == result.record
    assert all(stored.heads[name].equal(values) for name, values in result.heads.items())
    assert "agree with the record" in unseen.check_live(stored)


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
    with pytest.raises(InputError, match="other settings or another seed"):
        unseen.unseen_tasks(replace(SMOKE, sampling_steps=9), "smoke", fresh=False, device="cpu")
    assert unseen.at_hand(SMOKE, "smoke", device="cpu").record == result.record


def test_answers_are_judged_by_the_labels_given(result):
    bits, test = tasks_of(SMOKE)[:2], images_of("digits").test
    own = answers(SMOKE, result.model, bits, test, 2)
    flipped = answers(SMOKE, result.model, bits, test, 2, labels=1 - bits)
    assert own.right.shape == (2, 2, len(test)) and own.heads.shape == (2, 2, 50)
    assert (own.right ^ flipped.right).all()


def test_every_row_of_tasks_has_networks_of_its_own(result):
    """The same task twice: its networks are those that would be generated for it once."""
    bits, test = tasks_of(SMOKE)[[0, 0]], images_of("digits").test
    found, once = answers(SMOKE, result.model, bits, test, 2), answers(SMOKE, result.model, bits[:1], test, 4)
    torch.testing.assert_close(found.heads.flatten(0, 1), once.heads[0], atol=1e-4, rtol=1e-3)
    assert len(found.heads.flatten(0, 1).unique(dim=0)) == 4


def test_unseen_and_seen_tasks_are_measured_apart_and_alikeness_by_errors(tasks, monkeypatch):
    """With made-up answers, nine of ten of them right."""
    seen, unseen_rows = split_tasks(SMOKE.count, 0, SMOKE.seen)
    images, draw, asked, originals = images_of("digits"), torch.Generator().manual_seed(0), [], []

    def made_up(*shape):
        return torch.rand(*shape, generator=draw) < 0.9

    def answered(recipe, model, bits, split, n, seed):
        asked.append((bits, split, Answers(made_up(len(bits), n, len(split)), torch.zeros(len(bits), n, 50))))
        return asked[-1][-1]

    def known(recipe, networks, bits, split, device):
        assert networks.tasks.equal(bits) and split is images.test
        originals.append(made_up(len(bits), len(split)))
        return originals[-1]

    monkeypatch.setattr(unseen, "answers", answered)
    monkeypatch.setattr(unseen, "correct", known)
    model = SimpleNamespace(device=CPU)
    numbers, _ = unseen._measure(SMOKE, tasks, seen, unseen_rows, model, images)
    (bits, split, found), (others, other_split, once) = asked
    assert bits.equal(tasks.bits[unseen_rows]) and split is other_split is images.test
    learned = {tuple(task) for task in tasks.bits[seen].tolist()}
    assert {tuple(task) for task in others.tolist()} <= learned and len(others.unique(dim=0)) == len(others)
    assert numbers["generated"]["mean"] == pytest.approx(found.accuracies.mean().item())
    assert numbers["seen"]["generated"]["mean"] == pytest.approx(once.accuracies.mean().item())
    by_task = originals[0].view(len(bits), tasks.each, -1)
    for name, right in (("among_generated", found.right), ("among_originals", by_task)):
        expected = torch.stack([torch.tensor(mean_iou(~own)) for own in right]).mean().item()
        assert numbers["diversity"][name] == pytest.approx(expected, rel=1e-5)


def test_flips_count_opposite_answers():
    """Two pairs, one network each, four images of two classes."""
    tasks = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 0, 0], [1, 1, 0]])
    right = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0]]).bool()[:, None]
    found = flips(right, right[:, :, :1], tasks, torch.tensor([0, 0, 1, 2]))
    assert found["pairs"] == 2 and found["opposite"] == {"generated": 100 * 5 / 8, "original": 100.0}
    assert found["pair"] == {"0 0 1": [100, 100, 0], "1 1 0": [100, 100, 0]}


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


def test_regressions_are_the_baselines_of_generated_heads():
    """Heads that are linear in the bits are regressed exactly; those of chance are not."""
    bits = tasks_of(SMOKE)
    heads = {"bits": bits, "unseen": torch.tensor([0, 5]), "originals": (2.0 * bits - 1)[:, None].expand(-1, 3, -1)}
    for write in (ridge, partial(ridge, order=2), kernel_ridge):
        assert head_space.closeness(heads, head_space.regressed(heads, write))["share_first"] == 1
    heads["originals"] = torch.randn(len(bits), 3, 50, generator=torch.Generator().manual_seed(0))
    assert head_space.closeness(heads, head_space.regressed(heads, ridge))["share_first"] == 0


def test_exchanged_heads_answer_the_opposite():
    head = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert exchanged(head).tolist() == [3, 4, 1, 2, 6, 5]
    x, heads = torch.randn(2), torch.stack((head, exchanged(head)))
    one, other = (h[:4].view(2, 2) @ x + h[4:] for h in heads)
    assert one.equal(other.flip(0))


def test_opposite_tasks_have_exchanged_heads(result):
    originals = result.heads["originals"]
    torch.testing.assert_close(exchanged(originals).flip(0), originals, atol=1e-3, rtol=0)


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


def test_tables_of_the_smoke_record(result):
    splits = result.numbers["splits"]
    table = task_tables.methods({"one": splits, "other": splits})
    assert list(table.index[:2]) == ["original", "RPG"] and len(table.columns) == 6
    assert table.loc["RPG", "one: mean"] == f"{splits[0]['generated']['mean']:.2f}"
    assert len(task_tables.some_tasks(splits[0], 3)) == 4
    assert task_tables.flips({"one": splits}).loc["one", "pairs, all splits"] == splits[0]["flipped"]["pairs"]
    assert task_tables.one_flip(splits[0]).shape == (4, 10)
    assert list(task_tables.curve(result.numbers["curve"]).columns) == [
        row["seen_tasks"] for row in result.numbers["curve"]
    ]
    assert len(task_tables.finetuning(result.numbers["finetuning"])) == 6


def test_differences_of_methods_are_judged_over_splits():
    def split(original, generated):
        found = {name: {"mean": mean, "min": mean - 1} for name, mean in (("o", original), ("g", generated))}
        return {"original": found["o"], "generated": found["g"], "baselines": {"weak": {"mean": 50.0, "min": 20.0}}}

    splits = [split(97.0, 96.0), split(96.0, 95.5)]
    table = task_tables.methods({"zoo": splits})
    assert table.loc["RPG", "zoo: mean"] == "95.75" and table.loc["RPG", "zoo: worst task"] == "94.5"
    assert table.loc["RPG", "zoo: - original"].startswith("-0.75 [") and table.loc["original", "zoo: - original"] == ""
    assert task_tables.means(splits, "weak").tolist() == [50, 50]


def test_the_table_of_some_tasks_says_which_columns_are_of_generated_networks():
    kinds = ("original", "best_of_networks", "generated", "worst_of_networks", "std_within_tasks")
    split = {kind: {"accuracies": [90.0 + k], "mean": 90.0 + k} for k, kind in enumerate(kinds)}
    table = task_tables.some_tasks(split | {"tasks": ["0 1"], "unseen_tasks": 1})
    assert table["generated"].loc["0 1"].to_dict() == {"best": "91.0", "mean": "92.0", "min": "93.0", "std": "94.0"}
    assert table.loc["mean of all 1", ("original", "mean")] == "90.0"


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
