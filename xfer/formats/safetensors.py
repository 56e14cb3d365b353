"""safetensors files, through that format's own library. It validates the header; no framework is needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save_file

from xfer.formats.raw import BFLOAT16, dense, reading, refuse_beyond_memory, refuse_long_header
from xfer.system.doors import open_regular, parse_json

_TYPES = {
    "BOOL": "bool",
    "BF16": BFLOAT16,
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}


def read_safetensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Every tensor by its name in the file, and the file's metadata. Raises WeightsError."""
    with reading(path, "a safetensors file", "get the file again"), open_regular(path) as file:
        size, header = os.fstat(file.fileno()).st_size, parse_json(read_header(file))
        if not isinstance(header, dict):
            raise ValueError("its header holds no tensors")
        refuse_beyond_memory(2 * size)  # its bytes, and the arrays
        file.seek(0)
        try:
            # Not safe_open: it would open whatever lies there by then, and knows NumPy's own types only.
            tensors = dict(deserialize(BufferedReader(file).read(size)))  # type: ignore[no-untyped-call]
        except SafetensorError as error:
            raise ValueError(str(error)) from error
        # That has checked the header too. What became an array is not kept twice.
        arrays = {name: _array(tensors.pop(name)) for name in sorted(tensors)}
        return arrays, dict(header.get("__metadata__") or {})


def read_header(file: FileIO) -> bytes:
    """The JSON that a file begins with, and what is read next lies behind it.

    Raises ValueError where the file ends before it does, or where it is longer than is allowed.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > os.fstat(file.fileno()).st_size:
        raise ValueError("it ends within its header")
    refuse_long_header(length)
    return file.read(length)


def _array(tensor: Mapping[str, Any]) -> NDArray[Any]:
    if tensor["dtype"] not in _TYPES:
        raise ValueError(f"number type {tensor['dtype']} is unknown")
    return dense(tensor["data"], _TYPES[tensor["dtype"]], tensor["shape"])


def write_safetensors(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write arrays and metadata. Raises OSError when the file cannot be written."""
    try:
        save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, path, dict(metadata))
    except SafetensorError as error:
        raise OSError(str(error)) from error
