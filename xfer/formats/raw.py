"""What the formats share: number types by name, arrays from a file's bytes, and one way to report a bad file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xfer.errors import WeightsError
from xfer.system.limits import limit, variable_of
from xfer.system.memory import shortage

Order = Literal["<", ">"]
BFLOAT16 = "bfloat16"
KINDS = frozenset(
    (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", BFLOAT16),
    )
)
"""Number types that a weight file may hold: NumPy's names, and bfloat16."""

MAX_INT = 2**63 - 1
MAX_DIMS = 32  # NumPy 1.x's own limit


def file_dtype(kind: str, order: Order = "<") -> np.dtype[Any]:
    """How a kind lies in a file. A bfloat16 is the upper half of a float32, a bool any byte."""
    return np.dtype({BFLOAT16: "uint16", "bool": "uint8"}.get(kind, kind)).newbyteorder(order)


def own(view: NDArray[Any], kind: str) -> NDArray[Any]:
    """A copy that is independent of the file: C-contiguous, native byte order, bfloat16 widened to float32."""
    if kind == BFLOAT16:
        bits = np.array(view, dtype=np.uint32, order="C")
        bits <<= 16
        return bits.view(np.float32)
    return np.array(view, dtype=kind, order="C")


def dense(content: bytes | bytearray | memoryview, kind: str, shape: Sequence[int]) -> NDArray[Any]:
    """The array of little-endian numbers in C order. ValueError unless the content is exactly what the shape needs."""
    check_shape(shape)
    dtype = file_dtype(kind)
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"shape {tuple(shape)} of {kind} does not fit {len(content)} bytes")
    return own(np.frombuffer(content, dtype).reshape(tuple(shape)), kind)


def check_shape(shape: Sequence[int]) -> None:
    """ValueError unless every size is one that an array can have."""
    if len(shape) > MAX_DIMS or not all(0 <= size <= MAX_INT for size in shape):
        raise ValueError("a tensor's shape is out of range")


def little_endian(array: NDArray[Any]) -> bytes:
    """The bytes of an array in C order."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


class TooLargeError(ValueError):
    """A file that may be sound, and is beyond a limit, or what there is of memory. The text says the cure."""


class OtherKindError(ValueError):
    """A whole and well-formed file, but of something that has its own cure."""

    def __init__(self, reason: str, cure: str) -> None:
        super().__init__(reason)
        self.cure = cure


def refuse_long_header(size: int) -> None:
    """Raises TooLargeError where what a file says of its tensors takes more bytes than is allowed."""
    if size > (most := limit("header")):
        raise TooLargeError(f"has a header of {size:,} bytes, expected at most {most:,}. Cure: {variable_of('header')}")


def refuse_beyond_memory(needed: int) -> None:
    """Raises TooLargeError where `needed` bytes are more than there is room for."""
    if short := shortage(needed):
        raise TooLargeError(f"{short}. Cure: a machine with more memory, or fewer programs beside it")


@contextmanager
def reading(path: Path, expected: str, cure: str) -> Iterator[None]:
    """Turn the faults of a file, and of reaching it, into one WeightsError that names it."""
    try:
        yield
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be read ({error.strerror or error}). Cure: check the path and its permissions"
        ) from error
    except TooLargeError as error:
        raise WeightsError(f"{path}: {error}") from error
    except MemoryError:
        raise WeightsError(f"{path}: does not fit into memory. Cure: a machine with more of it") from None
    except ValueError as error:
        cure = error.cure if isinstance(error, OtherKindError) else cure
        raise WeightsError(f"{path}: not {expected} ({one_line(error)}). Cure: {cure}") from error


def one_line(error: object) -> str:
    """An error's text without line breaks, at most 200 characters: some of it may come from the file."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:200]}..."
