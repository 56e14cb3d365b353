"""What was found out of the pictures of a folder, kept on disk: a file for each folder of class folders.

    <cache>/checked/DIGEST      DIGEST: of the folder's path

A line of JSON, then one array after the other, then a digest of all that. It says which code and limits it is of: by
any others a picture may be another. What is damaged, foreign, or of other code is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL import features as pillow

from xfer import __version__, pixels
from xfer.arrays import Int64
from xfer.errors import CheckpointError
from xfer.pixels.bounds import picture_limits
from xfer.pixels.inspected import Inspected
from xfer.pixels.levels import Extent
from xfer.system import kept
from xfer.system.doors import open_regular, parse_json
from xfer.system.files import replacing
from xfer.system.kept import Kept
from xfer.system.limits import limit

FOLDER = "checked"
FORMAT = 1
_AT_ONCE = 2**16  # pictures that are moved or written together
_HEADER = 2**20  # bytes
_MOST_TEXTS = 1000
_COLUMNS = (("keys", "u8", 2), ("digests", "u1", 16), ("facts", "u4", 4), ("ends", "f8", 2))


@dataclass
class Table:
    """Of n pictures what `Inspected` has, but for the stamp. None of them is one that cannot be used.

    keys     (n, 2) uint64: what a file was when it was read, see `xfer.data.recheck`
    digests  (n, 16) uint8
    facts    (n, 4) uint32: height and width; its kind, and its flaw with its extent's kind, by places in `texts`
    ends     (n, 2) float64: the lowest and the highest value of an extent
    """

    keys: NDArray[np.uint64]
    digests: NDArray[np.uint8]
    facts: NDArray[np.uint32]
    ends: NDArray[np.float64]
    texts: list[str] = field(default_factory=lambda: [""])

    def __len__(self) -> int:
        return len(self.keys)

    def places(self, keys: NDArray[np.uint64]) -> Int64:
        """For each key the place of the picture that has it, or -1."""
        if np.array_equal(keys, self.keys):
            return np.arange(len(keys))
        if not len(self):
            return np.full(len(keys), -1)
        order = np.argsort(self.keys[:, 0])
        places = np.searchsorted(self.keys[:, 0], keys[:, 0], sorter=order)
        for part in _parts(len(keys)):
            found = order[np.minimum(places[part], len(order) - 1)]
            places[part] = np.where((self.keys[found] == keys[part]).all(axis=1), found, -1)
        return places

    def arrange(self, keys: NDArray[np.uint64], places: Int64) -> None:
        """Put what is known at these places into this order, as that of files of these keys; nothing where one is -1.

        Column by column: all of both orders would take twice the memory.
        """
        new, wide = empty(len(places)), bool(self.ends.any())
        self.keys = keys
        for name, _, _ in _COLUMNS[1:]:
            column, old = getattr(new, name), getattr(self, name)
            for part in _parts(len(places) if wide or name != "ends" else 0):
                known = places[part] >= 0
                column[part][known] = old[places[part][known]]
            setattr(self, name, column)

    def put(self, i: int, picture: Inspected) -> bool:
        """Whether there was room for it."""
        flaw = f"{picture.extent.kind if picture.extent else ''}:{picture.flaw}"
        for text in (picture.kind, flaw):
            if text not in self.texts:
                if len(self.texts) == _MOST_TEXTS:
                    return False
                self.texts.append(text)
        self.digests[i] = np.frombuffer(picture.digest, np.uint8)
        self.facts[i] = picture.height, picture.width, self.texts.index(picture.kind), self.texts.index(flaw)
        if picture.extent:
            self.ends[i] = picture.extent.low, picture.extent.high
        return True

    def pictures(self, begin: int, end: int, stamps: Int64) -> Iterator[Inspected]:
        """Those from `begin` to `end` in turn, with the `stamps` (end - begin, 2) that their files have now."""
        part = slice(begin, end)
        digests = self.digests[part].tobytes()
        rows = zip(stamps.tolist(), self.facts[part].tolist(), self.ends[part].tolist(), strict=True)
        for i, ((size, changed), (height, width, kind, flaw), ends) in enumerate(rows):
            wide, _, said = self.texts[flaw].partition(":")
            extent = Extent(wide, *ends) if wide else None
            digest = digests[16 * i : 16 * i + 16]
            yield Inspected(None, digest, (size, changed), height, width, self.texts[kind], said, extent)


def empty(n: int) -> Table:
    """Pages of zeros take no memory until something is written there."""
    keys, digests, facts, ends = (np.zeros((n, width), kind) for _, kind, width in _COLUMNS)
    return Table(keys, digests, facts, ends)


def place_of(cache: Path, folder: str) -> Path:
    """The file of a folder of class folders."""
    return cache / FOLDER / hashlib.blake2b(os.fsencode(folder), digest_size=16).hexdigest()


def read(place: Path) -> Table | None:
    """What is kept there, if every bit of it is as it was written, by the same code and with the same limits."""
    try:
        with open_regular(place) as file:
            table = _read(file, _header(file))
    except (OSError, ValueError, LookupError, TypeError, MemoryError):
        return None
    kept.touch(place)
    return table


def _header(file: FileIO) -> dict[str, Any]:
    """The first line; the file stands behind it. Raises ValueError where there is none."""
    line, end, _ = (file.read(_HEADER) or b"").partition(b"\n")
    header = parse_json(line) if end else None
    if not isinstance(header, dict):
        raise ValueError("no line of JSON")
    file.seek(len(line) + 1)
    return header


def _read(file: FileIO, header: dict[str, Any]) -> Table:
    """Raises what a damaged file makes it raise."""
    n, texts, wide = header["n"], header["texts"], header["wide"]
    size = os.fstat(file.fileno()).st_size
    expected = file.tell() + n * _width(wide) + _digest().digest_size
    if header["of"] != _code() or size > limit(FOLDER) or size != expected:
        raise ValueError("of other code, or damaged")
    total, table = _digest(_line(header)), empty(n)
    table.texts = list(map(str, texts))
    for name, _, _ in _columns(wide):
        column = getattr(table, name).reshape(-1).view(np.uint8)
        if file.readinto(column) != len(column):
            raise ValueError("shorter than it was")
        total.update(column)
    if file.read() != total.digest() or table.facts[:, 2:].max(initial=0) >= len(texts):
        raise ValueError("damaged")
    return table


def write(place: Path, folder: str, table: Table, chosen: NDArray[np.bool_]) -> None:
    """Keep what is known of the `chosen` (n,) pictures, and remove what was used least beyond the limit `checked`.

    No more than that is kept. What cannot be written is not, and is no error.
    """
    n, wide, most = int(chosen.sum()), bool(table.ends[chosen].any()), limit(FOLDER)
    header = {"folder": folder, "n": n, "of": _code(), "texts": table.texts, "wide": wide}
    columns = [getattr(table, name) for name, _, _ in _columns(wide)]
    if len(_line(header)) > _HEADER or n * _width(wide) > most:
        return
    with suppress(OSError, CheckpointError):
        with replacing(place) as written, written.open("wb") as file:
            total = _digest(_line(header))
            file.write(_line(header))
            for column in columns:
                for part in _parts(len(chosen)):
                    content = column[part][chosen[part]].tobytes()
                    total.update(content)
                    file.write(content)
            file.write(total.digest())
        kept.prune(checked_folders(place.parent.parent), most)


def checked_folders(cache: Path) -> list[Kept]:
    """All that is kept below a cache folder."""
    listed = []
    for name in kept.names(cache / FOLDER):
        place = cache / FOLDER / name
        about = "damaged"
        with suppress(OSError, ValueError, LookupError, TypeError), open_regular(place) as file:
            header = _header(file)
            about = f"what is known of {header['n']:,} pictures in {header['folder']}"
        with suppress(OSError):  # removed in the meantime
            status = place.stat()
            listed.append(Kept(place, status.st_size, status.st_mtime, about, partial(kept.remove, place)))
    return listed


def _columns(wide: bool) -> tuple[tuple[str, str, int], ...]:
    """Those of a file: where no picture has more than 8 bits, it has no extents."""
    return _COLUMNS if wide else _COLUMNS[:-1]


def _width(wide: bool) -> int:
    """Bytes of a picture."""
    return sum(np.dtype(kind).itemsize * width for _, kind, width in _columns(wide))


def _parts(n: int) -> Iterator[slice]:
    return (slice(begin, begin + _AT_ONCE) for begin in range(0, n, _AT_ONCE))


def _line(header: dict[str, Any]) -> bytes:
    return json.dumps(header).encode() + b"\n"


def _code() -> str:
    """Of all that decides, besides its bytes, whether a picture can be used: code, decoders, limits."""
    settings = (*picture_limits(), Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    return _digest(repr((FORMAT, sys.byteorder, __version__, *_decoders(), *settings, _sources())).encode()).hexdigest()


@cache
def _decoders() -> tuple[str | None, ...]:
    known: Any = pillow  # without types
    names = ("jpg", "libjpeg_turbo", "jpg_2000", "zlib", "libtiff", "webp", "avif")
    return (PIL.__version__, np.__version__, *map(known.version, names))


@cache
def _sources() -> bytes:
    """For those who edit them: a version number stays until a release."""
    files = sorted(Path(pixels.__file__).parent.glob("*.py"))
    return _digest(b"\n".join(file.name.encode() + b"\n" + file.read_bytes() for file in files)).digest()


_digest = partial(hashlib.blake2b, digest_size=16)
