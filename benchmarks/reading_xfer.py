"""xfer's own input pipeline, read as a run reads it, and the decoding alone, which no pipeline of Pillow's can save."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.reading_common import Pass, jpeg_files
from xfer.data.loader import read_batches
from xfer.data.order import chunks
from xfer.data.split import Split
from xfer.pixels.augment import RandomResizedCrop, default_train
from xfer.pixels.images import open_lazily
from xfer.pixels.lazy import Jpeg

EXACT, DRAFT = "xfer, exact", "xfer, draft"
WHOLE, NEEDED = "decoding alone, whole pictures", "decoding alone, as far as xfer decodes"
BATCH = 32


def xfer_passes(images: Path, size: int) -> dict[str, Pass]:
    """All that a run does: batches, digests, the thread that reads ahead."""
    files = jpeg_files(images)
    split, order = Split(files, np.zeros(len(files), np.int64)), np.arange(len(files))

    def pipeline(draft: bool) -> Pass:
        return lambda view: [
            batch.inputs.shape
            for batch, _ in read_batches(
                split, default_train(size), chunks(order, BATCH), seed=0, view=view, workers=1, draft=draft
            )
        ]

    return {EXACT: pipeline(draft=False), DRAFT: pipeline(draft=True)}


def decoding_passes(images: Path, size: int) -> dict[str, Pass]:
    """The decoder, for whole pictures and for the rows that xfer needs."""
    files, crop = jpeg_files(images), RandomResizedCrop(size=size)

    def whole(view: int) -> None:
        for file in files:
            with Image.open(file) as image:
                image.load()

    def needed(view: int) -> None:
        for i, file in enumerate(files):
            image = open_lazily(file)
            if isinstance(image, Jpeg):
                image.crop(crop.draw(image.height, image.width, np.random.default_rng((0, view, i))).edges).decode()

    return {WHOLE: whole, NEEDED: needed}
