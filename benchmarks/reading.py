"""Pictures per CPU second, from JPEG files to 224 x 224 pixels with the usual augmentation: xfer and its peers.

One thread each, in turns, in one process (MindSpore's in another, with xfer's as the measure); medians of ratios.
xfer's figures hold all that a run does: batches, digests, the thread that reads ahead.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common import Row, child, table
from benchmarks.reading_peers import Pass, seconds_in_turns, torchvision_passes
from xfer.data.loader import chunks, read_batches
from xfer.data.split import Split
from xfer.pixels.augment import RandomResizedCrop, default_train
from xfer.pixels.images import Jpeg, open_lazily

EXACT, DRAFT = "xfer, exact", "xfer, draft"
WHOLE, NEEDED = "decoding alone, whole pictures", "decoding alone, as far as xfer decodes"
FLOAT, UINT8 = "torchvision v2, Pillow, to float", "torchvision v2, Pillow, to uint8"
MINDSPORE = ("MindSpore, to float", "MindSpore, to uint8")
BATCH = 32


def measure(images: Path, size: int = 224, rounds: int = 9) -> dict[str, Row]:
    """A row by pipeline: `images_per_cpu_second`, `to_float` and `to_uint8` (ratios to v2's), or `missing`."""
    count = len(_files(images))
    passes = xfer_passes(images, size) | decoding_passes(images, size)
    missing: dict[str, Row] = {}
    try:
        passes |= torchvision_passes(images, size)
    except ImportError as error:
        missing = {name: {"missing": str(error)} for name in (FLOAT, UINT8)}
    spent = seconds_in_turns(passes, rounds)
    rows = {name: _row(name, spent, count) for name in spent} | missing
    return rows | _mindspore(images, size, rounds, rows)


def report(found: dict[str, Row]) -> list[str]:
    columns = ("images_per_cpu_second", "to_float", "to_uint8")
    rows = [
        [name, row["missing"]] if "missing" in row else [name, *map(row.get, columns)] for name, row in found.items()
    ]
    return [table("Input, one thread", ["", "images per CPU second", "ratio to v2, float", "to v2, uint8"], rows)]


def xfer_passes(images: Path, size: int) -> dict[str, Pass]:
    files = _files(images)
    split, order = Split(files, np.zeros(len(files), np.int64)), np.arange(len(files))

    def once(draft: bool) -> Pass:
        return lambda view: [
            batch.inputs.shape
            for batch, _ in read_batches(
                split, default_train(size), chunks(order, BATCH), seed=0, view=view, workers=1, draft=draft
            )
        ]

    return {EXACT: once(draft=False), DRAFT: once(draft=True)}


def decoding_passes(images: Path, size: int) -> dict[str, Pass]:
    """What no pipeline of Pillow's can save: the decoder, for whole pictures and for the rows that xfer needs."""
    files, crop = _files(images), RandomResizedCrop(size=size)

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


def _row(name: str, spent: dict[str, list[float]], count: int) -> Row:
    row: Row = {"images_per_cpu_second": count / statistics.median(spent[name])}
    for key, base in (("to_float", FLOAT), ("to_uint8", UINT8)):
        if base in spent:
            row[key] = statistics.median(a / b for a, b in zip(spent[base], spent[name], strict=True))
    return row


def _mindspore(images: Path, size: int, rounds: int, rows: dict[str, Row]) -> dict[str, Row]:
    """Its ratios to xfer's exact pipeline, taken in turns there, times that pipeline's figures here."""
    ratios = child("benchmarks.peers_input", images, size, rounds, env={"ONEDNN_MAX_CPU_ISA": "AVX2"})
    if "missing" in ratios:
        return dict.fromkeys(MINDSPORE, ratios)
    return {name: {key: ratios[name] * value for key, value in rows[EXACT].items()} for name in MINDSPORE}


def _files(images: Path) -> list[str]:
    return [str(file) for file in sorted(images.glob("*/*")) if file.suffix.lower() in (".jpg", ".jpeg")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder of class folders of JPEG files")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=9)
    given: Any = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(*report(measure(given.images, given.size, given.rounds)), sep="\n")


if __name__ == "__main__":
    main()
