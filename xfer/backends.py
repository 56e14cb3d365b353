"""Finding backends: what is declared, how it is loaded, and which of its devices is used.

In-tree backends come through the same entry points as a stranger's.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from xfer.archs import Arch
from xfer.backend import Backend, capability
from xfer.errors import BackendError, expected
from xfer.system import own_process

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
        backend = entry.load()()
    except ImportError as error:
        package = entry.dist.name if entry.dist else entry.module
        raise BackendError(
            f"backend '{name}' needs a package that cannot be imported ({error}). Cure: pip install '{package}[{name}]'"
        ) from error
    if not isinstance(backend, Backend):
        raise BackendError(f"backend '{name}' ({entry.value}) does not implement xfer.backend.Backend")
    return backend


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


def settle(backend: Backend, device: str) -> None:
    """Make a process of xfer's own fast, once its framework is there. See `xfer.system.own_process`."""
    capability(backend, "tune_process")(device)
    own_process.settle()
