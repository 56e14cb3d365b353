"""What the pipelines of `reading.py` share: the files, the normalisation, and CPU seconds measured in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Pass = Callable[[int], Any]
"""Reads every picture once, with the random numbers of that round."""


def jpeg_files(images: Path) -> list[str]:
    """Those in a folder of class folders, sorted."""
    return [str(file) for file in sorted(images.glob("*/*")) if file.suffix.lower() in (".jpg", ".jpeg")]


def seconds_in_turns(passes: Mapping[str, Pass], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of this process, all its threads, for each pass and round. A first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for number in range(rounds + 1):
        for name, read_all in passes.items():
            started = time.process_time()
            read_all(number)
            seconds[name].append(time.process_time() - started)
    return {name: values[1:] for name, values in seconds.items()}
