"""Writing files so that a reader sees the old one or the new one, never half of either."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xfer.system.parts import half_written


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, in a folder beside `path`. It takes the place of `path`, or vanishes with an error.

    In a folder of its own: some libraries write beside what they are given first, and leave that when they are killed.
    """
    with half_written(path) as folder:
        written = folder / path.name
        written.touch()
        mode = stat.S_IMODE(written.stat().st_mode)  # as the umask says, or the folder's access list
        yield written
        if stat.S_IMODE(written.stat().st_mode) != mode:  # some libraries make files that their owner alone may read
            written.chmod(mode)
        sync(written)
        written.replace(path)
    if os.name != "nt":  # where a folder cannot be opened
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as written:
        written.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    # A file name that is no valid UTF-8 is written as the escape that JSON has for it.
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
