"""The autoregressive decoder: what a token may depend on, feeding back, learning, seeds, and the error by hand."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from rpglib.baselines.autoregressive import (
    AutoregressiveConfig,
    AutoregressiveDecoder,
    error_along_sequence,
    fit_autoregressive,
    nearest_original,
)
from rpglib.errors import InputError
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training.loop import TrainConfig, rate

CONFIG = AutoregressiveConfig(width=32, layers=2, headdim=8, steps=200, batch_size=3, learning_rate=3e-3)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Networks(list):
    """Three networks of two layers that have nothing in common; their last tokens are padded."""

    def __init__(self):
        super().__init__({"a": random(5, 7, seed=i), "b": random(10, seed=9 + i)} for i in range(3))
        self.runs, self.tasks = torch.zeros(3, dtype=torch.int64), None


@pytest.fixture(scope="module")
def fitted():
    zoo = Networks()
    tokenizer = ParameterTokenizer.fit(zoo, 8)
    decoder, losses = fit_autoregressive(zoo, tokenizer, CONFIG, progress=False)
    originals = torch.stack([tokenizer.encode(network)[0] for network in zoo])
    return SimpleNamespace(zoo=zoo, tokenizer=tokenizer, decoder=decoder, losses=losses, originals=originals)


@pytest.fixture
def untrained(fitted):
    """Large noise, so that networks differ and every place counts."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        decoder = AutoregressiveDecoder(fitted.tokenizer.positions, fitted.tokenizer.mask, 3, CONFIG)
    decoder.residual.fill_(0.7)
    return decoder


@torch.no_grad()
def test_a_token_reaches_the_means_after_it_and_no_others(untrained):
    tokens, states = random(2, 7, 8), torch.tensor([0, 1])
    before = untrained(tokens, states)
    for place in range(7):
        changed = tokens.clone()
        changed[:, place] += 1
        difference = (untrained(changed, states) - before).abs().amax((0, 2))
        assert (difference[: place + 1] == 0).all() and (difference[place + 1 :] > 1e-4).all()


@torch.no_grad()
def test_a_mean_depends_on_the_place_and_on_the_permutation_state(untrained):
    untrained.start.copy_(untrained.embed.bias)  # so that what stands before is alike everywhere
    means = untrained(torch.zeros(2, 7, 8), torch.tensor([0, 1]))
    assert (means[0] - means[1]).abs().amax(1).min() > 1e-3
    assert torch.pdist(means[0]).min() > 1e-3


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_networks_fed_back_whole_come_out_again(untrained, temperature):
    tokens, states = untrained.generate(3, seed=4, temperature=temperature)
    again = untrained.teacher_forced(tokens, states, seed=4, temperature=temperature)
    torch.testing.assert_close(again, tokens)
    assert (tokens[:, ~untrained.mask] == 0).all() and (tokens[:, untrained.mask] != 0).all()


def test_the_noise_has_the_deviation_of_its_place_times_the_temperature(untrained):
    untrained.residual.copy_(torch.arange(1.0, 8.0))
    given, states = torch.zeros(400, 7, 8), torch.zeros(400, dtype=torch.int64)
    mean = untrained.teacher_forced(given, states, temperature=0.0)
    noise = (untrained.teacher_forced(given, states, temperature=0.5) - mean)[:, :, :2]  # two values are never padded
    torch.testing.assert_close(noise.std((0, 2)), 0.5 * untrained.residual, rtol=0.1, atol=0)


def test_the_decoder_learns_its_networks_by_heart_and_writes_them_again(fitted):
    assert fitted.losses[0] > 1 and fitted.losses[-1] < 1e-3
    tokens, _ = fitted.decoder.generate(3, torch.arange(3), temperature=0.0)
    assert nearest_original(tokens, fitted.originals, fitted.tokenizer.mask).tolist() == [0, 1, 2]
    assert error_along_sequence(tokens, fitted.originals, fitted.tokenizer.mask).max() < 0.05


@torch.no_grad()
def test_the_residual_is_the_error_of_the_trained_decoder_per_place(fitted):
    error = fitted.decoder(fitted.originals, torch.arange(3)) - fitted.originals
    for place, real in enumerate(fitted.tokenizer.mask):
        expected = error[:, place, real].square().mean().sqrt()
        torch.testing.assert_close(fitted.decoder.residual[place], expected, rtol=1e-3, atol=0)


def test_padding_does_not_enter_the_loss(fitted):
    config, real = dataclasses.replace(CONFIG, steps=1), fitted.tokenizer.mask
    _, losses = fit_autoregressive(fitted.zoo, fitted.tokenizer, config, progress=False)
    with torch.random.fork_rng():
        torch.manual_seed(CONFIG.seed)
        start = AutoregressiveDecoder(fitted.tokenizer.positions, real, 3, CONFIG)
    error = (start(fitted.originals, torch.arange(3)) - fitted.originals).detach()
    assert losses == pytest.approx([float(error[:, real].square().mean())], rel=1e-4)


def test_fitting_is_the_loop_written_out(fitted):
    config = dataclasses.replace(CONFIG, steps=4, batch_size=2)
    _, losses = fit_autoregressive(fitted.zoo, fitted.tokenizer, config, progress=False)
    real, draw = fitted.tokenizer.mask, torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        hand = AutoregressiveDecoder(fitted.tokenizer.positions, real, 3, config)
    optimizer, expected = torch.optim.AdamW(hand.parameters(), weight_decay=TrainConfig.weight_decay), []
    for step in range(4):
        rows = torch.randperm(3, generator=draw)[:2]
        optimizer.zero_grad()
        loss = (hand(fitted.originals[rows], rows) - fitted.originals[rows])[:, real].square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(hand.parameters(), TrainConfig.gradient_clip)
        optimizer.param_groups[0]["lr"] = config.learning_rate * rate(step, 4, TrainConfig.warmup)
        optimizer.step()
        expected.append(float(loss.detach()))
    assert losses == pytest.approx(expected, rel=1e-4)


def test_each_step_has_its_rate_its_weight_decay_and_its_clipped_gradient(fitted, monkeypatch):
    seen = []

    def note(optimizer, *_):
        (group,) = optimizer.param_groups
        norm = torch.stack([p.grad.norm() for p in group["params"]]).norm()
        seen.append((group["lr"], group["weight_decay"], float(norm)))

    monkeypatch.setattr(TrainConfig, "gradient_clip", 1e-3)
    monkeypatch.setattr(TrainConfig, "warmup", 0.4)
    handle = register_optimizer_step_pre_hook(note)
    try:
        fit_autoregressive(fitted.zoo, fitted.tokenizer, dataclasses.replace(CONFIG, steps=5), progress=False)
    finally:
        handle.remove()
    rates, decays, norms = zip(*seen, strict=True)
    assert rates == pytest.approx([CONFIG.learning_rate * rate(step, 5, 0.4) for step in range(5)])
    assert set(decays) == {TrainConfig.weight_decay} and norms == pytest.approx([1e-3] * 5, rel=1e-2)


def test_a_network_does_not_depend_on_how_many_are_generated(untrained):
    together, states = untrained.generate(4, seed=10)
    fewer, chosen = untrained.generate(2, seed=10)
    assert chosen.equal(states[:2])
    torch.testing.assert_close(fewer, together[:2])
    assert not untrained.generate(1, seed=11)[0].allclose(together[1:2]), "the next seed's first network is another"
    given, _ = untrained.generate(4, states, seed=10)
    assert given.equal(together), "the noise depends on who chose the states"
    assert torch.pdist(together.flatten(1)).min() > 1


def test_training_repeats_and_leaves_the_global_random_state(fitted):
    config = dataclasses.replace(CONFIG, steps=3, batch_size=2)
    torch.rand(1)  # a state that no seeding leaves behind
    state = torch.get_rng_state()
    first, losses = fit_autoregressive(fitted.zoo, fitted.tokenizer, config, progress=False)
    assert torch.get_rng_state().equal(state)
    torch.rand(1)
    second, again = fit_autoregressive(fitted.zoo, fitted.tokenizer, config, progress=False)
    assert losses == again
    assert all(a.equal(b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))
    other = fit_autoregressive(fitted.zoo, fitted.tokenizer, dataclasses.replace(config, seed=1), progress=False)[1]
    assert losses != other


def test_error_along_the_sequence_by_hand():
    mask = torch.tensor([[True, True], [True, False]])
    originals = torch.tensor([[[0.0, 0.0], [0.0, 9.0]], [[10.0, 10.0], [10.0, 50.0]]])
    # The first network's last token is nearer to the second original, as is its padding; as a whole it is the first's.
    generated = torch.tensor([[[1.0, 1.0], [8.0, 50.0]], [[13.0, 11.0], [10.0, 50.0]]])
    assert nearest_original(generated, originals, mask).tolist() == [0, 1]
    # Squares: (1 + 1 + 9 + 1) / 4 and (64 + 0) / 2; what stands in the padding does not count.
    expected = torch.tensor([3.0, 32.0]).sqrt()
    torch.testing.assert_close(error_along_sequence(generated, originals, mask), expected)
    # Squares of half precision, summed: more than it can hold.
    many, mask = torch.full((100, 1, 1024), 3.0).half(), torch.ones(1, 1024, dtype=torch.bool)
    assert error_along_sequence(many, torch.zeros(1, 1, 1024).half(), mask).tolist() == [3.0]


def test_the_nearest_original_is_found_among_large_networks_that_hardly_differ():
    base = 1000 * random(1, 3000, 1)
    originals = base + 1e-3 * random(30, 3000, 1, seed=1)
    found = nearest_original(originals.clone(), originals, torch.ones(3000, 1, dtype=torch.bool))
    assert found.equal(torch.arange(30))


@pytest.mark.parametrize("change", [{"steps": 0}, {"batch_size": 0}, {"layers": 0}, {"width": 36}])
def test_a_config_that_cannot_be_is_refused(change):
    with pytest.raises(InputError):
        dataclasses.replace(CONFIG, **change)


@pytest.mark.parametrize(
    "n, options",
    [
        (0, {}),
        (2, {"temperature": -1.0}),
        (2, {"permutation": torch.tensor([0])}),
        (2, {"permutation": torch.tensor([0, 3])}),
        (2, {"permutation": torch.tensor([-1, 0])}),
        (2, {"permutation": torch.tensor([0.0, 1.0])}),
    ],
)
def test_bad_arguments_of_generate_are_refused(untrained, n, options):
    with pytest.raises(InputError):
        untrained.generate(n, **options)


def test_a_loss_that_is_not_finite_is_refused(fitted):
    config = dataclasses.replace(CONFIG, steps=20, learning_rate=1e30)
    with pytest.raises(InputError, match="learning_rate"):
        fit_autoregressive(fitted.zoo, fitted.tokenizer, config, progress=False)
