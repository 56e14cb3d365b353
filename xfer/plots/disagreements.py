"""The images that runs take for different classes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from xfer.plots.fonts import faces_for
from xfer.plots.style import RIGHT, WRONG
from xfer.plots.tiles import MOST, Images, Tile, file_line, name_lines, page


def figure_disagreements(
    images: Images,
    labels: Sequence[str],
    predicted: Sequence[Sequence[str | None]],
    total: int,
    names: Sequence[str] = (),
) -> Figure:
    """The first 16 of `images` (N, H, W, 3) uint8 with who takes them for what: blue where run 1 is right, else red.

    predicted  for each image the class that each run gives it, None where a run has not seen it
    total      how many images they were taken from
    names      of the N files, written above their images; none: nothing is written
    """
    faces = faces_for([*labels, *names, *(name for row in predicted for name in row if name is not None)])
    tiles = []
    for i, (image, label, row) in enumerate(zip(images[:MOST], labels, predicted, strict=False)):
        lines = [*(("", name, f" ({runs})") for name, runs in _sides(row)), ("true: ", label, "")]
        lines += file_line(names[i] if names else "", label)
        tiles.append(Tile(image, *name_lines(faces, lines), RIGHT if row[0] == label else WRONG, frame=2))
    return page(f"Disagreements: {len(tiles)} of {total}. Blue: run 1 is right", tiles)


def _sides(row: Sequence[str | None]) -> list[tuple[str, str]]:
    """Each class with the runs that chose it, run 1's first."""
    sides = {name: [i for i, guess in enumerate(row, start=1) if guess == name] for name in row if name is not None}
    return [(name, f"run {', '.join(map(str, runs))}") for name, runs in sides.items()]
