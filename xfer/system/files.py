"""Paths, and writing files so that a reader sees the old one or the new one, never half of either."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xfer.errors import XferError
from xfer.system.parts import half_written


def expanded(path: str) -> Path:
    """With a home folder in the place of `~` or `~name`; as it is for nobody's name, or for a user who has none."""
    return Path(os.path.expanduser(path))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, in a folder beside `path`. It takes the place of `path`, or vanishes with an error.

    In a folder of its own: some libraries write beside what they are given first, and leave that when they are killed.
    """
    with half_written(path) as folder:
        written = folder / path.name
        try:
            written.touch()
            mode = stat.S_IMODE(written.stat().st_mode)  # as the umask says, or the folder's access list
            yield written
            if stat.S_IMODE(written.stat().st_mode) != mode:  # some libraries make files that only their owner may read
                written.chmod(mode)
            sync(written)
            written.replace(path)
        except OSError as error:
            if error.filename is not None and os.fspath(error.filename) == str(written):
                error.filename = str(path)  # the name that people know
            raise
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
    """Raises XferError for numbers that JSON has not, see `json_text`."""
    write_text(path, json_text(content, indent=2, ascii_only=False) + "\n")


def json_text(content: Any, indent: int | None = None, ascii_only: bool = True) -> str:
    """JSON that every program reads: raises XferError, naming the place, for NaN and infinities, which it has not."""
    try:
        return json.dumps(content, indent=indent, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:
        for place, value in _not_finite(content, ""):
            raise XferError(f"{place} = {value}: is not finite, and JSON has no such number") from None
        raise


def _not_finite(content: Any, place: str) -> Iterator[tuple[str, float]]:
    if isinstance(content, float) and not math.isfinite(content):
        yield place or "a number", content
    entries = content.items() if isinstance(content, Mapping) else enumerate(content) if _is_list(content) else ()
    for key, value in entries:
        yield from _not_finite(value, f"{place}.{key}" if place else str(key))


def _is_list(content: Any) -> bool:
    return isinstance(content, list | tuple)
