"""Weights of any format by canonical name, the format told by the file's suffix."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfer.archs import NO_WEIGHTS
from xfer.arrays import Float32, Weights
from xfer.errors import WeightsError
from xfer.formats.ckpt import read_ckpt, write_ckpt
from xfer.formats.mindspore_names import from_mindspore_names, to_mindspore_names, without_optimizer
from xfer.formats.prefixes import without_wrappers
from xfer.formats.pth import begins_as_pth, read_checkpoint, write_pth
from xfer.formats.published_names import from_published_names
from xfer.formats.sealed import OWN_FORMATS, read_checked, write_with_seal
from xfer.system.doors import read_json
from xfer.system.files import replacing

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
READABLE = (*SUFFIXES, ".pth.tar", ".pt.tar", ".bin")
"""Nothing is written under the last ones, which are other names for torch's format."""

TAKEN_FROM, NAMED_AS = "taken_from", "named_as"
"""Keys that reading adds to the metadata of weights: which of two sets they are, and whose names they had."""


def read_weights(path: Path) -> tuple[Weights, dict[str, str]]:
    """Weights and metadata of a file that ends as one of READABLE; only .safetensors carries metadata of its own.

    Of a checkpoint of torch's with averaged weights beside plain ones, TAKEN_FROM in the metadata says which these
    are; NAMED_AS, who publishes under the names in it, where those are not torchvision's. Names become canonical:
    MindSpore's and those of `published_names` are translated, prefixes of wrappers are taken off where every name has
    them, and NO_WEIGHTS and MindSpore's optimizer state are left out. Numbers become float32. Raises WeightsError, also
    where a .safetensors file of xfer's has a bit that is not as it was written.
    """
    _check_suffix(path, READABLE)
    if not os.path.exists(path):
        raise WeightsError(f"{path}: no such file. Cure: check the path")
    arrays, metadata = _read(path)
    if metadata.get("format") in OWN_FORMATS:  # the names in a file of xfer's are the network's own
        return _float32(arrays), metadata
    try:
        weights, publisher = from_published_names(from_mindspore_names(without_wrappers(arrays)))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    return _float32(weights), metadata | ({NAMED_AS: publisher} if publisher else {})


def canonical_names(names: Iterable[str]) -> dict[str, str]:
    """Name -> what reading a file of these names makes of it. Raises WeightsError where two become one."""
    renamed, _ = from_published_names(from_mindspore_names(without_wrappers({name: name for name in names})))
    return {name: canonical for canonical, name in renamed.items()}


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays by their names in the file, and metadata. What a .ckpt is, MindSpore's or Lightning's, its bytes say."""
    if path.suffix == ".safetensors":
        arrays, metadata = read_checked(path)
        return (arrays if metadata.get("format") in OWN_FORMATS else without_optimizer(arrays)), metadata
    if path.suffix == ".ckpt" and not begins_as_pth(path):
        return without_optimizer(read_ckpt(path)), {}
    arrays, weights = read_checkpoint(path)
    return arrays, {TAKEN_FROM: f"{weights.key}, not {weights.beside}"} if weights.beside else {}


def _float32(arrays: Mapping[str, NDArray[Any]]) -> Weights:
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf
        return {
            name: array.astype(np.float32, copy=False)
            for name, array in arrays.items()
            if not name.endswith(NO_WEIGHTS)
        }


def write_weights(path: Path, weights: Mapping[str, Float32], metadata: Mapping[str, str]) -> None:
    """Write by suffix: whole, or not at all. Only .safetensors has metadata and a seal. Raises WeightsError."""
    _check_suffix(path, SUFFIXES)
    try:
        with replacing(path) as part:
            if path.suffix == ".safetensors":
                write_with_seal(part, weights, metadata)
            elif path.suffix == ".ckpt":
                write_ckpt(part, to_mindspore_names(weights))
            else:
                write_pth(part, weights)
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be written ({error.strerror or error}). Cure: make room or grant access there"
        ) from error


def _check_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    if not path.name.endswith(suffixes):
        raise WeightsError(f"{path}: expected a file ending in {', '.join(suffixes)}. Cure: rename or convert it")


def read_with_metadata(path: Path) -> tuple[Weights, dict[str, str]]:
    """Weights with the metadata in their file, or else in the one beside it."""
    weights, metadata = read_weights(path)
    if path.suffix == ".safetensors" and metadata:
        return weights, metadata
    return weights, _metadata_beside(path, weights) | metadata


def beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _metadata_beside(path: Path, weights: Weights) -> dict[str, str]:
    try:
        record = read_json(beside(path))
        if record["weights_digest"] != digest(weights):  # the weights were replaced, and these words are of others
            return {}
        return {str(key): str(value) for key, value in record["metadata"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def digest(weights: Mapping[str, Float32]) -> str:
    """Sha256, in hexadecimal, of names (sorted), shapes and little-endian float32 numbers."""
    total = hashlib.sha256()
    for name in sorted(weights):
        array = np.asarray(weights[name], "<f4")
        total.update(f"{name}\n{array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()
