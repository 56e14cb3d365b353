"""TODO: say what this is."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.reading_peers import MEAN, STD, Pass, seconds_in_turns


def mindspore_passes(images: Path, size: int) -> dict[str, Pass]:
    """mindspore.dataset with its fused RandomCropDecodeResize, one thread. Raises ImportError."""
    import mindspore.dataset as ds
    from mindspore.dataset import vision

    ds.config.set_num_parallel_workers(1)

    def once(*more: Any) -> Pass:
        pictures = ds.ImageFolderDataset(str(images), shuffle=False, extensions=[".jpg", ".jpeg", ".JPG"])
        steps = [vision.RandomCropDecodeResize(size), vision.RandomHorizontalFlip(), *more]
        pictures = pictures.map(operations=steps, input_columns="image")
        return lambda _: [row[0].shape for row in pictures.create_tuple_iterator(num_epochs=1, output_numpy=True)]

    mean, std = ([255 * x for x in values] for values in (MEAN, STD))
    return {
        "MindSpore, to float": once(vision.Normalize(mean, std), vision.HWC2CHW()),
        "MindSpore, to uint8": once(),
    }


def main() -> None:
    from benchmarks.reading import EXACT, xfer_passes

    images, size, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    own = {EXACT: xfer_passes(images, size)[EXACT]}
    spent = seconds_in_turns(mindspore_passes(images, size) | own, rounds)
    ours = spent.pop(EXACT)
    ratios = {k: statistics.median(a / b for a, b in zip(ours, v, strict=True)) for k, v in spent.items()}
    print(json.dumps(ratios))
