"""Simple ways to new networks from old ones: what a generator of networks must be compared with.

Noise, averages and independent Gaussians are the baselines of Zeng et al. (arXiv 2506.07998, "weight_memorization").
Zoos are matrices (N, P), as from `state_dicts.flatten`. Every seed and purpose has a random stream of its own.
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from rpglib.errors import InputError, shown
from rpglib.runtime.arguments import each, flag, number, of, takes, tensor, whole
from rpglib.runtime.arguments import network as a_network
from rpglib.runtime.randomness import stream
from rpglib.runtime.state_dicts import check_alike, is_statistic, tied

MOST = 2**20
"""Networks in one call."""


@takes(network=a_network, sigma=number(), seed=whole(), relative=flag, number=whole())
def noised(
    network: Mapping[str, Tensor], sigma: float, seed: int, relative: bool = False, number: int = 0
) -> dict[str, Tensor]:
    """Return the network with Gaussian noise on its parameters; BatchNorm statistics and integers stay,
    tied tensors stay tied.

    sigma: the noise's standard deviation (Zeng et al.), or, where `relative`, its ratio to the standard deviation of
    the tensor, as in RPG's released evaluator. (The RPG paper leaves open which: "Gaussian noise with weights of 0.01,
    0.10, and 1.00"; v1, table 16; v2, table 24.) A tensor of one value has no deviation and stays. number: which of the
    noisy networks of one seed.
    """
    generator = _generator(seed, "noise", number)
    result, aliases = dict(network), tied(network)
    for name, x in network.items():
        if x.is_floating_point() and not is_statistic(name) and name not in aliases:
            noise = sigma * torch.randn(x.shape, generator=generator, dtype=torch.float32).to(x)
            result[name] = x + noise * _std(x) if relative else x + noise
    return result | {name: result[source] for name, source in aliases.items()}


@takes(weights=tensor("N P", "float"), count=whole(), n=whole(0, MOST), seed=whole())
def averaged(weights: Tensor, count: int, n: int, seed: int) -> Tensor:
    """Return n means (n, P), each of `count` random different networks of the zoo (N, P).

    Variances stay positive. Deviation: the code published by Zeng et al. sums in place into a network of its own zoo,
    which changes later averages; here the zoo stays as it is. Raises `InputError` for more networks than the zoo has.
    """
    if not 1 <= count <= len(weights):
        raise InputError(f"{len(weights)} networks have no mean of {count} different ones; give 1 to {len(weights)}")
    generator = _generator(seed, "average")
    result = weights.new_empty(n, weights.shape[1])
    for mean in result:
        mean.copy_(weights[torch.randperm(len(weights), generator=generator)[:count]].mean(0))
    return result


@takes(weights=tensor("N P+", "float"), n=whole(0, MOST), seed=whole())
def gaussian(weights: Tensor, n: int, seed: int) -> Tensor:
    """Return n networks (n, P), every weight an independent normal of its mean and std over the zoo (N, P).

    std is the sample's. Nothing is clamped: what must be positive, such as `running_var`, may come out negative, and
    the network then answers NaN. Give its logarithm, or leave it out and recalibrate, where that matters.
    Raises `InputError` for less than two networks.
    """
    if len(weights) < 2:
        raise InputError(f"a spread over {len(weights)} networks is not defined; give at least two")
    noise = torch.randn(n, weights.shape[1], generator=_generator(seed, "gaussian"), dtype=torch.float32).to(weights)
    return weights.mean(0) + weights.std(0) * noise


@takes(weights=tensor("N P", "float"), n=whole(0, MOST), seed=whole())
def interpolated(weights: Tensor, n: int, seed: int) -> Tensor:
    """Return n networks (n, P), each at a uniformly random place between two random different ones of the zoo (N, P).

    Variances stay positive. Raises `InputError` for less than two networks.
    """
    if len(weights) < 2:
        raise InputError(f"there is no line between {len(weights)} networks; give at least two")
    generator = _generator(seed, "interpolation")
    result = weights.new_empty(n, weights.shape[1])
    for point in result:
        first, second = weights[torch.randperm(len(weights), generator=generator)[:2]]
        point.copy_(first.lerp(second, torch.rand((), generator=generator).item()))
    return result


@takes(a=of(Mapping), b=of(Mapping))
def exchanged(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], names: Collection[str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return a and b with the tensors `names` exchanged (RPG paper v1, figure 2).

    Tensors are shared with a and b, not copied. Raises `InputError` for names that a and b lack and where the names or
    shapes of a and b differ.
    """
    check_alike(a, b)
    names = list(each("names", names, "names of tensors"))
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"names takes a list of names of tensors, not {shown(names)}")
    if unknown := sorted(set(names) - set(a)):
        raise InputError(f"no tensor to exchange is called {', '.join(unknown)}; known: {', '.join(a)}")
    from_a, from_b = {name: a[name] for name in names}, {name: b[name] for name in names}
    return {**a, **from_b}, {**b, **from_a}


def _generator(seed: int, purpose: str, number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(stream(seed, purpose, number))


def _std(x: Tensor) -> Tensor | float:
    """Of what is finite: a mask holds infinity."""
    x = x[x.isfinite()]
    return x.std() if x.numel() > 1 else 0.0
