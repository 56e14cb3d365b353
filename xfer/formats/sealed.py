"""safetensors files with a seal: a digest over every byte of the file, so that no damage goes unseen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

import xxhash
from numpy.typing import NDArray

from xfer.errors import CheckpointError, WeightsError
from xfer.formats.safetensors import read_header, read_safetensors, write_safetensors
from xfer.system.doors import open_regular, parse_json
from xfer.system.files import replacing

FORMAT = "xfer-1"
"""`format` in the metadata of checkpoints. A safetensors file that says so never comes without a seal."""

NETWORK = "xfer-network-1"
"""`format` in the metadata of a network in a file: its graph, and weights under the graph's own names."""

OWN_FORMATS = (FORMAT, NETWORK)

BEST = "best.safetensors"
"""The checkpoint of a run's best epoch, in its folder."""

KEY = "xfer-seal"
BLANK = b"0" * 32  # hexadecimal digits of an XXH3-128; the seal while the digest of the rest is made
PIECE = 1 << 20  # bytes hashed at a time
# A quote inside a JSON string is escaped, so this occurs once: as the metadata's own key.
_SEAL = re.compile(rb'(?<!\\)"%s":"([0-9a-f]{%d})"' % (KEY.encode(), len(BLANK)))


def write_sealed(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write the whole file or none, on the disk when this returns. Raises OSError."""
    with replacing(path) as part:
        write_with_seal(part, arrays, metadata)


def write_with_seal(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write a file, and its seal when all else is there. Raises OSError."""
    write_safetensors(path, arrays, {**metadata, KEY: BLANK.decode()})
    with path.open("r+b", buffering=0) as file:
        offset, _ = _find(file.read(int.from_bytes(file.read(8), "little")))
        file.seek(0)
        seal = _digest(file, offset)
        file.seek(offset)
        file.write(seal)


def read_sealed(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays and metadata. Raises CheckpointError where a single bit is not as it was written."""
    try:
        _check(path)
        arrays, metadata = read_safetensors(path)
    except (ValueError, OSError, WeightsError) as error:
        raise CheckpointError(f"{path}: is damaged or cut short ({error})") from None
    return arrays, _without_seal(metadata)


def read_checked(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """As `read_sealed`, but a file without a seal that is no checkpoint is taken as it is. Raises WeightsError."""
    arrays, metadata = read_safetensors(path)
    if KEY in metadata or metadata.get("format") in OWN_FORMATS:
        try:
            _check(path)
        except (ValueError, OSError) as error:
            raise WeightsError(
                f"{path}: is damaged, or was changed by another program ({error}). Cure: get the file again"
            ) from None
    return arrays, _without_seal(metadata)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a file with a seal, without its arrays. Raises ValueError and OSError."""
    header = parse_json(_check(path))
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata are no texts")
    return _without_seal(metadata)


def _check(path: Path) -> bytes:
    """The header. Raises ValueError where a bit of the file is not as it was written."""
    with open_regular(path) as file:
        header = read_header(file)
        offset, seal = _find(header)
        file.seek(0)
        if _digest(file, offset) != seal:
            raise ValueError(f"the digest of its {file.tell()} bytes is not the one it was written with")
    return header


def _without_seal(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key != KEY}


def _find(header: bytes) -> tuple[int, bytes]:
    """Where the seal stands in the file, and what it says."""
    match = _SEAL.search(header)
    if match is None:
        raise ValueError("it carries no seal")
    return 8 + match.start(1), match[1]


def _digest(file: FileIO, offset: int) -> bytes:
    """Of a file that is to be read, as it is with a blank seal.

    Against chance, not against forgers, who could write another seal: XXH3 takes a tenth of BLAKE2b's time.
    """
    total = xxhash.xxh3_128()
    total.update(file.read(offset) + BLANK)
    file.seek(offset + len(BLANK))
    while piece := file.read(PIECE):
        total.update(piece)
    return total.hexdigest().encode()
