"""Paths, and writing files so that a reader sees the old one or the new one, never half of either."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any


def expanded(path: str) -> Path:
    """With a home folder in the place of `~` or `~name`; as it is for nobody's name, or for a user who has none."""
    return Path(os.path.expanduser(path))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to. It takes the place of `path` at the end, or vanishes with an error."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        beside.touch()
        mode = stat.S_IMODE(beside.stat().st_mode)  # as the umask says, or the folder's access list
        yield beside
        if stat.S_IMODE(beside.stat().st_mode) != mode:  # some libraries make files that their owner alone may read
            beside.chmod(mode)
        sync(beside)
        beside.replace(path)
        if os.name != "nt":  # where a folder cannot be opened
            sync(path.parent)
    except OSError as error:
        if error.filename is not None and os.fspath(error.filename) == str(beside):
            error.filename = str(path)  # the name that people know
        raise
    finally:
        beside.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def parts(folder: Path, names: Collection[str]) -> list[Path]:
    """What `replacing` left of these files when it was killed; names relative to the folder."""
    files = [folder / name for name in names]
    beside = [(file, part) for file in files for part in file.parent.glob(f".{escape(file.name)}.*.part")]
    return [part for file, part in beside if part.name[len(file.name) + 2 : -len(".part")].isdigit()]


def remove_parts(folder: Path, names: Collection[str]) -> None:
    """Remove the `parts` of these files. Nobody else may be writing there."""
    for part in parts(folder, names):
        part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as beside:
        beside.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    # A file name that is no valid UTF-8 is written as the escape that JSON has for it.
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
