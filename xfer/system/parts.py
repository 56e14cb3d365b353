"""What is half written: folders named `.NAME.PROCESS.part`, swept away when the process that filled them has died.

A writer holds the lock of its folder, so that whoever sweeps can tell a living one from one that was killed, also in
another container or on another machine. Where there are no locks, the number of the process decides.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from itertools import count
from pathlib import Path

from xfer.system.locks import close, is_alive, lock_handle

YOUNG = 10.0  # seconds: a folder of a living process may have been made, and not have been locked yet
_NAME = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)(\.\d+)?\.part")


@contextmanager
def half_written(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, in whose folder it is to appear; at the end it goes with all that is left in it.

    What killed processes have left of the same `path` goes first. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(parts(path.parent, [path.name]))
    folder = _made(path)
    handle = lock_handle(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            close(handle)


def _made(path: Path) -> Path:
    for number in count():
        more = f".{number}" if number else ""
        folder = path.with_name(f".{path.name}.{os.getpid()}{more}.part")
        with suppress(FileExistsError):  # another thread's
            folder.mkdir()
            return folder
    raise AssertionError("numbers do not end")


def parts(folder: Path, names: Collection[str]) -> list[Path]:
    """What lies half written of these files or folders; names relative to the folder."""
    paths = [folder / name for name in names]
    beside = [(path, part) for path in paths for part in path.parent.glob(f".{escape(path.name)}.*.part")]
    return [part for path, part in beside if (match := _NAME.fullmatch(part.name)) and match["name"] == path.name]


def parts_below(folder: Path) -> list[Path]:
    """All that lies half written in a folder that is xfer's own, at any depth."""
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        found += [Path(parent, name) for name in (*folders, *files) if _NAME.fullmatch(name)]
        folders[:] = [name for name in folders if not _NAME.fullmatch(name)]
    return found


def remove_parts(folder: Path, names: Collection[str]) -> None:
    """Remove the `parts` of these files. Nobody else may be writing there."""
    for part in parts(folder, names):
        _remove(part)


def remove_abandoned(found: Collection[Path]) -> list[Path]:
    """Remove those of `parts` whose process has died, and give them. Any others stay."""
    gone = [part for part in found if _is_abandoned(part)]
    for part in gone:
        _remove(part)
    return gone


def is_held(part: Path) -> bool:
    """Whether a living process is filling it, as far as locks tell."""
    try:
        handle = lock_handle(part)
    except BlockingIOError:
        return True
    except OSError:  # it has just gone
        return False
    if handle is not None:
        close(handle)
    return False


def _is_abandoned(part: Path) -> bool:
    match = _NAME.fullmatch(part.name)
    try:
        handle = lock_handle(part)
    except BlockingIOError:
        return False
    except OSError:  # it has just gone, or is another user's
        return False
    process = int(match["process"]) if match else 0
    if handle is None:
        return not is_alive(process)
    try:
        age = abs(time.time() - os.fstat(handle).st_mtime)
    finally:
        close(handle)
    return process == os.getpid() or not is_alive(process) or age > YOUNG


def _remove(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)
