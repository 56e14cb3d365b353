"""What is said of files elsewhere: addresses in a table or on the command line, records of what was fetched, and what
`save_to_disk` writes beside its rows. Nothing is fetched here."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from fuzz.harness import Door
from xfer.data import addressed, fetch_record, huggingface
from xfer.data.columns import AS_USUAL
from xfer.progress import silent
from xfer.system import addresses

SECRET = "gehe1m"


def said() -> Mapping[str, bytes]:
    texts = (
        "http://host/a/b.zip",
        "s3://key:gehe1m@bucket/labels.csv",
        "https://host:8080/%2e%2e/x.png?sig=gehe1m&id=3#f",
        "memory://x.csv",
        "abfs://container@account/x",
    )
    return {str(number): text.encode() for number, text in enumerate(texts)}


def read_address(path: Path) -> None:
    """A name lies below its folder, what is shown of an address is an address of the same file and has no secret."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    if not addresses.is_address(text):
        return
    shown = addresses.public(text)
    assert addresses.public(shown) == shown
    assert addresses.protocol_of(shown) == addresses.protocol_of(text)
    assert not any(SECRET in f"{addresses.public(f'{before}{SECRET}{after}')}" for before, after in WITH_SECRET)
    addresses.shown_in(text)
    addresses.file_name(text)
    name = addressed.name_below(text)
    assert not os.path.isabs(name)
    assert ".." not in name.split("/")
    joined = addressed.joined(text, "../../x y.png")
    assert addresses.protocol_of(joined) == addresses.protocol_of(text)
    addressed.name_below(joined)


WITH_SECRET = (("http://me:", "@host/x"), ("https://", "@host"), ("s3://a:", "@b/c"), ("gs://b/c?x=1&sig=", "&y=2"))


def records() -> Mapping[str, bytes]:
    rows = [
        {"name": "a.png", "size": 3, "changed": 1, "digest": "00", "mark": "x"},
        {"name": "b.png", "gone": True},
        {"name": "b.png", "size": 3, "changed": 1, "digest": "00", "mark": ""},
    ]
    return {"record": "".join(json.dumps(row) + "\n" for row in rows).encode()}


def read_record(path: Path) -> None:
    place = path.parent / "set"
    place.mkdir(exist_ok=True)
    (place / fetch_record.RECORD).write_bytes(path.read_bytes())
    (place / "a.png").write_bytes(b"abc")
    record = fetch_record.read_record(place)
    assert record.size == sum(entry.size for entry in record.entries.values())
    for entry in record.entries.values():
        entry.is_whole(place / "a.png", False)
        entry.is_current(None)


def saved() -> Mapping[str, bytes]:
    """The first byte says which of the three files an input is."""
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b"]}}
    files = ({"splits": ["train", "test"]}, {"_data_files": [{"filename": "x.arrow"}]}, {"features": features})
    return {str(number): bytes([number]) + json.dumps(content).encode() for number, content in enumerate(files)}


def read_saved(path: Path) -> None:
    content = path.read_bytes() or b"\0"
    sound = [seed[1:] for seed in saved().values()]
    folder = path.parent / "saved"
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(("dataset_dict.json", "state.json", "dataset_info.json")):
            given = content[1:] if number == content[0] % 3 else sound[number]
            (folder / (split if number else "") / name).write_bytes(given)
        (folder / split / "x.arrow").write_bytes(b"no rows")
    huggingface.open_set(f"hf:{folder}", AS_USUAL, path.parent / "cache", silent)


DOORS = {
    "address": Door(said, read_address, ".txt", (b"://", b"@", b"?sig=", b"%2f", b"::", b"/../"), 1 << 12),
    "fetched": Door(records, read_record, ".jsonl", (b'"gone"', b'"size"', b"null"), 1 << 12),
    "saved": Door(saved, read_saved, ".json", (b'"filename"', b'"splits"', b'"_type"', b"../"), 1 << 12),
}
