"""Data sets: sizes, fixed splits, both layouts of CIFAR-10, ImageNet and its coarse classes, remedies in errors."""

import dataclasses
import io
import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from timm.data import ImageNetInfo
from torchvision.datasets import CIFAR10
from torchvision.io import ImageReadMode, decode_image

from rpglib.errors import InputError
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.coarse_imagenet import COARSE_CLASSES
from rpglib.zoo.images import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    Split,
    Stream,
    _decode,
    coarse_imagenet,
    data_root,
    imagenet,
    imagenet_1k,
    labels_of,
    load_images,
    take,
)

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
def test_the_parquet_layout_is_read_and_its_encoding_named(tmp_path, encoding, source, monkeypatch):
    monkeypatch.setattr("rpglib.zoo.images.CIFAR10_VALIDATION", 15)
    pixels = np.random.default_rng(0).integers(0, 256, (25, 32, 32, 3), dtype=np.uint8)
    write_parquet(tmp_path / "cifar10", encoding, train=pixels, test=pixels[:20])
    images = load_images("cifar10", tmp_path)
    assert images.source == source
    assert [len(part) for part in (images.train, images.validation, images.test)] == [10, 15, 20]
    assert images.test.labels.tolist() == [i % 10 for i in range(20)]
    expected = (pixels[:20] / 255 - np.array(CIFAR10_MEAN)) / np.array(CIFAR10_STD)
    difference = np.abs(images.test.images.permute(0, 2, 3, 1).numpy() - expected)
    assert difference.max() < 1e-5 if encoding == "PNG" else difference.mean() < 1


def test_torchvision_s_layout_is_read_and_normalised(tmp_path, monkeypatch):
    """Ten training images in two files and four test images, by the published mean and deviation of every channel."""
    monkeypatch.setattr("rpglib.zoo.images.CIFAR10_VALIDATION", 3)
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", None], ["data_batch_2", None]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", None]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": None})
    pixels = np.random.default_rng(0).integers(0, 256, (14, 3, 32, 32), dtype=np.uint8)
    labels = [*range(10), 3, 1, 2, 0]
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["x"] * 10}))
    for name, rows in {"data_batch_1": slice(6), "data_batch_2": slice(6, 10), "test_batch": slice(10, 14)}.items():
        batch = {"data": pixels[rows].reshape(-1, 3072), "labels": labels[rows]}
        (folder / name).write_bytes(pickle.dumps(batch))
    images = load_images("cifar10", tmp_path)
    assert images.source == "CIFAR-10" and [len(part) for part in (images.train, images.validation)] == [7, 3]
    mean, deviation = (torch.tensor(x).view(3, 1, 1) for x in ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)))
    expected = (torch.from_numpy(pixels).float() / 255 - mean) / deviation
    torch.testing.assert_close(images.test.images, expected[10:])
    assert images.test.labels.tolist() == [3, 1, 2, 0]
    order = torch.cat((images.train.labels, images.validation.labels))
    assert order.sort().values.tolist() == list(range(10))
    torch.testing.assert_close(torch.cat((images.train.images, images.validation.images)), expected[order])


def test_a_broken_parquet_file_is_one_line(tmp_path):
    folder = tmp_path / "cifar10"
    folder.mkdir()
    (folder / "train-0.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(InputError, match="copy it again"):
        load_images("cifar10", tmp_path)


def encoded(image: np.ndarray, encoding: str) -> bytes:
    Image.fromarray(image).save(buffer := io.BytesIO(), encoding)
    return buffer.getvalue()


NOISE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
# Compressed as photographs are: a wrong bit of noise, which is not, is noticed without any checksum.
SMOOTH = (np.random.default_rng(0).normal(0, 6, (32, 32, 3)).cumsum(0).clip(-120, 120) + 128).astype(np.uint8)


@pytest.mark.parametrize("encoding", ["PNG", "JPEG"])
def test_a_damaged_image_is_one_line(encoding):
    """No byte of a PNG is without a checksum; of a JPEG only what cannot be read at all is noticed."""
    good, random = encoded(SMOOTH, encoding), np.random.default_rng(1)
    for cut in random.integers(0, len(good), 40):
        with pytest.raises(InputError, match="image 3 is damaged") as caught:
            _decode(good[:cut], "image 3")
        assert "\n" not in str(caught.value)
    for place in random.integers(0, len(good) * 8, 1500):
        flipped = bytearray(good)
        flipped[place // 8] ^= 1 << place % 8
        try:
            pixels = _decode(bytes(flipped), "image 3")
        except InputError:
            continue
        assert encoding == "JPEG" or np.array_equal(pixels, SMOOTH)


@pytest.mark.parametrize("size", [(1, 1), (33, 32), (9000, 9000)])
def test_an_image_of_another_size_is_not_even_decoded(size):
    Image.new("1", size).save(buffer := io.BytesIO(), "PNG")
    with pytest.raises(InputError, match=r"damaged \(\d+ x \d+ pixels\)"):
        _decode(buffer.getvalue(), "it")


def write_table(folder: Path, part: str, **columns) -> None:
    import pyarrow
    from pyarrow import parquet

    folder.mkdir(exist_ok=True)
    parquet.write_table(pyarrow.table(columns), folder / f"{part}-0.parquet")


ROW = {"bytes": encoded(NOISE, "PNG"), "path": None}
FOREIGN = {
    "a label too large": ({"img": [ROW] * 2, "label": [0, 10]}, "row 1 of .* has the label 10, not one from 0 to 9"),
    "a negative label": ({"img": [ROW], "label": [-1]}, "the label -1"),
    "no label": ({"img": [ROW] * 2, "label": [3, None]}, "row 1 of .* has the label None"),
    "labels in words": ({"img": [ROW], "label": ["cat"]}, "the label 'cat'"),
    "labels as floats": ({"img": [ROW], "label": [1.0]}, "the label 1.0"),
    "no column of labels": ({"img": [ROW]}, "not in the hub's layout"),
    "a column by another name": ({"image": [ROW], "label": [1]}, "not in the hub's layout"),
    "images as bytes": ({"img": [ROW["bytes"]], "label": [1]}, "not in the hub's layout"),
    "images without bytes": ({"img": [{"path": "a.png"}], "label": [1]}, "not in the hub's layout"),
    "an image that is none": ({"img": [ROW, {"bytes": None, "path": "a"}], "label": [1, 1]}, "row 1 of .* no image"),
    "no rows": ({"img": [ROW][:0], "label": [1][:0]}, "not in the hub's layout|has 0 images"),
    "an image of nonsense": ({"img": [{"bytes": b"nonsense", "path": ""}], "label": [1]}, "image 0 of .* is damaged"),
}


@pytest.mark.parametrize("fault", FOREIGN)
def test_a_table_that_is_not_cifar10_is_one_line(tmp_path, fault, monkeypatch):
    columns, words = FOREIGN[fault]
    monkeypatch.setattr("rpglib.zoo.images.CIFAR10_VALIDATION", 0)  # so that a single row were enough
    for part in ("train", "test"):
        write_table(tmp_path / "cifar10", part, **columns)
    with pytest.raises(InputError, match=words) as caught:
        load_images("cifar10", tmp_path)
    assert "\n" not in str(caught.value)


def test_too_few_images_to_hold_some_back(tmp_path):
    for part in ("train", "test"):
        write_table(tmp_path / "cifar10", part, img=[ROW] * 5000, label=[1] * 5000)
    with pytest.raises(InputError, match=r"train.* has 5000 images, 5001 is the least"):
        load_images("cifar10", tmp_path)


def write_parquet(folder: Path, encoding: str, **parts: np.ndarray) -> None:
    import pyarrow
    from pyarrow import parquet

    folder.mkdir()
    for name, pixels in parts.items():
        rows = [{"bytes": encoded(image, encoding), "path": None} for image in pixels]
        labels = [i % 10 for i in range(len(pixels))]
        parquet.write_table(pyarrow.table({"img": rows, "label": labels}), folder / f"{name}-00000-of-00001.parquet")


@pytest.mark.skipif(not (REAL / "cifar10").is_dir(), reason=f"CIFAR-10's parquet files are not in {REAL}; set RPG_DATA")
def test_the_real_test_images_of_cifar10():
    from rpglib.zoo.images import _read_part

    images, labels = _read_part(REAL / "cifar10", "test")
    assert len(images) == 10_000 and np.bincount(labels).tolist() == [1000] * 10
    # Recorded numbers were measured on the pixels that torchvision decodes.
    for image in images[::25]:
        theirs = decode_image(torch.frombuffer(bytearray(image), dtype=torch.uint8), ImageReadMode.RGB)
        assert torch.from_numpy(_decode(image, "it")).permute(2, 0, 1).equal(theirs)


def test_a_relative_folder_of_data_is_one_of_the_project(tmp_path, monkeypatch):
    project, home = tmp_path / "project", tmp_path / "home"
    (project / "notebooks").mkdir(parents=True)
    (home / "mine").mkdir(parents=True)
    (project / "pyproject.toml").touch()
    monkeypatch.delenv("RPG_DATA", raising=False)
    monkeypatch.delenv("RPG_HOME", raising=False)
    monkeypatch.chdir(project / "notebooks")
    assert data_root() == project / "data/datasets"
    monkeypatch.setenv("RPG_DATA", "mine")
    assert data_root() == project / "mine"
    monkeypatch.setenv("RPG_HOME", str(home))
    assert data_root() == home / "mine"
    (home / "mine").rmdir()
    assert data_root() == project / "mine"
    monkeypatch.setenv("RPG_DATA", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.chdir(tmp_path)  # in no project
    monkeypatch.setenv("RPG_DATA", "")
    assert data_root() == home / "data/datasets"
    monkeypatch.delenv("RPG_HOME")
    assert data_root() == Path("data/datasets")


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
    assert (len(images.train), len(images.validation)) == (9, 1)
    with pytest.raises(InputError, match="ImageNet is not in"):
        imagenet(tmp_path / "absent", model)


def test_imagenet_s_training_images_come_shuffled_and_cropped_at_random_and_no_others_do(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (20, 40, 50, 3), dtype=np.uint8)
    for part in ("train", "val"):
        for i, pixels in enumerate(noise):
            folder = tmp_path / part / f"class {i:02}"
            folder.mkdir(parents=True)
            Image.fromarray(pixels).save(folder / "0.png")
    model = Architecture("test_resnet", num_classes=20, image_size=160).build()
    images = imagenet(tmp_path, model, workers=0)
    (one, first), (other, second) = (next(images.train.batches(19, seed)) for seed in (0, 1))
    before = random.getstate(), torch.get_rng_state()
    again = take(images.train, 19, seed=1)
    assert again.images.equal(other) and again.labels.equal(second)
    assert random.getstate() == before[0] and torch.get_rng_state().equal(before[1])
    assert first.sort().values.equal(second.sort().values) and not first.equal(second)
    assert not any(x.equal(y) for x, y in zip(one[first.argsort()], other[second.argsort()], strict=True))
    (one, first), (other, second) = (next(iter(images.test.batches(20))) for _ in range(2))
    assert first.equal(second) and first.tolist() == list(range(20)) and one.equal(other)


def test_the_validation_images_of_imagenet_are_neither_trained_nor_tested_on(tmp_path):
    for part, count in (("train", 205), ("val", 1)):
        write_folder(tmp_path / part / "cat", 1)
        for i in range(1, count):
            (tmp_path / part / "cat" / f"{i}.png").hardlink_to(tmp_path / part / "cat" / "0.png")
    images = imagenet(tmp_path, workers=0)
    files = {
        part: {path for path, _ in getattr(images, part).loader.args[0].samples}
        for part in ("train", "validation", "test")
    }
    assert [len(names) for names in files.values()] == [203, 2, 1]
    assert not files["validation"] & (files["train"] | files["test"])
    assert {path.partition("/cat/")[0] for path in files["validation"]} == {str(tmp_path / "train")}
    # They come whole and in order, as the test images do, not cropped at random.
    first, second = ([labels for _, labels in images.validation.batches(1)] for _ in range(2))
    assert first == second and len(first) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_of_imagenet_is_one_line(tmp_path, workers):
    for part in ("train", "val"):
        write_folder(tmp_path / part / "cat", 8)  # four batches: enough for a process of the loader
    (tmp_path / "val" / "cat" / "1.png").write_bytes(b"nonsense")
    images = imagenet(tmp_path, workers=workers)
    with pytest.raises(InputError, match=r"val/cat/1\.png is damaged .*; unpack it again") as caught:
        list(images.test.batches(2))
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(tmp_path))


def test_classes_are_named_in_the_order_of_their_labels_and_labels_are_all_or_none(tmp_path):
    for part in ("train", "val"):
        for name, count in (("class2", 3), ("class10", 4)):
            write_folder(tmp_path / part / name, count)
    images = imagenet(tmp_path, workers=0)
    assert images.class_names == ("class2", "class10") and labels_of(images.test).tolist() == [0] * 3 + [1] * 4
    assert len(take(images.train, 200)) == len(images.train) == 6
    with pytest.raises(InputError, match="0 of 6 images were read, as in training; take a part that is tested on"):
        labels_of(images.train)


def test_imagenet_without_images(tmp_path):
    for part in ("train", "val"):
        (tmp_path / part / "cat").mkdir(parents=True)
    with pytest.raises(InputError, match="train holds no images"):
        imagenet(tmp_path)
    for part in ("train", "val"):
        write_folder(tmp_path / part / "cat", 1)
    with pytest.raises(InputError, match="too few to hold one back"):
        imagenet(tmp_path)


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
    parts = (images.train, images.validation, images.test)
    assert [len(part) for part in parts] == [14, 1, 10], "images of other classes are left out"
    assert images.size == imagenet(fake_imagenet / "imagenet", model, workers=0).size
    labels = torch.cat([y for _, y in images.test.batches(4)])
    # In the order of the files: a class comes where the last of its folders does.
    last = [indices[-1] for indices in COARSE_CLASSES.values()]
    assert labels.tolist() == sorted(range(10), key=last.__getitem__)
    ((_, labels),) = images.train.batches(14)
    ((_, held),) = images.validation.batches(1)
    assert torch.cat((labels, held)).bincount().tolist() == [1, 2] * 5


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


def test_parts_that_are_none_are_refused():
    with pytest.raises(InputError, match=r"Stream\.loader"):
        Stream(3, (1, 8, 8), loader=[])
    whole = load_images("digits")
    with pytest.raises(InputError, match=r"Images\.name"):
        dataclasses.replace(whole, name=3)


@pytest.mark.parametrize("labels", [torch.zeros(2, dtype=torch.int64), torch.zeros(3), [0, 1, 2], None])
def test_a_split_has_a_label_for_every_image(labels):
    with pytest.raises(InputError, match="labels"):
        Split(torch.zeros(3, 1, 8, 8), labels)
