"""The networks that come with xfer as data, and the weights that others have published for them.

`tools/catalogue.py` makes the files from torchvision; none of them is written by hand.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from xfer.errors import ConfigError, nearest
from xfer.graphs.graph import Graph
from xfer.graphs.kinds import is_number
from xfer.graphs.read import graph_from_json
from xfer.system.doors import parse_json, read_regular

FOLDER = Path(__file__).with_name("networks")
ENDING = ".json.gz"
PUBLISHED = "published.json"
FORMAT = 1
MOST_BYTES = 2**24
"""Of a network's JSON. The largest that comes with xfer has 0.3 MB, and takes 20 kB packed."""
_CURE = "Cure: pip install --force-reinstall xfer-vision"


@dataclass(frozen=True)
class PublishedWeights:
    """A file of torchvision's for one network, trained on ImageNet.

    tag         torchvision's name of it: IMAGENET1K_V1
    sha256      of the file, or the first digits of it, which stand in its name
    default     whether torchvision takes it where none is named
    accuracy    top-1 on ImageNet's validation set, in percent
    parameters  numbers that training moved; those of auxiliary heads are counted for inception_v3
    mean, std   of pictures in [0, 1], as this network wants them
    resize      pixels of the shorter side, before the central `crop`. A network that is `fixed` takes the weights of
                its own size alone
    licence     of the weights
    size        bytes of the file; None: not known
    ignored     prefixes of names that the file holds and the network does not: auxiliary heads
    unbiased    layers without a bias in the file, which have one in the network: of zeros
    renamed     (part of a name in the file, what stands for it in the network), to be replaced wherever it occurs
    """

    tag: str
    url: str
    sha256: str
    default: bool
    accuracy: float
    parameters: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: int
    crop: int
    interpolation: str
    licence: str = "BSD-3-Clause"
    size: int | None = None
    ignored: tuple[str, ...] = ()
    unbiased: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Every network of which there is a graph, sorted."""
    return tuple(sorted(path.name.removesuffix(ENDING) for path in FOLDER.glob(f"*{ENDING}")))


@lru_cache(maxsize=8)
def load(name: str) -> Graph:
    """The network of that name, for the 1000 classes of ImageNet.

    Raises ConfigError for a name that is not there, and for a file that is damaged.
    """
    if name not in names():
        raise ConfigError(
            f"network = {name!r}: is none of the catalogue. Cure: xfer models lists it.{nearest(name, names())}"
        )
    path = FOLDER / f"{name}{ENDING}"
    try:
        data = parse_json(unpacked(read_regular(path, "json")))
    except (OSError, ValueError, zlib.error) as error:
        raise ConfigError(f"{path}: {error}. {_CURE}") from None
    return graph_from_json(data, str(path))


def published(name: str) -> tuple[PublishedWeights, ...]:
    """Those of a network, in torchvision's order; also of those whose graph is not here. None: ()."""
    return _published().get(name, ())


@lru_cache(maxsize=1)
def _published() -> Mapping[str, tuple[PublishedWeights, ...]]:
    path = FOLDER / PUBLISHED
    try:
        data = parse_json(read_regular(path, "json"))
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}, expected {FORMAT}")
        return {name: tuple(map(_entry, entries)) for name, entries in data["networks"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: {type(error).__name__}: {error}. {_CURE}") from None


def _entry(row: Mapping[str, Any]) -> PublishedWeights:
    """Raises ValueError, KeyError or TypeError for a row that cannot be meant."""
    lists = {key: tuple(row[key]) for key in ("mean", "std", "ignored", "unbiased") if key in row}
    renamed = tuple((old, new) for old, new in row.get("renamed", ()))
    entry = PublishedWeights(**{**row, **lists, "renamed": renamed})
    numbers = (*entry.mean, *entry.std, entry.accuracy, entry.parameters, entry.resize, entry.crop, entry.size or 0)
    if not all(map(is_number, numbers)) or (len(entry.mean), len(entry.std)) != (3, 3):
        raise ValueError(f"{entry.tag}: expected numbers, three each of mean and std")
    if not re.fullmatch("[0-9a-f]{8,64}", entry.sha256) or not entry.url.startswith("https://"):
        raise ValueError(f"{entry.tag}: expected an https address, and 8 digits or more of a sha256")
    return entry


def unpacked(packed: bytes) -> bytes:
    """What a gzip file holds. Raises ValueError or zlib.error for what is none, is cut off, or holds too much."""
    unpacker = zlib.decompressobj(wbits=31)
    content = unpacker.decompress(packed, MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes in it")
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("cut off, or longer than it should be")
    return content
