"""Pictures per CPU second of MindSpore's input pipelines, as its documentation has them, against xfer's exact one.

`python -m benchmarks.reading_mindspore IMAGES SIZE ROUNDS` takes both in turns, and prints the ratios as JSON: a
process of its own, because MindSpore's threads and settings would touch the others.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.reading_common import MEAN, STD, Pass, seconds_in_turns
from benchmarks.reading_xfer import EXACT, xfer_passes

FLOAT, UINT8 = "MindSpore, to float", "MindSpore, to uint8"


def mindspore_passes(images: Path, size: int) -> dict[str, Pass]:
    """mindspore.dataset with its fused RandomCropDecodeResize, one thread. Raises ImportError."""
    import mindspore.dataset as ds
    from mindspore.dataset import vision

    ds.config.set_num_parallel_workers(1)

    def pipeline(*conversions: Any) -> Pass:
        dataset = ds.ImageFolderDataset(str(images), shuffle=False, extensions=[".jpg", ".jpeg", ".JPG"])
        operations = [vision.RandomCropDecodeResize(size), vision.RandomHorizontalFlip(), *conversions]
        dataset = dataset.map(operations=operations, input_columns="image")
        return lambda _: [row[0].shape for row in dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)]

    mean, std = ([255 * x for x in values] for values in (MEAN, STD))
    return {FLOAT: pipeline(vision.Normalize(mean, std), vision.HWC2CHW()), UINT8: pipeline()}


def main() -> None:
    images, size, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    exact = {EXACT: xfer_passes(images, size)[EXACT]}
    seconds = seconds_in_turns(mindspore_passes(images, size) | exact, rounds)
    own = seconds.pop(EXACT)
    ratios = {k: statistics.median(a / b for a, b in zip(own, v, strict=True)) for k, v in seconds.items()}
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
