"""safetensors files, through that format's own library. It validates the header; no framework is needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save_file

from xfer.formats.raw import BFLOAT16, dense, reading

_TYPES = {
    "BOOL": "bool",
    "BF16": BFLOAT16,
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}


def read_safetensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Every tensor by its name in the file, and the file's metadata. Raises WeightsError."""
    with reading(path, "a safetensors file", "get the file again"):
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = dict(file.metadata() or {})
            # Not get_tensor: it knows NumPy's own types only.
            tensors = dict(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
        except SafetensorError as error:
            raise ValueError(str(error)) from error
        return {name: _array(tensors[name]) for name in sorted(tensors)}, metadata


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
