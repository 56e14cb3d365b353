"""Files with a picture's name that are none that can be used: an error in training, a finding of `xfer data check`."""

import os
from pathlib import Path

from bad_input.shared import check, class_folders, picture, png, spoil, table, train

ROWS, row = table()


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


def in_training(content):
    def make(here):
        spoil(content)
        return train("set", "--set", "data.on_bad_image=error")

    return make


def in_a_check(content):
    def make(here):
        spoil(content)
        return check()

    return make


for name, (content, message) in PICTURES.items():
    row(f"picture: {name}", f"cannot be used: {message}")(in_training(content))
    row(f"found: {name}", f"1 unreadable picture (1 {message}", code=1)(in_a_check(content))


@row("a picture too large to be read", "more than 512 MiB")
def _(here):
    with (class_folders() / "train/ants/0.png").open("wb") as file:
        file.truncate(600 << 20)  # a hole: it takes no room on the disk
    return train("set", "--set", "data.on_bad_image=error")


@row("a pipe with a picture's name", "a pipe, expected a regular file")
def _(here):
    path = class_folders() / "train/ants/0.png"
    path.unlink()
    os.mkfifo(path)
    return train("set", "--set", "data.on_bad_image=error")


@row("a device with a picture's name", "a device, expected a regular file")
def _(here):
    path = class_folders() / "train/ants/0.png"
    path.unlink()
    path.symlink_to("/dev/zero")
    return train("set", "--set", "data.on_bad_image=error")


@row("a picture for predicting that is none", "not an image")
def _(here):
    Path("x.png").write_bytes(b"text")
    return ["predict", "RUN", "x.png", "-o", "out/p.csv"]
