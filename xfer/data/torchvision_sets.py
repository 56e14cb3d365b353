"""Data sets that torchvision reads, where they lie: `torchvision:NAME@FOLDER`, as `torchvision:CIFAR10@~/data`.

torchvision itself reads them, once, in a process of its own: what runs on MindSpore does not import torch for it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from xfer.data.made import DATASETS, made
from xfer.errors import AbsentError, DataError, expected
from xfer.progress import Progress
from xfer.system.files import expanded
from xfer.system.limits import limit
from xfer.system.processes import ask, error_of

PREFIX = "torchvision:"
TABLE = "labels.jsonl"
LIBRARY = "torchvision"
_MODULE = "xfer_torch.picture_sets"
_FORM = "Expected torchvision:NAME@FOLDER, such as torchvision:CIFAR10@data"

OWN = {
    "CIFAR10": ("cifar-10-batches-py",),
    "CIFAR100": ("cifar-100-python",),
    "Caltech101": ("caltech101",),
    "Caltech256": ("caltech256",),
    "Country211": ("country211",),
    "DTD": ("dtd",),
    "EuroSAT": ("eurosat",),
    "FGVCAircraft": ("fgvc-aircraft-2013b",),
    "FashionMNIST": ("FashionMNIST",),
    "Flowers102": ("flowers-102",),
    "Food101": ("food-101",),
    "GTSRB": ("gtsrb",),
    "ImageFolder": ("",),
    "Imagenette": ("imagenette2",),
    "KMNIST": ("KMNIST",),
    "MNIST": ("MNIST",),
    "OxfordIIITPet": ("oxford-iiit-pet",),
    "RenderedSST2": ("rendered-sst2",),
    "STL10": ("stl10_binary",),
    "SUN397": ("SUN397",),
    "SVHN": ("train_32x32.mat", "test_32x32.mat"),
    "StanfordCars": ("stanford_cars",),
    "USPS": ("usps.bz2", "usps.t.bz2"),
}
"""Sets by torchvision's names -> what is their own below the folder; an empty name: all of it."""


def is_of(source: str) -> bool:
    """Whether a source names a set of torchvision's."""
    return source.startswith(PREFIX)


def folder_of(source: str) -> Path | None:
    """Where it lies, as torchvision's `root`; None where a source names none."""
    if not is_of(source):
        return None
    folder = source.partition("@")[2]
    return expanded(folder) if folder else None


def anywhere(source: str) -> str:
    """What finds it from any folder."""
    name, _, _ = source.partition("@")
    folder = folder_of(source)
    return source if folder is None else f"{name}@{os.path.abspath(folder)}"


def open_set(source: str, cache: Path, progress: Progress) -> tuple[str, Path]:
    """Its name, and a table of its pictures below `cache`. Raises DataError where torchvision cannot read it."""
    place = anywhere(source)
    asked, folder = place.removeprefix(PREFIX).partition("@")[0], folder_of(place)
    name = {known.lower(): known for known in OWN}.get(asked.lower())
    if name is None:
        raise DataError(f"{expected('data torchvision', asked, OWN)} {_FORM}")
    if folder is None or not folder.is_dir():
        raise DataError(
            f"data {source}: {'no folder is named' if folder is None else f'{folder} is no folder'}. {_FORM}"
        )
    key = _state(name, folder)

    def fill(new: Path) -> None:
        progress(f"reading {LIBRARY}'s {name}", 1, None)
        if find_spec(LIBRARY) is None:
            raise AbsentError(f"data {source}: {LIBRARY} is not installed. Cure: pip install 'xfer-vision[torch]'")
        answer = ask(_MODULE, name, str(folder), str(new / TABLE), str(limit("remote")))
        if answer.code or answer.content != {}:
            raise error_of(answer, f"the process that reads {LIBRARY}'s {name}")

    return name, made(cache / DATASETS / f"{LIBRARY}-{key}", fill, f"{PREFIX}{name}@{folder}", progress) / TABLE


def _state(name: str, folder: Path) -> str:
    """A digest of where a set lies, and of the names, sizes and times of its files. Raises DataError for none."""
    digest, count = hashlib.blake2b(name.encode(), digest_size=16), 0
    for part in OWN[name]:
        for path in _walk(os.path.join(folder, part) if part else str(folder)):
            status = os.stat(path)
            digest.update(os.fsencode(path) + b"\0%d %d\0" % (status.st_size, status.st_mtime_ns))
            count += 1
    if not count:
        wanted = " or ".join(part or "class folders" for part in OWN[name])
        cure = f"Cure: the folder that {LIBRARY}.datasets.{name}(folder, download=True) filled"
        raise DataError(f"data {PREFIX}{name}@{folder}: no {wanted} in it, and nothing is downloaded. {cure}")
    return digest.hexdigest()


def _walk(path: str) -> Iterator[str]:
    if os.path.isfile(path):
        yield path
    for parent, folders, names in os.walk(path):
        folders.sort()
        yield from (os.path.join(parent, name) for name in sorted(names))
