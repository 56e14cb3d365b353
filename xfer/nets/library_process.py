"""One network of a library traced into a file: python -m xfer.nets.library_process NAME FILE [pretrained].

It is held against the library's own module first: no network comes in that gives other logits.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from xfer import __version__
from xfer.archs import LOGITS
from xfer.arrays import Weights
from xfer.backend import Backend, NetworkSpec
from xfer.backends import load_backend
from xfer.capabilities import LibraryModule, OwnModule, Traced, capability
from xfer.errors import BackendError, WeightsError, XferError
from xfer.graphs.graph import Graph
from xfer.graphs.stages import arch_of
from xfer.nets.library import BACKEND, LIBRARY
from xfer.nets.network_file import write_network
from xfer.nets.traced import own_logits, with_canonical_names
from xfer.nets.weights import refuse_unusable
from xfer.pixels.colour import Normalize
from xfer.system import processes
from xfer.system.files import json_text

TOLERANCE = 1e-4  # of the largest logit, as in `xfer port`


def write_traced(backend: Backend, name: str, file: Path, pretrained: bool) -> None:
    """Raises XferError where the network cannot be had, or traced, or does not give the module's logits."""
    found: LibraryModule = capability(backend, "library_module")(name, pretrained)
    module: OwnModule = capability(backend, "own_module")(found.module)
    try:
        traced: Traced = capability(backend, "trace")(found.module, found.size)
        graph, weights = with_canonical_names(traced.graph, module.export_weights())
    except (BackendError, WeightsError) as error:
        raise BackendError(f"{LIBRARY}/{name}: {error}") from None
    refuse_unusable(weights, f"{LIBRARY}/{name}")
    gap = _gap(backend, graph, weights, module, found)
    if not gap <= TOLERANCE:
        raise BackendError(
            f"{LIBRARY}/{name}: what was traced differs from the module by {gap:.1e} of its largest logit"
        )
    seen = json_text([found.crop, found.interpolation, found.squash])
    record = {**found.record, "traced_by": traced.way, "xfer": __version__, "seen": seen}
    normalize = Normalize(mean=found.mean, std=found.std)
    write_network(file, graph, weights if pretrained else {}, normalize, record)


def _gap(backend: Backend, graph: Graph, weights: Weights, module: OwnModule, found: LibraryModule) -> float:
    """The largest difference of logits over the module's largest, of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, *graph.size, 3), np.uint8)
    expected = own_logits(module, pixels, found.mean, found.std)
    built = backend.build(NetworkSpec(graph, found.mean, found.std), "cpu")
    backend.import_weights(built, weights)
    first = arch_of("network", graph).stage_names[0]
    given = backend.make_predict_step(built, first, LOGITS)(pixels)
    return float(np.abs(given - expected).max() / max(float(np.abs(expected).max()), 1e-30))


def main(name: str, file: str, pretrained: str) -> None:
    try:
        write_traced(load_backend(BACKEND), name, Path(file), bool(pretrained))
    except XferError as error:
        print(json_text({"kind": type(error).__name__, "message": str(error)}))


if __name__ == "__main__":
    processes.end_with_parent()
    main(*sys.argv[1:])
