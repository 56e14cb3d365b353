"""Sets that torchvision reads, in the layouts that its classes expect: the same bits as from class folders."""

import gzip
import pickle
import re
import shutil
import struct

import numpy as np
import pytest
from PIL import Image

from xfer.data import torchvision_sets
from xfer.data.dataset import open_dataset
from xfer.errors import DataError, XferError
from xfer.testing.pictures import write_class_folders

pytest.importorskip("torchvision")
from xfer_torch import picture_sets


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("given") / "set", counts=(3, 2), size=(16, 16))


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Read in this process: one of its own takes seconds to import torchvision."""

    class Answer:
        code = 0

        def __init__(self, *words):
            self.content = {}
            try:
                picture_sets.write(words[0], words[1], picture_sets.Path(words[2]), int(words[3]))
            except XferError as error:
                self.content = {"kind": type(error).__name__, "message": str(error)}

    monkeypatch.setattr(torchvision_sets, "ask", lambda module, *words: Answer(*words))
    return lambda source, **options: open_dataset(str(source), cache=tmp_path / "cache", workers=1, **options)


def facts(data):
    """Of both splits: classes, labels and digests in their order."""
    return data.classes, [(s.labels.tolist(), s.digests.tobytes()) for s in (data.train, data.val)]


def eurosat(root, folder):
    shutil.copytree(root / "train", folder / "eurosat" / "2750")


def dtd(root, folder):
    for split in ("train", "val"):
        names = []
        for file in sorted((root / split).rglob("*.png")):
            name = f"{file.parent.name}/{split}-{file.name}"
            target = folder / "dtd/dtd/images" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
            names.append(name)
        labels = folder / "dtd/dtd/labels"
        labels.mkdir(exist_ok=True)
        (labels / f"{split}1.txt").write_text("\n".join(names))
        (labels / "test1.txt").write_text("\n".join(names))


def food(root, folder):
    import json

    for split, name in (("train", "train"), ("val", "test")):
        listed = {}
        for file in sorted((root / split).rglob("*.png")):
            stem = f"{file.parent.name}/{split}-{file.stem}"
            target = folder / "food-101/images" / f"{stem}.jpg"  # whatever it is called, it is read as what it is
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
            listed.setdefault(file.parent.name, []).append(stem)
        (folder / "food-101/meta").mkdir(exist_ok=True)
        (folder / f"food-101/meta/{name}.json").write_text(json.dumps(listed))


def pets(root, folder):
    annotations = folder / "oxford-iiit-pet/annotations"
    annotations.mkdir(parents=True)
    for split, name in (("train", "trainval"), ("val", "test")):
        lines = []
        for file in sorted((root / split).rglob("*.png")):
            stem = f"{file.parent.name}_{split}{file.stem}"
            target = folder / "oxford-iiit-pet/images" / f"{stem}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
            lines.append(f"{stem} {1 + (file.parent.name == 'bees')} 1 1")
        (annotations / f"{name}.txt").write_text("\n".join(lines))


def gtsrb(root, folder):
    for file in (root / "train").rglob("*.png"):
        target = folder / "gtsrb/GTSRB/Training" / f"0000{file.parent.name == 'bees':d}" / f"{file.stem}.ppm"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).save(target)
    test = folder / "gtsrb/GTSRB/Final_Test/Images"
    test.mkdir(parents=True)
    rows = ["Filename;ClassId"]
    for number, file in enumerate(sorted((root / "val").rglob("*.png"))):
        Image.open(file).save(test / f"{number}.ppm")
        rows.append(f"{number}.ppm;{file.parent.name == 'bees':d}")
    (folder / "gtsrb/GT-final_test.csv").write_text("\n".join(rows))


def caltech(root, folder):
    for name in ("ants", "bees"):
        place = folder / "caltech101/101_ObjectCategories" / name
        place.mkdir(parents=True)
        for number, file in enumerate(sorted((root / "train" / name).iterdir()), start=1):
            shutil.copy(file, place / f"image_{number:04d}.jpg")
    (folder / "caltech101/101_ObjectCategories/BACKGROUND_Google").mkdir()
    (folder / "caltech101/Annotations").mkdir()


@pytest.mark.parametrize(
    ("name", "make", "whole"),
    [
        ("EuroSAT", eurosat, False),
        ("DTD", dtd, True),
        ("food101", food, True),
        ("OxfordIIITPet", pets, True),
        ("Caltech101", caltech, False),
    ],
)
def test_sets_of_files_are_what_class_folders_are(root, opened, tmp_path, name, make, whole):
    make(root, tmp_path / "tv")
    data, here = opened(f"torchvision:{name}@{tmp_path / 'tv'}"), opened(root if whole else root / "train")
    assert [x[1] for x in facts(data)[1]] == [x[1] for x in facts(here)[1]]
    assert [x[0] for x in facts(data)[1]] == [x[0] for x in facts(here)[1]]
    assert [name.lower() for name in data.classes] == ["ants", "bees"]
    assert data.train.files[0].startswith(str(tmp_path / "tv"))  # where they lie


def test_classes_without_names(root, opened, tmp_path):
    gtsrb(root, tmp_path / "tv")
    data = opened(f"torchvision:GTSRB@{tmp_path / 'tv'}")
    assert (data.classes, data.train.labels.tolist(), len(data.val.files)) == (("00000", "00001"), [0] * 3 + [1] * 3, 4)


PIXELS = np.random.default_rng(0).integers(0, 256, (10, 28, 28), np.uint8)
LABELS = np.array([3, 1, 0, 3, 1, 0, 9, 2, 2, 9], np.uint8)


def idx(folder, packed=False):
    folder.mkdir(parents=True)
    for split in ("train", "t10k"):
        images = struct.pack(">4i", 2051, *PIXELS.shape) + PIXELS.tobytes()
        labels = struct.pack(">2i", 2049, len(LABELS)) + LABELS.tobytes()
        for name, content in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", labels)):
            (folder / name).write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_sets_of_arrays_lose_no_bit(opened, tmp_path, name):
    idx(tmp_path / "tv" / name / "raw")
    data = opened(f"torchvision:{name}@{tmp_path / 'tv'}", on_leak="warn")
    assert len(data.train.files) == len(data.val.files) == 10
    numbers = [int(file.rsplit("/", 1)[1].split(".")[0]) for file in data.train.files]
    for number, file, label in zip(numbers, data.train.files, data.train.labels, strict=True):
        assert (np.asarray(Image.open(file)) == PIXELS[number]).all()
        if name == "MNIST":
            assert data.classes[label].startswith(f"{LABELS[number]} - ")
    assert len(data.classes) == 5
    if name == "FashionMNIST":
        assert "Ankle boot" in data.classes


def cifar(folder, monkeypatch):
    from torchvision.datasets import CIFAR10, cifar

    place = folder / CIFAR10.base_folder
    place.mkdir(parents=True)
    rng = np.random.default_rng(1)
    pixels = {}
    for name, _ in CIFAR10.train_list + CIFAR10.test_list:
        pixels[name] = rng.integers(0, 256, (4, 3072), np.uint8)
        (place / name).write_bytes(pickle.dumps({"data": pixels[name], "labels": [0, 1, 0, 1]}))
    names = ["airplane", "automobile", *"abcdefgh"]
    (place / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    monkeypatch.setattr(cifar, "check_integrity", lambda path, md5=None: True)  # these are not the published bytes
    return pixels


def test_cifar10(opened, tmp_path, monkeypatch):
    pixels = cifar(tmp_path / "tv", monkeypatch)
    data = opened(f"torchvision:cifar10@{tmp_path / 'tv'}")
    assert (data.name, data.classes) == ("CIFAR10", ("airplane", "automobile"))
    assert (len(data.train.files), len(data.val.files)) == (20, 4)
    first = pixels["data_batch_1"][0].reshape(3, 32, 32).transpose(1, 2, 0)
    assert (np.asarray(Image.open(data.train.files[0])) == first).all()


def test_files_that_are_not_as_they_were_published_are_not_opened(opened, tmp_path, monkeypatch):
    """A pickle of a stranger's would run what he likes: torchvision compares its MD5 first."""
    with monkeypatch.context() as patch:
        cifar(tmp_path / "tv", patch)
    wrong = r"torchvision cannot read its train split \(Dataset not found or corrupted\)\."
    with pytest.raises(DataError, match=wrong):
        opened(f"torchvision:CIFAR10@{tmp_path / 'tv'}")
    assert not [*(tmp_path / "cache").rglob("*.png")]


def test_it_is_read_once_and_again_where_it_has_changed(root, opened, tmp_path, monkeypatch):
    eurosat(root, tmp_path / "tv")
    source = f"torchvision:EuroSAT@{tmp_path / 'tv'}"
    before = facts(opened(source))
    with monkeypatch.context() as patch:
        patch.setattr(torchvision_sets, "ask", None)
        patch.setattr(torchvision_sets, "find_spec", lambda name: None)
        assert facts(opened(source)) == before  # nor is torchvision needed any more
    (tmp_path / "tv/eurosat/2750/ants/0.png").unlink()
    after = opened(source)
    assert len(after.train.files) + len(after.val.files) == 5
    idx(tmp_path / "tv/MNIST/raw")
    source = f"torchvision:MNIST@{tmp_path / 'tv'}"
    before = opened(source).train.labels.tolist()
    labels = tmp_path / "tv/MNIST/raw/train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\0")  # as large as it was
    assert opened(source).train.labels.tolist() != before


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("torchvision:CIFAR1@.", r"torchvision = 'CIFAR1': expected one of CIFAR10.*Did you mean 'CIFAR10'\?"),
        ("torchvision:CIFAR10", r"no folder is named\. Expected torchvision:NAME@FOLDER"),
        ("torchvision:CIFAR10@nowhere", r"nowhere is no folder"),
        (
            "torchvision:EuroSAT@{tmp_path}",
            r"no eurosat in it, and nothing is downloaded\. Cure: the folder that torch",
        ),
    ],
)
def test_what_cannot_be_meant(opened, tmp_path, source, expected):
    with pytest.raises(DataError) as error:
        opened(source.format(tmp_path=tmp_path))
    assert re.search(expected, str(error.value)), error.value
    assert "\n" not in str(error.value)


def test_without_torchvision(root, opened, tmp_path, monkeypatch):
    eurosat(root, tmp_path / "tv")
    monkeypatch.setattr(torchvision_sets, "find_spec", lambda name: None)
    with pytest.raises(XferError, match=r"torchvision is not installed\. Cure: pip install 'xfer-vision\[torch\]'"):
        opened(f"torchvision:EuroSAT@{tmp_path / 'tv'}")


def test_more_than_is_allowed(opened, tmp_path, monkeypatch):
    idx(tmp_path / "tv/MNIST/raw")
    monkeypatch.setenv("XFER_LIMIT_REMOTE", "3000")
    with pytest.raises(DataError, match=r"more than 3,000 bytes\. Cure: XFER_LIMIT_REMOTE"):
        opened(f"torchvision:MNIST@{tmp_path / 'tv'}")


def test_every_set_has_a_class_of_torchvision():
    from torchvision import datasets

    assert set(torchvision_sets.OWN) == set(picture_sets.KNOWN)
    assert all(hasattr(datasets, name) for name in picture_sets.KNOWN)


def test_it_is_read_in_a_process_of_its_own(root, tmp_path):
    eurosat(root, tmp_path / "tv")
    data = open_dataset(f"torchvision:EuroSAT@{tmp_path / 'tv'}", cache=tmp_path / "cache", workers=1)
    assert facts(data) == facts(open_dataset(str(root / "train"), cache=tmp_path / "cache", workers=1))
    shutil.move(tmp_path / "tv/eurosat/2750", tmp_path / "tv/eurosat/2751")
    with pytest.raises(DataError, match=r"cannot read its train split \(Dataset not found\)"):
        open_dataset(f"torchvision:EuroSAT@{tmp_path / 'tv'}", cache=tmp_path / "cache", workers=1)
