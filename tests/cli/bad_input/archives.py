"""Archives in place of a folder: hostile, damaged, encrypted, or without classes."""

import gzip
import lzma
import os
import tarfile
import zipfile
from pathlib import Path

from archive_files import TAR_END, pax, tar_entry, tar_header, zip_end, zip_file

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


@row("an archive that is a web page", "is a web page. Cure: delete it")
def _(here):
    Path("set.zip").write_text("<!doctype html><title>Sign in</title>")
    return train("set.zip")


if hasattr(os, "mkfifo"):

    @row("a pipe called .tar", "set.tar: cannot be read (a pipe, expected a regular file)")
    def _(here):
        os.mkfifo("set.tar")
        return train("set.tar")


HOSTILE = {
    "a header that never ends": (tar_entry(b"1" * 500_000, kind=b"x"), "a damaged record in a header"),
    "a header that is too long": (tar_header(kind=b"L", size=2**30), "XFER_LIMIT_ARCHIVE_HEADER"),
    "a sparse file": (tar_header(kind=b"S"), "of the unknown kind"),
    "folders in folders": (pax(path=b"a/" * 2000 + b"0.png") + tar_entry(b"x"), "in more than 64 folders"),
    "a name that is too long": (pax(path=b"n" * 300 + b".png") + tar_entry(b"x"), "is no name of a file"),
    "a file that is a folder": (tar_entry(name=b"a/0.png") + tar_entry(name=b"a") + TAR_END, "cannot be written here"),
    "a size beyond its end": (pax(size=b"99999999999999999") + tar_entry(b"x"), "cut short"),
}
for name, (content, message) in HOSTILE.items():

    @row(f"a tar with {name}", message)
    def _(here, content=content):
        Path("set.tar.gz").write_bytes(gzip.compress(content))
        return train("set.tar.gz")


@row("a tar that asks for 2 GiB to be unpacked", "XFER_LIMIT_ARCHIVE_MEMORY")
def _(here):
    content = bytearray(lzma.compress(tar_entry(b"x"), lzma.FORMAT_ALONE))
    content[1:5] = (2**31).to_bytes(4, "little")
    Path("set.txz").write_bytes(content)
    return check("set.txz")


@row("a zip whose files lie over each other", "files that lie over each other")
def _(here):
    local, entry = zip_file(b"a/0.png", picture())
    Path("set.zip").write_bytes(local + entry * 500 + zip_end(500, len(entry) * 500, len(local)))
    return train("set.zip")


@row("a zip of more files than it has room for", "XFER_LIMIT_ARCHIVE_FILES")
def _(here):
    entries = zip_file()[1] * 50_000
    Path("set.zip").write_bytes(bytes(99) + entries + zip_end(0, len(entries), 99))
    return train("set.zip")
