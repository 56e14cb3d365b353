"""Archives in place of a folder: hostile, damaged, encrypted, or without classes."""

import os
import tarfile
import zipfile
from pathlib import Path

from bad_input.shared import check, picture, table, train

ROWS, row = table()


def zipped(name, content=b"x"):
    """Training on a .zip of one entry."""
    with zipfile.ZipFile("set.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return train("set.zip")


def tarred(name, **fields):
    """Training on a .tar of one entry, with these fields in its header."""
    with tarfile.open("set.tar", "w") as file:
        entry = tarfile.TarInfo(name)
        for key, value in fields.items():
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
