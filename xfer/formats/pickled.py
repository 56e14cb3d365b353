"""The pickle of a state dict, as torch would write it: opcodes of protocol 2."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from xfer.formats.markers import KINDS
from xfer.formats.raw import BFLOAT16

STORAGES = {kind: name for name, kind in reversed(KINDS.items()) if kind != BFLOAT16}
"""Number type -> storage class."""


def pickled(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """{name: _rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())} as opcodes of protocol 2."""
    items = b"".join(_text(name) + _tensor(str(key), array) for key, (name, array) in enumerate(arrays.items()))
    return b"\x80\x02}(" + items + b"u."


def _tensor(key: str, array: NDArray[Any]) -> bytes:
    strides = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
    kind = _global_opcode(STORAGES[array.dtype.name])
    storage = b"(" + _text("storage") + kind + _text(key) + _text("cpu") + _integer(array.size) + b"tQ"
    view = _integer(0) + _integer_tuple(array.shape) + _integer_tuple(strides) + b"\x89"  # requires no gradient
    hooks = _global_opcode("collections.OrderedDict") + b")R"
    return _global_opcode("torch._utils._rebuild_tensor_v2") + b"(" + storage + view + hooks + b"tR"


def _text(text: str) -> bytes:
    encoded = text.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _integer(number: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", number)


def _integer_tuple(numbers: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(_integer, numbers)) + b"t"


def _global_opcode(name: str) -> bytes:
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()
