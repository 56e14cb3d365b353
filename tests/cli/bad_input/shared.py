"""What the rows share: how a theme lists them, the commands that most of them give, and the input that they spoil."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from xfer.testing.pictures import write_class_folders

TRAIN = ["--backend", "numpy", "--arch", "tiny", "--weights", "random", "--size", "32", "--epochs", "1", "-q"]
FINISHED_RUN = "XFER_BAD_RUN"  # the variable of the environment that tells a row where it is


class Row(NamedTuple):
    """Bad input: `make` makes it and gives the command's words, which has to end with `code` and say `message`."""

    name: str
    make: Callable[[Path], list[str]]
    message: str
    code: int


def table():
    """The rows of a theme, none yet, and the decorator that adds a function to them."""
    rows = []

    def row(name, message, code=2):
        def add(make):
            rows.append(Row(name, make, message, code))
            return make

        return add

    return rows, row


def train(data="set", *more):
    return ["train", "--data", data, "--output", "out", *TRAIN, *more]


def check(data="set", *more):
    return ["data", "check", data, "--set", "augment.size=32", "-q", *more]


def finished_run():
    return Path(os.environ[FINISHED_RUN])


def class_folders(root="set", classes=("ants", "bees"), counts=(4, 3)):
    """`root/{train,val}/class/N.png`; gives `root`."""
    return write_class_folders(Path(root), classes, counts)


def spoil(content):
    """A data set with a training picture that has this content."""
    (class_folders() / "train/ants/0.png").write_bytes(content)


def picture(format="PNG", mode="RGB", size=(40, 48)):
    """The bytes of a black picture of (width, height) `size`."""
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, format)
    return buffer.getvalue()


def png(width, height):
    """A PNG whose header promises this many pixels, and that holds none."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
