"""Peak memory of `xfer train` on 400 and on 100,000 pictures: it should hardly depend on their number.

The pictures are links to one small file, so that the data set costs no disk. Everything else is a usual run.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import Figures, Options, Row, child, table

COUNTS = (400, 100_000)


def links(root: Path, count: int) -> Path:
    """Class folders a and b of `count` pictures in all, a fifth of them for validation."""
    picture = root / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)).save(picture)
    for i in range(count):
        folder = root / "data" / ("val" if i % 5 == 0 else "train") / ("a" if i % 2 else "b")
        if i < 10:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            os.link(picture, folder / f"picture-{i:06d}.png")
        except OSError:  # a file system allows so many names of one file
            picture = picture.with_name(f"picture-{i}.png")
            picture.write_bytes((folder / f"picture-{i - 10:06d}.png").read_bytes())
            os.link(picture, folder / f"picture-{i:06d}.png")
    return root / "data"


def train(count: int) -> Row:
    """One epoch on `count` pictures, with `peak_memory` in bytes."""
    network = ("--arch", "convnet", "--weights", "random", "--size", 32, "--train-from", "stem")
    with tempfile.TemporaryDirectory() as folder:
        data = ("--data", links(Path(folder), count))
        return child("benchmarks.command", "-b", "torch", *network, "--epochs", 1, "--batch-size", 256, *data)


def measure(options: Options) -> Figures:
    """A row by number of pictures. Needs none of the options."""
    return {str(count): train(count) for count in COUNTS}


def report(figures: Figures) -> list[str]:
    rows = [[f"{int(count):,}", row.get("missing") or row["peak_memory"] / 1e6] for count, row in figures.items()]
    few, many = (figures[str(count)].get("peak_memory") for count in COUNTS)
    if few and many:
        rows.append(["difference", (many - few) / 1e6])
    return [table("Peak memory of a run, torch", ["pictures", "MB"], rows)]
