"""Features on disk, shared by runs and processes: found by key, checked when read, bounded in size.

    <cache>/features/<key>/values.npy, digests.npy, meta.json      <key>.lock      .<key>.<process>.part

An entry appears whole, by the renaming of its folder. Whoever reads, makes or removes it holds the lock of its key.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xfer.errors import CheckpointError
from xfer.progress import Progress
from xfer.system.doors import open_regular, read_json
from xfer.system.download import cache_dir
from xfer.system.files import sync, write_json
from xfer.system.limits import parse_size
from xfer.system.locks import locked
from xfer.system.parts import half_written

LIMIT = "10GB"
_KEY = r"[0-9a-f]{64}"
_VALUES, _DIGESTS, _META = "values.npy", "digests.npy", "meta.json"
POLL = 0.1  # seconds between two looks at a key that another process has
_WAITING = "waiting for the features that another process computes, seconds"


@dataclass(frozen=True)
class Kept:
    """One view of a whole split at a boundary.

    `values` (n, ...) float32 or float16; `digests` (n, 16) uint8 of the pictures they were made from.
    """

    values: NDArray[np.floating[Any]]
    digests: NDArray[np.uint8]


@dataclass(frozen=True)
class Store:
    """`limit`: bytes of all entries together."""

    root: Path
    limit: int


@dataclass(frozen=True)
class Entry:
    """What is kept under a key: bytes on disk, seconds since 1970 when it was last read or written, and what it is."""

    key: str
    bytes: int
    used: float
    about: Mapping[str, Any]


def open_store() -> Store:
    """The user's, bounded by $XFER_CACHE_LIMIT. Raises ConfigError for a limit that is no size."""
    return Store(cache_dir() / "features", parse_size("XFER_CACHE_LIMIT", os.environ.get("XFER_CACHE_LIMIT") or LIMIT))


@contextmanager
def hold(store: Store, key: str, progress: Progress) -> Iterator[None]:
    """Have a key alone for as long as the block lasts. While another process has it, wait and say so.

    Where the folder cannot be written there is nothing to wait for: it can be read all the same.
    """
    with ExitStack() as held:
        with suppress(OSError):
            store.root.mkdir(parents=True, exist_ok=True)
            if os.access(store.root, os.W_OK):
                _wait(held, _lock(store, key), progress)
        yield


def _lock(store: Store, key: str) -> Path:
    return store.root / f"{key}.lock"


def _wait(held: ExitStack, lock: Path, progress: Progress) -> None:
    started = time.monotonic()
    while True:
        try:
            held.enter_context(locked(lock))
            return
        except CheckpointError:  # another has it
            progress(_WAITING, int(time.monotonic() - started), None)
            time.sleep(POLL)


def read(store: Store, key: str, mapped_above: int) -> Kept | None:
    """What is kept, if every bit of it is as it was written."""
    folder = store.root / key
    try:
        files = read_json(folder / _META)["files"]
        values, digests = (_load(folder / name, files[name], mapped_above) for name in (_VALUES, _DIGESTS))
        now = time.time_ns()
        with suppress(OSError):  # a cache that others may write and this user only read
            os.utime(folder, ns=(now, now))
    except (OSError, ValueError, LookupError, TypeError, EOFError, MemoryError):
        return None
    return Kept(values, digests)


def _load(path: Path, written: Mapping[str, Any], mapped_above: int) -> NDArray[Any]:
    if path.stat().st_size != written["bytes"] or _digest(path) != written["blake2b"]:
        raise ValueError(f"{path} is damaged")
    mode: Literal["r"] | None = "r" if written["bytes"] > mapped_above else None
    try:
        loaded: NDArray[Any] = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (SyntaxError, TokenError, EOFError, MemoryError) as error:  # what NumPy makes of a header that is none
        raise ValueError(f"{path} is damaged") from error
    return loaded


def write(store: Store, key: str, kept: Kept, about: Mapping[str, Any]) -> None:
    """Keep features, unless they take more than the whole limit. The caller holds the key. Raises OSError."""
    if kept.values.nbytes + kept.digests.nbytes > store.limit:
        return
    _sweep(store, key)
    with half_written(store.root / key) as part:
        files = {name: _save(part / name, array) for name, array in ((_VALUES, kept.values), (_DIGESTS, kept.digests))}
        shape = {"shape": list(kept.values.shape), "dtype": kept.values.dtype.name}
        created = {"created": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        write_json(part / _META, {**about, **shape, **created, "files": files})
        shutil.rmtree(store.root / key, ignore_errors=True)  # one that was damaged
        if sum(file.stat().st_size for file in part.iterdir()) > store.limit:
            return
        part.rename(store.root / key)
        if os.name != "nt":  # where a folder cannot be opened
            sync(store.root)


def _save(path: Path, array: NDArray[Any]) -> dict[str, Any]:
    with path.open("wb") as file:
        np.save(file, array.astype(array.dtype.newbyteorder("<"), copy=False), allow_pickle=False)
    sync(path)
    return {"bytes": path.stat().st_size, "blake2b": _digest(path)}


def _digest(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()


def entries(store: Store) -> list[Entry]:
    """Least recently used first."""
    known = [entry for path in _listed(store, _KEY) if (entry := _entry(path)) is not None]
    return sorted(known, key=lambda entry: entry.used)


def _listed(store: Store, pattern: str) -> Iterator[Path]:
    """What lies in the store under names that the store gives, and nothing that anyone else put there."""
    names = os.listdir(store.root) if store.root.is_dir() else []
    return (store.root / name for name in sorted(names) if re.fullmatch(pattern, name))


def _entry(path: Path) -> Entry | None:
    try:
        used, size = path.stat().st_mtime, sum(file.stat().st_size for file in path.iterdir())
    except OSError:  # removed in the meantime
        return None
    try:
        about = dict(read_json(path / _META))
    except (OSError, ValueError, TypeError):
        about = {}
    return Entry(path.name, size, used, {name: value for name, value in about.items() if name != "files"})


def prune(store: Store, to: int) -> list[Entry]:
    """Remove the least recently used entries until `to` bytes are left, and what dead processes left half written.

    An entry that another process reads or computes stays. Gives the entries that are gone. Raises OSError.
    """
    known = entries(store)
    total, gone = sum(entry.bytes for entry in known), []
    for entry in known:
        if total <= to:
            break
        if remove(store, entry.key):
            total -= entry.bytes
            gone.append(entry)
    sweep(store)
    return gone


def sweep(store: Store) -> None:
    """Remove what dead processes left half written, and their locks."""
    for key in {path.name.strip(".").split(".")[0] for path in _listed(store, rf"\.{_KEY}\.\d+\.part|{_KEY}\.lock")}:
        remove(store, key, whole=False)


def remove(store: Store, key: str, whole: bool = True) -> bool:
    """Remove an entry, or only what is half written of it. False where another process has it."""
    try:
        with locked(_lock(store, key)):
            _sweep(store, key)
            if whole and (store.root / key).exists():  # in one stroke for those who look, whatever happens on the way
                (store.root / key).rename(_part(store, key))
                _sweep(store, key)
    except CheckpointError:
        return False
    return True


def _sweep(store: Store, key: str) -> None:
    """Remove what is half written, or half removed. The caller holds the key."""
    for part in _listed(store, rf"\.{key}\.\d+\.part"):
        shutil.rmtree(part)


def _part(store: Store, key: str) -> Path:
    return store.root / f".{key}.{os.getpid()}.part"
