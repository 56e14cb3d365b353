"""What the files of a set from elsewhere were when they were fetched: lines of JSON, of which the last of a name holds.

{"name": "a/b.png", "size": 17, "changed": 1700000000000000000, "digest": "0a...", "mark": "\"etag\""}
{"name": "a/c.png", "gone": true}
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from xfer.system.doors import open_lines, open_regular, parse_json
from xfer.system.files import json_text
from xfer.system.remote import Found

RECORD = "fetched.jsonl"
_CHUNK = 2**20


@dataclass(frozen=True)
class Entry:
    """What a file was: bytes, time of the last change (ns), BLAKE2b digest, and what it was marked with elsewhere."""

    size: int
    changed: int
    digest: str
    mark: str

    def is_current(self, found: Found | None) -> bool:
        """Whether what is told of the file now is what was told then, as far as either says anything."""
        if found is None:
            return True
        return found.size in (None, self.size) and (not found.mark or not self.mark or found.mark == self.mark)

    def is_whole(self, file: Path, all_bytes: bool) -> bool:
        """Whether this file is still it: by size and time of the last change, and else, or as well, by its bytes."""
        with suppress(OSError):
            status = file.stat()
            if status.st_size != self.size:
                return False
            return (not all_bytes and status.st_mtime_ns == self.changed) or _digest(file) == self.digest
        return False


@dataclass
class Record:
    """By name; and the names of what there was nothing of."""

    entries: dict[str, Entry] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    @property
    def size(self) -> int:
        """Bytes of all."""
        return sum(entry.size for entry in self.entries.values())


def entry_of(file: Path, mark: str) -> Entry:
    """Of a file that was just fetched. Raises OSError."""
    status = file.stat()
    return Entry(status.st_size, status.st_mtime_ns, _digest(file), mark)


def read_record(place: Path) -> Record:
    """Of the set in a folder. A line that was cut off, or is none of these, counts as nothing."""
    record = Record()
    with suppress(OSError, ValueError), open_lines(place / RECORD, "table", "surrogateescape") as lines:
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):
                row = parse_json(line)
                name = str(row["name"])
                if row.get("gone"):
                    record.gone.add(name)
                else:
                    numbers = int(row["size"]), int(row["changed"])
                    record.entries[name] = Entry(*numbers, str(row["digest"]), str(row["mark"]))
                    record.gone.discard(name)
    return record


def add(lines: TextIO, name: str, entry: Entry | None) -> None:
    """A line for a file; None: there is nothing of it."""
    row = {"gone": True} if entry is None else vars(entry)
    lines.write(json_text({"name": name, **row}) + "\n")
    lines.flush()


def _digest(file: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open_regular(file) as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
