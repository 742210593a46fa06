"""decode(encode(x)) is x, for every architecture named and every layout Hypothesis can think of; bad input is told."""

from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rpglib.errors import InputError
from rpglib.model.positions import position_embedding
from rpglib.tokenizer import NORMALISATIONS, SLICINGS, ParameterTokenizer
from rpglib.zoo.architectures import Architecture

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
TIMM = (
    "resnet18",
    "resnet50",
    "vit_tiny_patch16_224",
    "vit_small_patch16_224",
    "vit_base_patch16_224",
    "convnext_atto",
    "convnext_large",
    "mobilenetv3_large_100",
    "swin_tiny_patch4_window7_224",
)


def relative_difference(a, b):
    """Largest difference of a state dict from another, relative to each tensor's largest magnitude."""
    assert list(a) == list(b)
    assert all(a[k].dtype == b[k].dtype and a[k].shape == b[k].shape for k in a)
    return max(
        float((a[k].double() - b[k].double()).abs().max() / b[k].double().abs().max().clamp(min=1e-30))
        for k in a
        if a[k].numel()
    )


@pytest.mark.parametrize("name", TIMM)
def test_round_trip_of_timm_models(name):
    # Shapes from the meta device: timm's own initialisation of 198 M values takes a minute.
    with torch.device("meta"):
        shapes = timm.create_model(name).state_dict()
    state = {}
    for key, x in shapes.items():
        if not x.is_floating_point():
            state[key] = torch.ones(x.shape, dtype=x.dtype)
        elif key.endswith("running_var"):
            state[key] = torch.rand(x.shape) * 3 + 1e-3
        else:
            state[key] = torch.empty(x.shape).normal_(0.1, 0.05)
    tokenizer = ParameterTokenizer.fit([state], token_size=8192)
    assert relative_difference(tokenizer.decode(tokenizer.encode(state)[0]), state) <= 1e-6


@pytest.mark.parametrize("slicing", SLICINGS)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("name", ["cnn_s", "cnn_digits"])
def test_round_trip_of_small_networks(name, slicing, normalisation):
    architecture = Architecture(name, 10, 3 if name == "cnn_s" else 1, 32 if name == "cnn_s" else 8)
    states = [architecture.build().state_dict() for _ in range(3)]
    tokenizer = ParameterTokenizer.fit(states, token_size=64, slicing=slicing, normalisation=normalisation)
    for state in states:
        assert relative_difference(tokenizer.decode(tokenizer.encode(state)[0]), state) <= 1e-6


@pytest.mark.parametrize("slicing", SLICINGS)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_decoded_together_networks_are_those_decoded_one_by_one(slicing, normalisation, dtype):
    zoo, _ = partly_constant(dtype=dtype)
    for k, state in enumerate(zoo):
        state["norm.running_var"] = torch.tensor([0.0, 1e-4, 2.0, k + 1.0, 0.1])
        state["head.running_var"] = torch.rand(6) + 0.5
        state["tied"] = state["free"]
    tokenizer = ParameterTokenizer.fit(zoo, 8, slicing, normalisation)
    tokens = 1.5 * torch.randn(4, tokenizer.num_tokens, 8, generator=torch.Generator().manual_seed(0))
    together = tokenizer.decode_together(tokens)
    assert list(together) == list(zoo[0]) and together["tied"] is together["free"]
    for k in range(4):
        own = {name: x[k] for name, x in together.items()}
        assert relative_difference(own, tokenizer.decode(tokens[k])) <= (1e-3 if dtype == torch.float16 else 1e-6)


@pytest.mark.parametrize("slicing", SLICINGS)
def test_decoding_has_the_gradient_of_finite_differences(slicing):
    states = [Architecture("cnn_digits", 10, 1, 8).build().state_dict() for _ in range(3)]
    for k, state in enumerate(states):
        for name in state:
            if name.endswith("running_var"):
                state[name] = torch.rand(len(state[name]), generator=torch.Generator().manual_seed(k)) + 0.5
    tokenizer = ParameterTokenizer.fit(states, 64, slicing)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, tokenizer.num_tokens, 64, generator=generator).requires_grad_()
    written = {name: x for name, x in tokenizer.decode_together(tokens).items() if x.requires_grad}
    assert len(written) == len(tokenizer.layers)
    weights = {name: torch.randn(x.shape, generator=generator).double() for name, x in written.items()}

    def loss(networks):
        return sum((networks[name].double() * w).sum() for name, w in weights.items())

    loss(written).backward()
    assert tokens.grad[:, ~tokenizer.mask].eq(0).all(), "padding says nothing"
    assert tokens.grad[:, tokenizer.mask].ne(0).all()
    for _ in range(5):
        step = 1e-2 * torch.randn(tokens.shape, generator=generator)
        ahead, behind = (loss(tokenizer.decode_together(tokens.detach() + h * step)) for h in (0.5, -0.5))
        torch.testing.assert_close((tokens.grad * step).double().sum(), ahead - behind, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize(
    "tokens", [torch.zeros(3, 8), torch.zeros(2, 3, 8, dtype=torch.int64), torch.zeros(2, 1, 7), []]
)
def test_decoding_together_refuses_what_are_no_tokens(tokens):
    tokenizer = ParameterTokenizer.fit([{"a": torch.randn(20)}], 8)
    with pytest.raises(InputError, match="tokens") as caught:
        tokenizer.decode_together(tokens)
    assert "\n" not in str(caught.value)


def test_cnn_s_has_the_paper_size():
    state = Architecture("cnn_s", 10, 3, 32).build().state_dict()
    assert ParameterTokenizer.fit([state], token_size=64).num_parameters == 2864


FIXTURE = Path(__file__).parents[2] / "fixtures" / "tokenizer.safetensors"
# safetensors files are sorted by name; the reference read its state dicts in the order of the modules.
ORDER = ("0.weight", "0.bias", *(f"1.{k}" for k in BATCH_NORM), "3.weight", *(f"4.{k}" for k in BATCH_NORM))
ORDER += ("6.weight", "6.bias")


@pytest.mark.parametrize("slicing", SLICINGS)
def test_agrees_with_the_reference_implementation(slicing):
    reference = load_file(FIXTURE)
    checkpoints = [{k: reference[f"checkpoint.{i}.{k}"] for k in ORDER} for i in range(4)]
    tokenizer = ParameterTokenizer.fit(checkpoints, 64, slicing)
    for k, layer in enumerate(tokenizer.layers):
        figures = [tokenizer.log_reference[k]] * layer.log + [float(tokenizer.shift[k]), float(tokenizer.scale[k])]
        assert torch.allclose(torch.tensor(figures), reference[f"stats.{layer.name}"], atol=1e-5)
    for i, checkpoint in enumerate(checkpoints):
        tokens, mask = tokenizer.encode(checkpoint)
        expected = reference[f"tokens.{slicing}.{i}"]
        assert torch.equal(mask, ~expected.isnan())
        assert torch.allclose(tokens, expected.nan_to_num(0), atol=1e-4)
    decoded = tokenizer.decode(tokenizer.encode(checkpoints[0])[0])
    assert all(torch.allclose(decoded[k], reference[f"detokenized.0.{k}"], atol=1e-5) for k in ORDER)
    position = position_embedding(tokenizer.positions, 64, "2d")
    assert torch.allclose(position, reference[f"position_embedding.{slicing}"], atol=1e-5)


shapes = st.lists(st.lists(st.integers(1, 9), min_size=0, max_size=4).map(tuple), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(shapes, st.integers(1, 40), st.sampled_from(SLICINGS), st.sampled_from(NORMALISATIONS), st.integers(0, 99))
def test_round_trip_and_mask_of_any_layout(shapes, token_size, slicing, normalisation, seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = [*shapes, (3, 2)]  # at least one tensor with something to tokenise
    states = [{f"{i}": torch.randn(s, generator=generator) for i, s in enumerate(shapes)} for _ in range(2)]
    tokenizer = ParameterTokenizer.fit(states, token_size, slicing, normalisation)
    tokens, mask = tokenizer.encode(states[1])
    assert tokens.shape == mask.shape == (tokenizer.num_tokens, token_size)
    assert int(mask.sum()) == tokenizer.num_parameters == sum(torch.Size(s).numel() for s in shapes)
    assert (tokens[~mask] == 0).all()
    assert torch.equal(mask.sum(1), tokenizer.token_lengths)
    assert relative_difference(tokenizer.decode(tokens), states[1]) <= 1e-6
    # What lies in the padding must never reach a network.
    noisy = torch.where(mask, tokens, torch.full_like(tokens, 1e9))
    assert relative_difference(tokenizer.decode(noisy), tokenizer.decode(tokens)) == 0


def test_layer_statistics_are_zero_mean_unit_deviation():
    generator = torch.Generator().manual_seed(0)
    state = {"a": torch.randn(50, 7, generator=generator) * 5 + 3, "b": torch.randn(400, generator=generator) * 0.01}
    tokenizer = ParameterTokenizer.fit([state], token_size=400)
    tokens, mask = tokenizer.encode(state)
    for row, real in zip(tokens, mask, strict=True):
        assert abs(float(row[real].mean())) < 1e-5 and abs(float(row[real].std()) - 1) < 1e-4


def test_residual_statistics_show_the_differences_between_checkpoints():
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(40, 40, generator=generator)
    states = [{"w": base + 0.01 * torch.randn(40, 40, generator=generator)} for _ in range(20)]
    tokenizer = ParameterTokenizer.fit(states, 100, normalisation="residual")
    tokens = torch.stack([tokenizer.encode(s)[0] for s in states])
    assert abs(float(tokens.std()) - 1) < 0.05 and float(tokens.mean(0).abs().max()) < 1e-3


@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize("name", ["x", "running_var"])
def test_deviations_over_the_zoo_are_those_of_a_sample(n, name):
    """Of every value, or pooled over the layer; variances through their logarithm."""
    values = torch.rand(n, 6, generator=torch.Generator().manual_seed(n)) + 0.5
    zoo = [{name: x} for x in values]
    if name == "running_var":
        values = (values / (0.95 * values.mean()) + 0.05).log()
    for normalisation, variance in (("element", values.var(0)), ("residual", values.var(0).mean().reshape(1))):
        tokenizer = ParameterTokenizer.fit(zoo, 4, normalisation=normalisation)
        torch.testing.assert_close(tokenizer.shift[0], values.mean(0))
        torch.testing.assert_close(tokenizer.scale[0], variance.sqrt())


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_what_has_one_element_is_normalised_over_the_zoo(normalisation):
    values = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64)
    zoo = [{"scale": x.float().reshape(1), "w": random(9, seed=i)} for i, x in enumerate(values)]
    tokenizer = ParameterTokenizer.fit(zoo, 4, normalisation=normalisation)
    tokens = torch.stack([tokenizer.encode(network)[0][0, 0] for network in zoo])
    torch.testing.assert_close(tokens, ((values - values.mean()) / values.std()).float())


@pytest.mark.parametrize("within", [0.0, 1e-7, 1e-3])
def test_a_layer_that_is_uniform_in_each_checkpoint_is_measured_by_what_it_does_between_them(within):
    values = torch.tensor([1.0, 2.0, 6.0])
    zoo = [{"gain": x + within * random(50, seed=i), "w": random(9, seed=i)} for i, x in enumerate(values)]
    tokenizer = ParameterTokenizer.fit(zoo, 64)
    tokens = torch.stack([tokenizer.encode(network)[0][0, :50].mean() for network in zoo])
    torch.testing.assert_close(tokens, (values - 3) / values.std(correction=0), atol=1e-3, rtol=1e-3)


def test_tied_integer_and_one_element_tensors():
    weight = torch.randn(6, 5)
    state = {"in.weight": weight, "scale": torch.tensor([2.5]), "steps": torch.tensor(7), "out.weight": weight}
    tokenizer = ParameterTokenizer.fit([state], token_size=8)
    assert tokenizer.num_parameters == 30
    decoded = tokenizer.decode(tokenizer.encode(state)[0])
    assert list(decoded) == list(state) and decoded["steps"] == 7 and decoded["scale"] == 2.5
    assert decoded["out.weight"].data_ptr() == decoded["in.weight"].data_ptr()
    # safetensors files hold a tied tensor once, so the second name may be absent.
    del state["out.weight"]
    assert torch.equal(tokenizer.encode(state)[0], tokenizer.encode(state | {"out.weight": weight})[0])
    with pytest.raises(InputError, match="tied"):
        tokenizer.encode(state | {"out.weight": weight + 1})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_checkpoints_come_back_in_their_type(dtype):
    state = {"w": torch.randn(9, 9).to(dtype), "b": torch.randn(9)}
    tokenizer = ParameterTokenizer.fit([state], token_size=16)
    decoded = tokenizer.decode(tokenizer.encode(state)[0])
    assert decoded["w"].dtype == dtype and torch.equal(decoded["w"], state["w"])


def test_positions_name_the_layer_and_the_place_within_it():
    tokenizer = ParameterTokenizer.fit([{"a": torch.randn(10), "b": torch.randn(3)}], token_size=4)
    assert tokenizer.positions.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0]]
    assert tokenizer.token_lengths.tolist() == [4, 4, 2, 3]
    flat = ParameterTokenizer.fit([{"a": torch.randn(10), "b": torch.randn(3)}], token_size=4, slicing="flatten")
    assert flat.positions.tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert flat.token_lengths.tolist() == [4, 4, 4, 1]


@pytest.mark.parametrize("slicing", SLICINGS)
def test_decoding_in_the_tokens_memory_gives_the_same_and_can_be_saved(slicing, tmp_path):
    state = Architecture("cnn_digits", 10, 1, 8).build().state_dict()
    tokenizer = ParameterTokenizer.fit([state], 64, slicing)
    tokens, _ = tokenizer.encode(state)
    copied = tokenizer.decode(tokens)
    reused = tokenizer.decode(tokens, reuse=True)
    assert relative_difference(reused, copied) == 0
    inside = [x for x in reused.values() if x.untyped_storage().data_ptr() == tokens.untyped_storage().data_ptr()]
    assert bool(inside) == (slicing != "channel")
    save_file(reused, tmp_path / "network.safetensors")
    assert (
        relative_difference(
            dict(sorted(copied.items())), dict(sorted(load_file(tmp_path / "network.safetensors").items()))
        )
        == 0
    )


def test_generated_variances_stay_positive():
    state = {"running_var": torch.rand(32) + 0.1}
    tokenizer = ParameterTokenizer.fit([state], token_size=32)
    assert (tokenizer.decode(torch.full((1, 32), -50.0))["running_var"] > 0).all()


def test_save_and_load_keep_the_whole_specification(tmp_path):
    model = Architecture("cnn_digits", 10, 1, 8).build()
    tokenizer = ParameterTokenizer.fit([model.state_dict()], 64, "channel", "residual")
    tokenizer.save(tmp_path / "t.safetensors")
    loaded = ParameterTokenizer.load(tmp_path / "t.safetensors")
    tokens, mask = tokenizer.encode(model.state_dict())
    assert torch.equal(loaded.encode(model.state_dict())[0], tokens) and torch.equal(loaded.mask, mask)
    assert relative_difference(loaded.decode(tokens), tokenizer.decode(tokens)) == 0
    assert repr(loaded) == repr(tokenizer)
    (tmp_path / "t.safetensors").write_bytes((tmp_path / "t.safetensors").read_bytes()[:-20])
    with pytest.raises(InputError, match="not a readable tokenizer file"):
        ParameterTokenizer.load(tmp_path / "t.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("a"), "lacks the tensor 'a'"),
        (lambda s: s.update(c=torch.zeros(2)), "extra tensor 'c'"),
        (lambda s: s.update(a=torch.zeros(2, 5)), r"'a' has shape \(2, 5\), expected \(10,\)"),
        (lambda s: s.update(a=torch.full((10,), torch.nan)), "'a' holds NaN"),
        (lambda s: s.update(a=torch.tensor([1.0] * 9 + [torch.inf])), "'a' holds NaN or infinity"),
    ],
)
def test_a_bad_checkpoint_is_one_clear_error(change, message):
    state = {"a": torch.randn(10), "b": torch.randn(3)}
    tokenizer = ParameterTokenizer.fit([dict(state)], token_size=4)
    change(state)
    with pytest.raises(InputError, match=message) as error:
        tokenizer.encode(state)
    assert "\n" not in str(error.value)


def test_a_constant_that_is_not_finite_is_told():
    tokenizer = ParameterTokenizer.fit([{"a": torch.randn(10), "s": torch.tensor(1.0)}], token_size=4)
    with pytest.raises(InputError, match="'s' holds NaN"):
        tokenizer.encode({"a": torch.randn(10), "s": torch.tensor(torch.nan)})


def test_bad_arguments():
    state = {"a": torch.randn(10)}
    with pytest.raises(InputError, match="known: layer, flatten, channel"):
        ParameterTokenizer.fit([state], 4, slicing="row")
    with pytest.raises(InputError, match="positive whole number"):
        ParameterTokenizer.fit([state], 0)
    with pytest.raises(InputError, match="no checkpoints"):
        ParameterTokenizer.fit([], 4)
    with pytest.raises(InputError, match="no floating-point tensor"):
        ParameterTokenizer.fit([{"n": torch.tensor(1)}], 4)
    with pytest.raises(InputError, match="expected tokens of shape"):
        ParameterTokenizer.fit([state], 4).decode(torch.zeros(2, 4))


@pytest.mark.parametrize("slicing", SLICINGS)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("token_size", [5, 16, 1000])
def test_single_rows_are_those_of_the_whole(slicing, normalisation, token_size):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv1d(2, 7, 3), torch.nn.BatchNorm1d(7), torch.nn.Linear(3, 40))
    zoo = [{name: x + torch.rand(x.shape) for name, x in network.state_dict().items()} for _ in range(3)]
    tokenizer = ParameterTokenizer.fit(zoo, token_size, slicing, normalisation)
    tokens, _ = tokenizer.encode(zoo[1])
    rows = torch.randperm(len(tokens))
    assert tokenizer.encode_rows(zoo[1], rows).equal(tokens[rows])
    assert tokenizer.encode_rows(zoo[1], rows[:0]).shape == (0, token_size)
    zoo[1]["2.weight"][3, 0] = torch.nan
    with pytest.raises(InputError, match=r"'2[.]weight' holds NaN"):
        tokenizer.encode_rows(zoo[1], rows)


def test_what_is_not_generated_is_compared_wherever_it_lies():
    torch.manual_seed(0)
    kept, pruned = torch.randn(4), torch.arange(8) < 2
    zoo = [{"frozen": kept.clone(), "w": torch.randn(8).masked_fill(pruned, 0.0)} for _ in range(3)]
    tokenizer, row = ParameterTokenizer.fit(zoo, 4), torch.tensor([0])
    for other in ({"frozen": kept + 1}, {"w": zoo[0]["w"] + 1.0}):
        name = next(iter(other))
        for call in (tokenizer.encode, lambda network: tokenizer.encode_rows(network, row)):
            with pytest.raises(InputError, match=f"'{name}' differs where no checkpoint of the zoo did"):
                call(zoo[0] | other)
        assert tokenizer.encode_rows(zoo[0] | other, row, constants=False).shape == (1, 4)


# ---- what does not vary over the zoo --------------------------------------------------------------------------------


def random(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def partly_constant(n=4, dtype=torch.float32):
    """Networks with a frozen layer, a pruned one, a mask of -inf, and a layer that varies."""
    frozen, pruned = random(6, 5, seed=1), random(7, 3, seed=2).abs() < 0.5
    mask = torch.zeros(3, 3).masked_fill(torch.ones(3, 3).triu(1).bool(), -torch.inf)
    return [
        {
            "frozen": frozen.to(dtype).clone(),
            "pruned": random(7, 3, seed=10 + i).masked_fill(pruned, 0.0).to(dtype),
            "mask": mask.clone(),
            "free": random(40, seed=20 + i).to(dtype),
        }
        for i in range(n)
    ], pruned


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("slicing", SLICINGS)
def test_what_does_not_vary_comes_back_exactly_whatever_is_generated(slicing, normalisation, dtype, tmp_path):
    zoo, pruned = partly_constant(dtype=dtype)
    tokenizer = ParameterTokenizer.fit(zoo, 8, slicing, normalisation)
    tokenizer.save(tmp_path / "tokenizer")
    for one in (tokenizer, ParameterTokenizer.load(tmp_path / "tokenizer")):
        for reuse in (False, True):
            written = one.decode(torch.randn(one.num_tokens, 8), reuse)
            assert list(written) == list(zoo[0])
            assert written["frozen"].equal(zoo[0]["frozen"]) and written["mask"].equal(zoo[0]["mask"])
            assert written["pruned"][pruned].eq(0).all() and written["pruned"][~pruned].ne(0).all()
            assert not written["free"].equal(zoo[0]["free"])
    assert tokenizer.num_parameters == 7 * 3 + 40
    again = tokenizer.decode(tokenizer.encode(zoo[2])[0])
    for name, x in zoo[2].items():
        torch.testing.assert_close(again[name], x, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "place"), [("frozen", (0, 0)), ("mask", (2, 0))])
def test_a_network_that_differs_where_no_other_does_is_refused(name, place):
    zoo, pruned = partly_constant()
    tokenizer = ParameterTokenizer.fit(zoo, 8)
    with pytest.raises(InputError, match=f"'{name}' differs where no checkpoint of the zoo did"):
        other = {**zoo[0], name: zoo[0][name].clone()}
        other[name][place] = 3.0
        tokenizer.encode(other)
    other = {**zoo[0], "pruned": zoo[0]["pruned"].masked_fill(pruned, 1e-9)}
    with pytest.raises(InputError, match="'pruned' differs"):
        tokenizer.encode(other)


def test_one_checkpoint_or_equal_ones():
    zoo, _ = partly_constant(1)
    del zoo[0]["mask"]
    assert ParameterTokenizer.fit(zoo, 8).num_parameters == 30 + 21 + 40, "nothing is known not to vary"
    assert ParameterTokenizer.fit(zoo * 3, 8).num_parameters == 30 + 21 + 40, "nor of equal ones"
