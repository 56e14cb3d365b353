"""Pictures that were read before, and whose files are as they were then, are not read again; but for a sample of them.

A file is told by its name, size, times of the last change and number (inode). Times say nothing of one that was changed
in the moments before it was looked at, as it may change once more within the same tick of the clock: that is not kept.
"""

from __future__ import annotations

import os
import stat
import struct
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Int64
from xfer.data import checked
from xfer.data.checked import Table
from xfer.data.files import AT_ONCE, Files
from xfer.data.scan import MANY, inspect_all
from xfer.data.split import Split, take
from xfer.pixels.inspected import Inspected
from xfer.progress import Progress, part, silent
from xfer.system.limits import limit

SETTLED = 2 * 10**9  # nanoseconds since the last change: the coarsest clock of a file system ticks so
SHARE, LEAST, MOST = 100, 16, 1000
"""One in so many known pictures is read again, but so many at least, and at most."""

SAVED_EVERY = 60.0  # seconds: what a killed check has to do again
CURE = "data.cache = false if it comes back: something changes files and puts their times back"


@dataclass
class Earlier:
    """Where earlier checks are kept, or None; how many pictures were known from there, and what was wrong with them."""

    cache: Path | None
    known: int = 0
    wrong: list[str] = field(default_factory=list)


def warnings_of(wrong: Sequence[str]) -> list[str]:
    """A line for each thing that was wrong with what was kept."""
    return [f"warning: {text}. Cure: {CURE}" for text in wrong]


class _Look(NamedTuple):
    """Of n files now: `keys` (n, 2) uint64, `stamps` (n, 2) int64 as `content.stamp`, and whether they are settled."""

    keys: NDArray[np.uint64]
    stamps: Int64
    settled: NDArray[np.bool_]


def inspect_changed(
    split: Split, workers: int, progress: Progress, earlier: Earlier, of: Path | None = None
) -> Generator[Inspected, None, None]:
    """As `inspect_all`, with the same results; what is known from `earlier` is not read again, and the rest kept there.

    `of`: what listed the files, where that is not the folder they lie in: a split of a table, which keeps its own.

    A sample of it is read all the same, another each time. Where it is not as it is kept, all are read.
    """
    files = split.files
    if earlier.cache is None or not limit(checked.FOLDER) or not isinstance(files, Files):
        yield from inspect_all(split, workers, progress)
        return
    folder = files.root if of is None or str(of) == files.root else f"{files.root}, as listed in {of}"
    place = checked.place_of(earlier.cache, folder)
    look = _look(files, progress)
    table, known = _recalled(checked.read(place), look)
    if wrong := _wrong(split, table, known, look, workers, progress):
        earlier.wrong.append(wrong)
        known[:] = False
        with suppress(OSError):
            place.unlink(missing_ok=True)
    earlier.known += int(known.sum())
    yield from _inspect(split, workers, progress, place, folder, look, table, known)


def _inspect(
    split: Split,
    workers: int,
    progress: Progress,
    place: Path,
    folder: str,
    look: _Look,
    table: Table,
    known: NDArray[np.bool_],
) -> Generator[Inspected, None, None]:
    """All in turn, those that are not known read; adds them to the table and to `known`, and keeps them."""
    files = split.files
    assert isinstance(files, Files)
    before, n, saved, new = int(known.sum()), len(known), time.monotonic(), 0
    if before == n:
        progress("checking pictures", n, n)
    with closing(inspect_all(take(split, np.flatnonzero(~known)), workers, part(progress, before, n))) as read:
        for begin, run in _runs(known):
            if known[begin]:
                for at in range(begin, begin + run, AT_ONCE):
                    end = min(at + AT_ONCE, begin + run)
                    yield from table.pictures(at, end, look.stamps[at:end])
                continue
            for i, picture in enumerate(islice(read, run), begin):
                same = picture.reason is None and picture.stamp == tuple(look.stamps[i].tolist())
                if same and look.settled[i] and table.put(i, picture):
                    known[i] = True
                    new += 1
                yield picture
                if new and time.monotonic() - saved > SAVED_EVERY:
                    checked.write(place, folder, table, known)
                    saved, new = time.monotonic(), 0
    if new:
        checked.write(place, folder, table, known)


def _runs(values: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Where values begin that are the same up to the next, and how many those are."""
    begins = np.flatnonzero(np.diff(values, prepend=~values[:1]))
    lengths = np.diff(begins, append=len(values))
    yield from zip(map(int, begins), map(int, lengths), strict=True)


def _recalled(old: Table | None, look: _Look) -> tuple[Table, NDArray[np.bool_]]:
    """What is known of files as they are now, in their order, and of which."""
    table = checked.empty(0) if old is None else old
    places = table.places(look.keys)
    places[~look.settled] = -1
    if not np.array_equal(places, np.arange(len(table))):
        table.arrange(look.keys, places)
    return table, places >= 0


def _wrong(split: Split, table: Table, known: NDArray[np.bool_], look: _Look, workers: int, progress: Progress) -> str:
    """Reads a sample of the known pictures again. What is to be said where one is not as it is kept, or nothing.

    One that has changed since it was looked at is no longer known, and nothing else is wrong with it.
    """
    places = np.flatnonzero(known)
    count = min(max(len(places) // SHARE, LEAST), MOST, len(places))
    sample = np.sort(np.random.default_rng().choice(places, count, replace=False)) if count else places

    def show(what: str, done: int, total: int | None) -> None:
        progress("reading some of the known pictures again", done, total)

    with closing(inspect_all(take(split, sample), workers, show)) as read:
        for i, picture in zip(sample, read, strict=True):
            if picture == next(table.pictures(i, i + 1, look.stamps[i : i + 1])):
                continue
            if _is_still(take(split, np.array([i])).files, look.keys[i]):
                return f"{split.files[i]} is not what an earlier check found there, so that every picture was read"
            known[i] = False
    return ""


def _is_still(files: Sequence[str], key: NDArray[np.uint64]) -> bool:
    assert isinstance(files, Files)
    return np.array_equal(_look(files, silent).keys[0], key)


def _look(files: Files, progress: Progress) -> _Look:
    n, latest = len(files), time.time_ns() - SETTLED
    keys, stamps, settled = np.zeros((n, 2), np.uint64), np.zeros((n, 2), np.int64), np.zeros(n, np.bool_)
    root, names = os.fsencode(os.path.join(files.root, "")), files.names()
    for begin in range(0, n, MANY):
        part = slice(begin, begin + MANY)
        told = [_told(root, name) for name in islice(names, MANY)]
        keys[part] = np.frombuffer(b"".join(key for key, _, _, _ in told), np.uint64).reshape(-1, 2)
        stamps[part] = [stamp for _, *stamp, _ in told]
        settled[part] = [0 < changed < latest for *_, changed in told]
        if begin:
            progress("comparing pictures with an earlier check", begin, n)
    return _Look(keys, stamps, settled)


def _told(root: bytes, name: bytes) -> tuple[bytes, int, int, int]:
    """Of a file a digest of its name and of what the system says of it, its stamp, and when it was last changed.

    0 for the last where it is no regular file, or cannot be looked at.
    """
    try:
        status = os.stat(root + name)
    except (OSError, ValueError):
        return bytes(16), 0, 0, 0
    times = status.st_mtime_ns % 2**63, status.st_ctime_ns % 2**63
    facts = struct.pack("<QQQQ", status.st_size, *times, status.st_ino)
    last = max(times) if stat.S_ISREG(status.st_mode) else 0
    return blake2b(facts + name, digest_size=16).digest(), status.st_size, times[0], last
