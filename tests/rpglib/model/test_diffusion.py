"""The forward process: closed forms, the released code's tables, and diffusers' own arithmetic."""

import pickle
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file

from rpglib.errors import InputError
from rpglib.model.diffusion import PREDICTIONS, NoiseSchedule, epsilon_weights, sample_weights

SCHEDULE = NoiseSchedule()
EDGES = torch.tensor([0, 1, 400, 998, 999])


@pytest.fixture
def pair():
    """Clean tokens and noise (5, 3, 8) in float64."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(5, 3, 8, generator=generator, dtype=torch.float64) for _ in range(2)]


def test_rates_are_the_released_codes():
    reference = load_file(Path(__file__).parents[2] / "fixtures" / "diffusion.safetensors")
    for name in ("signal_rate", "noise_rate"):
        torch.testing.assert_close(
            getattr(SCHEDULE, name).float(), reference[f"diffusion.{name}"], atol=2e-6, rtol=0, msg=name
        )


def test_alpha_bar_is_the_product_of_one_minus_beta():
    schedule = NoiseSchedule(steps=3, beta_start=0.1, beta_end=0.3)
    expected = torch.tensor([0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.7], dtype=torch.float64)
    torch.testing.assert_close(schedule.alpha_bar, expected)
    torch.testing.assert_close(schedule.signal_rate**2 + schedule.noise_rate**2, torch.ones(3, dtype=torch.float64))


def test_a_schedule_may_have_one_step():
    schedule = NoiseSchedule(steps=1, beta_start=0.3, beta_end=0.3)
    torch.testing.assert_close(schedule.alpha_bar, torch.tensor([0.7], dtype=torch.float64))
    noisy = schedule.add_noise(torch.ones(2, 3), torch.ones(2, 3), torch.zeros(2, dtype=torch.int64))
    torch.testing.assert_close(noisy, torch.full((2, 3), 0.7**0.5 + 0.3**0.5))


def test_noise_is_added_to_each_sample_at_its_own_step(pair):
    clean, noise = pair
    noisy = SCHEDULE.add_noise(clean, noise, EDGES)
    for i, t in enumerate(EDGES.tolist()):
        left = SCHEDULE.alpha_bar[t]
        torch.testing.assert_close(noisy[i], left.sqrt() * clean[i] + (1 - left).sqrt() * noise[i])
        torch.testing.assert_close(noisy[i : i + 1], SCHEDULE.add_noise(clean[i : i + 1], noise[i : i + 1], t))


def test_forward_process_is_that_of_diffusers(pair):
    clean, noise = (tensor.float() for tensor in pair)
    theirs = DDPMScheduler(beta_start=1e-4, beta_end=0.02)
    torch.testing.assert_close(
        SCHEDULE.add_noise(clean, noise, EDGES), theirs.add_noise(clean, noise, EDGES), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        SCHEDULE.target(clean, noise, EDGES, "velocity"), theirs.get_velocity(clean, noise, EDGES), atol=1e-5, rtol=0
    )


def test_targets_differ_by_prediction(pair):
    clean, noise = pair
    assert SCHEDULE.target(clean, noise, EDGES, "epsilon") is noise
    assert SCHEDULE.target(clean, noise, EDGES, "sample") is clean


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("t", [EDGES, 0, 400, 999], ids=str)
def test_a_right_answer_gives_back_sample_and_noise(pair, prediction, t):
    clean, noise = pair
    noisy, answer = SCHEDULE.add_noise(clean, noise, t), SCHEDULE.target(clean, noise, t, prediction)
    for weights, wanted in ((sample_weights, clean), (epsilon_weights, noise)):
        of_x, of_output = weights(prediction, *SCHEDULE.rates(t, noisy))
        torch.testing.assert_close(of_x * noisy + of_output * answer, wanted, atol=1e-9, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_dtype_of_the_tokens_is_kept(pair, dtype):
    clean, noise = (tensor.to(dtype) for tensor in pair)
    assert SCHEDULE.add_noise(clean, noise, EDGES).dtype == dtype


def test_tables_first_used_while_generating_serve_training_later():
    schedule = NoiseSchedule(steps=7)  # a schedule that no other test uses, so that its tables are new
    clean = torch.ones(1, 2)
    with torch.inference_mode():
        schedule.add_noise(clean, clean, torch.tensor([3]))
    output = torch.ones(1, 2, requires_grad=True)
    schedule.add_noise(output, clean, torch.tensor([3])).sum().backward()
    assert output.grad.isfinite().all()


def test_tables_are_made_once_for_equal_schedules():
    assert NoiseSchedule(steps=9).alpha_bar is NoiseSchedule(steps=9).alpha_bar


def test_pickled_schedule_is_small_and_equal():
    assert SCHEDULE.alpha_bar.numel() == 1000
    packed = pickle.dumps(SCHEDULE)
    assert len(packed) < 300
    assert pickle.loads(packed) == SCHEDULE


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda x: NoiseSchedule(steps=0), "diffusion steps takes a whole number from 1 to 100,000, not 0"),
        (lambda x: NoiseSchedule(steps=10**12), "takes a whole number from 1 to 100,000, not 1000000000000"),
        (lambda x: NoiseSchedule(steps=True), "steps takes a whole number, not True"),
        (lambda x: NoiseSchedule(beta_start=1e-20), "no signal at the end or no noise at the start"),
        (lambda x: NoiseSchedule(beta_start=0.9, beta_end=0.99), "no signal at the end or no noise at the start"),
        (lambda x: NoiseSchedule(beta_start=0.0), "beta_start=0.0"),
        (lambda x: NoiseSchedule(beta_start=0.5, beta_end=0.1), "beta_end=0.1"),
        (lambda x: SCHEDULE.add_noise(x, x, 1000), r"1000 lies outside 0\.\.999"),
        (lambda x: SCHEDULE.add_noise(x, x, -1), "-1 lies outside"),
        (lambda x: SCHEDULE.target(x, x, 5, "noise"), "unknown prediction 'noise'; known: epsilon, sample, velocity"),
        (lambda x: sample_weights("x0", 0.6, 0.8), "unknown prediction"),
        (lambda x: epsilon_weights("x0", 0.6, 0.8), "unknown prediction"),
    ],
)
def test_mistakes_are_one_clear_line(mistake, words):
    with pytest.raises(InputError, match=words) as caught:
        mistake(torch.zeros(1, 2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rate", [0, 0.0, -0.1, 1.5, "1"])
def test_a_rate_is_above_zero_and_one_at_most(rate):
    for rates in ({"signal_rate": rate, "noise_rate": 0.5}, {"signal_rate": 0.5, "noise_rate": rate}):
        with pytest.raises(InputError):
            sample_weights("sample", **rates)
    assert sample_weights("sample", 1, 1) == sample_weights("sample", 1.0, 1.0) == (0.0, 1.0)
