"""Pictures per CPU second, from JPEG files to 224 x 224 pixels with the usual augmentation: xfer and its peers.

One thread each, in turns, in one process (MindSpore's in another, with xfer's as the measure); medians of ratios.
xfer's figures hold all that a run does: batches, digests, the thread that reads ahead.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path

from benchmarks import reading_mindspore
from benchmarks.common import Figures, Options, Row, child, table
from benchmarks.reading_common import jpeg_files, seconds_in_turns
from benchmarks.reading_torchvision import FLOAT, UINT8, torchvision_passes
from benchmarks.reading_xfer import EXACT, decoding_passes, xfer_passes

SIZE, ROUNDS = 224, 9
MINDSPORE = (reading_mindspore.FLOAT, reading_mindspore.UINT8)


def measure(options: Options) -> Figures:
    """The rows of `compare` for the pictures of training, in more rounds than the options ask for: a round is short."""
    return compare(options.images / "train", SIZE, ROUNDS)


def compare(images: Path, size: int, rounds: int) -> Figures:
    """A row by pipeline: `images_per_cpu_second`, `to_float` and `to_uint8` (ratios to v2's), or `missing`."""
    count = len(jpeg_files(images))
    passes = xfer_passes(images, size) | decoding_passes(images, size)
    missing: dict[str, Row] = {}
    try:
        passes |= torchvision_passes(images, size)
    except ImportError as error:
        missing = {name: {"missing": str(error)} for name in (FLOAT, UINT8)}
    seconds = seconds_in_turns(passes, rounds)
    rows = {name: _row(name, seconds, count) for name in seconds} | missing
    return rows | _mindspore(images, size, rounds, rows)


def report(figures: Figures) -> list[str]:
    columns = ("images_per_cpu_second", "to_float", "to_uint8")
    rows = [
        [name, row["missing"]] if "missing" in row else [name, *map(row.get, columns)] for name, row in figures.items()
    ]
    return [table("Input, one thread", ["", "images per CPU second", "ratio to v2, float", "to v2, uint8"], rows)]


def _row(name: str, seconds: dict[str, list[float]], count: int) -> Row:
    row: Row = {"images_per_cpu_second": count / statistics.median(seconds[name])}
    for key, base in (("to_float", FLOAT), ("to_uint8", UINT8)):
        if base in seconds:
            row[key] = statistics.median(a / b for a, b in zip(seconds[base], seconds[name], strict=True))
    return row


def _mindspore(images: Path, size: int, rounds: int, rows: dict[str, Row]) -> dict[str, Row]:
    """Its ratios to xfer's exact pipeline, taken in turns there, times that pipeline's figures here."""
    ratios = child("benchmarks.reading_mindspore", images, size, rounds, env={"ONEDNN_MAX_CPU_ISA": "AVX2"})
    if "missing" in ratios:
        return dict.fromkeys(MINDSPORE, ratios)
    return {name: {key: ratios[name] * value for key, value in rows[EXACT].items()} for name in MINDSPORE}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder of class folders of JPEG files")
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(*report(compare(args.images, args.size, args.rounds)), sep="\n")


if __name__ == "__main__":
    main()
