"""The tokenizer returns what it was given, to rounding of its type, or refuses it in one line: dtypes, sizes, names."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rpglib.errors import InputError
from rpglib.tokenizer import NORMALISATIONS, SLICINGS, ParameterTokenizer

EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz)
FLOATS = (torch.float32, torch.float16, torch.bfloat16, *EIGHT_BITS)
VERBATIM = (torch.float64, torch.float8_e8m0fnu)
WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int64, torch.uint16, torch.uint64)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def zoo_of(*values, **others):
    """Checkpoints with one tensor "x" each, beside one that always varies."""
    return [{"free": random(4, seed=i).float(), "x": x, **others} for i, x in enumerate(values)]


def comes_back(zoo, normalisation="layer", slicing="layer", size=5):
    """Fit, encode and decode every checkpoint: names, order, types and shapes are kept; returns what came back."""
    tokenizer = ParameterTokenizer.fit(zoo, size, slicing, normalisation)
    found = []
    for network in zoo:
        tokens, _ = tokenizer.encode(network)
        rows = torch.arange(len(tokens)).flip(0)
        assert tokenizer.encode_rows(network, rows).equal(tokens[rows])
        found.append(tokenizer.decode(tokens))
        assert list(found[-1]) == list(network)
        for name, x in network.items():
            assert found[-1][name].dtype == x.dtype and found[-1][name].shape == x.shape
    return found


def assert_close(found, given, zoo_values):
    """Equal to rounding beside the tensor's largest value, or, of one that is all zero, beside the zoo's."""
    if not given.is_floating_point() or given.dtype in VERBATIM:
        assert torch.equal(found.double(), given.double())
        return
    found, given, rounding = found.double(), given.detach().double(), torch.finfo(given.dtype).eps
    infinite = given.isinf()
    assert torch.equal(found[infinite], given[infinite]) and found[~infinite].isfinite().all()
    values = [given, *(x.detach().double() for x in zoo_values)]
    largest = next((m for x in values if (m := max(x[x.isfinite()].abs().tolist(), default=0.0))), 0.0)
    assert ((found - given)[~infinite].abs() <= max(rounding, 2e-6) * largest + 1e-45).all()


def refused(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


# ---- any zoo ---------------------------------------------------------------------------------------------------------

KINDS = ("free", "frozen", "pruned", "mask", "nan", "inf", "rounding", "decades", "checkpoints", "expanded", "strided")
NAMES = st.one_of(
    st.sampled_from(["w", "running_var", "a.running_var", "num_batches_tracked", "constant.w", "", "\n", "where.é"]),
    st.text(max_size=4),
)


@st.composite
def tensors(draw):
    """By checkpoint, one tensor of one name: any type, shape and size, and constant in all, some or none of its values.

    One exponent serves all checkpoints, or each has its own.
    """
    n = draw(st.shared(st.integers(1, 3), key="checkpoints"))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    dtype = draw(st.sampled_from((torch.float32, *FLOATS, *FLOATS, *VERBATIM, *WHOLE)))
    kind, seed, exponent = draw(st.sampled_from(KINDS)), draw(st.integers(0, 99)), draw(st.integers(-45, 38))
    exponent = draw(st.sampled_from([0, 0, exponent]))
    chosen, made = random(*shape, seed=seed) > 0, []
    for i in range(n):
        x = random(*shape, seed=100 * seed + i)
        x = {
            "frozen": random(*shape, seed=seed),
            "pruned": x.where(chosen, 0.0),
            "mask": x.where(chosen, -math.inf),
            "nan": x.where(chosen, math.nan if i else 1.0),
            "inf": x.where(chosen, math.inf if i else 1.0),
            "rounding": random(*shape, seed=seed) * (1 + 1e-7 * i),
            "decades": x * 10 ** (10 * random(*shape, seed=seed)),
            "checkpoints": x * 10.0 ** (9 * i),
        }.get(kind, x) * 10.0**exponent
        if dtype in WHOLE:
            x = x.nan_to_num(0, 1, 0).abs().clamp(max=9)
        x = (x.abs() if dtype == torch.float8_e8m0fnu else x).float().to(dtype)
        if kind == "expanded" and x.numel():
            x = x.flatten()[:1].expand(shape) if shape else x
        made.append(x.transpose(0, -1) if kind == "strided" and shape else x)
    return made


@settings(max_examples=250)
@given(st.dictionaries(NAMES, tensors(), min_size=1, max_size=3), st.sampled_from(SLICINGS), st.data())
def test_any_zoo_comes_back_or_is_refused_in_one_line(by_name, slicing, data):
    normalisation, size = data.draw(st.sampled_from(NORMALISATIONS)), data.draw(st.integers(1, 9))
    n = len(next(iter(by_name.values())))
    zoo = [{name: made[i] for name, made in by_name.items()} for i in range(n)]
    try:
        found = comes_back(zoo, normalisation, slicing, size)
    except InputError as error:
        assert "\n" not in str(error)
        return
    for i, network in enumerate(zoo):
        for name, x in network.items():
            if name.endswith("num_batches_tracked") and not x.is_floating_point():
                x = zoo[0][name]
            assert_close(found[i][name], x, by_name[name])


# ---- kind by kind ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_tensors_of_one_element_come_back(normalisation, shape):
    zoo = zoo_of(*(random(*shape, seed=i).float() + i for i in range(5)))
    for slicing in SLICINGS:
        for found, network in zip(comes_back(zoo, normalisation, slicing), zoo, strict=True):
            assert_close(found["x"], network["x"], [])
    # Where one does not vary it is kept, and another one is refused.
    fixed = zoo_of(*[torch.full(shape, 2.5)] * 3)
    tokenizer = ParameterTokenizer.fit(fixed, 5)
    assert tokenizer.num_parameters == 4 and tokenizer.decode(torch.randn(1, 5))["x"].eq(2.5).all()
    refused(lambda: tokenizer.encode(fixed[0] | {"x": torch.full(shape, 2.6)}), "'x' differs where no checkpoint")


@pytest.mark.parametrize("dtype", WHOLE)
def test_whole_numbers_and_truth_values_that_differ_are_refused(dtype):
    zoo = zoo_of(*[torch.tensor([1, 0, 1]).to(dtype)] * 2, torch.tensor([1, 1, 1]).to(dtype))
    kind = str(dtype).removeprefix("torch.")
    refused(lambda: ParameterTokenizer.fit(zoo, 4), f"checkpoint 2: 'x' differs .* {kind} is not generated; convert it")
    tokenizer = ParameterTokenizer.fit(zoo[:2], 4)
    assert tokenizer.decode(torch.randn(1, 4))["x"].equal(zoo[0]["x"])
    refused(lambda: tokenizer.encode(zoo[2]), "'x' differs where no checkpoint")


def test_batch_norms_counters_may_differ():
    zoo = [{"1.num_batches_tracked": torch.tensor(i), "w": random(3, seed=i).float()} for i in range(2)]
    tokenizer = ParameterTokenizer.fit(zoo, 4)
    assert tokenizer.decode(tokenizer.encode(zoo[1])[0])["1.num_batches_tracked"] == 0
    # Only BatchNorm's: a weight of that name is a weight.
    named = [{"num_batches_tracked": x["w"]} for x in zoo]
    assert_close(comes_back(named)[1]["num_batches_tracked"], named[1]["num_batches_tracked"], [])


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("unit", [1.0, 1e-25, 1e25])
def test_variances_come_back_over_many_decades_each_to_rounding(normalisation, unit, tmp_path):
    decades = 10.0 ** -torch.arange(0, 12, dtype=torch.float64)
    zoo = [{"running_var": (unit * decades * (1 + random(12, seed=i).abs())).float()} for i in range(3)]
    zoo[1]["running_var"][4] = 0.0  # a dead channel
    ParameterTokenizer.fit(zoo, 5, normalisation=normalisation).save(tmp_path / "t")
    tokenizer = ParameterTokenizer.load(tmp_path / "t")
    for network in zoo:
        found = tokenizer.decode(tokenizer.encode(network)[0])["running_var"]
        torch.testing.assert_close(found, network["running_var"], rtol=1e-5, atol=0)
    assert (tokenizer.decode(torch.randn(3, 5) * 9)["running_var"] >= 0).all(), "whatever is generated"


def test_variances_that_are_no_zoo_s_are_refused():
    zoo = [{"running_var": 1 + random(6, seed=i).abs().float()} for i in range(3)]
    tokenizer = ParameterTokenizer.fit(zoo, 4)
    assert tokenizer.layers[0].offset == 0.05, "an ordinary layer has the released code's constants"
    for small in (1e-6, 0.0):
        network = {"running_var": zoo[0]["running_var"].clone()}
        network["running_var"][2] = small
        refused(lambda network=network: tokenizer.encode(network), "'running_var' holds values too small")
        refused(lambda network=network: tokenizer.encode_rows(network, torch.tensor([0])), "too small")
    network["running_var"][2] = -1.0
    refused(lambda: tokenizer.encode(network), "'running_var' holds a variance below zero")
    refused(lambda: ParameterTokenizer.fit([*zoo, network], 4), "checkpoint 3: .* a variance below zero")


def test_variances_that_are_zero_in_some_checkpoints_come_back_as_zero():
    zoo = [{"running_var": (1 + random(6, seed=i).abs()).float()} for i in range(3)]
    zoo[1]["running_var"][4] = 0.0
    for found, network in zip(comes_back(zoo), zoo, strict=True):
        torch.testing.assert_close(found["running_var"], network["running_var"], rtol=1e-5, atol=0)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("dtype", VERBATIM)
def test_types_that_float32_does_not_carry_come_back_to_the_bit(normalisation, dtype, tmp_path):
    values = [(3 + random(3, 4, seed=i).abs()).float().to(dtype) for i in range(3)]
    for found, x in zip(comes_back(zoo_of(*values), normalisation), values, strict=True):
        assert found["x"].double().equal(x.double())
    constant = torch.full((5,), math.pi, dtype=torch.float64)
    assert comes_back(zoo_of(constant, constant))[1]["x"].equal(constant)


def test_float64_beyond_float32_is_refused():
    fine = zoo_of(*(random(6, seed=i) for i in range(3)))
    refused(lambda: ParameterTokenizer.fit(fine, 4), r"'x' varies in float64, .* convert .* \.float\(\)")
    refused(lambda: ParameterTokenizer.fit(fine[:1], 4), "'x' varies in float64")
    refused(lambda: ParameterTokenizer.fit(zoo_of(*(1e300 * x["x"] for x in fine)), 4), "'x' varies in float64")
    coarse = zoo_of(*(x["x"].float().double() for x in fine))
    refused(lambda: ParameterTokenizer.fit(coarse, 4).encode(fine[0]), "'x' varies in float64")
    variances = [{"running_var": x["x"].abs()} for x in coarse]
    refused(lambda: ParameterTokenizer.fit(variances, 4), "'running_var' varies in float64")


def test_infinity_is_kept_where_all_have_it_and_refused_elsewhere():
    mask = torch.zeros(3, 3).masked_fill(torch.ones(3, 3).triu(1).bool(), -torch.inf)
    for zoo in (zoo_of(mask), zoo_of(mask, mask), zoo_of(torch.tensor(-torch.inf), torch.tensor(-torch.inf))):
        for found in comes_back(zoo):
            assert found["x"].equal(zoo[0]["x"])
    # In single places of a layer that varies.
    values = [(random(3, 3, seed=i).float() + mask) for i in range(3)]
    for normalisation in NORMALISATIONS:
        for found, x in zip(comes_back(zoo_of(*values), normalisation), values, strict=True):
            assert_close(found["x"], x, [])
    wrong = values[0].clone()
    wrong[2, 0] = torch.inf
    for i in (0, 2):
        placed = [*values[:i], wrong, *values[i:]]
        refused(
            lambda placed=placed: ParameterTokenizer.fit(zoo_of(*placed), 4), f"checkpoint {i}: 'x' holds NaN or inf"
        )
    tokenizer = ParameterTokenizer.fit(zoo_of(*values), 4)
    refused(lambda: tokenizer.encode(zoo_of(wrong)[0]), "'x' holds NaN or infinity")
    refused(lambda: tokenizer.encode(zoo_of(values[0].nan_to_num(neginf=0.0))[0]), "'x' differs where no checkpoint")
    refused(lambda: ParameterTokenizer.fit(zoo_of(values[0].fill_(torch.nan)), 4), "checkpoint 0: 'x' holds NaN")


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("unit", [1e-44, 1e-39, 1e-25, 1e25, 1e38])
def test_very_small_and_very_large_values_come_back_and_are_measured_by_their_own_size(normalisation, unit):
    values = [(unit * random(50, seed=i).clamp(-3, 3)).float() for i in range(4)]
    values[0][0] = values[1][0] = values[2][0] = values[3][0] = 0.0
    for found, x in zip(comes_back(zoo_of(*values), normalisation, size=16), values, strict=True):
        assert_close(found["x"], x, [])
    tokenizer = ParameterTokenizer.fit([{"x": x} for x in values], 64, normalisation=normalisation)
    tokens = tokenizer.encode({"x": values[0]})[0]
    assert tokens.isfinite().all() and tokens.abs().max() > 0.1
    generated = tokenizer.decode(torch.ones(1, 64))["x"]
    assert 0 < generated.abs().max() <= 20 * unit and generated.isfinite().all()
    refused(lambda: tokenizer.encode({"x": values[0] * 1e-36 if unit > 1 else values[0] + 1e38}), "'x' (holds|differs)")


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_checkpoints_many_times_each_other_come_back(normalisation):
    values = [(10.0**e * (1 + random(20, seed=i))).float() for i, e in enumerate((0, -5, 6, -20))]
    for found, x in zip(comes_back(zoo_of(*values), normalisation), values, strict=True):
        assert_close(found["x"], x, [])
    refused(
        lambda: ParameterTokenizer.fit(zoo_of(*values, values[0] * 1e-30, values[0] * 1e20), 4),
        "checkpoint 4: 'x' is too small beside that of other checkpoints",
    )
    alike = ParameterTokenizer.fit(zoo_of(*(x / x.mean() for x in values)), 4, normalisation=normalisation)
    refused(lambda: alike.encode(zoo_of(values[3])[0]), "'x' holds values too small")
    # Zero is zero beside the zoo's values.
    assert alike.decode(alike.encode(zoo_of(torch.zeros(20))[0])[0])["x"].abs().max() < 1e-5


@pytest.mark.parametrize("dtype", EIGHT_BITS)
@pytest.mark.parametrize("shape", [(), (6, 3)])
def test_numbers_of_eight_bits_come_back_to_the_bit(dtype, shape):
    values = [(8 * random(*shape, seed=i)).to(dtype) for i in range(3)]
    for found, x in zip(comes_back(zoo_of(*values)), values, strict=True):
        assert found["x"].view(torch.uint8).equal(x.view(torch.uint8))
    assert comes_back(zoo_of(values[0], values[0]))[0]["x"].float().equal(values[0].float())
    tied = comes_back([{"x": x, "y": x} for x in values if x.numel()])
    assert tied[1]["y"].data_ptr() == tied[1]["x"].data_ptr()


@pytest.mark.parametrize("dtype", [torch.float16, *EIGHT_BITS])
def test_what_is_generated_in_a_small_type_stays_finite(dtype):
    most = torch.finfo(dtype).max
    tokenizer = ParameterTokenizer.fit(zoo_of(*(torch.tensor([most, -most, x]).to(dtype) for x in (1.0, 2.0))), 4)
    assert tokenizer.decode(torch.full((2, 4), 1e6))["x"].float().isfinite().all()


@pytest.mark.parametrize("normalisation", ["residual", "element"])
def test_what_varies_by_rounding_alone_is_not_blown_up(normalisation):
    frozen = 0.02 * random(50, seed=1).float()
    other = frozen.clone()
    other[frozen.abs().argmax()] *= 1 + 2e-7
    tokenizer = ParameterTokenizer.fit(zoo_of(frozen, other, frozen), 8, normalisation=normalisation)
    tokens = 5 * torch.randn(tokenizer.num_tokens, 8, generator=torch.Generator().manual_seed(0))
    generated = tokenizer.decode(tokens)["x"]
    assert (generated - frozen).abs().max() < 1e-6 * 0.1


@pytest.mark.parametrize("normalisation", ["residual", "element"])
def test_tokens_of_what_varies_by_rounding_alone_are_small(normalisation):
    """One of a hundred networks differs in the last bit of one value, ten times the deviation over the zoo."""
    frozen = torch.linspace(-1, 1.99, 50)
    other = torch.cat((frozen[:-1], frozen[-1:].nextafter(torch.tensor(2.0))))
    zoo = zoo_of(*[frozen] * 99, other)
    tokenizer = ParameterTokenizer.fit(zoo, 8, normalisation=normalisation)
    for network in (zoo[0], zoo[-1]):
        tokens, _ = tokenizer.encode(network)
        assert tokens[1:].abs().max() <= 1  # the first is of the layer that varies
        assert tokenizer.decode(tokens)["x"].equal(network["x"])


def test_another_type_is_refused():
    tokenizer = ParameterTokenizer.fit(zoo_of(random(3).half(), c=torch.tensor(1)), 4)
    refused(
        lambda: tokenizer.encode(zoo_of(random(3).float(), c=torch.tensor(1))[0]), "'x' is of torch.float32, expected"
    )
    refused(
        lambda: tokenizer.encode(zoo_of(random(3).half(), c=torch.tensor(1.0))[0]), "'c' is of torch.float32, expected"
    )
    mixed = zoo_of(random(3).half(), random(3).bfloat16())
    refused(lambda: ParameterTokenizer.fit(mixed, 4), "checkpoint 1: 'x' is of torch.bfloat16")


class Tagged(torch.Tensor):
    pass


def test_plain_tensors_come_back_whatever_holds_them():
    weight = random(4, 3, seed=3).float()
    given = {
        "subclass": weight.as_subclass(Tagged),
        "count": torch.tensor(3).as_subclass(Tagged),
        "parameter": torch.nn.Parameter(weight.clone()),
        "expanded": weight[0].expand(5, 3),
        "strided": weight.t(),
        "negative bit": torch.complex(weight, weight + 1).conj().imag,
        "empty": weight[:0],
        "view of the first": weight.view(-1)[2:7],
    }
    assert given["negative bit"].is_neg()
    found = comes_back([given, {name: x if name == "count" else x.detach() + 1 for name, x in given.items()}])
    for name, x in given.items():
        assert type(found[0][name]) is torch.Tensor and not found[0][name].requires_grad
        torch.testing.assert_close(found[0][name], x.detach().as_subclass(torch.Tensor), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "arguments", [{"token_size": True}, {"token_size": 10**12}, {"slicing": ["layer"]}, {"slicing": None}]
)
def test_arguments_of_another_type_are_refused(arguments):
    refused(
        lambda: ParameterTokenizer.fit(zoo_of(random(3).float()), **{"token_size": 4, **arguments}),
        "token_size|unknown",
    )


@pytest.mark.parametrize("given", [None, 3, "a.pt", iter([{}]), {1: 2}.keys(), torch.nn.Linear(1, 1)])
def test_what_is_no_list_of_checkpoints_is_refused(given):
    refused(lambda: ParameterTokenizer.fit(given, 4), "fitted on a list of state dicts")


def test_rows_and_tokens_of_another_kind_are_refused():
    zoo = zoo_of(random(3).float())
    tokenizer = ParameterTokenizer.fit(zoo, 4)
    for rows in ([0], torch.tensor([2]), torch.tensor([-1]), torch.tensor([0.0]), torch.tensor(0)):
        refused(lambda rows=rows: tokenizer.encode_rows(zoo[0], rows), "rows are whole numbers")
    for tokens in ([[0.0] * 4], torch.zeros(2, 4, dtype=torch.int64), None):
        refused(lambda tokens=tokens: tokenizer.decode(tokens), "tokens are a tensor of floating-point numbers")
