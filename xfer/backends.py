"""Finding backends: what is declared, how it is loaded, and which of its devices is used.

In-tree backends come through the same entry points as a stranger's.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points

from xfer.backend import Backend
from xfer.capabilities import capability
from xfer.errors import AbsentError, BackendError, XferError, expected
from xfer.graphs.graph import Graph
from xfer.system import own_process

GROUP = "xfer.backends"


def declared() -> dict[str, EntryPoint]:
    """Name -> entry point of every backend that an installed package declares, importable or not."""
    return {e.name: e for e in sorted(entry_points(group=GROUP), key=lambda e: e.name)}


def load_backend(name: str) -> Backend:
    """Import and make a backend.

    Raises BackendError with the cure when it is unknown, or when it or its framework is not installed or is broken.
    """
    known = declared()
    if name not in known:
        raise BackendError(expected("backend", name, known))
    entry = known[name]
    try:
        backend = entry.load()()
    except XferError:
        raise
    except Exception as error:  # a framework whose libraries do not fit raises whatever it likes
        kind = AbsentError if _missing(entry, error) else BackendError
        raise kind(_not_loaded(entry, error)) from error
    if not isinstance(backend, Backend):
        raise BackendError(f"backend '{name}' ({entry.value}) does not implement xfer.backend.Backend")
    return backend


def _missing(entry: EntryPoint, error: Exception) -> str:
    """The package that the backend needs and that is not there; "" for a fault of another kind, or of its own."""
    name = (error.name or "") if isinstance(error, ModuleNotFoundError) else ""
    return "" if name.partition(".")[0] == entry.module.partition(".")[0] else name


def _not_loaded(entry: EntryPoint, error: Exception) -> str:
    """Why, in one line, and what to do about it."""
    first, *_ = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no reason given"]
    root, package = entry.module.partition(".")[0], _requirement(entry)
    if missing := _missing(entry, error):
        cure = f"pip install '{package}'" if package else f"pip install the package that has {missing}"
        return f"backend '{entry.name}' needs a package that cannot be imported ({first}). Cure: {cure}"
    cure = f"pip install --force-reinstall '{package}'" if package else f"pip install the package that has {root}"
    where = f"""python -c "from {entry.module} import {entry.attr.partition(".")[0]}" shows where"""
    return f"backend '{entry.name}' cannot be loaded ({type(error).__name__}: {first}). Cure: {cure}; {where}"


def _requirement(entry: EntryPoint) -> str:
    """What pip installs for a backend: its package, with the extra of the backend's name where there is one."""
    if entry.dist is None:
        return ""
    extras = {_normal(extra) for extra in entry.dist.metadata.get_all("Provides-Extra") or ()}
    return f"{entry.dist.name}[{entry.name}]" if _normal(entry.name) in extras else entry.dist.name


def _normal(name: str) -> str:
    """As pip compares names of packages and of extras (PEP 503, PEP 685)."""
    return re.sub("[-_.]+", "-", name).lower()


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


def refuse_unknown_kinds(backend: Backend, name: str, graph: Graph) -> None:
    """Raises BackendError for a network with nodes that the backend gives no meaning to."""
    if unknown := sorted({node.kind for node in graph.nodes} - backend.kinds):
        listed = ", ".join(unknown)
        raise BackendError(f"backend '{backend.name}' cannot build {name}: it has no {listed}. Cure: another --backend")


def settle(backend: Backend, device: str) -> None:
    """Make a process of xfer's own fast, once its framework is there. See `xfer.system.own_process`."""
    capability(backend, "tune_process")(device)
    own_process.settle()
