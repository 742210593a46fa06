"""IGPG on zoos of a few steps: codes, prior, layouts, files."""

from dataclasses import replace

import pytest
import torch

from rpglib.errors import InputError
from rpglib.igpg import prefix
from rpglib.igpg.codes import Codes, masked_error, usage
from rpglib.igpg.config import CodesTraining, IGPGConfig, PriorTraining
from rpglib.igpg.igpg import IGPG
from rpglib.igpg.prior import PREFIX
from rpglib.igpg.training import new_igpg, train_codes, train_prior
from rpglib.tokenizer.several import Layout, kind_of, unseen
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import CollectConfig, collect
from rpglib.zoo.images import Split, load_images

CONFIG = IGPGConfig(
    chunk=32, codes=16, codebook=16, code_width=2, code_hidden=64, width=32, layers=2, headdim=16, context=40
)


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


@pytest.fixture(scope="module")
def zoos(digits):
    config = CollectConfig(epochs=1, runs=2, checkpoints=2)
    names = ("cnn_digits", "vit_small_digits_1", "vit_small_digits")
    return [
        collect(Architecture(name, 10, 1, 8), digits, replace(config, seed=k), progress=False)
        for k, name in enumerate(names)
    ]


@pytest.fixture
def model(zoos, digits):
    return new_igpg(zoos, {"digits": digits}, CONFIG)


@pytest.fixture(scope="module")
def trained(zoos, digits):
    found = new_igpg(zoos, {"digits": digits}, CONFIG)
    train_codes(found, zoos, CodesTraining(steps=60, batch_size=96), progress=False)
    train_prior(found, zoos, PriorTraining(steps=3, batch_size=4), progress=False)
    return found


def test_layouts_cut_networks_of_several_architectures_into_chunks_and_back(zoos, model):
    for zoo, layout in zip(zoos, model.layouts.values(), strict=True):
        chunks = layout.tokens(zoo)
        assert chunks.shape == (4, len(layout), CONFIG.chunk)
        assert (chunks[:, ~layout.tokenizer.mask] == 0).all()
        back = layout.tokenizer.decode(chunks[1])
        for name, x in zoo[1].items():
            if x.is_floating_point():  # a counter is the first network's
                torch.testing.assert_close(back[name], x, rtol=1e-4, atol=1e-5)


def test_no_two_places_of_an_architecture_are_told_alike(model):
    for layout in model.layouts.values():
        places = layout.places(model.kinds)
        assert len(places) == len(layout) and len(places.unique(dim=0)) == len(places)


def test_a_tensor_of_another_depth_is_told_as_one_of_its_kind(model):
    shallow, deep = (model.layouts[name] for name in ("vit_small_digits_1", "vit_small_digits"))
    kinds = len(model.kinds)
    first = deep.kinds.index(kind_of(shallow.tokenizer.layers[2]))
    assert torch.equal(shallow.places(model.kinds)[5, :kinds].nonzero(), deep.places(model.kinds)[5, :kinds].nonzero())
    assert shallow.kinds[2] == deep.kinds[first]


def test_an_unseen_depth_takes_the_statistics_of_the_nearest_blocks(model):
    layouts = [model.layouts[name] for name in ("vit_small_digits_1", "vit_small_digits")]
    found = unseen(Architecture("vit_small_digits_3", 10, 1, 8), "digits", layouts).tokenizer
    own = {layer.name: k for k, layer in enumerate(found.layers)}
    known = layouts[1].tokenizer
    place = {layer.name: k for k, layer in enumerate(known.layers)}
    # The last of three blocks stands where the last of two does.
    assert torch.equal(found.scale[own["blocks.2.mlp.fc1.weight"]], known.scale[place["blocks.1.mlp.fc1.weight"]])
    assert found.num_tokens == len(layouts[1]) + len(layouts[1]) - len(layouts[0])


def test_of_a_tensor_like_none_that_is_known_there_is_no_layout(model):
    with pytest.raises(InputError, match="add a zoo"):
        unseen(Architecture("cnn_m", 10, 1, 8), "digits", [*model.layouts.values()])


@pytest.mark.parametrize(("quantiser", "reached"), [("nearest", 0.9), ("gumbel", 1.6)])
def test_codes_learn_what_they_stand_for(zoos, digits, quantiser, reached):
    def error(steps):
        model = new_igpg(zoos, {"digits": digits}, replace(CONFIG, quantiser=quantiser))
        found = train_codes(model, zoos, CodesTraining(steps=steps, batch_size=192, learning_rate=2e-3), progress=False)
        assert 1 <= found.usage["perplexity"] <= CONFIG.codebook and 0 <= found.usage["dead"] < 1
        layout = model.layouts["cnn_digits"]
        chunks, mask = layout.tokens(zoos[0]).flatten(0, 1), layout.tokenizer.mask.repeat(4, 1)
        return masked_error(model.codes.decode(model.codes.encode(chunks)), chunks, mask).item()

    # They begin as a product quantiser of rotated values, of four bits for two: 0.117 at best, were the values normal.
    assert 0.7 * 0.117 < (first := error(1)) < 1.1 * 0.117
    # A sample is noise that "gumbel" must learn to bear; until its temperature falls it is behind where it began.
    assert error(400) < reached * first


def test_padding_counts_nowhere():
    chunks, mask = torch.zeros(2, 4), torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0]]).bool()
    found = torch.tensor([[1.0, 2.0, 9.0, 9.0], [2.0, 9.0, 9.0, 9.0]])
    assert masked_error(found, chunks, mask).item() == pytest.approx((1 + 4 + 4) / 3)


def test_the_nearest_entry_is_chosen():
    torch.manual_seed(0)
    codes = Codes(CONFIG)
    chunks = torch.randn(5, CONFIG.chunk)
    distances = (codes.encodings(chunks)[:, :, None] - codes.codebook).square().sum(-1)
    assert torch.equal(codes.encode(chunks), distances.argmin(-1))


def test_perplexity_and_dead_entries_of_known_uses():
    even = torch.arange(8).repeat(3)[:, None].expand(-1, 2)
    assert usage(even, 8) == {"perplexity": pytest.approx(8), "dead": 0.0}
    assert usage(torch.zeros(5, 2, dtype=torch.int64), 8) == {"perplexity": pytest.approx(1), "dead": 7 / 8}


@pytest.mark.parametrize("wrong", [-1, 16])
def test_codes_beyond_the_codebook_are_refused(model, wrong):
    codes = torch.zeros(3, CONFIG.codes, dtype=torch.int64)
    codes[1, 2] = wrong
    layout = next(iter(model.layouts.values()))
    whole = codes[:1].expand(len(layout), -1).clone()
    whole[0, 0] = wrong
    for call in (model.codes.decode, lambda x: usage(x, 16), lambda x: model.decode(whole[None], layout)):
        with pytest.raises(InputError, match="numbers from 0 to 15"):
            call(codes)


def test_a_temperature_next_to_nothing_takes_the_likeliest_codes(trained):
    cold, coldest = (trained.generate_codes(2, temperature=t)[0] for t in (0, 1e-320))
    assert cold.equal(coldest)


def test_a_data_set_that_is_not_finite_is_refused(digits, model):
    dark = replace(digits, train=Split(digits.train.images * torch.nan, digits.train.labels))
    with pytest.raises(InputError, match="hold NaN or infinity"):
        model.generate(1, images=dark)


@pytest.mark.parametrize("context", [7, 1000])
def test_the_cache_writes_what_the_whole_sequence_says(zoos, digits, context):
    """Greedy codes, written one by one, are the likeliest of a pass over all of them, within the window and beyond."""
    model = new_igpg(zoos, {"digits": digits}, replace(CONFIG, context=context)).eval()
    for x in model.prior.parameters():  # logits that differ
        torch.nn.init.normal_(x, std=0.3, generator=torch.Generator().manual_seed(0))
    torch.nn.init.normal_(model.prior.entries, generator=torch.Generator().manual_seed(1))
    codes, identity, layout = model.generate_codes(3, "vit_small_digits_1", seed=1, temperature=0.0)
    places, images = layout.places(model.kinds), model.datasets["digits"]
    sentence = prefix.instruction(layout.name, "digits")
    text = prefix.text_features([sentence], "ngrams", CONFIG.text_features).expand(3, -1)
    with torch.no_grad():
        logits, _ = model.prior(codes, places, text, images, identity)
    assert len(layout) > 40 and (logits.argmax(-1) == codes).float().mean() > 0.999


def test_a_chunk_sees_its_window_and_nothing_after_it(zoos, digits):
    model = new_igpg(zoos, {"digits": digits}, replace(CONFIG, context=5, layers=1)).eval()
    layout = model.layouts["cnn_digits"]
    codes = torch.randint(16, (1, len(layout), CONFIG.codes), generator=torch.Generator().manual_seed(0))
    asked = (layout.places(model.kinds), torch.zeros(1, CONFIG.text_features), model.datasets["digits"])

    def logits(codes):
        with torch.no_grad():
            return model.prior(codes, *asked, torch.zeros(1, dtype=torch.int64))[0][0]

    torch.nn.init.normal_(model.prior.entries, generator=torch.Generator().manual_seed(1))
    changed = codes.clone()
    changed[:, 20] = (changed[:, 20] + 1) % 16
    differs = (logits(codes) - logits(changed)).abs().amax((1, 2)) > 1e-6
    # The codes of chunk 20 are read with chunk 21, which the four after it see, too.
    assert differs.nonzero().flatten().tolist() == [21, 22, 23, 24, 25]
    assert PREFIX == 4


def test_networks_do_not_depend_on_how_many_are_written(trained):
    one, three = (trained.generate(n, "cnn_digits", seed=4, temperature=1.0) for n in (1, 3))
    assert all(torch.equal(x, three[0][name]) for name, x in one[0].items())
    assert any(not torch.equal(x, three[1][name]) for name, x in three[0].items())


def test_every_step_of_the_prior_sees_every_architecture(zoos, model):
    before = model.prior.identity.weight.detach().clone()
    config = PriorTraining(steps=1, batch_size=1, weight_decay=0.0, forget=0.0)
    train_prior(model, zoos, config, progress=False)
    moved = (model.prior.identity.weight != before).any(1)[:-1]
    learned = [name for k, (name, _) in enumerate(model.identities) if moved[k]]
    assert learned == [*model.layouts]  # one network of each


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_prior_reads_a_share_of_chunks_as_random_codes(zoos, model, share):
    read = []
    hook = model.prior.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    train_prior(model, zoos, PriorTraining(steps=8, batch_size=4, corrupt=share), progress=False)
    hook.remove()
    true = [model.encode(zoo, layout) for zoo, layout in zip(zoos, model.layouts.values(), strict=True)]
    changed = []
    for k, codes in enumerate(read):
        # A corrupted chunk is none of any network's at its place; by chance codes agree in one of 16.
        known = (codes[:, None] == true[k % len(true)]).float().mean(-1).amax(1)
        changed.append((known < 1).float().mean().item())
    assert abs(sum(changed) / len(changed) - share) < 0.05


def test_a_prior_learns_two_networks_by_heart(zoos, digits):
    few = [zoo.subset([0, 2]) for zoo in zoos[:1]]
    model = new_igpg(few, {"digits": digits}, replace(CONFIG, chunk=128))
    train_codes(model, few, CodesTraining(steps=100, batch_size=64), progress=False)
    train_prior(model, few, PriorTraining(steps=200, batch_size=4, learning_rate=5e-3, forget=0.0), progress=False)
    known = model.encode(few[0], model.layouts["cnn_digits"])
    for k, run in enumerate(few[0].runs.tolist()):
        codes, *_ = model.generate_codes(1, "cnn_digits", run=run, temperature=0.0)
        same = (codes == known).float().mean((1, 2))
        assert same[k] > 0.9 and same.argmax() == k
        words = prefix.instruction("cnn_digits", "digits", run)
        chosen = model.generate_codes(8, "cnn_digits", words, temperature=0.0)[1]
        assert (chosen == k).float().mean() >= 0.75


def test_a_learned_architecture_is_given_identities_of_its_own(zoos, digits):
    model = new_igpg(zoos, {"digits": digits}, CONFIG).eval()
    own = [k for k, (name, _) in enumerate(model.identities) if name == "cnn_digits"]
    with torch.no_grad():
        model.prior.choose.bias.fill_(50.0)
        model.prior.choose.bias[own] = 0.0
    identities = model.generate_codes(8, "cnn_digits", temperature=0.0)[1].tolist()
    assert {*identities} <= {*own} and len({*identities}) > 1
    # One that was not learned has none.
    other = model.generate_codes(4, Architecture("vit_small_digits_3", 10, 1, 8), temperature=0.0)[1].tolist()
    assert not {*other} & {*own}


def test_saved_and_read_again_it_writes_the_same(trained, tmp_path):
    trained.save_pretrained(tmp_path / "mine")
    again = IGPG.from_pretrained(tmp_path / "mine")
    for architecture in ("cnn_digits", Architecture("vit_small_digits_3", 10, 1, 8)):
        a, b = (x.generate(2, architecture, seed=3) for x in (trained, again))
        assert all(torch.equal(x, b[1][name]) for name, x in a[1].items())


def test_a_held_out_depth_is_written_whole(trained):
    architecture = Architecture("vit_small_digits_3", 10, 1, 8)
    (network,) = trained.generate(1, architecture)
    architecture.build().load_state_dict(network)


def test_a_damaged_generator_is_refused_in_one_line(trained, tmp_path):
    trained.save_pretrained(tmp_path)
    (tmp_path / "igpg.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="damaged"):
        IGPG.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="save_pretrained"):
        IGPG.from_pretrained(tmp_path / "nothing")


def test_the_seed_decides_the_training(zoos, digits):
    def loss(seed):
        model = new_igpg(zoos, {"digits": digits}, CONFIG)
        train_codes(model, zoos, CodesTraining(steps=2, batch_size=16, seed=seed), progress=False)
        return train_prior(model, zoos, PriorTraining(steps=2, batch_size=2, seed=seed), progress=False).losses

    assert loss(0) == loss(0) != loss(1)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"architecture": "resnet"}, "unknown architecture"),
        ({"run": 7}, "was not learned"),
        ({"images": "mnist"}, "unknown data set"),
        ({"instruction": ""}, "an instruction is a sentence"),
        ({"temperature": -1.0}, "temperature"),
        ({"architecture": Architecture("cnn_m", 10, 1, 8)}, "add a zoo"),
    ],
)
def test_what_was_not_learned_is_refused_with_what_was(trained, asked, words):
    with pytest.raises(InputError, match=words):
        trained.generate(1, **asked)


def test_zoos_of_another_generator_are_refused(model, zoos):
    with pytest.raises(InputError, match="give its own"):
        train_prior(model, zoos[:1], PriorTraining(steps=1), progress=False)


def test_a_data_set_is_told_by_its_images(digits):
    other = load_images("synthetic")
    a, b = prefix.image_features(digits), prefix.image_features(other)
    assert a.shape == b.shape == (prefix.IMAGE_FEATURES,) and not torch.allclose(a, b)
    assert torch.equal(a, prefix.image_features(digits))


def test_instructions_are_told_apart_by_architecture_run_and_data_set():
    asked = [
        prefix.instruction(name, images, run) for name in ("cnn_digits", "cnn_s") for images in ("digits", "cifar10")
        for run in (None, 1, 2)
    ]  # fmt: skip
    found = prefix.text_features(asked, "ngrams", 512)
    alike = found @ found.T
    assert torch.allclose(alike.diagonal(), torch.ones(len(asked)))
    assert (alike - torch.eye(len(asked))).max() < 0.99


def test_a_text_encoder_that_is_not_at_hand_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the variable is read at its import
    with pytest.raises(InputError, match="leave text at 'ngrams'"):
        prefix.text_features(["a network"], "nobody/no-such-encoder", 8)


@pytest.mark.parametrize(
    "wrong", [{"chunk": 0}, {"codebook": 1}, {"quantiser": "hard"}, {"width": 30}, {"text": ""}, {"context": 1.5}]
)
def test_a_wrong_size_is_refused(wrong):
    with pytest.raises(InputError):
        replace(CONFIG, **wrong)


def test_layouts_need_a_zoo_that_knows_itself(zoos):
    from rpglib.zoo.store import Zoo

    bare = Zoo.from_checkpoints([zoos[0][0], zoos[0][1]], runs=[0, 0], accuracies=None)
    with pytest.raises(InputError, match="does not know its architecture"):
        Layout.fit(bare, 32)


@pytest.mark.parametrize("share", ["forget", "corrupt"])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(InputError, match=f"{share} is a share from 0 to 1, not 1.5"):
        PriorTraining(**{share: 1.5})
