"""Archives that were made to hang or to fill a machine: refused in a line, in seconds and little memory.

And such as archivers really write, with long names, large numbers and odd places: what went in comes out.
"""

import bz2
import gzip
import io
import lzma
import os
import random
import signal
import struct
import subprocess
import tarfile
import time
import zipfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from archive_files import (
    CONTENT,
    TAR_END,
    make_tar,
    make_zip,
    pax,
    tar_entry,
    tar_header,
    tree,
    zip_end,
    zip_file,
    zip_of,
)

from xfer.data import streams
from xfer.data.archives import unpack
from xfer.data.streams import allowance
from xfer.data.zips import zip_entries
from xfer.errors import DataError
from xfer.system.memory import peak_memory

SECONDS = 10  # of processor time
MEMORY = 2**28


@contextmanager
def bounded():
    """Time and memory of what is done in the block."""
    measured = False
    with suppress(OSError):  # only Linux lets the peak begin anew; without that it may be that of a test before
        Path("/proc/self/clear_refs").write_text("5")
        measured = True
    before, started = peak_memory() or 0, time.process_time()
    alarm = getattr(signal, "alarm", lambda seconds: None)
    alarm(6 * SECONDS)  # a hang kills the suite, which is seen
    try:
        yield
    finally:
        alarm(0)
    assert time.process_time() - started < SECONDS
    if measured:
        assert peak_memory() - before < MEMORY


def refused(tmp_path, name, content, match):
    archive, unpacked = tmp_path / name, tmp_path / "unpacked"
    archive.write_bytes(content)
    with bounded(), pytest.raises(DataError, match=match) as raised:
        unpack(archive, unpacked)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 700
    assert str(archive) in str(raised.value)
    assert list(unpacked.iterdir()) == []


def zipped_zeros(size, begin):
    """A gzip stream of `begin` and zeros, without holding them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(begin) + b"".join(packer.compress(bytes(2**24)) for _ in range(size >> 24)) + packer.flush()


def large(number):
    """The field of a size that is too large for octal digits."""
    return b"\x80" + number.to_bytes(11, "big")


XZ = lzma.compress(tar_entry(b"x" * 600) + TAR_END, lzma.FORMAT_XZ)


def xz_with_dictionary(code):
    """The same stream, whose header asks for another dictionary: 40 is 4 GiB less a byte."""
    header = bytearray(XZ[12 : 12 + 4 * (XZ[12] + 1)])
    header[header.index(b"\x21\x01") + 2] = code
    header[-4:] = struct.pack("<L", zlib.crc32(header[:-4]))
    return XZ[:12] + bytes(header) + XZ[12 + len(header) :]


FILE = tar_entry(b"x" * 100)
TARS = {
    "a header that never ends": (tar_entry(b"1" * 500_000, kind=b"x"), "damaged record"),
    "a header of 8 EiB": (tar_header(kind=b"x", size=large(2**63)), r"a header of 9,223,.*XFER_LIMIT_ARCHIVE_HEADER"),
    "a global header of 2 MiB": (tar_entry(bytes(2**21), kind=b"g"), "a header of 2,097,152 bytes"),
    "a name of 2 MiB": (tar_entry(b"n" * 2**21, kind=b"L") + FILE, "a header of 2,097,152 bytes"),
    "a name of 100 kB": (tar_entry(b"n" * 100_000, kind=b"L") + FILE, "is no name of a file"),
    "a name cut short": (tar_header(kind=b"L", size=5000) + b"n" * 100, "broken, or cut short"),
    "a record of no length": (tar_entry(b"0 path=x\n", kind=b"x") + FILE, "damaged record"),
    "a record of a million digits": (tar_entry(b"9" * 19 + b" path=x\n", kind=b"x") + FILE, "damaged record"),
    "a record without a number": (tar_entry(b"-1 path=x\n", kind=b"x") + FILE, "damaged number"),
    "a record without an end": (tar_entry(b"9 path=xy", kind=b"x") + FILE, "damaged record"),
    "a size of text": (pax(size=b"-5") + FILE, "damaged number"),
    "a size of many digits": (pax(size=b"9" * 5000) + FILE, "damaged number"),
    "a size beyond the file": (pax(size=b"99999999999999") + FILE + TAR_END, "cut short"),
    "a file of 4 EiB": (tar_header(size=large(2**62)) + b"x" * 512, "cut short"),
    "a negative size": (tar_header(size=b"\xff" * 12), "damaged number"),
    "headers without a file": (pax(path=b"x") * 20_000, "more than one in 64 bytes"),
    "a sparse file of GNU": (tar_header(kind=b"S", size=0), "unknown kind b'S'"),
    "a sparse file of pax": (pax(**{"GNU.sparse.realsize": b"99999999999999"}) + FILE, "sparse"),
    "a folder for a file": (
        tar_entry(name=b"a/x") + tar_entry(b"y", name=b"a") + TAR_END,
        "'a' cannot be written here",
    ),
    "a file for a folder": (tar_entry(b"y", name=b"a") + tar_entry(name=b"a/x") + TAR_END, "'a/x' cannot be written"),
    "a file of no name": (tar_entry(b"y", name=b".") + TAR_END, "cannot be written here"),
    "folders in each other": (pax(path=b"a/" * 3000 + b"x") + FILE, "lies in more than 64 folders"),
    "a name with a NUL": (pax(path=b"../\0x") + FILE, "outside its folder"),
}


@pytest.mark.parametrize("name", TARS)
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_hostile_tars(tmp_path, name, suffix):
    content, match = TARS[name]
    if name == "headers without a file" and suffix == ".tar":
        match = "no end mark"
    refused(tmp_path, "x" + suffix, gzip.compress(content) if suffix == ".tar.gz" else content, match)


def test_the_smallest_of_them_takes_532_bytes_or_so(tmp_path):
    assert len(gzip.compress(TARS["a header that never ends"][0])) < 1000


@pytest.mark.parametrize("begin", [b"", FILE + TAR_END, tar_header(size=large(2**40))])
def test_what_decompresses_for_ever(tmp_path, monkeypatch, begin):
    """Before, behind and in a file."""
    monkeypatch.setattr(streams, "FREE_BYTES", 2**24)
    refused(tmp_path, "x.tar.gz", zipped_zeros(2**27, begin), "200 times its size")


def test_many_empty_files(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "FREE_FILES", 1000)
    count = 5000
    content = gzip.compress(b"".join(tar_header(b"%d" % i) for i in range(count)) + TAR_END)
    assert len(content) < 64 * count
    refused(tmp_path, "x.tar.gz", content, "more than one in 64 bytes.*XFER_LIMIT_ARCHIVE_FILES")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_many_empty_streams(tmp_path, pack):
    refused(tmp_path, "x.tar.gz", pack(FILE) + pack(b"") * 40_000 + pack(TAR_END), "more than one in 64 bytes")


ALONE = lzma.compress(FILE + TAR_END, lzma.FORMAT_ALONE)


@pytest.mark.parametrize(
    "content", [xz_with_dictionary(40), xz_with_dictionary(37), ALONE[:1] + struct.pack("<L", 2**31) + ALONE[5:]]
)
def test_dictionaries_that_fill_the_memory(tmp_path, content):
    refused(tmp_path, "x.tar.xz", content, "Memory usage limit.*XFER_LIMIT_ARCHIVE_MEMORY")


def test_a_dictionary_within_the_limit_is_none_of_them(tmp_path, monkeypatch):
    (tmp_path / "x.tar.xz").write_bytes(xz_with_dictionary(28))  # 64 MiB, as of xz -9
    assert tree(unpack(tmp_path / "x.tar.xz", tmp_path / "u")) == {"x": b"x" * 600}
    monkeypatch.setenv("XFER_LIMIT_ARCHIVE_MEMORY", "32MiB")
    refused(tmp_path, "y.tar.xz", xz_with_dictionary(28) + bytes(4), "Memory usage limit")


BODY = b"x" * 1000
PACKED = zlib.compress(BODY, 9)[2:-4]
LZMA_PROPERTIES = b"\x09\x14\x05\x00\x5d" + struct.pack("<L", 2**32 - 1)


def raw(method, packed, **said):
    return zip_of(zip_file(b"x", packed, **{"method": method, "crc": zlib.crc32(BODY), "size": len(BODY)} | said))


def sharing_bytes():
    """Four entries whose files lie within that of the first."""
    inner = [zip_file(b"%d" % i, b"", packed=4000, size=4000, offset=i) for i in range(1, 5)]
    return zip_of(zip_file(b"0", b"y" * 5000), *inner)


def a_thousand_times():
    local, entry = zip_file(b"x", b"y" * 5000)
    return local + entry * 1000 + zip_end(1000, len(entry) * 1000, len(local))


ZIPS = {
    "files that share bytes": (sharing_bytes, "lie over each other"),
    "the same file a thousand times": (a_thousand_times, "lie over each other"),
    "more entries than bytes": (
        lambda: bytes(99) + zip_file()[1] * 300_000 + zip_end(0, 47 * 300_000, 99),
        "one in 64 bytes",
    ),
    "a directory larger than the file": (lambda: zip_of(zip_file())[:-10] + struct.pack("<2LH", 2**31, 0, 0), "broken"),
    "a directory elsewhere": (lambda: zip_of(zip_file())[:-6] + struct.pack("<LH", 2**31, 0), "broken"),
    "a file beyond the archive": (lambda: zip_of(zip_file(b"x", BODY, packed=2**31, size=2**31)), "broken"),
    "a file elsewhere": (lambda: zip_of(zip_file(b"x", BODY, offset=7)), "broken"),
    "more than was said": (lambda: raw(8, PACKED, size=999), "another size"),
    "less than was said": (lambda: raw(8, PACKED, size=1001), "another size"),
    "another checksum": (lambda: raw(8, PACKED, crc=1), "checksum"),
    "stored, with another size": (lambda: zip_of(zip_file(b"x", BODY, size=999)), "another size"),
    "another name in its header": (lambda: zip_of(zip_file(b"x", BODY)).replace(b"x", b"y", 1), "not where"),
    "a method nobody knows": (lambda: raw(97, PACKED), "not known, number 97"),
    "LZMA that fills the memory": (lambda: raw(14, LZMA_PROPERTIES + bytes(50)), "Memory usage limit.*_MEMORY"),
    "LZMA of no kind": (lambda: raw(14, b"\x09\x14\x05\x00\xff" + bytes(50)), "broken"),
    "LZMA without properties": (lambda: raw(14, b"\x09"), "broken"),
    "a long name": (lambda: zip_of(zip_file(b"n" * 60_000)), "is no name of a file"),
    "a name with an end in it": (lambda: zip_of(zip_file(b"../x\0.png")), "outside"),
    "folders in each other": (lambda: zip_of(zip_file(b"a/" * 3000 + b"x")), "more than 64 folders"),
    "a file and a folder": (lambda: zip_of(zip_file(b"a/x", offset=0), zip_file(b"a", b"y")), "cannot be written here"),
    "a name that is no UTF-8": (lambda: zip_of(zip_file(b"\xff", flags=0x800)), "broken"),
    "64 bits without numbers": (lambda: zip_of(zip_file(b"x", BODY, size=0xFFFFFFFF)), "another size"),
}


@pytest.mark.parametrize("name", ZIPS)
def test_hostile_zips(tmp_path, name):
    make, match = ZIPS[name]
    refused(tmp_path, "x.zip", make(), match)


def test_by_hand_is_as_good_as_any(tmp_path):
    """Or what is refused above might be so for another reason."""
    for name, content in (
        ("x.zip", zip_of(zip_file(b"a/x", BODY), zip_file(b"b", b"z"))),
        ("x.tar", tar_entry(BODY, name=b"a/x") + tar_entry(b"z", name=b"b") + TAR_END),
        ("y.tar", pax(path=b"a/x") + tar_entry(BODY) + tar_entry(b"z", name=b"b") + TAR_END),
    ):
        (tmp_path / name).write_bytes(content)
        assert tree(unpack(tmp_path / name, tmp_path / "u")) == {"a/x": BODY, "b": b"z"}
    (tmp_path / "z.zip").write_bytes(raw(8, PACKED))
    assert tree(unpack(tmp_path / "z.zip", tmp_path / "u")) == {"x": BODY}


@pytest.mark.parametrize("make", ["zip", "tar", "tar.gz", "tar.xz"])
def test_any_damage_is_a_line_or_none(tmp_path, make):
    """Bytes changed, removed and doubled at random: unpacked as it was, or refused."""
    archive = tmp_path / f"x.{make}"
    make_zip(archive) if make == "zip" else make_tar(archive, mode={"tar": "w"}.get(make, f"w:{make[4:]}"))
    whole, rng, refusals = archive.read_bytes(), random.Random(0), []
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(damaged))
            kind = rng.randrange(3)
            if kind == 0:
                damaged[place] ^= 1 << rng.randrange(8)
            else:
                damaged[place : place + rng.randint(1, 600)] = damaged[place : place + 300] * (2 * kind - 2)
        archive.write_bytes(damaged)
        try:
            with bounded():
                unpack(archive, tmp_path / "u")
        except DataError as error:
            refusals.append(str(error))
    assert len(refusals) > 30
    assert not any("\n" in line for line in refusals)


# What archivers write

NAMES = {"d/" * 40 + "e" * 120 + ".png": b"long", "ü" * 90 + ".png": b"not ASCII", "a b": b"", "c": b"x" * 3000}


@pytest.mark.parametrize("format_", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_in_tars(tmp_path, format_):
    with tarfile.open(tmp_path / "x.tar", "w", format=format_) as file:
        folder = tarfile.TarInfo("empty/")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
        for name, content in NAMES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    unpacked = unpack(tmp_path / "x.tar", tmp_path / "u")
    assert tree(unpacked) == NAMES
    assert (unpacked / "empty").is_dir()


def test_a_prefix_belongs_to_the_name_but_not_in_archives_of_gnu(tmp_path):
    posix = tar_entry(b"1", name=b"x", prefix=b"a/b")
    gnu = tar_entry(b"2", name=b"y", prefix=b"13371337133\0", magic=b"ustar  \0")
    (tmp_path / "x.tar").write_bytes(posix + gnu + TAR_END)
    assert tree(unpack(tmp_path / "x.tar", tmp_path / "u")) == {"a/b/x": b"1", "y": b"2"}


def test_large_numbers_and_sums_with_a_sign_in_tars(tmp_path):
    signed = bytearray(tar_entry(b"2", name=b"\xc3\xbc"))
    signed[148:156] = b"%06o\0 " % (sum(signed[:148]) + 256 + sum(signed[156:512]) - 2 * 256)
    (tmp_path / "x.tar").write_bytes(tar_entry(b"12345", size=large(5)) + bytes(signed) + TAR_END)
    assert tree(unpack(tmp_path / "x.tar", tmp_path / "u")) == {"x": b"12345", "ü": b"2"}


def test_several_streams_and_padding(tmp_path):
    for suffix, pack in ((".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)):
        archive = tmp_path / f"x.tar{suffix}"
        archive.write_bytes(pack(FILE) + pack(TAR_END) + bytes(512))
        assert tree(unpack(archive, tmp_path / "u")) == {"x": b"x" * 100}
        archive.write_bytes(pack(FILE) + pack(TAR_END) + b"rubbish")
        with pytest.raises(DataError, match="broken, or cut short"):
            unpack(archive, tmp_path / "u")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("wide", [False, True])
def test_every_kind_of_zip(tmp_path, method, wide):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as file:
        for name, content in CONTENT.items():
            with file.open(name, "w", force_zip64=wide) as entry:
                entry.write(content)
    assert tree(unpack(tmp_path / "x.zip", tmp_path / "u")) == CONTENT


class Unseekable(io.RawIOBase):
    def __init__(self, file):
        self.file = file

    def writable(self):
        return True

    def write(self, content):
        return self.file.write(content)


def test_zips_that_were_streamed_and_such_with_a_program_before_them(tmp_path):
    with (tmp_path / "x.zip").open("wb") as file, zipfile.ZipFile(Unseekable(file), "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in CONTENT.items():
            made.writestr(name, content)
    assert tree(unpack(tmp_path / "x.zip", tmp_path / "u")) == CONTENT
    (tmp_path / "y.zip").write_bytes(b"MZ program" * 100 + (tmp_path / "x.zip").read_bytes())
    assert tree(unpack(tmp_path / "y.zip", tmp_path / "u")) == CONTENT


def test_a_zip_of_more_entries_than_16_bits_count(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for number in range(65_600):
            file.writestr(zipfile.ZipInfo(f"{number}/"), b"")
    monkeypatch.setenv("XFER_LIMIT_ARCHIVE_FILES", "65600")
    with bounded(), (tmp_path / "x.zip").open("rb") as file:
        _, entries = zip_entries(file, allowance(tmp_path / "x.zip", 10**8))
        assert [entry.name for entry in entries][-2:] == ["65598/", "65599/"]
    monkeypatch.setenv("XFER_LIMIT_ARCHIVE_FILES", "65599")
    with pytest.raises(DataError, match="more than 65,599 files"):
        unpack(tmp_path / "x.zip", tmp_path / "u")


def test_archives_of_the_tar_command(tmp_path):
    for name, content in NAMES.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for form in ("gnu", "oldgnu", "pax", "posix", "ustar", "v7"):
        made = subprocess.run(
            ["tar", f"--format={form}", "-czf", tmp_path / "x.tgz", "-C", tmp_path / "set", "."], capture_output=True
        )
        if made.returncode == 0:  # not every form has such names
            assert tree(unpack(tmp_path / "x.tgz", tmp_path / "u")) == NAMES
        else:
            assert form in ("ustar", "v7"), made.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.tar")
    with pytest.raises(DataError, match=r"x\.tar: cannot be read \(a pipe, expected a regular file\)"):
        unpack(tmp_path / "x.tar", tmp_path / "u")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_terabytes_of_zeros_are_refused_at_first_sight(name, tmp_path):
    with (tmp_path / name).open("wb") as file:
        file.truncate(2**43)
    began = time.process_time()
    with pytest.raises(DataError, match=r"broken, or cut short \(it begins with [0-9,]+ zeros\)\. Cure: "):
        unpack(tmp_path / name, tmp_path / "unpacked")
    assert time.process_time() - began < 5
