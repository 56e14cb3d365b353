"""Unpacking zip and tar archives that nobody has vouched for."""

from __future__ import annotations

import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from xfer.errors import DataError
from xfer.progress import Progress, silent
from xfer.system.parts import half_written

SUFFIXES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")

MAX_BYTES = 2**39  # of content: 512 GiB, three times ImageNet
MAX_FILES = 10_000_000
MAX_RATIO = 200  # content to archive, once there is more content than FREE_BYTES; pictures hardly shrink at all
FREE_BYTES = 2**30

_CHUNK = 2**20
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError)


@dataclass(frozen=True)
class Entry:
    """A file of an archive, or a folder (no content). `position` says how far into the work it lies, in bytes."""

    name: str
    position: int
    content: IO[bytes] | None


def is_archive(path: Path) -> bool:
    """By its name: any of SUFFIXES."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, target: Path, progress: Progress = silent) -> Path:
    """Unpack into the folder `target`, which appears complete or not at all; one that is there already is kept.

    Raises DataError for an archive that is broken, encrypted or absurdly large (MAX_BYTES, MAX_FILES, MAX_RATIO), and
    for one that holds links, devices, or names that lead out of the target.
    """
    if not target.is_dir():
        with appearing(target) as folder:
            extract(archive, folder, progress)
    return target


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A new folder beside `target` to fill. It becomes `target` at the end, or vanishes with an error."""
    try:
        with half_written(target) as beside:
            yield beside
            _settle(beside, target)
    except OSError as error:
        cure = "Cure: make room or grant access there, or set XFER_CACHE to another folder"
        raise DataError(f"{target}: cannot be made ({error}). {cure}") from error


def _settle(beside: Path, target: Path) -> None:
    try:
        beside.rename(target)
    except OSError:
        if not target.is_dir():  # another process was faster, with the same content
            raise


def extract(archive: Path, folder: Path, progress: Progress = silent) -> None:
    """Unpack into a folder that is there and empty. Raises as `unpack` does, and leaves what it has written."""
    try:
        _fill(archive, folder, progress)
    except (*_BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk; those of gzip and bzip2 have none
            raise
        cure = "Cure: delete it, and download or copy it anew"
        raise DataError(f"archive {archive}: broken, or cut short ({_text(error)}). {cure}") from error


def _text(error: Exception) -> str:
    first, *_ = str(error).splitlines() or [type(error).__name__]
    return first.rstrip(":")


def _fill(archive: Path, folder: Path, progress: Progress) -> None:
    size = archive.stat().st_size
    limit = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * size))
    entries, total = _zip_entries(archive) if _is_zip(archive) else (_tar_entries(archive), size)
    written = 0
    with closing(entries):  # and so the archive with the entry that is open in it, whatever is refused on the way
        for count, entry in enumerate(entries, 1):
            if count > MAX_FILES:
                raise DataError(f"archive {archive}: more than {MAX_FILES:,} files in it, which is refused")
            path = folder / _inside(archive, entry.name)
            (path if entry.content is None else path.parent).mkdir(parents=True, exist_ok=True)
            if entry.content is not None:
                written += _write(entry.content, path, archive, limit - written)
            progress(f"unpacking {archive.name}", entry.position, total)
    progress(f"unpacking {archive.name}", total, total)


def _is_zip(archive: Path) -> bool:
    with archive.open("rb") as file:
        return file.read(4) in (b"PK\3\4", b"PK\5\6") or archive.suffix.lower() == ".zip"


def _inside(archive: Path, name: str) -> PurePosixPath:
    """The name as a relative path. A backslash separates too: some archivers of Windows write them."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
        raise DataError(f"archive {archive}: {name!r} would be written outside its folder, which is refused")
    return path


def _write(content: IO[bytes], path: Path, archive: Path, limit: int) -> int:
    """Copy one file, and give its bytes. What headers say of sizes is not believed: the bytes are counted."""
    written = 0
    with content, path.open("wb") as file:
        while chunk := content.read(_CHUNK):
            written += file.write(chunk)
            if written > limit:
                raise DataError(
                    f"archive {archive}: its content is over {MAX_RATIO} times its size, or over "
                    f"{MAX_BYTES >> 30} GiB, which is refused. Cure: unpack it yourself and give the folder"
                )
    return written


def _zip_entries(archive: Path) -> tuple[Generator[Entry, None, None], int]:
    members = zipfile.ZipFile(archive)
    total = sum(info.file_size for info in members.infolist())

    def entries() -> Generator[Entry, None, None]:
        position = 0
        with members:
            for info in members.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise DataError(f"archive {archive}: {info.filename!r} is a link or device, which is refused")
                if info.flag_bits & 1:
                    raise DataError(f"archive {archive}: encrypted. Cure: unpack it yourself and give the folder")
                position += info.file_size
                name = _zip_name(info)
                if name.endswith(("/", "\\")):
                    yield Entry(name, position, None)
                else:
                    with members.open(info) as content:
                        yield Entry(name, position, content)

    return entries(), total


def _zip_name(info: zipfile.ZipInfo) -> str:
    """macOS writes UTF-8 without saying so, and zipfile then reads code page 437."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _tar_entries(archive: Path) -> Generator[Entry, None, None]:
    with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:*") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # TarFile would remember every one
            if not member.isreg() and not member.isdir():
                raise DataError(f"archive {archive}: {member.name!r} is a link or device, which is refused")
            yield Entry(member.name, raw.tell(), tar.extractfile(member) if member.isreg() else None)
        _check_end(tar)


def _check_end(tar: tarfile.TarFile) -> None:
    """TarFile takes a header that is damaged or cut for the end; behind the true one there are only zeros.

    Reading on to the last byte also lets gzip, bzip2 and xz compare their checksums.
    """
    stream = tar.fileobj
    assert stream is not None
    if stream.tell() < tar.offset + tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it has no end mark")
    while chunk := stream.read(_CHUNK):
        if chunk.strip(b"\0"):
            raise tarfile.ReadError("a damaged header")
