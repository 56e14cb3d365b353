"""Unpacking zip and tar archives that nobody has vouched for."""

from __future__ import annotations

import errno
import hashlib
import io
import lzma
import os
import re
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from xfer.data.made import made
from xfer.data.streams import Allowance, allowance
from xfer.data.tars import BrokenTarError, tar_members
from xfer.data.zips import STARTS, BrokenZipError, open_entry, zip_entries
from xfer.errors import DataError
from xfer.progress import Progress, silent
from xfer.system.doors import open_regular
from xfer.system.limits import variable_of
from xfer.system.web import is_page

SUFFIXES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")

DEEPEST = 64  # folders in each other
LONGEST = 255  # bytes of a name of a file or folder, as file systems have it

_CHUNK = 2**20
_BROKEN = (BrokenTarError, BrokenZipError, zlib.error, lzma.LZMAError, EOFError, ValueError)
NAME_FAULTS = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)


@dataclass(frozen=True)
class Entry:
    """A file of an archive, or a folder (no content). `position` says how far into the work it lies, in bytes."""

    name: str
    position: int
    content: io.RawIOBase | None


def is_archive(path: Path) -> bool:
    """By its name: any of SUFFIXES."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, unpacked: Path, progress: Progress = silent) -> Path:
    """The content of an archive, in a folder below `unpacked` that is found by the archive's bytes.

    It is unpacked where it is not there, or no longer what it was. Raises DataError for an archive that is broken,
    encrypted or absurdly large (the limits `archive...`), and for one that holds links, devices, or names that lead out
    of the folder or that no folder takes.
    """
    with _opened(archive) as file:
        before = os.fstat(file.fileno())
        digest = _digest(file, before.st_size, f"reading {archive.name}", progress)

        def fill(folder: Path) -> None:
            _extract(archive, file, folder, progress)
            after = os.fstat(file.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise DataError(f"archive {archive}: was changed while it was read. Cure: try again when it is whole")

        return made(unpacked / digest, fill, str(archive), progress)


def _digest(file: BinaryIO, size: int, what: str, progress: Progress) -> str:
    """Of so many bytes: somebody may write to it, and be faster."""
    digest = hashlib.blake2b(digest_size=16)
    while chunk := file.read(min(_CHUNK, size - file.tell())):
        digest.update(chunk)
        progress(what, file.tell(), size)
    return digest.hexdigest()


def extract(archive: Path, folder: Path, progress: Progress = silent) -> None:
    """Unpack into a folder that is there and empty. Raises as `unpack` does, and leaves what it has written."""
    with _opened(archive) as file:
        _extract(archive, file, folder, progress)


@contextmanager
def _opened(archive: Path) -> Iterator[io.BufferedReader]:
    try:
        raw = open_regular(archive)
    except OSError as error:
        raise DataError(f"archive {archive}: cannot be read ({error.strerror or error})") from error
    with raw, open(raw.fileno(), "rb", closefd=False) as file:
        _refuse_begin(archive, file.peek())
        yield file


def _refuse_begin(archive: Path, begin: bytes) -> None:
    """Raises DataError for what is no archive at first sight, before terabytes of it are read."""
    if is_page(begin):
        cure = "Cure: delete it, and download it anew, in a browser if it has to be signed in for"
        raise DataError(f"archive {archive}: is a web page. {cure}")
    if begin and not any(begin):
        cure = "Cure: delete it, and download or copy it anew"
        raise DataError(f"archive {archive}: broken, or cut short (it begins with {len(begin):,} zeros). {cure}")


def _extract(archive: Path, file: BinaryIO, folder: Path, progress: Progress) -> None:
    file.seek(0)
    try:
        _fill(archive, file, folder, progress)
    except (*_BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk; those of bzip2 have none
            raise
        cure = "Cure: delete it, and download or copy it anew"
        if "Memory usage limit" in str(error):
            cure = f"Cure: pack it anew, with a smaller dictionary, or {variable_of('archive_memory')}"
        raise DataError(f"archive {archive}: broken, or cut short ({_text(error)}). {cure}") from error


def _text(error: Exception) -> str:
    first, *_ = str(error).splitlines() or [type(error).__name__]
    return first.rstrip(":")


def _fill(archive: Path, file: BinaryIO, folder: Path, progress: Progress) -> None:
    size = os.fstat(file.fileno()).st_size
    allowed = allowance(archive, size)
    is_zip = file.read(4) in STARTS or archive.suffix.lower() == ".zip"
    total, entries = _of_zip(file, allowed) if is_zip else (size, _of_tar(file, allowed))
    with closing(entries):
        for entry in entries:
            try:
                _write(entry, folder / _inside(archive, entry.name))
            except OSError as error:
                if error.errno not in NAME_FAULTS:
                    raise
                why = error.strerror
                raise DataError(f"archive {archive}: {_short(entry.name)} cannot be written here ({why})") from error
            progress(f"unpacking {archive.name}", entry.position, total)
    progress(f"unpacking {archive.name}", total, total)


def _write(entry: Entry, path: Path) -> None:
    (path if entry.content is None else path.parent).mkdir(parents=True, exist_ok=True)
    if entry.content is not None:
        with path.open("wb") as file:
            while chunk := entry.content.read(_CHUNK):
                file.write(chunk)


def _inside(archive: Path, name: str) -> PurePosixPath:
    """The name as a relative path. A backslash separates too: some archivers of Windows write them."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
        raise DataError(f"archive {archive}: {_short(name)} would be written outside its folder, which is refused")
    if "\0" in name or any(len(os.fsencode(part)) > LONGEST for part in path.parts):
        raise DataError(f"archive {archive}: {_short(name)} is no name of a file here, which is refused")
    if len(path.parts) > DEEPEST:
        raise DataError(f"archive {archive}: {_short(name)} lies in more than {DEEPEST} folders, which is refused")
    return path


def _short(name: str) -> str:
    return repr(name if len(name) <= 100 else f"{name[:60]}...{name[-30:]}")


def _of_zip(file: BinaryIO, allowed: Allowance) -> tuple[int, Generator[Entry, None, None]]:
    total, found = zip_entries(file, allowed)

    def entries() -> Generator[Entry, None, None]:
        position = 0
        for entry in found:
            position += entry.size
            content = None if entry.is_folder else open_entry(file, entry, allowed)
            yield Entry(entry.name, position, content)

    return total, entries()


def _of_tar(file: BinaryIO, allowed: Allowance) -> Generator[Entry, None, None]:
    file.seek(0)
    for member in tar_members(file, allowed):
        yield Entry(member.name, file.tell(), member.content)
