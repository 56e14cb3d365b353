"""What every door keeps: a result or one line of xfer's own, in bounded time and memory, whatever the bytes are."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from xfer.errors import XferError
from xfer.system.memory import peak_memory

SECONDS = 10.0  # of processor time for one input
MEMORY = 10**9  # bytes for one input
RSS = 4096  # MiB of the whole process, at which libFuzzer ends it: `MEMORY` says before which input took too much


@dataclass(frozen=True)
class Door:
    """A way in.

    seeds   small inputs that are sound, by name, made by code
    read    what xfer makes of an input that lies in the file; it may assert more
    suffix  of that file
    words   that a blind change would hardly find
    most    bytes of an input
    """

    seeds: Callable[[], Mapping[str, bytes]]
    read: Callable[[Path], object]
    suffix: str
    words: Iterable[bytes] = ()
    most: int = 1 << 16


def one_input(door: Door, folder: Path, content: bytes) -> None:
    """Raises AssertionError, or whatever the reader raised, where a promise is broken."""
    path = folder / f"input{door.suffix}"
    path.write_bytes(content)
    with bounded():
        try:
            door.read(path)
        except XferError as error:
            check_line(str(error))


def check_line(line: str) -> None:
    assert line.strip(), "an error without a word"
    assert "\n" not in line, f"more than a line: {line[:200]!r}"


@contextmanager
def bounded() -> Iterator[None]:
    """Raises AssertionError where what happens inside takes more memory or time than one input may."""
    _forget_peak()
    before, started = peak_memory() or 0, time.process_time()
    yield
    taken, passed = (peak_memory() or 0) - before, time.process_time() - started
    assert taken < MEMORY, f"{taken / 1e9:.1f} GB"
    assert passed < SECONDS, f"{passed:.0f} s of processor time"


def _forget_peak() -> None:
    """The peak of memory counts from here on, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def fuzz(name: str, door: Door, seconds: int, found: Path) -> None:
    """Feed it for so many seconds, and end the process.

    The first input that breaks a promise in its way is left in the folder `found`, beside what was raised, and the
    search goes on. What ends the process, libFuzzer leaves there.
    """
    import atheris

    known: set[str] = set()

    def try_one(content: bytes) -> None:
        try:
            one_input(door, folder, content)
        except Exception as error:
            _keep(error, content, known, found / name)

    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="xfer-fuzz-") as place:
        folder, corpus, words = Path(place, "input"), Path(place, "corpus"), Path(place, "words")
        folder.mkdir()
        corpus.mkdir()
        for seed, content in door.seeds().items():
            (corpus / seed).write_bytes(content)
            try_one(content)  # what is imported when it is needed is not the first input's
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in door.words), encoding="ascii")
        limits = [f"-rss_limit_mb={RSS}", f"-timeout={3 * SECONDS:.0f}", f"-max_len={door.most}"]
        options = [f"-max_total_time={seconds}", f"-artifact_prefix={found / name}-", "-print_final_stats=1"]
        # All seeds, though what is sound in each is the same to the code that reads it.
        options += ["-keep_seed=1", *([f"-dict={words}"] if door.words else [])]
        atheris.Setup(["fuzz", *limits, *options, str(corpus)], try_one)
        atheris.Fuzz()


def _keep(error: Exception, content: bytes, known: set[str], prefix: Path) -> None:
    """Write it down, unless an error of its kind was raised in that place before."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if f"{os.sep}xfer{os.sep}" in frame.filename]
    place = f"{type(error).__name__} {frames[-1].filename}:{frames[-1].lineno}" if frames else repr(error)
    if place in known:
        return
    known.add(place)
    file = prefix.with_name(f"{prefix.name}-{hashlib.sha256(content).hexdigest()[:16]}")
    file.write_bytes(content)
    text = "".join(traceback.format_exception(error))
    file.with_name(f"{file.name}.txt").write_text(text, encoding="utf-8", errors="backslashreplace")


def _escaped(word: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in word)
