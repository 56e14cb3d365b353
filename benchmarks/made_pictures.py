"""JPEG files that are decoded about as fast as photographs of their size, in class folders."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (375, 500)
CLASSES = ("a", "b")
GRIDS = (4, 16, 64)
"""How many cells are across a picture: of each there is a layer of smooth colours, the finer the fainter."""
NOISE, QUALITY = 10.0, 90


def class_folders(root: Path, train: int, val: int, size: tuple[int, int] = SIZE) -> Path:
    """`root/{train,val}/{a,b}/N.jpg` of (height, width) pixels, no two alike; gives `root`. Writes in threads."""
    places = []
    for split, count in (("train", train), ("val", val)):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
        places += [root / split / CLASSES[i % len(CLASSES)] / f"{i:06d}.jpg" for i in range(count)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda item: _picture(item[0], size).save(item[1], quality=QUALITY), enumerate(places)))
    return root


def _picture(seed: int, size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(128, NOISE, (*size, 3)).astype(np.float32)
    for grid in GRIDS:
        cells = Image.fromarray(rng.integers(0, 256, (grid, grid, 3), np.uint8))
        layer = np.asarray(cells.resize(size[::-1], Image.Resampling.BICUBIC), np.float32)
        pixels += (layer - 128) * (GRIDS[0] / grid)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
