"""A configuration refuses what it cannot use at once, in one line that names the field."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rpglib import RPGConfig, TrainConfig
from rpglib.baselines.autoregressive import AutoregressiveConfig
from rpglib.errors import LARGEST, InputError, choice, shown, whole_number
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import CollectConfig, Schedule

WRONG = [
    (TrainConfig, "ema", True, "takes a finite number, not True"),
    (TrainConfig, "steps", 1e4, "takes a whole number, not 10000.0"),
    (TrainConfig, "steps", "100", "takes a whole number, not '100'"),
    (TrainConfig, "steps", 2**63, "takes a whole number, not 9223372036854775808"),
    (TrainConfig, "steps", torch.ones(3, 3), "takes a whole number, not tensor([[1., 1., 1.], [1., 1., 1.], "),
    (TrainConfig, "diffusion", "no", "takes True or False, not 'no'"),
    (TrainConfig, "learning_rate", float("nan"), "takes a finite number, not nan"),
    (TrainConfig, "learning_rate", 10**400, "takes a finite number, not 1000"),
    (TrainConfig, "learning_rate", -1e-3, "must be above 0"),
    (TrainConfig, "gradient_clip", 0, "must be above 0, or nothing would learn"),
    (TrainConfig, "ema", 1, "ema takes 0 to below 1"),
    (TrainConfig, "warmup", 2, "warmup 0 to 1"),
    (TrainConfig, "weight_decay", -1, "must not be negative"),
    (TrainConfig, "batch_size", 0, "takes a whole number from 1 to 1,048,576, not 0"),
    (TrainConfig, "batch_size", 10**12, "takes a whole number from 1 to 1,048,576, not 1000000000000"),
    (TrainConfig, "seed", -1, "takes a whole number from 0 on, not -1"),
    (TrainConfig, "precision", ["fp32"], "takes text, not ['fp32']"),
    (RPGConfig, "headdim", 0, "takes a whole number from 1 to 16,777,216, not 0"),
    (RPGConfig, "token_size", -4, "takes a whole number from 1 to 16,777,216, not -4"),
    (RPGConfig, "token_size", 10**12, "takes a whole number from 1 to 16,777,216, not 1000000000000"),
    (RPGConfig, "task_width", 0, "takes a whole number from 1 to 16,777,216, not 0"),
    (RPGConfig, "diffusion_steps", 10**8, "takes a whole number from 1 to 100,000, not 100000000"),
    (RPGConfig, "permutation_states", -1, "takes a whole number from 0 to 16,777,216, not -1"),
    (RPGConfig, "prediction", None, "takes text, not None"),
    (RPGConfig, "widths", 64, "takes whole numbers, such as (256, 256), not 64"),
    (RPGConfig, "widths", (64, 0), "takes a whole number from 1 to 16,777,216, not 0"),
    (RPGConfig, "widths", (True, 64), "takes a whole number from 1 to 16,777,216, not True"),
    (RPGConfig, "widths", [64] * 1001, "may have 1,000 layers at most, not 1,001"),
    (RPGConfig, "channels", (1, 8.0, 1), "takes a whole number from 1 to 16,777,216, not 8.0"),
    (RPGConfig, "beta_end", 2, "betas must satisfy 0 < beta_start <= beta_end < 1"),
    (CollectConfig, "runs", 0, "takes a whole number from 1 to 1,048,576, not 0"),
    (CollectConfig, "shared_order", 1, "takes True or False, not 1"),
    (CollectConfig, "learning_rate", -1, "must not be negative"),
    (CollectConfig, "seed", -1, "takes a whole number from 0 on, not -1"),
    (partial(Schedule, 1, 0.1), "batch_size", 0, "takes a whole number from 1 on, not 0"),
    (partial(Schedule, batch_size=2, learning_rate=0.1), "epochs", 1e3, "takes a whole number, not 1000.0"),
    (partial(Schedule, batch_size=2, learning_rate=0.1), "epochs", -1, "takes a whole number from 0 to 1,048,576"),
    (partial(Schedule, 1, batch_size=2), "learning_rate", -1, "must not be negative"),
    (AutoregressiveConfig, "steps", 0, "takes a whole number from 1 on, not 0"),
    (AutoregressiveConfig, "learning_rate", float("inf"), "takes a finite number, not inf"),
    (partial(Architecture, "cnn_digits"), "num_classes", 10**12, "takes a whole number from 1 to 1,048,576"),
    (Architecture, "name", None, "takes text, not None"),
]


@pytest.mark.parametrize(("config", "field", "value", "message"), WRONG)
def test_a_wrong_value_is_told(config, field, value, message):
    with pytest.raises(InputError, match=re.escape(message)) as error:
        config(**{field: value})
    assert field in str(error.value) and "\n" not in str(error.value)


ANY = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()), st.binary())


@given(st.data(), st.sampled_from([TrainConfig, RPGConfig, CollectConfig]))
def test_nothing_but_an_input_error_is_raised(data, config):
    field = data.draw(st.sampled_from(sorted(config.__dataclass_fields__)))
    try:
        made = config(**{field: data.draw(ANY)})
    except InputError:
        return
    assert type(getattr(made, field)) is not bool or config.__dataclass_fields__[field].type in (bool, "bool")


@given(st.recursive(ANY, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_a_choice_and_a_number_are_told_in_one_short_line(value):
    for check in (lambda: choice("kind", value, {"known": 1}), lambda: whole_number("n", value, 1, 9)):
        try:
            assert check() in ("known", *range(1, 10))
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 200


def test_what_python_does_not_print_is_told_by_its_type():
    with pytest.raises(InputError, match="steps takes a whole number, not one of type int"):
        TrainConfig(steps=10**5000)


def test_numbers_of_numpy_are_numbers():
    config = TrainConfig(steps=np.int64(7), learning_rate=np.float32(0.5))
    assert type(config.steps) is int and type(config.learning_rate) is float
    # Subclasses of Python's own: what is saved with a training would be no file that is read without trust.
    config = TrainConfig(learning_rate=np.float64(0.5), precision=np.str_("fp32"))
    assert type(config.learning_rate) is float and type(config.precision) is str
    assert type(TrainConfig(learning_rate=1).learning_rate) is int, "a whole number serves, and stays"
    assert RPGConfig(widths=[np.int64(8)]).widths == (8,) and whole_number("n", np.uint8(3)) == 3


def test_what_is_shown_is_whole_up_to_a_hundred_characters():
    assert shown("x" * 98) == repr("x" * 98) and len(shown("x" * 98)) == 100
    assert shown("x" * 99) == "'" + "x" * 96 + "..." and len(shown("x" * 99)) == 100


def test_the_largest_whole_number_is_taken():
    assert whole_number("n", LARGEST) == LARGEST
    with pytest.raises(InputError):
        whole_number("n", LARGEST + 1)
