"""The images that target networks learn from: scikit-learn's digits, CIFAR-10 in two layouts, ImageNet through timm."""

import importlib.metadata
import io
import os
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from rpglib.errors import InputError, check_types, choice, shown, whole_number
from rpglib.runtime.arguments import function, module, of, path, takes, tensor, whole, wholes
from rpglib.runtime.files import read_json
from rpglib.runtime.randomness import stream
from rpglib.tasks import CLASS_NAMES
from rpglib.zoo.coarse_imagenet import COARSE_CLASSES

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)
CIFAR10_SIZE, CIFAR10_CLASSES, CIFAR10_VALIDATION = 32, 10, 5000

MOST_WORKERS = 1024

# Row numbers of scikit-learn's digits; tests/test_images.py says which calls of train_test_split drew them.
DIGITS_SPLIT = Path(__file__).with_name("digits_split.json")


@dataclass(frozen=True)
class Split:
    """Images (n, C, S, S) float32, normalised per channel, and their labels (n,) int64."""

    images: Tensor
    labels: Tensor

    def __post_init__(self):
        sizes = {}
        tensor("n ...", "float")("images", self.images, sizes)
        tensor("n", "whole")("labels", self.labels, sizes)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(self.images.shape[1:])

    @takes(size=whole(1))
    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all images and labels in order, `size` at a time."""
        yield from zip(self.images.split(size), self.labels.split(size), strict=True)


@dataclass(frozen=True)
class Stream:
    """A part of a data set too large for memory: `count` images (C, S, S), which `loader(size)` reads in batches."""

    count: int
    shape: tuple[int, int, int]
    loader: Callable[[int], Iterable[tuple[Tensor, Tensor]]]

    def __post_init__(self):
        whole_number("Stream.count", self.count, 0)
        wholes(1)("Stream.shape", self.shape, {})
        function("Stream.loader", self.loader, {})

    def __len__(self) -> int:
        return self.count

    @takes(size=whole(1), seed=whole())
    def batches(self, size: int, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (b, C, S, S) and labels (b,); where the loader shuffles or crops at random, by `seed`.

        Loaders draw from the random states of Python and PyTorch: each batch has states of its own, and the caller's
        stay as they are.
        """
        with _drawing(stream(seed, "loader")):
            loaded = iter(self.loader(size))
        for step in count():
            with _drawing(stream(seed, "batch", step)):
                batch = next(loaded, None)
            if batch is None:
                return
            yield batch


@contextmanager
def _drawing(seed: int) -> Iterator[None]:
    """Within, what Python and PyTorch draw on the CPU follows from the seed; afterwards they go on as before."""
    before = random.getstate()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before)


@takes(part=of(Split, Stream))
def labels_of(part: Split | Stream) -> Tensor:
    """All labels (n,) of one part of a data set; a stream is read through for them.

    Raises `InputError` for a stream that does not give all its images, as those of training do not.
    """
    if isinstance(part, Split):
        return part.labels
    labels = torch.cat([torch.empty(0, dtype=torch.int64), *(labels for _, labels in part.batches(1024))])
    if len(labels) != len(part):
        raise InputError(
            f"{len(labels)} of {len(part)} images were read, as in training; take a part that is tested on"
        )
    return labels


@takes(part=of(Split, Stream), count=whole(1), seed=whole())
def take(part: Split | Stream, count: int, seed: int = 0) -> Split:
    """Return `count` images and labels, at random by `seed`; of a stream the first, at random where it shuffles."""
    if isinstance(part, Split):
        rows = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))[:count]
        return Split(part.images[rows], part.labels[rows])
    return Split(*next(part.batches(min(count, len(part)), seed)))


@dataclass(frozen=True)
class Images:
    """A data set in three disjoint parts; `source` says in words which copy of it was read."""

    name: str
    source: str
    train: Split | Stream
    validation: Split | Stream
    test: Split | Stream
    class_names: tuple[str, ...]

    def __post_init__(self):
        check_types(self)
        for name in ("train", "validation", "test"):
            of(Split, Stream)(f"Images.{name}", getattr(self, name), {})
        names = self.class_names
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise InputError(f"Images.class_names takes the classes' names, not {shown(self.class_names)}")

    @property
    def channels(self) -> int:
        return self.train.shape[0]

    @property
    def size(self) -> int:
        return self.train.shape[-1]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


def data_root() -> Path:
    """Return the folder of the data sets: what `RPG_DATA` names, else data/datasets.

    Wherever in a project the program runs, a relative path is one of the project: it is looked for in the folder that
    `RPG_HOME` names, and in the nearest one upwards with a pyproject.toml. Outside of any it is the current folder's.
    """
    root, here = Path(os.environ.get("RPG_DATA") or "data/datasets"), Path.cwd()
    homes = [Path(os.environ["RPG_HOME"]).resolve()] if os.environ.get("RPG_HOME") else []
    homes += [folder for folder in (here, *here.parents) if (folder / "pyproject.toml").exists()][:1]
    roots = [home / root for home in homes] or [root]
    return next((path for path in roots if path.is_dir()), roots[-1])


@takes(root=path)
def load_images(name: str, root: str | Path | None = None) -> Images:
    """Return the data set `name`: "digits", or "cifar10" or "imagenet10", read below `root` (default: `data_root()`).

    "imagenet10" is `coarse_imagenet` of root/imagenet, prepared by timm's defaults: 224 pixels, ImageNet's mean and
    deviation; call that function, or `imagenet_1k`, for a model that wants its images otherwise. "synthetic" is a
    handful of random images in ImageNet's shape, on which code is tested.
    Raises `InputError` for another name, and where the files are absent or damaged, with the remedy.
    """
    loader = {
        "digits": _digits,
        "cifar10": _cifar10,
        "imagenet10": lambda root: coarse_imagenet(root / "imagenet"),
        "synthetic": _synthetic,
    }
    return loader[choice("data set", name, loader)](Path(root) if root is not None else data_root())


def _digits(_root: Path) -> Images:
    # The file that load_digits reads, without importing scikit-learn: that would take as long as importing PyTorch.
    file = importlib.metadata.distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    pixels, labels = table[:, :-1].reshape(-1, 1, 8, 8) / 16, table[:, -1]
    # A fixed stratified split, 1,078 / 359 / 360: every run on every machine tests on the same images.
    rows = read_json(DIGITS_SPLIT)
    mean, std = pixels[rows["train"]].mean(), pixels[rows["train"]].std()
    pixels, labels = torch.from_numpy((pixels - mean) / std), torch.from_numpy(labels).long()
    parts = {part: Split(pixels[chosen], labels[chosen]) for part, chosen in rows.items()}
    return Images("digits", "scikit-learn digits", **parts, class_names=CLASS_NAMES["digits"])


def _synthetic(_root: Path) -> Images:
    generator = torch.Generator().manual_seed(0)

    def part(count: int) -> Split:
        labels = torch.randint(1000, (count,), generator=generator)
        return Split(torch.randn(count, 3, 224, 224, generator=generator, dtype=torch.float32), labels)

    parts = {"train": part(4), "validation": part(2), "test": part(2)}
    names = tuple(str(label) for label in range(1000))
    return Images("synthetic", "synthetic images, labelled at random", **parts, class_names=names)


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
    rest, held = order[:-CIFAR10_VALIDATION], order[-CIFAR10_VALIDATION:]
    train, validation = (Split(train.images[part], train.labels[part]) for part in (rest, held))
    return Images("cifar10", source, train, validation, test, CLASS_NAMES["cifar10"])


def download_cifar10(root: str | Path | None = None) -> None:
    """Download CIFAR-10 (170 MB) with torchvision into `root` (default: `data_root()`)."""
    from torchvision.datasets import CIFAR10

    CIFAR10(str(root if root is not None else data_root()), download=True)


def _read_torchvision(root: Path) -> tuple[Split, Split]:
    # torchvision unpickles these files, after it has compared each with the checksum of the published one.
    from torchvision.datasets import CIFAR10

    try:
        parts = [CIFAR10(str(root), train=train) for train in (True, False)]
    except (RuntimeError, OSError):
        raise InputError(f"{root}/cifar-10-batches-py is incomplete or damaged; delete and download it again") from None
    train, test = (_split(torch.from_numpy(part.data).permute(0, 3, 1, 2), part.targets) for part in parts)
    return train, test


def _read_parquet(folder: Path) -> tuple[str, tuple[Split, Split]]:
    train, test = (_read_part(folder, part) for part in ("train", "test"))
    # JPEG is lossy: single pixels differ from the published ones, and every number measured on them must say so.
    jpeg = any(image.startswith(b"\xff\xd8") for image in train[0] + test[0])
    splits = []
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
        for part, (encoded, labels) in {"train": train, "test": test}.items():
            names = (f"image {row} of {folder}/{part}-*.parquet" for row in range(len(encoded)))
            pixels = np.stack(list(pool.map(_decode, encoded, names)))
            splits.append(_split(torch.from_numpy(pixels).permute(0, 3, 1, 2), labels))
    return "CIFAR-10, JPEG copy" if jpeg else "CIFAR-10", tuple(splits)


def _read_part(folder: Path, part: str) -> tuple[list[bytes], list[int]]:
    """Return the encoded images and the labels of "train" or "test"; `InputError` where they cannot be CIFAR-10's."""
    import pyarrow
    from pyarrow import parquet

    files = sorted(folder.glob(f"{part}-*.parquet"))
    if not files:
        raise InputError(f"{folder} has no {part}-*.parquet; copy the whole data set there")
    try:
        table = parquet.read_table(files, columns=["img", "label"])
        images = pyarrow.concat_arrays(table.column("img").chunks).field("bytes").to_pylist()
        labels = table.column("label").to_pylist()
    # AttributeError: a column of another type, which has no fields.
    except (pyarrow.ArrowException, OSError, KeyError, AttributeError, MemoryError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{folder}/{part}-*.parquet is not in the hub's layout ({reason}); copy it again") from None
    least = CIFAR10_VALIDATION + 1 if part == "train" else 1
    if len(images) < least:
        raise InputError(f"{folder}/{part}-*.parquet has {len(images)} images, {least} is the least; copy all of it")
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        if type(label) is not int or not 0 <= label < CIFAR10_CLASSES:
            what = f"the label {shown(label)}, not one from 0 to {CIFAR10_CLASSES - 1}"
        elif not isinstance(image, bytes):
            what = f"no image, but {shown(image)}"
        else:
            continue
        raise InputError(f"row {row} of {folder}/{part}-*.parquet has {what}; copy it again")
    return images, labels


def _decode(encoded: bytes, name: str) -> np.ndarray:
    """The pixels (S, S, 3) uint8 of an image of CIFAR-10; `InputError` with its name where it is damaged.

    Torchvision's decoder ends the process at many a damaged file.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
            # Before a pixel is read: what a damaged header says would be taken from memory.
            if image.size != (CIFAR10_SIZE, CIFAR10_SIZE):
                raise ValueError(f"{image.width} x {image.height} pixels")
            if checked := image.format == "PNG":
                image.verify()  # the checksums, after which it must be opened again
            else:
                pixels = np.array(image.convert("RGB"))
        if checked:
            with Image.open(io.BytesIO(encoded), formats=("PNG",)) as image:
                pixels = np.array(image.convert("RGB"))
    except Exception as error:  # Pillow tells of damage in many unrelated types
        reason = (" ".join(str(error).split()) or type(error).__name__)[:100]
        raise InputError(f"{name} is damaged ({reason}); copy the data set again") from None
    return pixels


def _split(pixels: Tensor, labels: list[int]) -> Split:
    """Normalise pixels (n, 3, S, S) uint8 per channel."""
    mean, std = (torch.tensor(x, dtype=torch.float32).view(3, 1, 1) for x in (CIFAR10_MEAN, CIFAR10_STD))
    images = pixels.contiguous().float().div_(255).sub_(mean).div_(std)
    return Split(images, torch.tensor(labels))


@takes(root=path, model=module, workers=whole(0, MOST_WORKERS), labels=of(dict))
def imagenet(
    root: str | Path, model: nn.Module | None = None, workers: int = 8, labels: dict[str, int] | None = None
) -> Images:
    """Return ImageNet from the class folders in root/train and root/val, read and prepared as timm does for `model`.

    Without a model timm's defaults hold. Training images are cropped and flipped at random, others are centre crops. As
    is the custom, the published validation images serve as test images, on which nothing may be chosen; the validation
    part is one in a hundred of the published training images, which are not trained on. labels: the label of every
    class folder by its name, by default its place among them; folders without one are left out.
    Raises `InputError` where a folder is absent or holds no images, and, when it is read, for a damaged image.
    """
    from timm.data import create_dataset, resolve_data_config

    sets = {}
    for part in ("train", "val"):
        if not (folder := Path(root) / part).is_dir():
            raise InputError(f"ImageNet is not in {folder}; unpack its class folders there or name another root")
        try:
            sets[part] = create_dataset("", str(folder), class_map=labels).reader
        except RuntimeError:  # timm's word for a folder without images
            raise InputError(f"{folder} holds no images; unpack ImageNet's class folders there") from None
    published = sets["train"].samples
    if len(published) < 2:
        raise InputError(f"{root}/train holds one image, too few to hold one back; unpack all of ImageNet there")
    # In the order of their names, so of every class its share.
    held = set(range(99, len(published), 100)) or {len(published) - 1}
    parts = {
        "train": [sample for row, sample in enumerate(published) if row not in held],
        "validation": [published[row] for row in sorted(held)],
        "test": sets["val"].samples,
    }
    # Without a model timm wants an argument, if only one that says what holds anyway.
    settings = resolve_data_config({"in_chans": 3}, model=model)
    streams = {
        part: Stream(
            len(files), settings["input_size"], partial(_timm_loader, Files(files), settings, part == "train", workers)
        )
        for part, files in parts.items()
    }
    labels = sets["train"].class_to_idx
    return Images("imagenet", "ImageNet (timm.data)", **streams, class_names=tuple(sorted(labels, key=labels.get)))


@takes(root=path, model=module, workers=whole(0, MOST_WORKERS))
def coarse_imagenet(root: str | Path, model: nn.Module | None = None, workers: int = 8) -> Images:
    """Return the images of ten coarse classes of ImageNet, labelled 0..9 in the order of `COARSE_CLASSES`.

    Otherwise as `imagenet`. Folders are told by their names, the synsets. Raises `InputError` where one is absent.
    """
    from timm.data import ImageNetInfo

    names = ImageNetInfo("imagenet-1k").label_names()
    labels = {names[index]: label for label, indices in enumerate(COARSE_CLASSES.values()) for index in indices}
    _check_folders(Path(root), labels, "that make ten coarse classes")
    images = imagenet(root, model, workers, labels)
    return replace(
        images, name="imagenet10", source="ImageNet (timm.data), ten coarse classes", class_names=tuple(COARSE_CLASSES)
    )


@takes(root=path, model=module, workers=whole(0, MOST_WORKERS))
def imagenet_1k(root: str | Path, model: nn.Module | None = None, workers: int = 8) -> Images:
    """Return ImageNet-1K, labelled 0..999 as timm's pretrained networks number the classes.

    Otherwise as `imagenet`. Folders are told by their names, the synsets. Raises `InputError` where one is absent.
    """
    from timm.data import ImageNetInfo

    labels = {name: index for index, name in enumerate(ImageNetInfo("imagenet-1k").label_names())}
    _check_folders(Path(root), labels, "of ImageNet-1K")
    return imagenet(root, model, workers, labels)


def _check_folders(root: Path, labels: dict[str, int], whose: str) -> None:
    for folder in (root / "train", root / "val"):
        if missing := [name for name in labels if not (folder / name).is_dir()]:
            raise InputError(
                f"{folder} lacks {len(missing)} of the {len(labels)} class folders {whose}, "
                f"{missing[0]} the first; unpack ImageNet there, or set RPG_DATA to the folder that holds imagenet/"
            )


class Files(Dataset):
    """Image files and their labels, read as timm's own data set does, which takes another image for a damaged one."""

    def __init__(self, samples: list[tuple[str, int]]):
        self.samples, self.transform = samples, None  # timm's loader sets the transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int):
        from PIL import Image

        path, label = self.samples[index]
        try:
            with Image.open(path) as image:
                image = image.convert("RGB")
        except Exception as error:  # Pillow tells of damage in many unrelated types
            raise InputError(f"{path} is damaged ({shown(str(error))}); unpack it again") from None
        return self.transform(image), label


def _timm_loader(files: Files, settings: dict, training: bool, workers: int, batch_size: int):
    from timm.data import create_loader

    loader = create_loader(
        files,
        **{name: settings[name] for name in ("input_size", "interpolation", "mean", "std", "crop_pct")},
        batch_size=batch_size,
        is_training=training,
        # A few batches are read sooner than a process starts.
        num_workers=min(workers, len(files) // (4 * batch_size)),
        use_prefetcher=False,
        persistent_workers=False,
    )
    try:
        yield from loader
    except InputError as error:
        # What a process of the loader raises arrives with that one's traceback before it.
        raise InputError(str(error).rpartition("rpglib.errors.InputError: ")[2]) from None
