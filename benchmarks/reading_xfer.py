"""xfer's own input pipeline, read as a run reads it, and the decoding alone, which no pipeline of Pillow's can save."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.reading_common import Pass, jpeg_files
from xfer.data.loader import read_batches
from xfer.data.order import chunks
from xfer.data.readers import Readers
from xfer.data.split import Split
from xfer.pixels.augment import RandomResizedCrop, default_train, transformed
from xfer.pixels.images import open_lazily
from xfer.pixels.lazy import Jpeg

EXACT, DRAFT = "xfer, exact", "xfer, draft"
WHOLE, NEEDED = "decoding alone, whole pictures", "decoding alone, as far as xfer decodes"
MADE = "pictures alone, without batches"
BATCH = 32


def xfer_passes(images: Path, size: int, workers: int = 1, readers: Readers = "threads") -> dict[str, Pass]:
    """All that a run does: batches, digests, the threads or processes that read ahead."""
    files = jpeg_files(images)
    split, order = Split(files, np.zeros(len(files), np.int64)), np.arange(len(files))

    def pipeline(draft: bool) -> Pass:
        how: dict[str, Any] = {"seed": 0, "workers": workers, "draft": draft, "readers": readers}
        transforms, parts = default_train(size), chunks(order, BATCH)
        return lambda view: [
            batch.inputs.shape for batch, _ in read_batches(split, transforms, parts, view=view, **how)
        ]

    return {EXACT: pipeline(draft=False), DRAFT: pipeline(draft=True)}


def decoding_passes(images: Path, size: int) -> dict[str, Pass]:
    """The decoder, for whole pictures and for the rows that xfer needs; and all that is done to a single picture."""
    files, crop, transforms = jpeg_files(images), RandomResizedCrop(size=size), default_train(size)

    def whole(view: int) -> None:
        for file in files:
            with Image.open(file) as image:
                image.load()

    def needed(view: int) -> None:
        for i, file in enumerate(files):
            image = open_lazily(file)
            if isinstance(image, Jpeg):
                image.crop(crop.draw(image.height, image.width, np.random.default_rng((0, view, i))).edges).decode()

    def made(view: int) -> None:
        for i, file in enumerate(files):
            transformed(open_lazily(file), transforms, np.random.default_rng((0, view, i)))

    return {WHOLE: whole, NEEDED: needed, MADE: made}
