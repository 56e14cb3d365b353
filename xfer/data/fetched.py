"""Files from elsewhere, kept in a folder for each data set: whole or not there, looked over when used, bounded in size.

    <cache>/remote/DIGEST/files/...          DIGEST: of the set's public address
                          fetched.jsonl      a line for each file: what it is, and what it was when it was fetched
                          about.txt          what the set is, for people
                          parts/             what is being fetched

A file appears under `files` when all of it is there, and a set grows file by file: what broke off goes on where it was.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from xfer.data.archives import NAME_FAULTS
from xfer.data.made import FILES, made_sets
from xfer.errors import CheckpointError, DataError
from xfer.progress import Progress
from xfer.system import kept
from xfer.system.addresses import public
from xfer.system.doors import open_lines, open_regular, parse_json, read_text
from xfer.system.files import json_text, write_text
from xfer.system.kept import Kept
from xfer.system.limits import limit, variable_of
from xfer.system.parallel import map_ahead
from xfer.system.remote import Found, Gone, copy

REMOTE = "remote"
AT_ONCE, AHEAD = 8, 64  # files that are fetched, and that threads are given

_ATTEMPTS = 5  # others may remove it between its fetching and its use, but not for ever
_RECORD, _ABOUT, _PARTS = "fetched.jsonl", "about.txt", "parts"
_CHUNK = 2**20
_CURE = "Cure: make room or grant access there, or set XFER_CACHE to another folder"


@dataclass(frozen=True)
class Wanted:
    """A file of a set: its address, with secrets, and its name below `files`. `found`: what is told of it now."""

    address: str
    name: str
    found: Found | None = None


@dataclass(frozen=True)
class _Entry:
    """What a file was when it was fetched: bytes, time of the last change (ns), BLAKE2b digest, its mark elsewhere."""

    size: int
    changed: int
    digest: str
    mark: str


def place_of(cache: Path, of: str) -> Path:
    """Where a set is kept. `of`: its public address, or what else tells it from others."""
    return cache / REMOTE / hashlib.blake2b(os.fsencode(of), digest_size=16).hexdigest()


def fetched(
    place: Path, wanted: Sequence[Wanted], about: str, progress: Progress, *, all_bytes: bool = False
) -> tuple[Path, frozenset[str]]:
    """The folder of a set with all these files, those that are not there or not as they were fetched; and who is gone.

    Gone are the names of files that there is nothing of elsewhere. Sizes and times of the last change are looked at,
    and the bytes as well where these differ or where `all_bytes` says so. Nobody removes the set before this process
    ends. Of several processes one fetches it. Raises DataError where a file cannot be had, or all are too large.
    """
    gone = frozenset[str]()
    try:
        kept.sweep(place.parent)
        for _ in range(_ATTEMPTS):
            if place.is_dir() and kept.use(place) and not [*_absent(place, wanted, gone, all_bytes)]:
                kept.touch(place)
                return place / FILES, gone
            place.parent.mkdir(parents=True, exist_ok=True)
            with kept.alone(place, about, progress):
                gone = _fetch(place, [*_absent(place, wanted, frozenset(), all_bytes)], about, progress)
                all_bytes, wanted = False, [replace(one, found=None) for one in wanted]  # all were had just now
                with suppress(OSError):
                    cache = place.parent.parent
                    kept.prune([*made_sets(cache), *fetched_sets(cache)], limit("data_cache"))  # this one is locked
    except (OSError, CheckpointError) as error:
        raise DataError(f"{place}: cannot be kept ({error}). {_CURE}") from error
    raise DataError(f"{place}: is changed as often as it is fetched. Cure: set XFER_CACHE to another folder")


def is_kept(place: Path, names: Iterable[str]) -> bool:
    """Whether all these files are kept, as they were fetched."""
    entries = _entries(place)
    return all(name in entries and _is_whole(place / FILES / name, entries[name], False) for name in names)


def names_kept(place: Path) -> list[str]:
    """Of all files that were fetched."""
    return [*_entries(place)]


def _absent(place: Path, wanted: Sequence[Wanted], gone: frozenset[str], all_bytes: bool) -> Iterator[Wanted]:
    entries = _entries(place)
    for one in wanted:
        entry = entries.get(one.name)
        known = entry and _is_current(entry, one.found) and _is_whole(place / FILES / one.name, entry, all_bytes)
        if not (known or one.name in gone):
            yield one


def _is_current(entry: _Entry, found: Found | None) -> bool:
    """Whether what is told of a file now is what was told then, as far as either says anything."""
    if found is None:
        return True
    return found.size in (None, entry.size) and (not found.mark or not entry.mark or found.mark == entry.mark)


def _is_whole(file: Path, entry: _Entry, all_bytes: bool) -> bool:
    with suppress(OSError):
        status = file.stat()
        if status.st_size != entry.size:
            return False
        return (not all_bytes and status.st_mtime_ns == entry.changed) or _digest(file) == entry.digest
    return False


def _digest(file: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open_regular(file) as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _entries(place: Path) -> dict[str, _Entry]:
    """By name; of several lines for one, the last. A line that was cut off, or is none of these, counts as nothing."""
    entries = dict[str, _Entry]()
    with suppress(OSError, ValueError), open_lines(place / _RECORD, "table", "surrogateescape") as lines:
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):
                row = parse_json(line)
                entries[str(row["name"])] = _Entry(
                    int(row["size"]), int(row["changed"]), str(row["digest"]), str(row["mark"])
                )
    return entries


def _fetch(place: Path, wanted: Sequence[Wanted], about: str, progress: Progress) -> frozenset[str]:
    """Names of those that are gone. The caller has the place alone."""
    parts, gone = place / _PARTS, set[str]()
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    (place / FILES).mkdir(exist_ok=True)
    write_text(place / _ABOUT, about)
    total, most = sum(entry.size for entry in _entries(place).values()), limit("remote")
    _refuse_many(about, len(wanted), total + sum((one.found and one.found.size) or 0 for one in wanted), most)
    alone = len(wanted) == 1

    def get(numbered: tuple[int, Wanted]) -> tuple[Wanted, Path, _Entry | None]:
        number, one = numbered
        part = parts / str(number)
        try:
            found = copy(one.address, part, progress) if alone else copy(one.address, part)
        except Gone:
            return one, part, None
        mark = (one.found and one.found.mark) or found.mark  # a listing may call it otherwise
        return one, part, _Entry(part.stat().st_size, part.stat().st_mtime_ns, _digest(part), mark)

    try:
        with (
            (place / _RECORD).open("a", encoding="utf-8", errors="surrogateescape") as record,
            closing(map_ahead(get, enumerate(wanted), AT_ONCE, AHEAD)) as results,
        ):
            record.write("\n")  # the last line may have been cut off
            for done, (one, part, entry) in enumerate(results, start=1):
                if entry is None:
                    gone.add(one.name)
                    part.unlink(missing_ok=True)
                else:
                    total += entry.size
                    _refuse_many(about, len(wanted), total, most)
                    _put(part, place / FILES / one.name, one)
                    record.write(json_text({"name": one.name, **vars(entry)}) + "\n")
                    record.flush()
                if not alone:
                    progress(f"fetching {about}", done, len(wanted))
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    return frozenset(gone)


def _refuse_many(about: str, count: int, size: int, most: int) -> None:
    if count > (files := limit("remote_files")):
        raise DataError(f"data {about}: more than {files:,} files. Cure: {variable_of('remote_files')}")
    if size > most:
        raise DataError(f"data {about}: more than {most:,} bytes in all. Cure: {variable_of('remote')}")


def _put(part: Path, target: Path, one: Wanted) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)
    except OSError as error:
        if error.errno not in NAME_FAULTS:
            raise
        why = error.strerror
        raise DataError(f"{public(one.address)}: is no name of a file here ({why}). Cure: rename it there") from None


def fetched_sets(cache: Path) -> list[Kept]:
    """All that `fetched` keeps below a cache folder."""
    places = [cache / REMOTE / name for name in kept.names(cache / REMOTE)]
    return [_listed(place) for place in places if place.is_dir()]


def _listed(place: Path) -> Kept:
    about = "damaged"
    with suppress(OSError, ValueError):
        about = read_text(place / _ABOUT, "json")
    size = sum(entry.size for entry in _entries(place).values())
    return Kept(place, size, place.stat().st_mtime, about, partial(kept.remove, place))
