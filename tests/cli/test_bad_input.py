"""A corpus of bad input, each through the command line: one line, an exit code, and nothing left behind.

A row makes its input in an empty folder and gives the words of a command. The laws that single modules keep about such
input have their own tests; here it is the way from the user's hand to the message that is tested.
"""

import io
import json
import os
import pickle
import signal
import struct
import tarfile
import threading
import time
import zipfile
import zlib
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.numpy import load_file, save_file

import xfer.backend
from xfer.cli.main import main
from xfer.data import archives
from xfer.formats.files import read_weights, write_weights
from xfer.nets.weights import init_weights
from xfer.recipe.meaning import open_data
from xfer.system.memory import peak_memory
from xfer.testing.pictures import write_class_folders

NUMPY = EntryPoint("numpy", "xfer.testing.numpy_backend:NumpyBackend", xfer.backends.GROUP)
SECONDS = 10
TRAIN = ["--backend", "numpy", "--arch", "tiny", "--weights", "random", "--size", "32", "--epochs", "1", "-q"]
ROWS = {}


def row(name, said, code=2):
    """A function of an empty folder, which is the current one, that gives the words of a command."""

    def add(make):
        assert name not in ROWS
        ROWS[name] = make, said, code
        return make

    return add


def train(data="set", *more):
    return ["train", "--data", data, "--output", "out", *TRAIN, *more]


def check(data="set", *more):
    return ["data", "check", data, "--set", "augment.size=32", "-q", *more]


def pictures(root="set", **how):
    return write_class_folders(Path(root), **{"counts": (4, 3)} | how)


def spoil(content, name="train/ants/0.png", **how):
    (pictures(**how) / name).write_bytes(content)


def picture(format="PNG", mode="RGB", size=(40, 48)):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, format)
    return buffer.getvalue()


def png(width, height, data=b""):
    """A PNG with a header of our own."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run to predict with, resume, convert and damage copies of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xfer.backends.declared", lambda: {"numpy": NUMPY})
        root = tmp_path_factory.mktemp("runs")
        write_class_folders(root / "set", counts=(4, 3))
        done = CliRunner().invoke(main, ["train", "--data", str(root / "set"), "--output", str(root / "run"), *TRAIN])
        assert done.exit_code == 0, done.output
        return root / "run"


@contextmanager
def limited(seconds):
    """A hang fails, and does not stop the suite. Not on Windows, nor beside other threads' tests."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(*_):
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# Folders


@row("an empty folder", "no class folders")
def _(here):
    Path("set").mkdir()
    return train()


@row("pictures, but no classes", "no class folders")
def _(here):
    Path("set").mkdir()
    Path("set/0.png").write_bytes(picture())
    return train()


@row("a class without pictures", "no picture in this class")
def _(here):
    for split in ("train", "val"):
        (pictures() if split == "train" else Path("set")).joinpath(split, "wasps").mkdir()
    return train()


@row("a class in train alone", "only in train: wasps")
def _(here):
    (pictures() / "train/wasps").mkdir()
    return train()


@row("a class in val alone", "only in val: wasps")
def _(here):
    (pictures() / "val/wasps").mkdir()
    return train()


@row("train without val", "Cure: add one")
def _(here):
    pictures().joinpath("val").rename("elsewhere")
    return train()


@row("hidden folders alone", "no class folders")
def _(here):
    root = pictures()
    (root / "train/ants").rename(root / "train/.ants")
    (root / "train/bees").rename(root / "train/__MACOSX")
    return train()


@row("hidden files alone in a class", "no picture in this class")
def _(here):
    for i in range(4):
        os.rename(pictures_once(i) / f"train/ants/{i}.png", f"set/train/ants/.{i}.png")
    return train()


def pictures_once(i):
    return pictures() if i == 0 else Path("set")


@row("documents in place of pictures", "not an image suffix")
def _(here):
    for name in ("ants", "bees"):
        Path("set", name).mkdir(parents=True)
        Path("set", name, "report.pdf").write_bytes(b"%PDF-1.4")
    return train()


@row("one class", "only one class, 'ants'")
def _(here):
    pictures(classes=["ants"])
    return train()


@row("one picture in all", "no picture in this class")
def _(here):
    for name in ("ants", "bees"):
        Path("set", name).mkdir(parents=True)
    Path("set/ants/0.png").write_bytes(picture())
    return train()


@row("one picture a class", "too few pictures to split off")
def _(here):
    pictures("with", counts=(1, 1)).joinpath("train").rename("set")
    return train()


@row("a picture in place of a folder", "is a file. Expected a folder")
def _(here):
    Path("set").write_bytes(picture())
    return train()


@row("a folder that is not there", "does not exist")
def _(here):
    return train("nowhere")


@row("a name nearly right", "Did you mean 'ants_bees'")
def _(here):
    return train("ants_bee")


@row("a name with a line break", "does not exist")
def _(here):
    return train("no\nwhere")


@row("a name that is no text", "does not exist")
def _(here):
    return check(os.fsdecode(b"\xff\xfe"))


@row("data whose name is no text", "is not UTF-8, as a recipe has to be. Cure: rename it")
def _(here):
    try:
        pictures().rename(here / os.fsdecode(b"\xff"))
    except OSError as error:
        pytest.skip(f"no such name on this disk: {error}")
    return train(os.fsdecode(b"\xff"))


@row("a class whose name is no text", r"class folder '\udcff' is not UTF-8. Cure: rename it")
def _(here):
    root = pictures()
    try:
        (root / "train/ants").rename(root / "train" / os.fsdecode(b"\xff"))
    except OSError as error:
        pytest.skip(f"no such name on this disk: {error}")
    return train()


@row("a name too long for a file", "too long")
def _(here):
    return train("x" * 300)


@row("a link that leads to itself", "set")
def _(here):
    Path("set").symlink_to("set")
    return train()


@row("a class that links to nothing", "no class folders")
def _(here):
    Path("set").mkdir()
    for name in ("ants", "bees"):
        Path("set", name).symlink_to("nowhere")
    return train()


@row("a class that is a circle of links", "no picture in this class")
def _(here):
    root = pictures()
    for split in ("train", "val"):
        (root / split / "wasps").mkdir()
        (root / split / "wasps/again").symlink_to("..")
        (root / split / "wasps/itself").symlink_to("itself")
    return train()


@row("pictures that link to nothing", "no such file or directory")
def _(here):
    root = pictures()
    for i in range(4):
        (root / f"train/ants/{i}.png").unlink()
        (root / f"train/ants/{i}.png").symlink_to("nowhere.png")
    return train()


@row("a folder that may not be read", "cannot be read")
def _(here):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (pictures() / "train/ants").chmod(0)
    return train()


# Pictures: an error each with on_bad_image = "error", a finding with `xfer data check`

PICTURES = {
    "empty": (b"", "empty file"),
    "text": (b"<html>not found</html>" * 20, "not an image"),
    "a PNG cut in its header": (picture()[:20], "truncated"),
    "a PNG cut in its pixels": (picture(size=(300, 300))[:200], "truncated"),
    "a JPEG cut after its marker": (picture("JPEG")[:3], "not an image"),
    "a JPEG cut in its header": (picture("JPEG")[:100], "truncated"),
    "a JPEG cut in its pixels": (picture("JPEG", size=(500, 500))[:-400], "truncated"),
    "a BMP cut in its pixels": (picture("BMP")[:-1000], "truncated"),
    "zeros": (bytes(1000), "not an image"),
    "a PNG with a flipped bit": (picture()[:40] + b"\xff" + picture()[41:], ""),
    "a bomb's header": (png(40_000, 40_000), "more than 178,956,970 pixels"),
    "a header of 2 billion columns": (png(2**31 - 1, 1), "more than 178,956,970 pixels"),
    "no columns": (png(0, 8), ""),
    "a line of pixels": (picture(size=(60_000, 1)), "more than 100 times as long as wide"),
    "a line of pixels, as JPEG": (picture("JPEG", size=(1, 60_000)), "more than 100 times as long as wide"),
    "a program in PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n", "not an image"),
    "a vector drawing": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not an image"),
}


def bad_picture(content):
    def make(here):
        spoil(content)
        return train("set", "--set", "data.on_bad_image=error")

    return make


def found_picture(content):
    def make(here):
        spoil(content)
        return check()

    return make


for name, (content, said) in PICTURES.items():
    row(f"picture: {name}", f"cannot be used: {said}")(bad_picture(content))
    row(f"found: {name}", f"1 unreadable picture (1 {said}", code=1)(found_picture(content))


@row("a picture too large to be read", "more than 512 MiB")
def _(here):
    with (pictures() / "train/ants/0.png").open("wb") as file:
        file.truncate(600 << 20)  # a hole: it takes no room on the disk
    return train("set", "--set", "data.on_bad_image=error")


@row("a pipe with a picture's name", "empty file")
def _(here):
    path = pictures() / "train/ants/0.png"
    path.unlink()
    os.mkfifo(path)
    return train("set", "--set", "data.on_bad_image=error")


@row("a device with a picture's name", "empty file")
def _(here):
    path = pictures() / "train/ants/0.png"
    path.unlink()
    path.symlink_to("/dev/zero")
    return train("set", "--set", "data.on_bad_image=error")


@row("a picture for predicting that is none", "not an image")
def _(here):
    Path("x.png").write_bytes(b"text")
    return ["predict", "RUN", "x.png", "-o", "out/p.csv"]


# Copies, through both commands


def copied(to):
    root = pictures()
    (root / to).write_bytes((root / "train/ants/1.png").read_bytes())


@row("a copy in both splits", "in train and val")
def _(here):
    copied("val/ants/0.png")
    return train("set", "--on-leak", "error")


@row("a copy in two classes", "in two classes")
def _(here):
    copied("train/bees/0.png")
    return train("set", "--on-leak", "error")


@row("a class of copies alone", "same bytes as")
def _(here):
    root = pictures(counts=(1, 3))
    (root / "val/ants/0.png").write_bytes((root / "train/ants/0.png").read_bytes())
    return train("set", "--on-leak", "drop")


@row("found: a copy in both splits", "in train and val", code=1)
def _(here):
    copied("val/ants/0.png")
    return check()


@row("found: a copy in two classes", "in two classes", code=1)
def _(here):
    copied("train/bees/0.png")
    return check()


@row("found: class folders that differ", "class folders differ", code=1)
def _(here):
    (pictures() / "val/wasps").mkdir()
    return check()


@row("found: one picture a class", "too few pictures to split off", code=1)
def _(here):
    pictures("with", counts=(1, 1)).joinpath("train").rename("set")
    return check()


@row("checked: nothing there", "does not exist")
def _(here):
    return check("nowhere", "--output", "out")


@row("checked: nothing but bad pictures", "no usable picture")
def _(here):
    for path in (pictures() / "train").rglob("*.png"):
        path.write_bytes(b"")
    return check("set", "--output", "out")


@row("checked: an unknown key", "Did you mean 'augment'")
def _(here):
    pictures()
    return check("set", "--set", "augmnt.size=3")


# Archives


def zipped(name, content=b"x", edit=lambda entry: None):
    with zipfile.ZipFile("set.zip", "w", zipfile.ZIP_DEFLATED) as file:
        entry = zipfile.ZipInfo(name)
        edit(entry)
        file.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return train("set.zip")


def tarred(name, **info):
    with tarfile.open("set.tar", "w") as file:
        entry = tarfile.TarInfo(name)
        for key, value in info.items():
            setattr(entry, key, value)
        file.addfile(entry)
    return train("set.tar")


@row("an archive that climbs out", "set.zip")
def _(here):
    return zipped("../../evil.png")


@row("an archive with an absolute path", "set.zip")
def _(here):
    return zipped(str(here.parent.resolve() / "evil.png"))


@row("an archive with a link", "set.tar")
def _(here):
    return tarred("set/a", type=tarfile.SYMTYPE, linkname="/etc/passwd")


@row("an archive with a hard link", "set.tar")
def _(here):
    return tarred("set/a", type=tarfile.LNKTYPE, linkname="../../x")


@row("an archive with a device", "set.tar")
def _(here):
    return tarred("set/a", type=tarfile.CHRTYPE, devmajor=1, devminor=5)


@row("an archive that is a bomb", "set.zip")
def _(here):
    return zipped("set/a.png", bytes(30 << 20))


@row("an encrypted archive", "set.zip")
def _(here):
    zipped("a/0.png", picture())
    content = bytearray(Path("set.zip").read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    Path("set.zip").write_bytes(content)
    return train("set.zip")


@row("an archive cut short", "set.zip")
def _(here):
    zipped("a/0.png", os.urandom(5000))
    Path("set.zip").write_bytes(Path("set.zip").read_bytes()[:3000])
    return train("set.zip")


@row("a text called .zip", "set.zip")
def _(here):
    Path("set.zip").write_text("not an archive")
    return check("set.zip")


@row("an archive without classes", "no class folders")
def _(here):
    zipped("readme.txt")
    return train("set.zip")


@row("an archive of nothing", "no class folders")
def _(here):
    zipfile.ZipFile("set.zip", "w").close()
    return train("set.zip")


# Weights


class Evil:
    def __reduce__(self):
        return os.mkdir, ("out",)


def weighted(name, content=None, *more):
    pictures()
    if content is not None:
        Path(name).write_bytes(content)
    return train("set", "--weights", name, *more)


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@row("weights that run code", "Cure")
def _(here):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a/data.pkl", pickle.dumps({"w": Evil()}, 2))
    return weighted("w.pth", buffer.getvalue())


@row("a bare pickle that runs code", "w.pth")
def _(here):
    return weighted("w.pth", pickle.dumps(Evil(), 2))


@row("weights cut short", "w.pth")
def _(here):
    write_weights(Path("w.pth"), {"w": np.zeros(1000, np.float32)}, {})
    return weighted("w.pth", Path("w.pth").read_bytes()[:2000])


@row("weights with a flipped bit", "w.pth")
def _(here):
    write_weights(Path("w.pth"), {"w": np.zeros(1000, np.float32)}, {})
    content = bytearray(Path("w.pth").read_bytes())
    content[len(content) // 2] ^= 1
    return weighted("w.pth", bytes(content))


@row("weights of another network", "does not fit the network")
def _(here):
    save_file({"conv1.weight": np.zeros(3, np.float32)}, "w.safetensors")
    return weighted("w.safetensors")


@row("weights that are not finite", "not finite")
def _(here):
    weights = load_file(Path(os.environ["XFER_BAD_RUN"]) / "best.safetensors")
    save_file({name: np.full_like(value, np.nan) for name, value in weights.items()}, "w.safetensors")
    return weighted("w.safetensors")


@row("weights with a suffix of no format", "w.bin")
def _(here):
    return weighted("w.bin", b"x")


@row("a .ckpt that is none", "w.ckpt")
def _(here):
    return weighted("w.ckpt", os.urandom(300))


@row("a folder called .pth", "w.pth")
def _(here):
    Path("w.pth").mkdir()
    return weighted("w.pth")


@row("a header longer than its file", "w.safetensors")
def _(here):
    return weighted("w.safetensors", struct.pack("<Q", 2**60) + b"{}")


@row("a header that promises a terabyte", "w.safetensors")
def _(here):
    return weighted("w.safetensors", safetensors({"w": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}))


@row("a header whose shape lies", "w.safetensors")
def _(here):
    lie = {"w": {"dtype": "F32", "shape": [9, 9], "data_offsets": [0, 8]}}
    return weighted("w.safetensors", safetensors(lie, bytes(8)))


@row("a header nested without end", "w.safetensors")
def _(here):
    return weighted("w.safetensors", safetensors(b"[" * 100_000))


@row("converting what is not there", "none.pth")
def _(here):
    return ["convert", "none.pth", "out/x.ckpt"]


@row("converting text", "w.safetensors")
def _(here):
    Path("w.safetensors").write_text("text")
    return ["convert", "w.safetensors", "out/x.pth"]


@row("converting code", "Cure")
def _(here):
    Path("w.pth").write_bytes(pickle.dumps(Evil(), 2))
    return ["convert", "w.pth", "out/x.safetensors"]


@row("converting to no format", "x.onnx")
def _(here):
    write_weights(Path("w.pth"), {"w": np.zeros(3, np.float32)}, {})
    return ["convert", "w.pth", "out/x.onnx"]


@row("converting onto what is there", "exists already")
def _(here):
    write_weights(Path("w.pth"), {"w": np.zeros(3, np.float32)}, {})
    write_weights(Path("x.ckpt"), {"w": np.zeros(3, np.float32)}, {})
    return ["convert", "w.pth", "x.ckpt"]


# Recipes


def recipe(content, *more):
    pictures()
    Path("r.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    return train("set", "-c", "r.toml", *more)


RECIPES = {
    "an unknown key": ("[train]\nepoch = 3", "Did you mean 'epochs'"),
    "an unknown section": ("[trian]\nepochs = 3", "Did you mean 'train'"),
    "a wrong type": ('[train]\nbatch_size = "many"', "train.batch_size"),
    "a true for a number": ("[train]\nbatch_size = true", "train.batch_size"),
    "a number out of range": ("[train]\nbatch_size = 0", "train.batch_size"),
    "a number beyond all ranges": (f"seed = {10**30}", "seed"),
    "a rate that is no number": ("[optimizer]\nmomentum = nan", "optimizer.momentum"),
    "an unknown choice": ('[data]\non_leak = "ignore"', "data.on_leak"),
    "a section that is a number": ("train = 3", "train"),
    "an unknown transform": ('[augment]\ntrain = [{ op = "Blurr" }]', "Blurr"),
    "pictures of different sizes": ('[augment]\ntrain = [{ op = "HorizontalFlip" }]', "Cure"),
    "broken TOML": ("[train\nepochs = 3", "not valid TOML"),
    "a key twice": ("[train]\nepochs = 3\nepochs = 4", "not valid TOML"),
    "no text": (b"\xff\xfe\x00", "cannot be read"),
    "a zero byte": (b"seed = 1\x00", "not valid TOML"),
    "nested too deep": ("seed = " + "[" * 50_000, "not valid TOML"),
    "a date": ("seed = 2024-01-01", "no recipe needs"),
    "a megabyte of brackets": ("x = [" + "[],\n" * 250_000, "not valid TOML"),
    "a huge list": ("seed = [" + "1," * 300_000 + "]", "seed"),
    "an endless name": (f"{'x' * 100_000} = 1", "unknown key"),
}
for name, (content, said) in RECIPES.items():
    row(f"recipe: {name}", said)(lambda here, content=content: recipe(content))


@row("a recipe that is a folder", "cannot be read")
def _(here):
    pictures()
    Path("r.toml").mkdir()
    return train("set", "-c", "r.toml")


# Checkpoints and runs


def checkpoint(edit):
    """The run's checkpoint, with other metadata."""
    weights, meta = read_weights(Path(os.environ["XFER_BAD_RUN"]) / "best.safetensors")
    write_weights(Path("c.safetensors"), weights, edit(dict(meta)) or {})
    Path("x.png").write_bytes(picture())
    return ["predict", "c.safetensors", "x.png", "-o", "out/p.csv"]


CHECKPOINTS = {
    "no metadata": (lambda meta: None, "not the classes and preprocessing"),
    "of another format": (lambda meta: meta | {"format": "xfer-99"}, "not the classes and preprocessing"),
    "damaged classes": (lambda meta: meta | {"classes": "[1,"}, "metadata is damaged"),
    "too few classes": (lambda meta: meta | {"classes": '["ants"]'}, "does not fit the network"),
    "no image size": (lambda meta: {k: v for k, v in meta.items() if k != "image_size"}, "metadata is damaged"),
    "a size of text": (lambda meta: meta | {"image_size": '["a", "b"]'}, "metadata is damaged"),
    "metadata nested too deep": (lambda meta: meta | {"classes": "[" * 100_000}, "metadata is damaged"),
    "an unknown network": (lambda meta: meta | {"arch": "resnet9000"}, "arch = 'resnet9000'"),
    "an unknown transform": (lambda meta: meta | {"transforms": '[{"op": "Evil"}]'}, "metadata is damaged"),
    "an unknown backend": (lambda meta: meta | {"backend": "numpie"}, "Did you mean 'numpy'"),
    "a mean of four": (lambda meta: meta | {"mean": "[1, 2, 3, 4]"}, "metadata is damaged"),
    "a deviation of zero": (lambda meta: meta | {"std": "[0, 0, 0]"}, "std"),
}
for name, (edit, said) in CHECKPOINTS.items():
    row(f"checkpoint: {name}", said)(lambda here, edit=edit: checkpoint(edit))


@row("a checkpoint cut short", "c.safetensors")
def _(here):
    words = checkpoint(lambda meta: meta)
    Path("c.safetensors").write_bytes(Path("c.safetensors").read_bytes()[:-100])
    return words


@row("resuming nothing", "expected the folder of a run")
def _(here):
    return ["train", "--resume", "nowhere", "-q"]


@row("resuming a folder of something else", "expected the folder of a run")
def _(here):
    Path("other").mkdir()
    return ["train", "--resume", "other", "-q"]


@row("resuming with another recipe", "goes on with its own recipe")
def _(here):
    return ["train", "--resume", "RUN", "--lr", "3", "-q"]


@row("resuming and replacing", "leave out one of them")
def _(here):
    return ["train", "--resume", "RUN", "--overwrite", "-q"]


@row("a run folder that holds a run", "already holds a run")
def _(here):
    pictures()
    words = train()
    words[words.index("out")] = "RUN"
    return words


@row("an output that is a file", "cannot be written")
def _(here):
    pictures()
    Path("out").write_text("mine")
    return train()


@row("evaluating on other classes", "wasps")
def _(here):
    pictures(classes=["bees", "wasps"])
    return ["evaluate", "RUN", "--data", "set", "-q"]


@row("comparing one run", "")
def _(here):
    return ["compare", "RUN"]


# Flags

FLAGS = {
    "an unknown device": (["--device", "tpu"], "tpu"),
    "a device that is not there": (["--device", "cuda:7"], "can use cpu here"),
    "an unknown backend": (["--backend", "nunpy"], "Did you mean 'numpy'"),
    "no value": (["--set", "train.epochs"], "expected key=value"),
    "no key": (["--set", "=3"], "expected key=value"),
    "a key into a number": (["--set", "seed.x=3"], "seed"),
    "a key too deep": (["--set", ".".join("x" * 3000) + "=1"], ""),
    "an empty flag": (["--set", ""], "expected key=value"),
    "a size of nothing": (["--size", "0"], "augment.size"),
    "a negative seed": (["--seed", "-1"], "seed"),
    "an unknown leak rule": (["--on-leak", "ignore"], "--on-leak"),
    "an unknown flag": (["--epoch", "3"], "No such option"),
}
for name, (words, said) in FLAGS.items():
    row(f"flag: {name}", said)(lambda here, words=words: pictures() and train("set", *words))


@row("predicting without pictures", "Missing argument")
def _(here):
    return ["predict", "RUN"]


@row("a pattern that matches nothing", "a pattern that matches some")
def _(here):
    return ["predict", "RUN", "*.webp", "-o", "out/p.csv"]


@row("a folder without pictures", "a folder with pictures")
def _(here):
    Path("none").mkdir()
    Path("none/notes.txt").write_text("x")
    return ["predict", "RUN", "none", "-o", "out/p.csv"]


@row("predictions into no known format", ".csv or .json")
def _(here):
    Path("x.png").write_bytes(picture())
    return ["predict", "RUN", "x.png", "-o", "out/p.txt"]


# Data that change between the check and the training


@pytest.fixture
def after_the_check(monkeypatch):
    """Give a function, to be called when all pictures have been checked."""

    def arrange(change):
        really = open_data

        def changing(*args, **kwargs):
            data = really(*args, **kwargs)
            change()
            return data

        monkeypatch.setattr("xfer.recipe.meaning.open_data", changing)

    return arrange


@pytest.fixture(autouse=True)
def at_home(monkeypatch, tmp_path, trained):
    monkeypatch.setattr("xfer.backends.declared", lambda: {"numpy": NUMPY})
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)  # or else a bomb would have to be a large one
    monkeypatch.setenv("XFER_BAD_RUN", str(trained))
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def run_(words, trained):
    begun, memory = time.monotonic(), peak_memory() or 0
    with limited(SECONDS):
        result = CliRunner().invoke(main, [word.replace("RUN", str(trained)) for word in words])
    assert time.monotonic() - begun < SECONDS
    assert (peak_memory() or 0) - memory < 1 << 30
    assert not isinstance(result.exception, Exception), result.exception  # SystemExit is none
    assert "Traceback" not in result.output
    return result


def refused(result, said):
    assert result.exit_code == 2, result.output
    assert said in result.stderr, result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert len(result.stderr) < 2000, "a line that can be read"
    assert result.stdout == ""


@pytest.mark.parametrize("name", ROWS)
def test_bad_input(name, tmp_path, trained):
    make, said, code = ROWS[name]
    words = make(tmp_path / "here")
    before = [p for p in (tmp_path / "here").rglob("*") if "out" in p.relative_to(tmp_path / "here").parts]
    result = run_(words, trained)
    if code == 2:
        refused(result, said)
        after = [p for p in (tmp_path / "here").rglob("*") if "out" in p.relative_to(tmp_path / "here").parts]
        assert after == before, "nothing is left behind"
    else:
        assert result.exit_code == code, result.output
        assert said in result.stdout
        assert result.stderr == ""
        assert "verdict  not ready" in result.stdout
    assert not (tmp_path / "evil.png").exists()
    if "no class" not in said:  # such an archive is sound, and unpacked before anyone looks for classes in it
        assert not list((tmp_path / "cache" / "unpacked").glob("*"))


def test_there_are_enough_of_them():
    assert len(ROWS) >= 60


# What looks bad and is not


@pytest.mark.parametrize("size", [1, 8, 9, 10**30])
def test_a_batch_above_the_set_still_takes_a_step(size, trained):
    pictures()
    result = run_(train("set", "--batch-size", str(size)), trained)
    assert result.exit_code == 0, result.stderr
    weights = read_weights(Path("out/last.safetensors"))[0]
    first = init_weights({name: value.shape for name, value in weights.items()}, seed=0)
    assert not np.array_equal(weights["fc.weight"], first["fc.weight"])
    assert np.array_equal(weights["stem.weight"], first["stem.weight"]), "or these are not the first weights"


GOOD = {
    "a CMYK JPEG": picture("JPEG", "CMYK"),
    "a 16-bit PNG": picture("PNG", "I;16"),
    "a palette": picture("PNG", "P"),
    "one bit": picture("PNG", "1"),
    "transparency": picture("PNG", "LA"),
    "a JPEG with a PNG's name": picture("JPEG"),
    "a GIF with a PNG's name": picture("GIF", "P"),
    "one pixel": picture(size=(1, 1)),
    "a PNG without its end": picture()[:-12],
    "a tail of rubbish": picture("JPEG") + b"rubbish" * 100,
}


@pytest.mark.parametrize("name", GOOD)
def test_odd_pictures_are_pictures(name, trained):
    spoil(GOOD[name])
    result = run_(train("set", "--set", "data.on_bad_image=error"), trained)
    assert result.exit_code == 0, result.stderr
    assert run_(check(), trained).exit_code == 0


@pytest.mark.parametrize(
    "name", ["with space", "蚂蚁", "$a$", "'quoted\"", "-dash", "x" * 200, "new\nline", "\udcff\udcfe"]
)
def test_odd_names_are_names(name, trained):
    root = pictures(classes=["ants", "bees"])
    try:
        (root / "val/bees/0.png").rename(root / "val/bees" / f"{name}.png")
    except OSError as error:
        pytest.skip(f"no such name on this disk: {error}")
    for split in ("train", "val") if "\udcff" not in name else ():
        (root / split / "ants").rename(root / split / name)
    (root / "val/bees/notes").write_text("to be named among the files left out")
    (root / "val/bees/notes").rename(root / "val/bees" / f"{name}.txt")
    result = run_([word for word in train() if word != "-q"], trained)
    assert result.exit_code == 0, result.stderr
    report = run_(check(), trained)
    assert report.exit_code == 0
    assert report.stdout.count("\n") == 11, "a line is a line whatever names are in it"
    assert run_(check("set", "--json", "--output", "report"), trained).exit_code == 0
    for more in ([], ["--json"], ["-o", "out/p.csv"], ["-o", "out/p.json"]):
        result = run_(["predict", "out", "set/val", "-q", *more], trained)
        assert result.exit_code == 0, result.stderr


CHANGES = {
    "vanishes": lambda path: path.unlink(),
    "is emptied": lambda path: path.write_bytes(b""),
    "is cut short": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "becomes a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("cached", ["true", "false"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_picture_that_changes_after_the_check_is_named(change, cached, after_the_check, trained):
    edit, path = CHANGES[change], pictures() / "train/ants/0.png"
    after_the_check(lambda: edit(path))
    refused(run_(train("set", "--set", f"features.cache={cached}"), trained), str(path))


def test_a_class_folder_that_vanishes_is_named(after_the_check, trained):
    root = pictures()
    after_the_check(lambda: (root / "val/bees").rename(root / "gone"))
    refused(run_(train(), trained), "val/bees/0.png")
