"""Agreement with the outputs of the reference implementation, through files with the released key names."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rpglib.errors import InputError
from rpglib.model.official import read_official
from rpglib.model.samplers import ddim
from rpglib.tokenizer import ParameterTokenizer

FIXTURE = load_file(Path(__file__).parents[2] / "fixtures" / "generator.safetensors")
KINDS = ("unconditional", "task_head_only", "task_full_sequence")


def released(kind):
    """The state dict as the released code saves it: the denoiser three times under its aliases."""
    prefix = f"{kind}.state."
    state = {k.removeprefix(prefix): v for k, v in FIXTURE.items() if k.startswith(prefix)}
    for key in [k for k in state if k.startswith("criteria.net.")]:
        for alias in ("criteria.diffusion_trainer.model.", "criteria.diffusion_sampler.model."):
            state[alias + key.removeprefix("criteria.net.")] = state[key]
    state["criteria.diffusion_trainer.beta_t"] = torch.linspace(1e-4, 0.02, 1000)
    return state


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def model(kind, tmp_path):
    torch.save(released(kind), tmp_path / "released.pth")
    return read_official(tmp_path / "released.pth")


@torch.no_grad()
def test_prototypes(kind, model):
    if kind == "unconditional":
        found = model.recurrent(2, permutation=FIXTURE[f"{kind}.in.permutation"])
    else:
        found = model.recurrent(3, task=FIXTURE[f"{kind}.in.condition"])
    assert torch.allclose(found, FIXTURE[f"{kind}.out.prototypes"], atol=1e-4)


@torch.no_grad()
def test_denoiser(kind, model):
    prototypes = FIXTURE[f"{kind}.out.prototypes"].flatten(0, 1)
    found = model.denoiser(FIXTURE[f"{kind}.in.noisy_tokens"], FIXTURE[f"{kind}.in.timesteps"], prototypes)
    assert torch.allclose(found, FIXTURE[f"{kind}.out.denoiser"], atol=1e-4)


@torch.no_grad()
def test_ddim_from_noise_to_tokens(tmp_path):
    save_file({k: v.clone() for k, v in released("unconditional").items()}, tmp_path / "released.safetensors")
    model = read_official(tmp_path / "released.safetensors")
    prototypes = FIXTURE["unconditional.out.prototypes"][0]
    found = ddim(
        lambda x, t: model.denoiser(x, torch.full((len(x),), t), prototypes),
        FIXTURE["ddim.in.noise"],
        model.config.schedule,
        steps=50,
        prediction="epsilon",
        spacing="reference",
    )
    expected = FIXTURE["ddim.out.steps50_eta0"]
    # The random denoiser lets values grow to 400: the agreement is relative to that.
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_files_that_are_no_released_checkpoint(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="lacks the key"):
        read_official(tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="cannot read"):
        read_official(tmp_path / "broken.pth")
    with pytest.raises(InputError, match="cannot read"):
        read_official(tmp_path / "absent.pth")


def test_code_in_a_pickle_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harm",)

    torch.save({"model.pe": Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(InputError, match="cannot read"):
        read_official(tmp_path / "harmful.pth")
    assert not (tmp_path / "harm").exists()


def test_without_a_tokenizer_there_are_no_state_dicts(model):
    with pytest.raises(InputError, match="no tokenizer"):
        model.generate(1)


@pytest.mark.parametrize(("size", "message"), [(8, "cuts tokens of 8 values"), (None, "tokens, the generator writes")])
def test_a_tokenizer_of_other_tokens_is_told(tmp_path, size, message):
    torch.save(released("unconditional"), tmp_path / "released.pth")
    own = read_official(tmp_path / "released.pth").config.token_size
    checkpoints = [{"w": torch.randn(3 * own)} for _ in range(3)]
    with pytest.raises(InputError, match=message):
        read_official(tmp_path / "released.pth", ParameterTokenizer.fit(checkpoints, size or own))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"huge": torch.zeros(1).expand(10**6, 10**6)}, "claims more values of 'huge' than it holds"),
        ({"model": {"pe": torch.zeros(1)}}, "holds a dict under 'model'"),
        ({"model.pe": torch.zeros(0)}, "is no generator of the released code"),
        ({"model.mamba_forward.0.D": torch.zeros(0)}, "is no generator of the released code"),
        ({"model.mamba_forward.0.D": "none"}, "is a str, not a tensor"),
        ({"to_condition.bias": torch.zeros(7)}, "is no generator of the released code"),
    ],
    ids=["huge", "nested", "empty", "without heads", "text", "bias"],
)
def test_a_file_of_other_sizes_is_one_line_and_takes_no_memory(tmp_path, change, message):
    path = tmp_path / "official.pth"
    torch.save(released("unconditional") | change, path)
    with pytest.raises(InputError, match=message) as caught:
        read_official(path)
    assert "\n" not in str(caught.value)
