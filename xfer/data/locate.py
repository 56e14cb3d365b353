"""Where a data set lies: by a name, a path, an address, or a name that another library knows it by."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

from xfer.data import addressed, huggingface, torchvision_sets
from xfer.data.archives import SUFFIXES as ARCHIVE_SUFFIXES
from xfer.data.archives import is_archive, unpack
from xfer.data.columns import AS_USUAL, Columns, Task
from xfer.data.made import UNPACKED
from xfer.data.named import NAMED, fetch
from xfer.data.rows import SHEETS, TABLES, is_table
from xfer.errors import DataError, expected
from xfer.progress import Progress
from xfer.system.addresses import file_name, is_address, protocol_of, public, urlsplit_of
from xfer.system.files import expanded

LOCAL = ("file", "local")
"""Protocols of what lies on this machine, and is read where it lies."""


def is_there(source: str) -> bool:
    """Whether it is a named set, or the path of something; and of all that lies elsewhere, as nobody has asked yet."""
    place = anywhere(source)
    if (path := huggingface.folder_of(place) or torchvision_sets.folder_of(place)) is not None:
        return path.exists()
    return place in NAMED or is_address(place) or huggingface.is_of(place) or os.path.exists(place)


def anywhere(source: str) -> str:
    """What finds it from any folder, and may be shown: a name, an absolute path, a public address."""
    if source in NAMED:
        return source
    if huggingface.is_of(source):
        return huggingface.anywhere(source)
    if torchvision_sets.is_of(source):
        return torchvision_sets.anywhere(source)
    if is_address(source):
        return _local(source) if protocol_of(source) in LOCAL else public(source)
    return os.path.abspath(expanded(source))


def name_of(source: str) -> str:
    """A short name of a data set, for that of a folder."""
    if is_address(source) and not huggingface.is_of(source):
        return file_name(source)
    return Path(source.rpartition(":")[2].partition("@")[0] if ":" in source else source).name


def table_name(source: str) -> str:
    """The name of the file that a source is, if it is one: what says whether it is a table."""
    return file_name(source) if is_address(source) and not huggingface.is_of(source) else source


def has_columns(source: str) -> bool:
    """Whether `data.columns` can name what is in it: a table, or a data set of Hugging Face."""
    return huggingface.is_of(source) or is_table(table_name(source))


def locate(
    source: str, cache: Path, progress: Progress, columns: Columns = AS_USUAL, task: Task = "classification"
) -> tuple[str, Path]:
    """The name of a data set and its folder or table, fetched or unpacked below `cache` where it has to be.

    `columns`, `task`: of a table, as `xfer.data.columns.find_columns`.
    """
    if source in NAMED:
        return source, fetch(source, cache, progress)
    if huggingface.is_of(source):
        return huggingface.open_set(source, columns, cache, progress)
    if torchvision_sets.is_of(source):
        return torchvision_sets.open_set(source, cache, progress)
    if is_address(source) and protocol_of(source) not in LOCAL:
        return addressed.open_address(source, columns, task, cache, progress)
    path = Path(anywhere(source))
    if path.is_dir():
        if huggingface.is_saved(path):
            return huggingface.open_set(f"hf:{path}", columns, cache, progress)
        return path.name, path
    if not path.exists():
        raise DataError(f"{expected('data', source, NAMED)} Or the path of a folder or archive, or an address; {path} "
                        "does not exist")  # fmt: skip
    name = path.name.split(".")[0]
    if is_table(path.name):
        return name, addressed.with_pictures(path, columns, task, cache, progress)
    if not is_archive(path):
        cure = " Cure: save the sheet as CSV" if path.suffix.lower() in SHEETS else ""
        known = f"or an archive ({', '.join(ARCHIVE_SUFFIXES)}), or a table ({', '.join(TABLES)})"
        raise DataError(f"data {path}: is a file. Expected a folder, {known}.{cure}")
    return name, unpack(path, cache / UNPACKED, progress)


def _local(address: str) -> str:
    parts = urlsplit_of(address)
    if parts.netloc not in ("", "localhost"):
        raise DataError(f"data {public(address)}: names another machine. Expected file:///folder/file")
    return os.path.abspath(unquote(parts.path))
