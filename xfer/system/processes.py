"""Processes of xfer's own that are asked something and answer in JSON: started in one place, heard to the last word."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xfer.system.files import json_text


def command(module: str, *arguments: str) -> list[str]:
    """The words that run a module of this package, and of no other: -P leaves the current folder out of the search."""
    return [sys.executable, "-P", "-m", module, *arguments]


@dataclass(frozen=True)
class Answer:
    """What a process said until it ended: the JSON of its last line, or None; its exit code; its last complaint."""

    content: Any
    code: int
    last_words: str


def ask(module: str, *arguments: str, timeout: float | None = None) -> Answer:
    """Run a module to its end. Raises subprocess.TimeoutExpired after `timeout` seconds."""
    done = subprocess.run(command(module, *arguments), capture_output=True, text=True, timeout=timeout, check=False)
    try:
        content = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        content = None
    return Answer(content, done.returncode, last_line(done.stderr))


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
