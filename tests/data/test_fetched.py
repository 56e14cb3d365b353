"""What is kept of files from elsewhere, whatever a driver, a killed process or another process does."""

import io
import json
import shutil
import subprocess
import sys

import fsspec
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem
from served import serving

from xfer.cli.main import main
from xfer.data.dataset import open_dataset
from xfer.data.fetched import Wanted, fetched, place_of
from xfer.errors import DataError
from xfer.progress import silent
from xfer.system import remote

SECRET = "geheim"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with serving() as server:
        server.files |= {f"/{i}": bytes([i]) * 1000 for i in range(20)}
        yield server


def files_of(server, count):
    return [Wanted(f"{server.url}/{i}", f"to/{i}.bin") for i in range(count)]


def contents(folder):
    return {int(file.stem): file.read_bytes() for file in (folder / "to").iterdir()}


class Driver(MemoryFileSystem):
    """A file system as those of clouds are, by their own libraries and with their own faults."""

    protocol = "odd"
    store, pseudo_dirs = {}, [""]
    fault = ""

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.split("@")[-1].split("://")[-1].strip("/")

    @classmethod
    def _get_kwargs_from_urls(cls, path):
        return {}

    def _open(self, path, mode="rb", **options):
        if mode != "rb":
            return super()._open(path, mode, **options)
        if Driver.fault == "raises":
            raise RuntimeError(f"{SECRET} may not open {path}\nand more")
        content = self.store[path].getvalue()
        return io.BytesIO({"ends early": content[:10], "says less": content + b"more"}.get(Driver.fault, content))

    def info(self, path, **options):
        if Driver.fault == "denies":
            raise PermissionError(13, f"{SECRET} is denied")
        return super().info(path, **options)


@pytest.fixture
def driver(monkeypatch):
    fsspec.register_implementation("odd", Driver, clobber=True)
    Driver.clear_instance_cache()
    files = fsspec.filesystem("odd")
    files.store.clear()
    files.pipe("/place/x.zip", b"x" * 100)
    yield files
    Driver.fault = ""


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("raises", r"tried 3 times \(\*\*\* may not open /place/x.zip and more\)"),
        ("ends early", r"tried 3 times \(10 of 100 bytes\)"),
        ("says less", r"tried 3 times \(104 of 100 bytes\)"),
        ("denies", r"odd://\*\*\*@place/x.zip: cannot be read \(\[Errno 13\] \*\*\* is denied\)"),
    ],
)
def test_faults_of_drivers(driver, tmp_path, fault, expected):
    Driver.fault = fault
    with pytest.raises(DataError, match=expected) as error:
        open_dataset(f"odd://me:{SECRET}@place/x.zip", cache=tmp_path)
    assert SECRET not in str(error.value)
    assert "\n" not in str(error.value)
    assert not [file for file in tmp_path.glob("remote/*/files/**/*") if file.is_file()]


def test_what_a_killed_process_leaves_is_no_part_of_a_set(server, tmp_path):
    place = place_of(tmp_path, "a set")
    folder, _ = fetched(place, files_of(server, 3), "a set", silent)
    before = contents(folder)
    record = place / "fetched.jsonl"
    lines = record.read_text().splitlines()
    record.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][: len(lines[-1]) // 2])  # cut off in the last line
    (place / "parts").mkdir()
    (place / "parts" / "0").write_bytes(b"half")
    (folder / "to" / "2.bin").write_bytes(b"\2" * 999)
    server.asked.clear()
    folder, gone = fetched(place, files_of(server, 4), "a set", silent)
    assert (contents(folder), gone) == (before | {3: server.files["/3"]}, frozenset())
    assert sorted(server.asked) == ["/2", "/3"]
    assert not (place / "parts").exists()
    server.asked.clear()
    assert contents(fetched(place, files_of(server, 4), "a set", silent)[0]) == before | {3: server.files["/3"]}
    assert not server.asked


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"[" * 1000, b'{"name": "to/0.bin", "size": "x"}\n', b"{}\n[]\n1\n"]
)
def test_a_damaged_record_is_none(server, tmp_path, content):
    place = place_of(tmp_path, "a set")
    fetched(place, files_of(server, 2), "a set", silent)
    (place / "fetched.jsonl").write_bytes(content)
    server.asked.clear()
    assert len(contents(fetched(place, files_of(server, 2), "a set", silent)[0])) == 2
    assert sorted(server.asked) == ["/0", "/1"]


HOLDS = """
import sys
from pathlib import Path
from xfer.data.fetched import Wanted, fetched
from xfer.progress import silent
wanted = [Wanted(sys.argv[2] + f"/{i}", f"to/{i}.bin") for i in range(3)]
print(sorted(fetched(Path(sys.argv[1]), wanted, "x", silent)[1]))
sys.stdout.flush()
sys.stdin.read()
"""


def test_what_another_process_uses_is_used_as_it_is(server, tmp_path):
    """Two runs of one table, some of whose pictures nobody has: the second neither waits for the first nor ends."""
    del server.files["/1"]
    place = place_of(tmp_path, "a set")
    words = [sys.executable, "-c", HOLDS, str(place), server.url]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "['to/1.bin']\n"
            server.asked.clear()
            folder, gone = fetched(place, files_of(server, 3), "a set", silent)
            assert (sorted(contents(folder)), gone, server.asked) == ([0, 2], {"to/1.bin"}, [])
        finally:
            other.stdin.close()
    server.files["/1"] = b"there again"
    folder, gone = fetched(place, files_of(server, 3), "a set", silent)
    assert (contents(folder)[1], gone, server.asked) == (b"there again", frozenset(), ["/1"])


def test_many_at_a_time_come_whole_and_each_once(server, tmp_path):
    told = []
    progress = lambda what, done, total: told.append((what, done, total))  # noqa: E731
    folder, _ = fetched(place_of(tmp_path, "a set"), files_of(server, 20), "a set", progress)
    assert contents(folder) == {i: bytes([i]) * 1000 for i in range(20)}
    assert sorted(server.asked) == sorted(f"/{i}" for i in range(20))
    assert told == [("fetching a set", i, 20) for i in range(1, 21)]


def test_who_stops_stops_a_large_file(server, tmp_path):
    class Stop(BaseException):
        pass

    def stop(what, done, total):
        told.append((what, done, total))
        if done:
            raise Stop

    place, told = place_of(tmp_path, "a set"), []
    server.files["/0"] = bytes(10**6)
    with pytest.raises(Stop):
        fetched(place, files_of(server, 1), "a set", stop)
    assert 0 < told[-1][1] < 10**6
    assert not [*(place / "files").iterdir(), *place.glob("parts")]
    assert contents(fetched(place, files_of(server, 1), "a set", silent)[0]) == {0: bytes(10**6)}


def test_it_is_listed_and_removed_and_makes_room(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XFER_CACHE", str(tmp_path))
    other = [sys.executable, "-c", HOLDS, str(place_of(tmp_path, "old")), server.url]
    subprocess.run(other, stdin=subprocess.DEVNULL, capture_output=True, check=True)  # in use until its process ends
    place = place_of(tmp_path, "new")
    listed = json.loads(CliRunner().invoke(main, ["cache", "ls", "--json"], catch_exceptions=False).output)
    assert [(row["about"], row["bytes"]) for row in listed["sets"]["entries"]] == [("x", 3000)]
    monkeypatch.setenv("XFER_LIMIT_DATA_CACHE", "4000")
    fetched(place, files_of(server, 2), "new", silent)
    assert [path.name for path in (tmp_path / "remote").iterdir() if not path.name.startswith(".")] == [place.name]
    CliRunner().invoke(main, ["cache", "prune", "--all"], catch_exceptions=False)
    assert place.exists()  # this process uses it


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "remote").write_text("a file in the place of the folder")
    with pytest.raises(DataError, match=r"cannot be kept \(.*\)\. Cure: make room or grant access there"):
        fetched(place_of(tmp_path, "a set"), files_of(server, 1), "a set", silent)


def test_a_password_goes_to_the_host_that_it_is_for(server, tmp_path):
    named = server.url.replace("//", f"//me:{SECRET}@")
    server.login = f"me:{SECRET}"
    server.broken["/1"] = ["to /2"]
    folder, _ = fetched(place_of(tmp_path, "one"), [Wanted(f"{named}/1", "to/1.bin")], "one", silent)
    assert contents(folder)[1] == server.files["/2"]
    with serving() as stranger:
        stranger.files["/2"], stranger.login = b"x", f"me:{SECRET}"
        server.broken["/1"] = [f"to {stranger.url}/2"] * 3
        with pytest.raises(DataError, match="401"):
            fetched(place_of(tmp_path, "two"), [Wanted(f"{named}/1", "to/1.bin")], "two", silent)
    shutil.rmtree(tmp_path)
