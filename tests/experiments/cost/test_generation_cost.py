"""What generation costs: the plain path writes the same tokens, and tables say what was measured."""

from dataclasses import replace

import pytest
import torch

from experiments.cost import figures, generation_cost
from experiments.cost import tables as cost_tables
from experiments.cost.measures import exponent, ratio, ratios
from experiments.cost.plain_generation import OPTIMISATIONS, generate_plain
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
    config = replace(CONFIG, prediction="sample" if skip else "velocity", prototype_skip=skip)
    model = RPG(config, tokenizer)
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


def test_ratios_are_those_of_rounds_and_of_their_medians():
    assert ratios([6.0, 8.0, 1.0], [2.0, 2.0, 4.0]).tolist() == [3.0, 4.0, 0.25]
    assert ratio([6.0, 8.0, 1.0], [2.0, 2.0, 4.0]) == 3.0


def test_marks_stand_apart_only_where_samplers_take_as_many_steps():
    accuracy = {"mean": 97.0, "std": 0.1}
    taken = {"ddim": (4, 20), "ddpm": (20, 1000)}
    rows = [{"sampler": name, "steps": n, "accuracy": accuracy} for name, steps in taken.items() for n in steps]
    figure, ax = figures.plt.subplots()
    figures.steps_taken(ax, rows, "")
    ddim, ddpm = (container.lines[0].get_xdata() for container in ax.containers)
    figures.plt.close(figure)
    assert ddim[0] == 4 and ddpm[1] == 1000 and ddim[1] < 20 < ddpm[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["4", "20", "1,000"]


def test_the_ladder_shows_medians_and_rounds_around_one():
    figure, ax = figures.plt.subplots()
    figures.ladder(ax, [{"name": "memory", "off": [6.0, 8.0, 1.8], "on": [2.0, 2.0, 2.0]}])
    points, (rounds,) = ax.lines[0].get_xdata(), ax.collections[0].get_segments()
    figures.plt.close(figure)
    assert list(points) == [3] and sorted(rounds[:, 0]) == [0.9, 4.0] and ax.get_xscale() == "log"


def test_growth_counts_values_and_tokens():
    row = generation_cost.growth_cost(5000, 1, "cpu")
    assert (row["parameters"], row["tokens"], row["output"]) == (5000, 3, 3 * 2048 * 4)
    assert row["seconds"][0] > 0 and row["beyond"] >= 0


def test_tables_say_what_was_not_measured():
    accuracy = {kind: {"mean": mean, "std": 0.1} for kind, mean in (("plain", 97.0), ("ours", 97.05))}
    speed = {"tokens": 9, "token_size": 64, "n": 10, "steps": 60, "difference": 1e-5, "accuracy": accuracy}
    found = {
        "speed": {"one": speed | {"plain": [6.0, 6.1, 5.0], "ours": [1.0, 1.2, 0.9]}},
        "plain": [{"name": "one", "plain": [2.97], "ours": [1.0], "difference": 0.0}],
    }
    assert list(cost_tables.speed(found).loc["one", ["ratio", "ours - plain (points)"]]) == ["6.00", "+0.05"]
    accuracy["ours"]["mean"] = 96.999
    assert cost_tables.speed(found).loc["one", "ours - plain (points)"] == "+0.00"
    assert cost_tables.training(found).loc["one", "ratio"] == "2.97"
    presets = cost_tables.presets({"presets": [{"preset": "large", "scan": "fused", "reason": "needs CUDA"}]})
    assert list(presets.iloc[0][["step (s)", "why"]]) == ["not measured", "needs CUDA"]
    assert set(cost_tables.accelerator()["ours"]) == {"not measured"}
