"""Whether a written model gives what the network gives, on pictures: it is put in no place before it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xfer.arrays import Float64, Int64, Pixels
from xfer.backend import PredictStep
from xfer.data import sources
from xfer.data.given import read_whole
from xfer.data.lists import Skipped
from xfer.data.locate import is_there
from xfer.data.order import chunks
from xfer.errors import DataError
from xfer.nets.net import PREDICT_BATCH
from xfer.pixels.augment import Transform, apply
from xfer.pixels.channels import channels_of, in_channels
from xfer.pixels.levels import Levels, levels_of
from xfer.progress import Progress, silent
from xfer.recipe.recipe import Recipe
from xfer.results.checkpoint import Checkpoint
from xfer.results.run import choose

MOST = 256
"""Pictures that a model is checked with where nothing else is said, spread evenly over the validation set."""
RANDOM = 32
TOLERANCE = 1e-4
"""Of the largest logit: two frameworks are 1e-6 apart, and what is 1e-4 apart does something else."""
TOLERANCE_RESIZED = 1e-2
"""Where the model resizes by itself, as Pillow 13 does: another version may round some pixels otherwise."""

Kind = Literal["validation", "given", "random"]


@dataclass(frozen=True)
class Check:
    """What came of `pictures` pictures of a kind.

    same        of how many the largest logit is that of the same class, or which have the same labels
    difference  the largest of any logit, over the largest logit; NaN where one is not finite
    tolerance   the most of it that passes
    """

    kind: Kind
    pictures: int
    same: int
    difference: float
    tolerance: float
    what: Literal["class", "labels"] = "class"

    @property
    def passed(self) -> bool:
        return self.same == self.pictures and self.difference <= self.tolerance

    def __str__(self) -> str:
        return (
            f"{self.same} of {self.pictures} {self.kind} pictures have the same {self.what}, and logits are at most "
            f"{self.difference:.1e} of the largest apart"
        )


@dataclass(frozen=True)
class Pictures:
    """`count` pictures (n, H, W, 3) uint8 in batches, of which the first is one picture alone."""

    kind: Kind
    count: int
    batches: Iterator[Pixels]
    tolerance: float = TOLERANCE


def pictures_for(
    checkpoint: Checkpoint,
    recipe: Recipe | None,
    data: str | None,
    most: int = MOST,
    whole: bool = False,
    progress: Progress = silent,
) -> Pictures:
    """Validation pictures of a run, those of `data`, or random ones, the same ones each time.

    recipe  of the run that the checkpoint is of, with its data where they lie; None where there is none
    whole   as large as they are, one by one; or else as the checkpoint's transforms make them

    Random ones are for a checkpoint alone, and for a run whose data are no longer there. Raises DataError for data that
    cannot be used.
    """
    if data is None and (recipe is None or not is_there(recipe.data.source)):
        return _random(checkpoint, min(RANDOM, most), whole)
    split = choose(checkpoint, data, "val", recipe, progress).split
    count = min(most, len(split.labels))
    indices = np.linspace(0, len(split.labels) - 1, count).round().astype(np.int64)
    kind: Kind = "validation" if data is None else "given"
    if whole:
        batches = _whole([str(split.files[i]) for i in indices], levels_of(checkpoint.transforms))
        return Pictures(kind, count, batches, TOLERANCE_RESIZED)
    source = sources.Pictures(split, checkpoint.transforms, seed=0, workers=0)
    return Pictures(kind, count, (batch.inputs for batch, _ in source.batches(_parts(indices), 0)))


def _whole(files: Sequence[str], levels: Levels | None) -> Iterator[Pixels]:
    for pixels in read_whole([(file, file) for file in files], levels):
        if isinstance(pixels, Skipped):
            raise DataError(f"{pixels.path}: {pixels.reason}")
        yield pixels[None]


def _random(checkpoint: Checkpoint, count: int, whole: bool) -> Pictures:
    height, width = checkpoint.spec.image_size
    if whole:  # upright ones and wide ones, larger and smaller ones
        sizes = [(height * (2 + i % 5) // 3, width * (2 + i % 7) // 3) for i in range(count)]
        return Pictures("random", count, (random_pictures(size, 1) for size in sizes), TOLERANCE_RESIZED)
    images = in_channels(random_pictures((height, width), count), channels_of(checkpoint.transforms))
    return Pictures("random", count, (images[part] for part in _parts(np.arange(count))))


def transformed(images: Pixels, transforms: Sequence[Transform]) -> Pixels:
    """Whole pictures (n, h, w, 3), each as the transforms make it."""
    return np.stack([apply(Image.fromarray(image), transforms) for image in images])


def compare(
    pictures: Pictures,
    step: PredictStep,
    wanted: PredictStep,
    progress: Progress = silent,
    thresholds: tuple[float, ...] | None = None,
) -> Check:
    """The logits of `step` against those of `wanted`, of the same pictures; `thresholds` as of a checkpoint."""
    count, same, apart, largest = 0, 0, np.float64(0), np.float64(0)
    for images in pictures.batches:
        a, b = step(images).astype(np.float64), wanted(images).astype(np.float64)
        count, same = count + len(images), same + int(_same(a, b, thresholds).sum())
        apart, largest = np.maximum(apart, np.abs(a - b).max()), np.maximum(largest, np.abs(b).max())  # NaN stays
        progress("checking", count, pictures.count)
    what: Literal["class", "labels"] = "class" if thresholds is None else "labels"
    return Check(pictures.kind, count, same, float(apart / (largest or 1)), pictures.tolerance, what)


def _same(a: Float64, b: Float64, thresholds: tuple[float, ...] | None) -> NDArray[np.bool_]:
    """(n,): whether logits (n, C) say the same of each picture."""
    same: NDArray[np.bool_]
    if thresholds is None:
        same = a.argmax(axis=1) == b.argmax(axis=1)
    else:
        cuts = np.log(thresholds) - np.log1p(-np.asarray(thresholds))
        same = ((a >= cuts) == (b >= cuts)).all(axis=1)
    return same


def _parts(indices: Int64) -> list[Int64]:
    return [indices[:1], *chunks(indices[1:], PREDICT_BATCH)]


def random_pictures(size: tuple[int, int], count: int) -> Pixels:
    """Coloured patches under noise: plain noise looks the same wherever it is averaged."""
    rng, (height, width) = np.random.default_rng(2026), size
    patches = rng.uniform(0, 255, (count, 4, 4, 3))
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    images = patches[:, rows][:, :, columns] + rng.normal(0, 20, (count, height, width, 3))
    return images.clip(0, 255).astype(np.uint8)
