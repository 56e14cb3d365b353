"""`xfer serve` over real HTTP: what the run predicts, and one line for whatever else comes."""

import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("uvicorn", reason="uvicorn is not installed")
pytest.importorskip("starlette", reason="starlette is not installed")
pytest.importorskip("python_multipart", reason="python-multipart is not installed")

from service import BACKEND, MOST, Client, Service

from xfer.cli.main import main
from xfer.export.export import export
from xfer.metrics import probabilities
from xfer.serving.batches import Batches
from xfer.serving.uploads import MOST_PICTURES


def form(*files):
    """A form with these (name, bytes), and its headers."""
    lines = []
    for name, content in files:
        lines += [b"--frontier", f'Content-Disposition: form-data; name="f"; filename="{name}"'.encode(), b"", content]
    return b"\r\n".join([*lines, b"--frontier--", b""]), {"Content-Type": "multipart/form-data; boundary=frontier"}


def error_of(said):
    """The one line of an answer that is an error."""
    assert list(said) == ["error"]
    assert "\n" not in said["error"]
    return said["error"]


@pytest.mark.parametrize("enters", ["run", "normalised", "pixels", "pictures"])
def test_a_picture_is_what_the_run_predicts(run, files, tmp_path, enters):
    if enters != "run":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
        pytest.importorskip("onnx", reason="onnx is not installed")
        export(run.path, tmp_path / "model.onnx", backend=BACKEND, enters=enters)
    service = Service(run.path if enters == "run" else tmp_path / "model.onnx")
    try:
        wanted = run.predict(files, backend=BACKEND)
        status, said = service.predict(*form(*((file.name, file.read_bytes()) for file in files)))
        assert status == 200
        assert said["model"] == ("run" if enters == "run" else "model.onnx")
        for row, file, label, shares in zip(
            said["predictions"], files, wanted.labels, wanted.probabilities, strict=True
        ):
            assert (row["picture"], row["class"]) == (file.name, label)
            assert list(row["probabilities"]) == ["ants & bées", "bees"]
            assert np.allclose(list(row["probabilities"].values()), shares, atol=1e-6)
            assert row["probability"] == max(row["probabilities"].values())
    finally:
        service.close()


def test_the_bytes_of_a_picture_are_enough(service, run, files):
    for kind in ("image/png", "application/octet-stream", ""):
        status, said = service.predict(files[0].read_bytes(), {"Content-Type": kind} if kind else {})
        assert status == 200
        (row,) = said["predictions"]
        assert row["class"] == run.predict(files[0], backend=BACKEND).labels[0]


def test_a_photograph_has_the_pixels_of_its_file(service, run, tmp_path):
    """A JPEG file that lies on its side: read lazily as a file, and at once here."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)).resize((90, 60))
    exif = image.getexif()
    exif[274] = 6
    image.save(tmp_path / "photo.jpg", exif=exif)
    _, said = service.predict((tmp_path / "photo.jpg").read_bytes())
    shares = list(said["predictions"][0]["probabilities"].values())
    assert np.allclose(shares, run.predict(tmp_path / "photo.jpg", backend=BACKEND).probabilities[0], atol=1e-7)


def test_it_says_that_it_is_alive_and_ready(service):
    status, content, _ = service.ask("GET", "/health")
    assert (status, json.loads(content)) == (200, {"status": "alive"})
    status, content, _ = service.ask("GET", "/ready")
    assert (status, json.loads(content)["classes"]) == (200, ["ants & bées", "bees"])
    assert json.loads(content)["max_upload"] == MOST


def test_the_page_asks_for_nothing_from_elsewhere(service):
    status, content, headers = service.ask("GET", "/")
    page = content.decode()
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "://" not in page
    assert "innerHTML" not in page
    assert 'fetch("predict"' in page


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/predict", 405), ("POST", "/", 405), ("GET", "/docs", 404), ("GET", "/../etc/passwd", 404)],
)
def test_other_paths_are_one_line(service, method, path, status):
    found, content, _ = service.ask(method, path)
    assert found == status
    assert error_of(json.loads(content)).startswith("no such ")


def bomb():
    """60,000 x 60,000 pixels in a few kB."""
    content = io.BytesIO()
    Image.new("1", (8, 8)).save(content, "PNG")
    header = bytearray(content.getvalue())
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    return bytes(header)


HOSTILE = {
    "nothing": (b"", {}, "no picture: expected its bytes"),
    "text": (b"no picture", {}, "picture: not an image"),
    "a bomb": (bomb(), {}, "picture: "),
    "a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", {}, "picture: not an image"),
    "a form without a boundary": (b"x", {"Content-Type": "multipart/form-data"}, "the form cannot be read"),
    "a form that is none": (b"x", {"Content-Type": "multipart/form-data; boundary=q"}, "the form cannot be read"),
    "a form without files": (
        b'--q\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--q--\r\n',
        {"Content-Type": "multipart/form-data; boundary=q"},
        "no picture: expected files in the form",
    ),
    "one bad of two": (*form(("a\u202e.png", b"GIF89a"), ("b.png", b"x")), "a"),
    "too many": (*form(*[(f"{i}.png", b"x") for i in range(MOST_PICTURES + 1)]), "the form cannot be read"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_picture_is_one_line(service, name):
    body, headers, words = HOSTILE[name]
    status, said = service.predict(body, headers)
    assert status == 400
    assert error_of(said).startswith(words)


def test_a_cut_picture_is_one_line(service, files):
    content = files[0].read_bytes()
    for length in (8, 40, len(content) // 2):
        status, said = service.predict(content[:length])
        assert status == 400
        assert error_of(said).startswith("picture: ")


def test_more_than_a_request_may_have_is_not_read_to_its_end(service):
    status, said = service.predict(b"x" * (MOST + 1))
    assert status == 413
    assert error_of(said) == f"more than {MOST:,} bytes. Cure: fewer or smaller pictures, or xfer serve --max-upload"
    with socket.create_connection(service.address, timeout=10) as connection:  # whatever the request claims
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"
        for _ in range(MOST // 0xFFFF + 1):
            connection.sendall(piece)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(service.address, timeout=10) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n")
        assert connection.recv(100).split()[1] in (b"400", b"413")
    assert service.predict(b"x")[0] == 400, "and goes on"


def test_a_request_that_never_comes_to_its_end_is_given_up(run, files):
    service = Service(run.path, timeout=0.2)
    try:
        with socket.create_connection(service.address, timeout=10) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
            assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        assert service.predict(files[0].read_bytes())[0] == 200
    finally:
        service.close()


def many(client, run, files, count, hostile):
    """So many requests at once, of which some are hostile: each has its own answer."""
    wanted = dict(zip(map(str, files), run.predict(files, backend=BACKEND).probabilities, strict=True))
    bad = random.Random(0).sample(range(count), hostile)
    kinds = list(HOSTILE.values())

    def one(number):
        if number in bad[::4]:
            break_off(client.address, number)
            return True
        if number in bad:
            body, headers, words = kinds[number % len(kinds)]
            status, said = client.predict(body, headers)
            return status == 400 and error_of(said).startswith(words)
        file = files[number % len(files)]
        status, said = client.predict(file.read_bytes())
        shares = list(said["predictions"][0]["probabilities"].values())
        return status == 200 and np.allclose(shares, wanted[str(file)], atol=1e-6)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(count)))


BROKEN_OFF = (
    b"",
    b"\x16\x03\x01\x02\x00\x01\x00",  # of TLS
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n\x89PNG",
    b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /predict HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 2000,
)


def break_off(address, number):
    with suppress(ConnectionError), socket.create_connection(address, timeout=10) as connection:
        connection.sendall(BROKEN_OFF[number % len(BROKEN_OFF)])


def test_many_requests_at_once_have_each_its_own_answer(service, run, files):
    service.batches.sizes.clear()
    many(service, run, files, 200, 20)
    assert sum(service.batches.sizes) == 180


@pytest.fixture(scope="module")
def process(run, tmp_path_factory):
    """`xfer serve model.onnx` as a command, of requests of at most 9 kB, and its address."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    model = tmp_path_factory.mktemp("process") / "model.onnx"
    export(run.path, model, backend=BACKEND)
    words = [sys.executable, "-m", "xfer", "serve", model, "--port", "0", "-q", "--max-upload", "9kB"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            host, port = process.stdout.readline().strip().removeprefix("http://").split(":")
            yield process, Client((host, int(port)))
        finally:
            process.kill()


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.long)])
def test_a_process_answers_each_request_whatever_comes_between(process, run, files, count):
    """One in twenty is hostile, or broken off. Neither memory nor open files of the process grow by them."""
    process, client = process
    many(client, run, files, 40, 2)
    before = held_by(process.pid)
    many(client, run, files, count, count // 20)
    after = held_by(process.pid)
    assert process.poll() is None
    assert after[0] < before[0] + 32, "MiB of memory"
    assert after[1] <= before[1] + 16, "files and connections that are open"


def held_by(pid):
    """MiB of memory, and the number of open files; of a system without /proc, nothing."""
    if not Path(f"/proc/{pid}/statm").exists():
        return 0, 0
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir(f"/proc/{pid}/fd"))


class Slow:
    """A predictor that waits for a word before its first batch."""

    whole = False
    shares = staticmethod(probabilities)

    def __init__(self):
        self.go, self.seen = threading.Event(), []

    def step(self, images):
        self.go.wait(10)
        self.seen.append(len(images))
        return images.reshape(len(images), -1)[:, :2].astype(np.float32)


def test_what_waits_is_computed_together_in_batches_of_at_most_so_many():
    slow = Slow()
    batches = Batches(lambda: slow, 4)
    pictures = [np.full((1, 2, 3), value, np.uint8) for value in range(9)]
    first = batches.submit(pictures[0])
    while not first.running():
        assert not first.done()
        time.sleep(0.001)
    waiting = [batches.submit(picture) for picture in pictures[1:]]
    assert waiting[2].cancel()
    slow.go.set()
    assert [each.result(10).shape for each in (first, *waiting[:2], *waiting[3:])] == [(2,)] * 8
    batches.close()
    assert slow.seen == [1, 3, 4]


def test_a_fault_of_the_model_is_that_of_its_batch_alone():
    class Failing(Slow):
        def step(self, images):
            if images.max() == 9:
                raise MemoryError("9")
            return np.zeros((len(images), 2), np.float32)

    batches = Batches(Failing, 4)
    assert batches.submit(np.zeros((1, 2, 3), np.uint8)).result(10).tolist() == [0.5, 0.5]
    with pytest.raises(MemoryError):
        batches.submit(np.full((1, 2, 3), 9, np.uint8)).result(10)
    assert batches.submit(np.zeros((1, 2, 3), np.uint8)).result(10).tolist() == [0.5, 0.5]
    assert batches.alive
    batches.close()
    assert not batches.alive


def refused(*words):
    result = CliRunner().invoke(main, ["serve", *map(str, words)])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    return line


def test_what_cannot_be_meant_is_one_line(run, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(run.path, "--port", port)
        assert line == f"error: --port {port} on 127.0.0.1: Address already in use. Cure: another --port, or 0"
    assert "port = 70000: expected 0 to 65,535" in refused(run.path, "--port", 70000)
    assert "batch = 0: expected 1 to 4,096" in refused(run.path, "--batch", 0)
    assert "--max-upload = 'much'" in refused(run.path, "--max-upload", "much")
    assert "no checkpoint here" in refused(tmp_path)
    assert "Cure: --host 127.0.0.1" in refused(run.path, "--host", "no.such.host.invalid")
    assert "expected one of numpy" in refused(run.path, "--backend", "nobody")
    for name in ("uvicorn", "starlette", "python_multipart"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            assert refused(run.path).endswith("Cure: pip install 'xfer-vision[serve]'")


def test_the_command_answers_until_it_is_told_to_end(process, run, files):
    """And says nothing of all that was sent to it before."""
    process, client = process
    status, said = client.predict(files[0].read_bytes())
    assert (status, said["predictions"][0]["class"]) == (200, run.predict(files[0], backend=BACKEND).labels[0])
    assert client.predict(b"x" * 9001)[0] == 413
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (130, "interrupted\n")
