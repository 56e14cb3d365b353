"""Features on disk: right or not there, whatever happened to the files; one computes; bounded; `xfer cache`."""

import hashlib
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from xfer.backend import Labelled
from xfer.cli.main import main
from xfer.data.split import Split
from xfer.errors import ConfigError
from xfer.features import store as feature_store
from xfer.features.cache import FeatureCache
from xfer.features.key import Origin
from xfer.features.store import Kept, Store, entries, hold, open_store, prune, read, write
from xfer.pixels.content import file_digest
from xfer.progress import silent
from xfer.system.limits import parse_size

IN_MEMORY = 1 << 30
KEEP = Store(Path(), 10**9).limit
PATIENCE = 60.0  # seconds until a test of two processes gives up


def key(number):
    return f"{number:064x}"


def kept(rows=6, seed=0):
    rng = np.random.default_rng(seed)
    return Kept(rng.random((rows, 5), np.float32), rng.integers(0, 256, (rows, 16), np.uint8))


def npy(shape, dtype="<f4"):
    """A file of NumPy's that says it has this shape, and holds no number."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def equal(a, b):
    return (
        a.values.dtype == b.values.dtype and np.array_equal(a.values, b.values) and np.array_equal(a.digests, b.digests)
    )


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache" / "features", KEEP)


@pytest.fixture
def quick(monkeypatch):
    """Without waiting for the disk, which only a loss of power could tell apart."""
    monkeypatch.setattr(feature_store, "sync", lambda path: None)


class Pictures:
    """Eight files of a few bytes, and what stands for their pictures."""

    def batches(self, chunks, view):
        for part in chunks:
            images = np.zeros((len(part), 4, 4, 3), np.uint8) + part[:, None, None, None].astype(np.uint8)
            yield Labelled(images, part), np.repeat(part[:, None], 16, 1).astype(np.uint8)


def prefix(inputs):
    return inputs.mean((1, 2)).astype(np.float32) / 7


def cache_of(store, folder, compute=prefix, progress=silent):
    files = [str(folder / f"{i}.png") for i in range(8)]
    for i, file in enumerate(files):
        Path(file).write_bytes(b"%d" % i)
    digests = np.frombuffer(b"".join(map(file_digest, files)), np.uint8).reshape(-1, 16)
    origin = Origin({"of": "a test"}, 0, {"split": "train"})
    return FeatureCache(Pictures(), Split(files, np.arange(8), digests), compute, progress, store=store, origin=origin)


# What is read is right


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("mapped_above", [0, IN_MEMORY])
def test_what_was_written_is_read_and_nothing_else(store, quick, dtype, mapped_above):
    features = Kept(kept().values.astype(dtype), kept().digests)
    write(store, key(1), features, {})
    loaded = read(store, key(1), mapped_above)
    assert equal(loaded, features)
    assert isinstance(loaded.values, np.memmap) == (mapped_above == 0)
    assert read(store, key(2), mapped_above) is None


def test_what_is_mapped_cannot_be_written_to_and_outlives_its_entry(store, quick):
    write(store, key(1), kept(), {})
    mapped = read(store, key(1), 0)
    with pytest.raises(ValueError, match="read-only"):
        mapped.values[0] = 1
    assert [entry.key for entry in prune(store, 0)] == [key(1)]
    assert equal(mapped, kept())


@pytest.mark.parametrize("name", ["values.npy", "digests.npy", "meta.json"])
def test_a_flipped_bit_anywhere_is_never_read_as_features(store, quick, name):
    write(store, key(1), kept(), {"arch": "tiny", "n": 6})
    path = store.root / key(1) / name
    content = path.read_bytes()
    flips = np.random.default_rng(0).integers(0, 8, len(content))
    noticed = 0
    for place, bit in enumerate(flips):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
        features = read(store, key(1), IN_MEMORY)
        assert features is None or equal(features, kept()), f"bit {bit} of byte {place}"
        noticed += features is None
    assert noticed == len(content) or (name == "meta.json" and noticed > 100)  # some of its facts are for people only
    path.write_bytes(content)
    assert equal(read(store, key(1), IN_MEMORY), kept())


def damage(folder, name, how):
    path = folder / name
    content = path.read_bytes()
    if how == "removed":
        path.unlink()
    else:
        cut = {"empty": b"", "half": content[: len(content) // 2], "short": content[:-1], "long": content + b"\0"}
        path.write_bytes(cut[how])


@pytest.mark.parametrize("name", ["values.npy", "digests.npy", "meta.json"])
@pytest.mark.parametrize("how", ["removed", "empty", "half", "short", "long"])
def test_what_is_damaged_is_computed_anew_and_replaced(store, quick, tmp_path, name, how):
    calls = []
    first = cache_of(store, tmp_path, lambda x: calls.append(1) or prefix(x)).view(0)
    (entry,) = entries(store)
    damage(store.root / entry.key, name, how)
    harmless = (name, how) in {("meta.json", "short")}  # the line feed at its end
    again = cache_of(store, tmp_path, lambda x: calls.append(1) or prefix(x))
    assert equal(again.view(0), first)
    assert len(calls) == (1 if harmless else 2)
    assert equal(read(store, entry.key, IN_MEMORY), first)


HEADERS = [
    b"{'descr': '<f4', , 4), }",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (6, 5)",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 5), }",
    b"{'descr': '|O', 'fortran_order': False, 'shape': (6, 5), }",
    b"",
]


@pytest.mark.parametrize("header", HEADERS)
def test_what_is_no_array_is_not_there_though_its_digest_fits(store, quick, header):
    write(store, key(1), kept(), {})
    file, meta = store.root / key(1) / "values.npy", store.root / key(1) / "meta.json"
    line = header + b"\n"
    file.write_bytes(b"\x93NUMPY\1\0" + len(line).to_bytes(2, "little") + line + bytes(120) if header else b"")
    record = json.loads(meta.read_text())
    digest = hashlib.blake2b(file.read_bytes(), digest_size=32).hexdigest()
    record["files"]["values.npy"] = {"bytes": file.stat().st_size, "blake2b": digest}
    meta.write_text(json.dumps(record))
    assert read(store, key(1), IN_MEMORY) is None


def test_a_view_of_one_entry_is_not_taken_for_another(store, quick, tmp_path):
    cache_of(store, tmp_path).fill([0, 1])
    assert sorted(entry.about["view"] for entry in entries(store)) == [1, 2]


# Several processes


def computing(root, folder):
    """Compute features, not before another process was seen to wait for them."""

    def slow(inputs):
        with (folder / "computed").open("a") as file:
            file.write(f"{os.getpid()}\n")
        waits_for(folder / "waiting")
        return prefix(inputs)

    cache_of(Store(root, KEEP), folder, slow).view(0)


def wanting(root, folder):
    """Ask for the same features."""

    def compute(inputs):
        with (folder / "computed").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return prefix(inputs)

    def progress(what, done, total):
        if "another process" in what:
            (folder / "waiting").touch()

    values = cache_of(Store(root, KEEP), folder, compute, progress).view(0).values
    np.save(folder / "found.npy", values)


def waits_for(path):
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.01)


def spawned(function, *arguments):
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    return process


def test_of_two_processes_one_computes_and_the_other_waits_for_it(store, tmp_path):
    first = spawned(computing, store.root, tmp_path)
    waits_for(tmp_path / "computed")
    second = spawned(wanting, store.root, tmp_path)
    for process in (first, second):
        process.join(PATIENCE)
        assert process.exitcode == 0
    assert (tmp_path / "computed").read_text() == f"{first.pid}\n"
    assert np.array_equal(np.load(tmp_path / "found.npy"), cache_of(None, tmp_path).view(0).values)


def dying(root, folder, moment):
    """Be killed while writing an entry: when a file is half written, or when all are, just before they appear."""

    def kill(*args, **kwargs):
        if moment == "half":
            args[0].write(b"\x93NUMPY half of it")
            args[0].flush()
        os.kill(os.getpid(), signal.SIGKILL)

    if moment == "half":
        feature_store.np.save = kill
    else:
        Path.rename = kill
    cache_of(Store(root, KEEP), folder).view(0)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
@pytest.mark.parametrize("moment", ["half", "whole"])
def test_a_process_killed_while_writing_leaves_nothing_to_be_read_and_no_lock(store, tmp_path, moment):
    process = spawned(dying, store.root, tmp_path, moment)
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    left = {path.suffix for path in store.root.iterdir()}
    assert left == {".part", ".lock"}
    assert entries(store) == []
    assert prune(store, store.limit) == []
    assert list(store.root.iterdir()) == []
    process = spawned(dying, store.root, tmp_path, moment)
    process.join(PATIENCE)
    messages = []
    right = cache_of(None, tmp_path).view(0)
    assert equal(cache_of(store, tmp_path, progress=lambda what, *_: messages.append(what)).view(0), right)
    assert not any("another process" in what for what in messages)
    assert [entry.key for entry in entries(store)] == [path.name for path in store.root.iterdir()]


# Bounds


def test_the_least_recently_used_go_first(store, quick):
    for number in range(4):
        write(store, key(number), kept(seed=number), {})
    read(store, key(0), IN_MEMORY)
    assert [entry.key for entry in entries(store)] == [key(1), key(2), key(3), key(0)]
    size = entries(store)[0].bytes
    assert [entry.key for entry in prune(store, 2 * size)] == [key(1), key(2)]
    assert [entry.key for entry in entries(store)] == [key(3), key(0)]
    assert prune(store, 2 * size) == []
    assert len(prune(store, 2 * size - 1)) == 1


def test_writing_keeps_within_the_limit(store, quick, tmp_path):
    write(store, key(1), kept(rows=8), {})
    small = Store(store.root, 3 * entries(store)[0].bytes)
    for view in range(6):
        cache_of(small, tmp_path).view(view)
        assert sum(entry.bytes for entry in entries(small)) <= small.limit
    assert entries(small)[-1].about["view"] == 6
    tiny = Store(store.root, entries(small)[-1].bytes - 1)
    cache_of(tiny, tmp_path).view(7)
    assert all(entry.about["view"] != 8 for entry in entries(store))
    assert not list(store.root.glob(".*"))


def test_what_is_in_use_stays(store, quick):
    write(store, key(1), kept(), {})
    write(store, key(2), kept(), {})
    with hold(store, key(1), silent):
        half = store.root / f".{key(1)}.1.part"
        half.mkdir()
        assert [entry.key for entry in prune(store, 0)] == [key(2)]
        assert half.exists()
    assert equal(read(store, key(1), IN_MEMORY), kept())
    assert [entry.key for entry in prune(store, 0)] == [key(1)]
    assert list(store.root.iterdir()) == []


def test_files_of_others_in_the_folder_are_left_alone(store, quick):
    write(store, key(1), kept(), {})
    for name in ("mine.txt", ".mine.part", "mine.lock"):
        (store.root / name).write_text("mine")
    prune(store, 0)
    assert sorted(path.name for path in store.root.iterdir()) == [".mine.part", "mine.lock", "mine.txt"]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("123", 123),
        ("20GB", 20 * 10**9),
        ("1.5 GiB", 3 * 2**29),
        ("500mb", 5 * 10**8),
        ("2k", 2000),
        ("7B", 7),
    ],
)
def test_sizes(text, size, monkeypatch):
    monkeypatch.setenv("XFER_CACHE_LIMIT", text)
    assert open_store().limit == parse_size("--to", text) == size


@pytest.mark.parametrize("text", ["much", "-1", "10 PB", "1e9", "GB", "10 I"])
def test_what_is_no_size(text):
    with pytest.raises(ConfigError, match=r"--to = .*expected a number of bytes"):
        parse_size("--to", text)


def test_the_limit_is_ten_gigabytes_unless_said_otherwise(monkeypatch):
    monkeypatch.delenv("XFER_CACHE_LIMIT")
    assert open_store().limit == 10 * 10**9


# The command


@pytest.fixture
def cached(tmp_path, monkeypatch, quick):
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XFER_CACHE_LIMIT", "1MB")
    store = open_store()
    facts = {"arch": "tiny", "boundary": "head", "backend": "numpy", "device": "cpu", "data": "ants", "n": 6}
    write(store, key(1), kept(), facts | {"split": "val"})
    write(store, key(2), kept(), facts | {"split": "train", "seed": 3, "view": 2})
    return store


def cache_(*words, code=0):
    result = CliRunner().invoke(main, ["cache", *words])
    assert result.exit_code == code, result.output
    return result.output


def test_ls_says_what_is_kept(cached):
    lines = cache_("ls").splitlines()
    assert "ants val, 6 pictures: tiny up to head, numpy on cpu, float32" in lines[0]
    assert "ants train view 2 of seed 3, 6 pictures" in lines[1]
    assert lines[2].startswith("2 entries, ")
    assert "of at most 1.0 MB" in lines[2]
    listing = json.loads(cache_("ls", "--json"))
    assert listing["limit"] == 10**6
    assert listing["total"] == sum(entry["bytes"] for entry in listing["entries"])
    assert [(entry["key"], entry["split"], entry["shape"]) for entry in listing["entries"]] == [
        (key(1), "val", [6, 5]), (key(2), "train", [6, 5])
    ]  # fmt: skip


def test_ls_shows_what_is_damaged_and_an_empty_cache(cached):
    (cached.root / key(1) / "meta.json").write_text("{")
    assert "damaged" in cache_("ls")
    prune(cached, 0)
    assert cache_("ls").startswith("0 entries, 0 bytes")


def test_prune_keeps_to_the_limit_a_size_or_nothing(cached, monkeypatch):
    assert cache_("prune").startswith("0 entries removed")
    size = entries(cached)[-1].bytes
    assert cache_("prune", "--to", str(size)).startswith("1 entries removed")
    assert [entry.key for entry in entries(cached)] == [key(2)]
    assert "0 left" in cache_("prune", "--all")
    assert "expected a number of bytes" in cache_("prune", "--to", "few", code=2)
    assert "expected one of them" in cache_("prune", "--to", "1", "--all", code=2)


# What is no file in an entry


@pytest.mark.skipif(os.name == "nt", reason="pipes and devices are no files on Windows")
@pytest.mark.parametrize("make", [lambda path: os.mkfifo(path), lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
@pytest.mark.parametrize("name", ["meta.json", "values.npy", "digests.npy"])
def test_what_is_no_file_is_not_kept_and_can_be_removed(name, make, store, quick, monkeypatch):
    write(store, key(1), kept(), {"data": "set"})
    (store.root / key(1) / name).unlink()
    make(store.root / key(1) / name)
    assert read(store, key(1), IN_MEMORY) is None
    monkeypatch.setenv("XFER_CACHE", str(store.root.parent))
    listed = CliRunner().invoke(main, ["cache", "ls"])
    assert (listed.exit_code, listed.output.count(key(1)[:12])) == (0, 1)
    assert CliRunner().invoke(main, ["cache", "prune", "--all"]).exit_code == 0
    assert list(store.root.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(npy("(1000000000000000,)"), id="far more numbers than there are"),
        pytest.param(npy("(" * 300 + "1" + ")" * 300), id="a shape nested without end"),
        pytest.param(npy("(6,)", "|O"), id="pickled objects"),
    ],
)
def test_a_file_that_is_as_written_and_no_array_is_not_kept(content, store, quick):
    write(store, key(1), kept(), {})
    folder = store.root / key(1)
    (folder / "values.npy").write_bytes(content)
    about = json.loads((folder / "meta.json").read_text())
    digest = hashlib.blake2b(content, digest_size=32).hexdigest()
    about["files"]["values.npy"] = {"bytes": len(content), "blake2b": digest}
    (folder / "meta.json").write_text(json.dumps(about))
    assert read(store, key(1), IN_MEMORY) is None
