"""What the features of a split depend on, as one key: equal keys mean equal features.

Labels, paths, epochs, the optimizer and the head have no part in it, so runs that differ in these share features.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import features as pillow
from pydantic import BaseModel

from xfer import __version__, pixels
from xfer.backend import Backend
from xfer.capabilities import capability
from xfer.data import loader
from xfer.data.order import Source
from xfer.data.sources import Pictures
from xfer.formats.files import digest
from xfer.graphs.parts import boundaries
from xfer.nets.net import Net
from xfer.pixels import augment

FORMAT = 1
"""Of keys and of what lies behind them; another number leaves all old entries to the limit."""

_NO_PART = ("split", "seed", "workers", "readers")  # of a source: the first two have places of their own in the key


@dataclass(frozen=True)
class Origin:
    """All that the features of a split at a boundary depend on, but the view.

    `seed` is None where nothing is random and all views are therefore the same. `about` is for people.
    """

    ingredients: Mapping[str, Any]
    seed: int | None
    about: dict[str, Any]

    def key(self, view: int) -> str:
        """64 hexadecimal digits."""
        drawn = {} if self.seed is None else {"seed": self.seed, "view": view}
        text = json.dumps(dict(self.ingredients) | drawn, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self, view: int) -> dict[str, Any]:
        """What a view is, for people. Views count from 1."""
        return self.about | ({} if self.seed is None else {"seed": self.seed, "view": view + 1})


@dataclass(frozen=True)
class Prefix:
    """The frozen part of a network: what lies before the boundary `cut`."""

    net: Net
    cut: str

    @cached_property
    def digest(self) -> str:
        """Of all its weights, as they are when this is first asked for."""
        arch = self.net.arch
        before = arch.stage_names[: arch.stage_names.index(self.cut)]
        return digest({name: array for name, array in self.net.export().items() if arch.stage_of(name) in before})


def shareable(source: Source, backend: Backend) -> bool:
    """Whether a key can tell these features from all others, and the backend wants them shared.

    It cannot for what a native pipeline draws, and for files that nobody has read yet.
    """
    known = isinstance(source, Pictures) and source.split.digests is not None
    return known and bool(capability(backend, "shares_features"))


def origin(source: Source, prefix: Prefix, dtype: str, about: Mapping[str, Any]) -> Origin:
    """Where the features of a shareable source come from. `about` is for people, as in `Origin`."""
    assert isinstance(source, Pictures), "not shareable"
    files, net = source.split.digests, prefix.net
    assert files is not None, "not shareable"
    ingredients = {
        "format": FORMAT,
        "versions": _versions() | net.backend.versions(),
        "code": _code(type(net.backend)),
        "backend": net.backend.name,
        "numerics": capability(net.backend, "numerics"),
        "device": net.device.split(":")[0],
        "arch": _plain(net.arch),
        "spec": {name: value for name, value in _plain(net.spec).items() if name not in ("num_classes", "graph")},
        "graph": net.spec.graph and net.spec.graph.with_classes(1).digest(),
        "boundary": [net.first, prefix.cut, boundaries(net.graph)[prefix.cut]],  # where it lies is derived
        "weights": prefix.digest,
        "pictures": {f.name: _plain(getattr(source, f.name)) for f in fields(source) if f.name not in _NO_PART},
        "files": [len(files), hashlib.sha256(np.ascontiguousarray(files).tobytes()).hexdigest()],
        "dtype": dtype,
    }
    place = {"boundary": prefix.cut, "backend": net.backend.name, "device": net.device}
    described = {**about, "arch": net.arch.name, **place, "n": len(files)}
    return Origin(ingredients, source.seed if augment.is_random(source.transforms) else None, described)


def _versions() -> dict[str, str]:
    """Of what makes pixels: an update of Pillow may bring another JPEG decoder."""
    known: Any = pillow  # without types
    decoder = str(known.version("libjpeg_turbo") or known.version("jpg"))
    return {"xfer": __version__, "pillow": PIL.__version__, "libjpeg": decoder, "numpy": np.__version__}


@cache
def _code(backend: type[Backend]) -> str:
    """Of the sources that make pixels and features, for those who edit them: a version number stays until a release."""
    files = {Path(loader.__file__), *Path(pixels.__file__).parent.glob("*.py")}
    with suppress(OSError, TypeError):  # a class that was typed in has no file
        files |= set(Path(inspect.getfile(backend)).parent.glob("*.py"))
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(path.name.encode() + b"\n" + (path.read_bytes() if path.is_file() else b"") + b"\n")
    return total.hexdigest()


def _plain(value: Any) -> Any:
    """As JSON. What is of no known kind stands for itself by its `repr`, at worst shared with nobody."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(v) for name, v in asdict(value).items()}
    if isinstance(value, dict):
        return {str(name): _plain(v) for name, v in value.items()}
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)
