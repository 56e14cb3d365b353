"""Data sets of Hugging Face: `hf:FOLDER` (of `save_to_disk`, or Parquet files), `hf:FILE.parquet`, `hf:NAME`.

What lies here is read by pyarrow alone; a name of the Hub is left to the library `datasets`. Pictures in the rows are
put once below the cache, with a table that names them: from there on they are pictures like any others.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xfer.data.columns import Columns
from xfer.data.hub_rows import Piece, from_arrow, from_hub, from_parquet
from xfer.data.hub_write import write_set
from xfer.data.layout import ROLES, role_of
from xfer.data.made import DATASETS, made
from xfer.errors import DataError
from xfer.progress import Progress
from xfer.system.doors import read_json
from xfer.system.files import expanded

PREFIX = "hf:"
TABLE = "labels.jsonl"

_OF_FSSPEC = ("datasets", "spaces", "buckets", "models")
"""Behind hf:// these begin an address of files, as fsspec has it; anything else is the name of a data set."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(:[\w.+-]+)?", re.ASCII)


def is_of(source: str) -> bool:
    """Whether a source names a data set of Hugging Face."""
    return source.startswith(PREFIX) and not source.startswith(tuple(f"hf://{word}/" for word in _OF_FSSPEC))


def is_saved(folder: Path) -> bool:
    """Whether it is what `save_to_disk` leaves."""
    alone = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    return alone or (folder / "dataset_dict.json").is_file()


def folder_of(source: str) -> Path | None:
    """The folder or file that is named; None for a name of the Hub."""
    if not is_of(source):
        return None
    text = _text(source)
    path = expanded(text)
    return path if path.exists() or not _NAME.fullmatch(text) else None


def anywhere(source: str) -> str:
    """What finds it from any folder."""
    path = folder_of(source)
    return f"{PREFIX}{_text(source)}" if path is None else f"{PREFIX}{os.path.abspath(path)}"


def open_set(source: str, columns: Columns, cache: Path, progress: Progress) -> tuple[str, Path]:
    """Its name, and a table of its pictures below `cache`. Raises DataError where it cannot be read."""
    place = anywhere(source)
    path = folder_of(place)
    if path is None:
        name = place.removeprefix(PREFIX)
        pieces, state = from_hub(name)
        short = re.split("[/:]", name)[1 if "/" in name else 0]
    else:
        pieces, state = _of_path(path)
        short = path.name.split(".")[0]
    chosen = _chosen(pieces, place)
    key = hashlib.blake2b(f"{place}\0{state}\0{columns.model_dump_json()}".encode("utf-8", "surrogateescape"))
    kept = cache / DATASETS / f"hf-{key.hexdigest()[:32]}"
    folder = made(kept, lambda new: write_set(new, TABLE, place, chosen, columns, progress), place, progress)
    return short, folder / TABLE


def _text(source: str) -> str:
    text = source.removeprefix(PREFIX)
    return text.removeprefix("//") if text.startswith("//") else text


def _chosen(pieces: list[Piece], source: str) -> list[Piece]:
    """With the roles train, val and test as names. A set of one split has no others to be told from."""
    if len({piece.split for piece in pieces}) == 1:
        return [piece._replace(split="train") for piece in pieces]
    chosen = []
    for role, names in ROLES.items():
        fitting = {piece.split for piece in pieces if role_of(piece.split) == role}
        first = min(fitting, key=lambda name: names.index(name.lower()) if name.lower() in names else len(names),
                    default=None)  # fmt: skip
        chosen += [piece._replace(split=role) for piece in pieces if piece.split == first]
    if not any(piece.split == "train" for piece in chosen):
        found = ", ".join(sorted({piece.split for piece in pieces}))
        raise DataError(f"data {source}: splits {found}, and none of them is train")
    return chosen


def _of_path(path: Path) -> tuple[list[Piece], str]:
    """The pieces of what lies here, and what its files are now."""
    if not path.exists():
        raise DataError(
            f"data {PREFIX}{path}: does not exist. Expected a folder, a .parquet file, or a name of the Hub"
        )
    if path.is_file():
        pieces = [from_parquet(path, "train")]
    elif is_saved(path):
        pieces = [*_saved(path)]
    else:
        files = sorted(path.rglob("*.parquet"))
        pieces = [from_parquet(file, _split_of(file, path)) for file in files]
    if not pieces:
        known = "Expected what save_to_disk leaves, or .parquet files"
        raise DataError(f"data {PREFIX}{path}: holds no data set of Hugging Face. {known}")
    return pieces, "\n".join(map(_stamp, sorted({file for piece in pieces for file in piece.files})))


def _stamp(file: Path) -> str:
    try:
        status = file.stat()
    except (OSError, ValueError) as error:  # the second for half a character
        reason = error.strerror if isinstance(error, OSError) else "no name of a file"
        raise DataError(f"data {str(file)!a}: cannot be read ({reason}). Cure: save the set anew") from error
    return f"{file} {status.st_size} {status.st_mtime_ns}"


def _split_of(file: Path, folder: Path) -> str:
    """By the first word of its name, `train-00000-of-00002.parquet`, or that of a folder that it lies in."""
    words = [re.split(r"[-._]", file.name)[0], *(part for part in file.relative_to(folder).parts[:-1])]
    return next((word for word in words if role_of(word)), "train")


def _saved(path: Path) -> Iterator[Piece]:
    if not (path / "dataset_dict.json").is_file():
        yield _saved_split(path, "train")
        return
    names = _json(path / "dataset_dict.json").get("splits")
    if not isinstance(names, list) or not all(isinstance(name, str) and _is_plain(name) for name in names):
        raise DataError(f"data {path / 'dataset_dict.json'}: names no splits. Cure: save the set anew")
    for name in names:
        yield _saved_split(path / name, name)


def _saved_split(folder: Path, split: str) -> Piece:
    state, about = _json(folder / "state.json"), _json(folder / "dataset_info.json")
    listed, features = state.get("_data_files"), about.get("features")
    names = (
        [row.get("filename") if isinstance(row, dict) else None for row in listed] if isinstance(listed, list) else []
    )
    if not names or not all(isinstance(name, str) and _is_plain(name) for name in names):
        raise DataError(f"data {folder / 'state.json'}: names no files of its own. Cure: save the set anew")
    if not isinstance(features, dict):
        raise DataError(f"data {folder / 'dataset_info.json'}: names no features. Cure: save the set anew")
    return from_arrow([folder / str(name) for name in names], split, features)


def _is_plain(name: str) -> bool:
    return bool(name) and os.path.basename(name) == name and name not in (".", "..") and "\0" not in name


def _json(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"data {file}: cannot be read ({reason}). Cure: save the set anew") from error
    if not isinstance(content, dict):
        raise DataError(f"data {file}: is no JSON object. Cure: save the set anew")
    return content
