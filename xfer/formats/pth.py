"""PyTorch state dicts, without torch: the zip format (torch 1.6 and later) and the legacy one.

Zip: `NAME/data.pkl`, and the storage `KEY` as the uncompressed record `NAME/data/KEY`; `NAME/byteorder` says how its
numbers lie. Legacy: five pickles (magic number, version, system, content, storage keys), then for each key its size
as an int64 and its numbers, always little-endian. Both are laid down in torch/serialization.py.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from io import SEEK_END, BufferedReader, BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, LargeZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from xfer.errors import WeightsError
from xfer.formats.containers import Weights, find_weights
from xfer.formats.markers import Storage, Tensor
from xfer.formats.pickled import STORAGES, pickled
from xfer.formats.pickles import Pickled, interpret
from xfer.formats.raw import (
    MAX_INT,
    Order,
    OtherKindError,
    check_shape,
    file_dtype,
    little_endian,
    own,
    reading,
    refuse_beyond_memory,
    refuse_long_header,
)
from xfer.system.doors import open_regular
from xfer.system.limits import limit

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"  # the first bytes of either format
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra field
_ZIP_FAULTS = (BadZipFile, LargeZipFile, NotImplementedError, OSError, OverflowError, LookupError, struct.error)

_FROM_TORCHSCRIPT = "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth') in torch, and take that file"

File = BufferedReader | BytesIO
Records = Callable[[Storage], tuple[memoryview, Order]]
"""The bytes of a storage, and their order, `<` or `>`."""


def read_pth(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of a state dict by its name in the file, in the file's order.

    A state dict inside a checkpoint is taken out of it, as `xfer.formats.containers` says; whatever is no tensor is
    left out. Raises WeightsError.
    """
    return read_checkpoint(path)[0]


def read_checkpoint(path: Path) -> tuple[dict[str, NDArray[Any]], Weights]:
    """As `read_pth`, and where in the file the tensors were."""
    cure = "save model.state_dict() with torch again, or get the file again"
    with reading(path, "a PyTorch state dict", cure), open_regular(path) as file:
        return _parse(BufferedReader(file))


def parse_pth(data: bytes) -> dict[str, NDArray[Any]]:
    """As `read_pth`, of a file's bytes. Raises ValueError, and takes memory in proportion to the file only."""
    return _parse(BytesIO(data))[0]


def _parse(file: File) -> tuple[dict[str, NDArray[Any]], Weights]:
    """Nothing is read but the pickle, and the storages of the weights."""
    size, beginning = file.seek(0, SEEK_END), _read(file, 0, len(_ZIP))
    if not beginning.startswith((_ZIP, _PICKLE)):
        raise ValueError("neither a zip archive nor torch's legacy format")
    content, records = _open_zip(file, size) if beginning == _ZIP else _open_legacy(file, size)
    weights = find_weights(content)
    if any("\ud800" <= letter <= "\udfff" for name in weights.tensors for letter in name):  # a pickle may hold them
        raise ValueError("a tensor's name is not text")
    _check_total(weights.tensors.values(), size)
    return {name: _array(tensor, *records(tensor.storage)) for name, tensor in weights.tensors.items()}, weights


def begins_as_pth(path: Path) -> bool:
    """Whether a file may be one of torch's by its first bytes, which none of MindSpore's has. False if unreadable."""
    try:
        with open_regular(path) as file:
            return file.read(len(_ZIP)).startswith((_ZIP, _PICKLE))
    except OSError:
        return False


# Records


def _read(file: File, start: int, size: int) -> bytes:
    """As many bytes from there on, or fewer at the end of the file."""
    file.seek(start)
    return file.read(size)


class _Directory:
    """A file whose list of records is read: in one piece, as long as the file itself says."""

    def __init__(self, file: File) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int = -1, /) -> bytes:
        refuse_long_header(size)
        return self.file.read(size)


def _open_zip(file: File, size: int) -> tuple[object, Records]:
    try:
        entries = {entry.filename: entry for entry in ZipFile(_Directory(file)).infolist()}
    except _ZIP_FAULTS as error:
        raise ValueError(f"broken zip archive: {error}") from None
    roots = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(roots) != 1:
        raise ValueError("a zip archive without a data.pkl")
    if f"{roots[0]}constants.pkl" in entries:  # only a program has constants
        raise OtherKindError("a TorchScript program", _FROM_TORCHSCRIPT)
    # Records that overlap could claim more than there is.
    if sum(entry.file_size for entry in entries.values()) > size:
        raise ValueError("broken zip archive: its records are larger than the file")

    def record(name: str) -> memoryview:
        if roots[0] + name not in entries:
            raise ValueError(f"record {name[:80]!r} is missing")
        return memoryview(_zip_record(file, entries[roots[0] + name]))

    big = roots[0] + "byteorder" in entries and bytes(record("byteorder")) == b"big"
    cache: dict[str, memoryview] = {}

    def records(storage: Storage) -> tuple[memoryview, Order]:
        if storage.key not in cache:
            cache[storage.key] = _exact(record(f"data/{storage.key}"), storage)
        return cache[storage.key], ">" if big else "<"

    refuse_long_header(entries[f"{roots[0]}data.pkl"].file_size)
    return interpret(BytesIO(record("data.pkl"))).value, records


def _zip_record(file: File, entry: ZipInfo) -> bytes:
    """torch never compresses, so nothing is ever inflated."""
    if entry.compress_type != ZIP_STORED or entry.flag_bits & 1 or entry.header_offset < 0:
        raise ValueError("a compressed or encrypted zip archive, which torch does not write")
    header = _read(file, entry.header_offset, _LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size:
        raise ValueError("broken zip archive: cut off")
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    start = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    content = _read(file, start, entry.file_size)
    if signature != _ZIP or len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
        raise ValueError("broken zip archive: a record is cut off or altered")
    return content


def _exact(content: memoryview, storage: Storage) -> memoryview:
    if len(content) != storage.size * file_dtype(storage.kind).itemsize:
        raise ValueError(f"a storage of {len(content)} bytes is said to hold {_count(storage.size)} {storage.kind}")
    return content


def _count(number: int) -> str:
    return str(number) if abs(number) <= MAX_INT else "too many"


def _open_legacy(file: File, size: int) -> tuple[object, Records]:
    stream = BytesIO(_read(file, 0, limit("header")))
    if interpret(stream).value != _MAGIC:
        raise ValueError("a pickle, but not of torch's legacy format")
    if interpret(stream).value != _VERSION:
        raise ValueError("an unknown version of torch's legacy format")
    interpret(stream)  # the writer's system: torch reads little-endian whatever it says
    content, keys = interpret(stream), interpret(stream).value
    places = _legacy_storages(file, stream.tell(), size, keys, content)
    cache: dict[str, memoryview] = {}

    def records(storage: Storage) -> tuple[memoryview, Order]:
        if storage.key not in places:
            raise ValueError(f"storage {storage.key[:80]!r} is missing")
        if storage.key not in cache:
            cache[storage.key] = memoryview(_read(file, *places[storage.key]))
        return cache[storage.key], "<"

    return content.value, records


def _legacy_storages(file: File, start: int, end: int, keys: object, content: Pickled) -> dict[str, tuple[int, int]]:
    """Where each lies in the file, and its bytes; they begin at `start`, and the file has `end` bytes."""
    places = {}
    for key in keys if isinstance(keys, list) else [None]:
        storage = content.storages.get(key) if isinstance(key, str) else None
        count = _read(file, start, 8)
        if storage is None or len(count) < 8:
            raise ValueError("its list of storages is broken")
        size = storage.size * file_dtype(storage.kind).itemsize
        if struct.unpack("<q", count) != (storage.size,) or not 0 <= size <= end - start - 8:
            raise ValueError("a storage is cut off")
        places[storage.key] = start + 8, size
        start += 8 + size
    return places


# Tensors


def _check_total(tensors: Iterable[Tensor], file_size: int) -> None:
    """Tied weights share a storage, and an expanded tensor repeats one: allowed, but not without bound."""
    total, storages = 0, dict[str, int]()
    for tensor in tensors:
        check_shape(tensor.shape)
        itemsize = file_dtype(tensor.storage.kind).itemsize
        total += math.prod(tensor.shape) * max(4, itemsize)
        storages[tensor.storage.key] = tensor.storage.size * itemsize
    if total > 8 * file_size + 2**20:
        raise ValueError("its tensors are said to be far larger than the file")
    refuse_beyond_memory(total + min(sum(storages.values()), file_size))


def _array(tensor: Tensor, content: memoryview, order: Order) -> NDArray[Any]:
    dtype = file_dtype(tensor.storage.kind, order)
    start = tensor.storage.start + tensor.offset
    if len(tensor.shape) != len(tensor.strides) or min(start, 0, *tensor.strides) < 0:
        raise ValueError("a tensor's strides are out of range")
    if math.prod(tensor.shape) == 0:
        return own(np.empty(tensor.shape, dtype), tensor.storage.kind)
    # A dimension of size 1 never moves, so its stride may be anything.
    strides = [stride if size > 1 else 0 for size, stride in zip(tensor.shape, tensor.strides, strict=True)]
    last = start + sum((size - 1) * stride for size, stride in zip(tensor.shape, strides, strict=True))
    if last >= len(content) // dtype.itemsize:
        raise ValueError("a tensor reaches past the end of its storage")
    steps = [stride * dtype.itemsize for stride in strides]
    view: NDArray[Any] = np.ndarray(tensor.shape, dtype, content, start * dtype.itemsize, steps)
    return own(view, tensor.storage.kind)


# Writing


def write_pth(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the zip format, for `torch.load(path, weights_only=True)`: a dictionary of tensors, in this order.

    Raises WeightsError for a number type that torch's storages lack, OSError when the file cannot be written.
    """
    for name, array in arrays.items():
        if array.dtype.name not in STORAGES:
            raise WeightsError(f"{path}: {name} is {array.dtype}, expected one of {', '.join(STORAGES)}. Cure: cast it")
    with ZipFile(path, "w", ZIP_STORED) as archive:
        _add(archive, "data.pkl", pickled(arrays))
        _add(archive, "byteorder", b"little")
        for key, array in enumerate(arrays.values()):
            _add(archive, f"data/{key}", little_endian(array))
        _add(archive, "version", b"3\n")


def _add(archive: ZipFile, name: str, content: bytes) -> None:
    """Without a date: the same arrays give the same file."""
    archive.writestr(ZipInfo(f"archive/{name}"), content)
