"""Reading pictures: any file that Pillow knows -> 8-bit RGB, the way a person would see it."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from xfer.errors import DataError
from xfer.pixels.jpeg import Header, first_rows, read_header

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""What counts as a picture by its name, upper case or lower: torchvision's list."""

MAX_PIXELS = 178_956_970
"""Larger pictures are refused as decompression bombs: the size at which Pillow refuses them too."""

MAX_RATIO = 100
"""Of the longer side to the shorter. Resized by its shorter side to 256, a line of pixels would fill the memory."""

MAX_BYTES = 2**29
"""Larger files are refused before they are read: nobody has to find out how much of one fits into memory."""

SIDEWAYS = range(5, 9)
"""EXIF orientations in which rows and columns change places."""

PROGRAMS = frozenset({"EPS"})
"""Formats that Pillow opens by running another program on them. No data set is worth that."""

# Pillow warns of pictures that are large or have damaged EXIF data, and they can be used all the same. This stands at
# import because warnings.catch_warnings would change the filters of every thread that is decoding.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """The picture as RGB, 8 bits a channel: upright by its EXIF orientation, on white where it is transparent.

    16-bit and 32-bit values become 8-bit ones as `to_bytes` says; of an animation, the first frame. Colour profiles
    are not applied, as in torchvision. Raises DataError, with the file and the reason, where it cannot be used.
    """
    try:
        return _decode(io.BytesIO(_content(path)[0])).image
    except Exception as error:  # a decoder fed with garbage can raise anything
        raise DataError(f"{os.fspath(path)}: {_reason(error)}") from error


def open_lazily(path: str | os.PathLike[str], draft: bool = False) -> Image.Image | Jpeg:
    """As `open_image`, but of a JPEG file nothing is decoded yet. `draft`: see `Jpeg`."""
    try:
        content, _ = _content(path)
        header = read_header(content)
        if header and not _too_large(header.width, header.height) and not _turned(content, header):
            return Jpeg(content, header, (0, 0, header.width, header.height), draft)
        return _decode(io.BytesIO(content)).image
    except Exception as error:
        raise DataError(f"{os.fspath(path)}: {_reason(error)}") from error


@dataclass(frozen=True, repr=False)
class Jpeg:
    """An upright RGB picture, or a part of one, that is decoded when its pixels are needed, and no further.

    It has what a crop and a resizing need of Pillow's Image, and gives the same pixels. With `draft` a resizing to
    half the size or less takes a decoder's shortcut: blocks of 2, 4 or 8 pixels become one while they are decoded.
    The same part is shown; values are 1.2 of 255 off on the average of the ants and bees, and 5.2 in the worst picture.
    Raises DataError, without the name of the file, where it turns out to be damaged.
    """

    content: bytes
    header: Header
    box: tuple[int, int, int, int]  # left, upper, right and lower edge, in pixels
    draft: bool

    @property
    def width(self) -> int:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> int:
        return self.box[3] - self.box[1]

    def crop(self, box: tuple[int, int, int, int]) -> Jpeg:
        left, upper, *_ = self.box
        return replace(self, box=(left + box[0], upper + box[1], left + box[2], upper + box[3]))

    def resize(self, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
        fits = (s for s in (8, 4, 2) if size[0] * s <= self.width and size[1] * s <= self.height)
        shrink = next(fits, 1) if self.draft else 1
        if shrink == 1:
            return self.decode().resize(size, resample)
        left, upper, right, lower = (edge / shrink for edge in self.box)
        x, y = floor(left), floor(upper)
        part = self._rows(shrink).crop((x, y, ceil(right), ceil(lower)))  # or else the filter reaches further out
        return part.resize(size, resample, (left - x, upper - y, right - x, lower - y))

    def decode(self) -> Image.Image:
        image = self._rows()
        return image if self.box == (0, 0, *image.size) else image.crop(self.box)

    def _rows(self, shrink: int = 1) -> Image.Image:
        """From the uppermost to the lowest that is needed, and perhaps some more."""
        content: Any  # Pillow's types know bytes alone
        content, height = first_rows(self.content, self.header, self.box[3])
        size = ceil(self.header.width / shrink), ceil(height / shrink)
        unset: Any = None  # a colour would be painted first
        try:  # the decoder alone: Image.open reads a header that is known by now, in a tenth of the time
            image = Image.new("RGB", size, unset)
            image.frombytes(content, "jpeg", ("RGB", "", shrink, 0))
        except Exception:  # Image.open knows more, or says what is wrong
            image = _opened(content, shrink)
        return image


def _opened(content: bytes | bytearray, shrink: int) -> Image.Image:
    """A JPEG file at 1 / `shrink` of its size. Raises DataError."""
    try:
        image: Image.Image = Image.open(io.BytesIO(content))
        if shrink > 1:
            image.draft("RGB", (image.width // shrink, image.height // shrink))
        image.load()
    except Exception as error:
        raise DataError(_reason(error)) from error
    return image


def check_image(path: str | os.PathLike[str]) -> str | None:
    """Read the whole picture. The reason why it cannot be used, in one line, or None."""
    return examine_image(path)[0]


def examine_image(path: str | os.PathLike[str]) -> tuple[str | None, bytes, tuple[int, int]]:
    """What `check_image` says, with the `file_digest` and the `stamp` of a file that can be used. Reads it once."""
    return inspect_image(path)[:3]


class Inspected(NamedTuple):
    """Of a file that can be used: height and width in pixels as a person sees it, `kind` as stored: `JPEG RGB`."""

    reason: str | None
    digest: bytes
    stamp: tuple[int, int] = (0, 0)
    height: int = 0
    width: int = 0
    kind: str = ""


def inspect_image(path: str | os.PathLike[str]) -> Inspected:
    """What `examine_image` says, with size and kind."""
    try:
        content, came = _content(path)
        found = _read_whole(content)
    except Exception as error:
        return Inspected(_reason(error), b"")
    width, height = found.size
    return Inspected(None, _digest(content), came, height, width, found.kind)


def file_digest(path: str | os.PathLike[str]) -> bytes:
    """16 bytes of BLAKE2b over the bytes of a file. Raises OSError."""
    with open(path, "rb") as file:
        return _digest(file.read())


def stamp(file: str | os.PathLike[str] | int) -> tuple[int, int]:
    """Bytes, and nanoseconds of the last change. Raises OSError."""
    found = os.stat(file)
    return found.st_size, found.st_mtime_ns % 2**63  # of files, times beyond the year 2262 can be said too


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def to_bytes(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey values of any type as 0..255, rounded.

    The range they have is the smallest of [0, 1] (floats only), [0, 255] and [0, 65535] that holds them all; values
    that none of them holds are stretched from their lowest to their highest. uint16 always has [0, 65535]. Values that
    are not finite become 0.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    tops = {"u": (65535.0,), "f": (1.0, 255.0, 65535.0)}.get(values.dtype.kind, (255.0, 65535.0))
    fitting = [top for top in tops if low >= 0 and high <= top]
    low, high = (0.0, fitting[0]) if fitting else (low, high)
    known = np.where(np.isfinite(values), values, low).astype(np.float64)
    scaled: NDArray[np.float64] = (known - low) * (255 / (high - low) if high > low else 0.0)
    return np.rint(scaled).astype(np.uint8)


def _content(path: str | os.PathLike[str]) -> tuple[bytes, tuple[int, int]]:
    """All of a file, and its stamp of before it was read: what is written meanwhile shows as a change."""
    if (size := os.path.getsize(path)) == 0:  # before it is opened: a pipe would wait for somebody to write
        raise OSError(errno.EINVAL, "empty file")
    if size > MAX_BYTES:
        raise OSError(errno.EFBIG, f"more than {MAX_BYTES >> 20} MiB")
    with open(path, "rb", buffering=0) as file:
        came = stamp(file.fileno())
        return _read(file, came[0]), came


def _read(file: io.FileIO, size: int) -> bytes:
    """The next `size` bytes, in one call of the system: `readall` makes four, and after each one waits for its turn."""
    content = file.read(size)
    return content if len(content) == size else content + file.readall()


def _turned(content: bytes, header: Header) -> bool:
    """Whether the picture is seen otherwise than it is stored."""
    with suppress(Exception):
        if header.annotated:
            with Image.open(io.BytesIO(content)) as image:
                return _orientation(image) in range(2, 9)
    return False


def _orientation(image: Image.Image) -> object:
    with suppress(Exception):  # damaged EXIF data makes no picture unusable
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    return 1


class _Decoded(NamedTuple):
    """A picture, and of the file its width and height as a person sees it, and its kind: `JPEG RGB`."""

    image: Image.Image
    size: tuple[int, int]
    kind: str


def _read_whole(content: bytes) -> _Decoded:
    """All of the file is read, but of a JPEG picture an eighth put together: damage shows, in three fifths of the time.

    Raises what decoding the picture raises.
    """
    try:
        return _decode(io.BytesIO(content), smallest=True)
    except Exception:  # not all that can be decoded can be decoded smaller: lossless JPEG cannot
        return _decode(io.BytesIO(content))


def _decode(file: BinaryIO, smallest: bool = False) -> _Decoded:
    with Image.open(file) as image:
        if image.format in PROGRAMS:
            raise UnidentifiedImageError
        if reason := _too_large(*image.size):
            raise DataError(reason)
        size, kind = image.size, f"{image.format} {image.mode}"
        if smallest:
            image.draft(image.mode, (1, 1))
        shrunk = image.size != size
        image.load()
        turned = _orientation(image) in SIDEWAYS
        with suppress(Exception):  # damaged EXIF data makes no picture unusable
            ImageOps.exif_transpose(image, in_place=True)
        whole = _to_rgb(image)
        return _Decoded(whole, (size[::-1] if turned else size) if shrunk else whole.size, kind)


def _too_large(width: int, height: int) -> str | None:
    """The limit that a size in pixels is beyond."""
    if width * height > MAX_PIXELS:
        return f"more than {MAX_PIXELS:,} pixels"
    if max(width, height) > MAX_RATIO * min(width, height):
        return f"more than {MAX_RATIO} times as long as wide"
    return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image if image.format == "JPEG" else image.copy()  # others may want their file again
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        wide = image.mode == "I" and image.format in ("PNG", "PPM")  # Pillow's I for what is 16-bit in these
        return Image.fromarray(to_bytes(values.astype(np.uint16) if wide else values)).convert("RGB")
    if image.has_transparency_data:
        visible = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(visible, mask=visible)
        return white
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS:,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return "truncated"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    text = " ".join(str(error).split()) or type(error).__name__
    return f"cannot be decoded ({text})"
