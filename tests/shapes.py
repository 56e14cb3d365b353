"""Pictures with any number of labels: a square of each colour that it has, on noise, and a table of them."""

import csv

import numpy as np
from PIL import Image

COLOURS = {"red": (230, 20, 20), "green": (20, 230, 20), "blue": (20, 20, 230)}
CHANCES = (0.5, 0.4, 0.3)


def write_shapes(folder, count=60, side=24, seed=0, name="table.csv", splits=()):
    """Write `folder/img/N.png` and a table of path, labels and, where `splits` name some in turn, split; gives it."""
    rng = np.random.default_rng(seed)
    (folder / "img").mkdir(parents=True)
    rows = []
    for i in range(count):
        pixels = rng.integers(100, 156, (side, side, 3)).astype(np.uint8)
        own = [colour for colour, chance in zip(COLOURS, CHANCES, strict=True) if rng.random() < chance]
        for place, colour in enumerate(COLOURS):  # each in a corner of its own: none hides another
            if colour in own:
                top, left = (place // 2) * side // 2, (place % 2) * side // 2
                pixels[top : top + side // 2, left : left + side // 2] = COLOURS[colour]
        Image.fromarray(pixels).save(folder / "img" / f"{i:03d}.png")
        rows.append([f"img/{i:03d}.png", "|".join(own), *([splits[i % len(splits)]] if splits else [])])
    with open(folder / name, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "labels", "split"][: len(rows[0])], *rows])
    return folder / name
