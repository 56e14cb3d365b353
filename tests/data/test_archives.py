"""Archives of strangers: unpacked whole, or refused with nothing left behind."""

import os
import stat
import tarfile

import pytest
from archive_files import CONTENT, MODES, make_tar, make_zip, tree

from xfer.data import streams
from xfer.data.archives import is_archive, unpack
from xfer.errors import DataError

SIZE = sum(map(len, CONTENT.values()))


def refused(archive, match):
    """It says why in one line, and leaves neither a target nor a part of one."""
    unpacked = archive.parent / "unpacked"
    with pytest.raises(DataError, match=match) as raised:
        unpack(archive, unpacked)
    assert "\n" not in str(raised.value)
    assert str(archive) in str(raised.value)
    assert list(unpacked.iterdir()) == []


@pytest.mark.parametrize("suffix", [".zip", *MODES])
def test_what_went_in_comes_out(tmp_path, suffix):
    archive = tmp_path / f"x{suffix}"
    make_zip(archive) if suffix == ".zip" else make_tar(archive, mode=MODES[suffix])
    assert is_archive(archive)
    steps = []
    assert tree(unpack(archive, tmp_path / "t", lambda *step: steps.append(step))) == CONTENT
    for what in ("reading", "unpacking"):
        done = [done for text, done, _ in steps if text == f"{what} {archive.name}"]
        totals = {total for text, _, total in steps if text == f"{what} {archive.name}"}
        assert done == sorted(done)
        assert totals == {done[-1]}


def test_nothing_is_executable_or_owned_by_others(tmp_path):
    archive = make_tar(tmp_path / "x.tar", {"a": b"x"}, mode="w", uid=4711)
    file = unpack(archive, tmp_path / "t") / "a"
    assert not file.stat().st_mode & stat.S_IXUSR
    make_mode = make_zip(tmp_path / "x.zip", {"a": b"x"}, external_attr=(stat.S_IFREG | 0o4777) << 16)
    assert not (unpack(make_mode, tmp_path / "z") / "a").stat().st_mode & (stat.S_IXUSR | stat.S_ISUID)


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a/..", "C:\\x", "..\\x", "a\\..\\..\\x"])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_lead_outside(tmp_path, name, make):
    refused(make(tmp_path / "x.zip" if make is make_zip else tmp_path / "x.tar", {"ok": b"", name: b"evil"}), "outside")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE], ids=repr
)
def test_links_and_devices_in_tars(tmp_path, kind):
    refused(make_tar(tmp_path / "x.tar", {"ok": b"", "x": b""}, type=kind, linkname="/etc/passwd"), "link or device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_in_zips(tmp_path, kind):
    refused(make_zip(tmp_path / "x.zip", {"x": b"/etc/passwd"}, external_attr=(kind | 0o777) << 16), "link or device")


def test_encrypted_zips(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"x": b"secret"})
    data = bytearray(archive.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(data)
    refused(archive, "encrypted")


@pytest.mark.parametrize("suffix", [".zip", *MODES])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_archives_cut_short(tmp_path, suffix, share):
    archive, content = tmp_path / f"x{suffix}", {f"{i}.png": os.urandom(3000) for i in range(8)}
    make_zip(archive, content) if suffix == ".zip" else make_tar(archive, content, MODES[suffix])
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * share)])
    refused(archive, "broken, or cut short.*Cure: delete it")


@pytest.mark.parametrize("length", [0, 1024, 1024 + 100, 2048])
def test_tars_cut_between_files(tmp_path, length):
    """Where Python's own reader sees an archive that is merely shorter."""
    archive = make_tar(tmp_path / "x.tar", {"a": b"x" * 512, "b": b"y" * 512})
    archive.write_bytes(archive.read_bytes()[:length])
    refused(archive, "broken, or cut short")


def test_tars_with_a_damaged_header(tmp_path):
    archive = make_tar(tmp_path / "x.tar", {"a": b"x" * 512, "b": b"y" * 512})
    data = bytearray(archive.read_bytes())
    data[1024 + 20] ^= 1
    archive.write_bytes(data)
    refused(archive, "broken, or cut short")


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_a_flipped_bit_is_noticed(tmp_path, suffix):
    archive, content = tmp_path / f"x{suffix}", {"a.png": os.urandom(4000)}
    make_zip(archive, content) if suffix == ".zip" else make_tar(archive, content, MODES[suffix])
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 4
    archive.write_bytes(data)
    refused(archive, "broken, or cut short")


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_what_is_no_archive(tmp_path, name):
    (tmp_path / name).write_bytes(b"not an archive" * 100)
    refused(tmp_path / name, "broken, or cut short")
    (tmp_path / name).write_bytes(b"\n<!DOCTYPE html><title>404</title>" * 100)
    refused(tmp_path / name, "is a web page")


@pytest.mark.parametrize(("suffix", "mode"), [(".zip", None), (".tar.gz", "w:gz"), (".tar.xz", "w:xz")])
def test_bombs(tmp_path, monkeypatch, suffix, mode):
    monkeypatch.setattr(streams, "FREE_BYTES", 10_000)
    content = {"a": b"\0" * 3_000_000}
    archive = tmp_path / f"x{suffix}"
    make_zip(archive, content) if mode is None else make_tar(archive, content, mode)
    refused(archive, "200 times its size.*Cure: unpack it yourself")
    monkeypatch.setattr(streams, "FREE_BYTES", 3_010_560)  # with the headers and the padding of a tar
    assert tree(unpack(archive, tmp_path / "t")) == content


def test_what_shrinks_a_little_is_no_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "FREE_BYTES", 0)
    content = {"a": b"\0" * 20_000 + os.urandom(1000)}
    assert tree(unpack(make_zip(tmp_path / "x.zip", content), tmp_path / "t")) == content


def test_total_size_and_number_of_files(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "x.zip")
    monkeypatch.setenv("XFER_LIMIT_ARCHIVE_FILES", "3")
    refused(archive, "more than 3 files.*XFER_LIMIT_ARCHIVE_FILES")
    monkeypatch.setenv("XFER_LIMIT_ARCHIVE_FILES", "4")
    monkeypatch.setenv("XFER_LIMIT_ARCHIVE", str(SIZE - 1))
    refused(archive, "content is over")
    monkeypatch.setenv("XFER_LIMIT_ARCHIVE", str(SIZE))
    assert tree(unpack(archive, tmp_path / "t")) == CONTENT


def test_windows_separators_are_folders(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"set\\": b"", "set\\a\\1.png": b"x"})
    assert tree(unpack(archive, tmp_path / "t")) == {"set/a/1.png": b"x"}


def test_names_in_utf8_that_does_not_say_so(tmp_path):
    """As macOS writes them."""
    archive = make_zip(tmp_path / "x.zip", {"PLACEHOLD": b"x"})
    archive.write_bytes(archive.read_bytes().replace(b"PLACEHOLD", "狗狗狗".encode()))
    assert tree(unpack(archive, tmp_path / "t")) == {"狗狗狗": b"x"}


def test_names_in_utf8_that_says_so_are_taken_as_they_are(tmp_path):
    """These two characters, in code page 437, are the bytes of an é in UTF-8."""
    assert tree(unpack(make_zip(tmp_path / "x.zip", {"├⌐": b"x"}), tmp_path / "t")) == {"├⌐": b"x"}


def test_an_interrupt_leaves_nothing(tmp_path):
    def interrupt(what, *_):
        if what.startswith("unpacking"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(make_zip(tmp_path / "x.zip"), tmp_path / "new" / "t", interrupt)
    assert list((tmp_path / "new" / "t").iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be made.*XFER_CACHE"):
        unpack(make_zip(tmp_path / "x.zip"), tmp_path / "file" / "t")
