"""Every bound on what is read, in one table, and how a user changes one: XFER_LIMIT_JSON=128MiB.

They hold where something comes in, before anything is made of it. docs/limits.md has the same table.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

from xfer.errors import ConfigError

_UNITS = {"": 1} | {unit + i: base**n for i, base in (("", 1000), ("I", 1024)) for n, unit in enumerate("KMGT", 1)}


@dataclass(frozen=True)
class Limit:
    """`default` of `unit`; `why` it is no smaller, and no larger."""

    default: int
    unit: Literal["bytes", "pixels", "files", "seconds", "levels", "times"]
    of: str
    why: str


LIMITS: dict[str, Limit] = {
    "toml": Limit(2**20, "bytes", "a recipe or a study", "the longest that comes with xfer has 2 kB"),
    "json": Limit(2**26, "bytes", "a record: result.json, metrics.jsonl, env.json", "100,000 epochs take 20 MB"),
    "picture_file": Limit(2**29, "bytes", "a picture's file", "uncompressed, the most pixels in 24 bits"),
    "picture_pixels": Limit(178_956_970, "pixels", "a picture", "of more, Pillow says that they are bombs"),
    "picture_ratio": Limit(100, "times", "a picture's longer side to the shorter", "its shorter side resized to 256"),
    "picture_memory": Limit(2**30, "bytes", "decoding large pictures, all at once", "six for each pixel of one"),
    "picture_scans": Limit(
        100, "times", "a progressive JPEG file, each over all its pixels", "programs write 10 to 20"
    ),
}


def limit(name: str) -> int:
    """The bound of that name, as the environment has it. Raises ConfigError for what is no number there."""
    variable = variable_of(name)
    return parse_size(variable, os.environ.get(variable) or str(LIMITS[name].default))


def variable_of(name: str) -> str:
    """The variable of the environment that changes a bound."""
    return f"XFER_LIMIT_{name.upper()}"


def parse_size(what: str, text: str) -> int:
    """Bytes: `20GB` is 20 * 10**9, `20GiB` is 20 * 2**30, a number alone is bytes. Raises ConfigError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?", text.strip().upper())
    if match is None or match[2] not in _UNITS:
        raise ConfigError(f"{what} = {text!r}: expected a number of bytes, or one such as 500MB or 20GB")
    return int(float(match[1]) * _UNITS[match[2]])
