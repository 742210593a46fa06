"""What a generator's configuration refuses; which values it has by default is in test_interface."""

import pytest

from rpglib.errors import InputError
from rpglib.model.config import RPGConfig


@pytest.mark.parametrize("name", ["recurrence", "position", "permutation", "conditioning", "prediction"])
def test_an_unknown_kind_is_refused(name):
    with pytest.raises(InputError, match=r"unknown .* 'other'; known: "):
        RPGConfig(**{name: "other"})
