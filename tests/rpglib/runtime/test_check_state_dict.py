"""What people hand over instead of state dicts of dense tensors: one line that names the thing and the remedy."""

import pytest
import torch

from rpglib.errors import InputError
from rpglib.tokenizer import ParameterTokenizer
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.store import Zoo

DENSE = torch.ones(4, 4)
WRONG = {
    "wrapper": ({"epoch": 3, "state_dict": {"w": DENSE}}, "holds a dict under 'state_dict'; give that dict"),
    "nested": ({"model": {"w": DENSE}, "ema": {"w": DENSE}}, "holds a dict under 'model'; give that dict"),
    "module": (torch.nn.Linear(3, 3), "is a Linear, not a state dict; give module.state_dict()"),
    "path": ("a.pt", "is a str, not a state dict"),
    "array": ({"w": DENSE.numpy()}, "'w' is a ndarray, not a tensor"),
    "none": ({"w": DENSE, "b": None}, "'b' is a NoneType, not a tensor"),
    "extra state": ({"w": DENSE, "_extra_state": b"x"}, "'_extra_state' is a bytes, not a tensor"),
    "whole number": ({0: DENSE}, "has a key '0' that is no name"),
    "sparse": ({"w": DENSE, "s": DENSE.to_sparse()}, "'s' is no dense tensor of real numbers"),
    "complex": ({"w": DENSE.to(torch.complex64)}, "'w' is no dense tensor of real numbers"),
    "meta": ({"w": torch.empty(4, 4, device="meta")}, "'w' holds no values yet"),
    "lazy": ({"w": torch.nn.parameter.UninitializedParameter()}, "'w' holds no values yet"),
    "empty": ({}, "is empty: it holds no tensor"),
}


@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("take", ["fit", "write", "memory", "encode"])
def test_what_is_no_state_dict_is_told(given, message, take, tmp_path):
    facts = {"architecture": Architecture("mine", 10), "runs": [0], "accuracies": [1.0]}
    known = ParameterTokenizer.fit([{"w": DENSE}], 16)
    calls = {
        "fit": lambda: ParameterTokenizer.fit([given], 16),
        "write": lambda: Zoo.write(tmp_path, [given], **facts),
        "memory": lambda: Zoo.from_checkpoints([given], **facts),
        "encode": lambda: known.encode(given),
    }
    with pytest.raises(InputError) as error:
        calls[take]()
    assert message in str(error.value) and "\n" not in str(error.value)


def test_one_state_dict_is_no_list():
    with pytest.raises(InputError, match="on a list of state dicts, not on one"):
        ParameterTokenizer.fit({"w": DENSE, "b": DENSE}, 16)
