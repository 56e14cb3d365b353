"""MindSpore `.ckpt` files, without MindSpore and without protobuf.

The file is a protobuf message, as mindspore/train/checkpoint_pb2.py declares it:

    Checkpoint  { repeated Value value = 1 }
    Value       { string tag = 1; TensorProto tensor = 2 or MapTensorProto maptensor = 3 }
    TensorProto { repeated int64 dims = 1; string tensor_type = 2; bytes tensor_content = 3 }

A large tensor lies in several values in a row, of one tag, each with the dims of the whole. Behind the message there
may be `crc_num` and the CRC-32 of all before it, 10 bytes big-endian. A scalar has no dims, or the dims 0.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from xfer.errors import WeightsError
from xfer.formats.raw import KINDS, MAX_DIMS, dense, little_endian, reading, refuse_beyond_memory
from xfer.system.doors import open_regular

MAX_VALUES = 100_000  # tensors and slices of tensors; a value of ten bytes would take hundreds in memory
_FIRST = b"\x0a"  # the tag of field 1, with which every file begins
_CRC_MARK = b"crc_num"
_CRC_SIZE = len(_CRC_MARK) + 10
_TYPES = {kind.capitalize().replace("Uint", "UInt").replace("Bf", "BF"): kind for kind in KINDS}
"""MindSpore's spelling -> number type."""
_STRING = "str"


@dataclass(frozen=True)
class _Tensor:
    """A TensorProto, or one slice of it."""

    dims: tuple[int, ...]
    kind: str
    content: memoryview


def read_ckpt(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor by its name in the file; strings, which a checkpoint may hold too, are left out.

    Raises WeightsError.
    """
    cure = "save it with mindspore.save_checkpoint again, unencrypted, or get the file again"
    with reading(path, "a MindSpore checkpoint", cure), open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(1) not in (b"", _FIRST):
            raise ValueError("it is no list of named tensors, or not a protobuf message")
        refuse_beyond_memory(2 * size)  # its bytes, and the arrays
        file.seek(0)
        return parse_ckpt(BufferedReader(file).read(size))


def parse_ckpt(data: bytes) -> dict[str, NDArray[Any]]:
    """As `read_ckpt`, of a file's bytes. Raises ValueError, and takes memory in proportion to the file only."""
    slices: dict[str, list[_Tensor]] = {}
    last = None
    for count, (number, value) in enumerate(_fields(_checked(memoryview(data)))):
        if count >= MAX_VALUES:
            raise ValueError("it holds far too many tensors")
        if number != 1 or not isinstance(value, memoryview):
            raise ValueError("it is no list of named tensors")
        tag, tensor = _value(value)
        if tag in slices and tag != last:
            raise ValueError(f"it holds {tag[:80]!r} twice")
        slices.setdefault(tag, []).append(tensor)
        last = tag
    arrays = {tag: _array(parts) for tag, parts in slices.items() if parts[0].kind != _STRING}
    if not arrays:
        raise ValueError("it holds no tensors")
    return arrays


def _checked(data: memoryview) -> memoryview:
    if bytes(data[-_CRC_SIZE:-10]) != _CRC_MARK:
        return data
    content = data[:-_CRC_SIZE]
    if zlib.crc32(content) != int.from_bytes(data[-10:], "big"):
        raise ValueError("its content does not match its CRC-32")
    return content


def _value(message: memoryview) -> tuple[str, _Tensor]:
    fields = dict(_fields(message))
    tag, tensor = fields.get(1), fields.get(2)
    if not isinstance(tag, memoryview) or not isinstance(tensor, memoryview):
        raise ValueError("an entry lacks its name or its tensor")
    return str(tag, "utf-8"), _tensor(tensor)


def _tensor(message: memoryview) -> _Tensor:
    dims: list[int] = []
    parts: dict[int, memoryview] = {}
    for number, value in _fields(message):
        if number == 1 and len(dims) <= MAX_DIMS:
            dims += [value] if isinstance(value, int) else _varints(value)
        elif isinstance(value, memoryview):
            parts[number] = value
    if 2 not in parts or 3 not in parts:
        raise ValueError("a tensor lacks its type or its content")
    return _Tensor(tuple(dims), str(parts[2], "utf-8"), parts[3])


def _array(parts: Sequence[_Tensor]) -> NDArray[Any]:
    first = parts[0]
    if any((part.dims, part.kind) != (first.dims, first.kind) for part in parts):
        raise ValueError("the slices of a tensor differ in shape or type")
    if first.kind not in _TYPES:
        raise ValueError(f"number type {first.kind[:80]!r} is unknown")
    content = first.content if len(parts) == 1 else b"".join(part.content for part in parts)
    scalar = first.dims == (0,) and len(content) > 0
    return dense(content, _TYPES[first.kind], () if scalar else first.dims)


# Protobuf's wire format: https://protobuf.dev/programming-guides/encoding/


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: an int for a varint, else the field's bytes."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        wire = key & 7
        if wire == 0:
            value, position = _varint(message, position)
            yield key >> 3, value
            continue
        if wire == 2:
            length, position = _varint(message, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError("it is not a protobuf message")
        if length > len(message) - position:
            raise ValueError("it is cut off")
        yield key >> 3, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """The unsigned number at a position, and the position behind it. A negative int64 reads as 2^63 or more."""
    number = 0
    for shift, byte in enumerate(message[position : position + 10]):
        number |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return number, position + shift + 1
    raise ValueError("it is cut off, or not a protobuf message")


def _varints(packed: memoryview) -> list[int]:
    if len(packed) > 10 * MAX_DIMS:
        raise ValueError("a tensor's shape is out of range")
    numbers, position = [], 0
    while position < len(packed):
        number, position = _varint(packed, position)
        numbers.append(number)
    return numbers


# Writing


def write_ckpt(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write for `mindspore.load_checkpoint`. Names are written as they are.

    Raises WeightsError for a number type that the format lacks, OSError when the file cannot be written.
    """
    names = {kind: name for name, kind in _TYPES.items()}
    with path.open("wb") as file:
        for name, array in arrays.items():
            if array.dtype.name not in names:
                raise WeightsError(
                    f"{path}: {name} is {array.dtype}, expected one of {', '.join(names)}. Cure: cast it"
                )
            dims = b"".join(b"\x08" + _encode(size) for size in array.shape)
            tensor = dims + _field(2, names[array.dtype.name].encode()) + _field(3, little_endian(array))
            file.write(_field(1, _field(1, name.encode()) + _field(2, tensor)))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _encode(len(content)) + content


def _encode(number: int) -> bytes:
    """A varint."""
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
