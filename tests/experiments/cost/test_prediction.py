"""The cost model: what is counted is what was computed, and what follows from it; its record, small."""

from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F

from experiments.cost import prediction, rates, tables
from experiments.cost.roofline import Counted, Rates, sampling, training_memory, training_seconds, training_step
from experiments.sweeps.memory import training_bytes
from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
from rpglib.model.rpg import RPG
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.loop import TrainConfig

CONFIG = RPGConfig(
    token_size=64, widths=(32, 48), d_state=8, headdim=16, channels=(1, 4, 8, 4, 1), permutation_states=3
)
TRAIN = TrainConfig(batch_size=4, diffusion_batch=10, precision="fp32")
UNIT = Rates(product=1.0, convolution=2.0, convolution_backward=4.0, bandwidth=8.0, call=0.5, link=16.0)


def test_products_convolutions_and_passes_are_counted_by_their_definition():
    a, b, x, w = torch.randn(3, 5), torch.randn(5, 7), torch.randn(2, 4, 9), torch.randn(6, 4, 3)
    with Counted() as counted:
        a @ b
        F.conv1d(x, w, padding=1)
        a.t().reshape(15)
        a.expand(2, 3, 5).add(1.0)
        a.view(15)[3:]
    calls = counted.work.calls
    assert calls["product", 2 * 3 * 5 * 7, 4 * (15 + 35 + 21)] == 1
    assert calls["convolution", 2 * 2 * 9 * w.numel(), 4 * (x.numel() + w.numel() + 2 * 6 * 9)] == 1
    # A copy reads and writes; of what is expanded only that is read which exists; a view is nothing.
    assert calls["pass", 0, 4 * 30] == 1 and calls["pass", 0, 4 * (15 + 30)] == 1 and sum(calls.values()) == 4


def test_seconds_are_the_longer_of_arithmetic_and_bytes_and_the_call():
    with Counted() as counted:
        torch.ones(2, 2) @ torch.ones(2, 2)
    product = {call: n for call, n in counted.work.calls.items() if call[0] == "product"}
    assert product == {("product", 16, 48): 1}
    assert UNIT.seconds("product", 16, 48) == 16.5 and UNIT.seconds("product", 16, 8 * 40) == 40.5
    assert UNIT.seconds("pass", 0, 80) == 10.5 and UNIT.seconds("convolution_backward", 64, 8) == 16.5
    total = counted.work.seconds(UNIT)
    shares = counted.work.shares(UNIT)
    assert sum(shares.values()) == pytest.approx(1) and shares["product"] == pytest.approx(16.5 / total)
    assert counted.work.operations() == 16 == counted.work.operations("product")


@pytest.mark.parametrize("changes", [{}, {"task_bits": 4}, {"prototype_skip": False, "prediction": "epsilon"}])
def test_an_imagined_step_counts_what_a_real_one_computes(changes):
    config = replace(CONFIG, **changes)
    states = [{"w": torch.randn(30, 40), "b": torch.randn(9)} for _ in range(2)]
    tokenizer = ParameterTokenizer.fit(states, config.token_size)
    model = RPG(config, tokenizer).train()
    tokens, n, count = tokenizer.num_tokens, TRAIN.batch_size, TRAIN.diffusion_batch
    with Counted() as counted:
        model(
            torch.zeros(n, tokens, 64),
            tokenizer.mask,
            torch.zeros(n, dtype=torch.int64),
            torch.zeros(n, config.told) if config.told else None,
            t=torch.zeros(count, dtype=torch.int64),
            noise=torch.zeros(count, 64),
            chosen=torch.zeros(count, dtype=torch.int64),
            weighting=TRAIN.weighting,
            prototype_loss=TRAIN.prototype_loss if config.prototype_skip else 0.0,
        ).backward()
    train = replace(TRAIN, prototype_loss=TRAIN.prototype_loss if config.prototype_skip else 0.0)
    imagined = training_step(config, tokens, train)
    for kind in ("product", "convolution", "convolution_backward"):
        assert imagined.operations(kind) == counted.work.operations(kind) > 0
    weights = 4 * sum(p.numel() for p in model.parameters() if p.requires_grad)
    moved, really = (sum(n * call[2] for call, n in x.calls.items()) for x in (imagined, counted.work))
    assert moved - 10 * weights == pytest.approx(really, rel=0.02)
    assert training_memory(config, tokens, train) == training_bytes(model, train)


def test_what_was_imagined_leaves_nothing_behind():
    own = replace(CONFIG, diffusion_steps=77)
    training_step(own, 6, TRAIN)
    noisy = own.schedule.add_noise(torch.zeros(2, 64), torch.ones(2, 64), torch.tensor([0, 76]))
    assert type(noisy) is torch.Tensor and noisy[1, 0] > noisy[0, 0] > 0


def test_devices_divide_the_batch_and_exchange_gradients():
    one, four = (training_step(CONFIG, 20, TRAIN, n) for n in (1, 4))
    assert one.operations("convolution") / four.operations("convolution") == pytest.approx(10 / 3)
    model = RPG.with_positions(CONFIG, torch.zeros(20, 32))
    sent = 2 * 4 * sum(p.numel() for p in model.parameters() if p.requires_grad) * 3 / 4
    found = training_seconds(CONFIG, 20, TRAIN, UNIT, 4) - four.seconds(UNIT)
    assert found == pytest.approx(sent / UNIT.link)
    alone = replace(UNIT, link=None)
    assert training_seconds(CONFIG, 20, TRAIN, alone) == pytest.approx(one.seconds(UNIT))
    with pytest.raises(InputError, match="2 devices exchange gradients"):
        training_seconds(CONFIG, 20, TRAIN, alone, 2)
    assert training_memory(CONFIG, 20, TRAIN, 4) < training_memory(CONFIG, 20, TRAIN)


def test_sampling_grows_with_tokens_and_steps_and_the_kernel_has_a_rate_of_its_own():
    few, many = sampling(CONFIG, 10, part=4), sampling(CONFIG, 20, part=4)
    assert many.step.operations("convolution") == 2 * few.step.operations("convolution")
    assert few.seconds(UNIT, 3) - few.seconds(UNIT, 1) == pytest.approx(2 * few.step.seconds(UNIT))
    quick = replace(UNIT, kernel=1e3)
    expected = few.step.operations("convolution") / 1e3
    assert few.seconds(quick, 3) - few.seconds(quick, 1) == pytest.approx(2 * expected)


def test_rates_are_measured_and_the_record_has_all_that_the_tables_show():
    own = rates.measured(256, scale=32)
    assert all(0 < value for value in asdict(own).values() if value is not None)
    rows = prediction.rows("tiny", own, smoke=True)
    assert [row["what"] for row in rows] == ["training step", "network"]
    assert rows[0]["predicted_bytes"] == rows[0]["bytes"] and all(row["predicted"] > 0 for row in rows)
    table = tables.predicted(rows)
    assert len(table) == 2
    exact = [row | {"predicted": 1.0, "measured": [0.81, 1.0, 1.0]} for row in rows]
    assert prediction.within(exact) == []
    assert prediction.within([exact[0] | {"predicted": 1.3}]) == ["tiny, training step"]


def test_the_paper_s_networks_are_predicted_for_any_number_of_devices():
    train = TrainConfig.paper(precision="bf16", steps=100)
    (row,) = prediction.predictions(train, counts=(1, 8), networks=("vit_tiny_patch16_224",))
    assert row["hours"][8] < row["hours"][1] and row["bytes"][8] < row["bytes"][1] and row["tokens"] > 500
    twice = replace(prediction.H100, product=1e15, bandwidth=2 * prediction.H100.bandwidth)
    (faster,) = prediction.predictions(train, twice, (1,), ("vit_tiny_patch16_224",))
    assert faster["hours"][1] < row["hours"][1]
    # 1,024 tokens of 8,192 values, by eight devices; as many hours as a step has noise for at this rate.
    as_long = row | {"hours": {1: 1.0, 8: 1 / 8}, "steps": 3600}
    drawn = tables.predictions([as_long], 1024 * 8192.0)["noise (% of a step)"]
    assert drawn.tolist() == ["100, 100"]
    assert "808" in tables.predictions([row], 1e9).to_string()


def test_the_record_is_read_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    numbers = prediction.record_of("smoke", fresh=True)
    assert prediction.record_of("smoke", fresh=False) == numbers
    assert [row["network"] for row in numbers["networks"]] == ["vit_tiny_patch16_224"]
    assert "GPUs" in " ".join(tables.predictions(numbers["networks"], numbers["noise"]).columns)
