"""A file that one process at a time may hold. Its text names the holder; a holder that died holds nothing."""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xfer.errors import CheckpointError
from xfer.system.doors import open_regular

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

POLL = 0.05  # seconds between two looks at a lock that is waited for
BUSY = (errno.EWOULDBLOCK, errno.EACCES)
UNKNOWN = "an unknown process"
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # a file system that has none

_held: set[int] = set()  # open handles on locks of this process


def _drop() -> None:
    """In a child: a lock is shared by all who have its handle, so that a child would go on holding its parent's."""
    for handle in _held:
        with suppress(OSError):
            os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop)


@contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold the file `path`, in a folder that exists, for as long as the block lasts; then the file is gone again.

    Where the system has `flock` it decides, so that no lock outlives its process; elsewhere the process named in the
    file is looked up. Neither is shared by threads: a second holder in the same process waits, or is refused, too.
    Raises CheckpointError, naming the holder, when another has it and `wait` is false, and for a file that is no lock;
    OSError for what no file is.
    """
    _refuse_foreign(path)
    while (handle := _take(path)) is None:
        if not wait:
            raise CheckpointError(_refusal(path))
        time.sleep(POLL)
    _held.add(handle)
    try:
        yield
    finally:
        if handle in _held:  # not in a child of the process that took it
            path.unlink(missing_ok=True)  # before the handle is closed: afterwards it may be another's
            close(handle)


def share(path: Path) -> int | None:
    """A handle that says the file `path` is in use: `locked` has to wait, or is refused, while any process has one.

    None where another process has it locked. Given back by `unshare`, and by the end of the process. Raises
    CheckpointError for a file that is no lock; OSError for what no file is, and where the system has no `flock`.
    """
    _refuse_foreign(path)
    if fcntl is None:
        raise OSError(errno.ENOLCK, "no flock")
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if error.errno in BUSY:
            return None
        raise
    if not _is_file(handle, path):
        os.close(handle)
        return share(path)
    return handle


def unshare(path: Path, handle: int) -> None:
    """Give back what `share` gave. Who is the last to do so removes the file."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except OSError:  # others have it
        pass
    finally:
        os.close(handle)


def _refuse_foreign(path: Path) -> None:
    """A lock is empty or signed, as by `_sign`; anything else is somebody's file of the same name, and would go."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)  # looked at once: its holder may remove it at any time
    except OSError:
        return
    if not (regular and _holder(path).startswith(("process ", UNKNOWN))):
        raise CheckpointError(f"{path}: is no lock of xfer's, and would be replaced. Cure: move it elsewhere")


def _take(path: Path) -> int | None:
    """An open handle on the lock, or None where another has it."""
    if fcntl is None:
        return _create(path)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if error.errno in BUSY:
            return None
        if error.errno in NO_LOCKS:
            path.unlink(missing_ok=True)
            return _create(path)
        raise
    if not _is_file(handle, path):  # its last holder removed it after it was opened here
        os.close(handle)
        return _take(path)
    _sign(handle)
    return handle


def _is_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _create(path: Path) -> int | None:
    """The same without `flock`: whoever creates the file has it, as long as that process lives."""
    if _left_behind(path):
        path.unlink(missing_ok=True)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return None
    _sign(handle)
    return handle


def lock_handle(folder: Path) -> int | None:
    """An open handle that holds the lock of a folder or file itself, for `close`; None where there are no such locks.

    Raises BlockingIOError where another has it, and OSError where there is nothing that can be opened.
    """
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if error.errno in BUSY:
            raise BlockingIOError(*error.args) from None
        return None
    _held.add(handle)
    return handle


def close(handle: int) -> None:
    """Give back what `lock_handle` gave."""
    if handle in _held:
        _held.remove(handle)
        os.close(handle)


def is_alive(process: int) -> bool:
    """Whether this machine has a process of that number, as far as can be told."""
    if os.name == "nt" or process < 1:
        return process > 0  # on Windows, asking for a process by number 0 would interrupt it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _left_behind(path: Path) -> bool:
    """Whether the process that the file names is one of this host, and gone."""
    words = _holder(path).split()
    if len(words) < 4 or words[3].rstrip(",") != socket.gethostname():
        return False
    return not (words[1].isdigit() and is_alive(int(words[1])))


def _sign(handle: int) -> None:
    text = f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
    os.ftruncate(handle, 0)
    os.pwrite(handle, text.encode(), 0)


def _holder(path: Path) -> str:
    text = ""
    with suppress(OSError), open_regular(path) as file:
        text = file.read(200).decode("utf-8", "replace")
    return " ".join(text.split()) or UNKNOWN


def _refusal(path: Path) -> str:
    return f"{path}: is held by {_holder(path)}. Cure: wait until that process ends, or stop it"
