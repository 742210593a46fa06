"""The samplers: diffusers' schedulers as reference, and Gaussian data, whose samples are known in closed form."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from safetensors.torch import load_file

from rpglib.errors import InputError
from rpglib.model.diffusion import PREDICTIONS, NoiseSchedule
from rpglib.model.samplers import SAMPLERS, _path, ddim, ddpm, dpm_solver, timesteps

SCHEDULE = NoiseSchedule()
NAMES_THERE = {"epsilon": "epsilon", "sample": "sample", "velocity": "v_prediction"}
# clip_sample is diffusers' default and wrong for anything but images; the solver has no such switch.
THERE = {
    "ddpm": lambda **kw: DDPMScheduler(clip_sample=False, **kw),
    "ddim": lambda **kw: DDIMScheduler(clip_sample=False, **kw),
    "dpm++": lambda **kw: DPMSolverMultistepScheduler(**kw),
}


def noise_source(seed, shape=(5, 16)):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator)


NOISE = noise_source(0)()
WEIGHT = noise_source(1, (16, 16))() / 4


def denoise(x, t):
    """A denoiser that depends on the step and is far from right, so that every term of a sampler matters."""
    return torch.tanh(x @ WEIGHT) + t / 1000


def sampled_there(name, prediction, steps, spacing="trailing", **options):
    scheduler = THERE[name](
        beta_start=1e-4, beta_end=0.02, prediction_type=NAMES_THERE[prediction], timestep_spacing=spacing
    )
    scheduler.set_timesteps(steps)
    x = NOISE
    for t in scheduler.timesteps:
        x = scheduler.step(denoise(x, int(t)), t, x, **options).prev_sample
    return x


def assert_same(mine, theirs):
    torch.testing.assert_close(mine, theirs, atol=1e-4 * theirs.abs().max().item(), rtol=0)


# diffusers' DDIM lands beside its own grid where steps do not divide T: hence no 7 for it; see the next test.
STEPS = {"ddpm": (1, 2, 7, 20, 50, 100), "ddim": (1, 2, 20, 50, 100), "dpm++": (1, 2, 7, 20, 50, 100)}


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(("name", "steps"), [(name, steps) for name in SAMPLERS for steps in STEPS[name]])
def test_samplers_agree_with_diffusers(name, prediction, steps):
    mine = SAMPLERS[name](denoise, NOISE, SCHEDULE, steps=steps, prediction=prediction, draw_noise=noise_source(2))
    options = {} if name == "ddim" else {"generator": torch.Generator().manual_seed(2)}
    assert_same(mine, sampled_there(name, prediction, steps, **options))


def test_ddim_on_any_grid_is_the_first_order_solver():
    """DDIM is DPM-Solver++ of order one (Lu et al. 2022), which diffusers runs on the right grid."""
    scheduler = THERE["dpm++"](beta_start=1e-4, beta_end=0.02, timestep_spacing="trailing", solver_order=1)
    scheduler.set_timesteps(60)
    x = NOISE
    for t in scheduler.timesteps:
        x = scheduler.step(denoise(x, int(t)), t, x).prev_sample
    assert_same(ddim(denoise, NOISE, SCHEDULE, steps=60, prediction="epsilon"), x)


@pytest.mark.parametrize("eta", [0.3, 1.0])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_ddim_with_fresh_noise_agrees_with_diffusers(prediction, eta):
    options = {"steps": 20, "prediction": prediction}
    mine = ddim(denoise, NOISE, SCHEDULE, eta=eta, draw_noise=noise_source(2), **options)
    assert_same(mine, sampled_there("ddim", eta=eta, generator=torch.Generator().manual_seed(2), **options))


def test_ddim_with_leading_spacing_agrees_with_diffusers():
    mine = ddim(denoise, NOISE, SCHEDULE, steps=50, prediction="velocity", spacing="leading")
    assert_same(mine, sampled_there("ddim", "velocity", 50, spacing="leading"))


def test_ddim_with_eta_one_is_ddpm():
    options = {"steps": 30, "prediction": "sample"}
    one = ddim(denoise, NOISE, SCHEDULE, eta=1.0, draw_noise=noise_source(2), **options)
    assert torch.equal(one, ddpm(denoise, NOISE, SCHEDULE, draw_noise=noise_source(2), **options))


def test_ddpm_variance_is_the_released_codes():
    reference = load_file(Path(__file__).parents[2] / "fixtures" / "diffusion.safetensors")["ddpm.out.var_t400"]
    step = next(step for step in _path(SCHEDULE, 1000, "trailing") if step.t == 400)
    assert step.posterior_variance == pytest.approx(reference[0].item(), rel=1e-5)


class Gaussian:
    """Data N(mean, deviation^2) with its exact denoiser and the exact end of the probability-flow path."""

    mean, deviation = 3.0, 0.5

    def spread(self, t):
        left = SCHEDULE.alpha_bar[t].item()
        return math.sqrt(left), math.sqrt(left * self.deviation**2 + 1 - left)

    def predictor(self, prediction):
        def predict(x, t):
            signal, total = self.spread(t)
            noise = math.sqrt(1 - signal**2)
            centred = (x - signal * self.mean) / total**2
            sample, epsilon = self.mean + signal * self.deviation**2 * centred, noise * centred
            return {"epsilon": epsilon, "sample": sample, "velocity": signal * epsilon - noise * sample}[prediction]

        return predict

    def end(self, x):
        signal, total = self.spread(999)
        return self.mean + self.deviation * (x - signal * self.mean) / total


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_ddim_follows_the_exact_path_of_gaussian_data(prediction):
    data, x = Gaussian(), torch.linspace(-3, 3, 13, dtype=torch.float64)
    found = ddim(data.predictor(prediction), x, SCHEDULE, steps=1000, prediction=prediction)
    torch.testing.assert_close(found, data.end(x), atol=0.01, rtol=0)


def test_ddim_is_of_first_order_and_the_solver_is_better():
    """Twice the steps halve DDIM's error; the solver, at the same cost, is far below it."""
    data, x = Gaussian(), torch.tensor([2.0], dtype=torch.float64)

    def error(sampler, steps):
        found = sampler(data.predictor("epsilon"), x, SCHEDULE, steps=steps, prediction="epsilon")
        return (found - data.end(x)).abs().item()

    assert error(dpm_solver, 50) < error(ddim, 50) / 4
    assert error(ddim, 100) == pytest.approx(error(ddim, 50) / 2, rel=0.2)


def test_ddpm_draws_gaussian_data():
    data, shape = Gaussian(), (20_000,)
    draw = noise_source(3, shape)
    found = ddpm(data.predictor("epsilon"), draw(), SCHEDULE, steps=1000, prediction="epsilon", draw_noise=draw)
    assert found.mean().item() == pytest.approx(data.mean, abs=0.02)
    assert found.std().item() == pytest.approx(data.deviation, abs=0.02)


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_keep_shape_dtype_and_their_input(name):
    x = noise_source(4, (2, 3, 4, 5))().double()
    before = x.clone()
    found = SAMPLERS[name](
        lambda x, t: x, x, SCHEDULE, steps=5, prediction="epsilon", draw_noise=lambda: torch.zeros_like(x)
    )
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_denoiser_may_reuse_its_output_buffer(name):
    buffer = torch.empty_like(NOISE)
    options = {"steps": 10, "prediction": "sample"}
    reused = SAMPLERS[name](
        lambda x, t: buffer.copy_(denoise(x, t)), NOISE, SCHEDULE, draw_noise=noise_source(2), **options
    )
    assert torch.equal(reused, SAMPLERS[name](denoise, NOISE, SCHEDULE, draw_noise=noise_source(2), **options))


def test_only_samplers_with_fresh_noise_draw_any_and_none_at_the_end():
    drawn = []

    def draw():
        drawn.append(1)
        return torch.zeros_like(NOISE)

    counts = []
    for sampler in (ddpm, ddim, dpm_solver):
        sampler(denoise, NOISE, SCHEDULE, steps=10, prediction="sample", draw_noise=draw)
        counts.append(len(drawn))
    assert counts == [9, 9, 9]


def test_grids():
    assert timesteps(1000, 50) == list(range(999, 0, -20))
    assert timesteps(1000, 50, "leading") == list(range(980, -1, -20))
    assert timesteps(1000, 50, "reference") == list(range(981, 0, -20))
    assert len(timesteps(1000, 60, "reference")) == 63
    assert timesteps(10, 4) == [9, 7, 4, 1]


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_one_step_of_a_schedule_of_one_lands_on_the_clean_estimate(name):
    assert timesteps(1, 1) == timesteps(1, 1, "leading") == [0]
    asked = []
    found = SAMPLERS[name](
        lambda x, t: asked.append(t) or WEIGHT,
        noise_source(0, WEIGHT.shape)(),
        NoiseSchedule(steps=1),
        steps=1,
        prediction="sample",
        draw_noise=lambda: pytest.fail("the last step is free of noise"),
    )
    torch.testing.assert_close(found, WEIGHT)
    assert asked == [0]


@pytest.mark.parametrize("spacing", ["trailing", "leading", "reference"])
@pytest.mark.parametrize("T", [2, 7, 100, 1000])
def test_grids_descend_within_the_schedule(spacing, T):
    for steps in range(1, T // 2 + 1 if spacing == "reference" else T + 1):
        grid = timesteps(T, steps, spacing)
        assert all(a > b for a, b in pairwise(grid))
        assert 0 <= grid[-1] <= grid[0] < T
        assert spacing == "reference" or len(grid) == steps


def test_reference_path_ends_at_index_zero_and_the_others_at_clean_data():
    alpha_bar = SCHEDULE.alpha_bar.tolist()
    assert _path(SCHEDULE, 50, "reference")[-1] == (1, alpha_bar[1], alpha_bar[0])
    assert _path(SCHEDULE, 50, "trailing")[-1] == (19, alpha_bar[19], 1.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, r"must lie in 1\.\.1000 for trailing"),
        ({"steps": 1001}, "not 1001"),
        ({"steps": 501, "spacing": "reference"}, r"1\.\.500 for reference"),
        ({"spacing": "linear"}, "unknown spacing 'linear'; known: trailing, leading, reference"),
        ({"prediction": "x0"}, "unknown prediction 'x0'"),
        ({"eta": 0.5}, "needs draw_noise"),
        ({"eta": 2.0}, r"eta must lie in 0\.\.1, not 2"),
        ({"eta": -0.1}, r"eta must lie in 0\.\.1, not -0\.1"),
    ],
)
def test_mistakes_are_one_clear_line(options, words):
    with pytest.raises(InputError, match=words) as caught:
        ddim(denoise, NOISE, SCHEDULE, **{"steps": 10, "prediction": "epsilon"} | options)
    assert "\n" not in str(caught.value)


def test_ddpm_without_noise_is_an_error():
    with pytest.raises(InputError, match="needs draw_noise"):
        ddpm(denoise, NOISE, SCHEDULE, steps=10, prediction="epsilon", draw_noise=None)
