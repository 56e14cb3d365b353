"""Other input pipelines for the same task, as their own documentation has them: a random crop to 224, a flip, numbers.

`python -m benchmarks.peers_input IMAGES SIZE ROUNDS` measures MindSpore's, and xfer's in turns with it, and prints
JSON: a process of its own, because MindSpore's threads and settings would touch the others.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Pass = Callable[[int], Any]
"""Reads every picture once, with the random numbers of that round."""


def seconds_in_turns(passes: Mapping[str, Pass], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of this process, all its threads, for each pass and round. A first round is not counted."""
    spent: dict[str, list[float]] = {name: [] for name in passes}
    for number in range(rounds + 1):
        for name, once in passes.items():
            started = time.process_time()
            once(number)
            spent[name].append(time.process_time() - started)
    return {name: values[1:] for name, values in spent.items()}


def torchvision_passes(images: Path, size: int) -> dict[str, Pass]:
    """torchvision.transforms.v2 behind an ImageFolder, without the costs of a DataLoader. Raises ImportError."""
    import torch
    from torchvision.datasets import ImageFolder
    from torchvision.io import decode_image
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    crop_and_flip = [v2.RandomResizedCrop(size), v2.RandomHorizontalFlip()]
    numbers = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]

    def once(**given: Any) -> Pass:
        pictures = ImageFolder(images, **given)
        return lambda _: [pictures[i][0].shape for i in range(len(pictures))]

    return {
        "torchvision v2, Pillow, to float": once(transform=v2.Compose([*crop_and_flip, v2.ToImage(), *numbers])),
        "torchvision v2, Pillow, to uint8": once(transform=v2.Compose([*crop_and_flip, v2.ToImage()])),
        "torchvision v2, tensors, to float": once(
            transform=v2.Compose([*crop_and_flip, *numbers]), loader=lambda path: decode_image(path, mode="RGB")
        ),
    }


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
    from benchmarks.input import EXACT, xfer_passes

    images, size, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    own = {EXACT: xfer_passes(images, size)[EXACT]}
    spent = seconds_in_turns(mindspore_passes(images, size) | own, rounds)
    ours = spent.pop(EXACT)
    ratios = {k: statistics.median(a / b for a, b in zip(ours, v, strict=True)) for k, v in spent.items()}
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
