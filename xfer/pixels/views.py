"""Several views of one picture for a prediction, one below the other: what is read as one picture is told apart again.

They are what an evaluation's list of augmentations makes of a picture, and no augmentations of a recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from PIL import Image

from xfer.errors import ConfigError, expected
from xfer.pixels.boxes import Picture
from xfer.pixels.fields import HeightWidth, Size
from xfer.pixels.geometry import CenterCrop, both, extended
from xfer.section import Section

Tta = Literal["flip", "five", "ten"]
COUNTS: dict[Tta, int] = {"flip": 2, "five": 5, "ten": 10}


class Corners(Section):
    """The four corners of a picture and its middle, of one size, from the upper left by rows, the middle last."""

    op: Literal["Corners"] = "Corners"
    size: Size

    def apply(self, image: Picture) -> Picture:
        height, width = both(self.size)
        image = extended(image, height, width)
        right, lower = image.width - width, image.height - height
        places = [(0, 0), (right, 0), (0, lower), (right, lower)]
        crops = [image.crop((x, y, x + width, y + height)) for x, y in places]
        return stacked([*crops, CenterCrop(size=self.size).apply(image)])

    def size_of(self, height: int, width: int) -> HeightWidth:
        high, wide = both(self.size)
        return 5 * high, wide


class Mirrored(Section):
    """What is there, and below it its mirror image, left and right exchanged."""

    op: Literal["Mirrored"] = "Mirrored"

    def apply(self, image: Picture) -> Picture:
        return stacked([image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])

    def size_of(self, height: int, width: int) -> HeightWidth:
        return 2 * height, width


Stack = Corners | Mirrored


def stacked(pictures: Sequence[Picture]) -> Picture:
    """Pictures of one size, one below the other."""
    width, height = pictures[0].size
    whole = Image.new("RGB", (width, height * len(pictures)))
    for number, picture in enumerate(pictures):
        whole.paste(picture, (0, number * height))
    return whole


def with_views(transforms: Sequence[Any], tta: Tta) -> tuple[Any, ...]:
    """A list of augmentations whose pictures are those of `tta`, COUNTS of them, one below the other.

    Raises ConfigError for another name, and for crops where the list does not end in the one whose place they take.
    """
    if tta not in COUNTS:
        raise ConfigError(expected("tta", tta, list(COUNTS)))
    if tta == "flip":
        return *transforms, Mirrored()
    *before, last = transforms
    if not isinstance(last, CenterCrop):
        raise ConfigError(
            f"tta = {tta!r}: augment.eval ends in {last.op}, expected the CenterCrop whose place these crops take. "
            "Cure: tta = 'flip'"
        )
    crops = (*before, Corners(size=last.size))
    return crops if tta == "five" else (*crops, Mirrored())
