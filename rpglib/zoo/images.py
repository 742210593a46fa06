"""The images that target networks learn from: scikit-learn's digits, CIFAR-10 in two layouts, ImageNet through timm."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rpglib.errors import InputError, choice

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Split:
    """Images (n, C, S, S) float32, normalised per channel, and their labels (n,) int64."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Images:
    """A data set in three disjoint parts; `source` says in words which copy of it was read."""

    name: str
    source: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]

    @property
    def channels(self) -> int:
        return self.train.images.shape[1]

    @property
    def size(self) -> int:
        return self.train.images.shape[-1]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


def data_root() -> Path:
    """Return the folder of the data sets: the environment variable RPG_DATA, by default data/datasets."""
    return Path(os.environ.get("RPG_DATA", "data/datasets"))


def load_images(name: str, root: str | Path | None = None) -> Images:
    """Return the data set `name`, "digits" or "cifar10", the latter read below `root` (default: `data_root()`).

    Raises `InputError` for another name, and where the files are absent or damaged, with the remedy.
    """
    loader = {"digits": _digits, "cifar10": _cifar10}
    return loader[choice("data set", name, loader)](Path(root) if root is not None else data_root())


def _digits(_root: Path) -> Images:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    pixels = (pixels.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    # A fixed stratified split, 1,077 / 360 / 360: every session and every machine tests on the same images.
    train, rest = train_test_split(np.arange(len(labels)), train_size=0.6, random_state=0, stratify=labels)
    validation, test = train_test_split(rest, train_size=0.5, random_state=0, stratify=labels[rest])
    mean, std = pixels[train].mean(), pixels[train].std()
    pixels, labels = torch.from_numpy((pixels - mean) / std), torch.from_numpy(labels).long()
    train, validation, test = (Split(pixels[part], labels[part]) for part in (train, validation, test))
    return Images("digits", "scikit-learn digits", train, validation, test, tuple("0123456789"))


def _cifar10(root: Path) -> Images:
    if (root / "cifar-10-batches-py").is_dir():
        source, (train, test) = "CIFAR-10", _read_torchvision(root)
    elif any((root / "cifar10").glob("*.parquet")):
        source, (train, test) = _read_parquet(root / "cifar10")
    else:
        raise InputError(
            f"CIFAR-10 is not in {root}: call rpglib.zoo.images.download_cifar10(), or put the hub's parquet files "
            "into its folder cifar10, or set RPG_DATA to the folder that holds either"
        )
    order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(0))
    train, validation = (Split(train.images[part], train.labels[part]) for part in (order[:-5000], order[-5000:]))
    return Images("cifar10", source, train, validation, test, CIFAR10_CLASSES)


def download_cifar10(root: str | Path | None = None) -> None:
    """Download CIFAR-10 (170 MB) with torchvision into `root` (default: `data_root()`)."""
    from torchvision.datasets import CIFAR10

    CIFAR10(str(root if root is not None else data_root()), download=True)


def _read_torchvision(root: Path) -> tuple[Split, Split]:
    # torchvision unpickles these files, after it has compared each with the checksum of the published one.
    from torchvision.datasets import CIFAR10

    try:
        parts = [CIFAR10(str(root), train=train) for train in (True, False)]
    except RuntimeError as error:
        raise InputError(f"{root}/cifar-10-batches-py is incomplete or damaged: delete it and download again") from error
    train, test = (_split(part.data, part.targets) for part in parts)
    return train, test


def _read_parquet(folder: Path) -> tuple[str, tuple[Split, Split]]:
    encodings, parts = set(), []
    for part in ("train", "test"):
        files = sorted(folder.glob(f"{part}-*.parquet"))
        if not files:
            raise InputError(f"{folder} has no {part}-*.parquet; copy the whole data set there")
        encoded, labels = zip(*(_read_table(file) for file in files), strict=True)
        encoded = [image for table in encoded for image in table]
        encodings |= {image[:2] for image in encoded}
        with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
            pixels = np.stack(list(pool.map(_decode, encoded, chunksize=500)))
        parts.append(_split(pixels, np.concatenate(labels)))
    jpeg = b"\xff\xd8" in encodings  # a lossy re-encoding: single pixels differ from the published ones
    return "CIFAR-10, JPEG copy" if jpeg else "CIFAR-10", tuple(parts)


def _read_table(file: Path) -> tuple[list[bytes], np.ndarray]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(file, columns=["img", "label"])
        return table.column("img").combine_chunks().field("bytes").to_pylist(), table.column("label").to_numpy()
    except (pyarrow.ArrowException, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file} is not CIFAR-10 in the hub's parquet layout ({reason}); copy it again") from error


def _decode(encoded: bytes) -> np.ndarray:
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def _split(pixels: np.ndarray, labels) -> Split:
    """Normalise pixels (n, S, S, 3) uint8 per channel."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CIFAR10_MEAN, CIFAR10_STD))
    return Split(images.sub_(mean).div_(std).contiguous(), torch.as_tensor(labels, dtype=torch.int64))
