"""The plain path does what ours does, and the rows of the cost tables are measured."""

import dataclasses

import pytest
import torch
from launch_training import MODEL, TRAIN

from experiments.cost.plain_training import OPTIMISATIONS, train_plain
from experiments.cost.training_cost import measure, preset_cost
from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.loop import train
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.store import Zoo


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    torch.manual_seed(0)
    architecture = Architecture("cnn_digits", 10, 1, 8)
    # Noise, or the BatchNorms of all of them would be the same, and constant.
    networks = [architecture.build().state_dict() for _ in range(6)]
    checkpoints = [
        {name: x + torch.rand(x.shape) if x.is_floating_point() else x for name, x in n.items()} for n in networks
    ]
    tasks = torch.randint(0, 2, (6, 10)).tolist()
    facts = {"architecture": architecture, "runs": range(6), "accuracies": [0.0] * 6, "tasks": tasks}
    return Zoo.write(tmp_path_factory.mktemp("zoo"), checkpoints, **facts)


@pytest.mark.parametrize(
    "model, recipe",
    [
        ({}, {}),
        (
            {"task_bits": 10, "prediction": "sample", "prototype_skip": True},
            {"prototype_loss": 2, "weighting": "token"},
        ),
    ],
)
def test_the_plain_path_has_the_same_losses(zoo, model, recipe):
    config = dataclasses.replace(TRAIN, steps=8, precision="fp32", **recipe)
    models = []
    for _ in range(3):
        torch.manual_seed(0)
        models.append(RPG(dataclasses.replace(MODEL, **model), ParameterTokenizer.fit(zoo, 64)))
    ours = train(models[0], zoo, config, progress=False).losses
    plain = train_plain(models[1], zoo, config, 8)
    assert ours == pytest.approx(plain, rel=1e-4) and ours[0] != pytest.approx(ours[7], rel=1e-3)
    # With all that ours does it is ours.
    assert ours == train_plain(models[2], zoo, config, 8, OPTIMISATIONS)
    a, b = (m.generate_tokens(1, [1] + 9 * [0] if model else None, steps=4) for m in models[:2])
    torch.testing.assert_close(next(a), next(b), rtol=1e-2, atol=1e-2)
    with pytest.raises(InputError, match="averaged weights"):
        train_plain(models[1], zoo, dataclasses.replace(config, ema=0.9), 1)


def test_every_row_is_measured_or_says_why_not():
    found = measure("smoke")
    rows = [*found["plain"], *found["optimisations"]]
    assert {row["name"] for row in found["optimisations"]} == set(OPTIMISATIONS)
    assert all(row["ratio"] > 0 and row["difference"] < 1e-3 for row in rows)
    assert all(0 < share < 1 for share in found["waiting"].values())
    assert all(("seconds" in row) != ("reason" in row) for row in found["presets"])
    large = preset_cost("large", 2)
    assert large["reason"].startswith("needs 47 GiB") and "seconds" not in large
