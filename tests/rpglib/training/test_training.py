"""Training: it learns, resumes to the same weights, streams, averages, and runs in two processes."""

import copy
import dataclasses
import json
import math
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from random import Random

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from launch_training import MODEL, TRAIN, trained
from torch.nn.utils import parameters_to_vector
from torch.optim.optimizer import register_optimizer_step_pre_hook

from experiments.sweeps.memory import training_bytes
from rpglib.analysis.accuracy import accuracy, predictions
from rpglib.errors import InputError
from rpglib.model.denoiser import Denoiser
from rpglib.model.rpg import RPG
from rpglib.runtime.hardware import has_bf16
from rpglib.tokenizer import ParameterTokenizer
from rpglib.training import batches, loop
from rpglib.training.loop import TrainResult, rate, train
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import CollectConfig, collect
from rpglib.zoo.images import load_images

SHORT = dataclasses.replace(TRAIN, steps=7, save_every=2, ema=0.5)
EXACT = dataclasses.replace(SHORT, precision="fp32")


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


@pytest.fixture(scope="module")
def zoo_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo") / "zoo"


@pytest.fixture(scope="module")
def zoo(digits, zoo_folder):
    config = CollectConfig(epochs=4, finetune_learning_rate=3e-4, checkpoints=6)
    return collect(Architecture("cnn_digits", 10, 1, 8), digits, config, zoo_folder, progress=False)


def fresh(zoo, **changes):
    torch.manual_seed(0)
    config = dataclasses.replace(MODEL, **changes)
    return RPG(config, ParameterTokenizer.fit(zoo, 64, normalisation="residual"))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def loss_of_all(model, zoo):
    """The loss over all tokens at fixed steps and noise: single batches differ by more than a short training gains."""
    tokens = torch.stack([model.tokenizer.encode(checkpoint)[0] for checkpoint in zoo])
    generator = torch.Generator().manual_seed(0)
    t = torch.randint(model.config.diffusion_steps, (tokens.shape[0] * tokens.shape[1],), generator=generator)
    noise = torch.randn(len(t), tokens.shape[2], generator=generator)
    with torch.no_grad():  # on a copy: BatchNorm's statistics follow whatever passes in training mode
        copied = copy.deepcopy(model).train()
        return float(copied(tokens, model.tokenizer.mask, torch.arange(len(zoo)), t=t, noise=noise))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_captured_in_a_graph_a_step_is_the_same(zoo, monkeypatch, precision):
    config = dataclasses.replace(TRAIN, steps=30, precision=precision)
    losses, models = {}, {}
    for kind in ("graph", "plain"):
        if kind == "plain":
            monkeypatch.setattr(loop, "graphed", lambda model, batch, options, autocast: partial(model, **options))
        models[kind] = fresh(zoo)
        losses[kind] = train(models[kind], zoo, config, device="cuda", progress=False).losses
    assert losses["graph"] == pytest.approx(losses["plain"], rel=1e-3)
    statistics = [dict(model.named_buffers()) for model in models.values()]
    assert statistics[0].keys() == statistics[1].keys() and len(statistics[0]) > 1
    for name, x in statistics[0].items():
        torch.testing.assert_close(x, statistics[1][name], rtol=1e-2, atol=1e-2)


def mean_accuracy(networks, zoo, digits):
    return float(accuracy(predictions(zoo.build(), networks, digits.test.images), digits.test.labels).mean())


def test_the_loss_falls_and_the_networks_work(zoo, digits):
    model = fresh(zoo)
    before = loss_of_all(model, zoo)
    result = train(model, zoo, dataclasses.replace(TRAIN, steps=150), progress=False)
    assert len(result.losses) == 150 and min(result.seconds, result.processor_seconds) > 0
    assert loss_of_all(model, zoo) < 0.98 * before  # an untrained copy gives the very same number
    assert not model.training
    assert abs(mean_accuracy(model.generate(4, steps=10), zoo, digits) - float(zoo.accuracies.mean())) < 3


def test_two_runs_are_bitwise_equal_and_another_seed_is_not(zoo):
    models = [fresh(zoo) for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        train(model, zoo, dataclasses.replace(SHORT, seed=seed), progress=False)
    assert same(models[0], models[1]) and not same(models[0], models[2])


@pytest.mark.parametrize("stop", [0, 1, 2, 4, 6])
def test_killed_at_any_step_it_resumes_to_the_same_weights(zoo, tmp_path, stop):
    unbroken = fresh(zoo)
    losses = train(unbroken, zoo, SHORT, progress=False).losses

    def kill(step, model):
        if step == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(fresh(zoo), zoo, SHORT, tmp_path, progress=False, on_step=kill)
    saved = tmp_path / "training.pt"
    before = torch.load(saved)["result"] if saved.exists() else {"seconds": 0, "processor_seconds": 0}
    resumed = fresh(zoo)
    result = train(resumed, zoo, SHORT, tmp_path, progress=False)
    assert same(unbroken, resumed) and result.losses == losses
    assert all(getattr(result, name) >= before[name] for name in ("seconds", "processor_seconds"))


def test_an_interrupted_step_leaves_no_gradient_for_the_next_training(zoo):
    clean, left = fresh(zoo), fresh(zoo)
    for p in left.parameters():
        p.grad = torch.full_like(p, torch.nan)
    for model in (clean, left):
        train(model, zoo, dataclasses.replace(SHORT, steps=2), progress=False)
    assert same(clean, left)


@pytest.mark.parametrize("other", ["seed", "code", "tokenizer", "order", "task", "frozen", "another frozen", "middle"])
def test_state_of_another_run_is_set_aside(zoo, tmp_path, monkeypatch, other):
    def tasks(first):
        return Labelled(zoo, torch.stack([torch.arange(2)] * first + [1 - torch.arange(2)] * (6 - first)))

    short = dataclasses.replace(SHORT, steps=2)
    state, config, model, checkpoints = tmp_path / "training.pt", short, fresh(zoo), tasks(3)
    first = fresh(zoo)
    if other == "another frozen":
        first.recurrent.layers[0].requires_grad_(False)
        next(model.recurrent.layers[0].requires_grad_(False).parameters()).mul_(2)
    train(first, checkpoints, short, tmp_path, progress=False)
    left = state.read_bytes()
    if other == "seed":
        config = dataclasses.replace(short, seed=1)
    elif other == "code":
        monkeypatch.setattr("rpglib.training.loop._CODE", "other code")
    elif other == "tokenizer":
        model.tokenizer = ParameterTokenizer.fit(zoo, 64, normalisation="layer")
    elif other == "another frozen":
        pass
    elif other == "frozen":
        model.recurrent.layers[0].requires_grad_(False)
    elif other == "middle":  # the end of a tensor that is neither the first nor the last
        checkpoints = Labelled([dict(checkpoint) for checkpoint in zoo], checkpoints.tasks)
        last = checkpoints[5]
        name = max(last, key=lambda name: last[name].numel())
        assert min(last) < name < max(last) and last[name].numel() > 128
        last[name] = last[name].clone()
        last[name].view(-1)[-1] += 1e-3
    elif other == "order":
        checkpoints = Labelled(list(zoo)[::-1], checkpoints.tasks)
    else:
        checkpoints = tasks(2)
    unbroken = copy.deepcopy(model)
    said = "train.seed (0 -> 1)" if other == "seed" else "another "
    with pytest.warns(
        UserWarning, match=rf"training\.pt is of a run with .*{re.escape(said)}.*; it is now training\.a"
    ):
        train(model, checkpoints, config, tmp_path, progress=False)
    train(unbroken, checkpoints, config, progress=False)
    assert same(model, unbroken), "as from the start"
    (aside,) = tmp_path.glob("training.aside-*.pt")
    assert aside.read_bytes() == left
    if other == "seed":
        with pytest.warns(UserWarning, match="seed"):
            again = train(first, checkpoints, short, tmp_path, progress=False)
        assert (tmp_path / "training.pt").read_bytes() == left and len(again.losses) == short.steps, "taken up again"
        assert len([*tmp_path.glob("training.aside-*.pt")]) == 1, "neither is lost"


class Labelled(list):
    """Checkpoints of one run with other tasks than they were trained for."""

    def __init__(self, checkpoints, tasks):
        super().__init__(checkpoints)
        self.runs, self.tasks = torch.zeros(len(self), dtype=torch.int64), tasks


def test_checkpoints_of_any_type_have_a_fingerprint():
    def prints(x):
        return loop._fingerprint(Labelled([{"w": torch.ones(2), "x": x, "z": torch.ones(2)}], None))

    values = [torch.tensor(v) for v in (0.0, 1.0, True, 1, [], [1], [[1.0]])]
    values += [torch.ones(3, dtype=kind) for kind in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e8m0fnu)]
    values += [torch.arange(6).view(2, 3), torch.arange(6).view(2, 3).T, torch.arange(200), -torch.arange(200)]
    assert len({prints(x) for x in values}) == len(values)
    assert prints(torch.ones(3, 2).T) == prints(torch.ones(2, 3))


def test_one_flipped_bit_of_a_state_is_noticed(zoo, tmp_path):
    path, model, config, draw = tmp_path / "training.pt", fresh(zoo), dataclasses.replace(SHORT, steps=1), Random(0)
    identity = loop._identity(model, zoo, config, train(model, zoo, config, tmp_path, progress=False).precision)
    whole, trained, noticed = path.read_bytes(), copy.deepcopy(model.state_dict()), 0
    for k in range(60):
        content = bytearray(whole)
        # Small files hold names and sizes mostly; weights are in the middle.
        content[draw.randrange(len(content)) if k % 2 else len(content) // 2 + k] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        try:
            loop._resume(path, {"averaged": model}, TrainResult(), identity)
        except InputError as error:
            assert "delete it to start again" in str(error) and "\n" not in str(error)
            noticed += 1
        else:  # a bit that holds nothing, of the padding between weights
            assert all(x.equal(trained[name]) for name, x in model.state_dict().items())
    assert noticed > 40


def test_a_file_of_the_users_is_not_to_be_deleted(zoo, tmp_path):
    torch.save({"a": 1}, tmp_path / "training.pt")
    with pytest.raises(InputError, match=r"training\.pt is no state of a training; give another folder, or move"):
        train(fresh(zoo), zoo, SHORT, tmp_path, progress=False)
    assert torch.load(tmp_path / "training.pt") == {"a": 1}


def test_what_surrounds_a_training_is_left_as_it_was(zoo):
    """The caller's own Accelerator may be another one; no_grad and an error leave the model in evaluation mode."""
    model = fresh(zoo)
    with torch.no_grad():
        train(model, zoo, SHORT, progress=False)
        assert not torch.is_grad_enabled()
    assert Accelerator(mixed_precision="bf16", cpu=True).mixed_precision == "bf16"
    AcceleratorState._reset_state(True)

    def stop(step, model):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(model, zoo, SHORT, progress=False, on_step=stop)
    assert not model.training


def test_a_broken_state_is_refused(zoo, tmp_path):
    (tmp_path / "training.pt").write_bytes(b"broken")
    with pytest.raises(InputError, match="delete it to start again"):
        train(fresh(zoo), zoo, SHORT, tmp_path, progress=False)


def test_the_rate_rises_over_its_share_of_the_steps_and_falls_as_half_a_cosine():
    found = [rate(step, 100, 0.2) for step in range(100)]
    assert found[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert found[20:] == pytest.approx([math.cos(math.pi * k / 160) ** 2 for k in range(80)])
    assert [rate(step, 4, 0.0) for step in range(4)] == pytest.approx([1, 1, 0.75, 0.25]), "the first step rises always"
    assert rate(0, 1, 0.0) == rate(0, 1, 1.0) == 1 and [rate(step, 2, 1.0) for step in range(2)] == [0.5, 1]


@pytest.fixture
def steps_of():
    """Notes what an optimizer is given at each of its steps: by its settings, and the norm of its gradients."""
    seen = []

    def note(optimizer, *_):
        (group,) = optimizer.param_groups
        norm = torch.stack([p.grad.norm() for p in group["params"] if p.grad is not None]).norm()
        seen.append({"lr": group["lr"], "weight_decay": group["weight_decay"], "norm": float(norm)})

    handle = register_optimizer_step_pre_hook(note)
    yield seen
    handle.remove()


def test_each_step_has_its_rate_its_weight_decay_and_its_clipped_gradient(zoo, steps_of):
    config = dataclasses.replace(EXACT, steps=5, warmup=0.4, weight_decay=0.3, gradient_clip=1e-3)
    train(fresh(zoo), zoo, config, device="cpu", progress=False)
    assert [x["lr"] for x in steps_of] == pytest.approx([TRAIN.learning_rate * rate(k, 5, 0.4) for k in range(5)])
    assert {x["weight_decay"] for x in steps_of} == {0.3}
    assert [x["norm"] for x in steps_of] == pytest.approx([1e-3] * 5, rel=1e-2)


def test_training_is_the_loop_written_out(zoo):
    config = dataclasses.replace(EXACT, steps=4, warmup=0.5, gradient_clip=0.3, weighting="token", prototype_loss=0.7)
    start = fresh(zoo, prediction="sample", prototype_skip=True)
    model, hand = copy.deepcopy(start), copy.deepcopy(start).train()
    losses = train(model, zoo, config, device="cpu", progress=False).losses
    optimizer = torch.optim.AdamW(hand.parameters(), weight_decay=config.weight_decay)
    batch, expected = loop.batches_of(hand, zoo, config), []
    average = parameters_to_vector(hand.parameters()).detach()
    for step in range(4):
        optimizer.zero_grad()
        loss = hand(mask=hand.tokenizer.mask, weighting="token", prototype_loss=0.7, **batch(step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(hand.parameters(), 0.3)
        optimizer.param_groups[0]["lr"] = config.learning_rate * rate(step, 4, 0.5)
        optimizer.step()
        expected.append(float(loss.detach()))
        now = parameters_to_vector(hand.parameters()).detach()
        decay = min(0.5, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * now
    assert losses == pytest.approx(expected, rel=1e-4)
    # AdamW makes full steps of gradients that are nothing but rounding, so single weights may differ.
    found, before = (parameters_to_vector(x.parameters()).detach() for x in (model, start))
    assert (found - average).norm() < 0.01 * (found - before).norm()


def test_a_process_draws_batches_of_its_own(zoo, monkeypatch):
    losses = []
    for process in (0, 1):
        monkeypatch.setattr(Accelerator, "process_index", process)
        losses += train(fresh(zoo), zoo, dataclasses.replace(EXACT, steps=1), device="cpu", progress=False).losses
        model = fresh(zoo).train()
        batch = loop.batches_of(model, zoo, EXACT, process=process)(0)
        assert losses[-1] == pytest.approx(float(model(mask=model.tokenizer.mask, **batch).detach()), rel=1e-4)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_a_gradient_that_is_not_finite_ends_the_training_before_it_spoils_a_weight(zoo):
    model = fresh(zoo)
    before = copy.deepcopy(model)
    model.denoiser.condi_embedder.bias.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(InputError, match="gradient is not finite at step 0"):
        train(model, zoo, EXACT, device="cpu", progress=False)
    assert all(x.equal(y) for x, y in zip(model.parameters(), before.parameters(), strict=True))


def test_the_state_is_saved_at_its_interval_and_at_the_end(zoo, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(loop, "_save", lambda path, state: saved.append((path, state["step"])))
    train(fresh(zoo), zoo, dataclasses.replace(EXACT, save_every=3), tmp_path, device="cpu", progress=False)
    assert saved == [(tmp_path / "training.pt", step) for step in (3, 6, 7)]


def test_seconds_go_on_from_those_of_the_interrupted_part(zoo, tmp_path):
    config = dataclasses.replace(EXACT, steps=3)

    def stop(step, model):
        if step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(fresh(zoo), zoo, config, tmp_path, device="cpu", progress=False, on_step=stop)
    state = torch.load(tmp_path / "training.pt")
    state["result"] |= {"seconds": 1e6, "processor_seconds": 2e6}
    torch.save(state, tmp_path / "training.pt")
    result = train(fresh(zoo), zoo, config, tmp_path, device="cpu", progress=False)
    assert 1e6 < result.seconds < 1e6 + 600 and 2e6 < result.processor_seconds < 2e6 + 600


def test_what_a_state_must_agree_in(zoo):
    """The same sizes and settings everywhere: of other checkpoints, statistics, precision, or for more processes."""
    model, own = fresh(zoo), loop._identity(fresh(zoo), zoo, EXACT, "fp32")
    assert loop._identity(model, zoo, EXACT, "fp32") == own
    assert loop._identity(model, zoo, EXACT, "fp32", 2) != own
    assert loop._identity(model, zoo, EXACT, "bf16") != own
    others = [{name: 2 * x for name, x in checkpoint.items()} for checkpoint in zoo]
    model.tokenizer = ParameterTokenizer.fit(others, 64, normalisation="residual")
    assert repr(model.tokenizer) == repr(fresh(zoo).tokenizer)
    assert loop._identity(model, zoo, EXACT, "fp32") != own


def test_a_state_of_more_processes_is_not_gone_on_with(zoo, tmp_path, monkeypatch):
    config = dataclasses.replace(EXACT, steps=1)
    with monkeypatch.context() as patch:
        patch.setattr(Accelerator, "num_processes", 2)
        train(fresh(zoo), zoo, config, tmp_path, device="cpu", progress=False)
    with pytest.warns(UserWarning, match="of a run with another processes"):
        train(fresh(zoo), zoo, config, tmp_path, device="cpu", progress=False)


def test_streaming_from_disk_gives_the_weights_of_the_cached_zoo(zoo, monkeypatch):
    cached, streamed = fresh(zoo), fresh(zoo)
    train(cached, zoo, SHORT, progress=False)
    monkeypatch.setattr(batches, "CACHED_VALUES", 0)
    train(streamed, zoo, SHORT, progress=False)
    assert same(cached, streamed)


def test_gradient_checkpointing_gives_the_same_weights_in_less_memory(zoo):
    kept, recomputed = fresh(zoo), fresh(zoo)
    config = dataclasses.replace(SHORT, gradient_checkpointing=True)
    assert training_bytes(recomputed, config) < 0.7 * training_bytes(kept, SHORT)
    train(kept, zoo, SHORT, progress=False)
    train(recomputed, zoo, config, progress=False)
    # BatchNorm's averages are among what is compared: a second pass must not move them.
    assert same(kept, recomputed)


@pytest.mark.parametrize("asked", [False, True])
def test_a_step_computes_again_what_it_is_asked_to(zoo, monkeypatch, asked):
    seen, forward = [], RPG.forward

    def noted(model, **options):
        seen.append(options["recompute"])
        return forward(model, **options)

    monkeypatch.setattr(RPG, "forward", noted)
    config = dataclasses.replace(EXACT, steps=2, gradient_checkpointing=asked)
    train(fresh(zoo), zoo, config, device="cpu", progress=False)
    assert seen == [asked] * 2


def test_bf16_runs_and_auto_asks_the_hardware(zoo):
    config = dataclasses.replace(SHORT, steps=2)
    assert train(fresh(zoo), zoo, dataclasses.replace(config, precision="bf16"), progress=False).precision == "bf16"
    expected = "bf16" if has_bf16(torch.device("cuda" if torch.cuda.is_available() else "cpu")) else "fp32"
    assert train(fresh(zoo), zoo, config, progress=False).precision == expected


def test_precision_of_one_training_does_not_reach_the_next(zoo):
    model = fresh(zoo)
    train(model, zoo, dataclasses.replace(SHORT, steps=1, precision="bf16"), progress=False)
    seen = []
    model.recurrent.layers[0].in_proj.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    train(model, zoo, dataclasses.replace(SHORT, steps=1, precision="fp32"), progress=False)
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("ema", [0.2, 0.9])
def test_averaged_weights_are_what_is_returned(zoo, ema):
    model = fresh(zoo)
    averages, names = copy.deepcopy(model.state_dict()), {name for name, _ in model.named_parameters()}

    def follow(step, model):
        decay = min(ema, (1 + step) / (10 + step))
        for name, x in model.state_dict().items():
            averages[name] = decay * averages[name] + (1 - decay) * x if name in names else x.clone()

    train(model, zoo, dataclasses.replace(SHORT, steps=4, ema=ema), progress=False, on_step=follow)
    assert any("running_var" in name for name in averages)
    for name, x in model.state_dict().items():
        torch.testing.assert_close(x, averages[name], msg=name)


@pytest.mark.parametrize("frozen", ["denoiser", "recurrent.layers.0", "denoiser.encoder_list.0"])
@pytest.mark.parametrize("diffusion", [True, False])
def test_what_the_caller_froze_stays_as_it_is(zoo, frozen, diffusion):
    model = fresh(zoo, prediction="sample", prototype_skip=True)
    part = model.get_submodule(frozen).requires_grad_(False)
    learns, before = [p.requires_grad for p in model.parameters()], copy.deepcopy(part).state_dict()
    denoiser = copy.deepcopy(dict(model.denoiser.named_parameters()))
    config = dataclasses.replace(SHORT, steps=2, prototype_loss=1.0, diffusion=diffusion)
    train(model, zoo, config, progress=False)
    assert [p.requires_grad for p in model.parameters()] == learns
    assert all(x.equal(before[name]) for name, x in part.state_dict().items()), "nor do BatchNorm's statistics move"
    moved = not all(x.equal(denoiser[name]) for name, x in model.denoiser.named_parameters())
    assert moved == (diffusion and frozen != "denoiser")


def test_a_denoiser_that_stays_at_zero_is_not_computed(zoo, monkeypatch):
    config = dataclasses.replace(SHORT, prototype_loss=1.0, diffusion=False)
    at_zero, learned, without = (fresh(zoo, prediction="sample", prototype_skip=True) for _ in range(3))
    with torch.no_grad():
        learned.denoiser.last.bias.fill_(0.1)
    computed = []
    monkeypatch.setattr(Denoiser, "at_zero", property(lambda self: False))
    losses = train(at_zero, zoo, config, progress=False).losses
    monkeypatch.undo()
    forward = Denoiser.forward
    monkeypatch.setattr(Denoiser, "forward", lambda self, *given: computed.append(1) or forward(self, *given))
    assert train(without, zoo, config, progress=False).losses == losses and not computed
    assert train(learned, zoo, config, progress=False).losses != losses and computed


def test_a_training_that_breaks_off_leaves_nothing_frozen(zoo):
    def stop(step, model):
        raise KeyboardInterrupt

    model = fresh(zoo, prediction="sample", prototype_skip=True)
    config = dataclasses.replace(SHORT, prototype_loss=1.0, diffusion=False)
    with pytest.raises(KeyboardInterrupt):
        train(model, zoo, config, progress=False, on_step=stop)
    assert all(p.requires_grad for p in model.denoiser.parameters())
    with pytest.raises(InputError, match="every part of this generator is frozen"):
        train(model.requires_grad_(False), zoo, SHORT, progress=False)


def test_permutation_by_run_and_tasks(zoo):
    with pytest.warns(UserWarning, match="the zoo has 1 permutation states .one per run., the generator 6"):
        assert trained(zoo, steps=1, permutation="run")
    with pytest.raises(InputError, match="set RPGConfig"):
        train(fresh(zoo, permutation_states=5), zoo, SHORT, progress=False)
    with pytest.raises(InputError, match="conditioned on 10 bits, the zoo has no tasks"):
        train(fresh(zoo, task_bits=10), zoo, SHORT, progress=False)


def test_a_loss_that_is_not_finite_ends_the_training(zoo):
    model = fresh(zoo)
    with torch.no_grad():
        model.denoiser.condi_embedder.bias.fill_(torch.nan)
    with pytest.raises(InputError, match="lower learning_rate"):
        train(model, zoo, SHORT, progress=False)


def test_bad_recipes():
    with pytest.raises(InputError, match="known: auto, fp32, bf16"):
        dataclasses.replace(TRAIN, precision="fp8")
    with pytest.raises(InputError, match="unknown weighting 'layer'; known: value, token"):
        dataclasses.replace(TRAIN, weighting="layer")
    with pytest.raises(InputError, match=r"TrainConfig.steps takes a whole number from 1 on, not 0"):
        dataclasses.replace(TRAIN, steps=0)


def test_weights_of_another_type_and_devices_that_are_none_are_told(zoo):
    for cast in ("double", "half", "bfloat16"):
        with pytest.raises(InputError, match=r"fp32, not in torch\.\w+; call model\.float\(\)"):
            train(getattr(fresh(zoo), cast)(), zoo, SHORT, device="cpu", progress=False)
    with pytest.raises(InputError, match="device 'nonsense' cannot be used here"):
        train(fresh(zoo), zoo, SHORT, device="nonsense", progress=False)


def test_prototype_loss_needs_the_skip_that_it_is_about(zoo):
    config = dataclasses.replace(SHORT, steps=1, prototype_loss=0.5)
    with pytest.raises(InputError, match="needs a generator with prototype_skip=True"):
        train(fresh(zoo), zoo, config, progress=False)
    assert train(fresh(zoo, prediction="sample", prototype_skip=True), zoo, config, progress=False).losses


def test_weighting_and_prototype_loss_reach_the_loss(zoo):
    def first_loss(**changes):
        model = fresh(zoo, prediction="sample", prototype_skip=True)
        return train(model, zoo, dataclasses.replace(SHORT, steps=1, **changes), progress=False).losses[0]

    plain = first_loss()
    assert first_loss(weighting="token") != plain and first_loss() == plain
    # The error of the prototypes counts as often as it is asked to.
    once, twice = (first_loss(prototype_loss=weight) for weight in (1.0, 2.0))
    assert once > plain and twice - plain == pytest.approx(2 * (once - plain), rel=1e-4)


def launch(how, zoo_folder, out, **changes):
    script = Path(__file__).parents[2] / "helpers" / "launch_training.py"
    # "--cpu" alone would want an MPI installation; these forms start two processes through torch.distributed.
    command = [sys.executable, "-m", "accelerate.commands.launch", *how, "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command += [str(script), str(zoo_folder), str(out), json.dumps(changes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    call = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert call.returncode == 0, call.stderr[-2000:]


def test_two_processes_train_to_the_accuracy_of_one(zoo, zoo_folder, digits, tmp_path):
    launch(["--multi_gpu"], zoo_folder, tmp_path / "out", seed=9)
    two = mean_accuracy(RPG.from_pretrained(tmp_path / "out").generate(4, steps=10), zoo, digits)
    one = torch.tensor([mean_accuracy(trained(zoo, seed).generate(4, steps=10), zoo, digits) for seed in range(3)])
    # Within the spread of seeds; half a point is two of the 360 test images.
    assert abs(two - float(one.mean())) <= max(3 * float(one.std()), 0.5)


def test_sharded_training_resumes_and_ends_as_the_unsharded(zoo, zoo_folder, tmp_path):
    wrap = ["--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP", "--fsdp_transformer_layer_cls_to_wrap", "Mamba2"]
    changes = {"steps": 6, "ema": 0.5, "save_every": 2, "gradient_checkpointing": True}
    launch(["--use_fsdp", "--fsdp_version", "2", *wrap], zoo_folder, tmp_path / "out", **changes)
    assert RPG.from_pretrained(tmp_path / "out").generate(1, steps=2)


def test_a_folder_that_cannot_be_written_is_told_before_the_first_step(zoo, tmp_path):
    (tmp_path / "taken").write_text("a file")
    steps = []
    with pytest.raises(InputError, match="taken") as caught:
        train(fresh(zoo), zoo, TRAIN, tmp_path / "taken", progress=False, on_step=lambda step, _: steps.append(step))
    assert not steps and "\n" not in str(caught.value)
