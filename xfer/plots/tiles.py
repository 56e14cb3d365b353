"""Pages of pictures with a line or two above each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from xfer.plots.fonts import Face, faces_for, pick
from xfer.plots.style import DPI, POINTS, RIGHT, UNKNOWN, WRONG, empty_figure, in_colours, new_figure, percent, settings

Images = NDArray[np.uint8]
Labels = Sequence[int] | NDArray[np.int64]
Known = Labels | Sequence[int | None]
"""A class index for each image, None where it is not known."""

MOST = 16
COLUMNS = 4
_SIDE, _GAP = 2.1, 0.16  # inches from one tile to the next, and between their frames
_INNER = _SIDE - _GAP
_TITLE = 0.36  # inches, of the page
_ROOM = _INNER * POINTS  # points that a line above a tile may take
_SIZE = 9
_LINE = 0.19  # inches that a line above a tile takes


@dataclass(frozen=True)
class Tile:
    """A picture `(H, W, 3)` uint8, what is written above it, and the colour of its frame and writing."""

    image: Images
    lines: tuple[str, ...]
    face: Face
    colour: str = UNKNOWN
    frame: float = 0.8  # points


def figure_samples(images: Images, labels: Known, classes: Sequence[str], names: Sequence[str] = ()) -> Figure:
    """The first 16 of `images` (N, H, W, 3) uint8 under the names of their classes.

    names  of the N files, written above their images; none: nothing is written
    """
    faces = faces_for([*classes, *names])
    tiles = []
    for i, (image, label) in enumerate(zip(images[:MOST], labels, strict=False)):
        name = _name(label, classes)
        tiles.append(Tile(image, *name_lines(faces, [("", name, ""), *file_line(names[i] if names else "", name)])))
    return page("Training samples, after augmentation", tiles)


def figure_predictions(
    images: Images,
    labels: Known,
    predictions: Labels,
    probabilities: NDArray[Any] | None,
    classes: Sequence[str],
    names: Sequence[str] = (),
) -> Figure:
    """The first 16 of `images` (N, H, W, 3) uint8 under their predicted class: blue right, red wrong, grey unknown.

    probabilities  (N,) of the predicted class, or (N, C) of all; each in [0, 1]; None: not shown
    names          of the N files, written above their images; none: nothing is written
    """
    faces = faces_for([*classes, *names])
    count = min(len(images), MOST)
    tiles = [
        _judged(
            faces,
            images[i],
            labels[i],
            predictions[i],
            "" if probabilities is None else f" ({_chance(probabilities[i], predictions[i])})",
            classes,
            names[i] if names else "",
        )
        for i in range(count)
    ]
    known = [(label, guess) for label, guess in zip(labels[:count], predictions, strict=False) if label is not None]
    score = f": {sum(a == b for a, b in known)} of {len(known)} right" if known else ""
    return page(f"Predictions{score}", tiles)


def figure_top_losses(
    images: Images,
    labels: Labels,
    predictions: Labels,
    losses: Sequence[float] | NDArray[Any],
    classes: Sequence[str],
    names: Sequence[str] = (),
) -> Figure:
    """The 16 of `images` (N, H, W, 3) uint8 with the highest losses, worst first; coloured like predictions.

    names  of the N files, written above their images; none: nothing is written
    """
    faces = faces_for([*classes, *names])
    worst = np.argsort(-np.asarray(losses, dtype=np.float64), kind="stable")[:MOST]
    tiles = [
        _judged(
            faces,
            images[i],
            labels[i],
            predictions[i],
            f", loss {losses[i]:.2f}",
            classes,
            names[i] if names else "",
        )
        for i in worst
    ]
    return page("Highest losses", tiles)


def _judged(
    faces: Sequence[Face],
    image: Images,
    label: int | None,
    prediction: int,
    note: str,
    classes: Sequence[str],
    file: str = "",
) -> Tile:
    lines = [("", _name(prediction, classes), note)]
    if label is not None and label != prediction:
        lines.append(("true: ", _name(label, classes), ""))
    lines += file_line(file, _name(label, classes))
    if label is None:
        return Tile(image, *name_lines(faces, lines))
    return Tile(image, *name_lines(faces, lines), RIGHT if label == prediction else WRONG, frame=2)


def file_line(file: str, label: str) -> list[tuple[str, str, str]]:
    """What `name_lines` is to write of a file, nothing of "": without the folder of its class, which stands above."""
    return [("", file.removeprefix(f"{label}/"), "")] if file else []


def _name(label: int | None, classes: Sequence[str]) -> str:
    return "?" if label is None else classes[label]


def _chance(probability: Any, prediction: int) -> str:
    return percent(float(probability[prediction] if np.ndim(probability) else probability), digits=0)


def name_lines(faces: Sequence[Face], parts: Sequence[tuple[str, str, str]]) -> tuple[tuple[str, ...], Face]:
    """Each (before, name, after) as one line that fits a tile, and the face to draw them with."""
    face = pick(faces, "".join(name for _, name, _ in parts))
    return tuple(
        before + face.fit(name, _SIZE, _ROOM - face.width(before + after, _SIZE)) + after
        for before, name, after in parts
    ), face


def page(title: str, tiles: Sequence[Tile]) -> Figure:
    """The tiles under a title, as wide and high as they need.

    All on one pair of axes that counts inches: a pair for each tile, and a solver to place them, take twice as long.
    """
    with settings():
        if not tiles:
            return empty_figure(f"{title}: no pictures")
        columns = min(COLUMNS, len(tiles))
        rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
        above = [_GAP + _LINE * max(len(tile.lines) for tile in row) for row in rows]
        width, height = max(columns, 2) * _SIDE, _TITLE + len(rows) * _INNER + sum(above) + _GAP
        figure = new_figure(width, height, layout=None)
        figure.suptitle(title, y=1 - _TITLE / 2 / height, fontsize=12, va="center")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height), frame_on=False, xticks=[], yticks=[])
        left, down = (width - columns * _SIDE + _GAP) / 2, _TITLE
        for row, room in zip(rows, above, strict=True):
            down += room + _INNER
            for column, tile in enumerate(row):
                _draw(axes, tile, left + column * _SIDE, height - down)
        return figure


def _draw(axes: Axes, tile: Tile, left: float, bottom: float) -> None:
    """The tile into its square, whose lower left corner is given in inches, as large as it fits and centred."""
    pixels = _resized(tile.image)
    high, wide = (side / DPI for side in pixels.shape[:2])
    x, y = (round(inches * DPI) / DPI for inches in (left + (_INNER - wide) / 2, bottom + (_INNER - high) / 2))
    axes.add_artist(Photograph(pixels, round(x * DPI), round(y * DPI)))
    axes.add_patch(Rectangle((x, y), wide, high, fill=False, edgecolor=tile.colour, linewidth=tile.frame))
    axes.text(
        left + _INNER / 2,
        y + high + 0.08,
        "\n".join(tile.lines),
        ha="center",
        fontproperties=tile.face.properties(_SIZE),
        color=tile.colour,
        parse_math=False,
        linespacing=1.3,
    )


class Photograph(Artist):
    """Pixels (H, W, 3) uint8 on the pixels of the canvas as they are; `x` and `y` of the lower left one.

    Axes.imshow would resample them, transparency included, which takes longer than all else on a page.
    """

    def __init__(self, pixels: Images, x: int, y: int) -> None:
        super().__init__()
        self.pixels, self.x, self.y = pixels, x, y

    def draw(self, renderer: RendererBase) -> None:
        opaque = np.full((*self.pixels.shape[:2], 4), 255, np.uint8)
        opaque[:, :, :3] = self.pixels[::-1]  # matplotlib's canvas begins below
        renderer.draw_image(renderer.new_gc(), self.x, self.y, opaque)


def _resized(image: Images) -> Images:
    """As many pixels as the page has for it. Small pictures keep theirs, as squares; others are interpolated."""
    factor = _INNER * DPI / max(image.shape[:2])
    height, width = (max(round(side * factor), 1) for side in image.shape[:2])
    resampling = Image.Resampling.NEAREST if factor >= 3 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(np.ascontiguousarray(in_colours(image))).resize((width, height), resampling))
