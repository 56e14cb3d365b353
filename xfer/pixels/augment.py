"""Lists of augmentations: what they do to a picture, what leaves them, and the usual ones.

The augmentations themselves are in the files that this one imports them from, and can be imported from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, cast

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field

from xfer.errors import ConfigError
from xfer.pixels.augmix import AugMix
from xfer.pixels.boxes import Picture
from xfer.pixels.channels import FOUR, Channels, channels_of, parted, pixels_of
from xfer.pixels.choices import RandomApply, RandomChoice, SizeKept
from xfer.pixels.colour import ColorJitter, Normalize, RandomErasing
from xfer.pixels.fields import HeightWidth
from xfer.pixels.focus import GaussianBlur, Sharpness
from xfer.pixels.frames import Letterbox, Pad
from xfer.pixels.geometry import (
    CenterCrop,
    HorizontalFlip,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    Rotation,
    VerticalFlip,
    both,
)
from xfer.pixels.lazy import Jpeg
from xfer.pixels.levels import Levels
from xfer.pixels.policies import AutoAugment, RandAugment, TrivialAugmentWide
from xfer.pixels.tones import AutoContrast, Equalize, Grayscale, Invert, Posterize, RandomGrayscale, Solarize
from xfer.pixels.views import Corners, Stack
from xfer.pixels.warps import Affine, Perspective

__all__ = [
    "Affine",
    "AugMix",
    "AutoAugment",
    "AutoContrast",
    "CenterCrop",
    "Channels",
    "ColorJitter",
    "Equalize",
    "GaussianBlur",
    "Grayscale",
    "HorizontalFlip",
    "Invert",
    "Letterbox",
    "Levels",
    "Normalize",
    "Pad",
    "Perspective",
    "PixelTransform",
    "Posterize",
    "RandAugment",
    "RandomApply",
    "RandomChoice",
    "RandomCrop",
    "RandomErasing",
    "RandomGrayscale",
    "RandomResizedCrop",
    "Resize",
    "Rotation",
    "Sharpness",
    "Solarize",
    "Transform",
    "TrivialAugmentWide",
    "VerticalFlip",
    "apply",
    "default_eval",
    "default_train",
    "describe",
    "is_random",
    "output_size",
    "split_normalize",
    "transformed",
]

Sized = Resize | CenterCrop | RandomResizedCrop | RandomCrop | Letterbox
Fixed = Resize | CenterCrop | Letterbox | Pad | Grayscale
Random = RandomResizedCrop | RandomCrop | SizeKept | RandomApply | RandomChoice
Mixed = AutoAugment | RandAugment | TrivialAugmentWide | AugMix | RandomApply | RandomChoice
"""Operations among which there are moving ones and colouring ones: which, is drawn."""
Moving = Sized | Pad | HorizontalFlip | VerticalFlip | Rotation | Affine | Perspective | Corners | Stack
"""What moves pixels, the fourth channel with the colours; all others leave that alone."""
PixelTransform = Fixed | Random | Levels | Channels
Transform = Annotated[PixelTransform | Normalize, Field(discriminator="op")]


def apply(image: Picture | Jpeg, transforms: Sequence[Transform], rng: Generator | None = None) -> NDArray[np.uint8]:
    """The pixels (H, W, C) of an RGB image, or an RGBA one, after all transforms, in order.

    Normalize is the network's, not done here.

    Only random transforms touch `rng`, which may be None where there are none of them. Raises DataError for a picture
    smaller than a RandomCrop needs or beyond the limits with a Pad, and for a Jpeg that turns out to be damaged.
    """
    return np.array(pixels_after(image, transforms, rng))


def pixels_after(image: Picture | Jpeg, transforms: Sequence[Transform], rng: Generator | None) -> NDArray[np.uint8]:
    """As `apply`; the pixels may be the image's own."""
    if channels_of(transforms) != FOUR:
        return pixels_of(transformed(image, transforms, rng), transforms)
    colours, fourth = parted(cast(Picture, image))
    for transform in transforms:
        if isinstance(transform, Levels | Channels | Normalize):
            continue
        step: Any = transform
        drawn: tuple[Any, ...] = ()
        if isinstance(transform, Random):
            if rng is None:
                raise ValueError(f"{transform.op} draws random numbers: give it a generator")
            drawn = (transform.draw(colours.height, colours.width, rng),)
        colours = step.apply(colours, *drawn)
        if isinstance(transform, Moving):
            step = transform.model_copy(update={"fill": 0}) if "fill" in type(transform).model_fields else transform
            fourth = step.apply(fourth, *drawn)
    return np.concatenate([np.asarray(colours), np.asarray(fourth)[..., :1]], axis=-1)


def transformed(image: Picture | Jpeg, transforms: Sequence[Transform], rng: Generator | None) -> Picture:
    """As `apply`, before the pixels are copied out. A Jpeg is decoded when the first transform has said how far."""
    # Levels: of the file, long since read. Channels: of what leaves.
    first = next((t for t in transforms if not isinstance(t, Levels | Channels)), None)
    if isinstance(image, Jpeg) and not isinstance(first, Resize | RandomResizedCrop | Letterbox):
        image = image.decode()
    for transform in transforms:
        if isinstance(transform, Fixed | Stack):
            image = transform.apply(cast(Picture, image))
        elif isinstance(transform, Random):
            if rng is None:
                raise ValueError(f"{transform.op} draws random numbers: give it a generator")
            parameters: Any = transform.draw(image.height, image.width, rng)
            image = transform.apply(cast(Picture, image), parameters)
    return cast(Picture, image)


def is_random(transforms: Sequence[Transform]) -> bool:
    return any(isinstance(transform, Random) for transform in transforms)


def output_size(transforms: Sequence[Transform]) -> HeightWidth:
    """(height, width) in pixels of every picture that leaves. Raises ConfigError where they would differ."""
    size: HeightWidth | None = None
    for transform in transforms:
        size = _size_after(transform, size)
    if size is None:
        raise ConfigError(
            f"transforms {describe(transforms)}: pictures would leave with different sizes, a batch needs one. "
            'Cure: add { op = "CenterCrop", size = 224 }, or Resize both sides: size = [224, 224]'
        )
    return size


def working_pixels(transforms: Sequence[Transform]) -> int:
    """Of the largest picture on the way through a list: a lower bound, as those that enter may be of any size."""
    height, width, most = 0, 0, 0
    for transform in transforms:
        if isinstance(transform, Pad | Stack):
            height, width = transform.size_of(height, width)
        elif isinstance(transform, Sized):
            high, wide = both(transform.size)
            if isinstance(transform, RandomCrop):
                padded = max(high, height + 2 * transform.padding), max(wide, width + 2 * transform.padding)
                most = max(most, padded[0] * padded[1])
            height, width = high, wide
        most = max(most, height * width)
    return most


def split_normalize(transforms: Sequence[Transform]) -> tuple[tuple[PixelTransform, ...], Normalize | None]:
    """What is done to pixels, and the Normalize that may follow. Raises ConfigError for one that is not last."""
    pixels = tuple(t for t in transforms if not isinstance(t, Normalize))
    last = transforms[-1] if len(transforms) > len(pixels) else None
    if last is None or (isinstance(last, Normalize) and len(transforms) == len(pixels) + 1):
        return pixels, last
    raise ConfigError(
        f"transforms {describe(transforms)}: expected one Normalize at most, as the last of them, because the "
        "network normalises what leaves the list. Cure: move it to the end"
    )


def describe(transforms: Sequence[Transform]) -> str:
    """For people: `Resize(size=256), CenterCrop(size=224)`, defaults left out."""

    def text(transform: Transform) -> str:
        given = transform.model_dump(exclude={"op"}, exclude_defaults=True)
        if isinstance(transform, RandomApply | RandomChoice):
            given["transforms"] = f"[{describe(transform.transforms)}]"
        return f"{transform.op}({', '.join(f'{k}={v}' for k, v in given.items())})"

    return ", ".join(map(text, transforms)) or "(none)"


def default_train(size: int) -> tuple[PixelTransform, ...]:
    return RandomResizedCrop(size=size), HorizontalFlip()


def default_eval(size: int) -> tuple[PixelTransform, ...]:
    """The usual evaluation: the central 224 of 256, in proportion."""
    return Resize(size=round(size * 256 / 224)), CenterCrop(size=size)


def _size_after(transform: Transform, size: HeightWidth | None) -> HeightWidth | None:
    """None stands for a size that differs from picture to picture."""
    if isinstance(transform, Resize) and isinstance(transform.size, int):
        return None if size is None else transform.size_of(*size)
    if isinstance(transform, RandomCrop) and size is not None and not transform.fits(*size):
        raise ConfigError(transform.too_small(*size))
    if isinstance(transform, Corners):
        return transform.size_of(0, 0)
    if isinstance(transform, Pad | Stack):
        return None if size is None else transform.size_of(*size)
    if isinstance(transform, Sized):
        return both(transform.size)
    return size
