"""torch's own input path, `data.pipeline = "native"`: torchvision.transforms.v2 behind a DataLoader.

The operators work on Pillow pictures, where torchvision's results are the core's, bit for bit. Only the draws differ.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from threading import current_thread, main_thread
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, v2

from xfer.backend import InputSpec, Labelled
from xfer.errors import BackendError, DataError
from xfer.pixels.augment import (
    Affine,
    AugMix,
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
from xfer.pixels.images import open_image
from xfer.pixels.levels import Levels, levels_of
from xfer.system.parallel import processors
from xfer.system.processes import end_worker_with_parent, safe_path

Pixels = NDArray[np.uint8]
Loader = DataLoader[Pixels | DataError]
Operator = Callable[[Picture], Picture]


def native_batches(spec: InputSpec) -> Iterator[Labelled]:
    """As `xfer.backend.Capabilities` says; workers are processes."""
    loader = DataLoader(
        _Pictures(spec.files, _operators(spec.transforms), spec.seed, levels_of(spec.transforms)),
        batch_sampler=[indices.tolist() for indices in spec.chunks],
        num_workers=min(spec.workers or processors(), len(spec.chunks)),
        collate_fn=_collate,
        generator=torch.Generator().manual_seed(spec.seed),  # or else it draws from the caller's
        worker_init_fn=_begin_worker,
    )
    batches = _started(loader)
    try:
        for indices in spec.chunks:
            pixels = _next(batches)
            if isinstance(pixels, DataError):
                raise pixels
            yield Labelled(pixels, spec.labels[indices])
    finally:
        del batches  # the last reference: its processes end here, however the loop did


def _started(loader: Loader) -> Iterator[Pixels | DataError]:
    """Its processes, with the handler of SIGCHLD left as it was: torch's raises wherever the main thread may be."""
    number = getattr(signal, "SIGCHLD", None)  # Windows has none
    before = number and signal.getsignal(number)
    with safe_path():
        batches = iter(loader)
    if number and before is not None and current_thread() is main_thread():
        signal.signal(number, before)
    return batches


def _begin_worker(number: int) -> None:
    end_worker_with_parent()  # torch looks after it every five seconds, between two pictures


def _next(batches: Iterator[Pixels | DataError]) -> Pixels | DataError:
    try:
        return next(batches)
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise BackendError(
            "data.pipeline = 'native': a process that reads pictures was killed, as by a system that is out of memory. "
            "Cure: fewer data.workers, or data.pipeline = 'core'; xfer train --resume goes on with the run"
        ) from error


@dataclass(frozen=True)
class _Pictures(Dataset[Pixels | DataError]):
    """Pictures (H, W, 3) by index. Errors are values: a DataLoader would wrap them in a worker's traceback."""

    files: Sequence[str]
    operators: tuple[Operator, ...]
    seed: int
    levels: Levels | None

    def __getitem__(self, index: int) -> Pixels | DataError:
        key = np.random.SeedSequence((self.seed, index)).generate_state(1, np.uint64)[0]
        torch.default_generator.manual_seed(int(key))  # what v2 draws from; this process is a worker's
        try:
            image = open_image(self.files[index], self.levels)
        except DataError as error:
            return error
        try:
            for operator in self.operators:
                image = operator(image)
        except DataError as error:
            return DataError(f"{self.files[index]}: {error}")
        return np.array(image)


def _collate(pictures: Sequence[Pixels | DataError]) -> Pixels | DataError:
    # No tensor: those travel through shared memory, of which a container has 64 MB, less than these queues can hold.
    errors = [picture for picture in pictures if isinstance(picture, DataError)]
    return errors[0] if errors else np.stack([p for p in pictures if not isinstance(p, DataError)])


def _operators(transforms: Sequence[Any]) -> tuple[Operator, ...]:
    return tuple(op for spec in transforms if not isinstance(spec, Levels | Normalize) for op in _operator(spec))


def _operator(spec: Any) -> tuple[Operator, ...]:
    """torchvision's operators for a spec. All can be pickled, as starting processes anew needs it."""
    match spec:
        case Resize(size=size, interpolation=mode):
            return (v2.Resize(size, InterpolationMode(mode)),)
        case CenterCrop(size=size):
            return (v2.CenterCrop(size),)
        case RandomResizedCrop(size=size, scale=scale, ratio=ratio, interpolation=mode):
            return (v2.RandomResizedCrop(size, scale, ratio, InterpolationMode(mode)),)
        case RandomCrop(size=size, padding=padding, pad_if_needed=pad, fill=fill):
            return partial(_check_fits, spec), v2.RandomCrop(size, padding, pad, fill)
        case HorizontalFlip(p=p):
            return (v2.RandomHorizontalFlip(p),)
        case VerticalFlip(p=p):
            return (v2.RandomVerticalFlip(p),)
        case ColorJitter(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue):
            return (v2.ColorJitter(brightness, contrast, saturation, hue),)
        case Rotation(degrees=degrees, interpolation=mode, fill=fill):
            return (v2.RandomRotation(degrees, InterpolationMode(mode), fill=fill),)
        case RandomErasing(value="random"):
            return (partial(_erase_with_noise, spec),)
        case RandomErasing(p=p, scale=scale, ratio=ratio, value=value):
            return (v2.RandomErasing(p, scale, ratio, value),)
        case Pad(fill=fill, padding_mode=mode):
            return partial(_check_padded, spec), v2.Pad(list(spec.sides), fill, mode)
        case Affine(degrees=degrees, translate=shift, scale=scale, shear=shear, interpolation=mode, fill=fill):
            return (v2.RandomAffine(degrees, shift, scale, shear, InterpolationMode(mode), fill),)
        case Perspective(distortion_scale=distortion, p=p, interpolation=mode, fill=fill):
            return (v2.RandomPerspective(distortion, p, InterpolationMode(mode), fill),)
        case RandomApply(transforms=transforms, p=p):
            return (v2.RandomApply(_operators(transforms), p),)
        case RandomChoice(transforms=transforms, p=p):
            return (v2.RandomChoice(_operators(transforms), p),)
    return (_of_values(spec),)


def _of_values(spec: Any) -> Operator:
    """Of what leaves every pixel in its place, and of the policies."""
    match spec:
        case Grayscale():
            return v2.Grayscale(3)
        case RandomGrayscale(p=p):
            return v2.RandomGrayscale(p)
        case AutoContrast(p=p):
            return v2.RandomAutocontrast(p)
        case Equalize(p=p):
            return v2.RandomEqualize(p)
        case Invert(p=p):
            return v2.RandomInvert(p)
        case Posterize(bits=bits, p=p):
            return v2.RandomPosterize(bits, p)
        case Solarize(threshold=threshold, p=p):
            return v2.RandomSolarize(threshold, p)
        case Sharpness(sharpness_factor=factor, p=p):
            return v2.RandomAdjustSharpness(factor, p)
        case GaussianBlur(kernel_size=kernel, sigma=sigma):
            return v2.GaussianBlur(kernel, sigma)
        case RandAugment(num_ops=count, magnitude=magnitude, num_magnitude_bins=bins, interpolation=mode, fill=fill):
            return v2.RandAugment(count, magnitude, bins, InterpolationMode(mode), fill)
        case TrivialAugmentWide(num_magnitude_bins=bins, interpolation=mode, fill=fill):
            return v2.TrivialAugmentWide(bins, InterpolationMode(mode), fill)
        case AutoAugment(policy=policy, interpolation=mode, fill=fill):
            return v2.AutoAugment(v2.AutoAugmentPolicy(policy), InterpolationMode(mode), fill)
        case AugMix(severity=severity, mixture_width=width, chain_depth=depth, alpha=alpha, all_ops=all_ops):
            return v2.AugMix(severity, width, depth, alpha, all_ops, InterpolationMode(spec.interpolation), spec.fill)
    raise BackendError(f"data.pipeline = 'native': torch's has no {spec.op}. Cure: data.pipeline = 'core'")


def _check_fits(spec: RandomCrop, image: Picture) -> Picture:
    if not spec.fits(image.height, image.width):
        raise DataError(spec.too_small(image.height, image.width))
    return image


def _check_padded(spec: Pad, image: Picture) -> Picture:
    spec.refuse_large(image.height, image.width)
    return image


def _erase_with_noise(spec: RandomErasing, image: Picture) -> Picture:
    """By the core: torchvision's noise is normal, meant for normalised floats, and would be 0, 1 or 255 in bytes."""
    rng = np.random.default_rng(int(torch.randint(2**63 - 1, ())))
    return spec.apply(image, spec.draw(image.height, image.width, rng))
