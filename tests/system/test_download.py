"""Downloads, from a server in a thread."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

import xfer.system.download as module
from xfer.errors import DataError
from xfer.system.download import cache_dir, download

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA256, SHA1 = hashlib.sha256(BODY).hexdigest(), hashlib.sha1(BODY).hexdigest()


PAGE = b"\n<!DOCTYPE html>\n<html><title>Sign in</title></html>" * 20


class Handler(BaseHTTPRequestHandler):
    """/whole; /plain, without a length; /cut, half of what it promises; /slow, nothing; /gone; and the hostile ones.

    /to/URL leads to that URL, with a body that never ends; /circle to itself.
    """

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.path == "/gone":
            return self.send_error(404)
        with suppress(ConnectionError):  # a client may leave early
            if self.path.startswith("/to/") or self.path == "/circle":
                return self.lead_on()
            if hasattr(self, "do_" + self.path[1:]):
                return getattr(self, "do_" + self.path[1:])()
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

    def lead_on(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.path.removeprefix("/to/"))
        self.end_headers()
        if self.path != "/circle":
            self.for_ever(BODY)

    def for_ever(self, content: bytes, pause: float = 0.0) -> None:
        while not stopped.wait(pause):
            self.wfile.write(content)

    def do_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.for_ever(BODY)

    def do_drops(self, head: bytes = b"Content-Length: 1000\r\n\r\n") -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + head)
        self.for_ever(b"x", 0.05)

    def do_forty(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n")
        for _ in range(40):
            self.wfile.write(b"x")
            time.sleep(0.05)

    def do_chunks(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.for_ever(b"1\r\nx\r\n", 0.05)

    def do_headers(self) -> None:
        self.do_drops(b"X-Long: ")

    def do_continue(self) -> None:
        self.for_ever(b"HTTP/1.1 100 Continue\r\n\r\n")

    def do_many(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self.for_ever(b"X: y\r\n")

    def do_nonsense(self) -> None:
        self.wfile.write(bytes(100_000))

    def do_page(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(PAGE)

    def do_huge(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "9" * 30)
        self.end_headers()
        self.for_ever(BODY)

    def log_message(self, format: str, *args: Any) -> None:
        pass


stopped = Event()


@pytest.fixture
def server() -> Iterator[str]:
    Handler.asked = 0
    stopped.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.daemon_threads = True
        thread = Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        stopped.set()
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
    monkeypatch.setenv("XFER_LIMIT_DOWNLOAD_STALL", "1")
    assert "timed out" in refused(f"{server}/slow", tmp_path / "a.zip", sha256=SHA256)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a", "a.zip", "http://[", "http://a b/"])
def test_only_web_addresses_are_fetched(url: str, tmp_path: Path) -> None:
    assert url in refused(url, tmp_path / "a.zip", sha256=SHA256)


def test_a_file_of_this_machine_is_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(BODY)
    assert "not an http or https address" in refused((tmp_path / "b.zip").as_uri(), tmp_path / "a.zip", sha256=SHA256)


# Servers that mean no good


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/drops", "in 1 s, which is too slow"),
        ("/chunks", "in 1 s, which is too slow"),
        ("/headers", "timed out"),
        ("/continue", "timed out"),
        ("/slow", "timed out"),
        ("/many", "got more than 100 headers"),
        ("/nonsense", "cannot download"),
        ("/huge", "bytes, more than XFER_LIMIT_DOWNLOAD allows"),
        ("/circle", "it leads on more than 10 times"),
    ],
)
def test_what_would_never_end_ends(server: str, path: str, expected: str, tmp_path: Path, monkeypatch: Any) -> None:
    """Bytes that come too slowly, in a body, in pieces, in a header; headers that go on; a length that is a lie."""
    monkeypatch.setenv("XFER_LIMIT_DOWNLOAD_STALL", "1")
    begun = time.monotonic()
    message = refused(f"{server}{path}", tmp_path / "a.zip", sha256=SHA256)
    assert expected in message
    assert_has_the_cure(message, f"{server}{path}", tmp_path / "a.zip")
    assert time.monotonic() - begun < 20


def test_a_body_without_an_end_ends_by_its_bytes(server: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XFER_LIMIT_DOWNLOAD", "3MiB")
    assert "more than the 3145728 bytes expected" in refused(f"{server}/endless", tmp_path / "a.zip")


def test_and_by_its_seconds(server: str, tmp_path: Path, monkeypatch: Any) -> None:
    """A stated time for all of it, however fast it is."""
    monkeypatch.setenv("XFER_LIMIT_DOWNLOAD_SECONDS", "1")
    monkeypatch.setattr(module, "SLOWEST", 0)
    begun = time.monotonic()
    assert "timed out" in refused(f"{server}/drops", tmp_path / "a.zip")
    assert time.monotonic() - begun < 20


def test_a_slow_line_is_no_stalled_one(server: str, tmp_path: Path, monkeypatch: Any) -> None:
    """20 bytes a second for two seconds, where 5 are enough."""
    monkeypatch.setenv("XFER_LIMIT_DOWNLOAD_STALL", "1")
    monkeypatch.setattr(module, "SLOWEST", 5)
    assert fetch(f"{server}/forty", tmp_path / "a.zip")[-1] == (40, 40)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:text/plain,x", "gopher://x/"])
def test_a_redirect_leads_to_no_other_scheme(server: str, url: str, tmp_path: Path) -> None:
    message = refused(f"{server}/to/{url}", tmp_path / "a.zip", sha256=SHA256)
    assert "it leads to " in message
    assert "which is neither http nor https" in message
    assert_has_the_cure(message, f"{server}/to/{url}", tmp_path / "a.zip")
    assert Handler.asked == 1


@pytest.mark.parametrize("there", ["{}/whole", "/whole", "//127.0.0.1:{}/whole", "whole"])
def test_a_redirect_is_followed_without_reading_its_body(server: str, there: str, tmp_path: Path) -> None:
    port = server.rpartition(":")[2]
    location = there.format(server if there.startswith("{}") else port)
    fetch(f"{server}/to/{location}".replace("/to/whole", "/to/../whole"), tmp_path / "a.zip", sha256=SHA256)
    assert Handler.asked == 2


def test_a_page_is_no_file_and_is_not_kept(server: str, tmp_path: Path) -> None:
    """What the portal of a network sends in place of whatever was asked for."""
    message = refused(f"{server}/page", tmp_path / "a.zip")
    assert (
        f"what {server}/page sent is a web page: the network may want you to sign in first. Cure: download" in message
    )


def test_a_page_that_was_kept_is_replaced(server: str, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(PAGE)
    fetch(f"{server}/whole", tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == BODY


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_what_is_no_file_is_not_waited_for(server: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.zip")
    fetch(f"{server}/whole", tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == BODY


# Several, and killed ones


def test_of_two_one_fetches_and_the_other_waits_for_it(server: str, tmp_path: Path) -> None:
    first, second = (
        download(f"{server}/whole", tmp_path / "a.zip", what="The set", error=DataError, sha256=SHA256) for _ in "12"
    )
    next(first)
    assert next(second) == (0, None)
    list(first)
    assert list(second) == []
    assert Handler.asked == 1
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [tmp_path / "a.zip"]


def dying(url: str, target: Path) -> None:
    for done, _ in download(url, target, what="The set", error=DataError):
        if done:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_what_a_killed_process_leaves_goes_with_the_next(server: str, tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=dying, args=(f"{server}/plain", tmp_path / "a.zip"))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert {path.suffix for path in tmp_path.iterdir()} == {".part", ".lock"}
    fetch(f"{server}/whole", tmp_path / "b.zip")
    assert list(tmp_path.iterdir()) == [tmp_path / "b.zip"]


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


@pytest.fixture
def secure(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same server with TLS, whose certificate is trusted."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "certificate.pem"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *names, *files], check=True, capture_output=True
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "certificate.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.daemon_threads = True
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
        thread = Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"https://127.0.0.1:{httpd.server_address[1]}"
        stopped.set()
        httpd.shutdown()
        thread.join()


def test_certificates_are_checked_and_encryption_stays(
    server: str, secure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(f"{secure}/whole", tmp_path / "a.zip", sha256=SHA256)
    assert (tmp_path / "a.zip").read_bytes() == BODY
    message = refused(f"{secure}/to/{server}/whole", tmp_path / "b.zip")
    assert "it leads to an address without encryption" in message
    monkeypatch.setenv("XFER_LIMIT_DOWNLOAD_STALL", "1")
    assert "too slow" in refused(f"{secure}/drops", tmp_path / "b.zip")
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "CERTIFICATE_VERIFY_FAILED" in refused(f"{secure}/whole", tmp_path / "b.zip")
