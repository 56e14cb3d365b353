"""torchvision's input pipelines, as its documentation has them: a random crop, a flip, numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.reading_common import MEAN, STD, Pass

FLOAT, UINT8 = "torchvision v2, Pillow, to float", "torchvision v2, Pillow, to uint8"


def torchvision_passes(images: Path, size: int) -> dict[str, Pass]:
    """torchvision.transforms.v2 behind an ImageFolder, without the costs of a DataLoader. Raises ImportError."""
    import torch
    from torchvision.datasets import ImageFolder
    from torchvision.io import decode_image
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    crop_and_flip = [v2.RandomResizedCrop(size), v2.RandomHorizontalFlip()]
    numbers = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]

    def pipeline(**settings: Any) -> Pass:
        dataset = ImageFolder(images, **settings)
        return lambda _: [dataset[i][0].shape for i in range(len(dataset))]

    return {
        FLOAT: pipeline(transform=v2.Compose([*crop_and_flip, v2.ToImage(), *numbers])),
        UINT8: pipeline(transform=v2.Compose([*crop_and_flip, v2.ToImage()])),
        "torchvision v2, tensors, to float": pipeline(
            transform=v2.Compose([*crop_and_flip, *numbers]), loader=lambda path: decode_image(path, mode="RGB")
        ),
    }
