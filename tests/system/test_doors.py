"""Only regular files come in, and no more of one than its limit."""

import errno
import os
import socket

import pytest

from xfer.system.doors import open_regular, read_regular, read_text, to_append

POSIX = pytest.mark.skipif(os.name == "nt", reason="pipes and devices are no files on Windows")


@pytest.fixture
def kinds(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        yield tmp_path


@POSIX
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pipe", "a pipe, expected"),
        ("endless", "a device, expected"),
        ("folder", "a folder, expected"),
        ("socket", "a socket, expected"),
    ],
)
def test_what_is_no_regular_file_is_refused_without_waiting(name, reason, kinds):
    with pytest.raises(OSError, match=reason) as caught:
        open_regular(kinds / name)
    assert caught.value.filename == str(kinds / name)


def test_as_much_as_the_limit_is_read_and_a_byte_more_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XFER_LIMIT_JSON", "10")
    (tmp_path / "f").write_bytes(b"0123456789")
    assert read_regular(tmp_path / "f", "json") == b"0123456789"
    assert read_text(tmp_path / "f", "json") == "0123456789"
    (tmp_path / "f").write_bytes(b"0123456789a")
    with pytest.raises(OSError, match=r"more than 10 bytes\. Cure: XFER_LIMIT_JSON") as caught:
        read_regular(tmp_path / "f", "json")
    assert caught.value.errno == errno.EFBIG


@POSIX
def test_what_is_appended_to_is_a_regular_file(kinds):
    for name in ("pipe", "endless"):
        with pytest.raises(OSError, match=r"No such device|no regular file"):
            to_append(str(kinds / name), os.O_WRONLY | os.O_APPEND)
    for line in ("one\n", "two\n"):
        with open(kinds / "log.txt", "a", encoding="utf-8", opener=to_append) as lines:
            lines.write(line)
    assert (kinds / "log.txt").read_text() == "one\ntwo\n"
