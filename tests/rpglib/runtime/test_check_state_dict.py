"""What people hand over instead of state dicts of dense tensors: one line that names the thing and the remedy."""

import warnings

import pytest
import torch

from rpglib.errors import InputError
from rpglib.tokenizer import ParameterTokenizer
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.store import Zoo

DENSE = torch.ones(4, 4)
GIVEN_BACK = torch.ones(3)
GIVEN_BACK.untyped_storage().resize_(0)
with warnings.catch_warnings(action="ignore"):  # that these kinds are new
    NEW = {"ragged": torch.nested.nested_tensor([DENSE[:1], DENSE]), "rows": DENSE.to_sparse_csr()}


class Elsewhere(torch.Tensor):
    """A tensor that keeps its values in a place of its own, as sharded ones do."""

    @staticmethod
    def __new__(cls):
        return torch.Tensor._make_wrapper_subclass(cls, (3,))

    @classmethod
    def __torch_dispatch__(cls, *_, **__):
        raise AssertionError("no operation can be had")


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
    "a tensor for a name": ({DENSE: DENSE}, "that is no name"),
    "mkldnn": ({"w": DENSE, "s": DENSE.to_mkldnn()}, "'s' is no dense tensor of real numbers"),
    **{kind: ({"w": x}, "'w' is no dense tensor of real numbers") for kind, x in NEW.items()},
    "four bits": ({"w": torch.ones(2).byte().view(torch.float4_e2m1fn_x2)}, "'w' is no dense tensor of real numbers"),
    "elsewhere": ({"w": Elsewhere()}, "'w' is no dense tensor of real numbers"),
    "lazy buffer": ({"w": torch.nn.parameter.UninitializedBuffer()}, "'w' holds no values yet"),
    "given back": ({"w": GIVEN_BACK}, "the memory of 'w' was given back"),
    "reserved": ({"__metadata__": DENSE}, "a tensor named '__metadata__', which no safetensors file can hold"),
    "half a letter": ({"\ud800": DENSE}, "which no safetensors file can hold"),
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
