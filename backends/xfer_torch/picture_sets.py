"""A data set of torchvision's as a table: python -m xfer_torch.picture_sets NAME FOLDER TABLE MOST_BYTES.

The rows of the table name the pictures where they lie. Those that are arrays in the set's own files are written beside
it, as PNG: no bit is lost.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from xfer.errors import DataError, XferError
from xfer.system import processes
from xfer.system.files import json_text

Sample = tuple[Any, int]
"""The path of a picture, or a picture of Pillow's; and its class."""


class Known(NamedTuple):
    """A set: what its splits are to xfer, and how torchvision is asked for them.

    splits   role -> the options of torchvision's class
    samples  of a set of that class; None: pictures are asked for one by one
    classes  of a set of that class, by their numbers
    """

    splits: dict[str, dict[str, Any]]
    samples: Callable[[Any], Iterable[Sample]] | None = None
    classes: Callable[[Any], Iterable[str]] = lambda found: found.classes


def _files(found: Any) -> Iterable[Sample]:
    return zip(found._image_files, found._labels, strict=True)


def _listed(found: Any) -> Iterable[Sample]:
    return [(path, label) for path, label in found._samples]


def _folders(found: Any) -> Iterable[Sample]:
    return [(path, label) for path, label in found.samples]


def _caltech(folder: str, ending: str) -> Callable[[Any], Iterable[Sample]]:
    def samples(found: Any) -> Iterator[Sample]:
        for number, label in zip(found.index, found.y, strict=True):
            yield os.path.join(found.root, folder, found.categories[label], ending.format(number, label + 1)), label

    return samples


def _numbers(count: int, width: int) -> Callable[[Any], Iterable[str]]:
    """Of sets whose classes have no names: in the order of the numbers, as texts are sorted."""
    return lambda found: [f"{number:0{width}d}" for number in range(count)]


_TRAIN_TEST = {"train": {"train": True}, "test": {"train": False}}
_BY_SPLIT = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE = {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}}
_ALL: dict[str, dict[str, Any]] = {"train": {}}

KNOWN: dict[str, Known] = {
    "CIFAR10": Known(_TRAIN_TEST),
    "CIFAR100": Known(_TRAIN_TEST),
    "Caltech101": Known(_ALL, _caltech("101_ObjectCategories", "image_{0:04d}.jpg"),
                        lambda found: found.categories),
    "Caltech256": Known(_ALL, _caltech("256_ObjectCategories", "{1:03d}_{0:04d}.jpg"),
                        lambda found: found.categories),
    "Country211": Known({"train": {"split": "train"}, "val": {"split": "valid"}, "test": {"split": "test"}}, _folders),
    "DTD": Known(_THREE, _files),
    "EuroSAT": Known(_ALL, _folders),
    "FGVCAircraft": Known(_THREE, _files),
    "FashionMNIST": Known(_TRAIN_TEST),
    "Flowers102": Known(_THREE, _files, _numbers(102, 3)),
    "Food101": Known(_BY_SPLIT, _files),
    "GTSRB": Known(_BY_SPLIT, _listed, _numbers(43, 5)),
    "ImageFolder": Known(_ALL, _folders),
    "Imagenette": Known({"train": {"split": "train"}, "val": {"split": "val"}}, _listed,
                        lambda found: [" or ".join(names) for names in found.classes]),
    "KMNIST": Known(_TRAIN_TEST),
    "MNIST": Known(_TRAIN_TEST),
    "OxfordIIITPet": Known({"train": {"split": "trainval"}, "test": {"split": "test"}},
                           lambda found: zip(found._images, found._labels, strict=True)),
    "RenderedSST2": Known(_THREE, _listed),
    "STL10": Known(_BY_SPLIT),
    "SUN397": Known(_ALL, _files),
    "SVHN": Known(_BY_SPLIT, None, _numbers(10, 1)),
    "StanfordCars": Known(_BY_SPLIT, _listed),
    "USPS": Known(_TRAIN_TEST, None, _numbers(10, 1)),
}  # fmt: skip


def write(name: str, root: str, table: Path, most: int) -> None:
    """Raises DataError for what torchvision cannot read, and for more than `most` bytes of pictures."""
    from torchvision import datasets

    known, total = KNOWN[name], 0
    with table.open("w", encoding="utf-8", errors="surrogatepass") as lines:
        for role, options in known.splits.items():
            try:
                found = getattr(datasets, name)(root, **options)
                names = [str(text) for text in known.classes(found)]
                samples = enumerate(known.samples(found) if known.samples else _pictures(found))
                for number, (picture, label) in samples:
                    text = names[label]
                    if isinstance(picture, str | Path):
                        path = os.path.abspath(picture)
                    else:
                        path = f"{role}/{int(label):05d}/{number:08d}.png"
                        target = table.parent / path
                        target.parent.mkdir(parents=True, exist_ok=True)
                        picture.save(target)
                        total += target.stat().st_size
                        if total > most:
                            raise DataError(f"data torchvision:{name}: more than {most:,} bytes. "
                                            "Cure: XFER_LIMIT_REMOTE")  # fmt: skip
                    lines.write(json_text({"path": path, "label": text, "split": role}) + "\n")
            except XferError:
                raise
            except Exception as error:  # torchvision raises what each format's reader does
                cure = f"Cure: torchvision.datasets.{name}(folder, download=True)"
                why = f"torchvision cannot read its {role} split ({_first(error)})"
                raise DataError(f"data torchvision:{name}@{root}: {why}. {cure}") from error


def _pictures(found: Any) -> Iterator[Sample]:
    for number in range(len(found)):
        picture, label = found[number]
        yield picture, int(label)


def _first(error: Exception) -> str:
    first, *_ = str(error).strip().splitlines() or [type(error).__name__]
    return first.replace(" You can use download=True to download it", "").rstrip(". ")[:300]


def main(name: str, root: str, table: str, most: str) -> None:
    try:
        write(name, root, Path(table), int(most))
        print(json_text({}))
    except XferError as error:
        print(json_text({"kind": type(error).__name__, "message": str(error)}))


if __name__ == "__main__":
    processes.end_with_parent()
    main(*sys.argv[1:])
