"""The target networks whose weights are collected and generated: small ones of our own and every timm model."""

from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from rpglib.errors import InputError, check_types, shown, whole_number
from rpglib.runtime.hardware import fp32

MOST_SIZE = 2**20
"""Classes, channels and pixels along a side at most, also where a file names them."""


@dataclass(frozen=True)
class Architecture:
    """The recipe of one target network: all that is needed to build an untrained copy of it.

    name: `vit_small_digits` (two blocks; `vit_small_digits_1`, `_3` and `_4` have as many), `cnn_digits`,
    `cnn_digits_wide`, `cnn_s`, `cnn_m` or any timm model; num_classes: number of outputs; channels, image_size
    (pixels): what its input images have; resize: to how many pixels the network itself resizes them before its first
    layer (timm's models only; 0: not at all).
    Raises `InputError` on `build` for a name that neither this module nor timm knows, and for a small one that resizes.
    """

    name: str
    num_classes: int = 10
    channels: int = 3
    image_size: int = 32
    resize: int = 0

    def __post_init__(self):
        check_types(self)
        for name in ("num_classes", "channels", "image_size"):
            whole_number(f"Architecture.{name}", getattr(self, name), 1, MOST_SIZE)
        whole_number("Architecture.resize", self.resize, 0, MOST_SIZE)

    @property
    def small(self) -> bool:
        """Whether it is one of our own networks, which train and predict many at once under `torch.func.vmap`."""
        return self.name in SMALL

    @property
    def batched(self) -> bool:
        """Whether its networks train many at once: worth it where a step is so short that its overhead counts.

        True on 8x8 images. On CIFAR-10's a convolution with weights of its own for every network takes longer than one
        network after the other.
        """
        return self.small and self.image_size < 32

    @fp32()
    def build(self) -> nn.Module:
        """Return an untrained network; its weights come from torch's current random state."""
        if self.small:
            if self.resize:
                raise InputError(f"{self.name} does not resize its images; leave resize at 0 or take a timm model")
            try:
                return SMALL[self.name](self.num_classes, self.channels, self.image_size)
            except (RuntimeError, MemoryError):  # of a size that no memory holds
                raise InputError(f"{self.name} of these sizes does not fit into memory; lower image_size") from None
        return _timm_model(self)

    @fp32()
    def pretrained(self) -> nn.Module:
        """Return a timm model with timm's pretrained weights, which are downloaded where they are not at hand.

        Raises `InputError` for our own small networks and where timm cannot get the weights.
        """
        if self.small:
            raise InputError(f"{self.name} has no published weights; train it instead")
        return _timm_model(self, pretrained=True)

    def to_dict(self) -> dict:
        """Return the fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict) -> "Architecture":
        """Return the architecture with these fields; raises `InputError` when one is missing or unknown."""
        try:
            return cls(**fields)
        except TypeError as error:
            raise InputError(f"not the description of an architecture ({error}): {shown(fields)}") from None


class Attention(nn.Module):
    """Multi-head self-attention over (n, patches, width), in products that `vmap` turns into batched products."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """One pre-norm Transformer block (Dosovitskiy et al. 2021), with timm's parameter names."""

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("fc1", nn.Linear(width, hidden))
        self.mlp.add_module("act", nn.GELU())
        self.mlp.add_module("fc2", nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class SmallViT(nn.Module):
    """A Vision Transformer of 10,546 parameters on 8x8 images with one channel and ten classes.

    Patches of 2x2 pixels, width 24, two blocks of three heads (or `depth` of them, 4,872 parameters each), average
    pooling instead of a class token.
    """

    def __init__(
        self, num_classes: int, channels: int, image_size: int, patch: int = 2, width: int = 24, depth: int = 2
    ):
        super().__init__()
        self.patch = patch
        # A patch embedding as a linear layer on unfolded pixels: the same function as timm's convolution, but batched.
        self.patch_embed = nn.Linear(channels * patch**2, width)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, (image_size // patch) ** 2, width))
        self.blocks = nn.Sequential(*(Block(width, heads=3, hidden=2 * width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        n, channels, size, _ = images.shape
        grid = size // self.patch
        pixels = images.reshape(n, channels, grid, self.patch, grid, self.patch).permute(0, 2, 4, 1, 3, 5)
        x = self.patch_embed(pixels.reshape(n, grid**2, -1)) + self.pos_embed
        return self.head(self.norm(self.blocks(x)).mean(1))


def cnn_digits(num_classes: int, channels: int, image_size: int, width: int = 4) -> nn.Sequential:
    """Return a CNN of 3,514 parameters and 72 BatchNorm statistics, on 8x8 images with one channel and ten classes.

    Its three convolutions have 2, 4 and 3 times `width` channels.
    """
    return nn.Sequential(
        *_normalised_convolution(channels, 2 * width),
        *_normalised_convolution(2 * width, 4 * width),
        nn.MaxPool2d(2),
        *_normalised_convolution(4 * width, 3 * width),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(3 * width * (image_size // 4) ** 2, num_classes),
    )


def _normalised_convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def cnn_s(num_classes: int, channels: int, image_size: int) -> nn.Sequential:
    """Return CNN (s) of the model zoos (Schuerholt et al. 2022): 2,864 parameters with three channels and ten classes.

    It sees 28x28 pixels: the centre of larger images (those zoos resize; a crop is exact on every device).
    """
    return nn.Sequential(
        CentreCrop(28),
        nn.Conv2d(channels, 8, 5),
        nn.MaxPool2d(2),
        nn.GELU(),
        nn.Conv2d(8, 6, 5),
        nn.MaxPool2d(2),
        nn.GELU(),
        nn.Conv2d(6, 4, 2),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(36, 20),
        nn.GELU(),
        nn.Linear(20, num_classes),
    )


def cnn_m(num_classes: int, channels: int, image_size: int) -> nn.Sequential:
    """Return CNN (m) of the model zoos (Schuerholt et al. 2022): 10,853 parameters on 32x32 images, three channels."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3),
        nn.MaxPool2d(2),
        nn.GELU(),
        nn.Conv2d(16, 32, 3),
        nn.MaxPool2d(2),
        nn.GELU(),
        nn.Conv2d(32, 15, 3),
        nn.MaxPool2d(2),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(60, 20),
        nn.GELU(),
        nn.Linear(20, num_classes),
    )


class CentreCrop(nn.Module):
    """Keep the centre of `size` x `size` pixels."""

    by_channel = True  # for weight matching, `analysis.alignment.hidden_layers`

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        top = (images.shape[-1] - self.size) // 2
        return images[..., top : top + self.size, top : top + self.size]


def _timm_model(architecture: Architecture, pretrained: bool = False) -> nn.Module:
    import timm

    if not timm.is_model(architecture.name):
        raise InputError(f"unknown architecture {architecture.name!r}; known: {', '.join(SMALL)} or any timm model")
    create = partial(
        timm.create_model,
        architecture.name,
        pretrained=pretrained,
        num_classes=architecture.num_classes,
        in_chans=architecture.channels,
    )
    try:
        try:
            model = create(img_size=architecture.resize or architecture.image_size)
        except TypeError:  # convolutional networks take any image size and refuse the argument
            model = create()
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        reason = str(error).splitlines()[0]
        source = timm.get_pretrained_cfg(architecture.name).hf_hub_id
        raise InputError(
            f"timm has no pretrained weights of {architecture.name} at hand ({reason}); where there is a network, run "
            f"`hf download {source}`, and bring the folder of that cache here, named by HF_HOME"
        ) from None
    if architecture.resize:
        # A hook adds no name to the state dict: the weights stay those of timm's model.
        model.register_forward_pre_hook(partial(_resized, size=architecture.resize))
    return model


def _resized(_module: nn.Module, inputs: tuple[Tensor], size: int) -> Tensor:
    return interpolate(inputs[0], size=(size, size), mode="bilinear", align_corners=False)


SMALL = {
    "vit_small_digits": SmallViT,
    **{f"vit_small_digits_{depth}": partial(SmallViT, depth=depth) for depth in (1, 3, 4)},
    "cnn_digits": cnn_digits,
    "cnn_digits_wide": partial(cnn_digits, width=8),
    "cnn_s": cnn_s,
    "cnn_m": cnn_m,
}
