"""One generator for several architectures: what it shares, what each owns, depths that it has not seen, its files."""

import copy
from dataclasses import replace

import pytest
import torch

from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
from rpglib.model.rpg import RPG
from rpglib.model.several import SeveralRPG
from rpglib.tasks.conditions import Condition
from rpglib.tokenizer import ParameterTokenizer
from rpglib.tokenizer.several import Layout, kind_of, unseen
from rpglib.training.batches import Batches
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import CollectConfig, collect
from rpglib.zoo.images import load_images
from rpglib.zoo.store import Zoo

CONFIG = RPGConfig(token_size=64, widths=(32, 32), d_state=8, headdim=16, channels=(1, 4, 8, 4, 1))
NAMES = ("cnn_digits", "vit_small_digits_1", "vit_small_digits")
UNSEEN = Architecture("vit_small_digits_3", 10, 1, 8)


@pytest.fixture(scope="module")
def zoos():
    config, digits = CollectConfig(epochs=0, runs=2, checkpoints=2), load_images("digits")
    return [
        collect(Architecture(name, 10, 1, 8), digits, replace(config, seed=k), progress=False)
        for k, name in enumerate(NAMES)
    ]


@pytest.fixture(scope="module")
def layouts(zoos):
    return [Layout.fit(zoo, CONFIG.token_size) for zoo in zoos]


def generator(layouts, states=(4, 4, 4), **changes):
    torch.manual_seed(0)
    return SeveralRPG(replace(CONFIG, **changes), layouts, states)


def forward(model, zoo, layout, several=None):
    batch = Batches(model, zoo, batch_size=3, diffusion_batch=20, whole=True)(0)
    options = {"mask": layout.tokenizer.mask, "weighting": "token", "prototype_loss": 4.0}
    return several(layout.name, **batch, **options) if several is not None else model(**batch, **options)


def test_each_zoo_becomes_tokens_of_one_size_and_comes_back(zoos, layouts):
    for zoo, layout in zip(zoos, layouts, strict=True):
        tokens = layout.tokens(zoo)
        assert tokens.shape == (4, len(layout), 64)
        back = layout.tokenizer.decode(tokens[3])
        for name, x in zoo[3].items():
            if x.is_floating_point():
                torch.testing.assert_close(back[name], x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gate", [False, True])
def test_of_one_architecture_it_is_the_plain_generator_where_nothing_is_added_to_positions(zoos, layouts, gate):
    several = generator(layouts[:1], (4,), prototype_gate=gate)
    plain = RPG(replace(several.config, permutation_states=4), layouts[0].tokenizer)
    state = several.shared.state_dict()
    if gate:
        state["recurrent.gate"] = torch.ones_like(plain.state_dict()["recurrent.gate"])
    plain.load_state_dict(state)
    different = forward(plain, zoos[0], layouts[0], several)
    with torch.no_grad():
        for name, p in several.named_parameters():
            if not name.startswith("shared."):
                p.zero_()
    plain.load_state_dict(state)  # the statistics of its BatchNorm are as they were
    expected = forward(plain, zoos[0], layouts[0])
    assert not torch.isclose(different, expected, rtol=1e-4)
    torch.testing.assert_close(forward(plain, zoos[0], layouts[0], several), expected)


def test_its_loss_of_an_architecture_is_that_of_the_member(zoos, layouts):
    several = generator(layouts, prototype_gate=True)
    for zoo, layout in zip(zoos, layouts, strict=True):
        member = several.member(layout.name).train()
        torch.testing.assert_close(forward(member, zoo, layout, several.train()), forward(member, zoo, layout))


def test_what_one_architecture_learns_reaches_its_own_states_alone(zoos, layouts):
    several = generator(layouts)
    forward(several.member(NAMES[1]), zoos[1], layouts[1], several).backward()
    moved = several.shared.recurrent.permutation.weight.grad.abs().sum(1)
    assert (moved[:4] == 0).all() and (moved[4:8] > 0).sum() == 3 and (moved[8:] == 0).all()
    assert all(p.grad is not None for name, p in several.named_parameters() if name.startswith(("place", "network")))


def test_networks_of_every_architecture_load_and_two_of_one_name_are_alike(layouts):
    several = generator(layouts)
    for name in NAMES:
        networks = several.generate(1, name, steps=2, seed=3)
        Architecture(name, 10, 1, 8).build().load_state_dict(networks[0], strict=True)
        again = several.generate(1, Architecture(name, 10, 1, 8), steps=2, seed=3)[0]
        assert all(x.equal(again[key]) for key, x in networks[0].items())
    assert {*several.generate(1, steps=2)[0]} == {*layouts[0].tokenizer.names}


def test_a_depth_without_a_zoo_is_written_by_the_states_of_the_nearest(layouts):
    several = generator(layouts)
    network = several.generate(1, UNSEEN, steps=2)[0]
    UNSEEN.build().load_state_dict(network, strict=True)
    states = several.member(UNSEEN).recurrent.permutation.weight
    assert states.equal(several.shared.recurrent.permutation.weight[8:])  # two blocks are nearer to three than one
    # The first tensors are normalised as those of the other depths, in the mean.
    known = [layout.tokenizer for layout in layouts[1:]]
    found = several.layout(UNSEEN).tokenizer
    torch.testing.assert_close(found.scale[0], (known[0].scale[0] + known[1].scale[0]) / 2)


def test_no_weight_belongs_to_single_tokens(layouts):
    several = generator(layouts, prototype_gate=True)
    assert all(len(layout) not in p.shape for layout in layouts for p in several.parameters())
    assert "shared.recurrent.gate" not in several.state_dict()


def test_a_member_is_a_generator_of_its_own(layouts, tmp_path):
    several = generator(layouts)
    several.member(NAMES[2]).save_pretrained(tmp_path)
    written = RPG.from_pretrained(tmp_path).generate(2, steps=2, seed=1)
    for one, other in zip(written, several.generate(2, NAMES[2], steps=2, seed=1), strict=True):
        assert all(x.equal(other[key]) for key, x in one.items())


def test_a_generator_comes_back_from_its_files(layouts, tmp_path):
    several = generator(layouts, prototype_gate=True)
    assert several.save_pretrained(tmp_path / "a") == several.save_pretrained(tmp_path / "b")
    back = SeveralRPG.from_pretrained(tmp_path / "a")
    assert back.config == several.config and back.states == several.states
    for asked in (NAMES[1], UNSEEN):
        one, other = (model.generate(1, asked, steps=2)[0] for model in (several, back))
        assert all(x.equal(other[key]) for key, x in one.items())
    (tmp_path / "a" / "several-layout-1.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="damaged"):
        SeveralRPG.from_pretrained(tmp_path / "a")
    with pytest.raises(InputError, match="holds no several"):
        SeveralRPG.from_pretrained(tmp_path / "c")


def test_what_does_not_go_together_is_told_in_one_line(zoos, layouts):
    other = Layout(layouts[1].architecture, "digits", ParameterTokenizer.fit(zoos[1], 32))
    cases = [
        ("one size", lambda: generator([layouts[0], other], (4, 4))),
        ("another architecture", lambda: generator([layouts[0], layouts[0]], (4, 4))),
        ("one zoo at least", lambda: generator([], ())),
        ("same token_size", lambda: generator(layouts, token_size=32)),
        ("all or none", lambda: generator(layouts, (4, 0, 4))),
        ("states", lambda: generator(layouts, (4, 4))),
        ("permutation_states at 0", lambda: generator(layouts, permutation_states=3)),
        ("no tasks", lambda: generator(layouts, task_bits=3)),
        ("no tasks", lambda: generator(layouts, conditions=(Condition("noise", 0.0, 1.0),))),
        ("choose another", lambda: generator(layouts, position="learned")),
        ("choose another", lambda: generator(layouts, permutation="gated")),
        ("cnn_wide", lambda: generator(layouts).generate(1, "cnn_wide", steps=1)),
        ("tensor like", lambda: generator(layouts).generate(1, Architecture("cnn_digits_wide", 10, 1, 8), steps=1)),
        ("0 to 3", lambda: generator(layouts).generate(1, NAMES[1], permutation=[4], steps=1)),
        ("architecture takes", lambda: generator(layouts).layout(3)),
        ("learned on digits", lambda: generator(layouts).generate(1, NAMES[1], images="cifar10", steps=1)),
        ("slicing='layer'", lambda: replace(layouts[0], tokenizer=ParameterTokenizer.fit(zoos[0], 64, "flatten"))),
        ("not of vit", lambda: Layout.fit(replaced(zoos[0], architecture=zoos[1].architecture), 64)),
    ]
    for words, call in cases:
        with pytest.raises(InputError, match=words) as error:
            call()
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="is it this architecture"):
        layouts[0].tokens(zoos[1])


def replaced(zoo, networks=None, **changes):
    told = {"architecture": zoo.architecture, "images": zoo.images, "runs": zoo.runs, "accuracies": None} | changes
    return Zoo.from_checkpoints(networks or [*zoo], **told)


def test_two_tensors_of_one_block_are_of_two_kinds(zoos, layouts):
    kinds = layouts[1].kinds
    assert "blocks.#.norm1.weight, 1" in kinds and "blocks.#.norm2.weight, 1" in kinds
    assert kind_of(layouts[0].tokenizer.layers[0]) == "#.weight, 4"
    networks = [dict(network) for network in zoos[1]]
    for k, network in enumerate(networks):
        network["blocks.0.norm1.weight"] = torch.full_like(network["blocks.0.norm1.weight"], 6.0 + k)
        network["blocks.0.norm2.weight"] = torch.full_like(network["blocks.0.norm2.weight"], -4.0 - k)
    layout = Layout.fit(replaced(zoos[1], networks=networks), 64)
    found = unseen(UNSEEN, "digits", [layout]).tokenizer
    shifts = {layer.name: float(shift.mean()) for layer, shift in zip(found.layers, found.shift, strict=True)}
    assert shifts["blocks.2.norm1.weight"] == pytest.approx(7.5) and shifts["blocks.1.norm2.weight"] == pytest.approx(
        -5.5
    )


def test_tokens_of_a_long_tensor_are_told_apart(layouts):
    tokenizer = ParameterTokenizer.fit([{"weight": torch.randn(3000)} for _ in range(2)], 1)
    places = replace(layouts[0], tokenizer=tokenizer).places([])
    assert len(places.unique(dim=0)) == 3000


def test_an_unseen_architecture_decodes_variances_as_it_was_normalised(layouts):
    tokenizer = copy.deepcopy(layouts[0].tokenizer)
    tokenizer.layers = [replace(layer, offset=1e-7) if layer.log else layer for layer in tokenizer.layers]
    found = unseen(layouts[0].architecture, "digits", [replace(layouts[0], tokenizer=tokenizer)]).tokenizer
    assert {layer.offset for layer in found.layers if layer.log} == {1e-7}


def test_neither_random_numbers_nor_the_default_type_of_the_caller_matter(layouts):
    several = generator(layouts)
    expected = several.generate(1, UNSEEN, steps=1)[0]
    state = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        found = several.generate(1, UNSEEN, steps=1)[0]
    finally:
        torch.set_default_dtype(torch.float32)
    assert state.equal(torch.get_rng_state())
    assert all(x.equal(found[name]) for name, x in expected.items())


def test_states_of_an_unseen_architecture_are_those_of_its_data_set(layouts):
    layouts = [layouts[0], replace(layouts[1], images="other"), layouts[2]]
    torch.manual_seed(0)
    several = SeveralRPG(CONFIG, layouts, (2, 2, 3))
    assert several.member(Architecture("vit_small_digits_4", 10, 1, 8), images="other").config.permutation_states == 2
    assert several.member(Architecture("vit_small_digits_4", 10, 1, 8), images="digits").config.permutation_states == 3


def test_a_plain_generator_can_be_saved_beside_it(layouts, tmp_path):
    several = generator(layouts)
    several.save_pretrained(tmp_path)
    several.member(NAMES[0]).save_pretrained(tmp_path)
    SeveralRPG.from_pretrained(tmp_path)
    RPG.from_pretrained(tmp_path)


def test_without_states_all_networks_of_an_architecture_are_asked_for_alike(layouts):
    several = generator(layouts, (0, 0, 0))
    assert several.shared.recurrent.permutation is None
    assert len(several.generate(2, NAMES[1], steps=2)) == 2


def test_states_of_another_architecture_are_refused(zoos, layouts):
    model, layout = generator(layouts), layouts[0]
    tokens = torch.stack([layout.tokenizer.encode(zoos[0][k])[0] for k in (0, 1)])
    count = tokens.shape[0] * tokens.shape[1]
    options = {"mask": layout.tokenizer.mask, "t": torch.zeros(count, dtype=torch.int64)}
    options["noise"] = torch.randn(count, tokens.shape[2])
    model(layout.name, tokens, torch.tensor([0, 3]), **options)
    for states in ([4, 0], [-1, 0], [12, 0]):
        with pytest.raises(InputError, match=f"permutation states of {layout.name} are 0 to 3") as caught:
            model(layout.name, tokens, torch.tensor(states), **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="unknown architecture 'nobody'"):
        model("nobody", tokens, torch.tensor([0, 1]), **options)
