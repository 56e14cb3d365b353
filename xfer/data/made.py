"""Folders of pictures that xfer makes: unpacked, or drawn. Whole or not there, looked over when used, bounded in size.

    <cache>/unpacked/DIGEST/files/...      DIGEST: of the archive's bytes      <cache>/datasets/NAME/files/...
                            made.json      what it is, and what its files were when it was made

Names, sizes and times of the last change are looked at, not the bytes: that would be reading every picture twice.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from xfer.errors import CheckpointError, DataError
from xfer.progress import Progress
from xfer.system import kept
from xfer.system.doors import read_text
from xfer.system.files import sync, write_json
from xfer.system.kept import Kept
from xfer.system.limits import limit

UNPACKED, DATASETS = "unpacked", "datasets"
FILES = "files"

_ATTEMPTS = 5  # others may remove it between its making and its use, but not for ever
_RECORD = "made.json"
_CURE = "Cure: make room or grant access there, or set XFER_CACHE to another folder"


def made(place: Path, make: Callable[[Path], None], about: str, progress: Progress) -> Path:
    """The folder that `make` fills, kept at `place`, CACHE/KIND/NAME; filled anew where it is no longer as it was then.

    Nobody removes it before this process ends. Of several processes one makes it and the others wait. Sets that are
    not in use go, the least recently used first, where all together take more than the limit `data_cache`. Raises
    DataError where it cannot be written.
    """
    kept.sweep(place.parent)
    try:
        for _ in range(_ATTEMPTS):
            if place.is_dir() and kept.use(place) and _is_whole(place):
                kept.touch(place)
                return place / FILES
            _make(place, make, about, progress)
    except (OSError, CheckpointError) as error:
        raise DataError(f"{place}: cannot be made ({error}). {_CURE}") from error
    raise DataError(f"{place}: is changed as often as it is made. Cure: set XFER_CACHE to another folder")


def _make(place: Path, make: Callable[[Path], None], about: str, progress: Progress) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with kept.alone(place, about, progress):
        if _is_whole(place):  # another was faster
            return
        kept.remove_parts(place)
        part = kept.part_of(place)
        new = part / "new"
        try:
            (new / FILES).mkdir(parents=True)
            make(new / FILES)
            write_json(new / _RECORD, {"about": about, **_contents(new / FILES)})
            _flush(new)
            if place.exists():
                place.rename(part / "damaged")
            new.rename(place)
            _flush_names(place.parent)
        finally:
            kept.remove_parts(place)
        with suppress(OSError):
            kept.prune(made_sets(place.parent.parent), limit("data_cache"))  # this one is locked, and stays


def made_sets(cache: Path) -> list[Kept]:
    """All that `made` keeps below a cache folder."""
    places = [cache / kind / name for kind in (UNPACKED, DATASETS) for name in kept.names(cache / kind)]
    return [_listed(place) for place in places if place.is_dir()]


def _listed(place: Path) -> Kept:
    record = _record(place)
    size, about = record.get("bytes"), record.get("about")
    if not (isinstance(size, int) and isinstance(about, str)):
        size, about = _contents(place)["bytes"], "damaged"
    return Kept(place, size, place.stat().st_mtime, about, partial(kept.remove, place))


def _is_whole(place: Path) -> bool:
    record = _record(place)
    return bool(record) and record == {"about": record.get("about"), **_contents(place / FILES)}


def _record(place: Path) -> dict[str, Any]:
    try:
        record = json.loads(read_text(place / _RECORD, "json"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _contents(folder: Path) -> dict[str, Any]:
    """Files and bytes below a folder, and a digest of all names, sizes and times."""
    digest, count, size = hashlib.blake2b(digest_size=16), 0, 0
    for parent, folders, names in os.walk(folder):
        folders.sort()
        digest.update(os.fsencode(os.path.relpath(parent, folder)) + b"\0\0")
        for name in sorted(names):
            status = os.lstat(os.path.join(parent, name))
            digest.update(os.fsencode(name) + b"\0%o %d %d\0" % (status.st_mode, status.st_size, status.st_mtime_ns))
            count, size = count + 1, size + status.st_size
    return {"files": count, "bytes": size, "digest": digest.hexdigest()}


def _flush(folder: Path) -> None:
    """Wait until all of it is on the disk. File by file that would take milliseconds for each picture."""
    if hasattr(os, "sync"):
        os.sync()
    else:
        for parent, _, names in os.walk(folder):
            for name in names:
                sync(Path(parent, name))


def _flush_names(folder: Path) -> None:
    if os.name != "nt":  # where a folder cannot be opened
        sync(folder)
