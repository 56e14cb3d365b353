"""Whether a run repeats to the bit: two whole ones, and one that is killed in its midst and goes on. Prints JSON.

    python -m benchmarks.gpu_bits DEVICE ARGUMENTS OF xfer train

All go on beside each other: what is asked is how they end, and not how long they take.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from xfer.results.read import STATE
from xfer.testing.resuming import assert_same_folders, resumptions

SAME, DIFFERENT = "the same bits", "other bits"
MINUTES = 3.0


def start(device: str, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "xfer", "train", "--device", device, *map(str, words), "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that lives no longer than this context."""
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for its end. Exits with what it says where it fails."""
    try:
        _, message = process.communicate(timeout=60 * MINUTES)
    except subprocess.TimeoutExpired:
        sys.exit(f"a run takes more than {MINUTES} minutes")
    if process.returncode:
        sys.exit(message)


def kill_in_training(process: subprocess.Popen[str], run: Path) -> None:
    """As soon as it has saved where it stands."""
    with ended(process):
        while process.poll() is None and not (run / STATE).exists():
            time.sleep(0.005)


def compared(first: Path, second: Path) -> str:
    try:
        assert_same_folders(first, second)
    except AssertionError:
        return DIFFERENT
    return SAME


def main() -> None:
    device, *words = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        first, second, killed = (Path(folder) / name for name in ("first", "second", "killed"))
        whole = [running.enter_context(ended(start(device, *words, "--output", run))) for run in (first, second)]
        kill_in_training(start(device, *words, "--output", killed, "--checkpoint-every", "1e-9"), killed)
        finish(running.enter_context(ended(start(device, "--resume", killed))))
        for process in whole:
            finish(process)
        halfway = compared(first, killed) if resumptions(killed) else "it ended before it was killed"
        print(json.dumps({"twice": compared(first, second), "resumed": halfway}))


if __name__ == "__main__":
    main()
