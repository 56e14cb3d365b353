"""Finding backends: what is declared, how it is loaded, and which of its devices is used.

In-tree backends come through the same entry points as a stranger's.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import EntryPoint, entry_points

from xfer.archs import Arch
from xfer.backend import Backend
from xfer.errors import BackendError, expected

GROUP = "xfer.backends"


def declared() -> dict[str, EntryPoint]:
    """Name -> entry point of every backend that an installed package declares, importable or not."""
    return {e.name: e for e in sorted(entry_points(group=GROUP), key=lambda e: e.name)}


def load_backend(name: str) -> Backend:
    """Import and make a backend. Raises BackendError with the cure when it is unknown or not installed."""
    known = declared()
    if name not in known:
        raise BackendError(expected("backend", name, known))
    entry = known[name]
    try:
        with nullcontext() if entry.module in sys.modules else _nothing_collected():
            backend = entry.load()()
    except ImportError as error:
        package = entry.dist.name if entry.dist else entry.module
        raise BackendError(
            f"backend '{name}' needs a package that cannot be imported ({error}). Cure: pip install '{package}[{name}]'"
        ) from error
    if not isinstance(backend, Backend):
        raise BackendError(f"backend '{name}' ({entry.value}) does not implement xfer.backend.Backend")
    return backend


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """No garbage collection: a framework makes some 300,000 objects as it is imported, and nearly all of them stay.

    Looking through them again and again took half a second: a sixth of importing torch and torchvision, and as much
    again as they grew old.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # or else somebody's own frozen objects would thaw
            gc.freeze()
            gc.unfreeze()  # into the oldest generation
        if was:
            gc.enable()


def pick_device(backend: Backend, wanted: str) -> str:
    """`auto` -> the best device; `cuda` -> the first of its kind; a full name -> itself. Else BackendError."""
    usable = backend.devices()
    if wanted == "auto":
        return usable[0]
    for device in usable:
        if wanted in (device, device.split(":")[0]):
            return device
    raise BackendError(
        f"device = {wanted!r}: backend '{backend.name}' can use {', '.join(usable)} here. Cure: --device {usable[0]}"
    )


def known_arch(backend: Backend, name: str) -> Arch:
    """Raises BackendError for a network that the backend does not build."""
    if name not in backend.archs:
        raise BackendError(expected("arch", name, backend.archs))
    return backend.archs[name]
