"""Processes of xfer's own that are asked something and answer in JSON: started in one place, heard to the last word.

Each ends with the process that started it, also where that was killed: its standard input is a pipe that nobody else
has the other end of, and `end_with_parent` watches it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import select
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xfer import errors
from xfer.errors import BackendError, XferError
from xfer.system.files import json_text
from xfer.system.own_process import SAFE_PATH


def command(module: str, *arguments: str) -> list[str]:
    """The words that run a module of this package, and of no other: -P leaves the current folder out of the search."""
    return [sys.executable, "-P", "-m", module, *arguments]


@dataclass(frozen=True)
class Answer:
    """What a process said until it ended: the JSON of its last line, or None; its exit code; its last complaint."""

    content: Any
    code: int
    last_words: str

    @property
    def ending(self) -> str:
        return f"{ending(self.code)}: {self.last_words}"


def end_with_parent(other_end: int = 0) -> None:
    """To be called first in a process that is started here. Nothing it did can be of use when nobody waits for it.

    `other_end`: the descriptor of what the parent alone has the other end of.
    """
    if not hasattr(select, "poll"):  # Windows
        return

    def watch() -> None:
        poll = select.poll()
        poll.register(other_end, 0)  # nothing is read of it: hanging up is always told
        poll.poll()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="xfer-parent").start()


def end_worker_with_parent() -> None:
    """The same, to be called in a process of `multiprocessing`."""
    if (parent := multiprocessing.parent_process()) is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="xfer-parent").start()


@contextmanager
def safe_path() -> Iterator[None]:
    """What is started in here, by any library, runs nothing that lies in the current folder: as -P in `command`."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before


def ending(code: int) -> str:
    """How a process ended, as the rest of a sentence: `code` as subprocess gives it."""
    if code >= 0:
        return f"died with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (", as by a system that is out of memory" if name == "SIGKILL" else "")


def ask(module: str, *arguments: str, timeout: float | None = None) -> Answer:
    """Run a module to its end. Raises subprocess.TimeoutExpired after `timeout` seconds."""
    reading, writing = os.pipe()  # nothing is written: it lasts as long as this process waits
    try:
        words = command(module, *arguments)
        done = subprocess.run(words, stdin=reading, capture_output=True, text=True, timeout=timeout, check=False)
    finally:
        os.close(reading)
        os.close(writing)
    try:
        content = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        content = None
    return Answer(content, done.returncode, last_line(done.stderr))


def error_of(answer: Answer, what: str) -> XferError:
    """The XferError that a process has printed as its kind and message, and BackendError of one that died: `what`."""
    try:
        kind: type[XferError] = getattr(errors, answer.content["kind"])
        return kind(answer.content["message"])
    except (KeyError, TypeError, AttributeError):
        return BackendError(f"{what} {answer.ending}")


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


class Child:
    """A process that answers line by line: started when it is first asked, and anew after it died.

    Its standard error goes into the file `log`, below the command. After `close` it is not started again.
    """

    def __init__(self, words: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self.words, self.log, self.environment = words, log, dict(environment)
        self.process: subprocess.Popen[str] | None = None
        self.lock, self.closed = threading.Lock(), False  # no process may start after the end

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer to one line; None where the process died of it, or where there is none any more."""
        process = self._running()
        if process is None or process.stdin is None or process.stdout is None:
            return None
        try:
            process.stdin.write(json_text(question) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline() or "null")
        except (OSError, ValueError):
            return None
        return answer if isinstance(answer, dict) else None

    def end(self) -> int:
        """Wait for the end of a process that is about to end. Its exit code."""
        process, self.process = self.process, None
        return 0 if process is None else process.wait()

    def close(self) -> None:
        with self.lock:
            self.closed = True
            if self.process is not None:
                self.process.kill()
                self.process.wait()

    def last_words(self) -> str:
        return last_line(self.log.read_text(encoding="utf-8", errors="replace").partition("\n")[2])

    def _running(self) -> subprocess.Popen[str] | None:
        with self.lock:
            if self.process is None and not self.closed:
                self.process = self._start()
            return None if self.closed else self.process

    def _start(self) -> subprocess.Popen[str]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("w", encoding="utf-8") as log:
            log.write(f"{shlex.join(self.words)}\n")
            log.flush()  # before the process writes there
            return subprocess.Popen(
                self.words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
                encoding="utf-8",
            )
