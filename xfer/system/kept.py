"""What is kept in a folder and can be had again: whole or not there, not removed while in use, listed, pruned.

    NAME      a file, or a folder      .NAME.lock      .NAME.<process>.part

An entry appears and goes by renaming. Whoever makes or removes it has its lock; whoever uses it shares the lock.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from xfer.errors import CheckpointError
from xfer.progress import Progress, silent
from xfer.system.locks import locked, share, unshare
from xfer.system.parts import is_held

POLL = 0.1  # seconds between two looks at what another process has
PATIENCE = 60.0  # seconds until what others use, and nobody makes, is waited for no longer

_PART = re.compile(r"\.(.+)\.\d+\.part", re.DOTALL)
_LEFT = re.compile(r"\.(.+)\.(?:\d+\.part|lock)", re.DOTALL)

_in_use: dict[tuple[int, Path], int] = {}
"""Handles that this process keeps until it ends: whoever was given an entry may read it at any time.

By the number of the process: a forked child shares its parent's handles, and may not give them back.
"""


@dataclass(frozen=True)
class Kept:
    """`bytes` on disk; `used`: seconds since 1970 when it was last made or used; `about`: what it is, for people.

    `remove` gives False where it is in use, and raises OSError.
    """

    path: Path
    bytes: int
    used: float
    about: str
    remove: Callable[[], bool]


def lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def part_of(path: Path) -> Path:
    """Where this process makes it, or takes it apart."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextmanager
def alone(path: Path, what: str, progress: Progress = silent) -> Iterator[None]:
    """Have an entry alone for as long as the block lasts, in a folder that exists; this process no longer uses it.

    Waits for a process that makes it, and says so. Raises CheckpointError where others go on using it, and OSError.
    """
    let_go(path)
    started = last_made = time.monotonic()
    with ExitStack() as held:
        while not taken(held, path):
            now = time.monotonic()
            last_made = last_made if use(path) else now
            let_go(path)
            if now - last_made > PATIENCE:
                raise CheckpointError(f"{path}: is damaged, and in use. Cure: wait until the process that uses it ends")
            progress(f"waiting for another process that makes {what}, seconds", int(now - started), None)
            time.sleep(POLL)
        yield


def taken(held: ExitStack, path: Path) -> bool:
    """Have an entry alone until `held` is closed; False where another process has it or uses it. Raises OSError."""
    try:
        held.enter_context(locked(lock_of(path)))
    except CheckpointError:
        return False
    return True


def use(path: Path) -> bool:
    """Keep others from removing an entry until this process ends. False while another makes it or removes it.

    True as well where the folder cannot be written, or has no locks: there nothing keeps it.
    """
    if (os.getpid(), path) in _in_use:
        return True
    try:
        handle = share(lock_of(path))
    except OSError:
        return True
    if handle is not None:
        _in_use[os.getpid(), path] = handle
    return handle is not None


def let_go(path: Path) -> None:
    """This process no longer uses an entry."""
    if (handle := _in_use.pop((os.getpid(), path), None)) is not None:
        unshare(lock_of(path), handle)


def touch(path: Path) -> None:
    """It is used now."""
    now = time.time_ns()
    with suppress(OSError):  # a cache that others may write and this user only read
        os.utime(path, ns=(now, now), follow_symlinks=os.utime not in os.supports_follow_symlinks)


def names(folder: Path) -> list[str]:
    """Of the entries in a folder, in order."""
    return sorted(name for name in os.listdir(folder) if not name.startswith(".")) if folder.is_dir() else []


def prune(kept: Iterable[Kept], to: int) -> list[Kept]:
    """Remove the least recently used until `to` bytes are left; what is in use stays. Gives what is gone.

    Raises OSError.
    """
    oldest_first = sorted(kept, key=lambda entry: entry.used)
    total, gone = sum(entry.bytes for entry in oldest_first), []
    for entry in oldest_first:
        if total <= to:
            break
        if entry.remove():
            total -= entry.bytes
            gone.append(entry)
    return gone


def remove(path: Path) -> bool:
    """Remove an entry. False where it is in use."""
    try:
        with locked(lock_of(path)):
            if path.exists():
                path.rename(part_of(path))  # in one stroke for those who look, whatever happens on the way
            remove_parts(path)
    except CheckpointError:
        return False
    return True


def remove_parts(path: Path) -> None:
    """Remove what is half made, or half removed, of an entry, but for what is being filled. The caller has it alone."""
    for name in os.listdir(path.parent):
        if (match := _PART.fullmatch(name)) and match[1] == path.name and not is_held(path.with_name(name)):
            _remove_any(path.with_name(name))


def sweep(folder: Path) -> None:
    """Remove what processes left half made when they were killed, and their locks. Others' files stay."""
    found = os.listdir(folder) if folder.is_dir() else []
    for name in {match[1] for entry in found if (match := _LEFT.fullmatch(entry))}:
        with suppress(OSError, CheckpointError), locked(lock_of(folder / name)):
            remove_parts(folder / name)


def _remove_any(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
