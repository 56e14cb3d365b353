"""Small class folders for tests: pictures that a small network can learn to tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def write_class_folders(
    root: Path,
    classes: Sequence[str] = ("ants", "bees"),
    counts: tuple[int, int] = (8, 4),
    size: tuple[int, int] = (40, 48),
    seed: int = 0,
) -> Path:
    """Write `root/{train,val}/class/N.png` and give `root`. `counts`: training and validation pictures of each class.

    A class is a colour under noise, in pictures of (height, width) `size`.
    """
    rng = np.random.default_rng(seed)
    colours = rng.permutation(np.linspace(40, 215, 3 * len(classes)).astype(int)).reshape(len(classes), 3)
    for split, count in zip(("train", "val"), counts, strict=True):
        for name, colour in zip(classes, colours, strict=True):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = colour + rng.normal(0, 25, (*size, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return root
