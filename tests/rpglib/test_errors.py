"""A configuration refuses what it cannot use at once, in one line that names the field."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpglib import RPGConfig, TrainConfig
from rpglib.errors import InputError
from rpglib.zoo.collect import CollectConfig

WRONG = [
    (TrainConfig, "ema", True, "takes a finite number, not True"),
    (TrainConfig, "steps", 1e4, "takes a whole number, not 10000.0"),
    (TrainConfig, "steps", "100", "takes a whole number, not '100'"),
    (TrainConfig, "diffusion", "no", "takes True or False, not 'no'"),
    (TrainConfig, "learning_rate", float("nan"), "takes a finite number, not nan"),
    (TrainConfig, "learning_rate", -1e-3, "must be above 0"),
    (TrainConfig, "gradient_clip", 0, "must be above 0, or nothing would learn"),
    (TrainConfig, "ema", 1, "ema takes 0 to below 1"),
    (TrainConfig, "warmup", 2, "warmup 0 to 1"),
    (TrainConfig, "weight_decay", -1, "must not be negative"),
    (TrainConfig, "batch_size", 0, "at least 1"),
    (RPGConfig, "headdim", 0, "must be at least 1, not 0"),
    (RPGConfig, "token_size", -4, "must be at least 1, not -4"),
    (RPGConfig, "diffusion_steps", 10**8, "may be 100,000 at most"),
    (RPGConfig, "permutation_states", -1, "must not be negative"),
    (RPGConfig, "prediction", None, "takes text, not None"),
    (RPGConfig, "widths", 64, "takes whole numbers from 1 on, such as (256, 256), not 64"),
    (RPGConfig, "widths", (64, 0), "takes whole numbers from 1 on"),
    (RPGConfig, "channels", (1, 8.0, 1), "takes whole numbers from 1 on"),
    (CollectConfig, "runs", 0, "must be at least 1"),
    (CollectConfig, "shared_order", 1, "takes True or False, not 1"),
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
