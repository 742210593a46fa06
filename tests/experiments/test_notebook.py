"""What every notebook calls first says in one line what is wrong with its parameters."""

import pytest

from experiments.notebook import begin
from rpglib.errors import InputError

GOOD = {"profile": "cpu", "fresh": False, "seed": 0, "device": "auto"}


def test_good_parameters_print_the_versions(capsys):
    begin(**GOOD)
    assert capsys.readouterr().out.startswith("python 3.")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"profile": "digits"}, "unknown profile 'digits'; known: smoke, cpu, gpu, paper"),
        ({"fresh": "yes"}, "parameter fresh takes True or False, not 'yes'"),
        ({"fresh": 1}, "parameter fresh takes True or False, not 1"),
        ({"seed": -1}, "parameter seed takes a whole number from 0 on, not -1"),
        ({"seed": 0.5}, "parameter seed takes a whole number from 0 on, not 0.5"),
        ({"seed": True}, "parameter seed takes a whole number from 0 on, not True"),
        ({"device": "tpu"}, "parameter device takes auto, cpu, cuda or cuda:N, not 'tpu'"),
    ],
)
def test_a_wrong_one_is_told(change, message, capsys):
    with pytest.raises(InputError) as error:
        begin(**GOOD | change)
    assert str(error.value) == message
    assert not capsys.readouterr().out
