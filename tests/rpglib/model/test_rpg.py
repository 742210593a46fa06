"""The generator: the same seed gives the same networks in every mode and after saving; bad arguments are told."""

import copy
import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rpglib.errors import InputError
from rpglib.model import recompute, rpg
from rpglib.model.config import PRESETS, RECURRENCES, RPGConfig
from rpglib.model.diffusion import PREDICTIONS
from rpglib.model.recurrent import RecurrentModel
from rpglib.model.rpg import RPG
from rpglib.model.samplers import SAMPLERS
from rpglib.runtime.files import save_tensors, sha256, write_json
from rpglib.tasks.conditions import Condition
from rpglib.tokenizer import ParameterTokenizer
from rpglib.zoo.architectures import Architecture

CONFIG = RPGConfig(
    token_size=64,
    widths=(32, 32),
    d_state=8,
    headdim=16,
    channels=(1, 4, 8, 4, 1),
    permutation_states=3,
    prediction="epsilon",
    prototype_skip=False,
)


@pytest.fixture(scope="module")
def tokenizer():
    build = Architecture("cnn_digits", 10, 1, 8).build
    return ParameterTokenizer.fit([build().state_dict() for _ in range(3)], token_size=64)


def generator(tokenizer, **changes):
    """A generator far from its initial weights, with BatchNorm statistics that are not 0 and 1."""
    torch.manual_seed(0)
    model = RPG(dataclasses.replace(CONFIG, **changes), tokenizer)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape))
        for name, b in model.named_buffers():
            if name.endswith("running_mean"):
                b.normal_(0, 0.2)
            elif name.endswith("running_var"):
                b.uniform_(0.5, 2)
    return model.eval()


def largest_difference(a, b):
    """Largest difference of two lists of networks, relative where weights exceed 1 (untrained, they reach 200)."""
    return max(
        float((x[k].double() - y[k].double()).abs().max() / x[k].double().abs().max().clamp(min=1))
        for x, y in zip(a, b, strict=True)
        for k in x
    )


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm++"])
@pytest.mark.parametrize("prediction", ["epsilon", "sample", "velocity"])
def test_inference_modes_give_the_same_networks(tokenizer, sampler, prediction):
    model = generator(tokenizer, prediction=prediction)
    options = {"n": 3, "sampler": sampler, "steps": 6, "seed": 5}
    partial = model.generate(inference="partial", part=7, **options)
    assert largest_difference(partial, model.generate(inference="sequential", **options)) <= 1e-5
    assert largest_difference(partial, model.generate(inference="full", **options)) <= 1e-5
    one_by_one = [model.generate(sampler=sampler, steps=6, seed=5, first=i)[0] for i in range(3)]
    assert largest_difference(partial, one_by_one) <= 1e-5
    # The control: another seed must give other networks.
    assert largest_difference(partial, model.generate(**options | {"seed": 50})) > 1e-3


def test_saved_and_loaded_generator_writes_the_same_networks(tokenizer, tmp_path):
    model = generator(tokenizer, prediction="sample", prototype_skip=True, task_bits=4)
    options = {"n": 2, "task": [1, 0, 1, 1], "steps": 4}
    model.save_pretrained(tmp_path / "generator")
    assert {p.name for p in (tmp_path / "generator").iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.safetensors",
    }
    loaded = RPG.from_pretrained(tmp_path / "generator")
    assert loaded.config == model.config
    assert not any(part.training for part in loaded.modules()), "BatchNorm's statistics are those of the training"
    assert largest_difference(model.generate(**options), loaded.generate(**options)) == 0


def test_large_networks_are_generated_when_it_is_their_turn(tokenizer):
    model, turns = generator(tokenizer), []
    model.recurrent.layers[0].register_forward_hook(lambda *_: turns.append(len(turns)))
    options = {"n": 3, "steps": 2, "seed": 5, "part": tokenizer.num_tokens, "permutation": [0, 1, 2]}
    found = []
    for number, network in enumerate(model.generate_each(**options)):
        found.append(network)
        assert turns == list(range(number + 1)), "no later network was begun"
    assert largest_difference(found, model.generate(**options)) == 0


def test_generating_leaves_the_mode_as_it_was(tokenizer):
    model = generator(tokenizer).train()
    model.generate(1, steps=2)
    assert model.training


@pytest.mark.parametrize("seed", [-5, 2**62])
def test_unusual_seeds_are_seeds_of_their_own(tokenizer, seed):
    model = generator(tokenizer)
    networks = model.generate(2, steps=2, seed=seed, permutation=[0, 0])
    assert largest_difference(networks[:1], networks[1:]) > 1e-3


def test_neighbouring_seeds_share_neither_noise_nor_states(tokenizer):
    model = generator(tokenizer)
    assert model.config.permutation_states < 10
    groups = [model.generate(4, steps=2, seed=seed, permutation=[0] * 4) for seed in range(3)]
    networks = [network for group in groups for network in group]
    for i, network in enumerate(networks):
        assert all(largest_difference([network], [other]) > 1e-3 for other in networks[:i])
    states = torch.stack([model.permutation_rows(None, 200, seed) for seed in range(3)])
    for a, b in ((0, 1), (1, 2)):
        assert (states[a, 1:] == states[b, :-1]).float().mean() < 0.6, "network i + 1 has what i of the next seed has"


def test_any_number_of_threads_draws_the_same_noise(monkeypatch):
    before, found, drew = torch.get_num_threads(), [], set()
    draw = rpg.TokenNoise._draw
    monkeypatch.setattr(rpg.TokenNoise, "_draw", lambda *given: drew.add(threading.get_ident()) or draw(*given))
    monkeypatch.setattr(rpg, "DRAWN_TOGETHER", 5 * 8)
    try:
        for threads in (1, 3, 8):
            torch.set_num_threads(threads)
            noise = rpg.TokenNoise(0, torch.tensor([0, 0, 1, 1, 2]), torch.arange(5), 8, torch.device("cpu"))
            found.append(torch.stack((noise(), noise())))
    finally:
        torch.set_num_threads(before)
    assert len(drew) > 1 and not found[0][0].equal(found[0][1])
    assert found[1].equal(found[0]) and found[2].equal(found[0])


def test_states_and_noise_are_drawn_from_streams_of_their_own(tokenizer, monkeypatch):
    keys, plain = [], rpg.stream
    monkeypatch.setattr(rpg, "stream", lambda *facts: keys.append(plain(*facts)) or keys[-1])
    generator(tokenizer).generate(3, steps=1)
    assert len(set(keys)) == 3 + 3


def test_large_networks_keep_the_tokens_memory_and_small_ones_none_but_their_own(tokenizer):
    model, block = generator(tokenizer), 4 * tokenizer.num_tokens * tokenizer.token_size
    options = {"steps": 1, "permutation": [0, 1]}
    alone = [network for network in model.generate_each(2, part=tokenizer.num_tokens, **options)]
    together = [network for network in model.generate_each(2, part=2 * tokenizer.num_tokens, **options)]
    for network in alone:
        assert block in {x.untyped_storage().nbytes() for x in network.values()}
    for network in together:
        assert all(x.untyped_storage().nbytes() == x.nbytes for x in network.values())
    assert largest_difference(alone, together) < 1e-5


@pytest.mark.parametrize(("sampler", "steps", "taken"), [("ddpm", 3, 3), ("ddim", 2, 2), ("ddim", 60, 40)])
def test_a_generator_samples_as_its_own_settings_say_unless_it_is_told(tokenizer, tmp_path, sampler, steps, taken):
    model = generator(tokenizer, sampler=sampler, sampling_steps=steps, diffusion_steps=40)
    model.save_pretrained(tmp_path)
    told = model.generate(1, sampler=sampler, steps=taken)
    assert largest_difference(model.generate(1), told) == 0
    assert largest_difference(RPG.from_pretrained(tmp_path).generate(1), told) == 0
    assert largest_difference(model.generate(1, steps=1), told) > 0


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_what_lies_beyond_the_real_values_is_zero_as_in_training(tokenizer, sampler, prediction):
    """Whatever the denoiser says there: in training, no loss ever reached it."""
    model = generator(tokenizer, prediction=prediction)
    (tokens,) = model.generate_tokens(1, sampler=sampler, steps=4)
    padding = ~tokenizer.mask
    assert padding.any() and tokens[padding].abs().max() < 1e-4 < tokens[~padding].abs().min() * 1e3


def test_generated_state_dicts_load_into_the_network(tokenizer):
    network = Architecture("cnn_digits", 10, 1, 8).build()
    network.load_state_dict(generator(tokenizer).generate(steps=2)[0])


def test_generation_leaves_the_global_random_state_alone(tokenizer):
    model = generator(tokenizer)
    before = torch.get_rng_state()
    model.generate(2, steps=2, sampler="ddpm")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_recurrences_are_causal_and_all_but_none_mix_tokens(tokenizer, recurrence):
    model = generator(tokenizer, recurrence=recurrence)
    with torch.no_grad():
        before = model.recurrent(1, torch.tensor([0]))
        model.recurrent.position[5] += 10
        after = model.recurrent(1, torch.tensor([0]))
    moved = (before - after).abs().amax((0, 2)) > 1e-6
    assert not moved[:5].any() and moved[5]
    assert bool(moved[6:].any()) == (recurrence != "none")


def test_task_reaches_every_token_or_the_head_alone(tokenizer):
    for conditioning, reached in (("all", 0), ("head", tokenizer.num_tokens - 8)):
        model = generator(tokenizer, task_bits=2, conditioning=conditioning)
        with torch.no_grad():
            one, two = (model.recurrent(1, torch.tensor([0]), torch.tensor([bits])) for bits in ([0, 1], [1, 0]))
        moved = (one - two).abs().amax((0, 2)) > 1e-7
        assert not moved[:reached].any() and moved[reached:].all()


def test_a_task_reaches_every_token_through_a_gate_of_that_token(tokenizer):
    """Without recurrence no token can pass the task on to the next."""
    model = generator(tokenizer, task_bits=3, recurrence="none")
    tasks = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 0, 1]])

    def moved():
        with torch.no_grad():
            one, *others = model.recurrent(3, torch.zeros(3, dtype=torch.int64), tasks)
        return [(one - other).abs().amax(1) > 1e-4 for other in others]

    assert all(tokens.all() for tokens in moved())
    with torch.no_grad():
        model.recurrent.task.gate[5] = 0
    assert all(tokens.logical_not().nonzero().flatten().tolist() == [5] for tokens in moved())


def test_each_token_has_a_gate_on_its_prototype(tokenizer, tmp_path):
    model = generator(tokenizer, prototype_gate=True)
    assert model.recurrent.gate.std() > 0.5 and generator(tokenizer).recurrent.gate is None
    state = torch.tensor([0, 1])
    with torch.no_grad():
        before = model.recurrent(2, state)
        model.recurrent.gate[5] *= 2
        after = model.recurrent(2, state)
        pieces, carried = [], []
        for rows in model.recurrent.pieces(7):
            pieces.append(model.recurrent.piece(2, state, None, rows, carried))
    assert after[:, 5].equal(2 * before[:, 5]) and (after != before).any(-1).any(0).nonzero().flatten().tolist() == [5]
    torch.testing.assert_close(torch.cat(pieces, 1), after, rtol=1e-4, atol=1e-5)
    model.save_pretrained(tmp_path)
    again = RPG.from_pretrained(tmp_path)
    assert largest_difference(model.generate(2, steps=2), again.generate(2, steps=2)) == 0
    whole, one = (model.generate(1, steps=2, inference=mode) for mode in ("full", "sequential"))
    assert largest_difference(whole, one) < 1e-4


def silent(tokenizer, **changes):
    """A generator that predicts clean tokens and whose denoiser says 0: what it says is its skip's, or nothing."""
    model = generator(tokenizer, prediction="sample", **changes)
    with torch.no_grad():
        for p in model.denoiser.decoder_list[-1].parameters():
            p.zero_()
    return model


def loss(model, tokens, **options):
    count = len(options["chosen"]) if "chosen" in options else tokens.shape[0] * tokens.shape[1]
    random = torch.Generator().manual_seed(0)
    options |= {"t": torch.randint(1000, (count,), generator=random)}
    options |= {"noise": torch.randn(count, tokens.shape[2], generator=random)}
    with torch.no_grad():
        return model(tokens, model.tokenizer.mask, torch.arange(len(tokens)), **options)


def mean_by_hand(errors, mask, weighting):
    """The mean of errors (N, L, D), in loops: over all real values, or over the means of tokens."""
    tokens = [e[m] for network in errors for e, m in zip(network, mask, strict=True)]
    return torch.cat(tokens).mean() if weighting == "value" else torch.stack([e.mean() for e in tokens]).mean()


@pytest.mark.parametrize("weighting", ["value", "token"])
def test_the_loss_counts_values_or_tokens(tokenizer, weighting):
    counts = tokenizer.mask.sum(1)
    assert counts.min() < counts.max(), "on tokens of equal numbers both weightings are the same"
    # Short tokens have the larger errors here.
    tokens = torch.randn(2, *tokenizer.mask.shape) * (64 / counts)[:, None]
    found = loss(silent(tokenizer), tokens, weighting=weighting)
    torch.testing.assert_close(found, mean_by_hand(tokens.square(), tokenizer.mask, weighting))


@pytest.mark.parametrize("weighting", ["value", "token"])
def test_prototype_loss_adds_the_error_of_the_skip_over_all_tokens(tokenizer, weighting):
    model = silent(tokenizer, prototype_skip=True)
    tokens = torch.randn(2, *tokenizer.mask.shape)
    options = {"weighting": weighting, "chosen": torch.tensor([5, 0, 9])}
    added = loss(model, tokens, prototype_loss=0.7, **options) - loss(model, tokens, **options)
    with torch.no_grad():
        said = model.skip(model.recurrent(2, torch.arange(2)))
    expected = 0.7 * mean_by_hand((said - tokens).square(), tokenizer.mask, weighting)
    torch.testing.assert_close(added, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_recomputation_is_of_every_layer_and_block_and_changes_nothing(tokenizer, monkeypatch, recurrence):
    again, plain = [], recompute.checkpoint
    monkeypatch.setattr(
        recompute, "checkpoint", lambda layer, *rest, **o: again.append(layer) or plain(layer, *rest, **o)
    )
    tokens, gradients, statistics = torch.randn(2, *tokenizer.mask.shape), [], []
    t, noise = torch.randint(1000, (tokens[..., 0].numel(),)), torch.randn(tokens.flatten(0, 1).shape)
    for recomputed in (False, True):
        model = generator(tokenizer, recurrence=recurrence).train()
        model(tokens, tokenizer.mask, torch.arange(2), t=t, noise=noise, recompute=recomputed).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
        statistics.append(list(model.buffers()))
        assert bool(again) == recomputed
    assert again == [*model.recurrent.layers, *model.denoiser.encoder_list, *model.denoiser.decoder_list]
    assert all(a.equal(b) for a, b in zip(*gradients, strict=True))
    assert all(a.equal(b) for a, b in zip(*statistics, strict=True)), "BatchNorm counts a batch once"


@pytest.mark.parametrize("channels", [CONFIG.channels, (1, 4, 1)])
@pytest.mark.parametrize("skip", [True, False])
def test_with_a_skip_the_denoiser_starts_by_changing_nothing(tokenizer, skip, channels):
    torch.manual_seed(0)
    model = RPG(dataclasses.replace(CONFIG, prediction="sample", prototype_skip=skip, channels=channels), tokenizer)
    noisy, prototypes = torch.randn(5, 64), torch.randn(5, 32)
    said = model.denoiser(noisy, torch.tensor([0, 1, 10, 500, 999]), prototypes)
    assert bool((said == 0).all()) == skip
    # It can leave that start.
    said.sum().backward()
    assert max(p.grad.abs().max() for p in model.denoiser.parameters() if p.grad is not None) > 0


def test_padding_never_enters_the_loss(tokenizer):
    model = generator(tokenizer)
    tokens = torch.randn(2, *tokenizer.mask.shape)
    state, t = torch.arange(2), torch.randint(1000, (2 * len(tokenizer.mask),))
    noise = torch.randn(len(t), tokenizer.token_size)

    def loss(mask):
        return model(tokens, mask, state, t=t, noise=noise)

    # Independent of the padding's targets: the squared error there is multiplied by the mask, not by a small weight.
    with torch.no_grad():
        full = loss(torch.ones_like(tokenizer.mask)) * tokenizer.mask.numel()
        real = loss(tokenizer.mask) * tokenizer.mask.sum()
        padding = loss(~tokenizer.mask) * (~tokenizer.mask).sum()
    assert torch.allclose(full, real + padding, rtol=1e-4)
    # A loss that ignored the mask would give both the same mean.
    assert not torch.allclose(real / tokenizer.mask.sum(), padding / (~tokenizer.mask).sum(), rtol=1e-3)


@pytest.mark.parametrize("position", ["2d", "1d", "learned"])
@pytest.mark.parametrize("permutation", ["learned", "fixed"])
def test_what_is_learned(tokenizer, position, permutation):
    trained = dict(generator(tokenizer, position=position, permutation=permutation).named_parameters())
    assert ("recurrent.position" in trained) == (position == "learned")
    assert trained["recurrent.permutation.weight"].requires_grad == (permutation == "learned")


def test_gated_states_differ_by_token_and_mix_as_others_do(tokenizer):
    model = generator(tokenizer, permutation="gated")
    assert all(p.requires_grad for p in model.recurrent.permutation.parameters())
    states = model.generate(3, steps=3, permutation=[2, 0, 1])
    assert largest_difference(states, model.generate(3, steps=3, mixture=torch.eye(3)[[2, 0, 1]])) < 1e-5
    assert largest_difference(states[:1], states[1:2]) > 1e-3
    # The state's part of two tokens is no multiple of each other.
    one, other = model.recurrent.permutation(torch.eye(3))[0, :2]
    assert torch.nn.functional.cosine_similarity(one, other, 0).abs() < 0.9
    (whole,) = model.generate_tokens(1, steps=3, permutation=[1], inference="full")
    (pieces,) = model.generate_tokens(1, steps=3, permutation=[1], part=5)
    torch.testing.assert_close(pieces, whole, rtol=1e-3, atol=1e-4 * float(whole.abs().max()))


def test_parameter_counts_of_the_presets():
    counts = {}
    for name, config in PRESETS.items():
        with torch.device("meta"):
            model = RPG.with_positions(config, torch.zeros(1, config.widths[0]))
        counts[name] = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (model.recurrent, model.denoiser)]
    expected = {"tiny": (0.83, 0.34), "small": (205, 34.8), "base": (814, 136), "large": (2638, 541)}
    for name, pair in expected.items():
        assert counts[name] == pytest.approx(pair, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampler": "euler"}, "unknown sampler 'euler'; known: ddpm, ddim, dpm"),
        ({"inference": "fast"}, "known: sequential, partial, full"),
        ({"steps": 0}, "sampling steps must lie in 1..1000"),
        ({"steps": 1001}, "sampling steps must lie in 1..1000"),
        ({"n": 0}, "n takes a whole number from 1 to 1,048,576, not 0"),
        ({"n": 2.0}, "n takes a whole number from 1 to 1,048,576, not 2.0"),
        ({"n": 10**12}, "n takes a whole number from 1 to 1,048,576, not 1000000000000"),
        ({"part": 0}, "part takes a whole number from 1 on, not 0"),
        ({"first": -1}, "first takes a whole number from 0 on, not -1"),
        ({"seed": None}, "seed takes a whole number, not None"),
        ({"seed": 1.5}, "seed takes a whole number, not 1.5"),
        ({"seed": True}, "seed takes a whole number, not True"),
        ({"permutation": [3]}, "numbers from 0 to 2"),
        ({"permutation": [0.5]}, "numbers from 0 to 2"),
        ({"permutation": [True]}, "numbers from 0 to 2"),
        ({"permutation": "first"}, "numbers from 0 to 2, not 'first'"),
        ({"permutation": [[0], [1, 2]]}, "numbers from 0 to 2"),
        ({"mixture": [[0.5, 0.6, 0.0]]}, "sum to one"),
        ({"mixture": [[1.5, -0.5, 0.0]]}, "not below zero"),
        ({"mixture": [[0.5, float("nan"), 0.5]]}, "not below zero"),
        ({"mixture": [[0.5, 0.5]]}, "1 rows of 3 weights, one per state"),
        ({"mixture": [0.5, 0.5, 0.0]}, "1 rows of 3 weights"),
        ({"mixture": [[0.25] * 4]}, "1 rows of 3 weights"),
        ({"mixture": "half"}, "1 rows of 3 weights"),
        ({"mixture": [[1.0, 0.0, 0.0]], "permutation": [0]}, "permutation= or mixture="),
        ({"steps": 2.5}, "sampling steps must lie in"),
        ({"steps": True}, "sampling steps must lie in"),
        ({"task": [1, 0]}, "trained without tasks"),
    ],
)
def test_bad_arguments_of_generate(tokenizer, arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        generator(tokenizer).generate(**arguments)
    assert "\n" not in str(caught.value)


BLUR = {"name": "blur", "low": 0, "high": 2}
CONDITIONS = (Condition("angle", -180, 180, "angle"), Condition(**BLUR))


@pytest.mark.parametrize("conditioning", ["all", "head", "sequence"])
def test_a_condition_decides_what_is_written(tokenizer, conditioning):
    model = generator(tokenizer, conditions=CONDITIONS, conditioning=conditioning)
    rows = torch.tensor([[30.0, 0.5], [30.0, 1.5], [-170.0, 0.5]])
    options = {"steps": 3, "permutation": [0, 0, 0]}
    found = model.generate(3, condition=rows, **options)
    one = model.generate(1, condition={"blur": 1.5, "angle": 390}, first=1, steps=3, permutation=[0])
    assert largest_difference(found[1:2], one) < 1e-5
    # The noise of the same networks is the same: what differs is the condition's.
    alike = model.generate(3, condition=rows[0].tolist(), **options)
    assert largest_difference(found[:1], alike[:1]) < 1e-5
    assert min(largest_difference(found[k : k + 1], alike[k : k + 1]) for k in (1, 2)) > 1e-3


def test_a_condition_is_asked_for_where_one_is_needed_and_checked(tokenizer):
    model = generator(tokenizer, conditions=CONDITIONS)
    for options, message in (
        ({}, "needs a condition; pass condition= with angle, blur"),
        ({"condition": [1.0]}, r"2 numbers \(angle, blur\)"),
        ({"condition": [0.0, float("nan")]}, "blur: nan is no finite number"),
        ({"condition": [0.0, 1.0], "task": [0, 1]}, "trained without tasks"),
        ({"condition": [0.0, 1.0], "guidance": 2.0}, "trained with RPGConfig.condition_dropout"),
    ):
        with pytest.raises(InputError, match=message):
            model.generate(1, **options)
    with pytest.raises(InputError, match="trained without conditions"):
        generator(tokenizer).generate(1, condition=[0.0, 1.0])
    with pytest.warns(UserWarning, match="blur: 2.5 is outside of 0 to 2") as seen:
        model.generate(1, condition=[0.0, 2.5], steps=2)
    assert seen[0].filename == __file__


@pytest.mark.parametrize("changes", [{"conditions": CONDITIONS}, {"task_bits": 2}])
@pytest.mark.parametrize("skip", [False, True])
def test_guidance_goes_from_what_is_written_without_a_condition_to_what_is_written_with_it(tokenizer, changes, skip):
    changes = changes | {"prediction": "sample", "prototype_skip": skip, "condition_dropout": 0.1}
    model = generator(tokenizer, **changes)
    asked = {"condition": [90.0, 1.0]} if "conditions" in changes else {"task": [0, 1]}
    options = {"steps": 1, "permutation": [1, 2]}

    def tokens(**more):
        return torch.stack(list(model.generate_tokens(2, **options, **more)))

    without, told = tokens(), tokens(**asked)
    assert (without - told).abs().max() > 1e-2
    # One step of a sampler is linear in the denoiser's output.
    for guidance in (0.0, 0.5, 3.0):
        found = tokens(**asked, guidance=guidance)
        torch.testing.assert_close(found, torch.lerp(without, told, guidance), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        tokens(**asked, guidance=3.0, part=3), tokens(**asked, guidance=3.0), rtol=1e-3, atol=1e-3
    )


def test_eta_and_temperature_scale_the_noise(tokenizer):
    model = generator(tokenizer, prediction="sample")

    def spread(**options):
        found = torch.stack(list(model.generate_tokens(6, steps=4, permutation=[0] * 6, **options)))
        return float(found.std(0).mean())

    assert spread(temperature=0.0) < 1e-6 < spread(temperature=0.5) < spread() < spread(temperature=2.0)
    options = {"n": 2, "steps": 4, "permutation": [0, 1]}
    assert largest_difference(model.generate(**options, eta=1.0), model.generate(**options, sampler="ddpm")) < 1e-5
    assert largest_difference(model.generate(**options, eta=0.5), model.generate(**options)) > 1e-4
    for wrong, message in (
        ({"eta": 0.5, "sampler": "ddpm"}, "eta is of the sampler 'ddim'"),
        ({"eta": 1.5}, "eta takes a finite number from 0 to 1"),
        ({"temperature": -1.0}, "temperature takes a finite number from 0 to"),
        ({"guidance": float("nan")}, "guidance takes a finite number"),
    ):
        with pytest.raises(InputError, match=message):
            model.generate(**options | wrong)


def test_conditions_are_kept_with_the_generator_and_older_files_have_none(tokenizer, tmp_path):
    model = generator(tokenizer, conditions=CONDITIONS, condition_dropout=0.1)
    model.save_pretrained(tmp_path / "told")
    assert RPG.from_pretrained(tmp_path / "told").config == model.config
    generator(tokenizer).save_pretrained(tmp_path / "plain")
    fields = json.loads((tmp_path / "plain" / "config.json").read_text())
    assert not {"conditions", "condition_dropout"} & fields.keys(), "as files were before there were conditions"
    assert RPG.from_pretrained(tmp_path / "plain").config.conditions == ()


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (None, "needs a task of 4 bits"),
        ([1, 0], "has 4 bits"),
        ([[1, 0], [1]], "all of one length"),
        ([1, 0, 2, 0], "0 or 1"),
        ([[1, 0, 1, 0]] * 3, "4 bits"),
        ([None, 0, 1, 0], "a task is 4 bits"),
        ("1010", "a task is 4 bits"),
        ([0, 0, 0, 0], "some classes but not all"),
        ([1, 1, 1, 1], "some classes but not all"),
        ([[1, 0, 1, 0], [0, 0, 0, 0]], "selects no class"),
    ],
)
def test_bad_tasks(tokenizer, task, message):
    with pytest.raises(InputError, match=message):
        generator(tokenizer, task_bits=4).generate(2, task=task)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"recurrence": "gru"}, "unknown recurrence"),
        ({"prediction": "x0"}, "unknown prediction"),
        ({"channels": (1, 4, 8, 2, 1)}, "back the same way"),
        ({"channels": (1, 4, 4, 1)}, "back the same way"),
        ({"kernel_size": 4}, "must be odd"),
        ({"widths": ()}, "at least one width"),
        ({"recurrence": "transformer", "widths": (200, 200)}, "change headdim"),
        ({"prediction": "velocity"}, "works with prediction='sample', not 'velocity'; set prototype_skip=False"),
        ({"conditions": CONDITIONS, "task_bits": 4}, "set task_bits or conditions, not both"),
        ({"conditions": [BLUR, BLUR]}, "two conditions have the name 'blur'"),
        ({"conditions": "blur"}, "RPGConfig.conditions takes a list of conditions"),
        ({"conditions": [{"name": "blur", "lowest": 0}]}, "RPGConfig.conditions takes conditions"),
        ({"condition_dropout": 0.1}, "with conditions or task_bits to leave out"),
        ({"task_bits": 4, "condition_dropout": 1.0}, "condition_dropout takes 0 to below 1"),
    ],
)
def test_bad_configurations(fields, message):
    with pytest.raises(InputError, match=message):
        RPGConfig(**fields)


def test_unknown_preset_and_sizes_that_do_not_fit(tokenizer):
    with pytest.raises(InputError, match="known: tiny, small, base, large"):
        RPGConfig.preset("huge")
    with pytest.raises(InputError, match="set both to the same token_size"):
        RPG(RPGConfig(), tokenizer)
    with pytest.raises(InputError, match="multiple of 4"):
        RPG(dataclasses.replace(CONFIG, widths=(30, 30), headdim=15), tokenizer)


@pytest.mark.parametrize("kernel", ["torch", "auto"])
@pytest.mark.parametrize(("cast", "tolerance"), [("double", 0.0), ("half", 0.02), ("bfloat16", 0.1)])
def test_a_generator_of_another_type_writes_the_same_networks(tokenizer, cast, tolerance, kernel):
    model = generator(tokenizer)
    options = {"n": 2, "steps": 4, "permutation": [0, 1], "kernel": kernel}
    expected = model.generate(**options)
    other = getattr(generator(tokenizer), cast)()
    found = other.generate(**options)
    assert largest_difference(found, expected) <= tolerance
    assert {x.dtype for x in found[0].values()} == {x.dtype for x in expected[0].values()}
    assert all(p.dtype == getattr(torch, cast) for p in other.parameters()), "it stays what it was"


CLAIMS = [
    {"widths": [32, 2**22]},
    {"widths": [32] * 900},
    {"d_state": 2**24},
    {"expand": 2**20},
    {"channels": [1, 2**23, 1]},
    {"channels": [1, *[8] * 901, 1]},
    {"permutation_states": 2**24},
    {"kernel_size": 2**23 + 1},
    {"expand": 2**24, "d_state": 2**24, "widths": [2**24, 2**24]},
]


def claimed(folder, **claim):
    """Write a configuration that makes these claims, and is of the time before there were digests to compare."""
    path = folder / "config.json"
    fields = {name: x for name, x in json.loads(path.read_text()).items() if name not in ("files", "digest")}
    path.write_text(json.dumps(fields | claim))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: " ".join(claim))
def test_sizes_that_the_weights_do_not_have_take_no_memory(tokenizer, tmp_path, monkeypatch, claim):
    generator(tokenizer).save_pretrained(tmp_path)
    claimed(tmp_path, **claim)
    monkeypatch.setattr(RPG, "__init__", lambda *_: pytest.fail("weights were made before they were compared"))
    with pytest.raises(InputError, match=r"does not hold this generator|does not fit into memory") as caught:
        RPG.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_more_tokens_than_the_weights_have_take_no_memory(tokenizer, tmp_path, monkeypatch):
    generator(tokenizer).save_pretrained(tmp_path)
    layer = dataclasses.replace(tokenizer.layers[0], shape=(2**40, 2))
    one = [torch.zeros(1)], [torch.ones(1)]
    claimed(tmp_path)
    ParameterTokenizer([layer], *one, [1.0], {}, {}, [layer.name], 64).save(tmp_path / "tokenizer.safetensors")
    monkeypatch.setattr(RPG, "__init__", lambda *_: pytest.fail("positions were made before they were compared"))
    with pytest.raises(InputError, match="does not hold this generator"):
        RPG.from_pretrained(tmp_path)


@pytest.mark.parametrize("change", [{"widths": (2**24, 2**24), "expand": 2**24}, {"widths": (2**20,)}])
def test_a_generator_that_no_memory_holds_is_one_line_before_it_takes_any(tokenizer, change, monkeypatch):
    monkeypatch.setattr("rpglib.model.rpg.position_embedding", lambda *_: pytest.fail("memory was taken"))
    with pytest.raises(InputError, match="does not fit into memory; lower its widths"):
        RPG(dataclasses.replace(CONFIG, **change), tokenizer)


def saved_before_digests(model, folder):
    """As generators were saved once: the weights say what they belong to, and nobody says what they are."""
    config = dataclasses.asdict(model.config)
    model.tokenizer.save(folder / "tokenizer.safetensors")
    belongs = {"config": json.dumps(config), "tokenizer": sha256(folder / "tokenizer.safetensors")}
    save_tensors(folder / "model.safetensors", model.state_dict(), {"format": "pt", **belongs})
    write_json(folder / "config.json", config)


def test_damaged_files_of_before(tokenizer, tmp_path):
    model = generator(tokenizer)
    saved_before_digests(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"colour": 1}))
    with pytest.raises(InputError, match="unknown fields"):
        RPG.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InputError, match="holds no names and values"):
        RPG.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "prediction"}))
    with pytest.raises(InputError, match="lacks the fields"):
        RPG.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"prediction": "velocity"}))
    with pytest.raises(InputError, match="mixes the files of two generators"):
        RPG.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"widths": [64, 64]}))
    with pytest.raises(InputError, match="does not hold this generator"):
        RPG.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match="does not hold this generator"):
        RPG.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="no folder with a generator"):
        RPG.from_pretrained(tmp_path / "absent")


def test_a_tokenizer_of_another_generator_is_refused_without_digests_too(tokenizer, tmp_path):
    saved_before_digests(generator(tokenizer), tmp_path)
    build = Architecture("cnn_digits", 10, 1, 8).build
    zoo = [{name: 2 * x for name, x in build().state_dict().items()} for _ in range(3)]
    ParameterTokenizer.fit(zoo, token_size=64).save(tmp_path / "tokenizer.safetensors")
    with pytest.raises(InputError, match="mixes the files of two generators"):
        RPG.from_pretrained(tmp_path)


def test_a_generator_of_before_is_read_and_gets_its_digest_by_a_save(tokenizer, tmp_path):
    model = generator(tokenizer)
    saved_before_digests(model, tmp_path)
    found, _, digest = RPG.read(tmp_path)
    assert digest is None and largest_difference(found.generate(1, steps=2), model.generate(1, steps=2)) == 0
    digest = found.save_pretrained(tmp_path)
    again, _, said = RPG.read(tmp_path)
    assert said == digest == model.save_pretrained(tmp_path / "other"), "of what it is, not of where or when"
    assert largest_difference(again.generate(1, steps=2), model.generate(1, steps=2)) == 0


@pytest.mark.parametrize("path", [1, None, b"x", "a\0b", [], object()])
def test_what_is_no_path_is_told(tokenizer, path):
    with pytest.raises(InputError, match="give its path as text or a Path, not") as caught:
        RPG.from_pretrained(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="give its path as text or a Path, not"):
        generator(tokenizer).save_pretrained(path)


@pytest.mark.parametrize("device", ["nonsense", "a\nb", None, [], torch.zeros(2)])
def test_what_is_no_device_is_told(tokenizer, tmp_path, device):
    generator(tokenizer).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="cannot be used here") as caught:
        RPG.from_pretrained(tmp_path, device)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.safetensors", "beside.safetensors"])
def test_one_flipped_bit_of_a_generator_is_noticed(tokenizer, tmp_path, name):
    generator(tokenizer).save_pretrained(tmp_path, {"beside.safetensors": {"x": torch.arange(9.0)}})
    path, draw = tmp_path / name, random.Random(0)
    whole = path.read_bytes()
    for _ in range(20):
        content = bytearray(whole)
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        try:
            RPG.read(tmp_path, companions=["beside.safetensors"])
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert name == "config.json" and json.loads(content) == json.loads(whole), "only a space became another"


def test_companions_are_of_one_save_with_their_generator(tokenizer, tmp_path):
    model, other = generator(tokenizer), generator(tokenizer, prediction="velocity")
    digest = model.save_pretrained(tmp_path, {"beside.safetensors": {"x": torch.arange(3)}})
    _, found, said = RPG.read(tmp_path, companions=["beside.safetensors"])
    assert said == digest and found["beside.safetensors"]["x"].tolist() == [0, 1, 2]
    one = torch.randn(3)
    model.save_pretrained(tmp_path / "tied", {"beside.safetensors": {"a": one, "b": one}})  # as generated ones may be
    found = RPG.read(tmp_path / "tied", companions=["beside.safetensors"])[1]["beside.safetensors"]
    assert found["a"].equal(one) and found["b"].equal(one)
    assert model.save_pretrained(tmp_path / "again", {"beside.safetensors": {"x": torch.arange(4)}}) != digest
    with torch.no_grad():
        other.denoiser.condi_embedder.bias.add_(1)
    other.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"names no beside\.safetensors"):
        RPG.read(tmp_path, companions=["beside.safetensors"])
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "again" / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"model\.safetensors is absent, damaged or of another save"):
        RPG.from_pretrained(tmp_path)
    for name in ("model.safetensors", "../x.safetensors", "x.json"):
        with pytest.raises(InputError, match="a companion has the name of a safetensors file of its own"):
            model.save_pretrained(tmp_path, {name: {}})


def test_a_save_that_fails_or_is_killed_leaves_the_old_generator(tokenizer, tmp_path, monkeypatch):
    old, new = generator(tokenizer), generator(tokenizer, prediction="velocity")
    with torch.no_grad():
        new.denoiser.condi_embedder.bias.add_(1)
    digest = old.save_pretrained(tmp_path)
    real = rpg.save_tensors

    def full(path, *rest):
        real(path, *rest)
        raise InputError(f"cannot write {path}: No space left on device; free space")

    monkeypatch.setattr(rpg, "save_tensors", full)
    with pytest.raises(InputError) as caught:
        new.save_pretrained(tmp_path)
    assert str(caught.value) == f"cannot write {tmp_path}/model.safetensors: No space left on device; free space"
    monkeypatch.setattr(rpg, "save_tensors", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    if (child := os.fork()) == 0:
        new.save_pretrained(tmp_path)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    found, _, said = RPG.read(tmp_path)
    assert said == digest and largest_difference(found.generate(1, steps=2), old.generate(1, steps=2)) == 0
    monkeypatch.undo()
    assert new.save_pretrained(tmp_path) == RPG.read(tmp_path)[2]
    names = ["config.json", "model.safetensors", "tokenizer.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names, "nothing is left of the killed save"


def test_two_processes_share_the_tokens(tokenizer, tmp_path):
    model = generator(tokenizer)
    model.save_pretrained(tmp_path / "generator")
    script = Path(__file__).parents[2] / "helpers" / "launch_generation.py"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command += [str(script), str(tmp_path / "generator"), str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    call = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert call.returncode == 0, call.stderr[-2000:]
    alone = model.generate(3, steps=3, part=10)
    for process in range(2):
        found = load_file(tmp_path / f"{process}.safetensors")
        for k, network in enumerate(alone):
            for name, x in network.items():
                torch.testing.assert_close(found[f"{k} {name}"], x, rtol=1e-4, atol=1e-4)


def test_sharing_needs_processes(tokenizer):
    with pytest.raises(InputError, match="accelerate launch"):
        generator(tokenizer).generate(1, steps=3, distributed=True)


@pytest.mark.parametrize("options", [{"kernel": "torch"}, {"precision": "fp32"}])
def test_options_of_speed_change_nothing_but_rounding(tokenizer, options):
    model = generator(tokenizer, prediction="velocity")
    for a, b in zip(model.generate(2, steps=5), model.generate(2, steps=5, **options), strict=True):
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-4)


def test_bf16_networks_are_near_fp32_networks(tokenizer):
    model = generator(tokenizer, prediction="velocity")
    exact, rounded = (torch.cat([*model.generate_tokens(1, steps=5, precision=p)]) for p in ("fp32", "bf16"))
    assert 0 < (exact - rounded).std() < 0.05 * exact.std()


def test_an_unknown_precision_is_told(tokenizer):
    with pytest.raises(InputError, match="unknown precision"):
        generator(tokenizer).generate(1, precision="int8")


@pytest.mark.parametrize("recurrence", RECURRENCES)
@pytest.mark.parametrize("changes", [{}, {"task_bits": 4}, {"task_bits": 4, "conditioning": "head"}])
def test_prototypes_come_in_pieces(tokenizer, recurrence, changes):
    model = generator(tokenizer, recurrence=recurrence, **changes).recurrent
    task = torch.tensor([[1.0, 0, 1, 0], [0, 0, 1, 1]]) if changes else None
    permutation, carried = torch.tensor([2, 0]), []
    found = [model.piece(2, permutation, task, rows, carried) for rows in model.pieces(16)]
    assert len(found) == (1 if recurrence == "transformer" else -(-len(model.position) // 16))
    torch.testing.assert_close(torch.cat(found, 1), model(2, permutation, task), rtol=1e-4, atol=1e-5)


def test_a_network_of_many_pieces_is_the_one_written_whole(tokenizer, monkeypatch):
    model = generator(tokenizer)
    (whole,) = model.generate_tokens(1, steps=3, inference="full")
    monkeypatch.setattr("rpglib.model.rpg.PIECE", 8)
    for part in (1, 5, 8, 11):
        (pieces,) = model.generate_tokens(1, steps=3, part=part)
        # Rounding is relative to the largest values on the way, not to each value at the end.
        torch.testing.assert_close(pieces, whole, rtol=1e-3, atol=1e-4 * float(whole.abs().max()))


@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_offloaded_weights_are_there_only_while_a_layer_computes(tokenizer, recurrence):
    model = generator(tokenizer, recurrence=recurrence)
    wanted = model.generate(2, steps=3)
    model.offload("cpu")
    for _ in range(2):
        assert all(x.is_meta for x in model.recurrent.layers.parameters())
        assert largest_difference(model.generate(2, steps=3), wanted) == 0


def test_a_mixture_of_one_state_is_that_state_and_of_two_lies_between(tokenizer):
    model = generator(tokenizer)
    states = model.generate(3, steps=3, permutation=[2, 0, 1])
    assert largest_difference(model.generate(3, steps=3, mixture=torch.eye(3)[[2, 0, 1]]), states) < 1e-5
    rows = [[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]]
    table = model.recurrent.permutation.weight
    between = model.recurrent(2, torch.tensor(rows))
    moved = copy.deepcopy(model.recurrent)
    with torch.no_grad():
        moved.permutation.weight[:2] = torch.tensor(rows) @ table
    torch.testing.assert_close(moved(2, torch.arange(2)), between, rtol=1e-5, atol=1e-6)
    # As many networks of one mixture differ by their noise alone.
    one, other = model.generate(2, steps=3, mixture=[rows[0]] * 2)
    assert largest_difference([one], [other]) > 0


def test_mixtures_need_states(tokenizer):
    with pytest.raises(InputError, match="without permutation states"):
        generator(tokenizer, permutation_states=0).generate(1, mixture=[[1.0]])


def test_what_training_asks_about_is_what_is_generated(tokenizer):
    model = generator(tokenizer, prediction="sample", prototype_skip=True)
    mixture = torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]])
    noise = torch.randn(2 * tokenizer.num_tokens, 64)
    with torch.no_grad():
        for p in (*model.denoiser.decoder_list[-1][0].parameters(),):
            p.zero_()
        # The denoiser that changes nothing: what is generated is the skip's word.
        t = torch.zeros(len(noise), dtype=torch.int64)
        for tokens in (model.written(mixture), model.written(mixture, noise, t)):
            assert (
                largest_difference([tokenizer.decode(x) for x in tokens], model.generate(2, steps=2, mixture=mixture))
                < 1e-4
            )
    assert model.written(mixture).requires_grad


def test_what_training_asks_about_has_no_more_than_noise_in_its_padding(tokenizer):
    model, seen = generator(tokenizer, prediction="sample", prototype_skip=True), []
    model.denoiser.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    noise, t = torch.randn(2 * tokenizer.num_tokens, 64), torch.arange(2 * tokenizer.num_tokens)
    model.written(torch.tensor([0, 1]), noise, t)
    padding = ~tokenizer.mask.repeat(2, 1)
    under_noise = model.config.schedule.add_noise(torch.zeros_like(noise), noise, t)
    assert seen[0][padding].equal(under_noise[padding]) and not seen[0][~padding].isclose(under_noise[~padding]).all()


def test_what_training_asks_for_a_condition_is_what_is_generated(tokenizer):
    changes = {"prediction": "sample", "prototype_skip": True, "conditions": CONDITIONS, "permutation_states": 0}
    model = generator(tokenizer, **changes)
    rows = torch.tensor([[90.0, 1.0], [0.0, 0.0]])
    with torch.no_grad():
        for p in model.denoiser.decoder_list[-1][0].parameters():
            p.zero_()
        tokens = model.written(task=model.config.features(rows))
    found = [tokenizer.decode(x) for x in tokens]
    assert largest_difference(found, model.generate(2, steps=2, condition=rows)) < 1e-4
    assert model.written(task=model.config.features(rows)).requires_grad


def test_prototypes_of_one_state_are_computed_once(tokenizer, monkeypatch):
    model, counts, piece = generator(tokenizer), [], RecurrentModel.piece
    monkeypatch.setattr(RecurrentModel, "piece", lambda self, n, *rest: counts.append(n) or piece(self, n, *rest))
    states = [1, 1, 1, 1, 1, 1, 2, 1, 0]
    found = model.generate(9, steps=3, permutation=states, part=3 * len(model.recurrent.position))
    assert counts == [1, 3]  # three networks at a time; the second three have the first three's state
    alone = [model.generate(1, steps=3, permutation=[state], first=i)[0] for i, state in enumerate(states)]
    assert largest_difference(found, alone) < 1e-4


def test_threads_share_the_tokens(tokenizer):
    model, before = generator(tokenizer), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(model.generate(2, steps=3, kernel="native"))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(largest_difference(other, found[0]) < 1e-5 for other in found[1:])


@pytest.mark.parametrize("path", ["nowhere", "./nowhere", "/no/where", "no/such/folder"])
def test_what_is_no_name_on_the_hub_is_not_asked_for_there(path):
    with pytest.raises(InputError, match="is no folder with a generator"):
        RPG.from_pretrained(path)


@pytest.mark.parametrize("tensors", [3, {"a": 1}, {1: torch.zeros(1)}])
def test_a_companion_is_a_dict_of_tensors(tokenizer, tmp_path, tensors):
    with pytest.raises(InputError, match=r"companion 'beside\.safetensors'"):
        generator(tokenizer).save_pretrained(tmp_path, {"beside.safetensors": tensors})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "asked",
    [
        {"task_bits": 3},
        {"conditions": (Condition("angle", -180, 180, "angle"), Condition("camera", 1, 4, "identity"))},
        {"conditions": (Condition("size", 0.0, 3e5), Condition("on", kind="bit")), "condition_dropout": 0.1},
    ],
)
def test_a_card_shows_how_this_generator_is_asked(tmp_path, asked):
    tokenizer = ParameterTokenizer.fit([{"w": torch.randn(3, 4)}, {"w": torch.randn(3, 4)}], 4)
    config = RPGConfig(token_size=4, widths=(8,), headdim=8, d_state=4, channels=(1, 2, 1), **asked)
    model, folder = RPG(config, tokenizer), tmp_path / "mine"
    model.save_pretrained(folder, card=model.card(str(folder)))
    (code,) = re.findall("```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    found = {}
    exec(code, found)
    assert len(found["networks"]) == 3
    named = [condition.name for condition in config.conditions] or ["3 bits"]
    assert all(name in (folder / "README.md").read_text() for name in named)


def test_a_card_stands_beside_the_files_and_is_no_part_of_them(tmp_path):
    tokenizer = ParameterTokenizer.fit([{"w": torch.randn(3, 4)}, {"w": torch.randn(3, 4)}], 4)
    model = RPG(RPGConfig(token_size=4, widths=(8,), headdim=8, d_state=4, channels=(1, 2, 1)), tokenizer)
    digest = model.save_pretrained(tmp_path, card="# Mine")
    assert (tmp_path / "README.md").read_text() == "# Mine"
    assert model.save_pretrained(tmp_path) == digest and (tmp_path / "README.md").exists()
    said = model.card("mine", "Of two.")
    assert "12 values in 1 tensors" in said and "Of two." in said and 'from_pretrained("mine").generate(3)' in said
    with pytest.raises(InputError, match="half a character"):
        model.save_pretrained(tmp_path / "new", card="\udcff")
    assert not (tmp_path / "new").exists()


def test_reading_and_generating_leave_random_numbers_and_modes_as_they_are(tokenizer, tmp_path):
    model = generator(tokenizer).train()
    model.denoiser.eval()
    model.save_pretrained(tmp_path)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    RPG.from_pretrained(tmp_path)
    model.generate(1, steps=1)
    assert torch.rand(1) == expected
    assert model.training and not model.denoiser.training


@pytest.mark.parametrize("kernel", ["torch", "native"])
def test_the_precision_that_is_asked_for_holds_in_a_programs_autocast(tokenizer, kernel):
    model = generator(tokenizer)
    alone = model.generate(2, steps=3, kernel=kernel)
    with torch.autocast("cpu", torch.bfloat16):
        assert largest_difference(model.generate(2, steps=3, kernel=kernel), alone) == 0


def test_what_an_older_generator_left_goes_and_what_is_the_users_stays(tokenizer, tmp_path):
    model = RPG(CONFIG, tokenizer)
    beside = {"measured.safetensors": {"a": torch.ones(2)}, "other.safetensors": {"a": torch.ones(3)}}
    model.save_pretrained(tmp_path, companions=beside, card=model.card("mine"))
    (tmp_path / "other.safetensors").write_text("mine now")
    model.save_pretrained(tmp_path)
    names = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert names == {"config.json", "model.safetensors", "tokenizer.safetensors", "other.safetensors"}
    (tmp_path / "README.md").write_text("# My project")
    model.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "# My project"


def test_a_file_is_no_folder_of_a_generator(tmp_path):
    (tmp_path / "0.pt").write_text("x")
    for path, words in ((tmp_path / "0.pt", "is a file; give the folder"), ("", "kept in a folder")):
        with pytest.raises(InputError, match=words):
            RPG.from_pretrained(path)
