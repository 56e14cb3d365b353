"""What runs share, features and what is known of pictures: records that say the truth of what lies there, or not."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np

from fuzz.harness import Door
from xfer.data import checked
from xfer.features import store
from xfer.pixels.inspected import Inspected
from xfer.pixels.levels import Extent
from xfer.system.doors import parse_json
from xfer.system.limits import variable_of

KEY = "0" * 64


def seeds() -> Mapping[str, bytes]:
    """The first byte: 0 what follows is meta.json, else values.npy, of which meta.json then says the truth."""
    file = io.BytesIO()
    np.save(file, np.ones((3, 4), np.float32))
    meta = {"data": "x", "split": "val", "files": {"values.npy": {"bytes": 1, "blake2b": "0"}, "digests.npy": {}}}
    return {"values": b"\1" + file.getvalue(), "meta": b"\0" + json.dumps(meta).encode()}


def read(path: Path) -> None:
    content = path.read_bytes() or b"\0"
    place = path.parent / "features" / KEY
    place.mkdir(parents=True, exist_ok=True)
    kept = store.Store(place.parent, 10**9)
    digests = io.BytesIO()
    np.save(digests, np.zeros((3, 16), np.uint8))
    files = {"values.npy": content[1:], "digests.npy": digests.getvalue()}
    for name, data in files.items():
        (place / name).write_bytes(data)
    told = {
        name: {"bytes": len(data), "blake2b": hashlib.blake2b(data, digest_size=32).hexdigest()}
        for name, data in files.items()
    }
    meta = json.dumps({"files": told}).encode() if content[0] else content[1:]
    (place / "meta.json").write_bytes(meta)
    store.read(kept, KEY, 1 << 20)
    store.entries(kept)


@patch.dict(os.environ, {variable_of(checked.FOLDER): "1MB"})
def known() -> Mapping[str, bytes]:
    """What is written of two pictures, without the digest at its end."""
    seeds = {}
    for name, extent in (("plain", None), ("wide", Extent("f", 0.0, 1.0))):
        table = checked.empty(2)
        for i in range(2):
            table.put(i, Inspected(None, bytes(16), (1, 1), 8, 8, "PNG RGB", "is odd", extent))
        with TemporaryDirectory() as folder:
            checked.write(Path(folder, "x"), "/pictures", table, np.ones(2, bool))
            seeds[name] = Path(folder, "x").read_bytes()[:-16]
    return seeds


@patch.dict(os.environ, {variable_of(checked.FOLDER): "1MB"})
def read_known(path: Path) -> None:
    """As `checked.read`, of a file whose digest is right and that says to be of this code."""
    line, end, rest = path.read_bytes().partition(b"\n")
    with suppress(ValueError):
        header = parse_json(line)
        if isinstance(header, dict) and "of" in header:
            line = json.dumps(header | {"of": checked._code()}).encode()
    content = line + end + rest
    path.write_bytes(content + hashlib.blake2b(content, digest_size=16).digest())
    table = checked.read(path)
    if table is not None:
        list(table.pictures(0, len(table), np.zeros((len(table), 2), np.int64)))
        table.places(table.keys[::-1])


WORDS = (b"\x93NUMPY\1\0", b"'descr': '<f4'", b"'fortran_order'", b"'shape': (", b"|O")
DOORS = {
    "features": Door(seeds, read, ".npy", WORDS, 1 << 12),
    "known": Door(known, read_known, "", (b'"texts": [', b'"wide": ', b'"n": '), 1 << 12),
}
