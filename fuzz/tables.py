"""Tables of paths and labels, in CSV and JSON Lines: the first byte of an input says which."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from fuzz.harness import Door
from xfer.data.columns import AS_USUAL
from xfer.data.parts import classes_of, find_parts

SUFFIXES = (".csv", ".tsv", ".jsonl")
WORDS = (
    b"path",
    b"label",
    b"split",
    b"group",
    b"train",
    b"val",
    b"../",
    b"://",
    b'","',
    b"\\u0000",
    b"\\ud800",
    b"null",
)
ROWS = (("path", "label", "split", "group"), ("a.png", "ants", "train", "1"), ("b.png", "bees", "val", "2"),
        ("/c.png", "bees", "test", ""), ("../d.png", "bees", "train", "1"))  # fmt: skip


def seeds() -> Mapping[str, bytes]:
    objects = [json.dumps(dict(zip(ROWS[0], row, strict=True))) for row in ROWS[1:]]
    return {
        "csv": b"\0" + "\n".join(",".join(row) for row in ROWS).encode(),
        "tsv": b"\1" + "\n".join("\t".join(row) for row in ROWS).encode(),
        "jsonl": b"\2" + "\n".join(objects).encode(),
    }


def read(path: Path) -> None:
    content = path.read_bytes() or b"\0"
    table = path.with_name(f"table{SUFFIXES[content[0] % len(SUFFIXES)]}")
    table.write_bytes(content[1:])
    found = find_parts(table, AS_USUAL)
    for part in found:
        if part is not None and part.rows is not None:
            assert len(list(part.rows.split.files)) == len(part.rows.split.labels)
    classes_of(found)


DOORS = {"table": Door(seeds, read, ".table", WORDS, 1 << 14)}
