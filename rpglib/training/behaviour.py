"""What generated networks are to do, as a part of the loss: networks that work where the zoo has none.

The diffusion loss asks for weights like those of the zoo. A behaviour asks what the weights are for, of networks that
no checkpoint is an example of: of mixtures of permutation states. Ours; the paper has nothing of the kind.

Shapes: N networks of a step, P permutation states, B images of a step, C classes, L tokens, D token size.
"""

import hashlib
import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from rpglib.errors import InputError, shown, whole_number
from rpglib.model.rpg import RPG
from rpglib.runtime.randomness import stream
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.images import Split

MOST_NETWORKS = 4096
"""That a step asks about."""


class Behaviour:
    """Something that generated networks are to do; what it is says `__call__`, which a subclass must have.

    At every step `networks` networks are asked, each of a mixture of `mixture` random states with random weights (all
    weights that sum to one are equally likely). weight: of this loss; reconstruction: of the ordinary one, 0 to learn
    nothing from the weights of the zoo.
    """

    def __init__(self, weight: float = 1.0, networks: int = 8, mixture: int = 2, reconstruction: float = 1.0):
        self.weight, self.reconstruction = number("weight", weight), number("reconstruction", reconstruction)
        self.networks = whole_number("networks of a behaviour", networks, 1, MOST_NETWORKS)
        self.mixture = whole_number("mixture of a behaviour", mixture, 1)

    def __call__(self, networks: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        """The loss, one number with a gradient, of N networks side by side, name -> (N, ...).

        What is random must come from `generator`, on the CPU, or a resumed training would not end as an unbroken one.
        """
        raise NotImplementedError("a behaviour needs a __call__(networks, generator) that returns its loss")

    def facts(self) -> dict:
        """JSON values that tell this behaviour from others: a training goes on only with the same."""
        own = {"weight": self.weight, "networks": self.networks, "mixture": self.mixture}
        return {"behaviour": type(self).__qualname__, "reconstruction": self.reconstruction, **own}


class ClassificationBehaviour(Behaviour):
    """Networks are to classify training images, and to differ in their answers.

    The loss is the networks' mean cross-entropy on `batch_size` images of a step, minus `disagreement` times the mean
    divergence (Kullback-Leibler, nats) of each network's answer from the average answer of all.
    Raises `InputError` for numbers out of range and where images, labels and architecture do not fit.
    """

    def __init__(
        self,
        images: Split,
        architecture: Architecture,
        disagreement: float = 0.3,
        batch_size: int = 64,
        **options,
    ):
        """options: as in `Behaviour`."""
        super().__init__(**options)
        self.disagreement = number("disagreement", disagreement)
        self.batch_size = whole_number("batch_size of a behaviour", batch_size, 1)
        if not isinstance(images, Split) or not len(images):
            raise InputError(
                f"a behaviour needs images in memory, such as load_images('digits').train, not {shown(images)}"
            )
        if not isinstance(architecture, Architecture):
            raise InputError(f"a behaviour needs the Architecture of its networks, not {shown(architecture)}")
        expected = (architecture.channels, architecture.image_size, architecture.image_size)
        if images.shape != expected:
            raise InputError(
                f"{architecture.name} takes images of {expected} channels and pixels, not of {images.shape}; give "
                "those that its zoo was trained on"
            )
        if not 0 <= int(images.labels.min()) <= int(images.labels.max()) < architecture.num_classes:
            raise InputError(
                f"the images' labels must lie in 0..{architecture.num_classes - 1}, {architecture.name}'s classes"
            )
        if not bool(images.images.isfinite().all()):
            raise InputError("the images of a behaviour hold NaN or infinity; leave those images out")
        self.images, self.labels, self.architecture = images.images, images.labels, architecture
        with torch.random.fork_rng(devices=[]):
            self.module = with_gradient(architecture.build().eval().requires_grad_(False))

    def __call__(self, networks: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        device = next(iter(networks.values())).device
        rows = torch.randint(len(self.labels), (self.batch_size,), generator=generator)
        images, labels = self.images[rows].to(device), self.labels[rows].to(device)
        ask = vmap(partial(functional_call, self.module.to(device)), in_dims=(0, None))
        answers = ask(networks, (images,)).log_softmax(-1)  # (N, B, C)
        loss = F.nll_loss(answers.flatten(0, 1), labels.repeat(len(answers)))
        if self.disagreement:
            average = answers.logsumexp(0) - math.log(len(answers))
            loss = loss - self.disagreement * (answers.exp() * (answers - average)).sum(-1).mean()
        return loss

    def facts(self) -> dict:
        data = hashlib.sha256(self.images.numpy().tobytes() + self.labels.numpy().tobytes()).hexdigest()[:16]
        own = {"disagreement": self.disagreement, "batch_size": self.batch_size, "images": data}
        return super().facts() | own | {"architecture": self.architecture.to_dict()}


def with_gradient(module: nn.Module) -> nn.Module:
    """The module, in evaluation mode, with BatchNorm computed so that its running statistics have a gradient."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None:
            if type(layer) not in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
                raise InputError(f"a behaviour knows PyTorch's own BatchNorm layers, not {type(layer).__name__}")
            # PyTorch's has none; generated statistics are weights like all others.
            layer.forward = partial(_normalised, layer)
    return module


def _normalised(layer: nn.Module, x: Tensor) -> Tensor:
    scale = (layer.running_var + layer.eps).rsqrt()
    if layer.affine:
        scale = scale * layer.weight
    shift = -layer.running_mean * scale
    if layer.affine:
        shift = shift + layer.bias
    axes = (-1,) + (1,) * (x.ndim - 2)
    return x * scale.view(axes) + shift.view(axes)


class WithBehaviour(nn.Module):
    """A training step's loss: `RPG.forward`'s, and that of the behaviour of networks which `model` generates.

    With a denoiser that learns the networks are its one-step estimates, at random diffusion steps, without one what the
    prototype's skip says. Everything random is drawn from a stream of the seed, the step and the process.
    Raises `InputError` where the generator cannot be asked, and when a loss is no finite number with a gradient.
    """

    def __init__(self, model: RPG, behaviour: Behaviour, seed: int, process: int = 0, diffusion: bool = True):
        super().__init__()
        check_fits(model, behaviour, diffusion)
        self.model, self.behaviour, self.diffusion = model, behaviour, diffusion
        self.seed, self.process = seed, process

    def forward(self, step: int, **batch) -> Tensor:
        own, config = self.behaviour, self.model.config
        generator = torch.Generator().manual_seed(stream(self.seed, "behaviour", step, self.process))
        weights = random_mixtures(own.networks, config.permutation_states, own.mixture, generator)
        device, noised = self.model.device, {}
        if self.diffusion:
            count = own.networks * self.model.tokenizer.num_tokens
            noise = torch.randn(count, config.token_size, generator=generator)
            t = torch.randint(config.diffusion_steps, (count,), generator=generator)
            noised = {"noise": noise.to(device), "t": t.to(device)}
        tokens = self.model.written(weights.to(device), **noised)
        # The networks themselves compute in fp32, whatever the generator does.
        with torch.autocast(device.type, enabled=False):
            found = own(self.model.tokenizer.decode_together(tokens), generator)
        loss = own.weight * checked(found, step)
        return loss + own.reconstruction * self.model(**batch) if own.reconstruction else loss


def random_mixtures(n: int, states: int, count: int, generator: torch.Generator) -> Tensor:
    """Weights (n, states) that mix `count` different random states each, equally likely in the simplex of these."""
    chosen = torch.rand(n, states, generator=generator).topk(count, 1).indices
    parts = torch.empty(n, count).exponential_(generator=generator)
    return torch.zeros(n, states).scatter_(1, chosen, parts / parts.sum(1, keepdim=True))


def check_fits(model: RPG, behaviour: Behaviour, diffusion: bool) -> None:
    """Raise `InputError` where a generator cannot be asked for such mixtures."""
    config = model.config
    if not isinstance(behaviour, Behaviour):
        raise InputError(f"behaviour takes a Behaviour, such as ClassificationBehaviour, not {shown(behaviour)}")
    if not config.prototype_skip:
        raise InputError("a behaviour needs a generator with prototype_skip=True, whose networks have a gradient")
    if config.permutation_states < behaviour.mixture:
        raise InputError(
            f"a behaviour that mixes {behaviour.mixture} permutation states needs as many, the generator has "
            f"{config.permutation_states}; set RPGConfig.permutation_states, or a smaller mixture"
        )
    if config.task_bits:
        raise InputError("a behaviour asks mixtures of permutation states and knows no tasks; train without task_bits")
    if diffusion and not behaviour.reconstruction:
        raise InputError(
            "a denoiser learns from the zoo alone; with reconstruction=0.0 set TrainConfig.diffusion=False"
        )


def checked(loss, step: int) -> Tensor:
    """The loss that a behaviour returned; raises `InputError` unless it is one finite number with a gradient."""
    if not isinstance(loss, Tensor) or loss.ndim:
        what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else shown(loss)
        raise InputError(f"a behaviour returns one number as a tensor without axes, not {what}; take the mean")
    if not loss.requires_grad:
        raise InputError(
            "the behaviour's loss has no gradient; compute it from the networks by differentiable functions"
        )
    if not bool(loss.isfinite()):
        raise InputError(f"the behaviour is not finite at step {step}; lower learning_rate or the behaviour's weight")
    return loss


def number(name: str, value) -> float:
    """A finite number, zero at least, by its name; raises `InputError` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InputError(f"{name} of a behaviour takes a finite number from 0 on, not {shown(value)}")
    return float(value)
