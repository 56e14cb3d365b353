"""Pictures with the places on them that speak for a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from xfer.plots.fonts import faces_for
from xfer.plots.style import in_colours, percent
from xfer.plots.tiles import MOST, Images, Labels, Tile, file_line, name_lines, page

MOST_EXPLAINED = MOST // 2  # each beside the picture as it is
_SHARE = 0.5  # of the colours, over the picture in grey
_COLOURS = "turbo"  # blue for 0, red for 1


def overlaid(image: Images, heat: NDArray[np.floating[Any]]) -> Images:
    """The picture (H, W, C) uint8 in grey under the colours of a map (h, w) in [0, 1], bilinear between its places."""
    height, width = image.shape[:2]
    small = Image.fromarray(np.ascontiguousarray(heat, np.float32))
    large = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR)).clip(0, 1)
    grey = np.asarray(Image.fromarray(np.ascontiguousarray(in_colours(image))).convert("L"))[..., None]
    mixed = (1 - _SHARE) * grey + _SHARE * 255 * colormaps[_COLOURS](large)[..., :3]
    pixels: Images = mixed.round().astype(np.uint8)
    return pixels


def figure_explained(
    images: Images,
    maps: NDArray[np.floating[Any]],
    explained: Labels,
    probabilities: NDArray[Any],
    classes: Sequence[str],
    names: Sequence[str],
    where: str,
) -> Figure:
    """The first 8 of `images` (N, H, W, 3) uint8, each as it is and beside it what speaks for its class.

    maps           (N, h, w) in [0, 1]
    explained      (N,) the class of each map; `probabilities` (N, C)
    names          of the N files
    where          the boundary
    """
    faces, tiles = faces_for([*classes, *names]), list[Tile]()
    for i in range(min(len(images), MOST_EXPLAINED)):
        chance = percent(float(probabilities[i, explained[i]]), digits=0)
        tiles.append(Tile(images[i], *name_lines(faces, file_line(names[i], ""))))
        said = [("", classes[explained[i]], f" ({chance})")]
        tiles.append(Tile(overlaid(images[i], maps[i]), *name_lines(faces, said)))
    return page(f"What speaks for a class, by LayerCAM at {where}", tiles)
