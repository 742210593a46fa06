"""Adapters by PEFT: closed form of DoRA, writing and reading, what may not be mixed, likelihoods as lm-eval's."""

import json
import math
from dataclasses import replace
from itertools import combinations as pairs_of

import pytest
import torch

from experiments.adapters import base, files, harness, large
from experiments.adapters.adapters import TARGETS, AdapterConfig, adapted, fresh, put, state_of, train_adapter
from experiments.adapters.facts import facts
from experiments.adapters.jobs import beside, combinations, combined
from experiments.adapters.questions import FAMILIES, Question, questions
from experiments.adapters.scoring import Sheet
from experiments.adapters.settings import CPU, SMOKE
from experiments.extras import ADAPTERS
from rpglib.errors import InputError
from rpglib.zoo.store import Zoo
from rpglib.zoo.writing import write_networks

pytestmark = pytest.mark.skipif(bool(ADAPTERS.absent()), reason="without the extra `adapters`: make test-extras")
FACTS = None if ADAPTERS.absent() else facts()
CONFIG = AdapterConfig(epochs=2, batch=8, checkpoints=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base model of a few thousand parameters, trained for ten steps."""
    folder = tmp_path_factory.mktemp("base")
    model, tokenizer, _ = base.train_base(FACTS, SMOKE.base)
    for part in (model, tokenizer):
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def loaded(folder):
    return base.load(folder)


@pytest.fixture
def trained(loaded):
    """A model of PEFT and the checkpoints of one training of its adapter."""
    model = adapted(loaded[0], CONFIG)
    taught = questions(FACTS, "two choices", "train", 48)
    return model, train_adapter(model, loaded[1], taught, CONFIG, fresh(model, CONFIG))[0]


def test_a_new_adapter_changes_nothing(folder, loaded):
    asked = Sheet(loaded[1], questions(FACTS, "analogies", "test", 20))
    before = torch.cat(asked.likelihoods(loaded[0]))
    model = adapted(loaded[0], CONFIG)
    put(model, fresh(model, CONFIG))
    torch.testing.assert_close(torch.cat(asked.likelihoods(model)), before, atol=1e-5, rtol=0)


def test_runs_start_apart(loaded):
    model = adapted(loaded[0], CONFIG)
    one, other = (fresh(model, replace(CONFIG, seed=s)) for s in (0, 1))
    assert {n for n, x in one.items() if not x.equal(other[n])} == {n for n in one if ".lora_A." in n}
    drawn = [x for n, x in one.items() if ".lora_A." in n]
    assert all(0.5 < x.abs().max() * math.sqrt(x.shape[1]) <= 1 for x in drawn)


def test_training_learns_and_moves_the_adapter_alone(loaded):
    model = adapted(loaded[0], CONFIG)
    frozen = {n: x.clone() for n, x in model.named_parameters() if "lora" not in n}
    taught = questions(FACTS, "two choices", "train", 48)
    kept, told = train_adapter(model, loaded[1], taught, replace(CONFIG, epochs=12), fresh(model, CONFIG))
    assert len(kept) == 3 and told["losses"][-1] < told["losses"][0]
    assert all(x.equal(frozen[n]) for n, x in model.named_parameters() if n in frozen)
    assert not any(a[n].equal(b[n]) for a, b in pairs_of(kept, 2) for n in a)


def test_what_is_merged_is_doras_closed_form(folder, loaded, trained):
    """W' = m (W + s B A) / |W + s B A|, by row (Liu et al. 2024, equation 5)."""
    model, kept = trained
    put(model, kept[-1])
    merged, name = model.merge_and_unload().state_dict(), "model.layers.0.self_attn.q_proj"
    own = {n.removeprefix(f"base_model.model.{name}."): x for n, x in kept[-1].items() if f"{name}." in n}
    moved = base.load(folder)[0].state_dict()[f"{name}.weight"]
    moved = moved + CONFIG.alpha / CONFIG.rank * own["lora_B.weight"] @ own["lora_A.weight"]
    expected = own["lora_magnitude_vector"][:, None] * moved / moved.norm(dim=1, keepdim=True)
    torch.testing.assert_close(merged[f"{name}.weight"], expected)


def test_folders_of_peft_become_a_zoo_and_come_back(tmp_path, folder, loaded, trained):
    model, kept = trained
    places = [tmp_path / str(k) for k in range(3)]
    files.write(model, kept, places)
    zoo = files.read_zoo(places, [0, 0, 1], [[1, 0], [1, 0], [0, 1]])
    assert isinstance(zoo, Zoo) and zoo.runs.tolist() == [0, 0, 1] and zoo.tasks.tolist()[2] == [0, 1]
    assert all(x.equal(kept[k][n]) for k in range(3) for n, x in zoo[k].items())
    assert {n.split(".")[-3 if n.endswith("weight") else -2] for n in zoo[0]} == {*TARGETS}
    paths = write_networks(zoo, [zoo[1]], tmp_path / "written")
    asked = Sheet(loaded[1], questions(FACTS, "analogies", "test", 20))
    put(model, kept[1])
    expected = torch.cat(asked.likelihoods(model))
    found = files.load(base.load(folder)[0], paths[0])
    torch.testing.assert_close(torch.cat(asked.likelihoods(found)), expected, atol=1e-5, rtol=0)
    merged = found.merge_and_unload()
    torch.testing.assert_close(torch.cat(asked.likelihoods(merged)), expected, atol=1e-4, rtol=0)


CHANGES = {
    "rank": {"r": 8},
    "target modules": {"target_modules": ["q_proj"]},
    "base": {"base_model_name_or_path": "another"},
    "LoRA": {"use_dora": False},
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_zoo_is_of_one_kind(tmp_path, trained, what):
    model, kept = trained
    places = [tmp_path / "0", tmp_path / "1"]
    files.write(model, kept[:2], places)
    settings = places[1] / "adapter_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | CHANGES[what]))
    with pytest.raises(InputError, match=what) as raised:
        files.read_zoo(places, [0, 1])
    assert "\n" not in str(raised.value)


def test_an_adapter_of_another_base_and_absent_ones_are_refused(tmp_path, trained, loaded):
    model, kept = trained
    files.write(model, kept[:1], [tmp_path / "0"])
    wider, _, _ = base.train_base(FACTS, replace(SMOKE.base, width=24, steps=1))
    for asked, words in ((lambda: files.load(wider, tmp_path / "0"), "another base"),
                         (lambda: files.load(wider, tmp_path / "none"), "no adapter"),
                         (lambda: base.load(tmp_path / "none"), "no base model")):  # fmt: skip
        with pytest.raises(InputError, match=words) as raised:
            asked()
        assert "\n" not in str(raised.value)


def test_likelihoods_are_those_of_each_text_alone(loaded):
    """Padding, chunks and the place where an answer begins change nothing."""
    model, tokenizer = loaded
    asked = questions(FACTS, "four choices", "test", 5)
    found = torch.cat(Sheet(tokenizer, asked).likelihoods(model))
    expected = []
    for q in asked:
        for choice in q.choices:
            tokens = torch.tensor(tokenizer([f"{q.prompt} {choice}"])["input_ids"])
            begin = len(tokenizer([q.prompt])["input_ids"][0])
            with torch.no_grad():
                nats = model(input_ids=tokens).logits[0].log_softmax(1)
            expected.append(sum(nats[k - 1, tokens[0, k]] for k in range(begin, tokens.shape[1])))
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-4, rtol=1e-4)


def test_accuracy_is_lm_evals(tmp_path, loaded):
    model, tokenizer = loaded
    asked = questions(FACTS, "four choices", "test", 30)
    harness.write_task(tmp_path, "currencies", asked)
    found = harness.evaluate(model, tokenizer, ["currencies"], tmp_path)
    assert found["currencies"] == pytest.approx(Sheet(tokenizer, asked).accuracy(model))
    with pytest.raises(InputError, match="no task 'riddles'"):
        harness.evaluate(model, tokenizer, ["riddles"], tmp_path)


def test_data_that_are_absent_end_in_one_line(tmp_path, loaded):
    harness.write_task(tmp_path, "gone", [Question("a", ("b", "c"), 0)])
    (tmp_path / "gone.json").unlink()
    with pytest.raises(InputError, match="data of task gone") as raised:
        harness.evaluate(*loaded, ["gone"], tmp_path)
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="no base model"):
        large.paper(tmp_path)
    with pytest.raises(InputError, match="no instructions"):
        harness.instructions(tmp_path / "none.json")


def test_combinations_are_apart_and_every_family_is_seen_alone():
    seen, unseen = combinations(CPU)
    rows = [tuple(x) for x in seen.tolist()], [tuple(x) for x in unseen.tolist()]
    assert not {*rows[0]} & {*rows[1]} and len({*rows[0]}) == CPU.seen and len({*rows[1]}) == CPU.unseen
    assert {tuple(int(k == i) for k in range(len(FAMILIES))) for i in range(len(FAMILIES))} <= {*rows[0]}
    assert all(2 <= sum(x) < len(FAMILIES) for x in rows[1])


def test_baselines_are_what_they_are_called(trained):
    _, kept = trained
    other = [{n: x + 5 for n, x in network.items()} for network in kept]
    rows = torch.stack([torch.cat([x.flatten() for x in network.values()]) for network in kept])
    found = beside([*kept, *other], torch.tensor([0, 0, 0, 1, 1, 1]), rows + 0.1, 4, 0)
    name = next(iter(kept[0]))
    mean = sum(x[name] for x in (*kept, *other)) / 6
    torch.testing.assert_close(found["mean adapter"][0][name], mean)
    for middle in found["midpoint, one run"]:
        assert min(abs(middle[name].mean() - k[name].mean()) for k in (*kept, *other)) < 1
    for middle in found["midpoint, two runs"]:
        assert abs(middle[name].mean() - mean.mean()) < 1
    assert {len(group) for label, group in found.items() if label not in ("mean adapter", "midpoint, one run")} == {4}


def test_a_combination_is_measured_on_its_own_families(loaded, trained):
    model, kept = trained
    sheets = {name: Sheet(loaded[1], questions(FACTS, name, "test", 20)) for name in FAMILIES}
    put(model, kept[0])
    each = {name: sheet.accuracy(model) for name, sheet in sheets.items()}
    names = list(FAMILIES)
    found = combined(model, sheets, [kept[0]], torch.tensor([[1, 0, 0, 1, 0, 0]]))
    assert found == [pytest.approx((each[names[0]] + each[names[3]]) / 2, abs=1e-3)]
    assert state_of(model).keys() == kept[0].keys()
