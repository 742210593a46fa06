"""State dicts as a matrix of weights and back, their fingerprint, and which of their tensors are one memory."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rpglib.runtime.state_dicts import digest, flatten, tied, unflatten

SHAPES = st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), min_size=1, max_size=4)


@given(shapes=SHAPES, n=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_unflattening_undoes_flattening(shapes, n, seed):
    generator = torch.Generator().manual_seed(seed)
    like = {f"t{k}": torch.zeros(shape) for k, shape in enumerate(shapes)}
    networks = {name: torch.randn(n, *x.shape, generator=generator) for name, x in like.items()}
    weights = flatten(networks)
    assert weights.shape == (n, sum(x.numel() for x in like.values()))
    again = unflatten(weights, like)
    assert list(again) == list(networks) and all(again[name].equal(networks[name]) for name in networks)


def test_the_layout_by_hand_with_a_counter_that_stays_an_integer():
    networks = {"z": torch.tensor([[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]]), "a": torch.tensor([9, 10])}
    weights = flatten(networks)
    assert weights.tolist() == [[1, 2, 3, 4, 9], [5, 6, 7, 8, 10]], "names in their order, not by alphabet"
    again = unflatten(weights, {name: x[0] for name, x in networks.items()})
    assert again["a"].dtype == torch.int64 and again["a"].equal(networks["a"]) and again["z"].equal(networks["z"])


def test_a_matrix_of_another_width_is_no_matrix_of_these_networks():
    with pytest.raises(RuntimeError):
        unflatten(torch.zeros(2, 3), {"a": torch.zeros(4)})


def checkpoint():
    return {"weight": torch.arange(6.0).view(2, 3), "half": torch.ones(2).bfloat16(), "steps": torch.tensor(5)}


def test_the_digest_is_of_names_and_values_alone():
    same = dict(reversed(checkpoint().items()))
    same["weight"] = same["weight"].T.contiguous().T.requires_grad_()
    assert digest(checkpoint()) == digest(same) and len(digest(same)) == 16
    assert int(digest(same), 16) >= 0


@given(name=st.sampled_from(["weight", "half", "steps"]), place=st.integers(0, 5), change=st.sampled_from([-1, 1, 64]))
def test_the_digest_changes_with_any_value(name, place, change):
    other = checkpoint()
    values = other[name].view(-1)
    values[place % len(values)] += change
    assert digest(other) != digest(checkpoint())


@pytest.mark.parametrize("name", ["weight", "half", "steps"])
def test_the_digest_changes_with_any_name(name):
    renamed = {key + "_" if key == name else key: x for key, x in checkpoint().items()}
    lacking = {key: x for key, x in checkpoint().items() if key != name}
    assert len({digest(checkpoint()), digest(renamed), digest(lacking)}) == 3


def test_tied_names_the_first_of_those_that_share_memory():
    memory = torch.zeros(6)
    found = tied(
        {
            "a": memory,
            "b": memory.view(2, 3),
            "c": memory,
            "d": memory.clone(),
            "e": torch.zeros(0),
            "f": torch.zeros(0),
        }
    )
    assert found == {"c": "a"}, "another shape is another tensor, and empty ones have no memory"
    whole = torch.complex(memory, memory + 1)
    assert not tied({"a": whole.imag, "b": whole.conj().imag}), "nor is one memory with another sign one tensor"
