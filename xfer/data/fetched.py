"""Files from elsewhere, kept in a folder for each data set: whole or not there, looked over when used, bounded in size.

    <cache>/remote/DIGEST/files/...          DIGEST: of the set's public address
                          fetched.jsonl      what each file is, see `xfer.data.fetch_record`
                          about.txt          what the set is, for people
                          parts/             what is being fetched

A file appears under `files` when all of it is there, and a set grows file by file: what broke off goes on where it was.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from xfer.data.archives import NAME_FAULTS
from xfer.data.fetch_record import RECORD, Entry, add, entry_of, read_record
from xfer.data.made import FILES, made_sets
from xfer.errors import CheckpointError, DataError
from xfer.progress import Progress, silent
from xfer.system import kept
from xfer.system.addresses import public
from xfer.system.doors import read_text
from xfer.system.files import write_text
from xfer.system.kept import Kept
from xfer.system.limits import limit, variable_of
from xfer.system.parallel import map_ahead
from xfer.system.remote import Found, Gone, copy

REMOTE = "remote"
AT_ONCE, AHEAD = 8, 64  # files that are fetched, and that threads are given

_ATTEMPTS = 5  # others may remove it between its fetching and its use, but not for ever
_ABOUT, _PARTS = "about.txt", "parts"
_CURE = "Cure: make room or grant access there, or set XFER_CACHE to another folder"


@dataclass(frozen=True)
class Wanted:
    """A file of a set: its address, with secrets, and its name below `files`. `found`: what is told of it now."""

    address: str
    name: str
    found: Found | None = None


def place_of(cache: Path, of: str) -> Path:
    """Where a set is kept. `of`: its public address, or what else tells it from others."""
    return cache / REMOTE / hashlib.blake2b(os.fsencode(of), digest_size=16).hexdigest()


def fetched(
    place: Path,
    wanted: Sequence[Wanted],
    about: str,
    progress: Progress,
    *,
    all_bytes: bool = False,
    alone: bool = False,
) -> tuple[Path, frozenset[str]]:
    """The folder of a set with all these files, those that are not there or not as they were fetched; and who is gone.

    Gone are the names of files that there is nothing of elsewhere: they are asked for again, unless another process
    uses the set. Sizes and times of the last change are looked at, and the bytes as well where these differ or where
    `all_bytes` says so. `alone`: other files are no part of the set, and removed. Nobody removes the set before this
    process ends. Of several processes one fetches it. Raises DataError where a file cannot be had, or for too many.
    """
    gone = frozenset[str]()
    try:
        kept.sweep(place.parent)
        for _ in range(_ATTEMPTS):
            if place.is_dir() and kept.use(place):
                absent = {one.name for one in _absent(place, wanted, all_bytes)} - gone
                others = alone and _others(place, wanted)
                if absent and not others and absent <= read_record(place).gone and _is_used_elsewhere(place):
                    gone, absent = gone | absent, set()
                if not absent and not others:
                    kept.touch(place)
                    return place / FILES, gone
            place.parent.mkdir(parents=True, exist_ok=True)
            with kept.alone(place, about, progress):
                gone = _fetch(place, _absent(place, wanted, all_bytes), about, progress)
                for path in _others(place, wanted) if alone else ():
                    path.unlink()
                all_bytes, wanted = False, [replace(one, found=None) for one in wanted]  # all were had just now
                with suppress(OSError):
                    cache = place.parent.parent
                    kept.prune([*made_sets(cache), *fetched_sets(cache)], limit("data_cache"))  # this one is locked
    except CheckpointError as error:
        why = "is no longer as it was fetched, here or where it comes from, and another process uses what was fetched"
        raise DataError(f"data {about}: {why}. Cure: wait until that ends, or XFER_CACHE=FOLDER") from error
    except OSError as error:
        raise DataError(f"{place}: cannot be kept ({error}). {_CURE}") from error
    raise DataError(f"{place}: is changed as often as it is fetched. Cure: set XFER_CACHE to another folder")


def is_kept(place: Path, names: Iterable[str]) -> bool:
    """Whether all these files are kept, as they were fetched."""
    entries = read_record(place).entries
    return all(name in entries and entries[name].is_whole(place / FILES / name, False) for name in names)


def names_kept(place: Path) -> list[str]:
    """Of all files that are kept, as they were fetched."""
    return [name for name in read_record(place).entries if is_kept(place, [name])]


def _absent(place: Path, wanted: Sequence[Wanted], all_bytes: bool) -> list[Wanted]:
    """Those that are not there, not as they were fetched, or not as they are elsewhere by now."""
    entries, absent = read_record(place).entries, []
    for one in wanted:
        entry = entries.get(one.name)
        if not (entry and entry.is_current(one.found) and entry.is_whole(place / FILES / one.name, all_bytes)):
            absent.append(one)
    return absent


def _others(place: Path, wanted: Sequence[Wanted]) -> list[Path]:
    names = {os.path.join(place, FILES, one.name) for one in wanted}
    paths = (os.path.join(parent, name) for parent, _, found in os.walk(place / FILES) for name in found)
    return [Path(path) for path in paths if path not in names]


def _is_used_elsewhere(place: Path) -> bool:
    """Whether another process uses a set; this one goes on using it then, and else no longer does."""
    kept.let_go(place)
    with ExitStack() as held:
        if kept.taken(held, place):
            return False
    return kept.use(place)


def _fetch(place: Path, wanted: Sequence[Wanted], about: str, progress: Progress) -> frozenset[str]:
    """Names of those that are gone. The caller has the place alone."""
    parts, gone = place / _PARTS, set[str]()
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    (place / FILES).mkdir(exist_ok=True)
    write_text(place / _ABOUT, about)
    anew = {one.name for one in wanted}
    total = sum(entry.size for name, entry in read_record(place).entries.items() if name not in anew)
    _refuse_many(about, len(wanted), total + sum((one.found and one.found.size) or 0 for one in wanted))
    told = progress if len(wanted) == 1 else silent

    def get(numbered: tuple[int, Wanted]) -> tuple[Wanted, Path, Entry | None]:
        number, one = numbered
        part = parts / str(number)
        try:
            found = copy(one.address, part, told)
        except Gone:
            return one, part, None
        return (
            one,
            part,
            entry_of(part, (one.found and one.found.mark) or found.mark),
        )  # a listing may call it otherwise

    with ExitStack() as held:
        held.callback(shutil.rmtree, parts, ignore_errors=True)
        lines = held.enter_context((place / RECORD).open("a", encoding="utf-8", errors="surrogateescape"))
        lines.write("\n")  # the last line may have been cut off
        if len(wanted) == 1:  # an archive of hours: Ctrl-C waits for threads, and not for this one
            results: Iterable[tuple[Wanted, Path, Entry | None]] = map(get, enumerate(wanted))
        else:
            results = held.enter_context(closing(map_ahead(get, enumerate(wanted), AT_ONCE, AHEAD)))
        for done, (one, part, entry) in enumerate(results, start=1):
            if entry is None:
                gone.add(one.name)
            else:
                total += entry.size
                _refuse_many(about, len(wanted), total)
                _put(part, place / FILES / one.name, one)
            add(lines, one.name, entry)
            if len(wanted) > 1:
                progress(f"fetching {about}", done, len(wanted))
    return frozenset(gone)


def _refuse_many(about: str, count: int, size: int) -> None:
    if count > (files := limit("remote_files")):
        raise DataError(f"data {about}: more than {files:,} files. Cure: {variable_of('remote_files')}")
    if size > (most := limit("remote")):
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
    return Kept(place, read_record(place).size, place.stat().st_mtime, about, partial(kept.remove, place))
