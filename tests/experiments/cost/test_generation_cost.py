"""What generation costs: the plain path writes the same tokens, and the promises are judged by their rules."""

import copy

import pytest
import torch

from experiments.cost import generation_cost
from experiments.cost import tables as cost_tables
from experiments.cost.plain_generation import OPTIMISATIONS, generate_plain
from experiments.cost.verdicts import cost, exponent
from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
from rpglib.model.rpg import RPG
from rpglib.tokenizer import ParameterTokenizer
from rpglib.zoo.architectures import Architecture

CONFIG = RPGConfig(token_size=64, widths=(32,), d_state=8, headdim=16, channels=(1, 4, 8, 4, 1), permutation_states=3)


@pytest.fixture(scope="module")
def tokenizer():
    build = Architecture("cnn_digits", 10, 1, 8).build
    return ParameterTokenizer.fit([build().state_dict() for _ in range(2)], token_size=64)


@pytest.mark.parametrize("count", range(len(OPTIMISATIONS) + 1))
@pytest.mark.parametrize("skip", [False, True])
def test_every_path_writes_the_same_tokens(tokenizer, count, skip):
    torch.manual_seed(0)
    config = {**vars(CONFIG), "prediction": "sample" if skip else "velocity", "prototype_skip": skip}
    model = RPG(RPGConfig(**config), tokenizer)
    ours = torch.stack(list(model.generate_tokens(3, steps=4, sampler="ddpm", part=100, seed=5)))
    optimised = OPTIMISATIONS[:count]
    found = generate_plain(model, 3, steps=4, sampler="ddpm", part=100, seed=5, optimised=optimised)
    torch.testing.assert_close(found, ours, rtol=1e-3, atol=1e-3)


def test_an_unknown_optimisation_is_told(tokenizer):
    with pytest.raises(InputError, match="unknown optimisation"):
        generate_plain(RPG(CONFIG, tokenizer), 1, optimised=("magic",))


def test_the_exponent_of_a_power_law_is_its_power():
    rows = [{"parameters": p, "seconds": 3 * p**1.25} for p in (10, 100, 5000)]
    assert exponent(rows, lambda row: row["seconds"]) == pytest.approx(1.25)


def test_growth_counts_values_and_tokens():
    row = generation_cost.growth_cost(5000, 1, "cpu")
    assert (row["parameters"], row["tokens"], row["output"]) == (5000, 3, 3 * 2048 * 4)
    assert row["seconds"][0] > 0 and row["beyond"] >= 0


def accuracies(mean):
    return {"n": 2, "mean": mean, "std": 0.1, "min": mean - 0.1, "max": mean + 0.1}


def numbers():
    speed = {
        "tokens": 9,
        "token_size": 64,
        "n": 10,
        "steps": 60,
        "plain": [6.0, 6.1, 5.0],
        "ours": [1.0, 1.2, 0.9],
        "difference": 1e-5,
        "accuracy": {"plain": accuracies(97.0), "ours": accuracies(97.05)},
    }
    steps = {("ddim", 20): 96.8, ("dpm++", 20): 97.0, ("ddpm", 1000): 97.0}
    return {
        "speed": {"one": speed, "two": copy.deepcopy(speed)},
        "samplers": {
            "one": [
                {"sampler": s, "steps": k, "accuracy": accuracies(a), "alike": 0.5, "seconds": 1.0}
                for (s, k), a in steps.items()
            ]
        },
        "plain": [{"name": "one", "plain": [4.0], "ours": [1.0], "difference": 0.0}],
        "growth": [
            {"parameters": p, "tokens": p // 2048, "seconds": [p / 1e6], "beyond": 5e6, "output": 4 * p}
            for p in (10**6, 10**7, 10**8)
        ],
    }


def words(found):
    return [verdict.word for verdict in cost(found)]


KEPT = ["kept"] * 7


def test_promises_that_all_rows_keep_are_kept():
    assert words(numbers()) == KEPT


@pytest.mark.parametrize(
    "place, change, word",
    [
        (0, lambda x: x["speed"]["two"].update(ours=[1.3]), "kept in 1 of 2"),
        (0, lambda x: [row.update(ours=[3.0]) for row in x["speed"].values()], "missed"),
        (1, lambda x: x["speed"]["one"]["accuracy"]["ours"].update(mean=96.8), "kept in 1 of 2"),
        (2, lambda x: x["samplers"]["one"][0]["accuracy"].update(mean=96.6), "missed"),
        (3, lambda x: x["samplers"]["one"][1]["accuracy"].update(mean=96.6), "missed"),
        (4, lambda x: x["plain"][0].update(ours=[2.0]), "missed"),
        (4, lambda x: x.pop("plain"), "not measured"),
        (5, lambda x: [row.update(seconds=[row["parameters"] ** 1.2]) for row in x["growth"]], "kept in 1 of 2"),
        (6, lambda x: [row.update(beyond=row["parameters"]) for row in x["growth"]], "missed"),
        (6, lambda x: [row.update(parameters=row["parameters"] / 1e4) for row in x["growth"]], "not measured"),
    ],
)
def test_a_broken_promise_is_told(place, change, word):
    found = numbers()
    change(found)
    expected = [*KEPT[:place], word, *KEPT[place + 1 :]]
    assert words(found) == expected


def test_tables_say_what_was_not_measured():
    found = numbers()
    assert list(cost_tables.speed(found).loc["one", ["ratio", "ours - plain"]]) == ["6.0", "+0.05"]
    assert cost_tables.training(found).loc["one", "ratio"] == "4.0"
    presets = cost_tables.presets({"presets": [{"preset": "large", "scan": "fused", "reason": "needs CUDA"}]})
    assert list(presets.iloc[0][["step (s)", "why"]]) == ["not measured", "needs CUDA"]
    assert set(cost_tables.accelerator(found)["ours"]) == {"not measured"}
