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


MOST = 2**60
"""Of every bound: an exbibyte, which no disk holds, and no number that overflows."""


@dataclass(frozen=True)
class Limit:
    """`default` of `unit`; `why` it is no smaller, and no larger."""

    default: int
    unit: Literal["bytes", "pixels", "files", "seconds", "levels", "times"]
    of: str
    why: str


LIMITS: dict[str, Limit] = {
    "toml": Limit(2**20, "bytes", "a recipe or a study", "the longest that comes with xfer has 2 kB"),
    "json": Limit(2**24, "bytes", "a record: result.json, env.json, study.json", "one of 100,000 classes has 14 MB"),
    "metrics": Limit(3 * 2**24, "bytes", "metrics.jsonl", "100,000 epochs take 41 MB"),
    "csv": Limit(2**28, "bytes", "predictions.csv", "50,000 pictures of 200 classes take 220 MB"),
    "table": Limit(2**28, "bytes", "a table of pictures and labels", "three million rows of 80 bytes"),
    "table_rows": Limit(10**7, "files", "the rows of a table", "ImageNet has 1.3 million pictures"),
    "header": Limit(2**26, "bytes", "what a weights file says of its tensors", "a state of 100,000 epochs has 43 MB"),
    "depth": Limit(64, "levels", "folders inside each other", "data sets have three or four"),
    "archive": Limit(2**39, "bytes", "what comes out of an archive", "three times ImageNet"),
    "archive_ratio": Limit(200, "times", "that to the archive's size, above 1 GiB", "pictures hardly shrink at all"),
    "archive_files": Limit(10**7, "files", "an archive, and one in 64 bytes of it", "ImageNet has 1.3 million"),
    "archive_header": Limit(2**20, "bytes", "names and notes of one file of a tar", "the longest path has 4 kB"),
    "archive_memory": Limit(2**28, "bytes", "memory to unpack .xz with", "xz -9 takes 65 MiB"),
    "download": Limit(2**32, "bytes", "a download whose size is not known", "the largest has 0.3 GB"),
    "download_stall": Limit(20, "seconds", "until it begins, or with less than 1 kB a second", "a slow line has more"),
    "download_seconds": Limit(7200, "seconds", "all of a download", "0.3 GB at 50 kB a second"),
    "remote_file": Limit(2**37, "bytes", "a file by its address", "an archive of ImageNet"),
    "remote": Limit(2**38, "bytes", "what is copied of a data set from elsewhere", "ImageNet, with room"),
    "remote_files": Limit(10**7, "files", "the same", "ImageNet has 1.3 million pictures"),
    "upload": Limit(2**25, "bytes", "a request to xfer serve", "several photographs of a camera"),
    "data_cache": Limit(10**11, "bytes", "unpacked and drawn sets kept together", "what is in use stays all the same"),
    "checked": Limit(10**9, "bytes", "what is known of checked pictures", "a million take 48 MB; 0 keeps nothing"),
    "picture_file": Limit(2**29, "bytes", "a picture's file", "uncompressed, the most pixels in 24 bits"),
    "picture_pixels": Limit(178_956_970, "pixels", "a picture", "of more, Pillow says that they are bombs"),
    "picture_ratio": Limit(100, "times", "a picture's longer side to the shorter", "its shorter side resized to 256"),
    "picture_memory": Limit(7 * 2**27, "bytes", "decoding large pictures, all at once", "five for each pixel of one"),
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
    size = float(match[1]) * _UNITS[match[2]]
    if size > MOST:
        raise ConfigError(f"{what} = {text!r}: expected at most {MOST:,}. Cure: a smaller number")
    return int(size)
