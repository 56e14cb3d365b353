"""Data sets that have a name: where they come from, what is in them, and how a copy is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xfer.data.archives import extract
from xfer.data.layout import has_suffix, walk_files
from xfer.data.made import DATASETS, made
from xfer.errors import DataError
from xfer.pixels.images import SUFFIXES
from xfer.progress import Progress, silent
from xfer.system.download import download


@dataclass(frozen=True)
class NamedSet:
    """A published archive.

    folder   where its train folder lies in the archive
    counts   split folder -> images in it, which stands in for a hash where none is published; None: not known exactly
    """

    name: str
    url: str
    folder: str
    counts: Mapping[str, int | None]
    note: str
    sha1: str | None = None


ARCHIVES: Mapping[str, NamedSet] = {
    s.name: s
    for s in (
        NamedSet(
            "ants_bees",
            "https://download.pytorch.org/tutorial/hymenoptera_data.zip",
            "hymenoptera_data",
            {"train": 244, "val": 153},
            "ants or bees, of PyTorch's transfer learning tutorial",
        ),
        NamedSet(
            "dogs_wolves",
            "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/intermediate/Canidae_data.zip",
            "data/Canidae",
            {"train": None, "val": None},
            "dogs or wolves, of MindSpore's transfer learning tutorial",
        ),
        NamedSet(
            "hotdog",
            "http://d2l-data.s3-accelerate.amazonaws.com/hotdog.zip",
            "hotdog",
            {"train": 2000, "test": 800},
            "hot dogs or other food, of Dive into Deep Learning",
            sha1="fba480ffa8aa7e0febbb511d181409f899b9baa5",
        ),
    )
}

NAMED: Mapping[str, str] = {"demo": "drawn by xfer itself, no network needed"} | {
    s.name: s.note for s in ARCHIVES.values()
}
"""Every name that stands for a data set -> what it is."""


def fetch(name: str, cache: Path, progress: Progress = silent) -> Path:
    """The folder of a named set, below `cache`; drawn, or downloaded and checked, when it is not there yet.

    Raises DataError when it cannot be downloaded, with the URL and what would do instead, or when the archive does
    not hold what it should.
    """
    return _draw_demo(cache, progress) if name == "demo" else _fetch(ARCHIVES[name], cache, progress)


def _draw_demo(cache: Path, progress: Progress) -> Path:
    from xfer.data.demo import DEMO_VERSION, write_demo

    place = cache / DATASETS / f"demo-{DEMO_VERSION}"
    return made(place, lambda folder: write_demo(folder, progress), NAMED["demo"], progress)


def _fetch(named: NamedSet, cache: Path, progress: Progress) -> Path:
    archive = cache / "downloads" / named.url.rsplit("/", 1)[1]

    def fill(folder: Path) -> None:
        for done, total in download(
            named.url,
            archive,
            what=f"data set {named.name}",
            error=DataError,
            sha1=named.sha1,
            alternative=", or give a folder with a copy of it: --data DIR",
        ):
            progress(f"downloading {archive.name}", done, total)
        extract(archive, folder, progress)
        _check(named, folder / named.folder, archive)

    return made(cache / DATASETS / named.name, fill, named.note, progress) / named.folder


def _check(named: NamedSet, folder: Path, archive: Path) -> None:
    for split, wanted in named.counts.items():
        path = folder / split
        count = sum(has_suffix(name, SUFFIXES) for name in walk_files(str(path))) if path.is_dir() else 0
        if count != (wanted or count) or not count:
            raise DataError(
                f"data set {named.name}: {archive} holds {count} images in {named.folder}/{split}, "
                f"expected {wanted or 'some'}. Cure: delete it, and it is downloaded anew"
            )
