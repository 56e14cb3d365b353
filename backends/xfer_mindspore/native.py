"""MindSpore's own input path, `data.pipeline = "native"`: mindspore.dataset with its vision operators.

The operators work on Pillow pictures, where MindSpore's results are the core's, bit for bit. On arrays they are not:
their Resize reads single pixels, without antialiasing. Only the draws differ from the core's.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Lock
from typing import Any

import mindspore.dataset as ds
import numpy as np
from mindspore.dataset import vision
from mindspore.dataset.vision import Border, Inter
from numpy.random import Generator
from numpy.typing import NDArray

from xfer.backend import InputSpec, Labelled
from xfer.errors import BackendError, DataError
from xfer.pixels.augment import (
    Affine,
    AutoAugment,
    AutoContrast,
    CenterCrop,
    ColorJitter,
    Equalize,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Invert,
    Normalize,
    Pad,
    Perspective,
    Posterize,
    RandAugment,
    RandomApply,
    RandomChoice,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomResizedCrop,
    Resize,
    Rotation,
    Sharpness,
    Solarize,
    TrivialAugmentWide,
    VerticalFlip,
)
from xfer.pixels.boxes import Picture
from xfer.pixels.geometry import both
from xfer.pixels.images import open_image
from xfer.pixels.levels import Levels, levels_of
from xfer.system.parallel import processors

Operator = Callable[[Picture, Generator], Picture]
"""A picture's own generator decides all of its luck."""

INTER = {"nearest": Inter.NEAREST, "bilinear": Inter.BILINEAR, "bicubic": Inter.BICUBIC}
ADJUST = {
    "brightness": vision.AdjustBrightness,
    "contrast": vision.AdjustContrast,
    "saturation": vision.AdjustSaturation,
    "hue": vision.AdjustHue,
}

# MindSpore's operators draw from the `random` module, which all threads share.
RANDOM = Lock()


def native_batches(spec: InputSpec) -> Iterator[Labelled]:
    """As `xfer.backend.Capabilities` says; workers are threads."""
    if not spec.chunks:
        return
    levels = levels_of(spec.transforms)
    operators = [_operator(t) for t in spec.transforms if not isinstance(t, Levels | Normalize)]
    errors: dict[int, DataError] = {}

    def read(index: NDArray[Any]) -> NDArray[np.uint8]:
        """Pixels, or none where there is an error: MindSpore would make a page of its own text of an exception."""
        i = int(index)
        try:
            return _read_one(spec.files[i], levels, operators, np.random.default_rng((spec.seed, i)))
        except DataError as error:
            errors[i] = error
            return np.empty(0, np.uint8)

    # Threads: with `python_multiprocessing`, ending an epoch takes half a second for each worker, MindSpore sets the
    # start method of the whole interpreter, and its watchdog ends this process when a worker dies.
    dataset = ds.NumpySlicesDataset(np.concatenate(spec.chunks), ["index"], shuffle=False)
    threads = min(spec.workers or processors(), os.cpu_count() or 1)  # more are refused
    dataset = dataset.map(read, ["index"], ["pixels"], num_parallel_workers=threads)
    rows = dataset.create_dict_iterator(num_epochs=1, output_numpy=True)
    try:
        for indices in spec.chunks:
            pixels = [next(rows)["pixels"] for _ in indices]
            for index in indices:
                if int(index) in errors:
                    raise errors[int(index)]
            yield Labelled(np.stack(pixels), spec.labels[indices])
    finally:
        rows.stop()


def _read_one(path: str, levels: Levels | None, operators: Sequence[Operator], rng: Generator) -> NDArray[np.uint8]:
    image = open_image(path, levels)
    try:
        for operator in operators:
            image = operator(image, rng)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return np.array(image)


def _operator(spec: Any) -> Operator:
    match spec:
        case Resize():
            return partial(_resize, spec)
        case CenterCrop():
            return partial(_center_crop, spec)
        case RandomResizedCrop(size=size, scale=scale, ratio=ratio, interpolation=mode):
            return partial(_run, vision.RandomResizedCrop(size, scale, ratio, INTER[mode], max_attempts=10))
        case RandomCrop(size=size, padding=padding, pad_if_needed=pad, fill=fill):
            return partial(_random_crop, spec, vision.RandomCrop(size, padding, pad, fill))
        case HorizontalFlip(p=p):
            return partial(_run, vision.RandomHorizontalFlip(p))
        case VerticalFlip(p=p):
            return partial(_run, vision.RandomVerticalFlip(p))
        case ColorJitter():
            return partial(_color_jitter, spec)
        case Rotation():
            return partial(_rotate, spec)
        case RandomErasing():
            return partial(_by_core, spec)
        case Pad():
            return partial(_pad, spec)
        case RandomApply(transforms=transforms):
            return partial(_apply_all, spec, [_operator(t) for t in transforms])
        case RandomChoice(transforms=transforms):
            return partial(_apply_one, spec, [_operator(t) for t in transforms])
    return _of_values(spec)


def _of_values(spec: Any) -> Operator:
    """Of what leaves every pixel in its place, and of what MindSpore does not have on Pillow pictures."""
    match spec:
        case Grayscale():
            return partial(_plain, vision.Grayscale(3))
        case RandomGrayscale():
            return partial(_sometimes, spec, partial(_plain, vision.Grayscale(3)))
        case AutoContrast():
            return partial(_sometimes, spec, partial(_plain, vision.AutoContrast()))
        case Equalize():
            return partial(_sometimes, spec, partial(_plain, vision.Equalize()))
        case Invert():
            return partial(_sometimes, spec, partial(_plain, vision.Invert()))
        case Sharpness(sharpness_factor=factor):
            return partial(_sometimes, spec, partial(_run, vision.RandomSharpness((factor, factor))))
        case Posterize() | Solarize() | GaussianBlur() | Affine() | Perspective():
            return partial(_by_core, spec)
        case RandAugment() | TrivialAugmentWide() | AutoAugment():
            return partial(_by_core, spec)
    raise BackendError(f"data.pipeline = 'native': MindSpore's has no {spec.op}. Cure: data.pipeline = 'core'")


def _run(operator: Callable[[Picture], Picture], image: Picture, rng: Generator) -> Picture:
    """Run a random operator with luck from `rng`, and leave the `random` module as it was."""
    with RANDOM:
        before = random.getstate()
        random.seed(int(rng.integers(2**63)))
        try:
            return operator(image)
        finally:
            random.setstate(before)


def _resize(spec: Resize, image: Picture, rng: Generator) -> Picture:
    # Both sides: for a shorter one MindSpore divides in another order, and rounds to one pixel less now and then.
    return vision.Resize(spec.size_of(image.height, image.width), INTER[spec.interpolation])(image)


def _center_crop(spec: CenterCrop, image: Picture, rng: Generator) -> Picture:
    # Around a smaller picture MindSpore's crop puts the odd row above now, below then: so Pad comes before it.
    height, width = both(spec.size)
    y, x = max(height - image.height, 0), max(width - image.width, 0)
    if x or y:
        image = vision.Pad((x // 2, y // 2, (x + 1) // 2, (y + 1) // 2))(image)
    return vision.CenterCrop((height, width))(image)


def _random_crop(spec: RandomCrop, operator: Callable[[Picture], Picture], image: Picture, rng: Generator) -> Picture:
    if not spec.fits(image.height, image.width):
        raise DataError(spec.too_small(image.height, image.width))
    return _run(operator, image, rng)


def _color_jitter(spec: ColorJitter, image: Picture, rng: Generator) -> Picture:
    # Not RandomColorAdjust: it shifts the hue even by 0, and the way through HSV and back changes most pixels.
    for name, factor in spec.draw(image.height, image.width, rng):
        image = ADJUST[name](factor)(image)
    return image


def _rotate(spec: Rotation, image: Picture, rng: Generator) -> Picture:
    # One angle at a time: RandomRotation takes degrees = 360 for 0, and any range of 360 or more for [-180, 180].
    angle = spec.draw(image.height, image.width, rng)
    return _run(vision.RandomRotation((angle, angle), INTER[spec.interpolation], fill_value=spec.fill), image, rng)


def _pad(spec: Pad, image: Picture, rng: Generator) -> Picture:
    spec.refuse_large(image.height, image.width)
    return vision.Pad(spec.sides, spec.fill, Border(spec.padding_mode))(image)


def _plain(operator: Callable[[Picture], Picture], image: Picture, rng: Generator) -> Picture:
    return operator(image)


def _sometimes(spec: Any, operator: Operator, image: Picture, rng: Generator) -> Picture:
    return operator(image, rng) if spec.draw(image.height, image.width, rng) else image


def _apply_all(spec: RandomApply, operators: Sequence[Operator], image: Picture, rng: Generator) -> Picture:
    if rng.random() < spec.p:
        for operator in operators:
            image = operator(image, rng)
    return image


def _apply_one(spec: RandomChoice, operators: Sequence[Operator], image: Picture, rng: Generator) -> Picture:
    return operators[spec.choose(rng)](image, rng)


def _by_core(spec: Any, image: Picture, rng: Generator) -> Picture:
    # MindSpore's RandomErasing draws the shape uniformly, not its logarithm, as width / height; and its noise is
    # normal, meant for normalised floats. Its RandomAffine turns around a place half a pixel off, its RandomPerspective
    # has no fill. Posterize, Solarize, GaussianBlur and the policies take arrays, of which it makes other pixels.
    return spec.apply(image, spec.draw(image.height, image.width, rng))
