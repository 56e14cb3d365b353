"""Other input pipelines for the same task, as their own documentation has them: a random crop to 224, a flip, numbers.

`python -m benchmarks.peers_input IMAGES SIZE ROUNDS` measures MindSpore's, and xfer's in turns with it, and prints
JSON: a process of its own, because MindSpore's threads and settings would touch the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.reading_mindspore import main

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


if __name__ == "__main__":
    main()
