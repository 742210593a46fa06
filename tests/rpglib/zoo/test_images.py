"""Data sets: sizes, fixed splits, both layouts of CIFAR-10, ImageNet and its coarse classes, remedies in errors."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from timm.data import ImageNetInfo

from rpglib.errors import InputError
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.coarse_imagenet import COARSE_CLASSES
from rpglib.zoo.images import CIFAR10_MEAN, CIFAR10_STD, coarse_imagenet, imagenet, imagenet_1k, labels_of, load_images

REAL = Path(os.environ.get("RPG_DATA", Path(__file__).parents[3] / "../shared/datasets"))


def test_digits_are_split_once_and_for_all():
    digits = load_images("digits")
    parts = (digits.train, digits.validation, digits.test)
    assert [len(part) for part in parts] == [1078, 359, 360]
    assert (digits.channels, digits.size, digits.num_classes) == (1, 8, 10)
    for part in parts:  # stratified: every class has its tenth
        assert torch.all((part.labels.bincount() / len(part) - 0.1).abs() < 0.01)
    images = torch.cat([part.images for part in parts]).flatten(1)
    assert len(images.unique(dim=0)) == len(images), "an image is in two parts"
    assert abs(float(digits.train.images.mean())) < 1e-5 and abs(float(digits.train.images.std()) - 1) < 1e-3
    assert load_images("digits").test.images.equal(digits.test.images)


def test_the_digits_and_their_split_are_those_of_scikit_learn():
    pixels, labels = load_digits(return_X_y=True)
    pixels = (pixels.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    train, rest = train_test_split(np.arange(len(labels)), train_size=0.6, random_state=0, stratify=labels)
    validation, test = train_test_split(rest, train_size=0.5, random_state=0, stratify=labels[rest])
    pixels = (pixels - pixels[train].mean()) / pixels[train].std()
    digits = load_images("digits")
    for part, rows in ((digits.train, train), (digits.validation, validation), (digits.test, test)):
        assert part.images.equal(torch.from_numpy(pixels[rows])) and part.images.dtype == torch.float32
        assert part.labels.equal(torch.from_numpy(labels[rows]).long())


def test_an_unknown_or_absent_data_set_names_the_remedy(tmp_path):
    with pytest.raises(InputError, match="known: digits, cifar10"):
        load_images("mnist")
    with pytest.raises(InputError, match=r"download_cifar10.*RPG_DATA"):
        load_images("cifar10", tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(InputError, match="incomplete or damaged"):
        load_images("cifar10", tmp_path)


@pytest.mark.parametrize(("encoding", "source"), [("PNG", "CIFAR-10"), ("JPEG", "CIFAR-10, JPEG copy")])
def test_the_parquet_layout_is_read_and_its_encoding_named(tmp_path, encoding, source):
    pixels = np.random.default_rng(0).integers(0, 256, (5010, 32, 32, 3), dtype=np.uint8)
    write_parquet(tmp_path / "cifar10", encoding, train=pixels, test=pixels[:20])
    images = load_images("cifar10", tmp_path)
    assert images.source == source
    assert [len(part) for part in (images.train, images.validation, images.test)] == [10, 5000, 20]
    assert images.test.labels.tolist() == [i % 10 for i in range(20)]
    expected = (pixels[:20] / 255 - np.array(CIFAR10_MEAN)) / np.array(CIFAR10_STD)
    difference = np.abs(images.test.images.permute(0, 2, 3, 1).numpy() - expected)
    assert difference.max() < 1e-5 if encoding == "PNG" else difference.mean() < 1


def test_a_broken_parquet_file_is_one_line(tmp_path):
    folder = tmp_path / "cifar10"
    folder.mkdir()
    (folder / "train-0.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(InputError, match="copy it again"):
        load_images("cifar10", tmp_path)


def write_parquet(folder: Path, encoding: str, **parts: np.ndarray) -> None:
    import pyarrow
    from pyarrow import parquet

    folder.mkdir()
    for name, pixels in parts.items():
        rows = []
        for image in pixels:
            Image.fromarray(image).save(buffer := io.BytesIO(), encoding)
            rows.append({"bytes": buffer.getvalue(), "path": None})
        labels = [i % 10 for i in range(len(pixels))]
        parquet.write_table(pyarrow.table({"img": rows, "label": labels}), folder / f"{name}-00000-of-00001.parquet")


@pytest.mark.skipif(not (REAL / "cifar10").is_dir(), reason=f"CIFAR-10's parquet files are not in {REAL}; set RPG_DATA")
def test_the_real_test_images_of_cifar10():
    from rpglib.zoo.images import _read_part

    encoded, labels = _read_part(REAL / "cifar10", "test")
    assert len(encoded) == 10_000 and np.bincount(labels).tolist() == [1000] * 10


def write_folder(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(np.full((40, 50, 3), 20 * i, np.uint8)).save(folder / f"{i}.png")


def test_imagenet_goes_through_timm(tmp_path):
    for part, count in (("train", 5), ("val", 3)):
        for name in ("cat", "dog"):
            write_folder(tmp_path / part / name, count)
    model = Architecture("test_resnet", num_classes=2, image_size=160).build()
    images = imagenet(tmp_path, model, workers=0)
    assert (images.channels, images.size, images.class_names) == (3, images.train.shape[-1], ("cat", "dog"))
    batches = list(images.test.batches(4))
    assert [len(labels) for _, labels in batches] == [4, 2] and len(images.test) == 6
    assert batches[0][0].shape[1:] == images.train.shape
    with pytest.raises(InputError, match="ImageNet is not in"):
        imagenet(tmp_path / "absent", model)


@pytest.fixture(scope="module")
def synsets() -> list[str]:
    return ImageNetInfo("imagenet-1k").label_names()


@pytest.fixture
def fake_imagenet(tmp_path, synsets):
    """All class folders; images in one of each coarse class, the last of its indices, and in some of none."""
    last = [indices[-1] for indices in COARSE_CLASSES.values()]
    for part, counts in (("train", [1, 2] * 5), ("val", [1] * 10)):
        folders = [tmp_path / "imagenet" / part / name for name in synsets]
        for folder in folders:
            folder.mkdir(parents=True)
        for index, count in zip((*last, 51, 269, 947, 999), (*counts, 1, 1, 1, 1), strict=True):
            write_folder(folders[index], count)
    return tmp_path


def test_coarse_classes_are_ten_disjoint_groups_of_indices():
    assert len(COARSE_CLASSES) == 10
    indices = [index for group in COARSE_CLASSES.values() for index in group]
    assert len(indices) == len(set(indices)) == 395 and 0 <= min(indices) and max(indices) <= 999
    assert all(list(group) == sorted(group) for group in COARSE_CLASSES.values())


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("bird", [("cock", "great grey owl"), ("black grouse", "black swan"), ("white stork", "albatross")]),
        ("cat", [("tabby", "cheetah")]),
        ("dog", [("Chihuahua", "Mexican hairless")]),
        ("fish", [("tench", "stingray"), ("barracouta", "puffer")]),
        ("reptile", [("loggerhead", "American alligator"), ("thunder snake", "sidewinder")]),
        ("insect", [("tiger beetle", "lycaenid")]),
        ("primate", [("orangutan", "indri")]),
        ("fruit or vegetable", [("head cabbage", "cardoon"), ("Granny Smith", "pomegranate")]),
    ],
)
def test_every_range_of_a_coarse_class_ends_where_it_should(name, ends):
    info, group = ImageNetInfo("imagenet-1k"), COARSE_CLASSES[name]
    first = [index for index in group if index - 1 not in group]
    last = [index for index in group if index + 1 not in group]
    found = [
        [info.index_to_description(index).partition(",")[0] for index in pair] for pair in zip(first, last, strict=True)
    ]
    assert found == [list(pair) for pair in ends]


def test_ten_coarse_classes_of_imagenet(fake_imagenet):
    model = Architecture("test_resnet", num_classes=10, image_size=160).build()
    images = coarse_imagenet(fake_imagenet / "imagenet", model, workers=0)
    assert (images.name, images.num_classes, images.class_names[1]) == ("imagenet10", 10, "cat")
    assert (len(images.train), len(images.test)) == (15, 10), "images of other classes are left out"
    assert images.size == imagenet(fake_imagenet / "imagenet", model, workers=0).size
    labels = torch.cat([y for _, y in images.test.batches(4)])
    # In the order of the files: a class comes where the last of its folders does.
    last = [indices[-1] for indices in COARSE_CLASSES.values()]
    assert labels.tolist() == sorted(range(10), key=last.__getitem__)
    ((_, labels),) = images.train.batches(15)
    assert labels.bincount().tolist() == [1, 2] * 5


def test_imagenet_1k_is_labelled_as_timm_numbers_the_classes(fake_imagenet, synsets):
    model = Architecture("test_resnet", image_size=160).build()
    images = imagenet_1k(fake_imagenet / "imagenet", model, workers=0)
    assert (images.num_classes, images.size) == (1000, imagenet(fake_imagenet / "imagenet", model, workers=0).size)
    last = [indices[-1] for indices in COARSE_CLASSES.values()]
    assert labels_of(images.test).tolist() == sorted([*last, 51, 269, 947, 999])
    (fake_imagenet / "imagenet" / "train" / synsets[7]).rmdir()
    with pytest.raises(InputError, match=f"train lacks 1 of the 1000 .*{synsets[7]} the first; .*RPG_DATA"):
        imagenet_1k(fake_imagenet / "imagenet", model)


def test_synthetic_images_have_the_shape_of_imagenet():
    images, again = load_images("synthetic"), load_images("synthetic")
    assert (images.channels, images.size, images.num_classes) == (3, 224, 1000)
    assert images.train.images.equal(again.train.images) and images.test.labels.equal(again.test.labels)
    assert not images.train.images[:2].equal(images.test.images[:2]) and "random" in images.source


def test_imagenet10_lies_below_the_root_and_needs_no_model(fake_imagenet, synsets):
    images = load_images("imagenet10", fake_imagenet)
    assert images.train.shape == (3, 224, 224) and "ten coarse classes" in images.source
    (fake_imagenet / "imagenet" / "val" / synsets[1]).rmdir()
    with pytest.raises(InputError, match=f"val lacks 1 of the 395 class folders .*{synsets[1]} the first; .*RPG_DATA"):
        load_images("imagenet10", fake_imagenet)
    with pytest.raises(InputError, match="train lacks 395 of the 395 class folders"):
        load_images("imagenet10", fake_imagenet / "imagenet")
