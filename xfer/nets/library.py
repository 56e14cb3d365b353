"""Networks of a library that is traced, by name: `timm/mobilenetv3_small_100`.

Each is traced once, in a process of its own that imports the library, into a file among the downloaded weights. From
then on it is a network in a file: neither the library nor the framework it is written for is needed any more.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from xfer import __version__
from xfer.arrays import Weights
from xfer.errors import AbsentError, ConfigError
from xfer.formats.files import read_with_metadata
from xfer.formats.sealed import read_metadata
from xfer.nets.network_file import SUFFIX, NetworkFile, read_network
from xfer.progress import Progress, silent
from xfer.system.download import cache_dir
from xfer.system.processes import ask, error_of

LIBRARY = "timm"
BACKEND = "torch"
"""The one whose modules it has."""
_NAME = re.compile(r"[A-Za-z0-9_]+([.][A-Za-z0-9_]+)?")


@dataclass(frozen=True)
class Seen:
    """How the published weights of a network see a picture.

    size           (height, width) in pixels
    crop           share of a side that evaluation keeps
    interpolation  of the resizing
    squash         whether pictures are resized to a square, whatever their shape
    """

    size: tuple[int, int]
    crop: float
    interpolation: str
    squash: bool


def is_of_library(arch: str) -> bool:
    """Whether a network's name is that of a library's."""
    return arch.startswith(f"{LIBRARY}/") and not arch.endswith(SUFFIX)


def read_library_network(arch: str, progress: Progress = silent) -> NetworkFile:
    """The network, traced if it was not before. Raises XferError where it cannot be had."""
    return read_network(str(_file(arch, False, progress)))


def seen_by(arch: str, progress: Progress = silent) -> Seen:
    """Raises XferError as `read_library_network`."""
    metadata = read_metadata(_file(arch, False, progress))
    height, width = json.loads(metadata["graph"])["size"]
    return Seen((height, width), *json.loads(metadata["seen"]))


def published_as(arch: str) -> tuple[str, ...]:
    """What its published weights are called on the library's hub; none where there are none."""
    name = read_metadata(_file(arch, False, silent)).get("hf_hub_id", "")
    return (name,) if name else ()


def published_weights(arch: str, progress: Progress = silent) -> tuple[Weights, dict[str, str]]:
    """Weights and metadata, downloaded by the library. Raises WeightsError where they cannot be had."""
    return read_with_metadata(_file(arch, True, progress))


def _file(arch: str, pretrained: bool, progress: Progress) -> Path:
    """The file of a network, with its published weights or without any; made where it is not there."""
    name = arch.removeprefix(f"{LIBRARY}/")
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"arch = {arch!r}: expected {LIBRARY}/NAME or {LIBRARY}/NAME.TAG, such as timm/mobilenetv3_small_100"
        )
    folder, ending = cache_dir() / "weights", f"{name}{'' if pretrained else '.graph'}{SUFFIX}"
    if (installed := _installed()) is None:
        # That of any version: what was traced needs no library.
        return _newest(folder, ending, arch)
    file = folder / f"{LIBRARY}-{installed}-{__version__}-{ending}"
    if not file.exists():
        progress(f"{'weights of' if pretrained else 'tracing'} {arch}", 1, None)
        answer = ask("xfer.nets.library_process", name, str(file), "pretrained" if pretrained else "")
        if answer.code or not file.exists():
            raise error_of(answer, f"the process that traces {arch}")
    return file


def _installed() -> str | None:
    """The version of the library, which is not imported here."""
    try:
        return version(LIBRARY)
    except PackageNotFoundError:
        return None


def _newest(folder: Path, ending: str, arch: str) -> Path:
    files = sorted(folder.glob(f"{LIBRARY}-*-{ending}"), key=lambda file: file.stat().st_mtime)
    if not files:
        raise AbsentError(f"{arch}: {LIBRARY} is not installed. Cure: pip install 'xfer-vision[{LIBRARY}]'")
    return files[-1]
