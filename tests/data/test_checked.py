"""What is known of pictures, in a file: to the bit or not at all, whole whoever writes, bounded in size."""

import hashlib
import json
import os
import threading

import numpy as np
import pytest

from xfer.data import checked
from xfer.pixels.inspected import Inspected
from xfer.pixels.levels import Extent


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    monkeypatch.delenv("XFER_LIMIT_CHECKED")


N = 21


def samples(n):
    rng = np.random.default_rng(n)
    kinds, flaws = ("PNG RGB", "JPEG L", "TIFF F"), ("", "has no end", "is: odd")
    extents = (None, Extent("f", -1.5, 1e300), Extent("u", 0.0, 65535.0), Extent("i", -7.0, 0.0), Extent("f", 0.0, 0.0))
    return [
        Inspected(
            None,
            rng.bytes(16),
            (int(rng.integers(2**40)), int(rng.integers(2**62))),
            int(rng.integers(1, 2**31)),
            i + 1,
            kinds[i % 3],
            flaws[i // 3 % 3],
            extents[i % 5],
        )
        for i in range(n)
    ]


@pytest.mark.parametrize("n", [0, 1, 40])
def test_what_is_written_is_read_to_the_bit(tmp_path, monkeypatch, n):
    monkeypatch.setattr(checked, "_AT_ONCE", 7)
    rows, table, chosen = samples(n), checked.empty(n), np.arange(n) % 3 != 1
    table.keys[:] = np.random.default_rng(1).integers(2**63, size=(n, 2))
    assert all(table.put(i, row) for i, row in enumerate(rows))
    checked.write(tmp_path / "checked" / "x", "/a folder \udcff", table, chosen)
    again = checked.read(tmp_path / "checked" / "x")
    assert (again.keys == table.keys[chosen]).all()
    kept = [row for row, wanted in zip(rows, chosen, strict=True) if wanted]
    stamps = np.array([row.stamp for row in kept], np.int64).reshape(-1, 2)
    assert list(again.pictures(0, len(kept), stamps)) == kept
    order = np.random.default_rng(2).permutation(n)
    expected = np.where(chosen, np.cumsum(chosen) - 1, -1)
    assert again.places(table.keys[order]).tolist() == expected[order].tolist()


def test_more_texts_than_there_is_room_for_are_not_kept():
    table, (one, other, *_) = checked.empty(3), samples(3)
    table.texts = [str(i) for i in range(checked._MOST_TEXTS - 2)]
    assert [table.put(0, one), table.put(1, other), table.put(2, one)] == [True, False, True]


def test_the_least_recently_used_go_beyond_the_limit(tmp_path, monkeypatch):
    rows, folder = samples(20), tmp_path / "checked"
    for number, name in enumerate("abc"):
        table = checked.empty(20)
        for i, row in enumerate(rows):
            table.put(i, row)
        checked.write(folder / name, f"/{name}", table, np.ones(20, bool))
        os.utime(folder / name, (number, number))
    size = (folder / "a").stat().st_size
    assert checked.read(folder / "a") is not None  # is used now
    monkeypatch.setenv("XFER_LIMIT_CHECKED", str(2 * size + 100))
    checked.write(folder / "d", "/d", table, np.ones(20, bool))
    assert [(kept.path.name, kept.about) for kept in checked.checked_folders(tmp_path)] == [
        ("a", "what is known of 20 pictures in /a"),
        ("d", "what is known of 20 pictures in /d"),
    ]
    monkeypatch.setenv("XFER_LIMIT_CHECKED", str(size // 2))
    checked.write(folder / "e", "/e", table, np.ones(20, bool))
    assert not (folder / "e").exists()


def test_of_two_that_write_at_once_a_reader_sees_one(tmp_path):
    place, tables, seen = tmp_path / "checked" / "x", [], []
    for width in (3, 5):
        table = checked.empty(200)
        table.facts[:, 1] = width
        tables.append(table)
    threads = [
        threading.Thread(target=lambda t=t: [checked.write(place, "/x", t, np.ones(200, bool)) for _ in range(15)])
        for t in tables
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if place.exists():
            seen.append(checked.read(place))
    for thread in threads:
        thread.join()
    assert {tuple(np.unique(table.facts[:, 1])) for table in seen} <= {(3,), (5,)}
    assert checked.read(place) is not None
    assert os.listdir(place.parent) == ["x"]


def written(folder, n=N):
    """The bytes of a file that knows n pictures, and its path."""
    table = checked.empty(n)
    table.keys[:] = np.random.default_rng(1).integers(2**63, size=(n, 2))
    for i, row in enumerate(samples(n)):
        table.put(i, row)
    checked.write(folder / "checked" / "x", "/x", table, np.ones(n, bool))
    return folder / "checked" / "x"


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def as_header(content, **facts):
    line, _, rest = content.partition(b"\n")
    return json.dumps(json.loads(line) | facts).encode() + b"\n" + rest


DAMAGES = {
    "empty": lambda c: b"",
    "cut": lambda c: c[:-1],
    "longer": lambda c: c + b"x",
    "a line": lambda c: c.partition(b"\n")[0],
    "text": lambda c: b"somebody's notes\n",
    "no object": lambda c: b"[]\n",
    "deep": lambda c: b"[" * 100_000 + b"\n",
    "begin": lambda c: flipped(c, 20),
    "keys": lambda c: flipped(c, c.index(b"\n") + 3),
    "digests": lambda c: flipped(c, c.index(b"\n") + 1 + 16 * N + 3),
    "end": lambda c: flipped(c, len(c) - 1),
    "other n": lambda c: as_header(c, n=10**12),
    "no n": lambda c: as_header(c, n=None),
    "negative": lambda c: as_header(c, n=-1),
    "fraction": lambda c: as_header(c, n=float(N)),
    "texts": lambda c: as_header(c, texts=3),
    "other texts": lambda c: as_header(c, texts=[]),
    "other code": lambda c: as_header(c, of="0"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_or_foreign_is_as_good_as_none(tmp_path, damage):
    path = written(tmp_path)
    assert len(checked.read(path)) == N
    content = DAMAGES[damage](path.read_bytes())
    path.write_bytes(content)
    assert checked.read(path) is None
    (listed,) = checked.checked_folders(tmp_path)
    assert (listed.path, listed.bytes) == (path, len(content))
    assert listed.remove()
    assert not path.exists()


@pytest.mark.parametrize("facts", [{"texts": [""]}, {"texts": "ab"}, {"wide": False}, {"n": N - 1}, {"texts": None}])
def test_what_is_forged_with_its_digest_is_none_too(tmp_path, facts):
    path = written(tmp_path)
    content = as_header(path.read_bytes()[:-16], **facts)
    path.write_bytes(content + hashlib.blake2b(content, digest_size=16).digest())
    assert checked.read(path) is None
