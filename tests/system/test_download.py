"""Downloads, from a server in a thread."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import xfer.system.download as module
from xfer.errors import DataError
from xfer.system.download import cache_dir, download

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA256, SHA1 = hashlib.sha256(BODY).hexdigest(), hashlib.sha1(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """/whole; /plain, without a length; /cut, half of what it promises; /slow, nothing; /gone."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.path == "/gone":
            return self.send_error(404)
        self.send_response(200)
        if self.path != "/plain":
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        if self.path == "/slow":
            self.rfile.read(1)  # until the client gives up
        else:
            with suppress(ConnectionError):  # a client may leave early
                self.wfile.write(BODY[: len(BODY) // 2] if self.path == "/cut" else BODY)
        self.close_connection = True
        return None

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.asked = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.daemon_threads = True
        thread = Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def fetch(url: str, target: Path, **expected: Any) -> list[tuple[int, int | None]]:
    return list(download(url, target, what="The set", error=DataError, **expected))


def refused(url: str, target: Path, **expected: Any) -> str:
    """The error's message, having left nothing behind."""
    before = sorted(target.parent.glob("*"))
    with pytest.raises(DataError) as error:
        fetch(url, target, **expected)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith("The set: ")
    assert sorted(target.parent.glob("*")) == before
    return message


def assert_has_the_cure(message: str, url: str, target: Path) -> None:
    assert url in message
    assert f"Cure: download it by hand (sha256 {SHA256}) and put it at {target}" in message


def test_a_file_arrives_with_its_progress(server: str, tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.zip"
    progress = fetch(f"{server}/whole", target, sha256=SHA256, sha1=SHA1, size=len(BODY))
    assert target.read_bytes() == BODY
    assert list(target.parent.iterdir()) == [target]
    assert (progress[0], progress[-1]) == ((0, len(BODY)), (len(BODY), len(BODY)))
    done = [step for step, _ in progress]
    assert done == sorted(set(done))


def test_the_total_may_be_unknown(server: str, tmp_path: Path) -> None:
    progress = fetch(f"{server}/plain", tmp_path / "a.zip")
    assert progress[-1] == (len(BODY), None)
    assert (tmp_path / "a.zip").read_bytes() == BODY


@pytest.mark.parametrize(
    "expected", [{}, {"sha256": SHA256}, {"sha256": SHA256[:8]}, {"sha1": SHA1.upper()}, {"size": len(BODY)}]
)
def test_what_is_there_already_is_not_fetched(server: str, expected: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(BODY)
    assert fetch(f"{server}/whole", tmp_path / "a.zip", **expected) == []
    assert Handler.asked == 0


def test_a_wrong_file_that_is_there_is_replaced(server: str, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"old")
    assert fetch(f"{server}/whole", tmp_path / "a.zip", sha256=SHA256)
    assert (tmp_path / "a.zip").read_bytes() == BODY


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        ({"sha256": "0" * 64}, f"has the sha256 {SHA256}, expected 0000"),
        ({"sha256": "12345678"}, f"has the sha256 {SHA256}, expected 12345678"),
        ({"sha1": "0" * 40}, f"has the sha1 {SHA1}, expected 0000"),
        ({"size": len(BODY) + 1}, f"has {len(BODY)} bytes, expected {len(BODY) + 1}"),
    ],
)
def test_another_file_than_expected_is_refused(
    server: str, expected: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    message = refused(f"{server}/whole", tmp_path / "a.zip", **expected)
    assert reason in message
    assert f"{server}/whole" in message
    assert str(tmp_path / "a.zip") in message


def test_a_body_larger_than_expected_is_not_read_to_its_end(server: str, tmp_path: Path) -> None:
    assert "more than the 1000 bytes" in refused(f"{server}/plain", tmp_path / "a.zip", size=1000)


def test_a_body_that_is_cut_off_is_refused(server: str, tmp_path: Path) -> None:
    message = refused(f"{server}/cut", tmp_path / "a.zip", sha256=SHA256)
    assert f"cut off after {len(BODY) // 2} of {len(BODY)} bytes" in message
    assert_has_the_cure(message, f"{server}/cut", tmp_path / "a.zip")


def test_a_missing_page_has_the_cure(server: str, tmp_path: Path) -> None:
    message = refused(f"{server}/gone", tmp_path / "a.zip", sha256=SHA256)
    assert "404" in message
    assert_has_the_cure(message, f"{server}/gone", tmp_path / "a.zip")


def test_no_network_has_the_cure(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a.zip"
        message = refused(url, tmp_path / "a.zip", sha256=SHA256, alternative=", or do without")
    assert "refused" in message
    assert_has_the_cure(message, url, tmp_path / "a.zip")
    assert message.endswith(", or do without")


def test_silence_times_out(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    assert "timed out" in refused(f"{server}/slow", tmp_path / "a.zip", sha256=SHA256)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a", "a.zip", "http://[", "http://a b/"])
def test_only_web_addresses_are_fetched(url: str, tmp_path: Path) -> None:
    assert url in refused(url, tmp_path / "a.zip", sha256=SHA256)


def test_a_file_of_this_machine_is_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(BODY)
    assert "not an http or https address" in refused((tmp_path / "b.zip").as_uri(), tmp_path / "a.zip", sha256=SHA256)


def test_an_old_file_survives_a_failure_and_is_mentioned(server: str, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"old")
    assert "the file that is there has the sha256" in refused(f"{server}/gone", tmp_path / "a.zip", sha256=SHA256)
    assert (tmp_path / "a.zip").read_bytes() == b"old"


def test_a_download_that_is_abandoned_leaves_nothing(server: str, tmp_path: Path) -> None:
    steps = download(f"{server}/whole", tmp_path / "a.zip", what="The set", error=DataError)
    next(steps)
    assert list(tmp_path.iterdir())
    steps.close()  # type: ignore[attr-defined]
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_line(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot write .*Cure: .*XFER_CACHE"):
        fetch(f"{server}/whole", tmp_path / "file" / "a.zip")


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("XFER_CACHE")
    assert cache_dir() == tmp_path / "xdg" / "xfer"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == tmp_path / "home" / ".cache" / "xfer"
